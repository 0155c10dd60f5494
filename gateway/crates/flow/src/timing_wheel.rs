//! One wheel for all periodic work of a core: idle limits, ages, deadlines.
//!
//! In:  values and the tick at which each is due; the passing of ticks.
//! Out: the values that are due.
//!
//! ```text
//! slots   |  0  |  1  |  2  | ... |  7  |     tick t hangs in slot t mod 8
//!            |           |
//! entries  t=16        t=2 - t=10 - t=26      a list; those of a later turn of the wheel stay
//! ```
//!
//! Adding and removing cost the same however many entries there are. Advancing visits the slots of
//! the ticks that have passed, so an entry is looked at once in each turn of the wheel: a wheel with
//! as many slots as the longest wait has ticks looks at each entry once.
//!
//! Holds always: an entry is given out or removed exactly once, never before its tick; a key names
//! one entry for ever, so a stale key does nothing.

/// No entry: the end of a list.
const NONE: u32 = u32::MAX;

/// Values by the tick at which they are due.
#[derive(Debug)]
pub struct TimingWheel<T> {
    /// The first entry of each slot's list. As many as a power of two.
    slots: Box<[u32]>,
    entries: Vec<Entry<T>>,
    /// The first entry of the list of entries without value.
    free: u32,
    len: usize,
    /// All entries due by this tick have been given out.
    tick: u64,
    /// The key that the next entry gets. 64 bits: never used twice.
    next_id: u64,
}

/// Names one entry of one wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    id: u64,
}

/// In a slot's list while it has a value, in the free list otherwise.
#[derive(Debug)]
struct Entry<T> {
    at_tick: u64,
    id: u64,
    next: u32,
    previous: u32,
    value: Option<T>,
}

impl<T> TimingWheel<T> {
    /// An empty wheel whose ticks up to `now_tick` have passed. `slots` is rounded up to a power of
    /// two; the longest usual wait, in ticks, is a good number.
    pub fn new(slots: u16, now_tick: u64) -> Self {
        let slots = usize::from(slots.max(1)).next_power_of_two();
        Self {
            slots: vec![NONE; slots].into_boxed_slice(),
            entries: Vec::new(),
            free: NONE,
            len: 0,
            tick: now_tick,
            next_id: 0,
        }
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `value`, due at `at_tick`, or at the next tick if that one has passed.
    pub fn insert(&mut self, at_tick: u64, value: T) -> Key {
        let at_tick = at_tick.max(self.tick.saturating_add(1));
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry { at_tick, id, next: NONE, previous: NONE, value: Some(value) };
        let index = if self.free == NONE {
            let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
            assert!(index != NONE, "a wheel holds fewer than 2^32 - 1 entries");
            self.entries.push(entry);
            index
        } else {
            let index = self.free;
            self.unlink(index, Self::free_list);
            *self.entry(index) = entry;
            index
        };
        self.link(index, |wheel| wheel.slot(at_tick));
        self.len += 1;
        Key { index, id }
    }

    /// Takes the entry out; `None` if it was given out or removed already.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.id != key.id || entry.value.is_none() {
            return None;
        }
        Some(self.take(key.index))
    }

    /// Lets time pass until `now_tick` and gives out what is due, in no particular order.
    ///
    /// A `now_tick` that has passed already does nothing. A jump of more than a turn costs one turn.
    pub fn advance(&mut self, now_tick: u64, mut due: impl FnMut(T)) {
        if now_tick <= self.tick {
            return;
        }
        let turn = self.slots.len() as u64;
        let first = self.tick + 1;
        let last = now_tick.min(self.tick.saturating_add(turn));
        self.tick = now_tick;
        if self.is_empty() {
            return;
        }
        for tick in first..=last {
            let mut index = *self.slot(tick);
            while index != NONE {
                let entry = self.entry(index);
                // Read before the entry leaves the list; taking one entry moves no other.
                let next = entry.next;
                if entry.at_tick <= now_tick {
                    due(self.take(index));
                }
                index = next;
            }
        }
    }

    /// Moves a live entry from its slot to the free list.
    fn take(&mut self, index: u32) -> T {
        let at_tick = self.entry(index).at_tick;
        self.unlink(index, |wheel| wheel.slot(at_tick));
        let value = self.entry(index).value.take().expect("callers have seen that it is live");
        self.link(index, Self::free_list);
        self.len -= 1;
        self.give_memory_back();
        value
    }

    /// Drops free entries at the end, and memory once three quarters of it are not needed.
    ///
    /// Each drop pays for one push, and as much again as is used stays, so this costs a constant on
    /// average. A wheel that is often nearly empty keeps its little.
    fn give_memory_back(&mut self) {
        const KEPT: usize = 64;
        while self.entries.last().is_some_and(|entry| entry.value.is_none()) {
            self.unlink(self.last_index(), Self::free_list);
            self.entries.pop();
        }
        let needed = self.entries.len().max(KEPT);
        if needed < self.entries.capacity() / 4 {
            self.entries.shrink_to(needed * 2);
        }
    }

    fn last_index(&self) -> u32 {
        u32::try_from(self.entries.len() - 1).expect("insert has checked that indexes fit")
    }

    fn link(&mut self, index: u32, list: impl Fn(&mut Self) -> &mut u32) {
        let head = std::mem::replace(list(self), index);
        let entry = self.entry(index);
        entry.next = head;
        entry.previous = NONE;
        if head != NONE {
            self.entry(head).previous = index;
        }
    }

    fn unlink(&mut self, index: u32, list: impl Fn(&mut Self) -> &mut u32) {
        let Entry { next, previous, .. } = *self.entry(index);
        match previous {
            NONE => *list(self) = next,
            previous => self.entry(previous).next = next,
        }
        if next != NONE {
            self.entry(next).previous = previous;
        }
    }

    fn entry(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }

    fn free_list(&mut self) -> &mut u32 {
        &mut self.free
    }

    fn slot(&mut self, tick: u64) -> &mut u32 {
        let mask = self.slots.len() as u64 - 1;
        &mut self.slots[(tick & mask) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn due_by<T>(wheel: &mut TimingWheel<T>, tick: u64) -> Vec<T> {
        let mut due = Vec::new();
        wheel.advance(tick, |value| due.push(value));
        due
    }

    #[test]
    fn an_entry_is_given_out_at_its_tick_and_once() {
        let mut wheel = TimingWheel::new(8, 100);
        wheel.insert(103, "a");
        assert_eq!(due_by(&mut wheel, 102), [] as [&str; 0]);
        assert_eq!(due_by(&mut wheel, 103), ["a"]);
        assert_eq!(due_by(&mut wheel, 200), [] as [&str; 0]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn an_entry_of_a_later_turn_stays() {
        let mut wheel = TimingWheel::new(8, 0);
        wheel.insert(2, 2);
        wheel.insert(2 + 8, 10);
        wheel.insert(2 + 8 * 1000, 8002);
        assert_eq!(due_by(&mut wheel, 9), [2]);
        assert_eq!(due_by(&mut wheel, 10), [10]);
        assert_eq!(due_by(&mut wheel, 8001), [] as [i32; 0]);
        assert_eq!(due_by(&mut wheel, 8002), [8002]);
    }

    #[test]
    fn what_is_due_already_is_given_out_at_the_next_tick() {
        let mut wheel = TimingWheel::new(8, 50);
        wheel.insert(3, "late");
        wheel.insert(50, "now");
        assert_eq!(due_by(&mut wheel, 50), [] as [&str; 0]);
        assert_eq!(due_by(&mut wheel, 51).len(), 2);
    }

    /// The second entry lives where the first one lived.
    #[test]
    fn a_stale_key_never_removes_anothers_entry() {
        let mut wheel = TimingWheel::new(8, 0);
        let first = wheel.insert(1, "first");
        assert_eq!(wheel.remove(first), Some("first"));
        assert_eq!(wheel.remove(first), None);
        let second = wheel.insert(1, "second");
        assert_eq!(second.index, first.index, "the place is used again");
        assert_eq!(wheel.remove(first), None);
        assert_eq!(due_by(&mut wheel, 1), ["second"]);
        assert_eq!(wheel.remove(second), None);
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let mut wheel = TimingWheel::new(8, u64::MAX - 2);
        wheel.insert(0, ());
        wheel.insert(u64::MAX, ());
        assert_eq!(due_by(&mut wheel, u64::MAX).len(), 2);
        wheel.insert(u64::MAX, ());
        assert_eq!(due_by(&mut wheel, u64::MAX).len(), 0);
    }

    /// One entry for each connection: 100,000 of them cost 3.2 MB.
    #[test]
    fn an_entry_takes_32_bytes() {
        assert_eq!(size_of::<Entry<u32>>(), 32);
        assert_eq!(size_of::<Key>(), 16);
    }

    #[test]
    fn memory_is_used_again_and_given_back() {
        let mut wheel = TimingWheel::new(64, 0);
        let mut keys: Vec<Key> = (0..100_000u32).map(|n| wheel.insert(u64::from(n), n)).collect();
        let at_most = wheel.entries.capacity();
        for _ in 0..10 {
            for key in keys.drain(50_000..) {
                wheel.remove(key);
            }
            keys.extend((0..50_000u32).map(|n| wheel.insert(1, n)));
        }
        assert_eq!(wheel.entries.capacity(), at_most);
        for key in keys.drain(100..) {
            wheel.remove(key).expect("it waits");
        }
        assert!(wheel.entries.capacity() < 1000, "{}", wheel.entries.capacity());
        assert_eq!(wheel.len(), 100);
        due_by(&mut wheel, 1 << 40);
        assert!(wheel.entries.capacity() <= 4 * 64, "{}", wheel.entries.capacity());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64),
        Remove(prop::sample::Index),
        Advance(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => prop_oneof![0u64..40, 0u64..2000].prop_map(Step::Insert),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
            2 => prop_oneof![0u64..4, 0u64..100].prop_map(Step::Advance),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn the_wheel_does_what_a_sorted_map_does(
            slots in 0u16..40,
            steps in prop::collection::vec(any_step(), 0..200),
        ) {
            let mut now = 1000;
            let mut wheel = TimingWheel::new(slots, now);
            let mut model = BTreeMap::new(); // (tick, value) of what waits
            let mut given = Vec::new(); // all keys there ever were, stale ones too
            for step in steps {
                match step {
                    Step::Insert(after) => {
                        let (value, tick) = (given.len(), 990 + now - 1000 + after);
                        given.push((wheel.insert(tick, value), tick.max(now + 1)));
                        model.insert((tick.max(now + 1), value), ());
                    }
                    Step::Remove(which) if !given.is_empty() => {
                        let value = which.index(given.len());
                        let (key, tick) = given[value];
                        let expected = model.remove(&(tick, value)).map(|()| value);
                        prop_assert_eq!(wheel.remove(key), expected);
                    }
                    Step::Remove(_) => {}
                    Step::Advance(by) => {
                        now += by;
                        let mut due = due_by(&mut wheel, now);
                        due.sort_unstable();
                        let later = model.split_off(&(now + 1, 0));
                        let mut expected: Vec<_> =
                            std::mem::replace(&mut model, later).into_keys().map(|k| k.1).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(due, expected);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
