//! What the gateway has to reach, per scenario. Absolute figures were set on a machine with
//! two cores of an EPYC and one server thread; the share of `raw` carries to other machines.

use crate::scenario::{Quantity, Scenario};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What one figure has to be.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Target {
    /// In the figure's unit.
    pub(crate) absolute: Option<f64>,
    /// At most this many times what the raw server needs.
    pub(crate) of_raw: Option<f64>,
}

/// Whether a quantity is better when it is lower.
pub(crate) fn better(quantity: Quantity) -> Better {
    match quantity {
        Quantity::PerSecond | Quantity::LocalPerSecond | Quantity::HalfLoadPerSecond => {
            Better::Higher
        }
        _ => Better::Lower,
    }
}

/// The target of `quantity`; both parts `None` where none was set, or where the sizes are not
/// those it was set for.
pub(crate) fn target(
    scenario: Scenario,
    connections: usize,
    payload_bytes: usize,
    quantity: Quantity,
) -> Target {
    use Quantity::{
        AboveWorkerUs, AllGoneOfLease, BackS, BusMessagesPerSend, BytesPerConnection, CpuOfLocal,
        EndsOfLease, HalfLoadP99Us, LastMemberMaxMs, LastMemberP50Ms, LocalFailed, LostSockets,
        NoticedS, P99Us, PerSecond, ReadyAgainS, RedisCpuUs, RefusedSlowestMs, ScrapeMs,
        ServerCpuUs, UnnoticedSlowestMs,
    };
    use Scenario::{
        ClusterSoak, Echo, Function, Group, Handshake, Idle, Pipelined, Post, RedisAway,
        RemoteGroup, RemotePost, Route,
    };
    let is_default = scenario.default_connections().contains(&connections) && payload_bytes == 64;
    let both = |absolute, of_raw| Target { absolute: Some(absolute), of_raw: Some(of_raw) };
    let only = |absolute| Target { absolute: Some(absolute), of_raw: None };
    match (scenario, quantity, connections) {
        (Idle, BytesPerConnection, _) => only(1_536.0),
        (Idle, ScrapeMs, _) => only(50.0),
        (Handshake, ServerCpuUs, _) => both(32.0, 1.35),
        (RemoteGroup, BusMessagesPerSend, _) => only(1.0),
        (ClusterSoak, AllGoneOfLease | EndsOfLease, _) => only(2.0),
        (RedisAway, LostSockets | LocalFailed, _) => only(0.0),
        // At once: far below any timeout, also where others have the core.
        (RedisAway, RefusedSlowestMs, _) => only(500.0),
        // What a node waits for a Redis that says nothing before it gives it up: a probe a second,
        // each with two for its answer.
        (RedisAway, UnnoticedSlowestMs, _) => only(3_500.0),
        (RedisAway, NoticedS, _) => only(10.0),
        (RedisAway, ReadyAgainS | BackS, _) => only(5.0),
        _ if !is_default => Target::default(),
        (Echo, ServerCpuUs, 100) => both(7.5, 1.35),
        (Echo, ServerCpuUs, _) => both(9.5, 1.35),
        (Pipelined, ServerCpuUs, _) => only(1.2),
        (Post, ServerCpuUs, _) => both(13.5, 1.3),
        (Post, PerSecond, _) => only(72_000.0),
        (Post, P99Us, _) => only(1_300.0),
        (Route, ServerCpuUs, _) => both(15.5, 1.3),
        (Route, PerSecond, _) => only(62_000.0),
        (Group, ServerCpuUs, _) => both(6.4, 1.15),
        (Group, LastMemberP50Ms, 10_000) => only(65.0),
        (Function, AboveWorkerUs, _) => only(1_000.0),
        (RemotePost, CpuOfLocal, _) => only(2.5),
        (RemotePost, RedisCpuUs, _) => only(3.0),
        (RemotePost, HalfLoadP99Us, _) => only(5_000.0),
        (RemoteGroup, LastMemberP50Ms | LastMemberMaxMs, 10_000) => only(90.0),
        _ => Target::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_has_a_target_at_each_of_its_sizes_and_none_at_others() {
        let echo = |connections, payload_bytes| {
            target(Scenario::Echo, connections, payload_bytes, Quantity::ServerCpuUs).absolute
        };
        assert_eq!(echo(100, 64), Some(7.5));
        assert_eq!(echo(1_000, 64), Some(9.5));
        assert_eq!(echo(500, 64), None);
        assert_eq!(echo(100, 4_096), None);
    }
}
