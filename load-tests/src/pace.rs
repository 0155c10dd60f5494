//! When load is due that comes at a rate, whatever becomes of what came before.
//!
//! In:  the rate and the time. Out: the times at which something was due, each once.
//!
//! A latency is counted from then on, and not from when somebody was free to send: a server that
//! stalls would otherwise be asked less often just then, and look better than it is.

use std::time::Duration;

/// A steady beat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    step_ns: f64,
    next_ns: f64,
}

impl Pace {
    /// The first is due at `from_ns`.
    pub(crate) fn new(per_second: f64, from_ns: u64) -> Self {
        Self { step_ns: 1e9 / per_second, next_ns: from_ns as f64 }
    }

    /// The oldest time that is due now and was not given out.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<u64> {
        // Beyond 2^53 ns (104 days) this would be inexact.
        let due = self.next_ns as u64;
        (due <= now_ns).then(|| {
            self.next_ns += self.step_ns;
            due
        })
    }

    /// How long nothing is due, in whole milliseconds, which is what a poll can wait: what is due
    /// sooner is waited for on the processor.
    pub(crate) fn idle(&self, now_ns: u64) -> Duration {
        Duration::from_millis((self.next_ns as u64).saturating_sub(now_ns) / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_due_at_once_and_at_its_own_time() {
        let mut pace = Pace::new(500.0, 1_000_000);
        assert_eq!(pace.due(999_999), None);
        assert_eq!(pace.idle(0), Duration::from_millis(1));
        let due: Vec<_> = std::iter::from_fn(|| pace.due(6_000_000)).collect();
        assert_eq!(due, [1_000_000, 3_000_000, 5_000_000]);
        assert_eq!(pace.idle(6_100_000), Duration::ZERO);
    }
}
