//! The target of a call to a service: path and query, with what is mapped into them.
//!
//! In:  path and query of a uri, made into a template once; then mapped parameters.
//! Out: a request target.
//!
//! Holds always: what is mapped stays inside its own path segment or query parameter, and never
//! makes a path climb.

use http::{Uri, uri::PathAndQuery};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_flow::request_parameters::MappedParameters;

use crate::IntegrationError;

/// A value in a path or a query: all but the unreserved characters (RFC 3986, 2.3).
pub(super) const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A target in all that no call changes.
#[derive(Debug)]
pub(super) struct Target {
    path: Vec<Piece>,
    query: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{NAME}`.
    Parameter(String),
}

impl Target {
    /// `None` if HTTP does not allow such a target.
    pub(super) fn new(path: &str, query: Option<&str>) -> Option<Self> {
        let this = Self { path: pieces(path), query: pieces(query.unwrap_or_default()) };
        // Tried here, so that no call can meet a target that HTTP does not allow.
        let sample = |pieces: &[Piece]| -> String {
            let text = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Parameter(_) => "x".to_owned(),
            };
            pieces.iter().map(text).collect()
        };
        let (path, query) = (sample(&this.path), sample(&this.query));
        PathAndQuery::try_from(format!("{path}?{query}")).is_ok().then_some(this)
    }

    /// The target with its parameters, and `more` and the mapped ones after its query.
    pub(super) fn fill(
        &self,
        mapped: &MappedParameters,
        more: &[(&str, &str)],
    ) -> Result<Uri, IntegrationError> {
        let mut target = String::new();
        for piece in &self.path {
            match piece {
                Piece::Text(text) => target.push_str(text),
                Piece::Parameter(name) => {
                    let refused = || IntegrationError::PathParameter(name.clone());
                    let value = parameter(mapped, name).ok_or_else(refused)?;
                    let start = target.rfind('/').map_or(0, |slash| slash + 1);
                    target.extend(utf8_percent_encode(value, VALUE));
                    // Dots cannot be encoded away: a server undoes that before it looks.
                    if value.split(['/', '\\']).any(is_dots) || is_dots(&target[start..]) {
                        return Err(refused());
                    }
                }
            }
        }
        let mut mark = '?';
        if !self.query.is_empty() {
            target.push(mark);
            mark = '&';
        }
        for piece in &self.query {
            match piece {
                Piece::Text(text) => target.push_str(text),
                Piece::Parameter(name) => {
                    let value = parameter(mapped, name)
                        .ok_or_else(|| IntegrationError::PathParameter(name.clone()))?;
                    target.extend(utf8_percent_encode(value, VALUE));
                }
            }
        }
        let mapped = mapped.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in more.iter().copied().chain(mapped) {
            target.push(mark);
            mark = '&';
            target.extend(utf8_percent_encode(name, VALUE));
            target.push('=');
            target.extend(utf8_percent_encode(value, VALUE));
        }
        // The template and all encodings allow no other failure than the length.
        PathAndQuery::try_from(target).map(Uri::from).map_err(|_| IntegrationError::UriTooLong)
    }

    /// Whether the template's own query has the parameter `name`.
    pub(super) fn has_query(&self, name: &str) -> bool {
        let text = self.query.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Parameter(_) => "x",
        });
        has_parameter(text.collect::<String>().as_bytes(), name)
    }
}

/// Whether a query or a form has the parameter `name`, which needs no percent-encoding.
pub(super) fn has_parameter(form: &[u8], name: &str) -> bool {
    form.split(|b| *b == b'&').any(|pair| {
        let key = pair.split(|b| *b == b'=').next().unwrap_or_default();
        key.trim_ascii() == name.as_bytes()
    })
}

fn parameter<'m>(mapped: &'m MappedParameters, name: &str) -> Option<&'m str> {
    let (_, value) = mapped.path.iter().rfind(|(mapped, _)| mapped == name)?;
    (!value.is_empty()).then_some(value)
}

/// A path segment that means another one; `...` and longer mean nothing good either.
fn is_dots(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b == b'.')
}

/// Parts a text at its `{NAME}`s; any other brace is text.
fn pieces(text: &str) -> Vec<Piece> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._$-".contains(&b))
    };
    let mut pieces = Vec::new();
    let push_text = |pieces: &mut Vec<Piece>, text: &str| {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
    };
    let mut from = 0;
    for (end, _) in text.match_indices('}') {
        // From each `}` backwards, so that `{{a}` has one.
        let Some(open) = text[from..end].rfind('{').map(|at| from + at) else { continue };
        let name = &text[open + 1..end];
        if is_name(name) {
            push_text(&mut pieces, &text[from..open]);
            pieces.push(Piece::Parameter(name.to_owned()));
            from = end + 1;
        }
    }
    push_text(&mut pieces, &text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(path: &[(&str, &str)], query: &[(&str, &str)]) -> MappedParameters {
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        MappedParameters {
            headers: Vec::new(),
            query: query.iter().map(owned).collect(),
            path: path.iter().map(owned).collect(),
        }
    }

    fn fill(path: &str, query: Option<&str>, mapped: &MappedParameters) -> Result<String, String> {
        let target = Target::new(path, query).unwrap();
        target.fill(mapped, &[]).map(|uri| uri.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_stay_in_their_segment_and_their_query_parameter() {
        let mapped = mapped(&[("key", "a/b c&d"), ("n", "ä")], &[("q", "1&2")]);
        assert_eq!(
            fill("/x/{key}", Some("n={n}&m"), &mapped).unwrap(),
            "/x/a%2Fb%20c%26d?n=%C3%A4&m&q=1%262"
        );
        assert_eq!(fill("/{{key}}", None, &mapped).unwrap(), "/{a%2Fb%20c%26d}?q=1%262");
    }

    #[test]
    fn a_parameter_that_is_absent_empty_or_climbs_fails_the_call() {
        for path in [vec![], vec![("key", "")], vec![("key", "..")], vec![("key", "a/../b")]] {
            let mapped = mapped(&path, &[]);
            assert!(fill("/x/{key}", None, &mapped).unwrap_err().contains("{key}"), "{path:?}");
        }
        assert!(fill("/x/.{key}", None, &mapped(&[("key", ".")], &[])).is_err());
    }

    #[test]
    fn what_http_does_not_allow_is_no_target() {
        assert!(Target::new("/a<b", None).is_none());
        assert!(Target::new("/a b", None).is_none());
    }

    #[test]
    fn a_form_has_a_parameter_by_its_whole_name() {
        assert!(has_parameter(b"Action=SendMessage", "Action"));
        assert!(has_parameter(b"A=b&\n Action=c", "Action"), "templates have line breaks");
        assert!(!has_parameter(b"MyAction=x&b=Action=c", "Action"));
    }
}
