//! How much of a quota is used in the period that runs.
//!
//! In:  a [`Quota`] and the time, for each that asks.
//! Out: whether it may pass; a pass is counted.
//!
//! Holds always: in a period no more pass than the limit. A clock that is behind another core's at a
//! period's end counts in the period that has begun.
//!
//! The period and the count share one number, so that both change at once without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_model::{Quota, QuotaPeriod};
use time::{OffsetDateTime, UtcDateTime};

/// A count, shared by all cores.
#[derive(Debug, Default)]
pub(super) struct QuotaCounter {
    /// The period's number in the upper half, how many passed in it in the lower.
    state: AtomicU64,
}

impl QuotaCounter {
    /// Counts one if the quota has one left. `now_ms` is milliseconds since 1970.
    #[must_use]
    pub(super) fn count(&self, quota: Quota, now_ms: u64) -> bool {
        let now = period(quota.period, now_ms);
        // Relaxed: the number guards nothing but itself.
        self.state
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                let (counted_in, used) = halves(state);
                let (period, used) = if now > counted_in { (now, 0) } else { (counted_in, used) };
                (used < quota.limit).then(|| u64::from(period) << 32 | u64::from(used + 1))
            })
            .is_ok()
    }
}

fn halves(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

/// The number of the period that a moment is in; each next one's is one more.
fn period(period: QuotaPeriod, at_ms: u64) -> u32 {
    let days = at_ms / 86_400_000;
    let number = match period {
        QuotaPeriod::Day => days,
        // 1970 began on a Thursday, four days after a Sunday.
        QuotaPeriod::Week => (days + 4) / 7,
        QuotaPeriod::Month => {
            let at_s = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
            let date: UtcDateTime = OffsetDateTime::from_unix_timestamp(at_s)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH)
                .to_utc();
            let years = u64::try_from(date.year()).unwrap_or(0).saturating_sub(1970);
            years * 12 + u64::from(u8::from(date.month())) - 1
        }
    };
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::{Date, Month, Weekday};

    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn ms(year: i32, month: u8, day: u8) -> u64 {
        let date = Date::from_calendar_date(year, Month::try_from(month).unwrap(), day).unwrap();
        u64::try_from(date.midnight().assume_utc().unix_timestamp()).unwrap() * 1000
    }

    #[test]
    fn periods_end_at_midnight_utc() {
        for (kind, first_of_next) in [
            (QuotaPeriod::Day, ms(2026, 11, 23)),
            // A Sunday.
            (QuotaPeriod::Week, ms(2026, 11, 22)),
            (QuotaPeriod::Week, ms(2027, 1, 3)),
            (QuotaPeriod::Month, ms(2026, 12, 1)),
            (QuotaPeriod::Month, ms(2027, 1, 1)),
            (QuotaPeriod::Month, ms(2028, 3, 1)),
        ] {
            let before = period(kind, first_of_next - 1);
            assert_eq!(period(kind, first_of_next), before + 1, "{kind:?} {first_of_next}");
            assert_eq!(
                period(kind, first_of_next + DAY_MS - 1),
                match kind {
                    QuotaPeriod::Day => before + 1,
                    QuotaPeriod::Week | QuotaPeriod::Month => period(kind, first_of_next),
                }
            );
        }
        for kind in [QuotaPeriod::Day, QuotaPeriod::Week, QuotaPeriod::Month] {
            assert_eq!(period(kind, 0), 0);
            let _ = period(kind, u64::MAX);
        }
    }

    #[test]
    fn a_new_period_begins_with_the_whole_limit() {
        let counter = QuotaCounter::default();
        let quota = Quota { limit: 2, period: QuotaPeriod::Month };
        let passed = |now_ms| (0..5).filter(|_| counter.count(quota, now_ms)).count();
        assert_eq!(passed(ms(2026, 11, 22)), 2);
        assert_eq!(passed(ms(2026, 12, 1) - 1), 0);
        assert_eq!(passed(ms(2026, 12, 1)), 2);
        assert_eq!(passed(ms(2026, 12, 1) - 1), 0, "a clock that is behind");
        assert_eq!(passed(ms(2027, 12, 1)), 2);
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through_and_the_largest_does_not_overflow() {
        let counter = QuotaCounter::default();
        assert!(!counter.count(Quota { limit: 0, period: QuotaPeriod::Day }, 0));
        let full = QuotaCounter { state: AtomicU64::new(u64::from(u32::MAX - 1)) };
        let quota = Quota { limit: u32::MAX, period: QuotaPeriod::Day };
        assert!(full.count(quota, 0) && !full.count(quota, 0));
        assert!(full.count(quota, DAY_MS));
    }

    proptest! {
        #[test]
        fn in_a_period_no_more_pass_than_the_limit_and_no_less(
            limit in 0u32..10,
            kind in prop::sample::select(vec![QuotaPeriod::Day, QuotaPeriod::Week, QuotaPeriod::Month]),
            mut times_ms in prop::collection::vec(ms(2026, 11, 1)..ms(2027, 4, 1), 0..300),
        ) {
            times_ms.sort_unstable();
            let counter = QuotaCounter::default();
            let quota = Quota { limit, period: kind };
            for same in times_ms.chunk_by(|a, b| period(kind, *a) == period(kind, *b)) {
                let passed = same.iter().filter(|now_ms| counter.count(quota, **now_ms)).count();
                prop_assert_eq!(passed, same.len().min(limit as usize));
            }
        }

        /// The calendar of the `time` crate as the judge.
        #[test]
        fn two_moments_share_a_period_when_the_calendar_says_so(
            a in 0..ms(2100, 1, 1), b in 0..ms(2100, 1, 1), near in 0..40 * DAY_MS, close in any::<bool>(),
        ) {
            let b = if close { a + near } else { b };
            let date = |ms: u64| {
                OffsetDateTime::from_unix_timestamp((ms / 1000) as i64).unwrap().date()
            };
            let sunday = |ms| {
                let date = date(ms);
                if date.weekday() == Weekday::Sunday { date } else { date.prev_occurrence(Weekday::Sunday) }
            };
            let month = |ms| (date(ms).year(), date(ms).month());
            let same = |kind| period(kind, a) == period(kind, b);
            prop_assert_eq!(same(QuotaPeriod::Day), date(a) == date(b));
            prop_assert_eq!(same(QuotaPeriod::Week), sunday(a) == sunday(b));
            prop_assert_eq!(same(QuotaPeriod::Month), month(a) == month(b));
        }
    }
}
