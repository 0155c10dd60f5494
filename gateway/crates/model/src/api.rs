//! One api: its stages, routes and integrations.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    AccessLogFormat, ApiId, ApiKeySource, Authorizer, DomainPattern, Integration, MappingKey,
    OriginPattern, ParameterSource, RouteKey, SelectionExpression, StageName,
};

/// One WebSocket api (`[apis.<id>]`).
#[derive(Debug, Clone)]
pub struct Api {
    /// The table's name in `[apis]`.
    pub id: ApiId,
    /// Which part of a message names its route.
    pub route_selection_expression: SelectionExpression,
    /// Hosts that lead here. An exact one wins over a wildcard.
    pub domains: Vec<DomainPattern>,
    /// Paths of hosts of their own that lead to stages; a pair of host and key is in one api.
    pub mappings: Vec<ApiMapping>,
    /// Browser origins that are admitted; `None` admits all.
    pub allowed_origins: Option<Vec<OriginPattern>>,
    /// What a binary message does.
    pub binary: Binary,
    /// What a post to a connection does while its `$connect` runs.
    pub post_during_connect: PostDuringConnect,
    /// At least one; names are unique.
    pub stages: Vec<Stage>,
    /// Keys are unique.
    pub routes: Vec<Route>,
    /// Names are unique; routes point here by index.
    pub integrations: Vec<Integration>,
    /// Names are unique; routes point here by index.
    pub authorizers: Vec<Authorizer>,
    /// JSON Schemas (draft 4) by name; they may refer to each other (websocket-api, section 8).
    pub models: BTreeMap<String, serde_json::Value>,
    /// Where a client's API key is found.
    pub api_key_source: ApiKeySource,
}

/// One API mapping of a custom domain (websocket-api, 12.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiMapping {
    /// The host.
    pub domain: DomainPattern,
    /// What the path's first segment must equal; `None` takes what no other mapping of the host
    /// takes, and the path then does not name the stage.
    pub key: Option<MappingKey>,
    /// Index into [`Api::stages`].
    pub stage: usize,
}

/// What a binary message from a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Closes with 1003, as API Gateway does.
    Close,
    /// Goes to `$default`.
    Pass,
}

/// What a post to a connection does while that connection's `$connect` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostDuringConnect {
    /// It is kept and delivered right after the 101.
    Held,
    /// It is answered 410, as API Gateway does.
    Gone,
}

/// One stage (`[apis.<id>.stages.<name>]`).
#[derive(Debug, Clone)]
pub struct Stage {
    /// The first path segment of the stage's URLs.
    pub name: StageName,
    /// What `${stageVariables.name}` stands for.
    pub variables: BTreeMap<String, String>,
    /// Messages and connects a second, unless a route has its own; `None` is unlimited.
    pub throttle: Option<Throttle>,
    /// Where one line per event goes.
    pub access_log: Option<AccessLogSettings>,
}

/// A token bucket's figures. `0` and `0` let nothing through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Tokens a second, finite and not negative.
    pub rate: f64,
    /// The bucket's size in tokens.
    pub burst: u32,
}

/// `access_log` of a stage.
#[derive(Debug, Clone)]
pub struct AccessLogSettings {
    /// The file, created when missing, appended to.
    pub path: PathBuf,
    /// One line's template.
    pub format: AccessLogFormat,
}

/// One route (`[apis.<id>.routes.<key>]`).
#[derive(Debug, Clone)]
pub struct Route {
    /// What a message's selected value must equal.
    pub key: RouteKey,
    /// Index into [`Api::integrations`]; `None` accepts and does nothing.
    pub integration: Option<usize>,
    /// Two-way: the integration's answer goes back to the client (websocket-api, 4.6).
    pub reply: bool,
    /// Replaces the stage's throttle for this route.
    pub throttle: Option<Throttle>,
    /// `request_parameters`: headers and query parameters that `$connect` may demand.
    pub request_parameters: Vec<RequiredParameter>,
    /// Index into [`Api::authorizers`]; of `$connect` only.
    pub authorizer: Option<usize>,
    /// Whether a client needs an API key; of `$connect` only.
    pub api_key_required: bool,
    /// Which bodies are taken; `None` takes all.
    pub validation: Option<BodyValidation>,
}

/// `model_selection_expression` and `request_models` of a route (websocket-api, section 8).
#[derive(Debug, Clone)]
pub struct BodyValidation {
    /// Selects a key of `request_models`; `$default` where what it selects is not there.
    pub model_selection_expression: SelectionExpression,
    /// By key, the name of one of [`Api::models`].
    pub request_models: BTreeMap<String, String>,
}

/// One declared parameter of the `$connect` request.
#[derive(Debug, Clone)]
pub struct RequiredParameter {
    /// A header or query parameter of the upgrade request.
    pub source: ParameterSource,
    /// Whether the upgrade is refused with 400 without it.
    pub required: bool,
}
