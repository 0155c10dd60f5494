//! The figures side by side: gateway, target, raw, and their ratios.
//!
//! In:  figures of one job against each server. Out: a table section, and rows for JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    scenario::{Figures, Job, Quantity, Scenario},
    targets::{self, Better, Target},
};

/// The whole run, as `--json` writes it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Processor, cores, kernel.
    pub(crate) machine: String,
    /// Which core did what.
    pub(crate) cores: String,
    /// Of this program, and so of the raw server.
    pub(crate) release_build: bool,
    /// One per figure.
    pub(crate) rows: Vec<Row>,
    /// What failed: scenario, server, error.
    pub(crate) failures: Vec<String>,
}

/// One figure. Ratios are the gateway's figure by the other one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The job, with its sizes, for people.
    title: String,
    scenario: Scenario,
    connections: usize,
    payload_bytes: usize,
    quantity: Quantity,
    gateway: Option<f64>,
    target: Option<f64>,
    of_target: Option<f64>,
    raw: Option<f64>,
    of_raw: Option<f64>,
    at_most_of_raw: Option<f64>,
    /// `None` without a target or without a gateway.
    met: Option<bool>,
}

impl Row {
    /// Whether the gateway's figure is not what it has to be.
    pub(crate) fn is_missed(&self) -> bool {
        self.met == Some(false)
    }

    /// What stands before its figures.
    pub(crate) fn label(&self) -> &'static str {
        label(self.quantity)
    }
}

/// The rows of one job, in the order the figures were given in.
pub(crate) fn rows(job: &Job, gateway: Option<&Figures>, raw: Option<&Figures>) -> Vec<Row> {
    let quantities = gateway.or(raw).into_iter().flatten().map(|(quantity, _)| *quantity);
    quantities
        .map(|quantity| row(job, quantity, find(gateway, quantity), find(raw, quantity)))
        .collect()
}

fn find(figures: Option<&Figures>, wanted: Quantity) -> Option<f64> {
    figures?.iter().find(|(quantity, _)| *quantity == wanted).map(|(_, value)| *value)
}

fn row(job: &Job, quantity: Quantity, gateway: Option<f64>, raw: Option<f64>) -> Row {
    let (scenario, connections, payload_bytes) =
        (job.scenario, job.connections, job.sizes.payload_bytes);
    let Target { absolute, of_raw: at_most_of_raw } =
        targets::target(scenario, connections, payload_bytes, quantity);
    let ratio = |to: Option<f64>| Some(gateway? / to.filter(|to| *to > 0.0)?);
    let (of_target, of_raw) = (ratio(absolute), ratio(raw));
    // Not by the ratio: a target may be zero.
    let reaches = |(figure, target)| match targets::better(quantity) {
        Better::Lower => figure <= target,
        Better::Higher => figure >= target,
    };
    let met = gateway.zip(absolute).map(reaches);
    Row {
        title: job.title(),
        scenario,
        connections,
        payload_bytes,
        quantity,
        gateway,
        target: absolute,
        of_target,
        raw,
        of_raw,
        at_most_of_raw,
        met,
    }
}

/// The head of every section.
pub(crate) fn table_head() -> String {
    format!(
        "{:<34}{:>12}{:>11}{:>11}{:>12}{:>9}{:>9}",
        "", "gateway", "target", "of target", "raw", "of raw", "at most"
    )
}

/// One job's rows under its title. `!` marks what misses its target.
pub(crate) fn table_section(title: &str, rows: &[Row]) -> String {
    let mut text = format!("{title}\n");
    for row in rows {
        let over_raw = row.of_raw.zip(row.at_most_of_raw).is_some_and(|(of, most)| of > most);
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<32}{:>12}{:>11}{:>10}{}{:>12}{:>8}{}{:>9}",
            label(row.quantity),
            number(row.gateway),
            number(row.target),
            share(row.of_target),
            mark(row.met == Some(false)),
            number(row.raw),
            share(row.of_raw),
            mark(over_raw),
            share(row.at_most_of_raw),
        );
    }
    text
}

fn label(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::PerSecond => "units per second",
        Quantity::P50Us => "p50, µs",
        Quantity::P99Us => "p99, µs",
        Quantity::DeliveryP50Us => "delivery p50, µs",
        Quantity::DeliveryP99Us => "delivery p99, µs",
        Quantity::LastMemberP50Ms => "last member p50, ms",
        Quantity::LastMemberMaxMs => "last member at most, ms",
        Quantity::WorkerP50Us => "the worker's own time p50, µs",
        Quantity::AboveWorkerUs => "p50 above it, µs",
        Quantity::ServerCpuUs => "server CPU µs per unit",
        Quantity::ServerBusyPercent => "server core busy, %",
        Quantity::BytesPerConnection => "user bytes per connection",
        Quantity::BytesPerUsedConnection => "the same after one message",
        Quantity::ScrapeMs => "scrape of /metrics, ms",
        Quantity::LocalCpuUs => "local: server CPU µs per unit",
        Quantity::LocalPerSecond => "local: units per second",
        Quantity::LocalP50Us => "local: p50, µs",
        Quantity::LocalP99Us => "local: p99, µs",
        Quantity::CpuOfLocal => "remote by local CPU",
        Quantity::RedisCpuUs => "redis CPU µs per unit",
        Quantity::HalfLoadPerSecond => "half load: units per second",
        Quantity::HalfLoadP50Us => "half load: p50, µs",
        Quantity::HalfLoadP99Us => "half load: p99, µs",
        Quantity::BusMessagesPerSend => "bus messages per node and send",
        Quantity::Posts => "posts",
        Quantity::Moves => "joins and leaves meanwhile",
        Quantity::FirstGoneS => "first dead id gone, s",
        Quantity::AllGoneS => "all dead ids gone, s",
        Quantity::AllGoneOfLease => "the same, leases",
        Quantity::EndsS => "last $disconnect, s",
        Quantity::EndsOfLease => "the same, leases",
        Quantity::StormS => "storm: all in, s",
        Quantity::StormRefused => "storm: answered 429",
        Quantity::ConnectsAtOnce => "storm: $connect calls at once",
        Quantity::ConnectsBound => "storm: the bound on them",
        Quantity::LostSockets => "sockets lost",
        Quantity::LocalFailed => "local posts that failed",
        Quantity::LocalSlowestMs => "local posts at most, ms",
        Quantity::Refused => "remote posts answered 503",
        Quantity::RefusedP99Ms => "503 p99, ms",
        Quantity::RefusedSlowestMs => "503 once noticed at most, ms",
        Quantity::UnnoticedSlowestMs => "503 before that at most, ms",
        Quantity::NoticedS => "not ready after, s",
        Quantity::ReadyAgainS => "ready again after, s",
        Quantity::BackS => "last refusal after return, s",
    }
}

fn mark(missed: bool) -> char {
    if missed { '!' } else { ' ' }
}

fn share(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(small) if small < 100.0 => format!("{small:.2}"),
        Some(large) => format!("{large:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{options::Sizes, redis_away::Way};

    fn post_job() -> Job {
        let length = Duration::from_secs(1);
        let nothing = Duration::ZERO;
        let sizes = Sizes {
            payload_bytes: 64,
            depth: 16,
            posters: 64,
            length,
            posts: 0,
            lease: nothing,
            storm: nothing,
            away: nothing,
            way: Way::Killed,
        };
        Job { scenario: Scenario::Post, connections: 64, sizes }
    }

    #[test]
    fn a_figure_stands_beside_its_target_and_raw_with_the_ratios() {
        let gateway = vec![(Quantity::ServerCpuUs, 27.0), (Quantity::PerSecond, 36_000.0)];
        let raw = vec![(Quantity::PerSecond, 72_000.0), (Quantity::ServerCpuUs, 10.0)];
        let rows = rows(&post_job(), Some(&gateway), Some(&raw));
        assert_eq!((rows[0].of_target, rows[0].of_raw), (Some(2.0), Some(2.7)));
        assert_eq!(rows[0].met, Some(false), "more CPU than the target");
        assert_eq!((rows[1].of_target, rows[1].of_raw), (Some(0.5), Some(0.5)));
        assert_eq!(rows[1].met, Some(false), "fewer posts than the target");
        let section = table_section("post", &rows);
        assert_eq!(section.matches('!').count(), 3, "two targets and one share of raw:\n{section}");
    }

    #[test]
    fn a_target_of_zero_is_met_by_nothing_else() {
        let job = Job { scenario: Scenario::RedisAway, ..post_job() };
        let missed = |lost| {
            let figures = vec![(Quantity::LostSockets, lost)];
            rows(&job, Some(&figures), None).iter().any(Row::is_missed)
        };
        assert_eq!([0.0, 1.0].map(missed), [false, true]);
    }

    #[test]
    fn without_a_gateway_the_raw_figures_stand_alone() {
        let raw = vec![(Quantity::ServerCpuUs, 10.0)];
        let rows = rows(&post_job(), None, Some(&raw));
        assert_eq!((rows[0].raw, rows[0].of_raw, rows[0].met), (Some(10.0), None, None));
    }
}
