//! `request_parameters`: what is mapped into a backend's request (websocket-api, section 5.3).
//!
//! In:  one key and its value as the operator wrote them.
//! Out: where a value goes, and where it comes from.
//!
//! Holds always: a header target is a valid header name, and none that the gateway sets itself.

use std::str::FromStr;

use crate::{BodyPath, InvalidExpression};

/// Headers of the backend's request that frame it or belong to one hop: a mapped one would break
/// the connection to the backend. `Host` is not among them; a backend may want another one.
const RESERVED_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that tell a backend who is speaking; backends trust them.
const RESERVED_HEADER_PREFIX: &str = "tidegate-";

/// A source's length in characters.
const MAX_SOURCE_CHARS: usize = 512;

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
    /// `append:`, `overwrite:` or `remove:`, which only HTTP APIs know.
    #[error(
        "`{0}` is the syntax of HTTP APIs: here the key is integration.request.header.NAME and the value alone sets it"
    )]
    HttpApiSyntax(String),
    /// Longer than a mapping may be.
    #[error("a source has 1 to 512 characters, this one has {0}")]
    Length(usize),
    /// A header that the gateway sets itself.
    #[error("`{0}` is set by the gateway and cannot be mapped")]
    ReservedHeader(String),
    /// The path after `route.request.body` does not parse.
    #[error(transparent)]
    Path(InvalidExpression),
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
    /// `route.request.body.PATH`: messages only. Never the whole message.
    Body(BodyPath),
    /// `stageVariables.NAME`.
    StageVariable(String),
    /// `context.NAME`, the name without `context.`.
    Context(String),
    /// `'text'`.
    Static(String),
}

impl RequestParameter {
    /// Parses one entry: a key such as `integration.request.header.room` and a value such as
    /// `route.request.body.data.room`.
    ///
    /// # Errors
    /// What is wrong with the key, or else with the value.
    pub fn parse(key: &str, value: &str) -> Result<Self, InvalidParameter> {
        Ok(Self { target: key.parse()?, source: value.parse()? })
    }
}

impl FromStr for ParameterTarget {
    type Err = InvalidParameter;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_http_api_syntax(text) {
            return Err(InvalidParameter::HttpApiSyntax(text.to_owned()));
        }
        let refused = || InvalidParameter::Target(text.to_owned());
        let place = text.strip_prefix("integration.request.").ok_or_else(refused)?;
        let (place, name) = place.split_once('.').ok_or_else(refused)?;
        if !is_parameter_name(name) {
            return Err(refused());
        }
        match place {
            "header" => {
                let header: http::HeaderName = name.parse().map_err(|_| refused())?;
                let lower = header.as_str();
                if RESERVED_HEADERS.contains(&lower) || lower.starts_with(RESERVED_HEADER_PREFIX) {
                    return Err(InvalidParameter::ReservedHeader(name.to_owned()));
                }
                Ok(Self::Header(header))
            }
            "querystring" => Ok(Self::QueryString(name.to_owned())),
            "path" => Ok(Self::Path(name.to_owned())),
            _ => Err(refused()),
        }
    }
}

impl FromStr for ParameterSource {
    type Err = InvalidParameter;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if !(1..=MAX_SOURCE_CHARS).contains(&length) {
            return Err(InvalidParameter::Length(length));
        }
        if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            return Ok(Self::Static(inner.to_owned()));
        }
        if is_http_api_syntax(text) {
            return Err(InvalidParameter::HttpApiSyntax(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix("route.request.body")
            && path.starts_with(['.', '['])
        {
            return BodyPath::parse(path).map(Self::Body).map_err(InvalidParameter::Path);
        }
        let named = |prefix: &str| {
            text.strip_prefix(prefix).filter(|name| is_parameter_name(name)).map(str::to_owned)
        };
        named("route.request.header.")
            .map(Self::Header)
            .or_else(|| named("route.request.multivalueheader.").map(Self::MultiValueHeader))
            .or_else(|| named("route.request.querystring.").map(Self::QueryString))
            .or_else(|| {
                named("route.request.multivaluequerystring.").map(Self::MultiValueQueryString)
            })
            .or_else(|| named("stageVariables.").map(Self::StageVariable))
            .or_else(|| named("context.").map(Self::Context))
            .ok_or_else(|| InvalidParameter::Source(text.to_owned()))
    }
}

/// NAME of section 5.3: `^[a-zA-Z0-9._$-]+$`.
pub(crate) fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._$-".contains(&b))
}

fn is_http_api_syntax(text: &str) -> bool {
    ["append:", "overwrite:", "remove:"].iter().any(|verb| text.starts_with(verb))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PathStep;

    #[test]
    fn the_contracts_example_parses() {
        for (key, value) in [
            ("integration.request.header.connectionId", "context.connectionId"),
            ("integration.request.header.room", "route.request.body.data.room"),
            ("integration.request.querystring.source", "'ws'"),
            ("integration.request.path.proxy", "stageVariables.base"),
            ("integration.request.header.Host", "context.domainName"),
        ] {
            assert!(RequestParameter::parse(key, value).is_ok(), "{key} = {value}");
        }
    }

    #[test]
    fn each_source_is_told_apart() {
        let source = |text: &str| format!("{:?}", text.parse::<ParameterSource>().unwrap());
        for (text, expected) in [
            ("route.request.header.X-A", r#"Header("X-A")"#),
            ("route.request.multivalueheader.a", r#"MultiValueHeader("a")"#),
            ("route.request.querystring.a.b", r#"QueryString("a.b")"#),
            ("route.request.multivaluequerystring.a", r#"MultiValueQueryString("a")"#),
            ("stageVariables.a_$-", r#"StageVariable("a_$-")"#),
            ("context.authorizer.principalId", r#"Context("authorizer.principalId")"#),
            ("'it's'", r#"Static("it's")"#),
            ("''", r#"Static("")"#),
        ] {
            assert_eq!(source(text), expected, "{text}");
        }
        let Ok(ParameterSource::Body(BodyPath::Steps(steps))) =
            "route.request.body[0].detail-type".parse()
        else {
            panic!("a definite path");
        };
        assert_eq!(steps, [PathStep::Index(0), PathStep::Name("detail-type".to_owned())]);
    }

    #[test]
    fn a_name_has_letters_digits_and_four_marks() {
        for bad in [
            "integration.request.header.",
            "integration.request.header.a b",
            "integration.request.header.ä",
            "integration.request.querystring.a[]",
            "integration.request.body.a",
            "integration.request.header",
            "integration.response.header.a",
            "header.a",
            "",
        ] {
            let refused = Err(InvalidParameter::Target(bad.to_owned()));
            assert_eq!(bad.parse::<ParameterTarget>(), refused, "{bad}");
        }
    }

    #[test]
    fn a_source_that_is_none_is_refused() {
        for bad in [
            "$context.connectionId",
            "${stageVariables.a}",
            "context.",
            "'",
            "ws",
            "\"ws\"",
            "route.request.path.a",
            "route.request.body",
            "route.request.bodyguard",
            "route.request.header.a b",
        ] {
            let error = bad.parse::<ParameterSource>().unwrap_err();
            assert_eq!(error, InvalidParameter::Source(bad.to_owned()), "{bad}");
        }
        assert!(matches!(
            "route.request.body.a[".parse::<ParameterSource>().unwrap_err(),
            InvalidParameter::Path(_)
        ));
    }

    #[test]
    fn a_source_has_1_to_512_characters() {
        let quoted = |chars: usize| format!("'{}'", "ä".repeat(chars - 2));
        assert!(quoted(512).parse::<ParameterSource>().is_ok());
        let length = |text: &str| text.parse::<ParameterSource>().unwrap_err();
        assert_eq!(length(&quoted(513)), InvalidParameter::Length(513));
        assert_eq!(length(""), InvalidParameter::Length(0));
    }

    /// Section 5.3: invalid here.
    #[test]
    fn the_syntax_of_http_apis_is_refused_by_name() {
        let syntax = |text: &str| InvalidParameter::HttpApiSyntax(text.to_owned());
        let append = "append:header.x";
        assert_eq!(append.parse::<ParameterTarget>().unwrap_err(), syntax(append));
        assert_eq!(append.parse::<ParameterSource>().unwrap_err(), syntax(append));
    }

    #[test]
    fn headers_that_the_gateway_sets_cannot_be_mapped() {
        for name in ["Connection", "content-length", "TE", "Upgrade", "Tidegate-Principal-Id"] {
            let key = format!("integration.request.header.{name}");
            let refused = Err(InvalidParameter::ReservedHeader(name.to_owned()));
            assert_eq!(key.parse::<ParameterTarget>(), refused, "{name}");
        }
        for name in RESERVED_HEADERS {
            let key = format!("integration.request.header.{name}");
            assert!(key.parse::<ParameterTarget>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = RequestParameter::parse(&text, &text);
            let _ = format!("integration.request.header.{text}").parse::<ParameterTarget>();
            let _ = format!("route.request.body{text}").parse::<ParameterSource>();
        }
    }
}
