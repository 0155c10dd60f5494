//! The connections of this node, by id, each with its memberships.
//!
//! In:  connections that open and end, and who joins and leaves what.
//! Out: connections, by id; members, by what they are members of.
//!
//! ```text
//! connections: id ──► Entry { connection, slots, groups: name ──► slot }      locked first
//! stages:      scope ──► Stage { all, users, groups: slot ──► connection }    locked second
//! ```
//!
//! A membership stands in both maps. It is written while the connection's entry is locked, which
//! is there only until the connection is removed; and whoever takes the entry out gives up every
//! membership in it. So a join that races a removal is either in the entry that the removal takes,
//! or finds none: no member is ever left behind.
//!
//! Holds always: locks are taken in that order, and no connection is called under one. The slots
//! of an entry are those of its connection.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash},
    sync::{Arc, PoisonError, RwLock},
};

use dashmap::{DashMap, Entry as MapEntry, mapref::one::RefMut};

use super::{id_hasher::IdHasher, members::Slot, stage::Stage};
use crate::{
    Audience, CloseRequest, ConnectionId, DeliveryError, GroupName, InterestWatcher,
    LocalConnection, Scope,
};

/// Below this many places `shrink` leaves a map alone.
pub(super) const PLACES_WORTH_KEEPING: usize = 4096;

pub(super) struct Hub<C> {
    pub(super) connections: DashMap<ConnectionId, Entry<C>, BuildHasherDefault<IdHasher>>,
    /// A stage stays here when its last connection has gone: there are as many as the operator has
    /// ever configured.
    stages: RwLock<HashMap<Scope, Arc<Stage<C>>>>,
    watcher: Option<Arc<dyn InterestWatcher>>,
}

/// A connection and where it is a member.
pub(super) struct Entry<C> {
    pub(super) connection: Arc<C>,
    /// Among the connections of its stage: what broadcasts and lists walk.
    slot: Slot,
    /// Among those of its user, if it has one.
    user_slot: Option<Slot>,
    /// `None` for a connection in no group, for which one word is what groups cost.
    memberships: Option<Box<Memberships>>,
}

#[cfg(test)]
impl<C> Entry<C> {
    pub(super) fn has_memberships(&self) -> bool {
        self.memberships.is_some()
    }
}

/// The groups that a connection is in, by name.
#[derive(Default)]
struct Memberships {
    sorted: Vec<(GroupName, Slot)>,
}

impl<C: LocalConnection> Hub<C> {
    pub(super) fn new(watcher: Option<Arc<dyn InterestWatcher>>) -> Self {
        Self { connections: DashMap::default(), stages: RwLock::default(), watcher }
    }

    pub(super) fn stage(&self, scope: &Scope) -> Option<Arc<Stage<C>>> {
        self.stages.read().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    fn stages(&self) -> Vec<Arc<Stage<C>>> {
        self.stages.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn stage_or_new(&self, scope: &Scope) -> Arc<Stage<C>> {
        self.stage(scope).unwrap_or_else(|| {
            let mut stages = self.stages.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Stage::new(scope.clone(), self.watcher.clone()));
            Arc::clone(stages.entry(scope.clone()).or_insert_with(new))
        })
    }

    pub(super) fn insert(&self, connection: &Arc<C>) {
        let id = connection.id();
        let stage = self.stage_or_new(connection.scope());
        let principal = connection.principal();
        match self.connections.entry(id) {
            MapEntry::Vacant(place) => {
                let (slot, user_slot) = stage.enter(connection, principal);
                let connection = Arc::clone(connection);
                place.insert(Entry { connection, slot, user_slot, memberships: None });
            }
            MapEntry::Occupied(_) => debug_assert!(false, "connection {id} was inserted twice"),
        }
    }

    pub(super) fn remove(&self, id: ConnectionId) -> Option<Arc<C>> {
        self.connections.remove(&id).map(|(_, entry)| self.forget(entry))
    }

    /// Removes this very connection and begins to close it, unless somebody has removed it
    /// already.
    pub(super) fn close(&self, connection: &Arc<C>, request: &CloseRequest) -> bool {
        // First out of the maps: whoever hears of the close, by the answer or by the socket, must
        // not reach the connection afterwards.
        let same = |_: &ConnectionId, held: &Entry<C>| Arc::ptr_eq(&held.connection, connection);
        let Some((_, entry)) = self.connections.remove_if(&connection.id(), same) else {
            return false;
        };
        self.forget(entry).close(request);
        true
    }

    /// Gives up every membership of a connection that was taken out of the map.
    fn forget(&self, entry: Entry<C>) -> Arc<C> {
        let Entry { connection, slot, user_slot, memberships } = entry;
        if let Some(stage) = self.stage(connection.scope()) {
            let principal = connection.principal();
            let user = principal.zip(user_slot);
            debug_assert_eq!(user.is_some(), user_slot.is_some(), "a principal never changes");
            stage.leave(slot, user);
            for (group, slot) in memberships.into_iter().flat_map(|groups| groups.sorted) {
                stage.leave_group(&group, slot);
            }
        }
        connection
    }

    /// The connection, out of its shard, if it is one of that api and stage.
    pub(super) fn find(&self, scope: &Scope, id: ConnectionId) -> Result<Arc<C>, DeliveryError> {
        let found = self.connections.get(&id).map(|entry| Arc::clone(&entry.connection));
        found.filter(|connection| connection.scope() == scope).ok_or(DeliveryError::Gone)
    }

    pub(super) fn join(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Result<(), DeliveryError> {
        let connection = self.find(scope, id)?;
        let stage = self.stage(scope).ok_or(DeliveryError::Gone)?;
        let mut entry = self.entry(id, &connection).ok_or(DeliveryError::Gone)?;
        let groups = &mut entry.memberships.get_or_insert_default().sorted;
        if let Err(place) = groups.binary_search_by(|(name, _)| name.cmp(group)) {
            groups.insert(place, stage.join(group, &connection));
        }
        Ok(())
    }

    pub(super) fn leave(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Result<(), DeliveryError> {
        let connection = self.find(scope, id)?;
        let stage = self.stage(scope).ok_or(DeliveryError::Gone)?;
        let mut entry = self.entry(id, &connection).ok_or(DeliveryError::Gone)?;
        let Some(memberships) = &mut entry.memberships else { return Ok(()) };
        let groups = &mut memberships.sorted;
        if let Ok(place) = groups.binary_search_by(|(name, _)| name.cmp(group)) {
            let (name, slot) = groups.remove(place);
            stage.leave_group(&name, slot);
            if groups.is_empty() {
                entry.memberships = None;
            }
        }
        Ok(())
    }

    /// The locked entry of a connection that was found before and may have been removed since.
    fn entry(
        &self,
        id: ConnectionId,
        connection: &Arc<C>,
    ) -> Option<RefMut<'_, ConnectionId, Entry<C>>> {
        let entry = self.connections.get_mut(&id)?;
        Arc::ptr_eq(&entry.connection, connection).then_some(entry)
    }

    pub(super) fn local(&self) -> Vec<Arc<C>> {
        self.connections.iter().map(|entry| Arc::clone(&entry.connection)).collect()
    }

    pub(super) fn audiences(&self) -> Vec<(Scope, Audience)> {
        let stages = self.stages();
        stages.iter().flat_map(|stage| stage.audiences()).collect()
    }

    pub(super) fn shrink(&self) {
        shrink(&self.connections);
        for stage in self.stages() {
            stage.shrink();
        }
    }
}

/// Shrinks a map once three quarters of it stand empty: every entry moves, one shard at a time,
/// while that shard is locked.
pub(super) fn shrink<K: Eq + Hash, V, S: BuildHasher + Clone>(map: &DashMap<K, V, S>) {
    let places = map.capacity();
    if places > PLACES_WORTH_KEEPING && places / 4 >= map.len() {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::RecordingConnection;

    /// What a connection costs here besides itself, whether or not it is in a group: its id, 24
    /// bytes of entry (of which 16 are for stage, user and groups), and a word in its stage.
    #[test]
    fn a_connection_in_no_group_costs_24_bytes_beside_its_id() {
        type Entry = super::Entry<RecordingConnection>;
        assert_eq!(size_of::<Entry>(), 24);
        assert_eq!(size_of::<(ConnectionId, Entry)>(), 40);
        assert_eq!(size_of::<Option<Arc<RecordingConnection>>>(), 8);
    }
}
