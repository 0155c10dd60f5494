//! This node among others that share a Redis: what the store cannot do by itself.
//!
//! In:  the connections of nodes that died, and how this node stands.
//! Out: their `$disconnect`, at a bounded rate; lines in the log; figures for `/metrics`.
//!
//! Holds always: an orphan whose `$disconnect` was begun here is not given to another node while
//! this one lives; a node that drains begins none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use connection_store::{
    ConnectionStore as _, InvalidRedisUrl, Lease, Orphan, RedisOptions, RedisStore,
};
use tidegate_flow::token_bucket::TokenBucket;
use tidegate_model::{RedisStoreSettings, Throttle};
use tidegate_telemetry::BusFigures;
use tokio::{sync::Semaphore, time::sleep};
use tracing::{debug, info, warn};

use crate::{
    core_state::Core,
    node::{Node, Phase},
    websocket::{self, Connection},
};

/// `$disconnect` calls of another node's connections that are begun in a second. 20,000 of them are
/// over in half of the 10 s that a lease leaves, if the backend keeps up.
const ORPHANS_PER_S: f64 = 4000.0;

/// How long is waited where that rate is reached.
const PAUSE: Duration = Duration::from_millis(5);

/// The Redis store and what is counted beside it.
pub(crate) struct Cluster {
    pub(crate) store: Arc<RedisStore<Connection>>,
    /// Orphans whose facts this node could not use.
    unusable: AtomicU64,
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
        let options = RedisOptions::new(&urls)?.lease(settings.node_lease).prefix(&settings.prefix);
        let store = RedisStore::start(options).map_err(StoreError::Thread)?;
        Ok(Self { store: Arc::new(store), unusable: AtomicU64::new(0) })
    }

    /// What stands in `/metrics`.
    pub(crate) fn figures(&self) -> BusFigures {
        let counts = self.store.counts();
        BusFigures {
            delivers: self.store.delivers(),
            holds_lease: self.store.lease() != Lease::Lost,
            sent: counts.sent,
            published: counts.published,
            published_bytes: counts.published_bytes,
            received: counts.received,
            receipts: counts.receipts,
            timeouts: counts.timeouts,
            refused: counts.refused,
            dropped_too_long: counts.dropped_too_long,
            dropped_foreign: counts.dropped_foreign,
            dropped_version: counts.dropped_version,
            dropped_malformed: counts.dropped_malformed,
            dropped_overflow: counts.dropped_overflow,
            dropped_late: counts.dropped_late,
            connects: counts.connects,
            failed_connects: counts.failed_connects,
            disconnects: counts.disconnects,
            failed_probes: counts.failed_probes,
            lost_leases: counts.lost_leases,
            claimed_nodes: counts.claimed_nodes,
            orphans: counts.orphans,
            unusable_orphans: self.unusable.load(Ordering::Relaxed),
            waiting: counts.waiting,
            queued_bytes: counts.queued_bytes,
        }
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

/// Runs the `$disconnect` of connections whose node has died, for as long as the runtime lives.
pub(crate) async fn adopt(core: Arc<Core>) {
    let Some(cluster) = core.node.cluster() else { return };
    let Some(mut orphans) = cluster.store.orphans() else { return };
    // The other half is for this node's own clients.
    let places = core.node.snapshot().limits.lifecycle_calls_in_flight.get().div_ceil(2);
    let places = Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(1)));
    let pace = TokenBucket::new(Throttle { rate: ORPHANS_PER_S, burst: 100 });
    while let Some(orphan) = orphans.next().await {
        while !pace.take(core.node.now_ns()) {
            sleep(PAUSE).await;
        }
        let Ok(place) = places.clone().acquire_owned().await else { return };
        if core.node.phase() == Phase::Draining {
            // Whoever stays will do it.
            return;
        }
        let core = core.clone();
        tokio::spawn(async move {
            adopt_one(core, orphan).await;
            drop(place);
        });
    }
}

async fn adopt_one(core: Arc<Core>, orphan: Orphan) {
    let facts = websocket::adopted_facts(&core.node, &orphan);
    match facts {
        Ok(facts) => {
            debug!(connection_id = %facts.id, "connection of a dead node");
            if !websocket::run_orphans_disconnect(&core, &facts).await {
                give_up(&core, &orphan, "its stage is not served here");
            }
        }
        Err(err) => give_up(&core, &orphan, &err.to_string()),
    }
    // Also where it could not be run: it would come back for ever.
    orphan.done();
}

fn give_up(core: &Core, orphan: &Orphan, reason: &str) {
    if let Some(cluster) = core.node.cluster() {
        cluster.unusable.fetch_add(1, Ordering::Relaxed);
    }
    warn!(connection_id = %orphan.id(), reason, "the $disconnect of a dead node's connection is not run");
}
