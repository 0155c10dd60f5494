//! What `tidegate check` prints.
//!
//! In:  a checked configuration.
//! Out: text for a terminal: what would be served, and where it is not the default.
//!
//! Holds always: no secret, no control character from the file.

use std::{fmt::Write, num::NonZeroU32, time::Duration};

use tidegate_model::{
    Api, BackendUri, Binary, Configuration, Endpoint, Integration, IntegrationKind, Limits,
    Management, PostDuringConnect, Route, SlowClient, Throttle, UriTemplate,
};

use super::file::{DrainSection, LimitsSection};

/// One screen about `configuration`: addresses, limits that differ from the defaults, and for each
/// api its hosts, stages, routes and integrations with the uri of each stage. Ends with a line
/// break.
pub fn summary(configuration: &Configuration) -> String {
    let mut out = columns("", &node(configuration));
    for api in &configuration.apis {
        let only = configuration.apis.len() == 1;
        out.push_str(&about_api(api, only));
    }
    out
}

fn node(configuration: &Configuration) -> Vec<Vec<String>> {
    let listen = &configuration.listen;
    let speaks = match &listen.tls {
        None => "http and ws",
        Some(files) if files.client_ca.is_some() => "https and wss, client certificates required",
        Some(_) => "https and wss",
    };
    let mut rows = vec![
        row(["listen", &format!("{}, {speaks}", listen.address)]),
        row(["admin", &configuration.admin.to_string()]),
        row(["management", &management(&configuration.management)]),
    ];
    let defaults = figures(&LimitsSection::default().to_limits());
    let changed = figures(&configuration.limits)
        .into_iter()
        .zip(defaults)
        .filter(|((_, now), (_, default))| now != default)
        .map(|((key, now), (_, default))| format!("{key} = {now} (default {default})"));
    push_lines(&mut rows, "limits", changed.collect(), "the defaults");
    let drain = DrainSection::default().to_drain();
    if configuration.drain != drain {
        let (deadline, spread) = (configuration.drain.deadline, configuration.drain.spread);
        let text = format!("within {} s, spread over {} s", deadline.as_secs(), spread.as_secs());
        rows.push(row(["drain", &text]));
    }
    rows
}

fn management(management: &Management) -> String {
    match management {
        Management::LoopbackOnly => "unsigned, from loopback peers only".to_owned(),
        Management::SigV4(credentials) if credentials.is_empty() => {
            "closed, there are no credentials".to_owned()
        }
        Management::SigV4(credentials) => {
            let ids: Vec<_> = credentials.iter().map(|one| one.access_key_id.as_str()).collect();
            format!("signed by {}", ids.join(", "))
        }
    }
}

/// Each limit by its key in the file.
fn figures(limits: &Limits) -> [(&'static str, String); 11] {
    let seconds = |time: Duration| time.as_secs().to_string();
    let or_none = |figure: Option<NonZeroU32>| match figure {
        Some(figure) => figure.to_string(),
        None => "none".to_owned(),
    };
    let slow_client = match limits.slow_client {
        SlowClient::Close => "close",
        SlowClient::DropOldest => "drop_oldest",
        SlowClient::DropNewest => "drop_newest",
    };
    [
        ("max_message_bytes", limits.max_message_bytes.to_string()),
        ("max_frame_bytes", limits.max_frame_bytes.to_string()),
        ("idle_timeout_s", seconds(limits.idle_timeout)),
        ("max_connection_s", limits.max_connection.map_or("none".to_owned(), seconds)),
        ("send_queue_bytes", limits.send_queue_bytes.to_string()),
        ("slow_client", slow_client.to_owned()),
        ("max_in_flight", limits.max_in_flight.to_string()),
        ("handshake_timeout_s", seconds(limits.handshake_timeout)),
        ("connections", or_none(limits.connections)),
        ("connections_per_ip", or_none(limits.connections_per_ip)),
        ("new_connections_per_s", or_none(limits.new_connections_per_s)),
    ]
}

fn about_api(api: &Api, only: bool) -> String {
    let mut hosts: Vec<_> = api.domains.iter().map(ToString::to_string).collect();
    hosts.push(format!("{}.localhost", api.id));
    hosts.push(format!("{}.execute-api.*", api.id));
    if only {
        hosts.push("any other (the only api)".to_owned());
    }
    let mut rows = vec![
        row(["selects by", &plain(api.route_selection_expression.as_str())]),
        row(["hosts", &hosts.join(", ")]),
    ];
    let mut unusual = Vec::new();
    if api.binary == Binary::Pass {
        unusual.push("binary messages go to $default");
    }
    if api.post_during_connect == PostDuringConnect::Gone {
        unusual.push("posts during $connect are answered 410");
    }
    if api.allowed_origins.is_some() {
        unusual.push("only the allowed origins");
    }
    if !unusual.is_empty() {
        rows.push(row(["besides", &unusual.join("; ")]));
    }
    let mut out = format!("\napi {}\n", api.id);
    out.push_str(&columns("  ", &rows));
    section(&mut out, "stages", &api.stages.iter().map(stage).collect::<Vec<_>>());
    section(&mut out, "routes", &api.routes.iter().map(|r| route(api, r)).collect::<Vec<_>>());
    let integrations: Vec<_> =
        api.integrations.iter().flat_map(|one| integration(api, one)).collect();
    section(&mut out, "integrations", &integrations);
    out
}

fn stage(stage: &tidegate_model::Stage) -> Vec<String> {
    let throttle = stage.throttle.map_or("unthrottled".to_owned(), bucket);
    let log = stage.access_log.as_ref();
    let log = log.map(|log| format!("logs to {}", plain(log.path.to_string_lossy())));
    row([&format!("/{}", stage.name), &throttle, &log.unwrap_or_default()])
}

fn route(api: &Api, route: &Route) -> Vec<String> {
    let integration = route.integration.and_then(|index| api.integrations.get(index));
    let target = integration.map_or("nothing".to_owned(), |one| plain(&one.name));
    let mut notes = Vec::new();
    if route.reply {
        notes.push("two-way".to_owned());
    }
    notes.extend(route.throttle.map(bucket));
    if route.request_parameters.iter().any(|parameter| parameter.required) {
        notes.push("demands parameters".to_owned());
    }
    row([&plain(route.key.as_str()), &format!("→ {target}"), &notes.join(", ")])
}

/// A line for each stage, the first with the integration's name.
fn integration(api: &Api, integration: &Integration) -> Vec<Vec<String>> {
    let (kind, method, uri) = match &integration.kind {
        IntegrationKind::HttpProxy(target) => {
            ("http_proxy", target.method.to_string(), &target.uri)
        }
        IntegrationKind::Http(target) => ("http", target.method.to_string(), &target.uri),
        IntegrationKind::AwsProxy { uri } => ("aws_proxy", "POST".to_owned(), uri),
        IntegrationKind::Mock { status } => {
            return vec![row([&plain(&integration.name), "mock", &status.to_string()])];
        }
    };
    let mut uris: Vec<(String, Vec<&str>)> = Vec::new();
    for stage in &api.stages {
        let uri = expanded(uri, &stage.variables);
        match uris.iter_mut().find(|(known, _)| *known == uri) {
            Some((_, stages)) => stages.push(stage.name.as_str()),
            None => uris.push((uri, vec![stage.name.as_str()])),
        }
    }
    let everywhere = uris.len() == 1;
    let lines = uris.into_iter().enumerate().map(|(at, (uri, stages))| {
        let place = if everywhere { uri } else { format!("{uri}  in {}", stages.join(", ")) };
        match at {
            0 => row([&plain(&integration.name), kind, &method, &place]),
            _ => row(["", "", "", &place]),
        }
    });
    lines.collect()
}

fn expanded(
    template: &UriTemplate,
    variables: &std::collections::BTreeMap<String, String>,
) -> String {
    let Ok(BackendUri { endpoint, authority, path, query, .. }) = template.expand(variables) else {
        return plain(template.as_str()); // a checked configuration expands in every stage
    };
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    plain(&match endpoint {
        Endpoint::Http(..) => format!("http://{authority}{path}{query}"),
        Endpoint::Https(..) => format!("https://{authority}{path}{query}"),
        Endpoint::Unix(socket) => format!("unix:{socket}:{path}{query}"),
    })
}

fn bucket(throttle: Throttle) -> String {
    format!("{}/s, burst {}", throttle.rate, throttle.burst)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A row for each line, the first with the title; one row with `nothing` where there are none.
fn push_lines(rows: &mut Vec<Vec<String>>, title: &str, lines: Vec<String>, nothing: &str) {
    if lines.is_empty() {
        rows.push(row([title, nothing]));
    }
    for (at, line) in lines.into_iter().enumerate() {
        rows.push(row([if at == 0 { title } else { "" }, &line]));
    }
}

fn section(out: &mut String, title: &str, rows: &[Vec<String>]) {
    if !rows.is_empty() {
        out.push_str("  ");
        out.push_str(title);
        out.push('\n');
        out.push_str(&columns("    ", rows));
    }
}

/// Rows with their cells below each other, two spaces apart.
fn columns(indent: &str, rows: &[Vec<String>]) -> String {
    let width = |cell: &String| cell.chars().count();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(width).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Text from the file, fit for a terminal.
fn plain(text: impl AsRef<str>) -> String {
    text.as_ref().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
