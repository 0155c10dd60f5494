//! A selection expression, parsed (websocket-api, section 2.1).
//!
//! In:  the operator's text, such as `${request.body.service}/${request.body.action}`.
//! Out: literal text and variables, in order; a body variable with its path taken apart by
//!      `body_path`.
//!
//! Holds always: an expression has at least one part, and no two literals stand side by side.

mod body_path;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

pub use body_path::{BodyPath, PathStep};

use crate::request_parameters::is_parameter_name;
use body_path::find_unquoted;

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpression {
    /// No text at all: it would select nothing, ever.
    #[error("a selection expression is not empty: write $request.body.<path>")]
    Empty,
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
    /// A variable, but one that a route selection expression cannot know (section 2.2).
    #[error(
        "`{variable}` has no value when a route is selected: a route selection expression reads request.body.<path>"
    )]
    NotInRouteSelection {
        /// Without the dollar sign and braces.
        variable: String,
    },
    /// A variable, but one that the template of a request cannot be chosen by (section 2.2).
    #[error(
        "`{variable}` has no value when a request template is selected: a template selection expression reads request.body.<path>"
    )]
    NotInTemplateSelection {
        /// Without the dollar sign and braces.
        variable: String,
    },
    /// A variable, but one that the template of a response cannot be chosen by (section 2.2).
    #[error(
        "`{variable}` has no value when a response template is selected: it is selected by request.body.<path>, integration.response.statuscode, integration.response.header.<name> or integration.response.multivalueheader.<name>"
    )]
    NotInResponseTemplateSelection {
        /// Without the dollar sign and braces.
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
    /// `integration.response.body.errorMessage`. Amazon takes it and selects nothing by it
    /// (section 2.7).
    ResponseErrorMessage,
    /// `context.authorizer.usageIdentifierKey`.
    UsageIdentifierKey,
}

impl SelectionExpression {
    /// Takes an expression apart.
    ///
    /// `\$` is a dollar sign; `${…}` and `$…` are variables. A bare variable runs over
    /// `A-Z a-z 0-9 _ . - [ ] * @ ' " ? ( ) : ,` and ends before anything else; one that would
    /// end with a dot is refused, since whether the dot is meant as text cannot be told.
    ///
    /// # Errors
    /// What is wrong with the first variable that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidExpression> {
        if text.is_empty() {
            return Err(InvalidExpression::Empty);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(special) = rest.find(['$', '\\']) {
            literal.push_str(&rest[..special]);
            rest = &rest[special..];
            if let Some(after) = rest.strip_prefix("\\$") {
                literal.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('\\') {
                literal.push('\\');
                rest = after;
            } else {
                let (variable, after) = match rest.strip_prefix("${") {
                    Some(inner) => {
                        let Some(end) = find_unquoted(inner, |_, c| c == '}') else {
                            let at = text[..text.len() - rest.len()].chars().count() + 1;
                            return Err(InvalidExpression::Unclosed { at });
                        };
                        (&inner[..end], &inner[end + 1..])
                    }
                    None => {
                        let inner = &rest[1..];
                        let end = inner.find(|c| !may_stand_bare(c)).unwrap_or(inner.len());
                        inner.split_at(end)
                    }
                };
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Variable(Variable::parse(variable)?));
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Checks that the expression can select a route (section 2.2).
    ///
    /// Header and query variables are admitted, though they have no value there, because Amazon
    /// does not say that they are not.
    ///
    /// # Errors
    /// [`InvalidExpression::NotInRouteSelection`] for a variable of another kind of expression.
    pub fn check_route_selection(&self) -> Result<(), InvalidExpression> {
        let is_read =
            |v: &_| matches!(v, Variable::Body(_) | Variable::Header(_) | Variable::QueryString(_));
        match self.first_variable_but(is_read) {
            Some(variable) => Err(InvalidExpression::NotInRouteSelection { variable }),
            None => Ok(()),
        }
    }

    /// Checks that the expression can select a request template (section 2.2): it reads the
    /// message, if anything.
    ///
    /// # Errors
    /// [`InvalidExpression::NotInTemplateSelection`] for a variable of another kind of expression.
    pub fn check_template_selection(&self) -> Result<(), InvalidExpression> {
        match self.first_variable_but(|v| matches!(v, Variable::Body(_))) {
            Some(variable) => Err(InvalidExpression::NotInTemplateSelection { variable }),
            None => Ok(()),
        }
    }

    /// Checks that the expression can select a response template (section 2.2): it reads the
    /// message, and the status and the headers of the answer.
    ///
    /// `integration.response.body.errorMessage` is admitted, though it selects nothing, because
    /// Amazon admits it (section 2.7).
    ///
    /// # Errors
    /// [`InvalidExpression::NotInResponseTemplateSelection`] for a variable of another kind of
    /// expression.
    pub fn check_response_template_selection(&self) -> Result<(), InvalidExpression> {
        let is_read = |v: &_| {
            matches!(
                v,
                Variable::Body(_)
                    | Variable::ResponseStatus
                    | Variable::ResponseHeader(_)
                    | Variable::ResponseMultiValueHeader(_)
                    | Variable::ResponseErrorMessage
            )
        };
        match self.first_variable_but(is_read) {
            Some(variable) => Err(InvalidExpression::NotInResponseTemplateSelection { variable }),
            None => Ok(()),
        }
    }

    /// The name of the first variable that is none of those.
    fn first_variable_but(&self, is_admitted: impl Fn(&Variable) -> bool) -> Option<String> {
        self.parts.iter().find_map(|part| match part {
            Part::Variable(variable) if !is_admitted(variable) => Some(variable.name()),
            Part::Variable(_) | Part::Literal(_) => None,
        })
    }

    /// The pieces, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for SelectionExpression {
    type Err = InvalidExpression;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for SelectionExpression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Variable {
    /// As it is written, but for a body's path.
    fn name(&self) -> String {
        match self {
            Self::Body(_) => "request.body".to_owned(),
            Self::Header(name) => format!("request.header.{name}"),
            Self::QueryString(name) => format!("request.querystring.{name}"),
            Self::BasePath => "request.basepath".to_owned(),
            Self::ResponseStatus => "integration.response.statuscode".to_owned(),
            Self::ResponseHeader(name) => format!("integration.response.header.{name}"),
            Self::ResponseMultiValueHeader(name) => {
                format!("integration.response.multivalueheader.{name}")
            }
            Self::ResponseErrorMessage => "integration.response.body.errorMessage".to_owned(),
            Self::UsageIdentifierKey => "context.authorizer.usageIdentifierKey".to_owned(),
        }
    }

    /// `path` of the grammar: a variable without dollar sign and braces.
    fn parse(text: &str) -> Result<Self, InvalidExpression> {
        if let Some(tail) = text.strip_prefix("request.body")
            && (tail.is_empty() || tail.starts_with(['.', '[']))
        {
            return BodyPath::parse(tail).map(Self::Body);
        }
        let named = |prefix: &str| {
            text.strip_prefix(prefix).filter(|name| is_parameter_name(name)).map(str::to_owned)
        };
        let variable = match text {
            "request.basepath" => Some(Self::BasePath),
            "integration.response.statuscode" => Some(Self::ResponseStatus),
            "integration.response.body.errorMessage" => Some(Self::ResponseErrorMessage),
            "context.authorizer.usageIdentifierKey" => Some(Self::UsageIdentifierKey),
            _ => None,
        };
        variable
            .or_else(|| named("request.header.").map(Self::Header))
            .or_else(|| named("request.querystring.").map(Self::QueryString))
            .or_else(|| named("integration.response.header.").map(Self::ResponseHeader))
            .or_else(|| {
                named("integration.response.multivalueheader.").map(Self::ResponseMultiValueHeader)
            })
            .ok_or_else(|| InvalidExpression::UnknownVariable { variable: text.to_owned() })
    }
}

/// Whether a variable without braces runs over `c` (section 2.1, Decision).
fn may_stand_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-[]*@'\"?():,".contains(c)
}
