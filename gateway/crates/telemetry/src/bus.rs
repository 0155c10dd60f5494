//! `tidegate_bus_*`: what goes between this node and others, read when somebody scrapes.

use std::fmt::Write as _;

/// What the bus has done since the node started, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusFigures {
    /// Messages reach other nodes and this one, by the last probe.
    pub delivers: bool,
    /// This node may speak in its own name.
    pub holds_lease: bool,
    /// Requests sent to other nodes: posts, sends, joins, pages and the like.
    pub sent: u64,
    /// Bus messages published; each carries one or more requests and answers.
    pub published: u64,
    /// Bytes of them.
    pub published_bytes: u64,
    /// Requests of other nodes that were answered.
    pub received: u64,
    /// Answers to own requests.
    pub receipts: u64,
    /// Requests that nobody answered in time.
    pub timeouts: u64,
    /// Requests answered "unavailable" at once.
    pub refused: u64,
    /// Bus messages longer than the longest.
    pub dropped_too_long: u64,
    /// Bus messages that no node sent.
    pub dropped_foreign: u64,
    /// Bus messages of another version.
    pub dropped_version: u64,
    /// Parts of bus messages that do not parse.
    pub dropped_malformed: u64,
    /// Bus messages for which there was no room.
    pub dropped_overflow: u64,
    /// Answers that came after the deadline.
    pub dropped_late: u64,
    /// Times the link to the server was made.
    pub connects: u64,
    /// Times it could not be made.
    pub failed_connects: u64,
    /// Times it was lost or given up.
    pub disconnects: u64,
    /// Probes that did not come back.
    pub failed_probes: u64,
    /// Numbers that this node lost to others.
    pub lost_leases: u64,
    /// Dead nodes that this node claimed.
    pub claimed_nodes: u64,
    /// Connections of dead nodes that came to this node.
    pub orphans: u64,
    /// Of those, the ones whose `$disconnect` could not be run here.
    pub unusable_orphans: u64,
    /// Requests that wait for an answer now.
    pub waiting: u64,
    /// Bytes that wait to be published now.
    pub queued_bytes: u64,
}

/// One metric: name after `tidegate_bus_`, kind, help, and its values by label.
type Family = (&'static str, &'static str, &'static str, Vec<(&'static str, u64)>);

impl BusFigures {
    fn families(&self) -> Vec<Family> {
        let one = |value: u64| vec![("", value)];
        vec![
            (
                "up",
                "gauge",
                "1 while messages reach other nodes and this one, by the last probe.",
                one(self.delivers.into()),
            ),
            (
                "lease_held",
                "gauge",
                "1 while this node may speak in its own name.",
                one(self.holds_lease.into()),
            ),
            ("sent_total", "counter", "Requests sent to other nodes.", one(self.sent)),
            (
                "received_total",
                "counter",
                "Requests of other nodes that were answered.",
                one(self.received),
            ),
            ("receipts_total", "counter", "Answers to own requests.", one(self.receipts)),
            (
                "failed_total",
                "counter",
                "Requests without an answer: not in time, or the bus was away.",
                vec![
                    ("{reason=\"timeout\"}", self.timeouts),
                    ("{reason=\"unavailable\"}", self.refused),
                ],
            ),
            ("published_total", "counter", "Bus messages published.", one(self.published)),
            (
                "published_bytes_total",
                "counter",
                "Bytes of bus messages published.",
                one(self.published_bytes),
            ),
            (
                "dropped_total",
                "counter",
                "What came from the bus and was not taken.",
                vec![
                    ("{reason=\"too_long\"}", self.dropped_too_long),
                    ("{reason=\"foreign\"}", self.dropped_foreign),
                    ("{reason=\"version\"}", self.dropped_version),
                    ("{reason=\"malformed\"}", self.dropped_malformed),
                    ("{reason=\"overflow\"}", self.dropped_overflow),
                    ("{reason=\"late\"}", self.dropped_late),
                ],
            ),
            (
                "links_total",
                "counter",
                "Links to the server that were made, could not be made, or were lost.",
                vec![
                    ("{outcome=\"made\"}", self.connects),
                    ("{outcome=\"failed\"}", self.failed_connects),
                    ("{outcome=\"lost\"}", self.disconnects),
                ],
            ),
            (
                "failed_probes_total",
                "counter",
                "Probes that did not come back.",
                one(self.failed_probes),
            ),
            (
                "lost_leases_total",
                "counter",
                "Numbers that this node lost to others.",
                one(self.lost_leases),
            ),
            (
                "claimed_nodes_total",
                "counter",
                "Dead nodes that this node claimed.",
                one(self.claimed_nodes),
            ),
            (
                "orphans_total",
                "counter",
                "Connections of dead nodes that came to this node.",
                one(self.orphans),
            ),
            (
                "unusable_orphans_total",
                "counter",
                "Connections of dead nodes whose $disconnect could not be run here.",
                one(self.unusable_orphans),
            ),
            ("waiting", "gauge", "Requests that wait for an answer.", one(self.waiting)),
            ("queued_bytes", "gauge", "Bytes that wait to be published.", one(self.queued_bytes)),
        ]
    }
}

/// Appends the figures in the text format of Prometheus.
pub(crate) fn append(figures: &BusFigures, text: &mut String) {
    for (name, kind, help, values) in figures.families() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP tidegate_bus_{name} {help}");
        let _ = writeln!(text, "# TYPE tidegate_bus_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "tidegate_bus_{name}{labels} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_line_of_its_own() {
        let figures = BusFigures {
            delivers: true,
            sent: 2,
            timeouts: 3,
            dropped_version: 4,
            disconnects: 5,
            lost_leases: 6,
            queued_bytes: 7,
            ..BusFigures::default()
        };
        let mut text = String::new();
        append(&figures, &mut text);
        for line in [
            "tidegate_bus_up 1",
            "tidegate_bus_lease_held 0",
            "tidegate_bus_sent_total 2",
            "tidegate_bus_failed_total{reason=\"timeout\"} 3",
            "tidegate_bus_dropped_total{reason=\"version\"} 4",
            "tidegate_bus_links_total{outcome=\"lost\"} 5",
            "tidegate_bus_lost_leases_total 6",
            "tidegate_bus_queued_bytes 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
