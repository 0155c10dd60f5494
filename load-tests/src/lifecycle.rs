//! What a backend was told of connections: who came, who went, how often.
//!
//! In:  `$connect` and `$disconnect` calls, as [`crate::backend`] gets them.
//! Out: the counts, for a scenario to compare with what it did.
//!
//! Holds always: a `$connect` call counts as under way from its last byte to its answer's first.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The calls so far.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    connect_takes: Duration,
    connects: u64,
    under_way: u64,
    most_under_way: u64,
    ends: HashMap<String, u32>,
    last_end: Option<Instant>,
}

/// How often connections were said to have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ends {
    /// Of those asked about, how many never.
    pub(crate) never: u64,
    /// How many more than once.
    pub(crate) repeated: u64,
}

impl Lifecycle {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        // It is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on each `$connect` is answered only after so long. The most at once and the number
    /// of them are counted anew.
    pub(crate) fn begin_connects(&self, each_takes: Duration) {
        let calls = &mut *self.calls();
        calls.connect_takes = each_takes;
        calls.connects = 0;
        calls.most_under_way = calls.under_way;
    }

    /// `$connect` calls since then, and the most at once.
    pub(crate) fn connects(&self) -> (u64, u64) {
        let calls = self.calls();
        (calls.connects, calls.most_under_way)
    }

    /// A `$connect` call has come. When it is to be answered, where not at once.
    pub(crate) fn connecting(&self) -> Option<Instant> {
        let calls = &mut *self.calls();
        calls.connects += 1;
        calls.under_way += 1;
        calls.most_under_way = calls.most_under_way.max(calls.under_way);
        (calls.connect_takes > Duration::ZERO).then(|| Instant::now() + calls.connect_takes)
    }

    /// It is answered, or its caller has gone.
    pub(crate) fn connected(&self) {
        self.calls().under_way -= 1;
    }

    /// A `$disconnect` call has come.
    pub(crate) fn ended(&self, id: &str) {
        let calls = &mut *self.calls();
        *calls.ends.entry(id.to_owned()).or_default() += 1;
        calls.last_end = Some(Instant::now());
    }

    /// How often the connections with these ids have ended.
    pub(crate) fn ends_of<'i>(&self, ids: impl Iterator<Item = &'i str>) -> Ends {
        let calls = self.calls();
        ids.fold(Ends::default(), |ends, id| match calls.ends.get(id) {
            None => Ends { never: ends.never + 1, ..ends },
            Some(1) => ends,
            Some(_) => Ends { repeated: ends.repeated + 1, ..ends },
        })
    }

    /// All `$disconnect` calls, and when the last one came.
    pub(crate) fn all_ends(&self) -> (u64, Option<Instant>) {
        let calls = self.calls();
        (calls.ends.values().copied().map(u64::from).sum(), calls.last_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_missing_and_one_that_came_twice_are_counted() {
        let lifecycle = Lifecycle::default();
        ["a", "b", "b"].into_iter().for_each(|id| lifecycle.ended(id));
        let ends = lifecycle.ends_of(["a", "b", "c"].into_iter());
        assert_eq!(ends, Ends { never: 1, repeated: 1 });
        assert_eq!(lifecycle.ends_of(["a"].into_iter()), Ends::default());
        assert_eq!(lifecycle.all_ends().0, 3);
    }

    #[test]
    fn the_most_at_once_is_kept_until_it_is_counted_anew() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.connecting(), None);
        assert_eq!(lifecycle.connecting(), None);
        lifecycle.connected();
        assert_eq!(lifecycle.connects(), (2, 2));
        lifecycle.begin_connects(Duration::from_secs(1));
        assert_eq!(lifecycle.connects(), (0, 1), "one is still under way");
        assert!(lifecycle.connecting().is_some_and(|due| due > Instant::now()));
        assert_eq!(lifecycle.connects(), (1, 2));
    }
}
