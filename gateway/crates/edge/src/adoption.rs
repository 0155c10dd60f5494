//! The `$disconnect` of connections whose node has died, as this node has claimed them.
//!
//! In:  orphans, as the store hands them out; the limits of the moment.
//! Out: their `$disconnect`, at a bounded rate, so many at once; a line in the log for each node and
//! stage of which none could be run.
//!
//! Holds always: an orphan whose `$disconnect` was begun here is not given to another node while
//! this one lives; a node that drains, or could not note its end, begins none.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use connection_store::{NodeId, Orphan};
use tidegate_flow::{context::ConnectionFacts, token_bucket::TokenBucket};
use tidegate_model::Throttle;
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tracing::{debug, warn};

use crate::{
    core_state::Core,
    snapshot::StageEntry,
    websocket::{self, UnusableFacts},
};

/// `$disconnect` calls of another node's connections that are begun in a second. 20,000 of them are
/// over in half of the 10 s that a lease leaves, if the backend keeps up.
const ORPHANS_PER_S: f64 = 4000.0;

/// How long is waited where that rate is reached.
const PAUSE: Duration = Duration::from_millis(5);

/// Without another orphan for so long, those of a dead node have been seen.
const QUIET: Duration = Duration::from_secs(1);

/// Runs what the store hands out, for as long as the runtime lives.
pub(crate) async fn adopt(core: Arc<Core>) {
    let Some(cluster) = core.node.cluster() else { return };
    let Some(mut orphans) = cluster.store.orphans() else { return };
    let pace = TokenBucket::new(Throttle { rate: ORPHANS_PER_S, burst: 100 });
    let (mut calls, mut unusable) = (JoinSet::new(), Unusable::default());
    loop {
        let orphan = tokio::select! {
            orphan = orphans.next() => orphan,
            () = sleep(QUIET), if !unusable.is_empty() => {
                unusable.tell();
                continue;
            }
        };
        let Some(orphan) = orphan else { break };
        while !pace.take(core.node.now_ns()) {
            sleep(PAUSE).await;
        }
        make_room(&mut calls, || share(&core), cluster.reloads()).await;
        if !orphan.is_ours() {
            // It was so while this waited for the pace and for a place.
            continue;
        }
        match known(&core, &orphan) {
            Ok((facts, stage)) => {
                let core = core.clone();
                calls.spawn(async move {
                    debug!(connection_id = %facts.id, "connection of a dead node");
                    websocket::run_orphans_disconnect(&core, &facts, &stage, orphan).await;
                });
            }
            Err(why) => {
                cluster.count_unusable_orphan();
                debug!(connection_id = %orphan.id(), ?why, "connection of a dead node, given up");
                unusable.add(orphan.id().node(), why);
                // It would come back for ever.
                orphan.done();
            }
        }
    }
    unusable.tell();
    calls.detach_all();
}

/// How many calls may be under way: the other half is for this node's own clients.
fn share(core: &Core) -> usize {
    let limit = core.node.snapshot().limits.lifecycle_calls_in_flight;
    usize::try_from(limit.get().div_ceil(2)).unwrap_or(usize::MAX)
}

/// Waits until fewer calls than `share` says are under way. It is asked again when a call has ended,
/// and at each reload.
async fn make_room(calls: &mut JoinSet<()>, share: impl Fn() -> usize, reloads: &Notify) {
    while calls.try_join_next().is_some() {}
    while calls.len() >= share() {
        tokio::select! {
            _ = calls.join_next() => {}
            () = reloads.notified() => {}
        }
    }
}

/// What is known of an orphan here: its facts and its stage.
fn known(core: &Core, orphan: &Orphan) -> Result<(ConnectionFacts, Arc<StageEntry>), Why> {
    let facts = websocket::adopted_facts(&core.node, orphan)?;
    match core.node.snapshot().stage_named(&facts.api_id, &facts.stage) {
        Some(stage) => Ok((facts, stage.clone())),
        None => {
            let (api, stage) = (facts.api_id.to_string(), facts.stage.to_string());
            Err(Why::Stage { api, stage })
        }
    }
}

/// Why the `$disconnect` of an orphan is not run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// This node serves no such stage.
    Stage { api: String, stage: String },
    /// Its facts cannot be used.
    Facts(String),
}

impl From<UnusableFacts> for Why {
    fn from(unusable: UnusableFacts) -> Self {
        Self::Facts(unusable.to_string())
    }
}

/// Orphans whose `$disconnect` was not run, until the log has been told: thousands may come at once,
/// and all for one reason.
#[derive(Debug, Default)]
struct Unusable(BTreeMap<(NodeId, Why), u64>);

impl Unusable {
    /// Reasons that are held at most: what the facts name came from another node.
    const CAPACITY: usize = 64;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, dead: NodeId, why: Why) {
        *self.0.entry((dead, why)).or_default() += 1;
        if self.0.len() >= Self::CAPACITY {
            self.tell();
        }
    }

    /// One line for each node and reason.
    fn tell(&mut self) {
        for ((node, why), count) in mem::take(&mut self.0) {
            match why {
                Why::Stage { api, stage } => warn!(
                    %node,
                    api_id = api,
                    stage,
                    count,
                    "the $disconnects of a dead node's connections are not run: their stage is not \
                     served here"
                ),
                Why::Facts(reason) => warn!(
                    %node,
                    reason,
                    count,
                    "the $disconnects of a dead node's connections are not run: their facts cannot \
                     be used"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending, pin::pin};

    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_larger_share_reaches_who_waits_for_a_place_at_the_reload() {
        let (limit, reloads, mut calls) = (Cell::new(1), Notify::new(), JoinSet::new());
        make_room(&mut calls, || limit.get(), &reloads).await;
        calls.spawn(pending());
        let mut room = pin!(make_room(&mut calls, || limit.get(), &reloads));
        assert!(timeout(LONG, &mut room).await.is_err(), "the only call goes on");
        reloads.notify_one();
        assert!(timeout(LONG, &mut room).await.is_err(), "the reload was about something else");
        limit.set(2);
        reloads.notify_one();
        assert_eq!(timeout(LONG, room).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_smaller_share_waits_until_few_enough_are_left() {
        let (limit, reloads, mut calls) = (Cell::new(3), Notify::new(), JoinSet::new());
        let mut ends = Vec::new();
        for _ in 0..3 {
            let (end, ended) = oneshot::channel::<()>();
            ends.push(end);
            calls.spawn(async move { drop(ended.await) });
        }
        limit.set(2);
        let mut room = pin!(make_room(&mut calls, || limit.get(), &reloads));
        drop(ends.pop());
        assert!(timeout(LONG, &mut room).await.is_err(), "two are as many as there may be");
        drop(ends.pop());
        assert_eq!(timeout(LONG, room).await, Ok(()));
    }

    #[test]
    fn of_each_dead_node_the_log_is_told_once_for_each_stage() {
        let [first, second] = [1, 2].map(|number| NodeId::new(number).expect("a number"));
        let stage = |name: &str| Why::Stage { api: "chat".to_owned(), stage: name.to_owned() };
        let mut unusable = Unusable::default();
        for _ in 0..3000 {
            unusable.add(first, stage("test"));
        }
        unusable.add(first, stage("beta"));
        unusable.add(second, stage("test"));
        unusable.add(second, UnusableFacts::Version(2).into());
        let counts: Vec<u64> = unusable.0.values().copied().collect();
        assert_eq!(counts, [1, 3000, 1, 1]);
        unusable.tell();
        assert!(unusable.is_empty());
        for number in 0..3000 {
            unusable.add(first, stage(&number.to_string()));
            assert!(unusable.0.len() < Unusable::CAPACITY, "it holds more than it may");
        }
    }
}
