//! `request_parameters`: what is mapped into a backend's request (websocket-api, section 5.3).

use crate::BodyPath;

/// Why a mapping was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameter {
    /// The key is none of the three forms.
    #[error(
        "`{0}` is no target: integration.request.header.NAME, integration.request.querystring.NAME or integration.request.path.NAME, with NAME of A-Z a-z 0-9 . _ $ -"
    )]
    Target(String),
    /// The value is none of the forms.
    #[error(
        "`{0}` is no source: route.request.header.NAME, route.request.querystring.NAME, route.request.multivalueheader.NAME, route.request.multivaluequerystring.NAME, route.request.body.PATH, stageVariables.NAME, context.NAME or 'text' in single quotes"
    )]
    Source(String),
    /// Longer than a mapping may be.
    #[error("a source has 1 to 512 characters, this one has {0}")]
    Length(usize),
    /// A header that the gateway sets itself.
    #[error("`{0}` is set by the gateway and cannot be mapped")]
    ReservedHeader(String),
}

/// One entry of `request_parameters`.
#[derive(Debug, Clone)]
pub struct RequestParameter {
    /// Where the value goes.
    pub target: ParameterTarget,
    /// Where it comes from.
    pub source: ParameterSource,
}

/// `integration.request.{header,querystring,path}.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterTarget {
    /// A header of the backend's request.
    Header(http::HeaderName),
    /// A query parameter.
    QueryString(String),
    /// What `{NAME}` in the uri's path stands for.
    Path(String),
}

/// Where a mapped value comes from. Names as written.
#[derive(Debug, Clone)]
pub enum ParameterSource {
    /// `route.request.header.NAME`: the last value; `$connect` only.
    Header(String),
    /// `route.request.multivalueheader.NAME`: all values, joined by commas; `$connect` only.
    MultiValueHeader(String),
    /// `route.request.querystring.NAME`: the last value; `$connect` only.
    QueryString(String),
    /// `route.request.multivaluequerystring.NAME`: all values, joined by commas; `$connect` only.
    MultiValueQueryString(String),
    /// `route.request.body.PATH`: messages only.
    Body(BodyPath),
    /// `stageVariables.NAME`.
    StageVariable(String),
    /// `context.NAME`, the name without `context.`.
    Context(String),
    /// `'text'`.
    Static(String),
}
