//! The api as data: what a checked configuration says, in types that cannot say anything else.
//!
//! In:  text of the operator's, one piece at a time (an id, an expression, a uri).
//! Out: values that the rest of the gateway trusts without looking again.
//!
//! Nothing here does IO, reads a clock or knows a file format: `gateway.toml` is read by the
//! `tidegate` package, which names the line of every mistake; this crate says what is one.

mod access_log_format;
mod api;
mod authorizer;
mod aws;
mod aws_uri;
mod configuration;
mod domain_pattern;
mod integration;
mod local_function;
mod names;
pub mod policy;
mod request_parameters;
mod secret;
mod selection_expression;
mod traces;
mod transformation;
mod uri_template;
mod usage;
mod variable_text;

pub use access_log_format::{AccessLogFormat, InvalidAccessLogFormat, Piece as AccessLogPiece};
pub use api::{
    AccessLogSettings, Api, ApiMapping, Binary, BodyValidation, PostDuringConnect,
    RequiredParameter, Route, Stage, Throttle,
};
pub use authorizer::{
    AccessKey, Authorizer, AuthorizerKind, JwtAlgorithm, JwtAuthorizer, JwtKeys, OnExpiry,
    RequestAuthorizer, TokenSource,
};
pub use aws::{AwsCredentials, AwsSettings};
pub use aws_uri::{AwsCall, AwsServiceTarget, AwsUri, InvalidAwsUri};
pub use configuration::{
    Configuration, Drain, Limits, ListenSection, Management, RedisStoreSettings, SlowClient, Store,
    TlsFiles,
};
pub use domain_pattern::{DomainPattern, InvalidDomainPattern, OriginPattern};
pub use integration::{AwsTarget, Function, HttpTarget, Integration, IntegrationKind};
pub use local_function::LocalFunction;
pub use names::{ApiId, InvalidName, MappingKey, RouteKey, StageName};
pub use policy::{InvalidPolicy, PolicyDocument};
pub use request_parameters::{
    InvalidParameter, ParameterSource, ParameterTarget, RequestParameter,
};
pub use secret::Secret;
pub use selection_expression::{
    BodyPath, InvalidExpression, Part, PathStep, SelectionExpression, Variable,
};
pub use traces::Traces;
pub use transformation::{
    ContentHandling, IntegrationResponse, InvalidResponseKey, InvalidResponseParameter,
    PassthroughBehavior, ResponseKey, ResponseParameter, ResponseParameterSource, ResponsePattern,
    Transformation,
};
pub use uri_template::{BackendUri, Endpoint, InvalidUri, UriTemplate};
pub use usage::{ApiKey, ApiKeySource, Quota, QuotaPeriod, UsagePlan};
