//! Which nodes have died, as far as this one knows without asking.
//!
//! In:  the nodes that the directory names, at each survey; tombstones.
//! Out: whether a node has fallen.
//!
//! A frozen process, or one behind a dead wire, still listens at its inbox: that nobody answers there
//! would be known only when time is over, call by call.
//!
//! Holds always: who stands in the directory has not fallen.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::NodeId;

#[derive(Default)]
pub(super) struct Roll(Mutex<Names>);

#[derive(Default)]
struct Names {
    present: HashSet<NodeId>,
    fallen: HashSet<NodeId>,
}

impl Roll {
    fn names(&self) -> MutexGuard<'_, Names> {
        // It is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who stands in the directory. Gives those who did at the last call and do not now: they
    /// have a tombstone, or the directory was lost.
    pub(super) fn call(&self, present: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
        let mut names = self.names();
        let before = std::mem::replace(&mut names.present, present.collect());
        let Names { present, fallen } = &mut *names;
        // A tombstone lasts for a week, and a number may be somebody's again.
        fallen.retain(|node| !present.contains(node));
        before.into_iter().filter(|node| !present.contains(node)).collect()
    }

    /// A node has a tombstone.
    pub(super) fn fell(&self, node: NodeId) {
        let mut names = self.names();
        names.present.remove(&node);
        names.fallen.insert(node);
    }

    pub(super) fn has_fallen(&self, node: NodeId) -> bool {
        self.names().fallen.contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missing_is_named_once_and_who_is_back_has_not_fallen() {
        let [first, second] = [1, 2].map(|number| NodeId::new(number).expect("a number"));
        let roll = Roll::default();
        assert_eq!(roll.call([first, second].into_iter()), []);
        assert_eq!(roll.call([first].into_iter()), [second]);
        assert_eq!(roll.call([first].into_iter()), []);
        assert!(!roll.has_fallen(second), "the directory may have been lost");
        roll.fell(first);
        assert_eq!((roll.has_fallen(first), roll.call([].into_iter())), (true, vec![]));
        assert!(roll.has_fallen(first));
        assert_eq!(roll.call([first].into_iter()), []);
        assert!(!roll.has_fallen(first));
    }
}
