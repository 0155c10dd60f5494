//! What the store's callers and its thread share.
//!
//! In:  calls about connections of other nodes.
//! Out: questions on the bus, and what became of them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::future::join_all;
use redis::{RedisError, Value};
use tokio::sync::watch;

use super::{
    counts::{BusCounts, Counters},
    directory::Directory,
    keys::Keys,
    link::Link,
    options::RedisOptions,
    orphans::Desk,
    outbox::Outbox,
    roll::Roll,
    scripts::{listed, node, number, texts},
    standing::{Online, Standing},
    unfinished::Unfinished,
    wire::{Answer, Question},
};
use crate::{
    Audience, CallName, ConnectionId, ConnectionList, ConnectionStore as _, DeliveryError,
    Invocations, LocalConnection, MemoryStore, Message, NodeId, Reply, Scope, SendReport,
    Unavailable, remembered_report::RememberedReport,
};

/// All but the connections.
pub(super) struct Bus {
    pub(super) options: RedisOptions,
    pub(super) keys: Arc<Keys>,
    pub(super) standing: Standing,
    pub(super) counters: Counters,
    pub(super) outbox: Outbox,
    pub(super) directory: Arc<Directory>,
    pub(super) desk: Arc<Desk>,
    pub(super) roll: Roll,
    /// The last probe that came back.
    pub(super) probed: watch::Sender<u64>,
}

/// The store behind its handle.
pub(super) struct Core<C> {
    pub(super) bus: Arc<Bus>,
    pub(super) inner: MemoryStore<C>,
    pub(super) unfinished: Unfinished<C>,
    /// Sends that this node was asked for by name.
    pub(super) sends: Invocations<RememberedReport>,
}

impl Bus {
    pub(super) fn counts(&self) -> BusCounts {
        let (waiting, queued_bytes) = self.outbox.load();
        BusCounts {
            waiting: waiting as u64,
            queued_bytes: queued_bytes as u64,
            ..self.counters.snapshot()
        }
    }

    /// A node has a tombstone: whatever was its own is gone, also for who waits for its answer.
    pub(super) fn node_fell(&self, node: NodeId) {
        self.roll.fell(node, Instant::now());
        self.outbox.answer_for(node, &Answer::Failed(DeliveryError::Gone));
    }

    /// Asks another node. Known at once where nobody can be asked.
    pub(super) fn ask(&self, to: NodeId, question: Question) -> Reply<Answer> {
        if self.roll.has_fallen(to) {
            return Reply::ready(Answer::Failed(DeliveryError::Gone));
        }
        let unavailable = Answer::Failed(DeliveryError::Unavailable);
        let asked = match self.standing.link() {
            Some(_) => self.outbox.ask(to, question, self.options.patience()),
            None => Err(Unavailable),
        };
        match asked {
            Ok(answer) => {
                self.counters.sent.add(1);
                Reply::Later(Box::pin(async move { answer.await.unwrap_or(unavailable) }))
            }
            Err(Unavailable) => {
                self.counters.refused.add(1);
                Reply::ready(unavailable)
            }
        }
    }

    /// The other nodes that have members of an audience, in the order of their numbers. Not known
    /// while the directory lacks what a node has that may be alive: it was lost, or may have been.
    pub(super) async fn others(
        &self,
        scope: &Scope,
        audience: &Audience,
    ) -> Result<Vec<NodeId>, Unavailable> {
        let name = self.keys.audience(scope, audience).ok_or(Unavailable)?;
        let Online { link, known_from, round, .. } = self.standing.online().ok_or(Unavailable)?;
        let caller = self.standing.caller();
        let found = link.query(&caller.look_up(&self.keys, &name, round)).await;
        let found = listed(found.map_err(|_| Unavailable)?);
        let Ok([all, late, members]) = <[Value; 3]>::try_from(found) else {
            // It is not the one that this node wrote itself into.
            self.directory.doubt();
            return Err(Unavailable);
        };
        let nodes_in = |value| texts(value).iter().filter_map(|text| node(text)).collect();
        let (all, mut members): (Vec<_>, Vec<_>) = (nodes_in(all), nodes_in(members));
        let now = Instant::now();
        // In this order: who was found is known from now on, whatever is said of the directory.
        let lacking = self.roll.lacks(&all, now);
        let is_whole = number(&late) == 0 && now >= known_from;
        if !is_whole || !self.have_fallen(&link, &lacking).await.unwrap_or(false) {
            return Err(Unavailable);
        }
        members.retain(|node| *node != caller.node);
        members.sort_unstable();
        Ok(members)
    }

    /// Whether all of some nodes have a tombstone; notes those that do.
    pub(super) async fn have_fallen(
        &self,
        link: &Link,
        nodes: &[NodeId],
    ) -> Result<bool, RedisError> {
        let mut all = true;
        for node in nodes {
            let mut tombstone = redis::cmd("EXISTS");
            tombstone.arg(self.keys.of_node("fallen", *node));
            match number(&link.query(&tombstone).await?) {
                1 => self.node_fell(*node),
                _ => all = false,
            }
        }
        Ok(all)
    }

    /// Asks every other node that has members of an audience, side by side. A list of connections
    /// is split among the nodes that its ids name.
    pub(super) async fn ask_others(
        &self,
        scope: &Scope,
        audience: Audience,
        question: impl Fn(NodeId, Audience) -> Question,
    ) -> Result<Vec<(Audience, Answer)>, Unavailable> {
        let parts: Vec<(NodeId, Audience)> = match audience {
            Audience::Connections(list) => {
                let own = self.standing.caller().node;
                let parts = split(list.as_slice());
                parts.into_iter().filter(|(node, _)| *node != own).collect()
            }
            audience => {
                let nodes = self.others(scope, &audience).await?;
                nodes.into_iter().map(|node| (node, audience.clone())).collect()
            }
        };
        let asked = parts.into_iter().map(|(node, part)| {
            let answer = self.ask(node, question(node, part.clone()));
            async { (part, answer.await) }
        });
        Ok(join_all(asked).await)
    }
}

/// The parts of a list that are each one node's.
pub(super) fn split(ids: &[ConnectionId]) -> BTreeMap<NodeId, Audience> {
    let mut parts: BTreeMap<NodeId, Vec<ConnectionId>> = BTreeMap::new();
    for id in ids {
        parts.entry(id.node()).or_default().push(*id);
    }
    let list = |ids| ConnectionList::new(ids).expect("a part of a list is no longer than it");
    parts.into_iter().map(|(node, ids)| (node, Audience::Connections(list(ids)))).collect()
}

/// Sends to those of an audience that are this node's own; once for all calls of that name.
pub(super) fn send_to_own<C: LocalConnection>(
    inner: &MemoryStore<C>,
    scope: &Scope,
    audience: Audience,
    message: Message,
    except: Vec<ConnectionId>,
    call: Option<&CallName>,
) -> Reply<Result<SendReport, Unavailable>> {
    match call {
        Some(call) => inner.send_once(scope, audience, message, except, call),
        None => inner.send(scope, audience, message, except),
    }
}

/// Adds up what nodes answered to a send. `except` are not gone: nobody asked about them.
pub(super) fn add_reports(
    total: &mut SendReport,
    answers: Vec<(Audience, Answer)>,
    except: &[ConnectionId],
) -> Result<(), Unavailable> {
    let mut all_answered = Ok(());
    for (part, answer) in answers {
        match answer {
            Answer::Report { recipients, gone } => {
                total.recipients += recipients;
                total.nodes += u32::from(recipients > 0);
                total.gone.extend(gone);
            }
            Answer::Failed(DeliveryError::Gone) => {
                if let Audience::Connections(list) = part {
                    let gone = list.into_vec().into_iter().filter(|id| !except.contains(id));
                    total.gone.extend(gone);
                }
            }
            _ => all_answered = Err(Unavailable),
        }
    }
    all_answered
}

/// Adds up what nodes counted. A node that is gone has nobody.
pub(super) fn add_numbers(answers: Vec<(Audience, Answer)>) -> Result<u64, Unavailable> {
    answers.into_iter().try_fold(0u64, |total, (_, answer)| match answer {
        Answer::Number(number) => Ok(total.saturating_add(number)),
        Answer::Failed(DeliveryError::Gone) => Ok(total),
        _ => Err(Unavailable),
    })
}

impl<C: LocalConnection> Core<C> {
    /// Whether this node may answer in its own name.
    pub(super) fn may_answer(&self) -> bool {
        self.bus.standing.holds(Instant::now())
    }

    /// Whether it is a list of which every connection is this node's own: nobody else is asked.
    pub(super) fn owns_all(&self, audience: &Audience) -> bool {
        let node = self.inner.node();
        match audience {
            Audience::Connections(list) => list.as_slice().iter().all(|id| id.node() == node),
            _ => false,
        }
    }
}
