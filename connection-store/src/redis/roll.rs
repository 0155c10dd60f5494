//! Which nodes live and which have died, as far as this one knows without asking.
//!
//! In:  the nodes that the directory names, at each renewal and each lookup; tombstones.
//! Out: whether a node has fallen; and who is missing in a directory that names it no more.
//!
//! A frozen process, or one behind a dead wire, still listens at its inbox: that nobody answers there
//! would be known only when time is over, call by call. And a directory that was lost does not know
//! whom it lacks.
//!
//! Holds always: who stands in the directory at a renewal has not fallen and is not missing; who
//! stood there and has no tombstone is missing for as long as its lease may still run.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::NodeId;

/// How long a tombstone stands.
const WEEK: Duration = Duration::from_secs(604_800);

#[derive(Default)]
pub(super) struct Roll(Mutex<Names>);

#[derive(Default)]
struct Names {
    present: HashSet<NodeId>,
    /// Until when each may be alive.
    missing: HashMap<NodeId, Instant>,
    /// Until when each has its tombstone.
    fallen: HashMap<NodeId, Instant>,
}

impl Roll {
    fn names(&self) -> MutexGuard<'_, Names> {
        // It is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who stands in the directory at a renewal. Gives who is missing: they have a tombstone,
    /// or the directory was lost.
    pub(super) fn call(
        &self,
        present: impl Iterator<Item = NodeId>,
        now: Instant,
        lease: Duration,
    ) -> Vec<NodeId> {
        let mut names = self.names();
        let before = std::mem::replace(&mut names.present, present.collect());
        let Names { present, missing, fallen } = &mut *names;
        for node in before {
            missing.entry(node).or_insert(now + lease);
        }
        missing.retain(|node, until| !present.contains(node) && now < *until);
        // A tombstone ends, and a number may be somebody's again.
        fallen.retain(|node, until| !present.contains(node) && now < *until);
        missing.keys().copied().collect()
    }

    /// Notes who stands in the directory at a lookup. Gives who should, and does not.
    pub(super) fn lacks(&self, found: &[NodeId], now: Instant) -> Vec<NodeId> {
        let mut names = self.names();
        let Names { present, missing, fallen } = &mut *names;
        // An answer that is older than a tombstone changes nothing.
        present.extend(found.iter().filter(|node| !fallen.contains_key(node)));
        let missing = missing.iter().filter(|(_, until)| now < **until).map(|(node, _)| node);
        let mut lacking: Vec<_> = present.iter().chain(missing).copied().collect();
        lacking.retain(|node| !found.contains(node));
        lacking
    }

    /// A node has a tombstone.
    pub(super) fn fell(&self, node: NodeId, now: Instant) {
        let mut names = self.names();
        names.present.remove(&node);
        names.missing.remove(&node);
        names.fallen.entry(node).or_insert(now + WEEK);
    }

    pub(super) fn has_fallen(&self, node: NodeId) -> bool {
        self.names().fallen.contains_key(&node)
    }

    /// Who has a tombstone, and for how long yet.
    pub(super) fn tombstones(&self, now: Instant) -> Vec<(NodeId, Duration)> {
        let names = self.names();
        names.fallen.iter().map(|(node, until)| (*node, until.duration_since(now))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn nodes() -> [NodeId; 2] {
        [1, 2].map(|number| NodeId::new(number).expect("a number"))
    }

    #[test]
    fn who_is_missing_is_named_while_it_may_live_and_who_is_back_has_not_fallen() {
        let ([first, second], now) = (nodes(), Instant::now());
        let roll = Roll::default();
        assert_eq!(roll.call([first, second].into_iter(), now, LEASE), []);
        assert_eq!(roll.call([first].into_iter(), now, LEASE), [second]);
        assert_eq!(roll.call([first].into_iter(), now + LEASE / 2, LEASE), [second]);
        assert_eq!(roll.lacks(&[first], now + LEASE / 2), [second]);
        assert_eq!(roll.lacks(&[first], now + LEASE), []);
        assert_eq!(roll.call([first].into_iter(), now + LEASE, LEASE), []);
        assert!(!roll.has_fallen(second), "the directory may have been lost");
        roll.fell(first, now);
        assert_eq!((roll.has_fallen(first), roll.call([].into_iter(), now, LEASE)), (true, vec![]));
        assert!(roll.has_fallen(first));
        assert_eq!(roll.call([first].into_iter(), now, LEASE), []);
        assert!(!roll.has_fallen(first));
    }

    #[test]
    fn who_was_found_at_a_lookup_is_lacked_when_it_is_not_found_again() {
        let ([first, second], now) = (nodes(), Instant::now());
        let roll = Roll::default();
        assert_eq!(roll.lacks(&[first, second], now), []);
        assert_eq!(roll.lacks(&[first], now), [second]);
        roll.fell(second, now);
        assert_eq!(roll.lacks(&[first], now), []);
        // What was asked before it fell, and answered after that.
        assert_eq!(roll.lacks(&[first, second], now), []);
        assert_eq!((roll.lacks(&[first], now), roll.has_fallen(second)), (vec![], true));
    }

    #[test]
    fn a_tombstone_is_remembered_for_a_week() {
        let ([first, _], now) = (nodes(), Instant::now());
        let roll = Roll::default();
        roll.fell(first, now);
        assert_eq!(roll.tombstones(now + LEASE), [(first, WEEK - LEASE)]);
        assert_eq!(roll.call([].into_iter(), now + WEEK, LEASE), []);
        assert!(!roll.has_fallen(first));
    }
}
