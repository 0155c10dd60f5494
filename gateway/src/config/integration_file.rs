//! `gateway.toml` as the operator wrote it: integrations, and what they change on the way.
//!
//! The same rules hold as in [`super::file`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_model::{ContentHandling, PassthroughBehavior};

use super::{document::TemplateSource, schema::or_in_capitals};

/// One integration of an api.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type"]))]
pub(super) struct IntegrationSection {
    /// What it talks to.
    #[serde(rename = "type")]
    pub(super) kind: Option<IntegrationType>,
    /// Where the backend is. `"http_proxy"` and `"http"`: `http://host[:port]/path`, `https://…`
    /// or `unix:/path/to.sock:/path`; `{NAME}` in the path is replaced by the mapping to
    /// `integration.request.path.NAME`. `"aws_proxy"`: the same, or a function's ARN, alone or in
    /// `arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/ARN/invocations`. `"aws"`: a
    /// function's ARN in either form, or a service's action or path, such as
    /// `arn:aws:apigateway:REGION:sqs:path/ACCOUNT/QUEUE`. In all of them
    /// `${stageVariables.NAME}` is replaced in each stage.
    pub(super) uri: Option<String>,
    /// `"aws_proxy"` and `"aws"`, in place of `uri`: the name of one of `[functions]`.
    pub(super) function: Option<String>,
    /// The HTTP method, in capitals. Absent: `POST`, which is also the only one of functions.
    pub(super) method: Option<String>,
    /// `"aws_proxy"` and `"aws"`: the name of one of `[aws.credentials]`, which calls to AWS are
    /// signed with. Absent: `default`.
    pub(super) credentials: Option<String>,
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
    /// stage, request id, principal id.
    pub(super) context_headers: bool,
    /// `"mock"` without templates: the status that it answers; on `$connect`, 200 to 299 accepts,
    /// and a two-way route answers the message itself.
    #[schemars(range(min = 100, max = 599))]
    pub(super) status: Option<u16>,
    /// `"http"`, `"aws"` and `"mock"`: mapping templates, by the key that
    /// `template_selection_expression` selects. `$default` is taken where that key is not there.
    #[schemars(extend("x-key" = "<key>"))]
    pub(super) request_templates: BTreeMap<String, TemplateSource>,
    /// `"http"`, `"aws"` and `"mock"`: which request template is taken: text and
    /// `$request.body.PATH`. Absent: `application/json`.
    pub(super) template_selection_expression: Option<String>,
    /// `"http"`, `"aws"` and `"mock"`: what happens to a message that no request template is for.
    pub(super) passthrough_behavior: PassthroughBehaviorWord,
    /// `"http"`, `"aws"` and `"mock"`: what text is turned into for the backend. Absent: it stays.
    pub(super) content_handling_strategy: Option<ContentHandlingWord>,
    /// `"http"`, `"aws"` and `"mock"`: what is made of the backend's answers. `<key>` is
    /// `"$default"` or a regular expression such as `'/4\d\d/'`, which the whole status must match
    /// (of a function: its error message). They are tried in the order of their keys, `$default`
    /// last. With none, the answer passes as it is.
    #[schemars(extend("x-key" = "<key>"))]
    pub(super) integration_responses: BTreeMap<String, IntegrationResponseSection>,
}

impl Default for IntegrationSection {
    fn default() -> Self {
        Self {
            kind: None,
            uri: None,
            function: None,
            method: None,
            credentials: None,
            timeout_ms: 29_000,
            request_parameters: BTreeMap::new(),
            context_headers: true,
            status: None,
            request_templates: BTreeMap::new(),
            template_selection_expression: None,
            passthrough_behavior: PassthroughBehaviorWord::WhenNoMatch,
            content_handling_strategy: None,
            integration_responses: BTreeMap::new(),
        }
    }
}

/// What an integration talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntegrationType {
    /// an HTTP backend that gets the message, and the client's `$connect` headers and query, as
    /// they are
    HttpProxy,
    /// an HTTP backend that gets what is mapped and what templates make of the message
    Http,
    /// a function (a web server, AWS Lambda or a local one) that takes the Lambda proxy event and
    /// answers the proxy response
    AwsProxy,
    /// a function or an AWS service that takes what templates make of the message
    Aws,
    /// no backend: `status`, or what templates answer
    Mock,
}

impl IntegrationType {
    /// As the file has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::HttpProxy => "http_proxy",
            Self::Http => "http",
            Self::AwsProxy => "aws_proxy",
            Self::Aws => "aws",
            Self::Mock => "mock",
        }
    }
}

/// What happens to a message that no request template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = or_in_capitals)]
pub(super) enum PassthroughBehaviorWord {
    /// it is passed on unchanged
    #[serde(alias = "WHEN_NO_MATCH")]
    WhenNoMatch,
    /// it is passed on unchanged where there is no template at all, else refused
    #[serde(alias = "WHEN_NO_TEMPLATES")]
    WhenNoTemplates,
    /// it is refused
    #[serde(alias = "NEVER")]
    Never,
}

impl From<PassthroughBehaviorWord> for PassthroughBehavior {
    fn from(word: PassthroughBehaviorWord) -> Self {
        match word {
            PassthroughBehaviorWord::WhenNoMatch => Self::WhenNoMatch,
            PassthroughBehaviorWord::WhenNoTemplates => Self::WhenNoTemplates,
            PassthroughBehaviorWord::Never => Self::Never,
        }
    }
}

/// How binary and text are turned into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = or_in_capitals)]
pub(super) enum ContentHandlingWord {
    /// base64 text becomes bytes
    #[serde(alias = "CONVERT_TO_BINARY")]
    ConvertToBinary,
    /// bytes become base64 text
    #[serde(alias = "CONVERT_TO_TEXT")]
    ConvertToText,
}

impl From<ContentHandlingWord> for ContentHandling {
    fn from(word: ContentHandlingWord) -> Self {
        match word {
            ContentHandlingWord::ConvertToBinary => Self::ConvertToBinary,
            ContentHandlingWord::ConvertToText => Self::ConvertToText,
        }
    }
}

/// What is made of some of a backend's answers.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IntegrationResponseSection {
    /// Which response template is taken: text, `$request.body.PATH`,
    /// `$integration.response.statuscode` and `$integration.response.header.NAME`. Absent: the one
    /// with the status as its key.
    pub(super) template_selection_expression: Option<String>,
    /// Mapping templates, by key. `$default` is taken where the selected key is not there.
    #[schemars(extend("x-key" = "<key>"))]
    pub(super) response_templates: BTreeMap<String, TemplateSource>,
    /// Headers of the answer to an upgrade, of which clients see `Sec-WebSocket-Protocol`. Keys:
    /// `route.response.header.NAME`. Values: `integration.response.header.NAME`,
    /// `integration.response.body.PATH` or `'text'` in single quotes.
    #[schemars(extend("x-key" = "<target>"))]
    pub(super) response_parameters: BTreeMap<String, String>,
    /// What the answer is turned into for the client. Absent: it stays.
    pub(super) content_handling_strategy: Option<ContentHandlingWord>,
}
