//! Values as text, the way API Gateway's Java writes them (websocket-api, sections 2.3 and 2.4).

use std::{borrow::Cow, collections::HashMap};

use super::document::{Document, Node};

/// A list or object whose inside is being written.
struct Open<'d> {
    /// Names (in objects) and values that are still to be written, the next one last.
    rest: Vec<(Option<&'d str>, usize)>,
    is_first: bool,
    close: char,
}

/// The text of the value at `at`; `None` for `null`.
pub(super) fn of<'m>(document: &Document<'m>, at: usize) -> Option<Cow<'m, str>> {
    Some(match document.node(at) {
        Node::Null => return None,
        Node::Bool(value) => Cow::Borrowed(bool_text(*value)),
        Node::Number(text) => Cow::Borrowed(text),
        Node::String(text) => text.clone(),
        Node::Array { .. } | Node::Object { .. } => Cow::Owned(composite(document, at)),
    })
}

/// The text of a list or object. On a stack of its own, since the depth is the client's choice.
fn composite(document: &Document<'_>, at: usize) -> String {
    let mut out = String::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut value = at;
    loop {
        match document.node(value) {
            Node::Null => out.push_str("null"),
            Node::Bool(value) => out.push_str(bool_text(*value)),
            Node::Number(text) => out.push_str(text),
            Node::String(text) => out.push_str(text),
            Node::Array { end } => {
                out.push('[');
                let mut rest: Vec<_> =
                    document.elements(value, *end).map(|element| (None, element)).collect();
                rest.reverse();
                open.push(Open { rest, is_first: true, close: ']' });
            }
            Node::Object { end } => {
                out.push('{');
                let mut rest = members(document, value, *end);
                rest.reverse();
                open.push(Open { rest, is_first: true, close: '}' });
            }
        }
        loop {
            let Some(innermost) = open.last_mut() else { return out };
            match innermost.rest.pop() {
                Some((name, next)) => {
                    if !std::mem::replace(&mut innermost.is_first, false) {
                        out.push_str(", ");
                    }
                    if let Some(name) = name {
                        out.push_str(name);
                        out.push('=');
                    }
                    value = next;
                    break;
                }
                None => {
                    out.push(innermost.close);
                    open.pop();
                }
            }
        }
    }
}

/// Of members of one name the last value counts, in the first one's place, as in a Java map.
fn members<'d>(document: &'d Document<'_>, at: usize, end: usize) -> Vec<(Option<&'d str>, usize)> {
    let mut places = HashMap::new();
    let mut members: Vec<(Option<&str>, usize)> = Vec::new();
    for (name, value) in document.members(at, end) {
        let place = *places.entry(&**name).or_insert(members.len());
        match members.get_mut(place) {
            Some(member) => member.1 = value,
            None => members.push((Some(name), value)),
        }
    }
    members
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
