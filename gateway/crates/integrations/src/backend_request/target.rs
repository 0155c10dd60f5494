//! The target of a backend request: path and query.
//!
//! In:  the integration's uri with its stage variables expanded, made into a template once; then
//!      what an event's parameters map to, and on `$connect` the client's query.
//! Out: the target, as the request line has it.
//!
//! Holds always: what is mapped stays inside its own path segment or query parameter and never
//! makes a path climb; the uri's own query comes first; where a query parameter is mapped, the
//! client's of that name is gone.

use http::{Uri, uri::PathAndQuery};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use tidegate_flow::{context::UpgradeRequest, request_parameters::MappedParameters};
use tidegate_model::{BackendUri, ParameterTarget, RequestParameter};

use crate::IntegrationError;

/// A value in a path or a query: all but the unreserved characters (RFC 3986, 2.3).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query that is passed on: what was encoded stays so, what no query may hold becomes so.
const WHOLE_QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// A target in all that no event changes.
#[derive(Debug)]
pub(super) struct TargetTemplate {
    path: Vec<PathPiece>,
    /// The uri's own.
    query: Option<String>,
    /// Path and query, for events that add nothing to either. `None` with path parameters.
    fixed: Option<Uri>,
    mapped_queries: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum PathPiece {
    Text(String),
    Parameter(String),
}

impl TargetTemplate {
    pub(super) fn new(
        uri: &BackendUri,
        parameters: &[RequestParameter],
    ) -> Result<Self, http::uri::InvalidUri> {
        let path = path_pieces(&uri.path);
        let has_parameters = path.iter().any(|piece| matches!(piece, PathPiece::Parameter(_)));
        let sample: String = path
            .iter()
            .map(|piece| match piece {
                PathPiece::Text(text) => text.as_str(),
                PathPiece::Parameter(_) => "x",
            })
            .collect();
        // Tried here, so that no call can meet a uri that HTTP does not allow.
        let sample = target(sample, uri.query.as_deref(), "")?;
        Ok(Self {
            path,
            query: uri.query.clone(),
            fixed: (!has_parameters).then_some(sample),
            mapped_queries: parameters
                .iter()
                .filter_map(|parameter| match &parameter.target {
                    ParameterTarget::QueryString(name) => Some(name.clone()),
                    ParameterTarget::Header(_) | ParameterTarget::Path(_) => None,
                })
                .collect(),
        })
    }

    /// The target for one event, of which the client's query is `passed_on`.
    pub(super) fn fill(
        &self,
        passed_on: Option<&UpgradeRequest>,
        mapped: &MappedParameters,
    ) -> Result<Uri, IntegrationError> {
        let added = self.added_query(passed_on, mapped);
        if let (Some(fixed), true) = (&self.fixed, added.is_empty()) {
            return Ok(fixed.clone());
        }
        let path = self.path(mapped)?;
        // The template and all encodings allow no other failure than the length.
        target(path, self.query.as_deref(), &added).map_err(|_| IntegrationError::UriTooLong)
    }

    fn path(&self, mapped: &MappedParameters) -> Result<String, IntegrationError> {
        let mut path = String::new();
        for piece in &self.path {
            match piece {
                PathPiece::Text(text) => path.push_str(text),
                PathPiece::Parameter(name) => {
                    let refused = || IntegrationError::PathParameter(name.clone());
                    let value = mapped.path.iter().rfind(|(mapped, _)| mapped == name);
                    let (_, value) =
                        value.filter(|(_, value)| !value.is_empty()).ok_or_else(refused)?;
                    // Dots cannot be encoded away: a server undoes that before it looks.
                    let climbs = |value: &str| value.split(['/', '\\']).any(is_dots);
                    let start = path.rfind('/').map_or(0, |slash| slash + 1);
                    path.extend(utf8_percent_encode(value, VALUE));
                    if climbs(value) || is_dots(&path[start..]) {
                        return Err(refused());
                    }
                }
            }
        }
        Ok(path)
    }

    /// What the client and the mappings add to the uri's own query.
    fn added_query(&self, passed_on: Option<&UpgradeRequest>, mapped: &MappedParameters) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(name, VALUE));
            query.push('=');
            query.extend(utf8_percent_encode(value, VALUE));
        };
        if let Some(upgrade) = passed_on {
            if self.mapped_queries.is_empty() {
                return percent_encode(upgrade.raw_query.as_bytes(), WHOLE_QUERY).to_string();
            }
            // A backend that trusts a mapped parameter must not meet the client's.
            let is_mapped = |name: &String| self.mapped_queries.contains(name);
            for (name, value) in upgrade.query.iter().filter(|(name, _)| !is_mapped(name)) {
                add(name, value);
            }
        }
        for (name, value) in &mapped.query {
            add(name, value);
        }
        query
    }
}

/// A path segment that means another one; `...` and longer mean nothing good either.
fn is_dots(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b == b'.')
}

/// Path and query, `own` and what is `added` to it.
fn target(mut path: String, own: Option<&str>, added: &str) -> Result<Uri, http::uri::InvalidUri> {
    let parts = [own.unwrap_or(""), added];
    for (part, mark) in parts.into_iter().filter(|part| !part.is_empty()).zip(['?', '&']) {
        path.push(mark);
        path.push_str(part);
    }
    PathAndQuery::try_from(path).map(Uri::from)
}

/// Parts a path at its `{NAME}`s; any other brace is text.
fn path_pieces(path: &str) -> Vec<PathPiece> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._$-".contains(&b))
    };
    let mut pieces = Vec::new();
    let mut from = 0;
    for (end, _) in path.match_indices('}') {
        // From each `}` backwards, so that `{{a}` has one.
        let Some(open) = path[from..end].rfind('{').map(|at| from + at) else { continue };
        let name = &path[open + 1..end];
        if is_name(name) {
            pieces.push(PathPiece::Text(path[from..open].to_owned()));
            pieces.push(PathPiece::Parameter(name.to_owned()));
            from = end + 1;
        }
    }
    pieces.push(PathPiece::Text(path[from..].to_owned()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_that_name_nothing_are_text() {
        use PathPiece::{Parameter, Text};
        let text = |text: &str| Text(text.to_owned());
        let parameter = |name: &str| Parameter(name.to_owned());
        assert_eq!(path_pieces("/a/{b}/c"), [text("/a/"), parameter("b"), text("/c")]);
        assert_eq!(path_pieces("/{{a}}"), [text("/{"), parameter("a"), text("}")]);
        assert_eq!(path_pieces("/{}/{a b}/}"), [text("/{}/{a b}/}")]);
    }
}
