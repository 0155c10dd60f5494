//! Methods of strings. Lengths and indexes count UTF-16 units, as in Java.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    evaluator::{Evaluator, Interrupt},
    methods::integer,
    numbers::Number,
    value::Value,
};

impl Evaluator<'_> {
    pub(super) fn string_method(
        &mut self,
        text: &Arc<str>,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        self.spend_text(text.len())?;
        if let Some(answer) = self.string_part(text, name, arguments)? {
            return Ok(Some(answer));
        }
        if let Some(answer) = self.regex_method(text, name, arguments)? {
            return Ok(Some(answer));
        }
        let answer = match (name, arguments) {
            ("length", []) => Value::count(units(text)),
            ("isEmpty", []) => Value::Bool(text.is_empty()),
            ("trim", []) => Value::text(text.trim_matches(|c| c <= ' ')),
            ("toLowerCase", []) => Value::text(text.to_lowercase()),
            ("toUpperCase", []) => Value::text(text.to_uppercase()),
            ("hashCode", []) => Value::Number(Number::Int(i64::from(hash_code(text)))),
            (
                "contains"
                | "startsWith"
                | "endsWith"
                | "equalsIgnoreCase"
                | "compareTo"
                | "compareToIgnoreCase"
                | "concat",
                [_],
            ) => {
                let other = self.argument_text(arguments, 0)?;
                match name {
                    "contains" => Value::Bool(text.contains(&*other)),
                    "startsWith" => Value::Bool(text.starts_with(&*other)),
                    "endsWith" => Value::Bool(text.ends_with(&*other)),
                    "equalsIgnoreCase" => Value::Bool(text.to_lowercase() == other.to_lowercase()),
                    "compareTo" => compare(text, &other),
                    "compareToIgnoreCase" => compare(&text.to_lowercase(), &other.to_lowercase()),
                    _ => {
                        self.check_length(text.len() + other.len())?;
                        Value::text(format!("{text}{other}"))
                    }
                }
            }
            ("startsWith", [_, from]) => {
                let other = self.argument_text(arguments, 0)?;
                let Some(from) = integer(from) else { return Ok(None) };
                let at = usize::try_from(from).ok().and_then(|from| byte_offset(text, from));
                Value::Bool(at.is_some_and(|at| text[at..].starts_with(&*other)))
            }
            ("replace", [_, _]) => {
                let (from, to) =
                    (self.argument_text(arguments, 0)?, self.argument_text(arguments, 1)?);
                let count = text.matches(&*from).count();
                let length = text.len().saturating_add(count.saturating_mul(to.len()));
                self.spend_text(length)?;
                self.check_length(length)?;
                Value::text(text.replace(&*from, &to))
            }
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    /// Methods that take indexes.
    fn string_part(
        &mut self,
        text: &Arc<str>,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        let answer = match (name, arguments) {
            ("substring" | "subSequence", [from]) => {
                let Some(from) = integer(from) else { return Ok(None) };
                substring(text, from, i64::try_from(units(text)).unwrap_or(i64::MAX))?
            }
            ("substring" | "subSequence", [from, to]) => {
                let (Some(from), Some(to)) = (integer(from), integer(to)) else { return Ok(None) };
                substring(text, from, to)?
            }
            ("charAt", [at]) => {
                let Some(at) = integer(at) else { return Ok(None) };
                substring(text, at, at.saturating_add(1))?
            }
            ("indexOf", [what]) => place(text, text.find(&*self.sought(what)?)),
            ("lastIndexOf", [what]) => place(text, text.rfind(&*self.sought(what)?)),
            ("indexOf", [what, from]) => {
                let Some(from) = integer(from) else { return Ok(None) };
                let what = self.sought(what)?;
                let start = byte_offset(text, usize::try_from(from).unwrap_or(0));
                let start = start.unwrap_or(text.len());
                place(text, text[start..].find(&*what).map(|found| start + found))
            }
            ("lastIndexOf", [what, from]) => {
                let Some(from) = integer(from) else { return Ok(None) };
                let what = self.sought(what)?;
                let last = usize::try_from(from)
                    .ok()
                    .map(|from| byte_offset(text, from).unwrap_or(text.len()));
                let found = last.and_then(|last| {
                    let end = (last + what.len()).min(text.len());
                    // The end of what begins at `last` or before, moved to a character's end.
                    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end))?;
                    text[..end].rfind(&*what).filter(|at| *at <= last)
                });
                place(text, found)
            }
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    /// What `indexOf` looks for: a string, or a character by its code.
    fn sought(&mut self, what: &Value) -> Result<Arc<str>, Interrupt> {
        let code = integer(what).and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
        match code {
            Some(c) => Ok(Arc::from(c.to_string())),
            None => self.text_of(what),
        }
    }
}

/// Length in UTF-16 units.
fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// The byte offset of a UTF-16 index; inside a pair, the pair's end. `None` past the end.
fn byte_offset(text: &str, index: usize) -> Option<usize> {
    if text.is_ascii() {
        return (index <= text.len()).then_some(index);
    }
    let mut at = 0;
    for (offset, c) in text.char_indices() {
        if at >= index {
            return Some(offset);
        }
        at += c.len_utf16();
    }
    (at >= index).then_some(text.len())
}

/// Where something was found, in UTF-16 units, or -1.
fn place(text: &str, offset: Option<usize>) -> Value {
    match offset {
        Some(offset) => Value::count(units(&text[..offset])),
        None => Value::Number(Number::Int(-1)),
    }
}

/// A part of a string; half of a pair becomes U+FFFD.
fn substring(text: &str, from: i64, to: i64) -> Result<Value, Interrupt> {
    let length = units(text);
    let wrong =
        || Interrupt::method(format!("no part from {from} to {to} in a string of length {length}"));
    let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) else {
        return Err(wrong());
    };
    if from > to || to > length {
        return Err(wrong());
    }
    if text.is_ascii() {
        return Ok(Value::text(&text[from..to]));
    }
    let part: Vec<u16> = text.encode_utf16().skip(from).take(to - from).collect();
    Ok(Value::text(String::from_utf16_lossy(&part)))
}

/// Java's `compareTo`: the difference of the first units that differ, else of the lengths.
fn compare(left: &str, right: &str) -> Value {
    let differing = left.encode_utf16().zip(right.encode_utf16()).find(|(a, b)| a != b);
    let difference = match differing {
        Some((a, b)) => i64::from(a) - i64::from(b),
        None => {
            let (a, b) = (units(left), units(right));
            let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
            if a.cmp(&b) == Ordering::Less { -size } else { size }
        }
    };
    Value::Number(Number::Int(difference))
}

/// Java's `String.hashCode`.
fn hash_code(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}
