//! What a non-proxy integration changes on the way to the backend and back (websocket-api, 2.5 to
//! 2.7 and 6.3): the templates as text, the expressions that choose them, checked.

use std::{collections::BTreeMap, str::FromStr};

use crate::SelectionExpression;

/// The templates of one non-proxy integration.
#[derive(Debug, Clone, Default)]
pub struct Transformation {
    /// Chooses the request template; `None` chooses `application/json`.
    pub template_selection_expression: Option<SelectionExpression>,
    /// Mapping templates by key.
    pub request_templates: BTreeMap<String, String>,
    /// What happens to a message that no template is for.
    pub passthrough_behavior: PassthroughBehavior,
    /// What a message without a template, or a template's output, is turned into.
    pub content_handling_strategy: Option<ContentHandling>,
    /// In the order in which they are tried: by key, `$default` last. Keys are unique.
    pub integration_responses: Vec<IntegrationResponse>,
}

/// What happens to a message that no template is for (websocket-api, 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PassthroughBehavior {
    /// It is passed on unchanged.
    #[default]
    WhenNoMatch,
    /// It is passed on unchanged if the integration has no template at all, else rejected.
    WhenNoTemplates,
    /// It is rejected.
    Never,
}

/// How binary and text are turned into each other (websocket-api, 6.3). Absent: they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentHandling {
    /// Base64 text becomes bytes.
    ConvertToBinary,
    /// On the way back, bytes become base64 text; on the way there, text stays text.
    ConvertToText,
}

/// What is made of some of the backend's answers.
#[derive(Debug, Clone)]
pub struct IntegrationResponse {
    /// Which answers.
    pub key: ResponseKey,
    /// Chooses the response template; `None` chooses the one keyed by the status.
    pub template_selection_expression: Option<SelectionExpression>,
    /// Mapping templates by key.
    pub response_templates: BTreeMap<String, String>,
    /// Headers of the answer to an upgrade; only `Sec-WebSocket-Protocol` can be seen.
    pub response_parameters: Vec<ResponseParameter>,
    /// Binary to text or back.
    pub content_handling_strategy: Option<ContentHandling>,
}

/// `$default`, or a regular expression between slashes.
#[derive(Debug, Clone)]
pub enum ResponseKey {
    /// Whatever no pattern matches.
    Default,
    /// The whole status, or a function's whole error message, matches.
    Pattern(ResponsePattern),
}

/// A compiled `/regex/`.
#[derive(Debug, Clone)]
pub struct ResponsePattern {
    regex: regex::Regex,
    text: String,
}

/// Why a key of `integration_responses` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponseKey {
    /// Neither of the two forms.
    #[error(
        "`{0}` is no key of an integration response: `$default`, or /a regular expression/ such as /4\\d\\d/"
    )]
    Form(String),
    /// The expression does not compile.
    #[error("`{key}` is no regular expression: {reason}")]
    Regex {
        /// As written.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ResponsePattern {
    /// Whether all of `selector` matches.
    pub fn matches(&self, selector: &str) -> bool {
        self.regex.is_match(selector)
    }

    /// As written, with its slashes.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ResponseKey {
    type Err = InvalidResponseKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "$default" {
            return Ok(Self::Default);
        }
        let inner = text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
            .filter(|inner| !inner.is_empty())
            .ok_or_else(|| InvalidResponseKey::Form(text.to_owned()))?;
        let refused = |reason: String| InvalidResponseKey::Regex { key: text.to_owned(), reason };
        // By itself first: `a)(b` must not become good by the group around it.
        regex::Regex::new(inner).map_err(|err| refused(last_line(&err)))?;
        let regex = regex::Regex::new(&format!(r"\A(?:{inner})\z"))
            .map_err(|err| refused(last_line(&err)))?;
        Ok(Self::Pattern(ResponsePattern { regex, text: text.to_owned() }))
    }
}

/// The crate draws the expression and points at the place; the last line says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// One entry of `response_parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseParameter {
    /// `method.response.header.NAME` or `route.response.header.NAME`.
    pub header: http::HeaderName,
    /// Where its value comes from.
    pub source: ResponseParameterSource,
}

/// `integration.response.header.NAME`, `integration.response.body.PATH` or `'text'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseParameterSource {
    /// A header of the backend's answer.
    Header(http::HeaderName),
    /// A place in its JSON body, as a path such as `$.a.b`.
    Body(String),
    /// A text.
    Static(String),
}

/// Why an entry of `response_parameters` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponseParameter {
    /// The key.
    #[error("`{0}` is no target: method.response.header.NAME or route.response.header.NAME")]
    Target(String),
    /// The value.
    #[error(
        "`{0}` is no source: integration.response.header.NAME, integration.response.body.PATH or 'text' in single quotes"
    )]
    Source(String),
}

impl ResponseParameter {
    /// Parses one entry.
    ///
    /// # Errors
    /// What is wrong with the key, or else with the value.
    pub fn parse(key: &str, value: &str) -> Result<Self, InvalidResponseParameter> {
        let header = key
            .strip_prefix("method.response.header.")
            .or_else(|| key.strip_prefix("route.response.header."))
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| InvalidResponseParameter::Target(key.to_owned()))?;
        let refused = || InvalidResponseParameter::Source(value.to_owned());
        let source = if let Some(name) = value.strip_prefix("integration.response.header.") {
            ResponseParameterSource::Header(name.parse().map_err(|_| refused())?)
        } else if let Some(path) = value.strip_prefix("integration.response.body.") {
            ResponseParameterSource::Body(format!("$.{path}"))
        } else {
            let text = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            ResponseParameterSource::Static(text.ok_or_else(refused)?.to_owned())
        };
        Ok(Self { header, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ResponsePattern {
        match text.parse() {
            Ok(ResponseKey::Pattern(pattern)) => pattern,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// websocket-api, 2.6.
    #[test]
    fn a_pattern_matches_the_whole_selector() {
        assert!(pattern(r"/2\d\d/").matches("204"));
        assert!(!pattern("/20/").matches("200"));
        assert!(pattern("/a|ab/").matches("ab"));
        assert!(!pattern("/.*/").matches("two\nlines"), "a dot matches no newline");
    }

    #[test]
    fn a_key_is_default_or_a_regular_expression_between_slashes() {
        assert!(matches!("$default".parse(), Ok(ResponseKey::Default)));
        for bad in ["200", "", "/", "//", "/200", "$Default"] {
            let refused = bad.parse::<ResponseKey>().unwrap_err();
            assert_eq!(refused, InvalidResponseKey::Form(bad.to_owned()));
        }
        for bad in ["/(/", "/a)(b/"] {
            let refused = bad.parse::<ResponseKey>().unwrap_err();
            assert!(matches!(refused, InvalidResponseKey::Regex { .. }), "{bad}: {refused}");
            assert!(!refused.to_string().contains('\n'), "{refused}");
        }
    }

    #[test]
    fn a_response_parameter_sets_a_header_from_one_of_three_sources() {
        let source = |value| {
            ResponseParameter::parse("route.response.header.Sec-WebSocket-Protocol", value)
                .map(|parameter| parameter.source)
        };
        assert_eq!(source("'chat'"), Ok(ResponseParameterSource::Static("chat".to_owned())));
        assert_eq!(
            source("integration.response.body.a.b"),
            Ok(ResponseParameterSource::Body("$.a.b".to_owned()))
        );
        assert!(source("integration.response.header.X-Sub").is_ok());
        assert!(source("chat").is_err());
        assert!(ResponseParameter::parse("integration.request.header.a", "'x'").is_err());
    }
}
