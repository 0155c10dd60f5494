//! `gateway.toml` as the operator wrote it: what is below `[apis.<id>]`.
//!
//! In:  nothing; `serde` fills these from a file that [`super::shape`] has looked through.
//! Out: plain fields, for [`super::check_api`] to turn into the model.
//!
//! The same rules hold as in [`super::file`]: doc comments are the reference, `impl Default` is
//! the home of defaults, an `Option` without a default is required by the schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_model::{Binary, PostDuringConnect};

use super::file::NoLimit;

/// One api.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["route_selection_expression", "stages", "routes"]))]
pub(super) struct ApiSection {
    /// What clients speak.
    pub(super) protocol: Protocol,
    /// Which part of a message names its route, such as `$request.body.action` or
    /// `${request.body.service}/${request.body.action}`: text and variables mixed, JSONPath after
    /// `request.body`, `\$` for a dollar sign.
    pub(super) route_selection_expression: Option<String>,
    /// Hosts that lead to this api: an exact one such as `chat.example.com`, or `*.example.com`,
    /// which covers one more label. An exact host wins over a wildcard.
    pub(super) domains: Vec<String>,
    /// Browser origins that are admitted, such as `https://chat.example.com` or
    /// `https://*.example.com`; another one gets 403. Absent: all are admitted. Clients that send
    /// no `Origin` are no browsers and are always admitted.
    pub(super) allowed_origins: Option<Vec<String>>,
    /// What a binary message of a client does.
    pub(super) binary: BinaryWord,
    /// What a post to a connection does while that connection's `$connect` runs.
    pub(super) post_during_connect: PostDuringConnectWord,
    /// Compression of messages.
    pub(super) compression: Compression,
    /// At least one. `<name>` is the first path segment of its URLs: 1 to 128 of
    /// `A-Z a-z 0-9 _ -`.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) stages: BTreeMap<String, StageSection>,
    /// The backends, by names of your own.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) integrations: BTreeMap<String, IntegrationSection>,
    /// At least one. `<key>` is `"$connect"`, `"$disconnect"`, `"$default"`, or what the route
    /// selection expression selects: 1 to 128 characters, the first no `$`; case matters.
    #[schemars(extend("x-key" = "<key>"))]
    pub(super) routes: BTreeMap<String, RouteSection>,
}

/// What clients speak.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// a WebSocket api
    #[default]
    WebSocket,
}

/// What a binary message of a client does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum BinaryWord {
    /// it closes the connection with 1003, as on API Gateway
    #[default]
    Close,
    /// it goes to the `$default` route
    Pass,
}

impl From<BinaryWord> for Binary {
    fn from(word: BinaryWord) -> Self {
        match word {
            BinaryWord::Close => Self::Close,
            BinaryWord::Pass => Self::Pass,
        }
    }
}

/// What a post to a connection does while its `$connect` runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PostDuringConnectWord {
    /// it is kept, at most `send_queue_bytes` of it, and delivered right after the 101
    #[default]
    Held,
    /// it is answered 410, as on API Gateway
    Gone,
}

impl From<PostDuringConnectWord> for PostDuringConnect {
    fn from(word: PostDuringConnectWord) -> Self {
        match word {
            PostDuringConnectWord::Held => Self::Held,
            PostDuringConnectWord::Gone => Self::Gone,
        }
    }
}

/// Compression of messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    /// no extension is negotiated
    #[default]
    Off,
}

/// One stage of an api.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StageSection {
    /// What `${stageVariables.NAME}` in a uri and `stageVariables.NAME` in a mapping stand for: at
    /// most 100, names of 1 to 64 of `A-Z a-z 0-9 _`, values of at most 2048 characters.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) variables: BTreeMap<String, String>,
    /// Connects and messages a second, over all clients of the stage, for routes that have no
    /// throttle of their own. API Gateway's quota is 10,000 a second with a burst of 5,000.
    pub(super) throttle: StageThrottle,
    /// Where one line per event is written. Absent: nowhere.
    pub(super) access_log: Option<AccessLogSection>,
}

impl Default for StageSection {
    fn default() -> Self {
        Self {
            variables: BTreeMap::new(),
            throttle: StageThrottle::Of(ThrottleSection {
                rate: Some(10_000.0),
                burst: Some(5_000),
            }),
            access_log: None,
        }
    }
}

/// A stage's throttle, or none.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum StageThrottle {
    /// A token bucket.
    Of(ThrottleSection),
    /// As many as come.
    Lifted(NoLimit),
}

/// A token bucket. Over it, a connect is answered 429 and a message gets an error frame; rate 0
/// and burst 0 let nothing through.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["rate", "burst"]))]
pub(super) struct ThrottleSection {
    /// Tokens a second.
    #[schemars(range(min = 0))]
    pub(super) rate: Option<f64>,
    /// The bucket's size, tokens.
    pub(super) burst: Option<u32>,
}

/// Where one line per event is written.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["path", "format"]))]
pub(super) struct AccessLogSection {
    /// A file, created when missing and appended to; its folder must be there. A relative path
    /// starts at the folder of `gateway.toml`.
    pub(super) path: Option<String>,
    /// One line's template: text and `$context.NAME`, at most 3072 bytes. It must contain
    /// `$context.requestId` or `$context.extendedRequestId`.
    pub(super) format: Option<String>,
}

/// One integration of an api.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type"]))]
pub(super) struct IntegrationSection {
    /// What it talks to.
    #[serde(rename = "type")]
    pub(super) kind: Option<IntegrationType>,
    /// Where the backend is, needed by all but `"mock"`: `http://host[:port]/path`, `https://…`
    /// or `unix:/path/to.sock:/path`. `${stageVariables.NAME}` is replaced in each stage; `{NAME}`
    /// in the path is replaced by the mapping to `integration.request.path.NAME`.
    pub(super) uri: Option<String>,
    /// The HTTP method of `"http_proxy"` and `"http"`, in capitals. Absent: `POST`, which is also
    /// the only one of `"aws_proxy"`.
    pub(super) method: Option<String>,
    /// The whole call, from taking a backend connection to the answer's last byte, milliseconds.
    /// API Gateway's quota is 29 seconds.
    #[schemars(range(min = 50, max = 29_000))]
    pub(super) timeout_ms: u32,
    /// What is mapped into the backend's request. Keys: `integration.request.header.NAME`,
    /// `integration.request.querystring.NAME`, `integration.request.path.NAME`. Values:
    /// `route.request.header.NAME`, `route.request.querystring.NAME`,
    /// `route.request.multivalueheader.NAME`, `route.request.multivaluequerystring.NAME`,
    /// `route.request.body.PATH`, `stageVariables.NAME`, `context.NAME` or `'text'` in single
    /// quotes.
    #[schemars(extend("x-key" = "<target>"))]
    pub(super) request_parameters: BTreeMap<String, String>,
    /// Whether HTTP backends get the `Tidegate-*` headers: connection id, route key, event type,
    /// stage, request id.
    pub(super) context_headers: bool,
    /// The status that a `"mock"` answers; on `$connect`, 200 to 299 accepts. Absent: 200.
    #[schemars(range(min = 100, max = 599))]
    pub(super) status: Option<u16>,
}

impl Default for IntegrationSection {
    fn default() -> Self {
        Self {
            kind: None,
            uri: None,
            method: None,
            timeout_ms: 29_000,
            request_parameters: BTreeMap::new(),
            context_headers: true,
            status: None,
        }
    }
}

/// What an integration talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntegrationType {
    /// an HTTP backend that gets the client's `$connect` headers and query as they are
    HttpProxy,
    /// an HTTP backend that gets only what is mapped
    Http,
    /// a web server that takes the Lambda proxy event as JSON by `POST` and answers the proxy
    /// response
    AwsProxy,
    /// no backend: `status`, and on a two-way route the message itself
    Mock,
}

/// One route of an api.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteSection {
    /// The name of one of the api's integrations. Absent: the route accepts and does nothing.
    pub(super) integration: Option<String>,
    /// Two-way: the integration's answer goes back to the client, as with a route response
    /// `$default` on API Gateway.
    pub(super) reply: bool,
    /// Replaces the stage's throttle for this route.
    pub(super) throttle: Option<ThrottleSection>,
    /// What an upgrade request must bring. Keys: `route.request.header.NAME`,
    /// `route.request.querystring.NAME`. Looked at on `$connect` only.
    #[schemars(extend("x-key" = "<source>"))]
    pub(super) request_parameters: BTreeMap<String, RequiredParameterSection>,
}

/// One declared parameter of the upgrade request.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequiredParameterSection {
    /// Whether the upgrade is refused with 400 without it.
    pub(super) required: bool,
}
