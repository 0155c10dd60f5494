//! The members of one group, of one user, or of one stage, by index.
//!
//! In:  connections that come and go.
//! Out: the slot of each, which it keeps until it leaves; snapshots for sends; pages for lists.
//!
//! ```text
//! One(c)      Many:  chunks [ c c - c … 128 ] [ c - … ] …      each chunk behind an Arc
//!                    taken  [ 1 1 0 1 … 128 ] [ 1 0 … ] …      which slots of it are taken
//! ```
//!
//! A snapshot shares the chunks; whoever changes a chunk that is shared changes a copy of its own.
//! So a snapshot of N members costs N / 128, and a change while one is under way 128 at most. The
//! rejected way, `swap_remove`, moves members: their places would have to be changed in entries
//! that other locks guard, and a page could miss the one that moved.
//!
//! Holds always: a slot belongs to one connection until `remove`; the lowest free slot is taken
//! first, so members gather in front, and empty chunks at the end are given back.

use std::{mem, num::NonZeroU32, sync::Arc};

/// Slots of a chunk: what one send walks before it yields.
pub(super) const CHUNK: usize = 128;

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(NonZeroU32);

// Beside an `Option<Slot>` no flag is needed.
const _: () = assert!(size_of::<Option<Slot>>() == 4);

impl Slot {
    fn new(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("a process has fewer than 2³² - 1 connections"))
    }

    /// Its number, from 0.
    pub(super) fn index(self) -> u32 {
        self.0.get() - 1
    }
}

pub(super) type Chunk<C> = Vec<Option<Arc<C>>>;

/// Members by slot.
#[derive(Default)]
pub(super) enum Members<C> {
    #[default]
    Nobody,
    /// In slot 0. Most users have one connection, and there may be a million of them.
    One(Arc<C>),
    Many(Box<Slab<C>>),
}

impl<C> Members<C> {
    /// Takes a connection in. The caller makes sure that it is not a member yet.
    pub(super) fn insert(&mut self, connection: Arc<C>) -> Slot {
        let mut slab = match mem::take(self) {
            Self::Nobody => {
                *self = Self::One(connection);
                return Slot::new(0);
            }
            Self::One(first) => {
                let mut slab = Box::<Slab<C>>::default();
                slab.insert(first);
                slab
            }
            Self::Many(slab) => slab,
        };
        let slot = slab.insert(connection);
        *self = Self::Many(slab);
        slot
    }

    /// Lets the member in that slot go. Dropping it may run anything, so that is left to the
    /// caller, who holds a lock.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Arc<C>> {
        match self {
            Self::Nobody => None,
            Self::One(_) => match mem::take(self) {
                Self::One(only) if slot.index() == 0 => Some(only),
                other => {
                    *self = other;
                    None
                }
            },
            Self::Many(slab) => {
                let removed = slab.remove(slot);
                if slab.len == 0 {
                    *self = Self::Nobody;
                }
                removed
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(_) => 1,
            Self::Many(slab) => slab.len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// The members of this moment, in chunks of at most [`CHUNK`].
    pub(super) fn snapshot(&self) -> Vec<Arc<Chunk<C>>> {
        match self {
            Self::Nobody => Vec::new(),
            Self::One(only) => vec![Arc::new(vec![Some(Arc::clone(only))])],
            Self::Many(slab) => slab.chunks.clone(),
        }
    }

    /// Up to `limit` members from slot `first` on, and the slot where the next page begins.
    pub(super) fn page(&self, first: u32, limit: usize) -> (Vec<Arc<C>>, Option<u32>) {
        match self {
            Self::One(only) if first == 0 => (vec![Arc::clone(only)], None),
            Self::Nobody | Self::One(_) => (Vec::new(), None),
            Self::Many(slab) => slab.page(first, limit),
        }
    }
}

pub(super) struct Slab<C> {
    chunks: Vec<Arc<Chunk<C>>>,
    /// Beside each chunk, one bit for each of its slots.
    taken: Vec<u128>,
    len: usize,
    /// No chunk before this one has a free slot.
    first_open: usize,
}

impl<C> Default for Slab<C> {
    fn default() -> Self {
        Self { chunks: Vec::new(), taken: Vec::new(), len: 0, first_open: 0 }
    }
}

impl<C> Slab<C> {
    fn insert(&mut self, connection: Arc<C>) -> Slot {
        while self.taken.get(self.first_open) == Some(&u128::MAX) {
            self.first_open += 1;
        }
        let number = self.first_open;
        if number == self.chunks.len() {
            self.chunks.push(Arc::default());
            self.taken.push(0);
        }
        let place = self.taken[number].trailing_ones() as usize;
        let chunk = Arc::make_mut(&mut self.chunks[number]);
        if place == chunk.len() {
            chunk.push(Some(connection));
        } else {
            chunk[place] = Some(connection);
        }
        self.taken[number] |= 1 << place;
        self.len += 1;
        Slot::new(number * CHUNK + place)
    }

    fn remove(&mut self, slot: Slot) -> Option<Arc<C>> {
        let (number, place) = (slot.index() as usize / CHUNK, slot.index() as usize % CHUNK);
        if self.taken.get(number)? >> place & 1 == 0 {
            return None;
        }
        let removed = Arc::make_mut(&mut self.chunks[number])[place].take();
        self.taken[number] ^= 1 << place;
        self.len -= 1;
        self.first_open = self.first_open.min(number);
        while self.taken.last() == Some(&0) {
            self.taken.pop();
            self.chunks.pop();
        }
        removed
    }

    fn page(&self, first: u32, limit: usize) -> (Vec<Arc<C>>, Option<u32>) {
        let mut found = Vec::new();
        let (start, mut mask) = (first as usize / CHUNK, u128::MAX << (first as usize % CHUNK));
        for (number, (taken, chunk)) in self.taken.iter().zip(&self.chunks).enumerate().skip(start)
        {
            let mut left = taken & mask;
            mask = u128::MAX;
            while left != 0 {
                let place = left.trailing_zeros() as usize;
                if found.len() == limit {
                    return (found, Some(Slot::new(number * CHUNK + place).index()));
                }
                left &= left - 1;
                found.extend(chunk[place].clone());
            }
        }
        (found, None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn everybody(members: &Members<u32>) -> BTreeSet<u32> {
        let chunks = members.snapshot();
        let all: Vec<u32> =
            chunks.iter().flat_map(|chunk| chunk.iter().flatten()).map(|m| **m).collect();
        let distinct: BTreeSet<u32> = all.iter().copied().collect();
        assert_eq!(all.len(), distinct.len(), "a member is in a snapshot twice");
        distinct
    }

    #[test]
    fn an_empty_and_a_single_membership_cost_two_words() {
        assert_eq!(size_of::<Members<u32>>(), 16);
    }

    #[test]
    fn a_snapshot_keeps_what_it_saw_and_shares_what_nobody_changed() {
        let mut members = Members::default();
        let slots: Vec<_> = (0..300).map(|n| members.insert(Arc::new(n))).collect();
        let seen = members.snapshot();
        assert_eq!(seen.iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [128, 128, 44]);
        members.remove(slots[5]).unwrap();
        members.insert(Arc::new(300));
        assert_eq!(seen[0][5].as_deref(), Some(&5));
        let now = members.snapshot();
        assert!(!Arc::ptr_eq(&seen[0], &now[0]));
        assert!(Arc::ptr_eq(&seen[1], &now[1]) && Arc::ptr_eq(&seen[2], &now[2]));
        assert_eq!(now[0][5].as_deref(), Some(&300), "the lowest free slot is taken first");
    }

    #[test]
    fn the_chunks_of_a_peak_are_given_back() {
        let mut members = Members::default();
        let slots: Vec<_> = (0..2_000).map(|n| members.insert(Arc::new(n))).collect();
        for slot in &slots[10..] {
            members.remove(*slot).unwrap();
        }
        assert_eq!(members.snapshot().len(), 1);
        assert_eq!(everybody(&members), (0..10).collect());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert,
        /// The member at this share of those that are there.
        Remove(prop::sample::Index),
        RemoveFree(u32),
        Snapshot,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => Just(Step::Insert),
            5 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => (0u32..2_000).prop_map(Step::RemoveFree),
            1 => Just(Step::Snapshot),
        ]
    }

    proptest! {
        #[test]
        fn members_agree_with_a_map_from_slots(
            before in 0usize..300,
            steps in prop::collection::vec(step(), 0..150),
        ) {
            let (mut members, mut model) = (Members::default(), BTreeMap::new());
            let mut kept = Vec::new();
            let inserts = std::iter::repeat_n(Step::Insert, before);
            for (number, step) in (0u32..).zip(inserts.chain(steps)) {
                match step {
                    Step::Insert => {
                        let slot = members.insert(Arc::new(number)).index();
                        let gap = (0..).zip(model.keys()).find(|(slot, taken)| slot != *taken);
                        let lowest = gap.map_or(model.len() as u32, |(slot, _)| slot);
                        prop_assert_eq!(slot, lowest);
                        model.insert(slot, number);
                    }
                    Step::Remove(which) if !model.is_empty() => {
                        let slot = *model.keys().nth(which.index(model.len())).unwrap();
                        let removed = members.remove(Slot::new(slot as usize));
                        prop_assert_eq!(removed.as_deref().copied(), model.remove(&slot));
                    }
                    Step::Remove(_) => {}
                    Step::RemoveFree(slot) => {
                        if !model.contains_key(&slot) {
                            prop_assert!(members.remove(Slot::new(slot as usize)).is_none());
                        }
                    }
                    Step::Snapshot => kept.push((members.snapshot(), everybody(&members))),
                }
                prop_assert_eq!(members.len(), model.len());
                prop_assert_eq!(members.is_empty(), model.is_empty());
            }
            prop_assert_eq!(everybody(&members), model.values().copied().collect());
            for (chunks, expected) in kept {
                let seen = chunks.iter().flat_map(|chunk| chunk.iter().flatten()).map(|m| **m);
                prop_assert_eq!(seen.collect::<BTreeSet<_>>(), expected);
            }
        }

        #[test]
        fn pages_show_each_member_that_stays_exactly_once_whoever_comes_and_goes(
            before in 0usize..500,
            limit in 1usize..90,
            churn in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut members = Members::default();
            let mut slots: Vec<_> =
                (0..before as u32).map(|n| (n, members.insert(Arc::new(n)))).collect();
            let mut stayed: BTreeSet<u32> = (0..before as u32).collect();
            let (mut seen, mut next, mut churn) = (BTreeMap::new(), Some(0), churn.into_iter());
            let mut born = before as u32;
            while let Some(first) = next {
                let (page, following) = members.page(first, limit);
                prop_assert!(page.len() <= limit);
                prop_assert!(following.is_none() || page.len() == limit);
                for member in page {
                    *seen.entry(*member).or_insert(0) += 1;
                }
                next = following;
                for (comes, which) in churn.by_ref().take(9) {
                    if comes || slots.is_empty() {
                        slots.push((born, members.insert(Arc::new(born))));
                        born += 1;
                    } else {
                        let (number, slot) = slots.swap_remove(which.index(slots.len()));
                        members.remove(slot).unwrap();
                        stayed.remove(&number);
                    }
                }
            }
            for member in stayed {
                prop_assert_eq!(seen.get(&member), Some(&1), "member {}", member);
            }
        }
    }
}
