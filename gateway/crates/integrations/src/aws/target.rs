//! The target of a call to a service: path and query, with what is mapped into them.
//!
//! In:  path and query of a uri, made into a template once; then mapped parameters.
//! Out: a request target.
//!
//! Holds always: what is mapped stays inside its own path segment or query parameter, and never
//! makes a path climb.

use http::{Uri, uri::PathAndQuery};
use percent_encoding::utf8_percent_encode;
use tidegate_flow::request_parameters::MappedParameters;

use crate::{
    IntegrationError,
    path_parameters::{ParameterText, VALUE},
};

/// A target in all that no call changes.
#[derive(Debug)]
pub(super) struct Target {
    path: ParameterText,
    query: ParameterText,
}

impl Target {
    /// `None` if HTTP does not allow such a target.
    pub(super) fn new(path: &str, query: Option<&str>) -> Option<Self> {
        let this = Self {
            path: ParameterText::parse(path),
            query: ParameterText::parse(query.unwrap_or_default()),
        };
        // Tried here, so that no call can meet a target that HTTP does not allow.
        let (path, query) = (this.path.sample(), this.query.sample());
        PathAndQuery::try_from(format!("{path}?{query}")).is_ok().then_some(this)
    }

    /// The target with its parameters, and `more` and the mapped ones after its query.
    pub(super) fn fill(
        &self,
        mapped: &MappedParameters,
        more: &[(&str, &str)],
    ) -> Result<Uri, IntegrationError> {
        let mut target = String::new();
        self.path.append_path(mapped, &mut target)?;
        let mut mark = '?';
        if !self.query.is_empty() {
            target.push(mark);
            mark = '&';
        }
        self.query.append_query(mapped, &mut target)?;
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
        has_parameter(self.query.sample().as_bytes(), name)
    }
}

/// Whether a query or a form has the parameter `name`, which needs no percent-encoding.
pub(super) fn has_parameter(form: &[u8], name: &str) -> bool {
    form.split(|b| *b == b'&').any(|pair| {
        let key = pair.split(|b| *b == b'=').next().unwrap_or_default();
        key.trim_ascii() == name.as_bytes()
    })
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
