//! Leaving without anybody noticing more than they must (tidegate, section 7).
//!
//! Steps: readiness fails; nothing is accepted any more; clients are closed with 1001, spread
//! over time, each when its messages have come back from their integrations; every `$disconnect`
//! runs; then, or at the deadline, it is over.

use std::{collections::VecDeque, time::Duration};

use rand::seq::SliceRandom as _;
use tidegate_flow::session::{End, EndCause};
use tidegate_model::Drain;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::node::Node;

/// A few clients are no stampede: they are closed at this pace, sooner than `spread` would.
const SLOWEST_PACE: Duration = Duration::from_millis(50);

/// How often it is looked whether everything is over.
const GLANCE: Duration = Duration::from_millis(5);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Clients that were asked to leave.
    pub closed: usize,
    /// Connections and integration calls that the deadline cut off.
    pub cut_off: usize,
}

/// Closes the clients of a node that accepts no more, and waits for what is under way.
pub(crate) async fn run(node: &Node, settings: Drain) -> DrainReport {
    let started = Instant::now();
    let deadline = started + settings.deadline;
    let mut waiting: Vec<_> = node.store().local();
    // In no order that clients could share.
    waiting.shuffle(&mut rand::rng());
    let mut waiting = VecDeque::from(waiting);
    let closed = waiting.len();
    let count = u32::try_from(closed).unwrap_or(u32::MAX).max(1);
    let spread = settings.spread.min(SLOWEST_PACE.saturating_mul(count));
    info!(connections = closed, spread_ms = spread.as_millis(), "draining");
    let pace = spread / count;
    let mut due = started;
    let mut deferred = 0;
    while let Some(connection) = waiting.pop_front() {
        if Instant::now() >= deadline {
            waiting.push_front(connection);
            break;
        }
        if connection.in_flight() > 0 {
            // Its replies first. When only such are left, they are waited for.
            waiting.push_back(connection);
            deferred += 1;
            if deferred >= waiting.len() {
                sleep(GLANCE).await;
                deferred = 0;
            }
            continue;
        }
        deferred = 0;
        connection.order_close(End::going_away(EndCause::Drain));
        due += pace;
        sleep_until(due.min(deadline)).await;
    }
    for connection in waiting {
        connection.order_close(End::going_away(EndCause::Drain));
    }
    while node.running() > 0 && Instant::now() < deadline {
        sleep(GLANCE).await;
    }
    DrainReport { closed, cut_off: node.running() }
}
