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
use tidegate_model::{Binary, PostDuringConnect, Throttle};

use super::{
    authorizer_file::AuthorizerSection, document::JsonDocument, file::NoLimit,
    integration_file::IntegrationSection,
};

/// One api.
#[derive(Debug, Deserialize, JsonSchema)]
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
    /// Paths of custom domains that lead to a stage: API Gateway's API mappings. A host of these
    /// serves nothing else.
    pub(super) api_mappings: Vec<ApiMappingSection>,
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
    /// Where the API key of a client is found, for a `$connect` route that requires one:
    /// `$request.header.x-api-key`, or `$context.authorizer.usageIdentifierKey`, which an
    /// authorizer of type `"request"` answers.
    pub(super) api_key_selection_expression: String,
    /// At least one. `<name>` is the first path segment of its URLs: 1 to 128 of
    /// `A-Z a-z 0-9 _ -`.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) stages: BTreeMap<String, StageSection>,
    /// JSON Schemas (draft 4) that messages can be checked with. `<name>` is 1 to 128 of
    /// `A-Z a-z 0-9`.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) models: BTreeMap<String, ModelSection>,
    /// Who may connect, by names of your own; the `$connect` route names one.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) authorizers: BTreeMap<String, AuthorizerSection>,
    /// The backends, by names of your own.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) integrations: BTreeMap<String, IntegrationSection>,
    /// At least one. `<key>` is `"$connect"`, `"$disconnect"`, `"$default"`, or what the route
    /// selection expression selects: 1 to 128 characters, the first no `$`; case matters.
    #[schemars(extend("x-key" = "<key>"))]
    pub(super) routes: BTreeMap<String, RouteSection>,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            route_selection_expression: None,
            domains: Vec::new(),
            api_mappings: Vec::new(),
            allowed_origins: None,
            binary: BinaryWord::default(),
            post_during_connect: PostDuringConnectWord::default(),
            compression: Compression::default(),
            api_key_selection_expression: "$request.header.x-api-key".to_owned(),
            stages: BTreeMap::new(),
            models: BTreeMap::new(),
            authorizers: BTreeMap::new(),
            integrations: BTreeMap::new(),
            routes: BTreeMap::new(),
        }
    }
}

/// One path of a custom domain.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["domain", "stage"]))]
pub(super) struct ApiMappingSection {
    /// A host such as `ws.example.com`, or `*.example.com`. Other apis may have other keys of it.
    pub(super) domain: Option<String>,
    /// What the first segment of the path must be: `v1` serves `wss://ws.example.com/v1` and
    /// `https://ws.example.com/v1/@connections/…`. 1 to 300 of `A-Z a-z 0-9` and `$-_.+!*'()`.
    /// Absent: whatever no other key of the host takes, and the path names no stage.
    pub(super) key: Option<String>,
    /// The name of one of the api's stages.
    pub(super) stage: Option<String>,
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
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StageSection {
    /// What `${stageVariables.NAME}` in a uri and `stageVariables.NAME` in a mapping stand for: at
    /// most 100, names of 1 to 64 of `A-Z a-z 0-9 _`, values of at most 2048 characters.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) variables: BTreeMap<String, String>,
    /// Connects and messages a second, over all clients of the stage, for routes that have no
    /// throttle of their own. API Gateway's quota is 10,000 a second with a burst of 5,000.
    pub(super) throttle: QuotaThrottle,
    /// Where one line per event is written. Absent: nowhere.
    pub(super) access_log: Option<AccessLogSection>,
}

/// A throttle that is API Gateway's quota until another one is written, or none.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum QuotaThrottle {
    /// A token bucket.
    Of(ThrottleSection),
    /// As many as come.
    Lifted(NoLimit),
}

impl Default for QuotaThrottle {
    fn default() -> Self {
        Self::Of(ThrottleSection { rate: Some(10_000.0), burst: Some(5_000) })
    }
}

impl QuotaThrottle {
    /// The outer `None` where a figure has been reported.
    pub(super) fn checked(&self) -> Option<Option<Throttle>> {
        match self {
            Self::Of(section) => section.checked().map(Some),
            Self::Lifted(NoLimit::None) => Some(None),
        }
    }
}

/// A token bucket. Over it, a connect or a management call is answered 429 and a message gets an
/// error frame; rate 0 and burst 0 let nothing through.
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

impl ThrottleSection {
    /// `None` where a figure has been reported.
    pub(super) fn checked(&self) -> Option<Throttle> {
        Some(Throttle { rate: self.rate?, burst: self.burst? })
    }
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

/// A JSON Schema (draft 4). Exactly one of the two keys is given.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ModelSection {
    /// The schema, as a table or as JSON text. `"$ref" = "Other"` leads to another model of the
    /// api, and so does the url that API Gateway gives a model.
    pub(super) schema: Option<JsonDocument>,
    /// The path of a file with the schema as JSON.
    pub(super) schema_file: Option<String>,
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
    /// The name of one of the api's authorizers: who may connect. On `$connect` only. Absent:
    /// everyone.
    pub(super) authorizer: Option<String>,
    /// Whether a client needs an API key that a usage plan has for the stage. On `$connect` only.
    pub(super) api_key_required: bool,
    /// Checks messages: selects a key of `request_models`, by text and `$request.body.PATH`.
    /// Absent: messages are not checked.
    pub(super) model_selection_expression: Option<String>,
    /// Names of the api's models, by the key that `model_selection_expression` selects. `$default`
    /// is taken where that key is not there; a message that no model is for is refused.
    #[schemars(extend("x-key" = "<key>"))]
    pub(super) request_models: BTreeMap<String, String>,
}

/// One declared parameter of the upgrade request.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequiredParameterSection {
    /// Whether the upgrade is refused with 400 without it.
    pub(super) required: bool,
}
