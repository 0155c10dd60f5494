//! What of the bus stands in `/metrics`, by which name.
//!
//! In:  what the store has counted, and what is counted beside it.
//! Out: the figures of one scrape.

use connection_store::BusCounts;
use tidegate_telemetry::BusFigures;

/// What the store does not count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Messages reach other nodes and this one, by the last probe.
    pub(crate) delivers: bool,
    /// This node may speak in its own name.
    pub(crate) holds_lease: bool,
    /// Orphans whose `$disconnect` could not be run here.
    pub(crate) unusable_orphans: u64,
}

/// The figures of this moment.
pub(crate) fn of(counts: &BusCounts, standing: &Standing) -> BusFigures {
    BusFigures::default()
        .gauge(
            "up",
            "1 while messages reach other nodes and this one, by the last probe.",
            standing.delivers.into(),
        )
        .gauge(
            "lease_held",
            "1 while this node may speak in its own name.",
            standing.holds_lease.into(),
        )
        .counter("sent_total", "Requests sent to other nodes.", counts.sent)
        .counter("received_total", "Requests of other nodes that were answered.", counts.received)
        .counter("receipts_total", "Answers to own requests.", counts.receipts)
        .counters(
            "failed_total",
            "Requests without an answer: not in time, or the bus was away.",
            &[
                ("{reason=\"timeout\"}", counts.timeouts),
                ("{reason=\"unavailable\"}", counts.refused),
            ],
        )
        .counter("published_total", "Bus messages published.", counts.published)
        .counter(
            "published_bytes_total",
            "Bytes of bus messages published.",
            counts.published_bytes,
        )
        .counters(
            "dropped_total",
            "What came from the bus and was not taken.",
            &[
                ("{reason=\"too_long\"}", counts.dropped_too_long),
                ("{reason=\"foreign\"}", counts.dropped_foreign),
                ("{reason=\"version\"}", counts.dropped_version),
                ("{reason=\"malformed\"}", counts.dropped_malformed),
                ("{reason=\"overflow\"}", counts.dropped_overflow),
                ("{reason=\"late\"}", counts.dropped_late),
            ],
        )
        .counters(
            "links_total",
            "Links to the server that were made, could not be made, or were lost.",
            &[
                ("{outcome=\"made\"}", counts.connects),
                ("{outcome=\"failed\"}", counts.failed_connects),
                ("{outcome=\"lost\"}", counts.disconnects),
            ],
        )
        .counter("failed_probes_total", "Probes that did not come back.", counts.failed_probes)
        .counter("lost_leases_total", "Numbers that this node lost to others.", counts.lost_leases)
        .counter("claimed_nodes_total", "Dead nodes that this node claimed.", counts.claimed_nodes)
        .counter(
            "orphans_total",
            "Connections of dead nodes that came to this node.",
            counts.orphans,
        )
        .counter(
            "unusable_orphans_total",
            "Connections of dead nodes whose $disconnect could not be run here.",
            standing.unusable_orphans,
        )
        .gauge("waiting", "Requests that wait for an answer.", counts.waiting)
        .gauge("queued_bytes", "Bytes that wait to be published.", counts.queued_bytes)
}

#[cfg(test)]
mod tests {
    use tidegate_telemetry::Metrics;

    use super::*;

    #[test]
    fn each_figure_has_a_line_of_its_own() {
        let counts = BusCounts {
            sent: 2,
            published: 3,
            published_bytes: 4,
            received: 5,
            receipts: 6,
            timeouts: 7,
            refused: 8,
            dropped_too_long: 9,
            dropped_foreign: 10,
            dropped_version: 11,
            dropped_malformed: 12,
            dropped_overflow: 13,
            dropped_late: 14,
            connects: 15,
            failed_connects: 16,
            disconnects: 17,
            failed_probes: 18,
            lost_leases: 19,
            claimed_nodes: 20,
            orphans: 21,
            waiting: 23,
            queued_bytes: 24,
        };
        let standing = Standing { delivers: true, holds_lease: false, unusable_orphans: 22 };
        let page = Metrics::new().render(&[], Some(&of(&counts, &standing)));
        let mut lines = page.lines().filter_map(|line| line.strip_prefix("tidegate_bus_"));
        for line in [
            "up 1",
            "lease_held 0",
            "sent_total 2",
            "received_total 5",
            "receipts_total 6",
            "failed_total{reason=\"timeout\"} 7",
            "failed_total{reason=\"unavailable\"} 8",
            "published_total 3",
            "published_bytes_total 4",
            "dropped_total{reason=\"too_long\"} 9",
            "dropped_total{reason=\"foreign\"} 10",
            "dropped_total{reason=\"version\"} 11",
            "dropped_total{reason=\"malformed\"} 12",
            "dropped_total{reason=\"overflow\"} 13",
            "dropped_total{reason=\"late\"} 14",
            "links_total{outcome=\"made\"} 15",
            "links_total{outcome=\"failed\"} 16",
            "links_total{outcome=\"lost\"} 17",
            "failed_probes_total 18",
            "lost_leases_total 19",
            "claimed_nodes_total 20",
            "orphans_total 21",
            "unusable_orphans_total 22",
            "waiting 23",
            "queued_bytes 24",
        ] {
            assert_eq!(lines.next(), Some(line));
        }
        assert_eq!(lines.next(), None);
    }
}
