//! From what the operator wrote to what the gateway trusts: traces.
//!
//! In, out and what holds: as in [`super::check`].

use http::{HeaderName, HeaderValue, header};
use tidegate_model::{BackendUri, Secret, Traces};

use super::{
    fixed_uri,
    key_path::KeyPath,
    report::Report,
    secret_text::SecretText,
    surroundings::Surroundings,
    tracing_file::{TracingProtocol, TracingSection},
};

/// What OTLP/HTTP appends to a collector's address.
const TRACES_PATH: &str = "/v1/traces";

/// Headers that the post itself needs.
const OURS: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

/// `[tracing]`: `Some(None)` where it is off.
pub(super) fn traces(
    section: &TracingSection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Option<Traces>> {
    // The one protocol that there is needs no setting; a second one must be looked at here.
    let TracingProtocol::HttpProtobuf = section.protocol;
    let endpoint = section.otlp_endpoint.as_deref();
    let endpoint = endpoint.map(|text| endpoint_uri(text, &key.key("otlp_endpoint"), report));
    let ratio = (0.0..=1.0).contains(&section.sample_ratio);
    if !ratio {
        let message = format!("{} is no ratio, expected 0 to 1", section.sample_ratio);
        report.problem(&key.key("sample_ratio"), message);
    }
    let name = section.service_name.trim();
    if name.is_empty() || name.contains(char::is_control) {
        let message = "expected a name without control characters";
        report.problem(&key.key("service_name"), message);
    }
    let table = key.key("headers");
    let mut headers = Vec::new();
    for (name, secret) in &section.headers {
        headers.push(header(name, secret, &table.key(name), around, report));
    }
    let headers = headers.into_iter().collect::<Option<Vec<_>>>();
    let Some(endpoint) = endpoint else {
        let at = key.key("otlp_endpoint");
        if report.is_given(key) && !report.is_lost(&at) {
            report.warning(key, "not used: without otlp_endpoint there are no traces");
        }
        return Some(None);
    };
    Some(Some(Traces {
        endpoint: endpoint?,
        headers: headers?,
        sample_ratio: ratio.then_some(section.sample_ratio)?,
        trust_client_context: section.trust_client_context,
        service_name: name.to_owned(),
    }))
}

fn endpoint_uri(text: &str, key: &KeyPath, report: &mut Report<'_>) -> Option<BackendUri> {
    let mut uri = fixed_uri::http_uri(text, key, report)?;
    if uri.query.is_some() {
        report.problem(key, "a collector's address has no query; a token goes into headers");
        return None;
    }
    let base = uri.path.trim_end_matches('/');
    if base.ends_with(TRACES_PATH) {
        let message = format!("{TRACES_PATH} is appended by itself, leave it out");
        report.problem(key, message);
        return None;
    }
    uri.path = format!("{base}{TRACES_PATH}");
    Some(uri)
}

fn header(
    name: &str,
    secret: &SecretText,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<(HeaderName, Secret)> {
    let parsed = HeaderName::try_from(name).ok();
    let parsed = match parsed {
        Some(name) if OURS.contains(&name) => {
            report.problem(key, "the post itself sets this header");
            None
        }
        None => {
            report.problem(key, "is no name of an HTTP header");
            None
        }
        good => good,
    };
    let secret = secret.resolve(around).map_err(|none| report.problem(key, none)).ok();
    let fits = secret.as_ref().is_none_or(|s| HeaderValue::from_str(s.reveal()).is_ok());
    if !fits {
        report.problem(key, "holds what may not stand in a header, such as a line break");
    }
    Some((parsed?, secret.filter(|_| fits)?))
}
