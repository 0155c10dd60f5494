//! The keys of all issuers that a node's authorizers trust.
//!
//! In:  issuers, as authorizers are compiled; the time.
//! Out: one [`IssuerKeys`] for each, shared by all authorizers that have it.
//!
//! Holds always: keys outlive a reload that keeps their authorizer, and go with the last one that
//! needs them.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tidegate_integrations::BackendPools;
use tidegate_model::JwtKeys;
use tokio::{sync::Notify, time::timeout_at};

use super::issuer_keys::IssuerKeys;

/// All issuers' keys on this node. One per process; clones are handles on the same keys.
#[derive(Debug, Clone, Default)]
pub struct JwtKeyCache(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    issuers: Mutex<Vec<Weak<IssuerKeys>>>,
    /// There is an issuer that nobody has been asked for yet.
    added: Notify,
}

impl JwtKeyCache {
    /// A cache that knows no issuer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys of `issuer` from `place`.
    pub(super) fn of(&self, issuer: &str, place: &JwtKeys) -> Arc<IssuerKeys> {
        let mut issuers = self.0.issuers.lock();
        issuers.retain(|known| known.strong_count() > 0);
        let known = issuers.iter().filter_map(Weak::upgrade).find(|keys| keys.are(issuer, place));
        known.unwrap_or_else(|| {
            let keys = Arc::new(IssuerKeys::new(issuer, place));
            issuers.push(Arc::downgrade(&keys));
            self.0.added.notify_one();
            keys
        })
    }

    /// Fetches each issuer's keys as soon as an authorizer needs them, and again when they are due.
    /// Never ends: one core of the node runs it, over its `pools`, until it shuts down.
    pub async fn keep_fresh(&self, pools: &BackendPools) -> Infallible {
        loop {
            let issuers: Vec<_> = self.0.issuers.lock().iter().filter_map(Weak::upgrade).collect();
            let next = issuers.iter().map(|keys| keys.refresh_when_due(pools)).min();
            // Not kept while we wait: they go with their authorizers.
            drop(issuers);
            match next {
                Some(next) => drop(timeout_at(next, self.0.added.notified()).await),
                None => self.0.added.notified().await,
            }
        }
    }
}
