//! A whole message, parsed: the nodes in the order in which they are written, side by side.
//!
//! In:  text.
//! Out: [`Document`], or nothing if the text is no JSON.
//!
//! Flat, because a tree of a client's making could be as deep as its message is long, and then
//! even dropping it would overflow the stack.

use std::borrow::Cow;

use serde_json::{Map, Value};
use tidegate_model::{BodyPath, PathStep};

use super::{is_strict_json, text};

/// How deep values may lie in each other where a query looks at them, as in `serde_json`.
const MAX_QUERY_DEPTH: usize = 128;

/// A JSON message.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'m> {
    /// Never empty; the first node is the whole message.
    nodes: Vec<Node<'m>>,
}

/// The start of one value. An object is followed by its members, each a string (the name) and
/// then the value; an array by its elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'m> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'m str),
    String(Cow<'m, str>),
    /// `end` is the index after the last node in it.
    Array {
        end: usize,
    },
    Object {
        end: usize,
    },
}

impl<'m> Document<'m> {
    /// Parses JSON (RFC 8259).
    pub fn strict(text: &'m str) -> Option<Self> {
        if is_strict_json(text) { Self::relaxed(text) } else { None }
    }

    /// Parses JSON, and admits names without quotes (letters, digits and `_ $ - @ # * +`) and
    /// single quotes, in which `\'` is a quote. For route selection only (websocket-api, 2.4).
    pub fn relaxed(text: &'m str) -> Option<Self> {
        let mut parser = Parser { text, at: 0, nodes: Vec::new(), open: Vec::new() };
        parser.run()?;
        Some(Self { nodes: parser.nodes })
    }

    /// The text of what `path` leads to; `None` if it leads nowhere or to `null`.
    ///
    /// A query gives the list of what it found, `None` if that is nothing. In such a list numbers
    /// have their shortest form, and names are looked for at most 128 levels deep; a deeper
    /// message gives `None`.
    pub fn text_at(&self, path: &BodyPath) -> Option<Cow<'m, str>> {
        match path {
            BodyPath::Steps(steps) => {
                let at = steps.iter().try_fold(0, |at, step| self.step(at, step))?;
                text::of(self, at)
            }
            BodyPath::Query(query) => {
                let value = self.value(0, MAX_QUERY_DEPTH)?;
                let found = query.query(&value).all();
                if found.is_empty() {
                    return None;
                }
                let list = serde_json::to_string(&found).ok()?;
                let list = Document::relaxed(&list)?;
                text::of(&list, 0).map(|text| Cow::Owned(text.into_owned()))
            }
        }
    }

    pub(super) fn node(&self, at: usize) -> &Node<'m> {
        &self.nodes[at]
    }

    /// The index after the value at `at`.
    pub(super) fn after(&self, at: usize) -> usize {
        match self.nodes[at] {
            Node::Array { end } | Node::Object { end } => end,
            _ => at + 1,
        }
    }

    /// The values directly in the array that ends at `end`, `at` being its own index.
    pub(super) fn elements(&self, at: usize, end: usize) -> impl Iterator<Item = usize> {
        let from = move |at| Some(at).filter(|at| *at < end);
        std::iter::successors(from(at + 1), move |at| from(self.after(*at)))
    }

    /// The members of the object that ends at `end`: name and value's index, as written.
    pub(super) fn members(
        &self,
        at: usize,
        end: usize,
    ) -> impl Iterator<Item = (&Cow<'m, str>, usize)> {
        let from = move |at: usize| match self.nodes.get(at) {
            Some(Node::String(name)) if at < end => Some((name, at + 1)),
            _ => None,
        };
        std::iter::successors(from(at + 1), move |(_, value)| from(self.after(*value)))
    }

    /// One step down from the value at `at`. Of members of one name the last counts.
    fn step(&self, at: usize, step: &PathStep) -> Option<usize> {
        match (self.node(at), step) {
            (Node::Object { end }, PathStep::Name(wanted)) => {
                self.members(at, *end).filter(|(name, _)| *name == wanted).last().map(|(_, at)| at)
            }
            (Node::Array { end }, PathStep::Index(index)) => {
                let index = match usize::try_from(*index) {
                    Ok(index) => index,
                    Err(_) => {
                        let back = usize::try_from(index.unsigned_abs()).ok()?;
                        self.elements(at, *end).count().checked_sub(back)?
                    }
                };
                self.elements(at, *end).nth(index)
            }
            _ => None,
        }
    }

    /// The value at `at` for a query to look at; `None` if it is deeper than `depth`.
    fn value(&self, at: usize, depth: usize) -> Option<Value> {
        let inner = depth.checked_sub(1)?;
        Some(match self.node(at) {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            // Beyond a double's range it is kept as text: it equals no number either way.
            Node::Number(text) => match serde_json::from_str(text) {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String((*text).to_owned()),
            },
            Node::String(text) => Value::String(text.clone().into_owned()),
            Node::Array { end } => Value::Array(
                self.elements(at, *end).map(|at| self.value(at, inner)).collect::<Option<_>>()?,
            ),
            Node::Object { end } => {
                let member = |(name, at): (&Cow<'m, str>, usize)| {
                    Some((name.clone().into_owned(), self.value(at, inner)?))
                };
                Value::Object(self.members(at, *end).map(member).collect::<Option<Map<_, _>>>()?)
            }
        })
    }
}

struct Parser<'m> {
    text: &'m str,
    /// In bytes; always between two characters.
    at: usize,
    nodes: Vec<Node<'m>>,
    /// Arrays and objects that are not closed yet.
    open: Vec<usize>,
}

impl<'m> Parser<'m> {
    /// Parses one value and nothing after it. `None`, here and below: this is no JSON.
    fn run(&mut self) -> Option<()> {
        loop {
            self.skip_white_space();
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    self.open.push(self.nodes.len());
                    self.nodes.push(Node::Object { end: 0 });
                    self.skip_white_space();
                    if self.peek()? != b'}' {
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    self.open.push(self.nodes.len());
                    self.nodes.push(Node::Array { end: 0 });
                    self.skip_white_space();
                    if self.peek()? != b']' {
                        continue;
                    }
                }
                quote @ (b'"' | b'\'') => {
                    let text = self.string(quote)?;
                    self.nodes.push(Node::String(text));
                }
                b'-' | b'0'..=b'9' => {
                    let number = self.number()?;
                    self.nodes.push(Node::Number(number));
                }
                b't' => self.word("true", Node::Bool(true))?,
                b'f' => self.word("false", Node::Bool(false))?,
                b'n' => self.word("null", Node::Null)?,
                _ => return None,
            }
            if self.close()? {
                return Some(());
            }
        }
    }

    /// After a value: closes what ends here, and goes to the next value's start. Whether the
    /// whole text has ended.
    fn close(&mut self) -> Option<bool> {
        loop {
            self.skip_white_space();
            let Some(&open) = self.open.last() else {
                return (self.at == self.text.len()).then_some(true);
            };
            let in_object = matches!(self.nodes[open], Node::Object { .. });
            let end = self.nodes.len();
            match (self.peek()?, in_object) {
                (b'}', true) => self.nodes[open] = Node::Object { end },
                (b']', false) => self.nodes[open] = Node::Array { end },
                (b',', _) => {
                    self.at += 1;
                    if in_object {
                        self.skip_white_space();
                        self.name()?;
                    }
                    return Some(false);
                }
                _ => return None,
            }
            self.at += 1;
            self.open.pop();
        }
    }

    /// A member's name and the colon.
    fn name(&mut self) -> Option<()> {
        let name = match self.peek()? {
            quote @ (b'"' | b'\'') => self.string(quote)?,
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && !"_$-@#*+".contains(c))?;
                self.at += end;
                Some(&rest[..end]).filter(|name| !name.is_empty())?.into()
            }
        };
        self.nodes.push(Node::String(name));
        self.skip_white_space();
        (self.peek()? == b':').then(|| self.at += 1)
    }

    fn string(&mut self, quote: u8) -> Option<Cow<'m, str>> {
        let text = self.text;
        let mut decoded = String::new();
        let mut from = self.at + 1;
        self.at = from;
        loop {
            match self.peek()? {
                b if b == quote => {
                    let rest = &text[from..self.at];
                    self.at += 1;
                    if decoded.is_empty() {
                        return Some(Cow::Borrowed(rest));
                    }
                    decoded.push_str(rest);
                    return Some(Cow::Owned(decoded));
                }
                b'\\' => {
                    decoded.push_str(&text[from..self.at]);
                    self.at += 1;
                    decoded.push(self.escape(quote)?);
                    from = self.at;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    /// What follows a backslash. A surrogate without its twin is U+FFFD.
    fn escape(&mut self, quote: u8) -> Option<char> {
        let escape = self.peek()?;
        self.at += 1;
        Some(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'\'' if quote == b'\'' => '\'',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let before_second = self.at;
                if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    let second = self.hex()?;
                    if (0xdc00..0xe000).contains(&second) {
                        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return char::from_u32(code);
                    }
                    self.at = before_second;
                }
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, b| Some(code << 4 | char::from(*b).to_digit(16)?))
    }

    fn number(&mut self) -> Option<&'m str> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let digits_from = self.at;
        let leading_zero = self.peek() == Some(b'0');
        self.digits()?;
        if leading_zero && self.at > digits_from + 1 {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(&self.text[from..self.at])
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn word(&mut self, word: &str, node: Node<'m>) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            self.nodes.push(node);
        })
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
