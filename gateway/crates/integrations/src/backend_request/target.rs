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
use percent_encoding::{AsciiSet, CONTROLS, percent_encode, utf8_percent_encode};
use tidegate_flow::{context::UpgradeRequest, request_parameters::MappedParameters};
use tidegate_model::{BackendUri, ParameterTarget, RequestParameter};

use crate::{
    IntegrationError,
    path_parameters::{ParameterText, VALUE},
};

/// A query that is passed on: what was encoded stays so, what no query may hold becomes so.
const WHOLE_QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// A target in all that no event changes.
#[derive(Debug)]
pub(super) struct TargetTemplate {
    path: ParameterText,
    /// The uri's own.
    query: Option<String>,
    /// Path and query, for events that add nothing to either. `None` with path parameters.
    fixed: Option<Uri>,
    mapped_queries: Vec<String>,
}

impl TargetTemplate {
    pub(super) fn new(
        uri: &BackendUri,
        parameters: &[RequestParameter],
    ) -> Result<Self, http::uri::InvalidUri> {
        let path = ParameterText::parse(&uri.path);
        let has_parameters = path.has_parameters();
        // Tried here, so that no call can meet a uri that HTTP does not allow.
        let sample = target(path.sample(), uri.query.as_deref(), "")?;
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
        let mut path = String::new();
        self.path.append_path(mapped, &mut path)?;
        // The template and all encodings allow no other failure than the length.
        target(path, self.query.as_deref(), &added).map_err(|_| IntegrationError::UriTooLong)
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

/// Path and query, `own` and what is `added` to it.
fn target(mut path: String, own: Option<&str>, added: &str) -> Result<Uri, http::uri::InvalidUri> {
    let parts = [own.unwrap_or(""), added];
    for (part, mark) in parts.into_iter().filter(|part| !part.is_empty()).zip(['?', '&']) {
        path.push(mark);
        path.push_str(part);
    }
    PathAndQuery::try_from(path).map(Uri::from)
}
