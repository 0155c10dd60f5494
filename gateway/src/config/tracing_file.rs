//! `gateway.toml` as the operator wrote it: traces.
//!
//! In, out and the rules for doc comments: as in [`super::file`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_text::SecretText;

/// Traces for a collector that takes OTLP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TracingSection {
    /// Where the collector is, such as `http://127.0.0.1:4318`; spans are posted to `/v1/traces`
    /// below it. Absent: no traces, and no header about them goes to backends.
    pub(super) otlp_endpoint: Option<String>,
    /// How spans are written.
    pub(super) protocol: TracingProtocol,
    /// Which part of all traces is recorded, 0 to 1. A connection and each of its messages have a
    /// trace of their own. A caller of the management API that sends a `traceparent` decides
    /// itself.
    pub(super) sample_ratio: f64,
    /// Whether a client's `traceparent` on the upgrade request is believed: its trace goes on, and
    /// it decides whether that is recorded. `false` gives each connection a trace of its own and
    /// keeps the client's `traceparent` and `tracestate` from backends.
    pub(super) trust_client_context: bool,
    /// Headers of every post to the collector, such as `authorization`. Values are secrets.
    pub(super) headers: BTreeMap<String, SecretText>,
    /// What the spans' resource says as `service.name`.
    pub(super) service_name: String,
}

impl Default for TracingSection {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            protocol: TracingProtocol::default(),
            sample_ratio: 1.0,
            trust_client_context: false,
            headers: BTreeMap::new(),
            service_name: "tidegate".to_owned(),
        }
    }
}

/// How spans are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TracingProtocol {
    /// OTLP over HTTP/1.1 in binary Protobuf, port 4318 of most collectors
    #[default]
    HttpProtobuf,
}
