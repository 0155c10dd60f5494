//! What templates write under `$context.requestOverride` and `$context.responseOverride`
//! (mapping-templates, section 11).
//!
//! In:  `$context` as a template left it.
//! Out: parameters for the backend's request; a status and headers for the answer; and all of it
//!      again for the next template of the same run, which may read what the first one kept there.
//!
//! Holds always: a header's value has no control character in it; a name that no header can have
//! names nothing, so that a template may keep things under it.

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_vtl::{ContextAfter, Found, Json, Number, OrderedMap, Source as _};

use crate::request_parameters::MappedParameters;

const REQUEST: (&str, &[&str]) = ("requestOverride", &["header", "path", "querystring"]);
const RESPONSE: (&str, &[&str]) = ("responseOverride", &["header"]);

/// What the templates of one run wrote. Empty at its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// `requestOverride`, if anything was written anywhere.
    request: Option<Json>,
    /// `responseOverride`, if anything was written anywhere.
    response: Option<Json>,
}

impl Written {
    /// What a render left; `before` if it wrote nothing.
    pub(super) fn after(context: &ContextAfter, before: &Self) -> Self {
        match context {
            ContextAfter::Unchanged => before.clone(),
            ContextAfter::Object(context) => Self {
                request: Some(whole(context, REQUEST)),
                response: Some(whole(context, RESPONSE)),
            },
            ContextAfter::Lost => Self::default(),
        }
    }

    /// The same without what is meant for the answer: only a mock's request template may give
    /// that.
    pub(super) fn for_backend(self) -> Self {
        Self { response: None, ..self }
    }

    /// What is at a path of `$context` that starts with one of the two.
    pub(super) fn find(&self, path: &[&str]) -> Found<'_> {
        let Some((first, rest)) = path.split_first() else { return Found::Nothing };
        let (held, (_, inner)) =
            if *first == REQUEST.0 { (&self.request, REQUEST) } else { (&self.response, RESPONSE) };
        match (held, rest) {
            (Some(json), _) => json.find(rest),
            (None, []) => Found::Object,
            (None, [name]) if inner.contains(name) => Found::Object,
            (None, _) => Found::Nothing,
        }
    }

    /// Adds both to `$context`.
    pub(super) fn put_into(&self, context: &mut OrderedMap<Json>) {
        for ((name, inner), held) in [(REQUEST, &self.request), (RESPONSE, &self.response)] {
            let json = held.clone().unwrap_or_else(|| empty(inner));
            context.insert(name.into(), json);
        }
    }

    /// Headers, query and path parameters of the backend's request. They go before mapped ones of
    /// the same names, see [`override_parameters`].
    pub fn parameters(&self) -> MappedParameters {
        let texts = |kind| {
            let values = self.request.iter().flat_map(move |json| entries(json, kind));
            values.map(|(name, value)| (name.to_owned(), value))
        };
        MappedParameters {
            headers: texts("header")
                .filter_map(|(name, value)| {
                    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, header_value(&value)))
                })
                .collect(),
            query: texts("querystring").collect(),
            path: texts("path").collect(),
        }
    }

    /// The status that replaces the answer's: an integer from 100 to 599; anything else is none.
    pub(super) fn status(&self) -> Option<u16> {
        match self.response.as_ref()?.get("status")? {
            Json::Number(Number::Int(status)) => {
                u16::try_from(*status).ok().filter(|status| (100..=599).contains(status))
            }
            _ => None,
        }
    }

    /// Replaces headers of the answer.
    pub(super) fn put_headers(&self, headers: &mut HeaderMap) {
        let Some(json) = &self.response else { return };
        for (name, value) in entries(json, "header") {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(&header_value(&value));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Lets overrides take the places of mapped parameters of the same names.
pub fn override_parameters(mapped: &mut MappedParameters, overrides: MappedParameters) {
    replace(&mut mapped.headers, overrides.headers);
    replace(&mut mapped.query, overrides.query);
    replace(&mut mapped.path, overrides.path);
}

fn replace<N: PartialEq>(mapped: &mut Vec<(N, String)>, overrides: Vec<(N, String)>) {
    mapped.retain(|(name, _)| overrides.iter().all(|(other, _)| other != name));
    mapped.extend(overrides);
}

/// A value with a space for each control character, as mapped headers have it.
pub(super) fn header_value(value: &str) -> String {
    value.replace(|c: char| c.is_control(), " ").trim_matches(' ').to_owned()
}

/// One of the two, with the objects in it that the next template may write to.
fn whole(context: &Json, (name, inner): (&str, &[&str])) -> Json {
    let Some(Json::Object(held)) = context.get(name) else { return empty(inner) };
    let mut held = held.clone();
    for name in inner {
        if !matches!(held.get(name), Some(Json::Object(_))) {
            held.insert((*name).into(), Json::default());
        }
    }
    Json::Object(held)
}

fn empty(inner: &[&str]) -> Json {
    Json::Object(inner.iter().map(|name| (*name, Json::default())).collect())
}

/// Names and texts of one kind. A list is its items with commas between; null is left out.
fn entries<'j>(json: &'j Json, kind: &str) -> impl Iterator<Item = (&'j str, String)> {
    let members = match json.get(kind) {
        Some(Json::Object(members)) => Some(members),
        _ => None,
    };
    members.into_iter().flat_map(OrderedMap::iter).filter_map(|(name, value)| {
        let text = match value {
            Json::Null => return None,
            Json::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(","),
            one => text_of(one),
        };
        Some((&**name, text))
    })
}

fn text_of(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}
