//! From what the operator wrote to what the gateway trusts: `[store]`.
//!
//! In, out and what holds: as in [`super::check`]. No message shows a url: it may hold a password.

use std::time::Duration;

use connection_store::RedisOptions;
use tidegate_model::{Limits, RedisStoreSettings, Secret, Store};

use super::{
    file::GatewayFile,
    key_path::KeyPath,
    report::Report,
    store_file::{StoreKind, StoreSection, StoreUrl},
    surroundings::Surroundings,
};

const MAX_PREFIX_BYTES: usize = 64;

/// The longest message that nodes hand on. One message of the bus has 16 MiB at most; the rest is
/// room for whom it goes to, which is up to 10,000 connections and as many that it leaves out.
const MAX_MESSAGE_BYTES: usize = 15 << 20;

/// The store, where everything that the file says about it is good.
pub(super) fn store(
    file: &GatewayFile,
    limits: &Limits,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Store> {
    let key = KeyPath::root().key("store");
    let section = &file.store;
    match section.kind {
        // A kind that could not be read says nothing about the rest.
        _ if report.is_lost(&key.key("kind")) => None,
        StoreKind::Memory => {
            memory(section, &key, report);
            Some(Store::Memory)
        }
        StoreKind::Redis => {
            message_size(limits, report);
            let prefix = prefix(section, &key, report);
            let urls = urls(section, &key.key("url"), around, report);
            let node_lease = Duration::from_secs(section.node_lease_s.into());
            let is_cluster = matches!(section.url, Some(StoreUrl::Several(_)));
            let (urls, prefix) = (urls?, prefix?);
            Some(Store::Redis(RedisStoreSettings { urls, is_cluster, node_lease, prefix }))
        }
    }
}

/// A url beside the memory is a node that was meant to share and does not.
fn memory(section: &StoreSection, key: &KeyPath, report: &mut Report<'_>) {
    if section.url.is_some() {
        let message = "store.kind is \"memory\", which has no url: \"redis\" is the kind for one";
        report.problem(&key.key("url"), message);
    }
    for name in ["node_lease_s", "prefix"] {
        let key = key.key(name);
        if report.is_given(&key) {
            report.warning(&key, "not used, because store.kind is \"memory\"");
        }
    }
}

fn message_size(limits: &Limits, report: &mut Report<'_>) {
    if limits.max_message_bytes > MAX_MESSAGE_BYTES {
        let message = format!(
            "{} is more than {MAX_MESSAGE_BYTES}, which is what nodes that share a Redis can hand on",
            limits.max_message_bytes
        );
        report.problem(&KeyPath::root().key("limits").key("max_message_bytes"), message);
    }
}

fn prefix(section: &StoreSection, key: &KeyPath, report: &mut Report<'_>) -> Option<String> {
    let prefix = &section.prefix;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    let shaped = (1..=MAX_PREFIX_BYTES).contains(&prefix.len()) && prefix.bytes().all(allowed);
    if !shaped {
        let message =
            format!("{prefix:?} is no prefix: 1 to {MAX_PREFIX_BYTES} of A-Z a-z 0-9 _ - . :");
        report.problem(&key.key("prefix"), message);
    }
    shaped.then(|| prefix.clone())
}

fn urls(
    section: &StoreSection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<Secret>> {
    let Some(url) = &section.url else {
        if !report.is_lost(key) {
            let message = "is missing: \"redis\" needs one, such as \"redis://127.0.0.1:6379\"";
            report.problem(key, message);
        }
        return None;
    };
    // Each with its key.
    let (places, sources): (Vec<_>, Vec<_>) = match url {
        StoreUrl::One(source) => (vec![key.clone()], vec![source]),
        StoreUrl::Several(sources) => {
            ((0..sources.len()).map(|at| report.item(key, at)).collect(), sources.iter().collect())
        }
    };
    let found: Vec<_> = places
        .iter()
        .zip(sources)
        .map(|(place, source)| {
            source.resolve(around).map_err(|why| report.problem(place, why)).ok()
        })
        .collect();
    let urls: Vec<Secret> = found.into_iter().collect::<Option<_>>()?;
    // What was taken out of an array may be what the others do not go with.
    if report.is_touched(key) {
        return None;
    }
    let texts: Vec<&str> = urls.iter().map(Secret::reveal).collect();
    let options = match (url, &texts[..]) {
        (StoreUrl::One(_), [one]) => RedisOptions::new(one),
        _ => RedisOptions::cluster(&texts),
    };
    match options {
        Ok(_) => Some(urls),
        Err(invalid) => {
            let place = places.get(invalid.place.saturating_sub(1)).unwrap_or(key);
            report.problem(place, &invalid);
            None
        }
    }
}
