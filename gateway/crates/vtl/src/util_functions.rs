//! `$util`: escaping, parsing, form and base64 encoding.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    evaluator::{Evaluator, Interrupt},
    json::Json,
    value::Value,
};

const FUNCTIONS: [&str; 6] =
    ["escapeJavaScript", "parseJson", "urlEncode", "urlDecode", "base64Encode", "base64Decode"];

impl Evaluator<'_> {
    /// A function named without being called.
    pub(crate) fn util_property(name: &str) -> Value {
        if FUNCTIONS.contains(&name) { Value::Uncalled } else { Value::Null }
    }

    pub(crate) fn util_method(
        &mut self,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        if !FUNCTIONS.contains(&name) || arguments.len() != 1 {
            return Ok(None);
        }
        let text = self.argument_text(arguments, 0)?;
        // At worst each byte becomes six.
        self.spend_text(text.len().saturating_mul(6))?;
        let answer = match name {
            "escapeJavaScript" => escape_javascript(&text),
            "urlEncode" => url_encode(&text),
            "urlDecode" => url_decode(&text)?,
            "base64Encode" => STANDARD.encode(text.as_bytes()),
            "base64Decode" => match STANDARD.decode(text.trim().as_bytes()) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(err) => return Err(Interrupt::method(format!("base64Decode: {err}"))),
            },
            _ => {
                let json = Json::parse(&text)
                    .map_err(|err| Interrupt::method(format!("parseJson: {err}")))?;
                self.spend(json.weight())?;
                return Ok(Some(self.heap.import(&json)));
            }
        };
        self.check_length(answer.len())?;
        Ok(Some(Value::text(answer)))
    }
}

/// As Commons Lang 2 does: also `'` and `/`, and everything beyond ASCII by its UTF-16 units.
fn escape_javascript(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' | '/' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='\u{7f}' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
    out
}

/// Form encoding: a space is `+`.
fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// What Java throws on: a `%` without two hex digits. Bytes that are not UTF-8 become U+FFFD.
fn url_decode(text: &str) -> Result<String, Interrupt> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(Interrupt::method("urlDecode: a % without two hex digits"));
                };
                // Two hex digits are a byte.
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            }
            byte => out.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javascript_is_escaped_as_commons_lang_does() {
        assert_eq!(
            escape_javascript("it's \"a/b\\c\"\n\u{1}é😀\u{7f}"),
            "it\\'s \\\"a\\/b\\\\c\\\"\\n\\u0001\\u00E9\\uD83D\\uDE00\u{7f}"
        );
    }

    #[test]
    fn form_encoding_goes_both_ways() {
        assert_eq!(url_encode("a b&c=d/é+~*"), "a+b%26c%3Dd%2F%C3%A9%2B%7E*");
        assert_eq!(url_decode("a+b%26%C3%a9").unwrap(), "a b&é");
        assert!(url_decode("%").is_err());
        assert!(url_decode("%g0").is_err());
    }
}
