//! Traces: where spans go, and which of them.

use http::HeaderName;

use crate::{BackendUri, Secret};

/// `[tracing]` of a node that has an `otlp_endpoint`.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// Where spans are posted, `/v1/traces` included (OTLP/HTTP, binary Protobuf).
    pub endpoint: BackendUri,
    /// Sent with every post.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Which part of all traces is recorded, 0 to 1.
    pub sample_ratio: f64,
    /// Whether an upgrade's `traceparent` decides about its trace.
    pub trust_client_context: bool,
    /// `service.name` of the spans' resource; not empty.
    pub service_name: String,
}
