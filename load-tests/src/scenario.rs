//! What can be run, with the sizes that the targets were set for, and what comes of it.

use std::time::Duration;

use serde::Serialize;

use crate::{
    backend::Backend,
    closed_loop::ClosedLoop,
    failure::Failure,
    function,
    group::{GroupSends, GroupSent},
    handshake::Handshakes,
    histogram::Histogram,
    idle::Idle,
    meter::Measured,
    options::Sizes,
    post::Posts,
    redis_away::Way,
    server_process::ServerProcess,
};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    Idle,
    Handshake,
    Echo,
    Pipelined,
    Post,
    Route,
    Group,
    Function,
    RemotePost,
    RemoteGroup,
    ClusterSoak,
    RedisAway,
}

impl Scenario {
    /// In the order `all` runs them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Idle,
        Self::Handshake,
        Self::Echo,
        Self::Pipelined,
        Self::Post,
        Self::Route,
        Self::Group,
        Self::Function,
        Self::RemotePost,
        Self::RemoteGroup,
    ];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::Echo => "echo",
            Self::Pipelined => "pipelined",
            Self::Post => "post",
            Self::Route => "route",
            Self::Group => "group",
            Self::Function => "function",
            Self::RemotePost => "remote-post",
            Self::RemoteGroup => "remote-group",
            Self::ClusterSoak => "cluster-soak",
            Self::RedisAway => "redis-away",
        }
    }

    /// The counts of connections it runs with unless told otherwise, one after another.
    pub(crate) fn default_connections(self) -> &'static [usize] {
        match self {
            Self::Idle => &[5_000],
            Self::Handshake => &[64],
            Self::Echo => &[100, 1_000],
            Self::Pipelined | Self::Route => &[100],
            Self::Post => &[64, 1_000],
            Self::Group => &[1_000, 5_000, 10_000],
            Self::Function => &[1],
            Self::RemotePost => &[64],
            Self::RemoteGroup => &[20, 10_000],
            Self::ClusterSoak => &[500],
            Self::RedisAway => &[100],
        }
    }

    /// Whether the raw server can do it.
    pub(crate) fn is_for_raw(self) -> bool {
        self != Self::Function && !self.is_for_nodes()
    }

    /// Whether it needs several nodes and a Redis.
    pub(crate) fn is_for_nodes(self) -> bool {
        matches!(self, Self::RemotePost | Self::RemoteGroup | Self::ClusterSoak | Self::RedisAway)
    }

    /// Whether it has failed where a target is missed: there the targets are promises and not
    /// figures of one machine.
    pub(crate) fn must_meet_targets(self) -> bool {
        self == Self::RedisAway
    }
}

/// One scenario with one count of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) scenario: Scenario,
    pub(crate) connections: usize,
    pub(crate) sizes: Sizes,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    PerSecond,
    P50Us,
    P99Us,
    DeliveryP50Us,
    DeliveryP99Us,
    LastMemberP50Ms,
    LastMemberMaxMs,
    WorkerP50Us,
    AboveWorkerUs,
    ServerCpuUs,
    ServerBusyPercent,
    BytesPerConnection,
    BytesPerUsedConnection,
    ScrapeMs,
    LocalCpuUs,
    LocalPerSecond,
    LocalP50Us,
    LocalP99Us,
    CpuOfLocal,
    RedisCpuUs,
    HalfLoadPerSecond,
    HalfLoadP50Us,
    HalfLoadP99Us,
    BusMessagesPerSend,
    Posts,
    Moves,
    FirstGoneS,
    AllGoneS,
    AllGoneOfLease,
    EndsS,
    EndsOfLease,
    StormS,
    StormRefused,
    ConnectsAtOnce,
    ConnectsBound,
    LostSockets,
    LocalFailed,
    LocalSlowestMs,
    Refused,
    RefusedP99Ms,
    RefusedSlowestMs,
    UnnoticedSlowestMs,
    NoticedS,
    ReadyAgainS,
    BackS,
}

/// Figures of one run against one server.
pub(crate) type Figures = Vec<(Quantity, f64)>;

impl Job {
    /// For people, the report's headings: `echo, 100 connections, 64 B`.
    pub(crate) fn title(&self) -> String {
        let Sizes { payload_bytes, depth, posters, .. } = self.sizes;
        let (name, connections) = (self.scenario.name(), self.connections);
        match self.scenario {
            Scenario::Idle => format!("{name}, {connections} connections"),
            Scenario::Handshake => format!("{name}, {connections} at once"),
            Scenario::Pipelined => {
                format!("{name}, {connections} connections, {depth} in flight, {payload_bytes} B")
            }
            Scenario::Post => {
                format!("{name}, {posters} posters, {connections} connections, {payload_bytes} B")
            }
            Scenario::Group => format!("{name}, {connections} members, {payload_bytes} B"),
            Scenario::Function => {
                format!("{name}, 1 worker, {connections} at once, {payload_bytes} B")
            }
            Scenario::RemotePost => format!(
                "{name}, 2 nodes, {posters} posters, {connections} connections, {payload_bytes} B"
            ),
            Scenario::RemoteGroup => {
                format!("{name}, 2 nodes, {connections} members, {payload_bytes} B")
            }
            Scenario::ClusterSoak => format!(
                "{name}, 2 nodes of {connections} connections, {} posts, lease {:?}, storm in {:?}",
                self.sizes.posts, self.sizes.lease, self.sizes.storm
            ),
            Scenario::RedisAway => {
                let (way, away) = (self.sizes.way, self.sizes.away);
                let way = if way == Way::Killed { "killed" } else { "frozen" };
                format!("{name}, 2 nodes of {connections} connections, {way} for {away:?}")
            }
            Scenario::Echo | Scenario::Route => {
                format!("{name}, {connections} connections, {payload_bytes} B")
            }
        }
    }

    /// Descriptors that one end of it needs, at most.
    pub(crate) fn descriptors(&self) -> usize {
        // The first clients of `idle`, a connection to the backend for each message under
        // way of `route`, and what any process has open.
        let more = match self.scenario {
            Scenario::Route | Scenario::RedisAway => self.connections,
            _ => self.sizes.posters,
        };
        self.connections + more + 500
    }

    /// Runs it against a fresh `server`.
    pub(crate) fn run(
        &self,
        server: &ServerProcess,
        backend: &Backend,
    ) -> Result<Figures, Failure> {
        let Sizes { payload_bytes, depth, posters, length, .. } = self.sizes;
        let connections = self.connections;
        let closed_loop = |action, depth| {
            ClosedLoop { action, connections, depth, payload_bytes, length }.run(server)
        };
        match self.scenario {
            Scenario::Idle => {
                let memory = Idle { connections, payload_bytes }.run(server)?;
                let mut figures = vec![
                    (Quantity::BytesPerConnection, memory.untouched),
                    (Quantity::BytesPerUsedConnection, memory.after_a_message),
                ];
                let scrape = memory.scrape.map(|took| (Quantity::ScrapeMs, micros(took) / 1e3));
                figures.extend(scrape);
                Ok(figures)
            }
            Scenario::Handshake => {
                figures(&Handshakes { at_once: connections, length }.run(server)?)
            }
            Scenario::Echo => figures(&closed_loop("echo", 1)?.measured),
            Scenario::Pipelined => figures(&closed_loop("echo", depth)?.measured),
            Scenario::Route => {
                let requests_before = backend.replies();
                let looped = closed_loop("route", 1)?;
                let requests = backend.replies() - requests_before;
                if requests != looped.replies {
                    let what = "requests that the backend got";
                    return Err(Failure::Count { what, got: requests, expected: looped.replies });
                }
                figures(&looped.measured)
            }
            Scenario::Post => {
                let posts = Posts { posters, connections, payload_bytes, length, rate: None };
                let posted = posts.run(server.address, server.address, server.processes())?;
                let mut figures = figures(&posted.measured)?;
                let of = |quantile| quantile_us(&posted.delivery, quantile);
                figures.push((Quantity::DeliveryP50Us, of(0.5)));
                figures.push((Quantity::DeliveryP99Us, of(0.99)));
                Ok(figures)
            }
            Scenario::Group => {
                let sends = GroupSends { members: connections, payload_bytes, length };
                group_figures(&sends.run(&[server.address], server.processes())?)
            }
            Scenario::Function => {
                let messages =
                    ClosedLoop { action: "local", connections, depth: 1, payload_bytes, length };
                let called = function::run(messages, server)?;
                let mut figures = figures(&called.measured)?;
                let worker_us = called.worker.p50_ns as f64 / 1e3;
                let round_trip_us = quantile_us(&called.measured.latency, 0.5);
                figures.push((Quantity::WorkerP50Us, worker_us));
                figures.push((Quantity::AboveWorkerUs, round_trip_us - worker_us));
                Ok(figures)
            }
            Scenario::RemotePost
            | Scenario::RemoteGroup
            | Scenario::ClusterSoak
            | Scenario::RedisAway => {
                Err(Failure::Usage(format!("{} needs several nodes", self.scenario.name())))
            }
        }
    }
}

/// Figures of sends to one group.
pub(crate) fn group_figures(sent: &GroupSent) -> Result<Figures, Failure> {
    let mut figures = figures(&sent.measured)?;
    let of = |quantile| quantile_us(&sent.last_member, quantile) / 1e3;
    figures.push((Quantity::LastMemberP50Ms, of(0.5)));
    figures.push((Quantity::LastMemberMaxMs, of(1.0)));
    Ok(figures)
}

/// Figures that any measured part has.
pub(crate) fn figures(measured: &Measured) -> Result<Figures, Failure> {
    if measured.units == 0 {
        return Err(Failure::Stuck("units of work in the measured part", 1));
    }
    let units = measured.units as f64;
    let (wall_us, cpu_us) = (micros(measured.wall), micros(measured.cpu));
    Ok(vec![
        (Quantity::ServerCpuUs, cpu_us / units),
        (Quantity::PerSecond, units / wall_us * 1e6),
        (Quantity::P50Us, quantile_us(&measured.latency, 0.5)),
        (Quantity::P99Us, quantile_us(&measured.latency, 0.99)),
        (Quantity::ServerBusyPercent, cpu_us / wall_us * 100.0),
    ])
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn quantile_us(histogram: &Histogram, quantile: f64) -> f64 {
    histogram.quantile(quantile).unwrap_or(0) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_units_wall_and_cpu_time() {
        let mut latency = Histogram::default();
        (0..1_000).for_each(|_| latency.record(50_000));
        let (wall, cpu) = (Duration::from_secs(2), Duration::from_millis(1_500));
        let measured = Measured { units: 1_000, wall, cpu, redis_cpu: Duration::ZERO, latency };
        let figures = figures(&measured).expect("units were counted");
        let of = |wanted| figures.iter().find(|(quantity, _)| *quantity == wanted).map(|f| f.1);
        assert_eq!(of(Quantity::ServerCpuUs), Some(1_500.0));
        assert_eq!(of(Quantity::PerSecond), Some(500.0));
        assert_eq!(of(Quantity::ServerBusyPercent), Some(75.0));
        let p99 = of(Quantity::P99Us).expect("a latency");
        assert!((50.0..51.0).contains(&p99), "{p99}");
    }
}
