//! Who posts to whom in which order, so that each receiver knows by itself what must come next.
//!
//! ```text
//! caller 0, through one node:       receiver 0: 0 1 .. 7   receiver 1: 8 9 .. 15   ...
//! caller 1, through the other one:  receiver 0: 0 1 .. 7   receiver 1: 8 9 .. 15   ...
//! caller 2:                         its first receiver is further on
//! ```
//!
//! In:  how many of each. Out: the receiver of each post; which of a caller's posts comes to a
//! receiver after which.
//!
//! Holds always: a caller posts [`BURST`] times to one before it goes on to the next, so that an
//! order is there to be broken; two callers are at one receiver at a time.

/// Posts of one caller to one receiver, one after the other.
pub(crate) const BURST: u32 = 8;

/// The plan of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) receivers: u32,
    pub(crate) callers: u32,
}

impl Plan {
    /// Whom the caller's post with this number is for; the first is number 0.
    pub(crate) fn receiver(self, caller: u32, sequence: u32) -> u32 {
        (self.begins_at(caller) + sequence / BURST) % self.receivers
    }

    fn begins_at(self, caller: u32) -> u32 {
        let (pair, pairs) = (u64::from(caller / 2), u64::from(self.callers.div_ceil(2)));
        // Less than `receivers`.
        (pair * u64::from(self.receivers) / pairs) as u32
    }

    /// The caller's first post to a receiver.
    pub(crate) fn first(self, caller: u32, receiver: u32) -> u32 {
        (receiver + self.receivers - self.begins_at(caller)) % self.receivers * BURST
    }

    /// The caller's next post to the same receiver.
    pub(crate) fn after(self, sequence: u32) -> u32 {
        let next = sequence + 1;
        if next.is_multiple_of(BURST) { next + (self.receivers - 1) * BURST } else { next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_knows_all_that_comes_to_it() {
        let plan = Plan { receivers: 7, callers: 5 };
        for caller in 0..plan.callers {
            for receiver in 0..plan.receivers {
                let all = (0..400).filter(|number| plan.receiver(caller, *number) == receiver);
                let known = std::iter::successors(Some(plan.first(caller, receiver)), |number| {
                    Some(plan.after(*number))
                });
                let known = known.take_while(|number| *number < 400);
                assert_eq!(all.collect::<Vec<_>>(), known.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn two_callers_are_at_one_receiver_and_others_elsewhere() {
        let plan = Plan { receivers: 100, callers: 4 };
        let first = [0, 1, 2, 3].map(|caller| plan.receiver(caller, 0));
        assert_eq!(first, [0, 0, 50, 50]);
    }
}
