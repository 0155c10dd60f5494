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
    let reaches = |ratio: f64| match targets::better(quantity) {
        Better::Lower => ratio <= 1.0,
        Better::Higher => ratio >= 1.0,
    };
    let met = of_target.map(reaches);
    Row {
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
    use crate::options::Sizes;

    fn post_job() -> Job {
        let length = Duration::from_secs(1);
        let sizes = Sizes { payload_bytes: 64, depth: 16, posters: 64, length };
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
    fn without_a_gateway_the_raw_figures_stand_alone() {
        let raw = vec![(Quantity::ServerCpuUs, 10.0)];
        let rows = rows(&post_job(), None, Some(&raw));
        assert_eq!((rows[0].raw, rows[0].of_raw, rows[0].met), (Some(10.0), None, None));
    }
}
