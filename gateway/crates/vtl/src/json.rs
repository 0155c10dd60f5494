//! JSON as a tree that keeps the order of its keys, and its reader.
//!
//! In:  text, read as leniently as the service does: single quotes and unquoted keys pass.
//! Out: a tree at most [`MAX_DEPTH`] deep, so that walking and dropping it is safe.
//!
//! Holds always: of the same key twice, the last value is kept, at the place of the first.

use std::{fmt, sync::Arc};

use crate::{numbers::Number, ordered_map::OrderedMap};

/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 200;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number: with a point or an exponent a double, else an integer of any size up to 1,000
    /// digits.
    Number(Number),
    /// A string.
    String(Arc<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object, in the order of its keys.
    Object(OrderedMap<Json>),
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct InvalidJson {
    /// Offset in the text, in bytes.
    pub offset: usize,
    /// What is wrong: lowercase, no full stop.
    pub reason: &'static str,
}

impl Default for Json {
    /// An empty object.
    fn default() -> Self {
        Self::Object(OrderedMap::new())
    }
}

impl Json {
    /// Reads a text, as leniently as the service does.
    ///
    /// # Errors
    /// The text is not JSON, nests deeper than 200, or has an integer of more than 1,000 digits.
    pub fn parse(text: &str) -> Result<Self, InvalidJson> {
        Reader { text, at: 0, depth: 0, may_end_with_commas: false }.whole()
    }

    /// The same; and a comma may stand after the last item or member, as the service admits it in
    /// what the template of a mock gives.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with_commas_at_ends(text: &str) -> Result<Self, InvalidJson> {
        Reader { text, at: 0, depth: 0, may_end_with_commas: true }.whole()
    }

    /// The value under a key of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// What a copy costs in steps: one for each value and for each 64 bytes of its text.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 1,
            Self::String(text) => 1 + text.len() / 64,
            Self::Array(items) => 1 + items.iter().map(Self::weight).sum::<usize>(),
            Self::Object(members) => {
                1 + members
                    .iter()
                    .map(|(key, value)| key.len() / 64 + value.weight())
                    .sum::<usize>()
            }
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            // What serde_json holds reads as a number again.
            Value::Number(number) => Number::from_text(&number.to_string())
                .map_or_else(|| Self::String(number.to_string().into()), Self::Number),
            Value::String(text) => Self::String(text.as_str().into()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(
                members.iter().map(|(key, value)| (key.as_str(), value.into())).collect(),
            ),
        }
    }
}

impl fmt::Display for Json {
    /// Compact JSON text, `/` and what is not ASCII unescaped, as `$input.json` gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl Json {
    /// Compact JSON text, as `Display` gives it, without its detours.
    pub(crate) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool(true) => out.write_str("true"),
            Self::Bool(false) => out.write_str("false"),
            Self::Number(number) => write!(out, "{number}"),
            Self::String(text) => write_string(out, text, Slash::Plain),
            Self::Array(items) => {
                out.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    out.write_str(if index > 0 { "," } else { "" })?;
                    item.write(out)?;
                }
                out.write_char(']')
            }
            Self::Object(members) => {
                out.write_char('{')?;
                for (index, (key, value)) in members.iter().enumerate() {
                    out.write_str(if index > 0 { "," } else { "" })?;
                    write_string(out, key, Slash::Plain)?;
                    out.write_char(':')?;
                    value.write(out)?;
                }
                out.write_char('}')
            }
        }
    }
}

/// How a string of JSON text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slash {
    /// As `$input.json` writes it.
    Plain,
    /// As a parsed array prints: `\/`, and the controls beyond ASCII escaped.
    Escaped,
}

/// Writes a string with its quotes.
pub(crate) fn write_string(out: &mut impl fmt::Write, text: &str, slash: Slash) -> fmt::Result {
    let is_escaped = |c: char| match c {
        '"' | '\\' | '\0'..='\u{1f}' => true,
        '/' | '\u{7f}'..='\u{9f}' | '\u{2000}'..='\u{20ff}' => slash == Slash::Escaped,
        _ => false,
    };
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(is_escaped) {
        out.write_str(&rest[..at])?;
        let mut after = rest[at..].chars();
        match after.next() {
            Some('\n') => out.write_str("\\n")?,
            Some('\r') => out.write_str("\\r")?,
            Some('\t') => out.write_str("\\t")?,
            Some('\u{8}') => out.write_str("\\b")?,
            Some('\u{c}') => out.write_str("\\f")?,
            Some(c @ ('"' | '\\' | '/')) => write!(out, "\\{c}")?,
            Some(c) => write!(out, "\\u{:04X}", u32::from(c))?,
            None => {}
        }
        rest = after.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Whether a comma may stand before `]` and `}`.
    may_end_with_commas: bool,
}

impl Reader<'_> {
    /// The one value of the text.
    fn whole(mut self) -> Result<Json, InvalidJson> {
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        if self.at < self.text.len() { Err(self.wrong("text after the value")) } else { Ok(value) }
    }

    fn wrong(&self, reason: &'static str) -> InvalidJson {
        InvalidJson { offset: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte, if it is the next one after space.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self) -> Result<Json, InvalidJson> {
        match self.peek() {
            None => Err(self.wrong("no value")),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"' | b'\'') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                let rest = &self.text[self.at..];
                let words = [
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                    ("null", Json::Null),
                ];
                for (word, value) in words {
                    if rest.starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.wrong("no value"))
            }
        }
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Json, InvalidJson>,
    ) -> Result<Json, InvalidJson> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("nested more than 200 deep"));
        }
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Json, InvalidJson> {
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value()?);
            if self.takes(b']') {
                return Ok(Json::Array(items));
            }
            if !self.takes(b',') {
                return Err(self.wrong("no `,` or `]` after an item"));
            }
            if self.may_end_with_commas && self.takes(b']') {
                return Ok(Json::Array(items));
            }
        }
    }

    fn object(&mut self) -> Result<Json, InvalidJson> {
        let mut members = OrderedMap::new();
        if self.takes(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = match self.peek() {
                Some(b'"' | b'\'') => self.string()?,
                _ => self.bare_key()?,
            };
            if !self.takes(b':') {
                return Err(self.wrong("no `:` after a key"));
            }
            self.skip_space();
            let value = self.value()?;
            members.insert(key, value);
            if self.takes(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.takes(b',') {
                return Err(self.wrong("no `,` or `}` after a member"));
            }
            if self.may_end_with_commas && self.takes(b'}') {
                return Ok(Json::Object(members));
            }
        }
    }

    fn bare_key(&mut self) -> Result<Arc<str>, InvalidJson> {
        let rest = &self.text[self.at..];
        let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '.');
        let end = rest.find(|c| !is_key(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.wrong("no key"));
        }
        self.at += end;
        Ok(rest[..end].into())
    }

    fn number(&mut self) -> Result<Json, InvalidJson> {
        let rest = &self.text[self.at..];
        let is_part = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let end = rest.bytes().position(|b| !is_part(b)).unwrap_or(rest.len());
        let token = &rest[..end];
        let digits = token.strip_prefix('-').unwrap_or(token);
        let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
        let is_whole = whole == "0" || (!whole.is_empty() && !whole.starts_with('0'));
        let is_closed = token.ends_with(|c: char| c.is_ascii_digit()) && !token.contains(".e");
        match Number::from_text(token) {
            // What is beyond a double would not be JSON when it is written again.
            Some(Number::Double(double)) if !double.is_finite() => {
                Err(self.wrong("no number that can be kept"))
            }
            Some(number) if is_whole && is_closed => {
                self.at += end;
                Ok(Json::Number(number))
            }
            _ => Err(self.wrong("no number that can be kept")),
        }
    }

    fn string(&mut self) -> Result<Arc<str>, InvalidJson> {
        let quote = self.text.as_bytes()[self.at];
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.bytes().position(|b| b == quote || b == b'\\') else {
                return Err(self.wrong("a string without its end"));
            };
            self.at += stop + 1;
            if rest.as_bytes()[stop] == quote {
                if out.is_empty() {
                    return Ok(rest[..stop].into());
                }
                out.push_str(&rest[..stop]);
                return Ok(out.into());
            }
            out.push_str(&rest[..stop]);
            self.escape(&mut out)?;
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut String) -> Result<(), InvalidJson> {
        let byte = self.peek().ok_or_else(|| self.wrong("a string without its end"))?;
        let plain = match byte {
            b'"' | b'\\' | b'/' | b'\'' => char::from(byte),
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                self.at += 1;
                let first = self.unit()?;
                let is_high = (0xd800..0xdc00).contains(&first);
                let after = self.at;
                if is_high && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    let second = self.unit()?;
                    if let Some(Ok(c)) = char::decode_utf16([first, second]).next() {
                        out.push(c);
                        return Ok(());
                    }
                    self.at = after;
                }
                // Half of a pair is no character.
                out.push(char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            _ => return Err(self.wrong("an unknown escape")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    fn unit(&mut self) -> Result<u16, InvalidJson> {
        let digits = self.text.get(self.at..self.at + 4);
        let unit = digits
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok());
        self.at += 4;
        unit.ok_or(InvalidJson { offset: self.at - 4, reason: "no four hex digits after \\u" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_takes_leniently_is_taken() {
        let json = Json::parse(r#" {a:'b', "c" : [1 ,2.50, 'd"'], a-b: null} "#).unwrap();
        assert_eq!(json.to_string(), r#"{"a":"b","c":[1,2.5,"d\""],"a-b":null}"#);
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let inputs = [
            "",
            "{",
            "{bad",
            "{bad}",
            "[1,]",
            "01",
            "1.",
            "-",
            "1e",
            "\"a",
            "[1] x",
            "1e999",
            "\"\\u12\"",
        ];
        for text in inputs {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert_eq!(Json::parse("[1 2]").unwrap_err().offset, 3);
    }

    #[test]
    fn commas_at_ends_are_taken_where_they_are_asked_for_only() {
        let text = "{a: [1, 2, ], }";
        assert!(Json::parse(text).is_err());
        let json = Json::parse_with_commas_at_ends(text).unwrap();
        assert_eq!(json.to_string(), r#"{"a":[1,2]}"#);
        for bad in ["[,]", "{,}", "[1,,]", "{a:1,,}", "[1]  ,"] {
            assert!(Json::parse_with_commas_at_ends(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_and_digits_are_bounded() {
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
        assert!(Json::parse(&"9".repeat(1000)).is_ok());
        assert!(Json::parse(&"9".repeat(1001)).is_err());
    }

    #[test]
    fn surrogate_pairs_are_one_character_and_halves_are_replaced() {
        let json = Json::parse(r#""\ud83d\ude00 \ud83d \ud83dx""#).unwrap();
        assert_eq!(json.as_str(), Some("😀 \u{fffd} \u{fffd}x"));
    }
}
