//! The connections of this node that another one may have to finish.
//!
//! In:  connections as they are inserted, removed and done with; whose facts are sent to the server.
//! Out: those with facts, each with its facts, for a directory that is written anew; and whose facts
//! never left this node.
//!
//! The store's own index knows who can be reached. Who is closing cannot, and its `$disconnect` is
//! still to be run: were this node killed now, another would need its facts as well. And whoever
//! takes this node for dead finishes those of whom it finds facts: the rest nobody else can.
//!
//! Holds always: a connection that has facts is here from its insert until its `$disconnect` is
//! over. What is held here keeps no connection alive. Facts that a server may have are never said to
//! be this node's only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;

use crate::{ConnectionId, LocalConnection, NodeId};

/// Below this many places `shrink` leaves the map alone.
const PLACES_WORTH_KEEPING: usize = 4096;

pub(super) struct Unfinished<C>(Mutex<HashMap<ConnectionId, Held<C>>>);

struct Held<C> {
    connection: Weak<C>,
    /// Whether a server may have its facts.
    was_sent: bool,
}

impl<C> Default for Unfinished<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C: LocalConnection> Unfinished<C> {
    fn held(&self) -> MutexGuard<'_, HashMap<ConnectionId, Held<C>>> {
        // It is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: ConnectionId) -> Option<Arc<C>> {
        self.held().get(&id)?.connection.upgrade()
    }

    /// A connection is about to be reachable.
    pub(super) fn inserted(&self, connection: &Arc<C>) {
        let held = Held { connection: Arc::downgrade(connection), was_sent: false };
        self.held().insert(connection.id(), held);
    }

    /// A connection cannot be reached any more. It stays here if it has facts.
    pub(super) fn removed(&self, id: ConnectionId) {
        // No connection is called under the lock.
        let has_facts = self.find(id).is_some_and(|one| one.disconnect_facts().is_some());
        if !has_facts {
            self.over(id);
        }
    }

    /// A connection's `$disconnect` is over, or it will never have one.
    pub(super) fn over(&self, id: ConnectionId) {
        self.held().remove(&id);
    }

    /// Facts of these are about to be sent. Gives those of whom none were before.
    pub(super) fn sending(&self, ids: impl Iterator<Item = ConnectionId>) -> Vec<ConnectionId> {
        let mut held = self.held();
        let mut is_first = |id: &ConnectionId| {
            held.get_mut(id).is_some_and(|held| !std::mem::replace(&mut held.was_sent, true))
        };
        ids.filter(|id| is_first(id)).collect()
    }

    /// The server has said that it took none of these.
    pub(super) fn were_refused(&self, ids: &[ConnectionId]) {
        let mut held = self.held();
        for id in ids {
            if let Some(held) = held.get_mut(id) {
                held.was_sent = false;
            }
        }
    }

    /// Whether nobody but this node can know a connection's facts.
    pub(super) fn is_known_here_only(&self, id: ConnectionId) -> bool {
        self.held().get(&id).is_some_and(|held| !held.was_sent)
    }

    /// The facts of all that were accepted under the number `node`.
    pub(super) fn facts(&self, node: NodeId) -> HashMap<ConnectionId, Bytes> {
        let all: Vec<_> =
            self.held().values().filter_map(|held| held.connection.upgrade()).collect();
        let of_node = all.iter().filter(|one| one.id().node() == node);
        of_node.filter_map(|one| Some((one.id(), one.disconnect_facts()?))).collect()
    }

    pub(super) fn shrink(&self) {
        let mut held = self.held();
        if held.capacity() > PLACES_WORTH_KEEPING && held.capacity() / 4 >= held.len() {
            held.shrink_to_fit();
        }
    }
}
