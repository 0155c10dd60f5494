//! What the bus has done and what went wrong with it, in numbers.
//!
//! In:  one call for each event, from any thread.
//! Out: [`BusCounts`], for a metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::Dropped;

/// What one node's bus has done since it started. All but the last two only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusCounts {
    /// Questions sent to other nodes: posts, sends, joins, pages and the like.
    pub sent: u64,
    /// Bus messages published; each carries one or more questions and answers.
    pub published: u64,
    /// Bytes of them.
    pub published_bytes: u64,
    /// Questions of other nodes that were answered.
    pub received: u64,
    /// Answers to own questions.
    pub receipts: u64,
    /// Questions that nobody answered in time.
    pub timeouts: u64,
    /// Questions answered "unavailable" at once: the link was down or the queue was full.
    pub refused: u64,
    /// Bus messages longer than the longest.
    pub dropped_too_long: u64,
    /// Bus messages that no node sent.
    pub dropped_foreign: u64,
    /// Bus messages of another version.
    pub dropped_version: u64,
    /// Items that do not parse.
    pub dropped_malformed: u64,
    /// Bus messages for which the inbox had no room.
    pub dropped_overflow: u64,
    /// Answers to no question: they came after the deadline.
    pub dropped_late: u64,
    /// Times the link to the server was made.
    pub connects: u64,
    /// Times it could not be made.
    pub failed_connects: u64,
    /// Times it was lost or given up.
    pub disconnects: u64,
    /// Probes that did not come back.
    pub failed_probes: u64,
    /// Node numbers that this node lost to others.
    pub lost_leases: u64,
    /// Dead nodes that this node claimed.
    pub claimed_nodes: u64,
    /// Connections of dead nodes that were handed out.
    pub orphans: u64,
    /// Questions that wait for an answer now.
    pub waiting: u64,
    /// Bytes that wait to be published now.
    pub queued_bytes: u64,
}

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// The live counters behind [`BusCounts`].
        #[derive(Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)+
        }

        impl Counters {
            /// The counts of this moment; what waits is filled in by who knows.
            pub(super) fn snapshot(&self) -> BusCounts {
                BusCounts { $($name: self.$name.get(),)+ waiting: 0, queued_bytes: 0 }
            }
        }
    };
}

counters!(
    sent,
    published,
    published_bytes,
    received,
    receipts,
    timeouts,
    refused,
    dropped_too_long,
    dropped_foreign,
    dropped_version,
    dropped_malformed,
    dropped_overflow,
    dropped_late,
    connects,
    failed_connects,
    disconnects,
    failed_probes,
    lost_leases,
    claimed_nodes,
    orphans,
);

impl Counters {
    pub(super) fn dropped(&self, why: Dropped) {
        match why {
            Dropped::TooLong => self.dropped_too_long.add(1),
            Dropped::Foreign => self.dropped_foreign.add(1),
            Dropped::Version => self.dropped_version.add(1),
            Dropped::Malformed => self.dropped_malformed.add(1),
        }
    }
}

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
