//! This node among others that share a Redis: what the store cannot do by itself.
//!
//! In:  how this node stands, and what it could not do for nodes that died.
//! Out: lines in the log; figures for `/metrics`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use connection_store::{ConnectionStore as _, InvalidRedisUrl, Lease, RedisOptions, RedisStore};
use tidegate_model::RedisStoreSettings;
use tidegate_telemetry::BusFigures;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::{
    bus_figures::{self, Standing},
    node::{Node, Phase},
    websocket::Connection,
};

/// The Redis store and what is counted beside it.
pub(crate) struct Cluster {
    pub(crate) store: Arc<RedisStore<Connection>>,
    /// Orphans whose facts this node could not use.
    unusable: AtomicU64,
    reloads: Notify,
}

/// Why a Redis store does not start.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A url of `[store] url`.
    #[error("store.url")]
    Url(#[from] InvalidRedisUrl),
    /// The store's thread.
    #[error("start the store's thread")]
    Thread(#[source] std::io::Error),
}

impl Cluster {
    /// Begins to reach for the Redis. Does not wait for it.
    pub(crate) fn start(settings: &RedisStoreSettings) -> Result<Self, StoreError> {
        let urls: Vec<_> = settings.urls.iter().map(tidegate_model::Secret::reveal).collect();
        let options = match &urls[..] {
            [one] if !settings.is_cluster => RedisOptions::new(one)?,
            nodes => RedisOptions::cluster(nodes)?,
        };
        let options = options.lease(settings.node_lease).prefix(&settings.prefix);
        let store = RedisStore::start(options).map_err(StoreError::Thread)?;
        let (unusable, reloads) = (AtomicU64::new(0), Notify::new());
        Ok(Self { store: Arc::new(store), unusable, reloads })
    }

    /// What stands in `/metrics`.
    pub(crate) fn figures(&self) -> BusFigures {
        bus_figures::of(
            &self.store.counts(),
            &Standing {
                delivers: self.store.delivers(),
                holds_lease: self.store.lease() != Lease::Lost,
                unusable_orphans: self.unusable.load(Ordering::Relaxed),
            },
        )
    }

    /// The `$disconnect` of a dead node's connection cannot be run here.
    pub(crate) fn count_unusable_orphan(&self) {
        self.unusable.fetch_add(1, Ordering::Relaxed);
    }

    /// Another configuration is served from now on.
    pub(crate) fn reloaded(&self) {
        self.reloads.notify_one();
    }

    /// Told at each [`Self::reloaded`], to one who waits.
    pub(crate) fn reloads(&self) -> &Notify {
        &self.reloads
    }
}

/// Tells in the log how this node stands, for as long as the runtime lives.
pub(crate) async fn tell(node: Arc<Node>) {
    let Some(cluster) = node.cluster() else { return };
    let mut state = cluster.store.state();
    let mut last = *state.borrow_and_update();
    let mut troubles = cluster.store.troubles();
    let mut last_trouble = String::new();
    let mut is_first = true;
    loop {
        let now = *state.borrow_and_update();
        if now.lost_leases > last.lost_leases {
            warn!(
                old_node = %last.node,
                node = %now.node,
                "the lease was lost: clients are closed with 1012, and the node goes on under a new number"
            );
        }
        match (last.delivers, now.delivers) {
            (false, true) => info!(node = %now.node, "the bus delivers"),
            // It has left, as it should.
            (true, false) if node.phase() == Phase::Draining => {}
            (true, false) => {
                warn!(node = %now.node, "the bus does not deliver: only this node's own connections are reached");
            }
            (false, false) if is_first => info!(node = %now.node, "reaching for the redis"),
            _ => {}
        }
        // It is tried every second or so: one line for each new reason.
        let trouble = troubles.borrow_and_update().clone();
        if !trouble.is_empty() && trouble != last_trouble {
            warn!(error = trouble, "the redis cannot be used, and is tried again");
        }
        last_trouble = trouble;
        (last, is_first) = (now, false);
        let told = tokio::select! {
            told = state.changed() => told,
            told = troubles.changed() => told,
        };
        if told.is_err() {
            return;
        }
    }
}
