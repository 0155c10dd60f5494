//! Whether this node may speak for itself, and whether it is heard.
//!
//! In:  renewals, probes, links made and lost.
//! Out: the lease by this node's own clock; and what [`NodeState`] says, to whoever watches.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

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
}

struct Current {
    caller: Caller,
    /// Until when nobody takes over, by this node's clock.
    lease_until: Option<Instant>,
    link: Option<Link>,
    /// From when on what the directory does not have is not there.
    settled_at: Option<Instant>,
}

impl Standing {
    pub(super) fn new(caller: Caller) -> Self {
        let state = NodeState { node: caller.node, delivers: false, lost_leases: 0 };
        let current = Current { caller, lease_until: None, link: None, settled_at: None };
        let (state, trouble) = (watch::Sender::new(state), watch::Sender::new(String::new()));
        Self { state, trouble, current: Mutex::new(current) }
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
        (now < until && current.link.is_some()).then_some(true)
    }

    /// A renewal that was asked for at `asked` has succeeded.
    pub(super) fn renewed(&self, asked: Instant, lease: Duration) {
        self.current().lease_until = Some(asked + lease);
    }

    /// The link by which other nodes are reached, if it works.
    pub(super) fn link(&self) -> Option<Link> {
        self.current().link.clone()
    }

    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.current().settled_at.is_some_and(|at| at <= now)
    }

    pub(super) fn came_online(&self, link: Link, settled_at: Instant) {
        let mut current = self.current();
        current.link = Some(link);
        current.settled_at = Some(settled_at);
        drop(current);
        self.trouble.send_replace(String::new());
    }

    pub(super) fn went_offline(&self) {
        let mut current = self.current();
        current.link = None;
        current.settled_at = None;
        drop(current);
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
    }
}
