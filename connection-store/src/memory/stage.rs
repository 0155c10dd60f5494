//! The connections of one stage of one api: all of them, by user, and by group.
//!
//! In:  connections that the hub takes in and lets go, each with its memberships.
//! Out: snapshots, counts and pages of any of these.
//!
//! Holds always: a group or a user is here exactly while it has members; it comes and goes under the
//! lock that guards its members, so a membership that exists finds it. No connection is called and
//! none is dropped under such a lock.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dashmap::DashMap;

use super::{
    hub::shrink,
    members::{Chunk, Members, Slot},
};
use crate::{Audience, GroupName, InterestWatcher, Scope};

/// A part of a list, and the slot where the next part begins.
pub(super) type Part<C> = (Vec<Arc<C>>, Option<u32>);

pub(super) struct Stage<C> {
    scope: Scope,
    all: Mutex<Members<C>>,
    // Keyed hashing, the default: strangers may choose the names.
    users: DashMap<Box<str>, Members<C>>,
    groups: DashMap<GroupName, Members<C>>,
    watcher: Option<Arc<dyn InterestWatcher>>,
}

impl<C> Stage<C> {
    pub(super) fn new(scope: Scope, watcher: Option<Arc<dyn InterestWatcher>>) -> Self {
        Self {
            scope,
            all: Mutex::default(),
            users: DashMap::new(),
            groups: DashMap::new(),
            watcher,
        }
    }

    fn all(&self) -> MutexGuard<'_, Members<C>> {
        // No step on the members panics halfway but for want of memory, which aborts.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection into the stage, and into its user's connections.
    pub(super) fn enter(
        &self,
        connection: &Arc<C>,
        principal: Option<&str>,
    ) -> (Slot, Option<Slot>) {
        let slot = {
            let mut all = self.all();
            let slot = all.insert(Arc::clone(connection));
            self.tell_if(all.len() == 1, true, || Audience::Stage);
            slot
        };
        let user_slot = principal.map(|principal| {
            let mut members = self.users.entry(principal.into()).or_default();
            let slot = members.insert(Arc::clone(connection));
            self.tell_if(members.len() == 1, true, || Audience::User(principal.into()));
            slot
        });
        (slot, user_slot)
    }

    /// Undoes [`Self::enter`].
    pub(super) fn leave(&self, slot: Slot, user: Option<(&str, Slot)>) {
        let _dropped_unlocked = {
            let mut all = self.all();
            let removed = all.remove(slot);
            self.tell_if(all.is_empty(), false, || Audience::Stage);
            removed
        };
        if let Some((principal, slot)) = user {
            let ended = || Audience::User(principal.into());
            self.remove(&self.users, principal, slot, ended);
        }
    }

    /// Takes a connection into a group of which it is no member. The name shares its text with
    /// every other member's.
    pub(super) fn join(&self, group: &GroupName, connection: &Arc<C>) -> (GroupName, Slot) {
        let mut members = self.groups.entry(group.clone()).or_default();
        let slot = members.insert(Arc::clone(connection));
        self.tell_if(members.len() == 1, true, || Audience::Group(group.clone()));
        (members.key().clone(), slot)
    }

    /// Undoes [`Self::join`].
    pub(super) fn leave_group(&self, group: &GroupName, slot: Slot) {
        self.remove(&self.groups, group, slot, || Audience::Group(group.clone()));
    }

    fn remove<K, Q>(
        &self,
        map: &DashMap<K, Members<C>>,
        key: &Q,
        slot: Slot,
        ended: impl FnOnce() -> Audience,
    ) where
        K: Eq + Hash + std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut removed = None;
        map.remove_if_mut(key, |_, members| {
            removed = members.remove(slot);
            self.tell_if(members.is_empty(), false, ended);
            members.is_empty()
        });
        drop(removed);
    }

    fn tell_if(&self, changed: bool, has_members: bool, what: impl FnOnce() -> Audience) {
        if let (true, Some(watcher)) = (changed, &self.watcher) {
            watcher.changed(&self.scope, what(), has_members);
        }
    }

    /// Every connection of this moment.
    pub(super) fn everybody(&self) -> Vec<Arc<Chunk<C>>> {
        self.all().snapshot()
    }

    /// A user's connections of this moment.
    pub(super) fn of_user(&self, principal: &str) -> Vec<Arc<Chunk<C>>> {
        self.users.get(principal).map(|members| members.snapshot()).unwrap_or_default()
    }

    /// A group's members of this moment.
    pub(super) fn of_group(&self, group: &GroupName) -> Vec<Arc<Chunk<C>>> {
        self.groups.get(group).map(|members| members.snapshot()).unwrap_or_default()
    }

    /// How many members a group has.
    pub(super) fn count(&self, group: &GroupName) -> usize {
        self.groups.get(group).map_or(0, |members| members.len())
    }

    /// Some of the stage's connections.
    pub(super) fn page(&self, first: u32, limit: usize) -> Part<C> {
        self.all().page(first, limit)
    }

    /// Some of a group's members.
    pub(super) fn page_of_group(&self, group: &GroupName, first: u32, limit: usize) -> Part<C> {
        self.groups.get(group).map(|members| members.page(first, limit)).unwrap_or_default()
    }

    /// What there is somebody of.
    pub(super) fn audiences(&self) -> impl Iterator<Item = (Scope, Audience)> {
        let stage = (!self.all().is_empty()).then_some(Audience::Stage);
        let users = self.users.iter().map(|user| Audience::User(user.key().clone()));
        let groups = self.groups.iter().map(|group| Audience::Group(group.key().clone()));
        stage.into_iter().chain(users).chain(groups).map(|what| (self.scope.clone(), what))
    }

    pub(super) fn shrink(&self) {
        shrink(&self.users);
        shrink(&self.groups);
    }

    /// Groups and users that there are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.all().len(), self.users.len(), self.groups.len())
    }
}
