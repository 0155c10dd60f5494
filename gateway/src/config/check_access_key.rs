//! From what the operator wrote to what the gateway trusts: access keys and their policies.
//!
//! In, out and what holds: as in [`super::check`].

use std::collections::BTreeMap;

use tidegate_model::{AccessKey, PolicyDocument, Secret};

use super::{
    authorizer_file::AccessKeySection, check::unless_bad, document::JsonDocument,
    key_path::KeyPath, report::Report, secret_text::SecretText, surroundings::Surroundings,
};

const MAX_USER_CHARS: usize = 128;

/// The access keys of the array at `array`; each id is given once.
pub(super) fn access_keys(
    sections: &[AccessKeySection],
    array: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<AccessKey>> {
    let mut seen = BTreeMap::new();
    let mut keys = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let key = report.item(array, index);
        keys.push(access_key(section, &key, around, report));
        if let Some(id) = &section.access_key_id
            && let Some(first) = seen.insert(id.as_str(), report.line_of(&key))
        {
            let at = first.map_or(String::new(), |line| format!(", first on line {line}"));
            let message = format!("{id:?} is given twice{at}");
            report.problem(&key.key("access_key_id"), message);
        }
    }
    keys.into_iter().collect()
}

fn access_key(
    section: &AccessKeySection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<AccessKey> {
    let id = access_key_id(section.access_key_id.as_deref(), &key.key("access_key_id"), report);
    let secret =
        secret(section.secret_access_key.as_ref(), &key.key("secret_access_key"), around, report);
    let token =
        secret_or_none(section.session_token.as_ref(), &key.key("session_token"), around, report);
    let user = section.user.as_deref().map(|user| {
        let shaped = (1..=MAX_USER_CHARS).contains(&user.chars().count())
            && !user.contains(char::is_control);
        if !shaped {
            let message =
                format!("expected 1 to {MAX_USER_CHARS} characters, none of them control");
            report.problem(&key.key("user"), message);
        }
        shaped.then(|| user.to_owned())
    });
    let policy = section.policy.as_ref().map(|document| {
        let key = key.key("policy");
        // A value that was taken out of it may have been what narrowed it.
        if report.is_touched(&key) { None } else { policy(document, &key, report) }
    });
    Some(AccessKey {
        access_key_id: id?,
        secret_access_key: secret?,
        session_token: token?,
        user: unless_bad(user)?,
        policy: unless_bad(policy)?,
    })
}

/// An access key's id, which has the shape of AWS's own.
pub(super) fn access_key_id(
    text: Option<&str>,
    key: &KeyPath,
    report: &mut Report<'_>,
) -> Option<String> {
    let text = text?;
    // It stands in a signature's scope, between slashes.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let shaped = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
    if !shaped {
        let message = format!("{text:?} is no access key id: 1 to 128 of A-Z a-z 0-9 _ -");
        report.problem(key, message);
    }
    shaped.then(|| text.to_owned())
}

/// A secret that the schema requires; its absence has been reported.
pub(super) fn secret(
    source: Option<&SecretText>,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Secret> {
    source?.resolve(around).map_err(|why| report.problem(key, why)).ok()
}

/// A secret that may be left out: `None` for one that cannot be had.
pub(super) fn secret_or_none(
    source: Option<&SecretText>,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Option<Secret>> {
    unless_bad(source.map(|source| secret(Some(source), key, around, report)))
}

fn policy(
    document: &JsonDocument,
    key: &KeyPath,
    report: &mut Report<'_>,
) -> Option<PolicyDocument> {
    let document = document.value().map_err(|error| report.problem(key, error)).ok()?;
    PolicyDocument::from_json(&document).map_err(|error| report.problem(key, error)).ok()
}
