//! `gateway.toml` as the operator wrote it: the node's own sections.
//!
//! In:  nothing; `serde` fills these from a file that [`super::shape`] has looked through.
//! Out: plain fields, for [`super::check`] to turn into the model.
//!
//! The doc comments here are the reference page and the JSON Schema's descriptions, so they speak
//! to the operator. `impl Default` is the one home of defaults. A field that has no default is an
//! `Option` that the schema requires: it is `None` only where a problem has been reported.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_model::{Drain, Limits, SlowClient};

use super::{
    api_file::{ApiSection, QuotaThrottle},
    authorizer_file::AccessKeySection,
    aws_file::{AwsSection, FunctionSection},
    store_file::StoreSection,
    tracing_file::TracingSection,
    usage_file::{ApiKeySection, UsagePlanSection},
};

/// The configuration of one Tidegate node.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["apis"]))]
pub(super) struct GatewayFile {
    /// The public port: WebSocket upgrades and the management API.
    pub(super) listen: ListenSection,
    /// The operator's port: metrics and health.
    pub(super) admin: AdminSection,
    /// Who may call the management API (`@connections`).
    pub(super) management: ManagementSection,
    /// What stands in ARNs, and how calls to AWS services are made.
    pub(super) aws: AwsSection,
    /// What a connection and this node may use. The defaults are API Gateway's quotas where it
    /// has one.
    pub(super) limits: LimitsSection,
    /// How a node ends after `SIGTERM` or `SIGINT`.
    pub(super) drain: DrainSection,
    /// Traces of connects, messages, integrations and management calls, for a collector that takes
    /// OTLP. Off unless `otlp_endpoint` is given; a change takes effect at the next start.
    pub(super) tracing: TracingSection,
    /// Where what nodes share is kept: which node has which connection.
    pub(super) store: StoreSection,
    /// Functions whose workers the gateway runs itself, for integrations to name. `<name>` is 1 to
    /// 64 of `A-Z a-z 0-9 _ -`.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) functions: BTreeMap<String, FunctionSection>,
    /// API keys, by the names that `$context.identity.apiKeyId` says: 1 to 128 of
    /// `A-Z a-z 0-9 _ -`.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) api_keys: BTreeMap<String, ApiKeySection>,
    /// Which stages which API keys open, and how often, by names of your own.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) usage_plans: BTreeMap<String, UsagePlanSection>,
    /// The apis that are served, at least one. `<id>` is 1 to 63 of `a-z`, `0-9` and `-`: an api
    /// answers to the hosts `<id>.localhost` and `<id>.execute-api.…`, to its `domains`, and, when
    /// it is the only one, to every host.
    #[schemars(extend("x-key" = "<id>"))]
    pub(super) apis: BTreeMap<String, ApiSection>,
}

/// The public port.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListenSection {
    /// IP address and port. Port 0 takes a free one, which the log names.
    pub(super) address: String,
    /// Absent: plain HTTP and WS. Present: HTTPS and WSS, TLS 1.2 and 1.3.
    pub(super) tls: Option<TlsSection>,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self { address: "127.0.0.1:8080".to_owned(), tls: None }
    }
}

/// PEM files of a TLS listener. Relative paths start at the folder of `gateway.toml`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["certificate", "private_key"]))]
pub(super) struct TlsSection {
    /// The certificate chain, the server's own first.
    pub(super) certificate: Option<String>,
    /// The key of the first certificate.
    pub(super) private_key: Option<String>,
    /// Mutual TLS: clients must show a certificate of this authority.
    pub(super) client_ca: Option<String>,
}

/// The operator's port.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminSection {
    /// IP address and port of `/metrics`, `/health/live` and `/health/ready`.
    pub(super) address: String,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { address: "127.0.0.1:8081".to_owned() }
    }
}

/// Who may call the management API, and how often.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ManagementSection {
    /// How callers show who they are.
    pub(super) auth: ManagementAuth,
    /// The access keys that `"sigv4"` accepts. With none, only local functions can call the
    /// management API.
    pub(super) credentials: Vec<AccessKeySection>,
    /// Calls a second, over all callers; over it, a call is answered 429. API Gateway's quota is
    /// 10,000 a second with a burst of 5,000.
    pub(super) throttle: QuotaThrottle,
}

/// How callers of the management API show who they are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ManagementAuth {
    /// calls are signed with Signature Version 4, service `execute-api`, as AWS SDKs do
    #[default]
    SigV4,
    /// calls need no signature and are taken from loopback peers only, of which a load balancer
    /// on the same machine is one, whoever its clients are
    None,
}

/// The word that lifts a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(super) enum NoLimit {
    /// no limit
    #[serde(rename = "none")]
    None,
}

/// A number that may be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Limit {
    /// At most this many.
    AtMost(NonZeroU32),
    /// As many as come.
    Lifted(NoLimit),
}

impl Limit {
    fn at_most(self) -> Option<NonZeroU32> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::Lifted(NoLimit::None) => None,
        }
    }
}

/// What a connection and a node may use.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    /// Largest message of a client after reassembly, and largest post to a connection, bytes. A
    /// client's larger one closes the connection with 1009. API Gateway's quota is 128 KiB.
    pub(super) max_message_bytes: NonZeroU32,
    /// Largest frame of a client, payload bytes; a larger one closes with 1009. API Gateway's
    /// quota is 32 KiB, which is also what messages to clients are split at, whatever stands here.
    pub(super) max_frame_bytes: NonZeroU32,
    /// Close with 1001 after this many seconds without a data message in either direction; pings
    /// do not count. API Gateway's quota is 10 minutes.
    pub(super) idle_timeout_s: NonZeroU32,
    /// Close with 1001 at this age, seconds. API Gateway's quota is 2 hours.
    pub(super) max_connection_s: Limit,
    /// What may wait for one client, bytes, frame headers included.
    pub(super) send_queue_bytes: NonZeroU32,
    /// What happens to a client whose send queue is full.
    pub(super) slow_client: SlowClientWord,
    /// Messages of one connection that may be at integrations at once; beyond it, reading from
    /// that connection stops.
    pub(super) max_in_flight: NonZeroU32,
    /// `$connect` and `$disconnect` calls, and calls of authorizers, that one integration of this
    /// node works on at once; more wait.
    pub(super) lifecycle_calls_in_flight: NonZeroU32,
    /// From accept to the last byte of the request's head, the TLS handshake included, seconds.
    pub(super) handshake_timeout_s: NonZeroU32,
    /// Open connections on this node.
    pub(super) connections: Limit,
    /// Open connections of one source address on this node.
    pub(super) connections_per_ip: Limit,
    /// New connections a second on this node: a token bucket, burst the same. API Gateway's quota
    /// is 500.
    pub(super) new_connections_per_s: Limit,
}

impl Default for LimitsSection {
    fn default() -> Self {
        // The lifted ones stand for figures that API Gateway has no quota for.
        let of = |figure| NonZeroU32::new(figure).expect("the defaults below are not 0");
        Self {
            max_message_bytes: of(131_072),
            max_frame_bytes: of(32_768),
            idle_timeout_s: of(600),
            max_connection_s: Limit::AtMost(of(7_200)),
            send_queue_bytes: of(1_048_576),
            slow_client: SlowClientWord::Close,
            max_in_flight: of(16),
            lifecycle_calls_in_flight: of(256),
            handshake_timeout_s: of(10),
            connections: Limit::AtMost(of(1_000_000)),
            connections_per_ip: Limit::Lifted(NoLimit::None),
            new_connections_per_s: Limit::AtMost(of(500)),
        }
    }
}

impl LimitsSection {
    /// The limits as the rest of the gateway takes them.
    pub(super) fn to_limits(&self) -> Limits {
        let seconds = |figure: NonZeroU32| Duration::from_secs(NonZeroU64::from(figure).get());
        let bytes = |figure: NonZeroU32| figure.get() as usize;
        Limits {
            max_message_bytes: bytes(self.max_message_bytes),
            max_frame_bytes: bytes(self.max_frame_bytes),
            idle_timeout: seconds(self.idle_timeout_s),
            max_connection: self.max_connection_s.at_most().map(seconds),
            send_queue_bytes: bytes(self.send_queue_bytes),
            slow_client: self.slow_client.into(),
            max_in_flight: self.max_in_flight,
            lifecycle_calls_in_flight: self.lifecycle_calls_in_flight,
            handshake_timeout: seconds(self.handshake_timeout_s),
            connections: self.connections.at_most(),
            connections_per_ip: self.connections_per_ip.at_most(),
            new_connections_per_s: self.new_connections_per_s.at_most(),
        }
    }
}

/// What happens to a client whose send queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SlowClientWord {
    /// it is closed with 1008
    Close,
    /// the oldest waiting messages give way
    DropOldest,
    /// the new message is dropped
    DropNewest,
}

impl From<SlowClientWord> for SlowClient {
    fn from(word: SlowClientWord) -> Self {
        match word {
            SlowClientWord::Close => Self::Close,
            SlowClientWord::DropOldest => Self::DropOldest,
            SlowClientWord::DropNewest => Self::DropNewest,
        }
    }
}

/// How a node ends.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DrainSection {
    /// The process ends by then, whatever is left, seconds.
    pub(super) deadline_s: NonZeroU32,
    /// Clients are closed with 1001 spread over this long, seconds, or 50 ms apart where that is
    /// over sooner; less than `deadline_s`. 0 closes them all at once.
    pub(super) spread_s: u32,
}

impl Default for DrainSection {
    fn default() -> Self {
        Self { deadline_s: NonZeroU32::new(30).expect("30 is not 0"), spread_s: 20 }
    }
}

impl DrainSection {
    /// The drain as the rest of the gateway takes it.
    pub(super) fn to_drain(&self) -> Drain {
        Drain {
            deadline: Duration::from_secs(self.deadline_s.get().into()),
            spread: Duration::from_secs(self.spread_s.into()),
        }
    }
}
