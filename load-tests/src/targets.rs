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
        Quantity::PerSecond => Better::Higher,
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
        AboveWorkerUs, BytesPerConnection, LastMemberP50Ms, P99Us, PerSecond, ScrapeMs, ServerCpuUs,
    };
    use Scenario::{Echo, Function, Group, Handshake, Idle, Pipelined, Post, Route};
    let is_default = scenario.default_connections().contains(&connections) && payload_bytes == 64;
    let both = |absolute, of_raw| Target { absolute: Some(absolute), of_raw: Some(of_raw) };
    let only = |absolute| Target { absolute: Some(absolute), of_raw: None };
    match (scenario, quantity, connections) {
        (Idle, BytesPerConnection, _) => only(1_536.0),
        (Idle, ScrapeMs, _) => only(50.0),
        (Handshake, ServerCpuUs, _) => both(32.0, 1.35),
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
