//! Which connections are open, on which node, in which groups, and how a message reaches them.
//!
//! The crate has its own vocabulary and knows nothing of gateways, frames or HTTP: a connection
//! is whatever implements [`LocalConnection`], a message is bytes and a kind.
//!
//! ```text
//! post(scope, id, message) ── id names this node ──► hub ──► LocalConnection::send ──► Receipt
//!                         └── id names another ────► (a store that has a bus) ──────► Receipt
//! send(scope, audience, message) ──► hub ──► each member: LocalConnection::send ──┬─► SendReport
//!                               └──► (a bus: every node that has members) ────────┘
//! ```
//!
//! Two stores: [`MemoryStore`] for a node by itself, [`RedisStore`] for several that share a Redis.
//!
//! Holds always: an id is handed out once; a receipt means that the owner's send queue took the
//! message; a connection is found under its own api and stage only; who has ended is in no group.
//!
//! A crate that brings a store of its own proves it with `suite` (cargo feature `suite`).

mod audience;
mod call_name;
mod group_name;
mod id;
mod idempotency_window;
mod interest;
mod invocations;
mod memory;
mod message;
mod once;
mod page;
mod redis;
mod refused_text;
mod remembered_report;
mod store;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use audience::{Audience, ConnectionList, SendReport, TooManyConnections, Unavailable};
pub use call_name::CallName;
pub use group_name::{GroupName, InvalidGroupName};
pub use id::{ConnectionId, InvalidConnectionId, NodeId};
pub use idempotency_window::{IdempotencyWindow, Known, Ticket, Weighed};
pub use interest::InterestWatcher;
pub use invocations::{Begun, Duplicate, Invocation, Invocations};
pub use memory::{MemoryStore, Pause};
pub use message::{CloseRequest, Message, MessageKind};
pub use page::{Cursor, InvalidCursor, InvalidPageLimit, Page, PageLimit};
#[cfg(any(test, feature = "suite"))]
pub use redis::check_bus_message;
pub use redis::{BusCounts, InvalidRedisUrl, NodeState, Orphan, Orphans, RedisOptions, RedisStore};
pub use store::{
    ConnectionStore, DeliveryError, Description, Lease, LocalConnection, Receipt, Reply, Scope,
    SendError,
};
