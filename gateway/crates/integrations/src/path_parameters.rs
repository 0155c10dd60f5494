//! `{NAME}` in a uri: what is mapped to `integration.request.path.NAME` takes its place.
//!
//! In:  a path or a query of a uri, taken apart once; then mapped parameters.
//! Out: the text with their values.
//!
//! Holds always: a value stays inside its own path segment or query parameter, and never makes a
//! path climb.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_flow::request_parameters::MappedParameters;

use crate::IntegrationError;

/// A value in a path or a query: all but the unreserved characters (RFC 3986, 2.3).
pub(crate) const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text, taken apart at its parameters.
#[derive(Debug, Default)]
pub(crate) struct ParameterText(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

impl ParameterText {
    /// Parts a text at its `{NAME}`s; any other brace is text.
    pub(crate) fn parse(text: &str) -> Self {
        let is_name = |name: &str| {
            let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"._$-".contains(&b);
            !name.is_empty() && name.bytes().all(is_letter)
        };
        let mut pieces = Vec::new();
        let mut from = 0;
        for (end, _) in text.match_indices('}') {
            // From each `}` backwards, so that `{{a}` has one.
            let Some(open) = text[from..end].rfind('{').map(|at| from + at) else { continue };
            let name = &text[open + 1..end];
            if is_name(name) {
                pieces.push(Piece::Text(text[from..open].to_owned()));
                pieces.push(Piece::Parameter(name.to_owned()));
                from = end + 1;
            }
        }
        pieces.push(Piece::Text(text[from..].to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Self(pieces)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has_parameters(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Parameter(_)))
    }

    /// The text with `x` for each parameter, to try it before there are values.
    pub(crate) fn sample(&self) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Parameter(_) => "x".to_owned(),
        };
        self.0.iter().map(text).collect()
    }

    /// Appends a path.
    pub(crate) fn append_path(
        &self,
        mapped: &MappedParameters,
        path: &mut String,
    ) -> Result<(), IntegrationError> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Parameter(name) => {
                    let refused = || IntegrationError::PathParameter(name.clone());
                    let value = value(mapped, name)?;
                    let start = path.rfind('/').map_or(0, |slash| slash + 1);
                    path.extend(utf8_percent_encode(value, VALUE));
                    // Dots cannot be encoded away: a server undoes that before it looks.
                    if value.split(['/', '\\']).any(is_dots) || is_dots(&path[start..]) {
                        return Err(refused());
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends a query.
    pub(crate) fn append_query(
        &self,
        mapped: &MappedParameters,
        query: &mut String,
    ) -> Result<(), IntegrationError> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => query.push_str(text),
                Piece::Parameter(name) => {
                    query.extend(utf8_percent_encode(value(mapped, name)?, VALUE));
                }
            }
        }
        Ok(())
    }
}

/// What is mapped to a parameter; nothing usable where it is absent or empty.
fn value<'m>(mapped: &'m MappedParameters, name: &str) -> Result<&'m str, IntegrationError> {
    let found = mapped.path.iter().rfind(|(mapped, _)| mapped == name);
    match found {
        Some((_, value)) if !value.is_empty() => Ok(value),
        _ => Err(IntegrationError::PathParameter(name.to_owned())),
    }
}

/// A path segment that means another one; `...` and longer mean nothing good either.
fn is_dots(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_that_name_nothing_are_text() {
        use Piece::{Parameter, Text};
        let text = |text: &str| Text(text.to_owned());
        let parameter = |name: &str| Parameter(name.to_owned());
        let pieces = |text: &str| ParameterText::parse(text).0;
        assert_eq!(pieces("/a/{b}/c"), [text("/a/"), parameter("b"), text("/c")]);
        assert_eq!(pieces("/{{a}}"), [text("/{"), parameter("a"), text("}")]);
        assert_eq!(pieces("/{}/{a b}/}{"), [text("/{}/{a b}/}{")]);
        assert_eq!(pieces("{a}"), [parameter("a")]);
        assert_eq!(pieces(""), []);
    }
}
