//! WebSocket connections: the upgrade, the session, the routes that its messages take.

mod asked_for;
mod authorization;
mod connection;
pub(crate) mod dispatch;
mod frame;
mod frame_tracker;
mod outbox;
mod refusal;
mod session_task;
pub(crate) mod upgrade;

pub(crate) use connection::{Connection, now_ms};
pub(crate) use outbox::Outbox;
