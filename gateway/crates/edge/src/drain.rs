//! Leaving without anybody noticing more than they must (tidegate, section 7).
//!
//! Steps: readiness fails; nothing is accepted any more; clients are closed with 1001, each at its
//! turn, spread over time; every `$disconnect` runs; then, or when its time is over, it is over.
//!
//! Whose turn has come with messages at integrations gets their replies first. Further messages of
//! such a client are not read any more, so that one that always has a message under way leaves too.
//! Whose upgrade is still under way is closed by the upgrade itself, right after its 101.
//!
//! ```text
//! start ---- turns, and calls that come back ----|-- $disconnects --|-- leaving --| deadline
//!                                       the rest is closed      what is left is cut off
//! ```

use std::{sync::Arc, time::Duration};

use rand::seq::SliceRandom as _;
use tidegate_flow::session::{End, EndCause};
use tidegate_model::Drain;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::{node::Node, websocket::Connection};

/// A few clients are no stampede: they are closed at this pace, sooner than `spread` would.
const SLOWEST_PACE: Duration = Duration::from_millis(50);

/// How often it is looked whether everything is over.
const GLANCE: Duration = Duration::from_millis(5);

/// What the last two steps get of the deadline at most, each.
const LONGEST_RESERVE: Duration = Duration::from_secs(1);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Clients that were there when it began.
    pub closed: usize,
    /// Connections and integration calls that the deadline cut off.
    pub cut_off: usize,
    /// Who runs the `$disconnect`s that were cut off.
    pub heir: Heir,
}

/// Who runs the `$disconnect`s that a node could not run itself before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heir {
    /// There are no other nodes.
    Nobody,
    /// Another node, with 1006.
    OtherNodes,
    /// Another node, if the Redis, which was away at the end, comes back with its data.
    OtherNodesIfTheRedisKeeps,
}

/// Closes the clients of a node that accepts no more, and waits for what is under way. Returns how
/// many clients there were, and how many connections and calls were cut off. Ends early enough for
/// what is still to be done before the deadline.
pub(crate) async fn run(node: &Node, settings: Drain) -> (usize, usize) {
    let started = Instant::now();
    let reserve = (settings.deadline / 10).min(LONGEST_RESERVE);
    let time_for_calls = settings.deadline.saturating_sub(2 * reserve);
    let last_orders = started + time_for_calls;
    let over = last_orders + reserve;
    let mut waiting: Vec<_> = node.store().local();
    // In no order that clients could share.
    waiting.shuffle(&mut rand::rng());
    let closed = waiting.len();
    let count = u32::try_from(closed).unwrap_or(u32::MAX).max(1);
    let spread = settings.spread.min(SLOWEST_PACE.saturating_mul(count)).min(time_for_calls);
    info!(connections = closed, spread_ms = spread.as_millis(), "draining");
    let pace = spread / count;
    let mut busy = Vec::new();
    let (mut due, mut glanced) = (started, started);
    for connection in waiting {
        // One that is not accepted yet finds the node draining when it is.
        if connection.is_accepted() {
            if connection.in_flight() == 0 {
                connection.order_close(End::going_away(EndCause::Drain));
            } else {
                connection.stop_reading();
                busy.push(connection);
            }
        }
        due += pace;
        sleep_until(due.min(last_orders)).await;
        if glanced.elapsed() >= GLANCE {
            close_finished(&mut busy);
            glanced = Instant::now();
        }
    }
    while node.running() > 0 && Instant::now() < over {
        if Instant::now() < last_orders {
            close_finished(&mut busy);
        } else {
            // Without their replies: there is just time for their `$disconnect`s.
            for connection in busy.drain(..) {
                connection.order_close(End::going_away(EndCause::Drain));
            }
        }
        sleep(GLANCE).await;
    }
    (closed, node.running())
}

/// Closes those whose messages have all come back, and keeps the others.
fn close_finished(busy: &mut Vec<Arc<Connection>>) {
    busy.retain(|connection| {
        let is_busy = connection.in_flight() > 0;
        if !is_busy {
            connection.order_close(End::going_away(EndCause::Drain));
        }
        is_busy
    });
}
