//! What `tidegate check` prints.
//!
//! In:  a checked configuration.
//! Out: text for a terminal: what would be served, and where it is not the default.
//!
//! Holds always: no secret, no control character from the file.

use std::{fmt::Write, num::NonZeroU32, time::Duration};

use tidegate_model::{
    ApiKey, AwsSettings, BackendUri, Configuration, Endpoint, Limits, LocalFunction, Management,
    QuotaPeriod, SlowClient, Throttle, UsagePlan,
};

use super::{
    file::{DrainSection, LimitsSection},
    summary_api::about_api,
    summary_store,
};

/// One screen about `configuration`: addresses, limits that differ from the defaults, functions,
/// keys and plans by name, and for each api its hosts, stages, routes, authorizers and integrations
/// with the uri of each stage. Ends with a line break.
pub fn summary(configuration: &Configuration) -> String {
    let mut out = columns("", &node(configuration));
    let functions: Vec<_> = configuration.functions.iter().map(function).collect();
    section(&mut out, "", "functions", &functions);
    let keys: Vec<_> = configuration.api_keys.iter().map(api_key).collect();
    section(&mut out, "", "api keys", &keys);
    let plans: Vec<_> = configuration.usage_plans.iter().map(usage_plan).collect();
    section(&mut out, "", "usage plans", &plans);
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
        row(["management", &management(configuration)]),
        row(["store", &summary_store::about_store(&configuration.store)]),
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
    if let Some(traces) = &configuration.traces {
        // Not the headers: their values are secrets, and their names say little.
        let ratio = traces.sample_ratio;
        let service = plain(&traces.service_name);
        let text = format!("{}, ratio {ratio}, as {service}", uri_text(&traces.endpoint));
        rows.push(row(["traces", &text]));
    }
    aws(&mut rows, &configuration.aws);
    rows
}

/// What is not the default of `[aws]`, by names.
fn aws(rows: &mut Vec<Vec<String>>, aws: &AwsSettings) {
    let default = AwsSettings::default();
    let mut lines = Vec::new();
    if (&aws.region, &aws.account_id) != (&default.region, &default.account_id) {
        lines.push(format!("region {}, account {}", aws.region, aws.account_id));
    }
    if !aws.credentials.is_empty() {
        let names: Vec<_> = aws.credentials.keys().map(plain).collect();
        lines.push(format!("credentials {}", names.join(", ")));
    }
    for (service, uri) in &aws.endpoints {
        lines.push(format!("{} at {}", plain(service), uri_text(uri)));
    }
    if !lines.is_empty() {
        push_lines(rows, "aws", lines, "");
    }
}

fn function(function: &LocalFunction) -> Vec<String> {
    // Not its command: arguments are no place for secrets, and some hold one all the same.
    let workers = format!("{} to {} workers", function.min_workers, function.max_workers);
    let watch = if function.watch { "watched" } else { "" };
    row([&function.name, &workers, &plain(function.directory.to_string_lossy()), watch])
}

fn api_key(key: &ApiKey) -> Vec<String> {
    row([&plain(&key.name), if key.enabled { "" } else { "disabled" }])
}

fn usage_plan(plan: &UsagePlan) -> Vec<String> {
    let stages: Vec<_> = plan.stages.iter().map(|(api, stage)| format!("{api}/{stage}")).collect();
    let keys: Vec<_> = plan.api_keys.iter().map(plain).collect();
    let mut figures: Vec<_> = plan.throttle.map(bucket).into_iter().collect();
    figures.extend(plan.quota.map(|quota| {
        let period = match quota.period {
            QuotaPeriod::Day => "day",
            QuotaPeriod::Week => "week",
            QuotaPeriod::Month => "month",
        };
        format!("{} a {period}", quota.limit)
    }));
    let keys = format!("keys {}", keys.join(", "));
    row([&plain(&plan.name), &stages.join(", "), &keys, &figures.join("; ")])
}

fn management(configuration: &Configuration) -> String {
    let callers = match &configuration.management {
        Management::LoopbackOnly => "unsigned, from loopback peers only".to_owned(),
        Management::SigV4(credentials) if credentials.is_empty() => {
            match configuration.functions.is_empty() {
                true => "closed, there are no credentials".to_owned(),
                false => "signed by this gateway's own functions".to_owned(),
            }
        }
        Management::SigV4(credentials) => {
            let ids: Vec<_> = credentials.iter().map(|one| one.access_key_id.as_str()).collect();
            format!("signed by {}", ids.join(", "))
        }
    };
    let throttle = configuration.management_throttle.map_or("unthrottled".to_owned(), bucket);
    format!("{callers}; {throttle}")
}

/// Each limit by its key in the file.
fn figures(limits: &Limits) -> [(&'static str, String); 12] {
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
        ("lifecycle_calls_in_flight", limits.lifecycle_calls_in_flight.to_string()),
        ("handshake_timeout_s", seconds(limits.handshake_timeout)),
        ("connections", or_none(limits.connections)),
        ("connections_per_ip", or_none(limits.connections_per_ip)),
        ("new_connections_per_s", or_none(limits.new_connections_per_s)),
    ]
}

/// A uri as it is called.
pub(super) fn uri_text(uri: &BackendUri) -> String {
    let BackendUri { endpoint, authority, path, query, .. } = uri;
    let query = query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    plain(match endpoint {
        Endpoint::Http(..) => format!("http://{authority}{path}{query}"),
        Endpoint::Https(..) => format!("https://{authority}{path}{query}"),
        Endpoint::Unix(socket) => format!("unix:{socket}:{path}{query}"),
    })
}

pub(super) fn bucket(throttle: Throttle) -> String {
    format!("{}/s, burst {}", throttle.rate, throttle.burst)
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
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

/// A title and the rows below it; nothing where there are none.
pub(super) fn section(out: &mut String, indent: &str, title: &str, rows: &[Vec<String>]) {
    if !rows.is_empty() {
        out.push_str(indent);
        out.push_str(title);
        out.push('\n');
        out.push_str(&columns(&format!("{indent}  "), rows));
    }
}

/// Rows with their cells below each other, two spaces apart.
pub(super) fn columns(indent: &str, rows: &[Vec<String>]) -> String {
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
pub(super) fn plain(text: impl AsRef<str>) -> String {
    text.as_ref().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
