//! `matches`, `split`, `replaceAll` and `replaceFirst`, with patterns as Java writes them.
//!
//! In:  a Java pattern, which is translated to one that never backtracks.
//! Out: what Java answers; a pattern that needs backtracking (look-around, back references,
//!      possessive quantifiers) fails the render with its name.
//!
//! Holds always: one match takes time linear in the text, all of them at worst the square of it; a
//! pattern's size is bounded.

use std::sync::Arc;

use regex::{Captures, Regex, RegexBuilder};

use crate::{
    evaluator::{Evaluator, Interrupt},
    methods::integer,
    value::Value,
};

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4096;

/// What a compiled pattern may take, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// What compiling a pattern costs, in steps, beside its length.
const COMPILING_STEPS: usize = 200;

impl Evaluator<'_> {
    pub(super) fn regex_method(
        &mut self,
        text: &Arc<str>,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        if !matches!(name, "matches" | "split" | "replaceAll" | "replaceFirst") {
            return Ok(None);
        }
        let limit = match (name, arguments) {
            ("matches" | "split", [_]) => 0,
            ("replaceAll" | "replaceFirst", [_, _]) => 0,
            ("split", [_, limit]) => match integer(limit) {
                Some(limit) => limit,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let pattern = self.argument_text(arguments, 0)?;
        let regex = self.pattern(&pattern, name == "matches")?;
        let answer = match name {
            "matches" => Value::Bool(regex.is_match(text)),
            "split" => self.split(text, &regex, limit)?,
            _ => {
                let replacement = Replacement::parse(&self.argument_text(arguments, 1)?)?;
                let limit = if name == "replaceFirst" { 1 } else { usize::MAX };
                Value::text(self.replace(text, &regex, &replacement, limit)?)
            }
        };
        Ok(Some(answer))
    }

    fn pattern(&mut self, java: &Arc<str>, anchored: bool) -> Result<Arc<Regex>, Interrupt> {
        let parts = self.parts;
        let prepared = if anchored { &parts.anchored } else { &parts.patterns };
        if let Some(regex) = prepared.get(&**java) {
            return Ok(regex.clone());
        }
        let key = (java.clone(), anchored);
        if let Some(regex) = self.patterns.get(&key) {
            return Ok(regex.clone());
        }
        self.spend(COMPILING_STEPS + java.len())?;
        let regex = Arc::new(compile(java, anchored).map_err(Interrupt::method)?);
        self.patterns.insert(key, regex.clone());
        Ok(regex)
    }

    /// Java's `split`: no empty first piece for an empty match, and with limit 0 no empty pieces at
    /// the end.
    fn split(&mut self, text: &str, regex: &Regex, limit: i64) -> Result<Value, Interrupt> {
        let most = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut pieces: Vec<&str> = Vec::new();
        let mut from = 0;
        for found in regex.find_iter(text) {
            self.spend(1)?;
            if pieces.len() + 1 >= most {
                break;
            }
            if found.end() == 0 || (found.is_empty() && found.start() == text.len()) {
                continue;
            }
            pieces.push(&text[from..found.start()]);
            from = found.end();
        }
        pieces.push(&text[from..]);
        if limit == 0 && pieces.len() > 1 {
            while pieces.last().is_some_and(|piece| piece.is_empty()) {
                pieces.pop();
            }
        }
        self.spend(pieces.len())?;
        let items = pieces.into_iter().map(Value::text).collect();
        Ok(self.heap.template_list(items))
    }

    fn replace(
        &mut self,
        text: &str,
        regex: &Regex,
        replacement: &Replacement,
        limit: usize,
    ) -> Result<String, Interrupt> {
        let mut out = String::new();
        let mut from = 0;
        for captures in regex.captures_iter(text).take(limit) {
            let Some(whole) = captures.get(0) else { continue };
            self.spend(1)?;
            self.write(&mut out, &text[from..whole.start()])?;
            for piece in &replacement.pieces {
                for text in piece.text(&captures)? {
                    self.write(&mut out, text)?;
                }
            }
            from = whole.end();
        }
        self.write(&mut out, &text[from..])?;
        Ok(out)
    }
}

/// Compiles a pattern as Java writes it; `anchored`: it must match the whole text.
pub(crate) fn compile(java: &str, anchored: bool) -> Result<Regex, String> {
    if java.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes"));
    }
    let wrong = |reason: &str| format!("the pattern {java:?}: {reason}");
    let translated = translate(java).map_err(wrong)?;
    let whole = if anchored { format!("\\A(?:{translated})\\z") } else { translated };
    RegexBuilder::new(&whole)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(50)
        .build()
        .map_err(|err| {
            let last = err.to_string();
            wrong(last.lines().last().unwrap_or_default())
        })
}

/// What replaces a match: `$1`, `${name}`, and a backslash before what is meant literally.
struct Replacement {
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    /// The digits after `$`; as many count as name a group of the pattern.
    Group(String),
    Named(String),
}

impl Replacement {
    fn parse(text: &str) -> Result<Self, Interrupt> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(c) => plain.push(c),
                    None => return Err(Interrupt::method("a replacement ends with a backslash")),
                },
                '$' => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    let piece = match chars.next() {
                        Some(c) if c.is_ascii_digit() => {
                            let mut digits = String::from(c);
                            while let Some(c) = chars.next_if(char::is_ascii_digit) {
                                digits.push(c);
                            }
                            Piece::Group(digits)
                        }
                        Some('{') => {
                            let mut name = String::new();
                            while let Some(c) = chars.next_if(|c| *c != '}') {
                                name.push(c);
                            }
                            chars.next();
                            Piece::Named(name)
                        }
                        _ => {
                            return Err(Interrupt::method(
                                "a `$` in a replacement needs a group's number after it",
                            ));
                        }
                    };
                    pieces.push(piece);
                }
                c => plain.push(c),
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces })
    }
}

impl Piece {
    /// What it stands for, in two parts: a group's text and the digits that name no group.
    fn text<'t>(&'t self, captures: &'t Captures<'_>) -> Result<[&'t str; 2], Interrupt> {
        match self {
            Self::Text(text) => Ok([text, ""]),
            Self::Named(name) => Ok([captures.name(name).map_or("", |found| found.as_str()), ""]),
            Self::Group(digits) => {
                // A further digit counts only while that still names a group.
                let group = |end: &usize| {
                    let group = digits[..*end].parse::<usize>().ok()?;
                    (group < captures.len()).then_some((group, *end))
                };
                let (group, end) =
                    (1..=digits.len()).map_while(|end| group(&end)).last().ok_or_else(|| {
                        Interrupt::method(format!("the pattern has no group {digits}"))
                    })?;
                Ok([captures.get(group).map_or("", |found| found.as_str()), &digits[end..]])
            }
        }
    }
}

/// A Java pattern in the syntax of the `regex` crate, where the same signs mean something else.
fn translate(java: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(java.len());
    let mut chars = java.chars().peekable();
    let mut classes = 0_usize;
    // With the flag `s` a dot is any character.
    let dot_is_all = java.contains("(?s");
    let mut after_quantifier = false;
    while let Some(c) = chars.next() {
        let was_quantifier = std::mem::take(&mut after_quantifier);
        match c {
            '\\' => match chars.next() {
                None => return Err("it ends with a backslash"),
                Some('Q') => {
                    let rest: String = chars.clone().collect();
                    let quoted = rest.split("\\E").next().unwrap_or_default();
                    out.push_str(&regex::escape(quoted));
                    let skipped = quoted.chars().count();
                    let has_end = rest.len() > quoted.len();
                    for _ in 0..skipped + if has_end { 2 } else { 0 } {
                        chars.next();
                    }
                }
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[A-Za-z0-9_]"),
                Some('W') => out.push_str("[^A-Za-z0-9_]"),
                Some('s') => out.push_str("[ \\t\\n\\x0B\\f\\r]"),
                Some('S') => out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
                Some('h') => out.push_str(
                    "[ \\t\\u{A0}\\u{1680}\\u{180E}\\u{2000}-\\u{200A}\\u{202F}\\u{205F}\\u{3000}]",
                ),
                Some('R') => out.push_str("(?:\\r\\n|[\\n\\x0B\\f\\r\\u{85}\\u{2028}\\u{2029}])"),
                Some('e') => out.push_str("\\x1B"),
                Some('Z') => out.push_str("\\z"),
                Some('0'..='9' | 'k') => return Err("back references are not supported"),
                // The signs themselves in Java, the ends of a word in the other syntax.
                Some(c @ ('<' | '>')) => out.push(c),
                Some(c) if c.is_ascii_alphanumeric() => out.extend(['\\', c]),
                Some(c) => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            },
            '[' => {
                classes += 1;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ']' if classes > 0 => {
                classes -= 1;
                out.push(']');
            }
            // `--` and `~~` are operations of classes only in the other syntax.
            '-' | '~' if classes > 0 && chars.peek() == Some(&c) => {
                chars.next();
                out.extend(['\\', c, '\\', c]);
            }
            '.' if classes == 0 && !dot_is_all => {
                out.push_str("[^\\n\\r\\u{85}\\u{2028}\\u{2029}]");
            }
            '(' if classes == 0 && chars.peek() == Some(&'?') => {
                let ahead: String = chars.clone().skip(1).take(2).collect();
                if ahead.starts_with(['=', '!', '>']) || ahead == "<=" || ahead == "<!" {
                    return Err("look-around and atomic groups are not supported");
                }
                out.push('(');
            }
            '+' if classes == 0 && was_quantifier => {
                return Err("possessive quantifiers are not supported");
            }
            '*' | '+' | '?' | '}' if classes == 0 => {
                after_quantifier = !was_quantifier;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}
