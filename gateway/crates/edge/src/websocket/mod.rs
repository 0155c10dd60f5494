//! WebSocket connections: the upgrade, the session, the routes that its messages take.

mod asked_for;
mod authorization;
mod connection;
mod disconnect;
mod disconnect_facts;
mod dispatch;
mod ending;
mod frame;
mod frame_tracker;
mod keeping;
mod outbox;
mod publishing;
mod refusal;
mod run;
mod session_task;
pub(crate) mod upgrade;

pub(crate) use connection::{Connection, now_ms};
pub(crate) use disconnect::{has_disconnect, run_orphans_disconnect};
pub(crate) use disconnect_facts::UnusableFacts;
pub(crate) use ending::Ending;
pub(crate) use outbox::Outbox;

use connection_store::Orphan;
use tidegate_flow::context::ConnectionFacts;

use crate::node::Node;

/// The facts of a connection whose node has died.
pub(crate) fn adopted_facts(
    node: &Node,
    orphan: &Orphan,
) -> Result<ConnectionFacts, UnusableFacts> {
    let snapshot = node.snapshot();
    let value_of = |name: &str| snapshot.usage_plans.value_of(name).cloned();
    disconnect_facts::decode(orphan.id(), orphan.facts(), value_of)
}
