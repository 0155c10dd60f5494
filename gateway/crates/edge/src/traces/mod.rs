//! Traces: spans of connects, messages, integrations, authorizers and management calls, on their
//! way to a collector (docs/adr/0018-traces.md).
//!
//! ```text
//! core: begin ─► OpenSpan ─► attributes ─► end ─► bounded queue ─┐
//!                   └► TraceContext ─► backend's headers          ▼
//!                                        thread of its own: batch ─► POST /v1/traces
//! ```
//!
//! Holds always: where traces are off, a run asks one `Option` and makes nothing; no core ever
//! waits for the queue or for the collector; what a span says comes from the configuration, from
//! ids and from figures, never from a payload, a token or a query.

mod exporter;
mod open_span;
mod spans;
mod tracer;

pub(crate) use exporter::Exporter;
pub(crate) use open_span::OpenSpan;
pub(crate) use spans::{
    answered_in_place, authorizer, authorizer_ended, connect, connect_outcome, disconnect,
    integration, integration_ended, management, management_ended, message, run_ended,
};
pub(crate) use tracer::{Tracer, Upstream};
