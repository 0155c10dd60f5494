//! How many are let through: a bucket of `burst` tokens that refills at `rate` a second.
//!
//! In:  a [`Throttle`] once, then `now` for each that asks.
//! Out: whether it may pass; a pass takes one token.
//!
//! Holds always, for any two moments: what passes between them is at most `burst` plus `rate` times
//! the seconds between them. A burst of 0 lets nothing through, whatever the rate (websocket-api,
//! item 114). A rate of 0 lets one burst through and then nothing.
//!
//! The bucket is kept as one number, the moment at which it will be full again (the generic cell
//! rate algorithm): taking a token moves that moment on by one token's time, and is refused when it
//! would lie more than a whole bucket's time ahead. Nothing has to be done as time passes, and one
//! number can be shared between cores without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_model::Throttle;

/// A bucket, shared by all cores.
#[derive(Debug)]
pub struct TokenBucket {
    pace: Pace,
    state: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(throttle: Throttle) -> Self {
        Self { pace: Pace::new(throttle), state: AtomicU64::new(0) }
    }

    /// Takes a token if there is one. `now_ns` counts from a moment that all cores agree on, at most
    /// 292 years ago; it may be a little behind another core's.
    #[must_use]
    pub fn take(&self, now_ns: u64) -> bool {
        // Relaxed: the number guards nothing but itself.
        self.state
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                self.pace.after_one(state, now_ns)
            })
            .is_ok()
    }
}

/// What one token costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Each token comes back. The state is the moment, in nanoseconds, at which the bucket is full.
    Refilled {
        /// One token's time. Rounded up, so that the rate is never exceeded; hence at most 10⁹ tokens
        /// a second.
        token_ns: u64,
        /// All tokens' time; at most 292 years.
        bucket_ns: u64,
    },
    /// Tokens do not come back, or none does within 292 years. The state is how many were taken.
    Once {
        /// The bucket's size.
        tokens: u64,
    },
}

impl Pace {
    fn new(Throttle { rate, burst }: Throttle) -> Self {
        const LONGEST_NS: u64 = 1 << 63;
        let tokens = u64::from(burst);
        // A conversion from f64 ends at the bounds of u64; a NaN is no rate.
        let token_ns = if rate > 0.0 { ((1e9 / rate).ceil() as u64).max(1) } else { u64::MAX };
        match token_ns.checked_mul(tokens) {
            Some(bucket_ns) if bucket_ns <= LONGEST_NS && tokens > 0 => {
                Self::Refilled { token_ns, bucket_ns }
            }
            _ => Self::Once { tokens },
        }
    }

    /// The state after one more token, or `None` when there is none left.
    fn after_one(self, state: u64, now_ns: u64) -> Option<u64> {
        match self {
            Self::Refilled { token_ns, bucket_ns } => {
                let full_at = state.max(now_ns).checked_add(token_ns)?;
                (full_at - now_ns <= bucket_ns).then_some(full_at)
            }
            Self::Once { tokens } => (state < tokens).then(|| state + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    /// The same rules with one owner and no atomics: what the shared bucket is compared with.
    #[derive(Debug, Clone)]
    struct Alone {
        pace: Pace,
        state: u64,
    }

    impl Alone {
        fn new(throttle: Throttle) -> Self {
            Self { pace: Pace::new(throttle), state: 0 }
        }

        fn take(&mut self, now_ns: u64) -> bool {
            let next = self.pace.after_one(self.state, now_ns);
            self.state = next.unwrap_or(self.state);
            next.is_some()
        }
    }

    const SECOND_NS: u64 = 1_000_000_000;

    fn bucket(rate: f64, burst: u32) -> Alone {
        Alone::new(Throttle { rate, burst })
    }

    #[test]
    fn a_full_bucket_lets_one_burst_through_at_once() {
        let mut bucket = bucket(10.0, 5);
        let passed = (0..100).filter(|_| bucket.take(7)).count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn an_empty_bucket_refills_at_its_rate_and_not_beyond_its_size() {
        let mut bucket = bucket(10.0, 5);
        let mut passed_at = |now_ns| (0..100).filter(|_| bucket.take(now_ns)).count();
        assert_eq!(passed_at(SECOND_NS), 5);
        assert_eq!(passed_at(SECOND_NS + SECOND_NS / 10 - 1), 0);
        assert_eq!(passed_at(SECOND_NS + SECOND_NS / 10), 1);
        assert_eq!(passed_at(SECOND_NS + SECOND_NS * 3 / 10), 2);
        assert_eq!(passed_at(SECOND_NS * 1000), 5);
    }

    /// websocket-api, item 114.
    #[test]
    fn a_burst_of_zero_lets_nothing_through() {
        for rate in [0.0, 1.0, 1e6, f64::INFINITY] {
            let mut bucket = bucket(rate, 0);
            assert!((0..1000).all(|n| !bucket.take(n * SECOND_NS)), "rate {rate}");
        }
    }

    /// The last of them would need centuries for one token.
    #[test]
    fn a_rate_of_zero_lets_one_burst_through_and_then_nothing() {
        for rate in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-300, 1e-11] {
            let mut bucket = bucket(rate, 3);
            let passed = (0..1000).filter(|n| bucket.take(n * SECOND_NS)).count();
            assert_eq!(passed, 3, "rate {rate}");
        }
    }

    /// A token each 3.33 ns: every 3 ns would be a tenth too many.
    #[test]
    fn a_rate_of_parts_of_a_nanosecond_is_not_exceeded() {
        let mut bucket = bucket(3e8, 1);
        let passed = (0..30_000).filter(|now_ns| bucket.take(*now_ns)).count();
        assert!((7_000..=9_001).contains(&passed), "{passed}");
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_tokens_away() {
        let mut bucket = bucket(1.0, 2);
        assert!(bucket.take(10 * SECOND_NS) && bucket.take(10 * SECOND_NS));
        assert!(!bucket.take(5 * SECOND_NS) && !bucket.take(0));
        assert!(bucket.take(11 * SECOND_NS));
    }

    #[test]
    fn the_ends_of_the_clock_and_of_the_figures_do_not_overflow() {
        for rate in [1e-9, 1.0, 1e9, 1e300, f64::INFINITY] {
            for burst in [1, u32::MAX] {
                for now_ns in [0, 1 << 63, u64::MAX] {
                    let mut bucket = bucket(rate, burst);
                    let _ = (bucket.take(now_ns), bucket.take(now_ns), bucket.take(0));
                }
            }
        }
    }

    /// What may pass from the first moment to the last.
    fn most(throttle: Throttle, elapsed_ns: u64) -> f64 {
        f64::from(throttle.burst) + throttle.rate * elapsed_ns as f64 / 1e9 + 1e-6
    }

    proptest! {
        #[test]
        fn between_any_two_moments_no_more_than_burst_and_rate_pass(
            rate in prop_oneof![0.0..100.0f64, 0.0..1e7f64],
            burst in 0u32..50,
            steps_ns in prop::collection::vec(prop_oneof![Just(0), 0..SECOND_NS, 0..50_000u64], 1..300),
        ) {
            let throttle = Throttle { rate, burst };
            let mut bucket = Alone::new(throttle);
            let mut now_ns = SECOND_NS;
            let mut passes_ns = Vec::new();
            for step_ns in steps_ns {
                now_ns += step_ns;
                if bucket.take(now_ns) {
                    passes_ns.push(now_ns);
                }
            }
            for (first, from_ns) in passes_ns.iter().enumerate() {
                for (last, to_ns) in passes_ns.iter().enumerate().skip(first) {
                    prop_assert!((last - first + 1) as f64 <= most(throttle, to_ns - from_ns));
                }
            }
        }

        /// The other half: the bound is reached. A bucket of one token would lose what comes back
        /// while it is full, between two questions.
        #[test]
        fn whoever_asks_all_the_time_gets_the_whole_rate(rate in 1.0..1000.0f64, burst in 2u32..20) {
            let mut bucket = bucket(rate, burst);
            let passed = (0..10_000u64).filter(|ms| bucket.take(ms * 1_000_000)).count();
            let whole = (f64::from(burst) + rate * 9.999).min(10_000.0);
            prop_assert!(passed as f64 >= whole - 2.0, "{passed} of {whole}");
        }

        #[test]
        fn the_shared_bucket_decides_as_the_plain_one(
            rate in 0.0..1000.0f64,
            burst in 0u32..10,
            times_ns in prop::collection::vec(0..SECOND_NS, 1..100),
        ) {
            let throttle = Throttle { rate, burst };
            let (mut plain, shared) = (Alone::new(throttle), TokenBucket::new(throttle));
            for now_ns in times_ns {
                prop_assert_eq!(plain.take(now_ns), shared.take(now_ns));
            }
        }
    }

    /// A lost update would let one through too many; each thread has its own slightly wrong clock.
    #[test]
    fn threads_together_get_no_more_than_burst_and_rate_and_no_less() {
        let throttle = Throttle { rate: 1e6, burst: 50 };
        let shared = TokenBucket::new(throttle);
        let passed: usize = thread::scope(|scope| {
            let count = |skew_ns: u64| {
                let shared = &shared;
                scope.spawn(move || (0..100_000).filter(|n| shared.take(n * 100 + skew_ns)).count())
            };
            let threads: Vec<_> = [0, 30, 60, 90].map(count).into();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let elapsed_ns = 99_999 * 100 + 90;
        assert!(passed as f64 <= most(throttle, elapsed_ns), "{passed}");
        // Whichever thread runs first gets the whole rate alone.
        assert!(passed as f64 >= most(throttle, elapsed_ns) - 2.0, "{passed}");
    }
}
