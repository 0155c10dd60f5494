//! The path after `request.body` in a selection expression (websocket-api, section 2.1).
//!
//! In:  what stands behind `request.body`, such as `.items[0].kind` or `.items[*].kind`.
//! Out: a [`BodyPath`]: the steps to one place, or a query for many.
//!
//! Holds always: a definite path is never a [`BodyPath::Query`], so that its value is not wrapped in
//! a list.

use serde_json_path::JsonPath;

use super::InvalidExpression;

/// How deep brackets and parentheses may stand in each other in a path. Deeper ones have no use,
/// and the path parser recurses.
const MAX_PATH_NESTING: usize = 8;

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

/// Where the first character is that `is_end` accepts, given how many brackets are open after it.
/// What stands in quotes in a bracket is passed over.
pub(super) fn find_unquoted(text: &str, is_end: impl Fn(usize, char) -> bool) -> Option<usize> {
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

/// Whether `c` may stand in a name after a dot.
fn may_stand_in_name(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !".[](){}*?'\"\\".contains(c)
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
