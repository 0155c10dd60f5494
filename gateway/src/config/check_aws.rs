//! From what the operator wrote to what the gateway trusts: `[aws]` and `[functions]`.
//!
//! In, out and what holds: as in [`super::check`].

use std::{collections::BTreeMap, time::Duration};

use tidegate_model::{AwsCredentials, AwsSettings, BackendUri, LocalFunction, Secret};

use super::{
    aws_file::{AwsCredentialsSection, AwsSection, FunctionSection},
    check_access_key::{access_key_id, secret, secret_or_none},
    fixed_uri::http_uri,
    key_path::KeyPath,
    report::Report,
    secret_text::SecretText,
    surroundings::Surroundings,
};

/// What the gateway itself sets for its workers: without it they would not find the gateway.
const RUNTIME_API_VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

/// `[aws]`.
pub(super) fn aws(
    section: &AwsSection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<AwsSettings> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let region = &section.region;
    if !(1..=63).contains(&region.len()) || !region.bytes().all(allowed) {
        let message = format!("{region:?} is no region such as us-east-1: 1 to 63 of a-z 0-9 -");
        report.problem(&key.key("region"), message);
    }
    let account = &section.account_id;
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        let message = format!("{account:?} is no account id such as 123456789012: 12 digits");
        report.problem(&key.key("account_id"), message);
    }
    let credentials: Vec<_> = section
        .credentials
        .iter()
        .map(|(name, section)| {
            let key = key.key("credentials").key(name);
            if name.is_empty() {
                report.problem(&key, "the name is empty");
            }
            credentials(section, &key, around, report).map(|good| (name.clone(), good))
        })
        .collect();
    let endpoints: Vec<_> = section
        .endpoints
        .iter()
        .map(|(service, text)| {
            let key = key.key("endpoints").key(service);
            if service.is_empty() || !service.bytes().all(|b| allowed(b) || b == b'.') {
                let message = format!("{service:?} is no service such as `lambda` or `sqs`");
                report.problem(&key, message);
            }
            endpoint(text, &key, report).map(|uri| (service.clone(), uri))
        })
        .collect();
    Some(AwsSettings {
        region: region.clone(),
        account_id: account.clone(),
        credentials: credentials.into_iter().collect::<Option<_>>()?,
        endpoints: endpoints.into_iter().collect::<Option<_>>()?,
    })
}

fn credentials(
    section: &AwsCredentialsSection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<AwsCredentials> {
    let id = access_key_id(section.access_key_id.as_deref(), &key.key("access_key_id"), report);
    let secret =
        secret(section.secret_access_key.as_ref(), &key.key("secret_access_key"), around, report);
    let token =
        secret_or_none(section.session_token.as_ref(), &key.key("session_token"), around, report);
    Some(AwsCredentials { access_key_id: id?, secret_access_key: secret?, session_token: token? })
}

fn endpoint(text: &str, key: &KeyPath, report: &mut Report<'_>) -> Option<BackendUri> {
    let uri = http_uri(text, key, report)?;
    if uri.query.is_some() {
        report.problem(key, "an endpoint has no query: the calls have their own");
        return None;
    }
    Some(uri)
}

/// `[functions]`.
pub(super) fn functions(
    sections: &BTreeMap<String, FunctionSection>,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<LocalFunction>> {
    sections
        .iter()
        .map(|(name, section)| function(name, section, &key.key(name), around, report))
        // All of them, before the first bad one ends it.
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn function(
    name: &str,
    section: &FunctionSection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<LocalFunction> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
        let message = format!("{name:?} is no function's name: 1 to 64 of A-Z a-z 0-9 _ -");
        report.problem(key, message);
    }
    command(&section.command, &key.key("command"), report);
    let directory = around
        .folder(&section.directory)
        .map_err(|fault| report.problem(&key.key("directory"), fault))
        .ok();
    let environment: Vec<_> = section
        .environment
        .iter()
        .map(|(name, value)| {
            let key = key.key("environment").key(name);
            variable(name, value, &key, around, report).map(|value| (name.clone(), value))
        })
        .collect();
    if section.min_workers > section.max_workers.get()
        && !report.is_touched(&key.key("max_workers"))
        && !report.is_touched(&key.key("min_workers"))
    {
        let message =
            format!("{} is more than max_workers ({})", section.min_workers, section.max_workers);
        report.problem(&key.key("min_workers"), message);
    }
    Some(LocalFunction {
        name: name.to_owned(),
        command: section.command.clone(),
        directory: directory?,
        environment: environment.into_iter().collect::<Option<_>>()?,
        timeout: Duration::from_millis(section.timeout_ms.into()),
        memory_mb: section.memory_mb.get(),
        min_workers: section.min_workers,
        max_workers: section.max_workers.get(),
        idle_worker: Duration::from_secs(section.idle_worker_s.into()),
        watch: section.watch,
    })
}

fn command(command: &[String], key: &KeyPath, report: &mut Report<'_>) {
    if report.is_touched(key) {
        return;
    }
    if command.first().is_none_or(String::is_empty) {
        let message = "names no program, expected one and its arguments, such as \
                       [\"python3\", \"-m\", \"awslambdaric\", \"app.handler\"]";
        report.problem(key, message);
    } else if command.iter().any(|argument| argument.contains('\0')) {
        report.problem(key, "an argument holds a NUL character, which no program can be given");
    }
}

fn variable(
    name: &str,
    value: &SecretText,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Secret> {
    if name.is_empty() || name.contains(['=', '\0']) {
        report.problem(key, format_args!("{name:?} is no environment variable's name"));
    } else if name == RUNTIME_API_VARIABLE {
        report.problem(key, "is set by the gateway: it is how a worker finds the gateway");
    }
    // An empty variable is one, and common; an empty secret would not be one.
    let value = match value {
        SecretText::Text(text) if text.is_empty() => Secret::new(String::new()),
        source => secret(Some(source), key, around, report)?,
    };
    if value.reveal().contains('\0') {
        report.problem(key, "the value holds a NUL character, which no variable can have");
    }
    Some(value)
}
