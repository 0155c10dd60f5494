//! The api as data: what a checked configuration says, in types that cannot say anything else.
//!
//! In:  text of the operator's, one piece at a time (an id, an expression, a uri).
//! Out: values that the rest of the gateway trusts without looking again.
//!
//! Nothing here does IO, reads a clock or knows a file format: `gateway.toml` is read by the
//! `tidegate` package, which names the line of every mistake; this crate says what is one.

mod access_log_format;
mod api;
mod configuration;
mod domain_pattern;
mod names;
mod request_parameters;
mod secret;
mod selection_expression;
mod uri_template;

pub use access_log_format::{AccessLogFormat, InvalidAccessLogFormat, Piece as AccessLogPiece};
pub use api::{
    AccessLogSettings, Api, Binary, HttpTarget, Integration, IntegrationKind, PostDuringConnect,
    RequiredParameter, Route, Stage, Throttle,
};
pub use configuration::{
    Configuration, Credential, Drain, Limits, ListenSection, Management, SlowClient, TlsFiles,
};
pub use domain_pattern::{DomainPattern, InvalidDomainPattern, OriginPattern};
pub use names::{ApiId, InvalidName, RouteKey, StageName};
pub use request_parameters::{
    InvalidParameter, ParameterSource, ParameterTarget, RequestParameter,
};
pub use secret::Secret;
pub use selection_expression::{
    BodyPath, InvalidExpression, Part, PathStep, SelectionExpression, Variable,
};
pub use uri_template::{BackendUri, Endpoint, InvalidUri, UriTemplate};
