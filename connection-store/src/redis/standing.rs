//! Whether this node may speak for itself, and whether it is heard.
//!
//! In:  renewals, probes, links made and lost.
//! Out: the lease by this node's own clock; and what [`NodeState`] says, to whoever watches.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{link::Link, scripts::Caller};
use crate::{Lease, NodeId};

/// What a gateway wants to know of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeState {
    /// The node's number. Connections whose ids name another have been closed by the store, and
    /// their `$disconnect` is for whoever claimed them.
    pub node: NodeId,
    /// Whether messages reach this node through the bus, by the last probe, and its directory is
    /// written. Readiness follows it.
    pub delivers: bool,
    /// How many numbers this node has lost.
    pub lost_leases: u64,
}

pub(super) struct Standing {
    state: watch::Sender<NodeState>,
    /// Why the server could not be used when it was tried last; empty before that, and while it can.
    trouble: watch::Sender<String>,
    current: Mutex<Current>,
    /// Whatever [`Self::acts_for`] looks at may be another now.
    changed: Notify,
}

struct Current {
    caller: Caller,
    /// Until when nobody takes over, by this node's clock.
    lease_until: Option<Instant>,
    online: Option<Online>,
}

/// A link that works, and what the directory that it leads to is good for.
#[derive(Clone)]
pub(super) struct Online {
    pub(super) link: Link,
    /// From when on a node that the directory does not have is gone.
    pub(super) settled_at: Instant,
    /// From when on the directory has every node that was alive when it was begun.
    pub(super) known_from: Instant,
    /// What stands there of nodes that have been whole since this round can be relied on.
    pub(super) round: u64,
}

impl Standing {
    pub(super) fn new(caller: Caller) -> Self {
        let state = NodeState { node: caller.node, delivers: false, lost_leases: 0 };
        let current = Current { caller, lease_until: None, online: None };
        let (state, trouble) = (watch::Sender::new(state), watch::Sender::new(String::new()));
        Self { state, trouble, current: Mutex::new(current), changed: Notify::new() }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // It is whole between any two statements.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<NodeState> {
        self.state.subscribe()
    }

    /// What went wrong at each attempt to use the server.
    pub(super) fn troubles(&self) -> watch::Receiver<String> {
        self.trouble.subscribe()
    }

    /// The server could not be used.
    pub(super) fn failed(&self, why: &dyn std::fmt::Display) {
        self.trouble.send_replace(why.to_string());
    }

    /// What could not be done with it can be done again.
    pub(super) fn recovered(&self) {
        self.trouble.send_replace(String::new());
    }

    pub(super) fn delivers(&self) -> bool {
        self.state.borrow().delivers
    }

    pub(super) fn caller(&self) -> Caller {
        self.current().caller
    }

    pub(super) fn lease(&self, now: Instant) -> Lease {
        match self.current().lease_until {
            Some(until) if now < until => Lease::Until(until),
            _ => Lease::Lost,
        }
    }

    pub(super) fn holds(&self, now: Instant) -> bool {
        self.lease(now) != Lease::Lost
    }

    /// Whether this node may act for what was accepted under the number `node`: `None` while others
    /// may have taken over, or may do so before they can be told what was done here.
    pub(super) fn acts_for(&self, node: NodeId, now: Instant) -> Option<bool> {
        let current = self.current();
        if current.caller.node != node {
            return Some(false);
        }
        let Some(until) = current.lease_until else {
            // A number that was never held is in no directory, and nobody can take it over.
            return Some(true);
        };
        (now < until && current.online.is_some()).then_some(true)
    }

    /// Whether this node may act under that very number and incarnation, and can tell what it does.
    pub(super) fn acts_as(&self, caller: Caller, now: Instant) -> bool {
        let current = self.current();
        let is_held = current.lease_until.is_some_and(|until| now < until);
        current.caller == caller && is_held && current.online.is_some()
    }

    /// What [`Self::acts_for`] says, once it is known. Who has waited waits for the directory too: if this node is killed
    /// then, another one finds there what was under way.
    pub(super) async fn will_act_for(&self, node: NodeId) -> bool {
        loop {
            // Before the look: a change after it is told.
            let changed = self.changed.notified();
            match self.acts_for(node, Instant::now()) {
                Some(acts) if !acts || self.delivers() => return acts,
                _ => changed.await,
            }
        }
    }

    /// A renewal that was asked for at `asked` has succeeded.
    pub(super) fn renewed(&self, asked: Instant, lease: Duration) {
        self.current().lease_until = Some(asked + lease);
        self.changed.notify_waiters();
    }

    /// The link by which other nodes are reached, if it works.
    pub(super) fn link(&self) -> Option<Link> {
        self.current().online.as_ref().map(|online| online.link.clone())
    }

    pub(super) fn online(&self) -> Option<Online> {
        self.current().online.clone()
    }

    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.current().online.as_ref().is_some_and(|online| online.settled_at <= now)
    }

    pub(super) fn came_online(&self, online: Online) {
        self.current().online = Some(online);
        self.trouble.send_replace(String::new());
    }

    pub(super) fn went_offline(&self) {
        self.current().online = None;
        self.set_delivers(false);
    }

    /// The node has left, or its thread has ended.
    pub(super) fn ended(&self) {
        let mut current = self.current();
        current.lease_until = current.lease_until.map(|until| until.min(Instant::now()));
    }

    pub(super) fn set_delivers(&self, delivers: bool) {
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.delivers, delivers) != delivers);
        self.changed.notify_waiters();
    }

    /// The node has another number from now on. `lost`: it had held the old one.
    pub(super) fn renumber(&self, node: NodeId, lost: bool) {
        let mut current = self.current();
        current.caller.node = node;
        current.lease_until = None;
        drop(current);
        self.state.send_modify(|state| {
            state.node = node;
            state.lost_leases += u64::from(lost);
        });
        self.changed.notify_waiters();
    }
}
