//! Which connections are open, on which node, and how a message reaches them.
//!
//! The crate has its own vocabulary and knows nothing of gateways, frames or HTTP: a connection
//! is whatever implements [`LocalConnection`], a message is bytes and a kind.
//!
//! ```text
//! post(scope, id, message) ── id names this node ──► hub ──► LocalConnection::send ──► Receipt
//!                         └── id names another ────► (a store that has a bus) ──────► Receipt
//! ```
//!
//! Holds always: an id is handed out once; a receipt means that the owner's send queue took the
//! message; a connection is found under its own api and stage only.
//!
//! A crate that brings a store of its own proves it with `suite` (cargo feature `suite`).

mod id;
mod memory;
mod message;
mod store;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use id::{ConnectionId, InvalidConnectionId, NodeId};
pub use memory::MemoryStore;
pub use message::{CloseRequest, Message, MessageKind};
pub use store::{
    ConnectionStore, DeliveryError, Description, Lease, LocalConnection, Receipt, Reply, Scope,
    SendError,
};
