//! A selection expression, parsed (websocket-api, section 2.1).
//!
//! In:  the operator's text, such as `${request.body.service}/${request.body.action}`.
//! Out: literal text and variables, in order; a body variable with its path taken apart.
//!
//! Holds always: an expression has at least one part, no two literals stand side by side, and a
//! definite path is never a [`BodyPath::Query`], so that its value is not wrapped in a list.

use std::{fmt, str::FromStr};

use serde_json_path::JsonPath;

use crate::request_parameters::is_parameter_name;

/// How deep brackets and parentheses may stand in each other in a path. Deeper ones have no use,
/// and the path parser recurses.
const MAX_PATH_NESTING: usize = 8;

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

impl BodyPath {
    /// Parses what follows `request.body`: nothing (the whole message), or a JSONPath without its
    /// `$`, such as `.action`, `.items[0].kind`, `['detail-type']` or `.items[*].kind`.
    ///
    /// A name after a dot may hold anything but white space, quotes and `. [ ] ( ) { } * ? \`:
    /// `-` in names is common, and RFC 9535 would want brackets and quotes around it.
    ///
    /// # Errors
    /// [`InvalidExpression::Path`] with the reason.
    pub fn parse(tail: &str) -> Result<Self, InvalidExpression> {
        let refused = |reason: &str| InvalidExpression::Path {
            path: tail.to_owned(),
            reason: reason.to_owned(),
        };
        if tail.ends_with('.') {
            return Err(refused("it ends with a dot; write ${…} around a variable to end it"));
        }
        if let Some(steps) = definite_steps(tail) {
            return Ok(Self::Steps(steps));
        }
        if nesting(tail) > MAX_PATH_NESTING {
            return Err(refused("brackets stand more than 8 deep in each other"));
        }
        JsonPath::parse(&standard_query(tail))
            .map(|path| Self::Query(Box::new(path)))
            .map_err(|error| refused(&error.to_string()))
    }
}

/// Where the first character is that `is_end` accepts, given how many brackets are open after it.
/// What stands in quotes in a bracket is passed over.
fn find_unquoted(text: &str, is_end: impl Fn(usize, char) -> bool) -> Option<usize> {
    let (mut brackets, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if brackets > 0 => quote = Some(c),
            (None, _) => {
                match c {
                    '[' => brackets += 1,
                    ']' => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                if is_end(brackets, c) {
                    return Some(at);
                }
            }
        }
    }
    None
}

/// Whether a variable without braces runs over `c` (section 2.1, Decision).
fn may_stand_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-[]*@'\"?():,".contains(c)
}

/// Whether `c` may stand in a name after a dot.
fn may_stand_in_name(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !".[](){}*?'\"\\".contains(c)
}

/// The steps of a path that leads to exactly one place; `None` for any other text.
fn definite_steps(tail: &str) -> Option<Vec<PathStep>> {
    let mut steps = Vec::new();
    let mut rest = tail;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c| !may_stand_in_name(c)).unwrap_or(after.len());
            if end == 0 {
                return None;
            }
            steps.push(PathStep::Name(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            let after = rest.strip_prefix('[')?.trim_start();
            let (step, after) = match after.chars().next()? {
                quote @ ('\'' | '"') => quoted_name(after, quote)?,
                _ => index(after)?,
            };
            steps.push(step);
            rest = after.trim_start().strip_prefix(']')?;
        }
    }
    Some(steps)
}

/// An index as RFC 9535 writes it (no `-0`, no leading zeros), and what follows it.
fn index(text: &str) -> Option<(PathStep, &str)> {
    let end = text.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, after) = text.split_at(end);
    let digits = number.strip_prefix('-').unwrap_or(number);
    let well_formed = number == "0" || !digits.is_empty() && !digits.starts_with('0');
    Some((PathStep::Index(number.parse().ok().filter(|_| well_formed)?), after))
}

/// A quoted name with JSON's escapes and the quote's own, and what follows it.
fn quoted_name(text: &str, quote: char) -> Option<(PathStep, &str)> {
    // Written once more as a JSON string, so that the JSON parser decodes the escapes.
    let mut json = String::from('"');
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => {
                json.push('"');
                return Some((PathStep::Name(serde_json::from_str(&json).ok()?), &text[at + 1..]));
            }
            '\\' => match chars.next()?.1 {
                '\'' if quote == '\'' => json.push('\''),
                escape => json.extend(['\\', escape]),
            },
            '"' => json.push_str("\\\""),
            _ => json.push(c),
        }
    }
    None
}

/// How deep brackets and parentheses stand in each other, those in quotes counted too.
fn nesting(tail: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for b in tail.bytes() {
        match b {
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The path as RFC 9535 writes it: `$` in front, and names that its short form does not admit
/// (`detail-type`, `2nd`) in brackets.
fn standard_query(tail: &str) -> String {
    let mut query = String::from('$');
    let mut rest = tail;
    while let Some(c) = rest.chars().next() {
        if c == '[' {
            let end = find_unquoted(rest, |open, c| open == 0 && c == ']')
                .map_or(rest.len(), |at| at + 1);
            query.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        let end = rest.find(|c| !may_stand_in_name(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        let short = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        if c != '.' || name.is_empty() {
            query.push(c);
        } else if name.chars().all(short) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            query.push('.');
            query.push_str(name);
            rest = &rest[end..];
        } else {
            // After `..` the first dot is written already and wants its twin.
            if query.ends_with('.') {
                query.push('.');
            }
            query.extend(["['", name, "']"]);
            rest = &rest[end..];
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts as short text: `'literal'`, `.name`, `[0]`, `query`, `header:NAME`.
    fn shape(text: &str) -> String {
        let parsed = SelectionExpression::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let piece = |part: &Part| match part {
            Part::Literal(text) => format!("'{text}'"),
            Part::Variable(Variable::Body(BodyPath::Steps(steps))) => format!("body{steps:?}")
                .replace("Name(\"", "(")
                .replace("Index(", "(")
                .replace("\")", ")"),
            Part::Variable(Variable::Body(BodyPath::Query(path))) => format!("query({path})"),
            Part::Variable(Variable::Header(name)) => format!("header:{name}"),
            Part::Variable(Variable::QueryString(name)) => format!("query:{name}"),
            Part::Variable(other) => format!("{other:?}"),
        };
        parsed.parts().iter().map(piece).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_bare_variable_and_one_in_braces_are_the_same() {
        assert_eq!(shape("$request.body.action"), "body[(action)]");
        assert_eq!(shape("${request.body.action}"), "body[(action)]");
        assert_eq!(shape("$request.body"), "body[]");
    }

    #[test]
    fn variables_and_text_may_be_mixed() {
        assert_eq!(
            shape("${request.body.service}/${request.body.action}"),
            "body[(service)] '/' body[(action)]"
        );
        assert_eq!(shape("a $request.body.b c"), "'a ' body[(b)] ' c'");
        assert_eq!(shape("$request.body.a$request.body.b"), "body[(a)] body[(b)]");
        assert_eq!(shape("${request.body.a}.b"), "body[(a)] '.b'");
    }

    #[test]
    fn an_escaped_dollar_sign_is_text() {
        assert_eq!(shape(r"\$default"), "'$default'");
        assert_eq!(shape(r"a\b\\$c"), r"'a\b\$c'");
        assert_eq!(shape(r"\${x}"), "'${x}'");
    }

    /// Section 2.1, Decision on where a bare variable ends.
    #[test]
    fn a_bare_variable_runs_over_hyphens_and_stops_at_a_slash() {
        assert_eq!(shape("$request.body.detail-type/x"), "body[(detail-type)] '/x'");
        assert_eq!(shape("$request.body.items[0].kind"), "body[(items), (0), (kind)]");
        assert_eq!(shape("$request.body['detail-type']"), "body[(detail-type)]");
        assert_eq!(shape(r#"$request.body["a"][-1]"#), "body[(a), (-1)]");
        assert_eq!(shape("$request.body.a}"), "body[(a)] '}'");
    }

    #[test]
    fn a_brace_in_a_quoted_name_does_not_end_the_variable() {
        assert_eq!(shape("${request.body['a}b']}c"), "body[(a}b)] 'c'");
        assert_eq!(shape("${request.body['it\\'s']}"), "body[(it's)]");
        assert_eq!(shape("${request.body[ \"\\u0061\" ]}"), "body[(a)]");
    }

    #[test]
    fn wildcards_slices_filters_and_descents_are_queries() {
        assert_eq!(shape("$request.body.items[*].kind"), "query($.items[*].kind)");
        assert!(shape("$request.body..kind").starts_with("query($.."));
        assert!(shape("$request.body.items[0:2]").starts_with("query($.items[0:2"));
        assert!(shape("${request.body.items[?(@.a == 'b')].c}").starts_with("query("));
    }

    #[test]
    fn a_query_may_hold_names_with_hyphens_too() {
        assert_eq!(shape("$request.body.items[*].a-b"), "query($.items[*]['a-b'])");
        assert_eq!(shape("$request.body..a-b.c"), "query($..['a-b'].c)");
    }

    #[test]
    fn what_starts_no_variable_is_refused() {
        for (text, variable) in [
            ("$default", "default"),
            ("$", ""),
            ("a$ b", ""),
            ("${}", ""),
            ("$request.bodyguard", "request.bodyguard"),
            ("$request.header.", "request.header."),
            ("$request.header.a[0]", "request.header.a[0]"),
            ("$request.path", "request.path"),
            ("$Request.body.a", "Request.body.a"),
            ("$integration.response.body.a", "integration.response.body.a"),
        ] {
            assert_eq!(
                SelectionExpression::parse(text).unwrap_err(),
                InvalidExpression::UnknownVariable { variable: variable.to_owned() },
                "{text}"
            );
        }
    }

    #[test]
    fn an_unclosed_brace_is_refused_with_its_place() {
        let error = SelectionExpression::parse("größe ${request.body.a").unwrap_err();
        assert_eq!(error, InvalidExpression::Unclosed { at: 7 });
        assert_eq!(SelectionExpression::parse("").unwrap_err(), InvalidExpression::Empty);
    }

    #[test]
    fn a_path_that_does_not_parse_is_refused() {
        for text in [
            "$request.body.",
            "$request.body.action.",
            "$request.body[",
            "$request.body.a[b]",
            "$request.body.a[-0]",
            "$request.body.a[01]",
            "$request.body.a[99999999999999999999]",
            "$request.body.a...b",
            "$request.body.length()",
            "${request.body.a b}",
            "$request.body[?((((((((((@.a))))))))))]",
        ] {
            let error = SelectionExpression::parse(text).unwrap_err();
            assert!(matches!(error, InvalidExpression::Path { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn a_route_selection_expression_reads_the_request_only() {
        let check = |text: &str| SelectionExpression::parse(text).unwrap().check_route_selection();
        for good in ["$request.body.a", "$request.header.x-api-key", "$request.querystring.q", "x"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "request.basepath",
            "integration.response.statuscode",
            "integration.response.header.a",
            "integration.response.multivalueheader.a",
            "integration.response.body.errorMessage",
            "context.authorizer.usageIdentifierKey",
        ] {
            let refused = InvalidExpression::NotInRouteSelection { variable: bad.to_owned() };
            assert_eq!(check(&format!("${bad}")), Err(refused.clone()), "{bad}");
            assert_eq!(check(&format!("x-${{{bad}}}")), Err(refused), "{bad}");
        }
    }

    #[test]
    fn a_request_template_is_selected_by_the_message_only() {
        let check =
            |text: &str| SelectionExpression::parse(text).unwrap().check_template_selection();
        for good in ["$request.body.a", "${request.body.a}-x", "default", r"\$default"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "request.header.a",
            "request.querystring.a",
            "request.basepath",
            "integration.response.statuscode",
            "integration.response.header.a",
            "integration.response.multivalueheader.a",
            "integration.response.body.errorMessage",
            "context.authorizer.usageIdentifierKey",
        ] {
            let refused = InvalidExpression::NotInTemplateSelection { variable: bad.to_owned() };
            assert_eq!(check(&format!("$request.body.a${{{bad}}}")), Err(refused), "{bad}");
        }
    }

    #[test]
    fn a_response_template_is_selected_by_the_message_and_by_the_answer() {
        let check = |text: &str| {
            SelectionExpression::parse(text).unwrap().check_response_template_selection()
        };
        for good in [
            "$request.body.a",
            "$integration.response.statuscode",
            "$integration.response.header.Content-Type",
            "$integration.response.multivalueheader.a",
            "$integration.response.body.errorMessage",
            "200",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "request.header.a",
            "request.querystring.a",
            "request.basepath",
            "context.authorizer.usageIdentifierKey",
        ] {
            let refused =
                InvalidExpression::NotInResponseTemplateSelection { variable: bad.to_owned() };
            assert_eq!(check(&format!("${{{bad}}}")), Err(refused), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>(), path in "[.$a\\[\\]()'\"?*@{}:, 0-]{0,24}") {
            let _ = SelectionExpression::parse(&text);
            let _ = SelectionExpression::parse(&format!("${{request.body{path}}}"));
            let _ = SelectionExpression::parse(&format!("$request.body{path}"));
            let _ = BodyPath::parse(&path);
        }

        #[test]
        fn text_without_dollar_signs_is_one_literal(text in "[^$\\\\]{1,20}") {
            let parsed = SelectionExpression::parse(&text).unwrap();
            prop_assert!(matches!(parsed.parts(), [Part::Literal(literal)] if *literal == text));
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn any_name_can_be_written_in_quotes(name in any::<String>()) {
            let quoted = serde_json::to_string(&name).unwrap();
            let parsed = BodyPath::parse(&format!("[{quoted}]")).unwrap();
            let expected = [PathStep::Name(name)];
            prop_assert!(matches!(parsed, BodyPath::Steps(steps) if steps == expected));
        }
    }
}
