//! A selection expression, parsed (websocket-api, section 2.1).

use serde_json_path::JsonPath;

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpression {
    /// `${` without `}`.
    #[error("`${{` at character {at} has no closing `}}`")]
    Unclosed {
        /// Counted from 1.
        at: usize,
    },
    /// A `$` that starts none of the variables.
    #[error(
        "`{variable}` is no variable of a selection expression: write $request.body.<path>, or \\$ for a dollar sign"
    )]
    UnknownVariable {
        /// As written, without the dollar sign and braces.
        variable: String,
    },
    /// The JSONPath after `request.body` does not parse.
    #[error("`{path}` after request.body is no JSON path: {reason}")]
    Path {
        /// As written.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Literal text and variables, in order. Parsed once; evaluated per message by `flow`.
#[derive(Debug, Clone)]
pub struct SelectionExpression {
    text: String,
    parts: Vec<Part>,
}

/// One piece of an expression.
#[derive(Debug, Clone)]
pub enum Part {
    /// Stands for itself; `\$` has become `$`.
    Literal(String),
    /// Is replaced by its value, or by nothing.
    Variable(Variable),
}

/// A variable of a selection expression.
#[derive(Debug, Clone)]
pub enum Variable {
    /// `request.body` and the path after it.
    Body(BodyPath),
    /// `request.header.NAME`.
    Header(String),
    /// `request.querystring.NAME`.
    QueryString(String),
    /// `request.basepath`.
    BasePath,
    /// `integration.response.statuscode`.
    ResponseStatus,
    /// `integration.response.header.NAME`.
    ResponseHeader(String),
    /// `integration.response.multivalueheader.NAME`.
    ResponseMultiValueHeader(String),
    /// `context.authorizer.usageIdentifierKey`.
    UsageIdentifierKey,
}

/// Where in the message to look.
#[derive(Debug, Clone)]
pub enum BodyPath {
    /// Names and indexes only: exactly one place. Empty is the whole message.
    Steps(Vec<PathStep>),
    /// Wildcards, slices, filters or descents: a list of what was found.
    Query(Box<JsonPath>),
}

/// One step of a definite path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// A member of an object.
    Name(String),
    /// An element of an array; negative counts from its end.
    Index(i64),
}

impl SelectionExpression {
    /// The pieces, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
