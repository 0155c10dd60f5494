//! What `tidegate check` prints of one api.
//!
//! In:  a checked api.
//! Out: text for a terminal; no secret, no control character from the file.

use tidegate_model::{
    Api, ApiKeySource, Authorizer, AuthorizerKind, AwsTarget, Binary, Function, Integration,
    IntegrationKind, PostDuringConnect, Route, Stage, UriTemplate,
};

use super::summary::{bucket, columns, plain, row, section, uri_text};

/// `api`, with a blank line before it; `only` where the file has no other.
pub(super) fn about_api(api: &Api, only: bool) -> String {
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
    if api.api_key_source == ApiKeySource::Authorizer {
        unusual.push("api keys come from the authorizer");
    }
    if api.allowed_origins.is_some() {
        unusual.push("only the allowed origins");
    }
    if !unusual.is_empty() {
        rows.push(row(["besides", &unusual.join("; ")]));
    }
    if !api.models.is_empty() {
        let names: Vec<_> = api.models.keys().map(plain).collect();
        rows.push(row(["models", &names.join(", ")]));
    }
    let mut out = format!("\napi {}\n", api.id);
    out.push_str(&columns("  ", &rows));
    let mut part = |title, rows: Vec<Vec<String>>| section(&mut out, "  ", title, &rows);
    part("stages", api.stages.iter().map(stage).collect());
    part("routes", api.routes.iter().map(|one| route(api, one)).collect());
    part("authorizers", api.authorizers.iter().map(|one| authorizer(api, one)).collect());
    part("integrations", api.integrations.iter().flat_map(|one| integration(api, one)).collect());
    out
}

fn stage(stage: &Stage) -> Vec<String> {
    let throttle = stage.throttle.map_or("unthrottled".to_owned(), bucket);
    let log = stage.access_log.as_ref();
    let log = log.map(|log| format!("logs to {}", plain(log.path.to_string_lossy())));
    row([&format!("/{}", stage.name), &throttle, &log.unwrap_or_default()])
}

fn route(api: &Api, route: &Route) -> Vec<String> {
    let integration = route.integration.and_then(|index| api.integrations.get(index));
    let target = integration.map_or("nothing".to_owned(), |one| plain(&one.name));
    let mut notes = Vec::new();
    if let Some(authorizer) = route.authorizer.and_then(|index| api.authorizers.get(index)) {
        notes.push(format!("authorizer {}", plain(&authorizer.name)));
    }
    if route.api_key_required {
        notes.push("api key required".to_owned());
    }
    if route.reply {
        notes.push("two-way".to_owned());
    }
    notes.extend(route.throttle.map(bucket));
    if route.request_parameters.iter().any(|parameter| parameter.required) {
        notes.push("demands parameters".to_owned());
    }
    if route.validation.is_some() {
        notes.push("checks messages".to_owned());
    }
    row([&plain(route.key.as_str()), &format!("→ {target}"), &notes.join(", ")])
}

/// Its type, and what it leans on.
fn authorizer(api: &Api, authorizer: &Authorizer) -> Vec<String> {
    let (kind, leans_on) = match &authorizer.kind {
        AuthorizerKind::Request(request) => {
            let integration = api.integrations.get(request.integration);
            ("request", integration.map_or(String::new(), |one| plain(&one.name)))
        }
        AuthorizerKind::Jwt(jwt) => ("jwt", plain(&jwt.issuer)),
        AuthorizerKind::Iam(keys) => {
            let ids: Vec<_> = keys.iter().map(|key| key.access_key_id.as_str()).collect();
            ("iam", format!("signed by {}", ids.join(", ")))
        }
    };
    row([&plain(&authorizer.name), kind, &leans_on])
}

/// How an integration is called.
struct Called<'a> {
    kind: &'static str,
    method: &'a str,
    place: Place<'a>,
}

/// Where an integration's backend is.
enum Place<'a> {
    /// The same in each stage.
    Everywhere(String),
    /// By the stage's variables.
    ByStage(&'a UriTemplate),
}

impl<'a> Called<'a> {
    fn of(kind: &'a IntegrationKind) -> Self {
        let called = |kind, method, place| Self { kind, method, place };
        match kind {
            IntegrationKind::HttpProxy(target) => {
                called("http_proxy", target.method.as_str(), Place::ByStage(&target.uri))
            }
            IntegrationKind::Http(target, _) => {
                called("http", target.method.as_str(), Place::ByStage(&target.uri))
            }
            IntegrationKind::AwsProxy(function) => called("aws_proxy", "POST", place_of(function)),
            IntegrationKind::Aws(AwsTarget::Function(function), _) => {
                called("aws", "POST", place_of(function))
            }
            IntegrationKind::Aws(AwsTarget::Service { uri, method }, _) => {
                called("aws", method.as_str(), Place::Everywhere(uri.as_str().to_owned()))
            }
            IntegrationKind::Mock(_) => {
                called("mock", "", Place::Everywhere("answered by templates".to_owned()))
            }
            IntegrationKind::Echo { status } => {
                called("mock", "", Place::Everywhere(status.to_string()))
            }
        }
    }
}

fn place_of(function: &Function) -> Place<'_> {
    match function {
        Function::Web(uri) => Place::ByStage(uri),
        Function::Lambda(uri) => Place::Everywhere(uri.as_str().to_owned()),
        Function::Local(name) => Place::Everywhere(format!("function {name}")),
    }
}

/// A line for each place that the stages lead to, the first with the integration's name.
fn integration(api: &Api, integration: &Integration) -> Vec<Vec<String>> {
    let Called { kind, method, place } = Called::of(&integration.kind);
    let name = plain(&integration.name);
    let template = match place {
        Place::Everywhere(place) => return vec![row([&name, kind, method, &plain(place)])],
        Place::ByStage(template) => template,
    };
    let mut uris: Vec<(String, Vec<&str>)> = Vec::new();
    for stage in &api.stages {
        let uri = match template.expand(&stage.variables) {
            Ok(uri) => uri_text(&uri),
            Err(_) => plain(template.as_str()), // a checked one expands in every stage
        };
        match uris.iter_mut().find(|(known, _)| *known == uri) {
            Some((_, stages)) => stages.push(stage.name.as_str()),
            None => uris.push((uri, vec![stage.name.as_str()])),
        }
    }
    let everywhere = uris.len() == 1;
    let lines = uris.into_iter().enumerate().map(|(at, (uri, stages))| {
        let place = if everywhere { uri } else { format!("{uri}  in {}", stages.join(", ")) };
        match at {
            0 => row([&name, kind, method, &place]),
            _ => row(["", "", "", &place]),
        }
    });
    lines.collect()
}
