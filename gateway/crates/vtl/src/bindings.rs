//! What a render reads.
//!
//! Holds always: a source is asked only for what the template names; all of it is built only
//! where a template prints it, walks over it or writes to it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::json::Json;

/// What `$context`, `$stageVariables` or `$input.params` show: names with values, some of which
/// are names with values again.
pub trait Source {
    /// What is at a path of one or more names.
    fn find(&self, path: &[&str]) -> Found<'_>;

    /// All of it, an object: the same names, in the order in which they print.
    fn all(&self) -> Json;
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// Nothing, or null.
    Nothing,
    /// A text.
    Text(Cow<'a, str>),
    /// Another value that is no object.
    Value(Json),
    /// An object: what is in it is asked for by a longer path.
    Object,
}

/// What a render reads. Everything absent by default.
#[derive(Clone)]
pub struct Bindings<'a> {
    /// The payload as text, base64 where it is binary. An empty one reads as `{}`. `None`: there
    /// is no payload at all; `$input.body` is empty then, and as JSON it is `{}`.
    pub body: Option<&'a str>,
    /// What `$context` shows. A template may write to it, see
    /// [`Rendered::context`](crate::Rendered::context).
    pub context: &'a dyn Source,
    /// What `$stageVariables` shows: names with texts.
    pub stage_variables: &'a dyn Source,
    /// What `$input.params` shows: `path`, `querystring` and `header`, each names with texts.
    pub params: &'a dyn Source,
    /// Further variables by name, an object. The service has none; tests and `tidegate render` do.
    pub variables: &'a Json,
}

/// No names at all.
#[derive(Debug)]
struct Empty;

static EMPTY: Empty = Empty;

impl Default for Bindings<'_> {
    fn default() -> Self {
        Self {
            body: None,
            context: &EMPTY,
            stage_variables: &EMPTY,
            params: &EMPTY,
            variables: &Json::Null,
        }
    }
}

/// Not what it holds: that is what clients and backends sent.
impl fmt::Debug for Bindings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

impl Source for Empty {
    fn find(&self, _path: &[&str]) -> Found<'_> {
        Found::Nothing
    }

    fn all(&self) -> Json {
        Json::default()
    }
}

impl Source for Json {
    fn find(&self, path: &[&str]) -> Found<'_> {
        match path.iter().try_fold(self, |json, name| json.get(name)) {
            None | Some(Self::Null) => Found::Nothing,
            Some(Self::String(text)) => Found::Text(Cow::Borrowed(text)),
            Some(Self::Object(_)) => Found::Object,
            Some(other) => Found::Value(other.clone()),
        }
    }

    fn all(&self) -> Json {
        self.clone()
    }
}

impl Source for BTreeMap<String, String> {
    fn find(&self, path: &[&str]) -> Found<'_> {
        match path {
            [name] => {
                self.get(*name).map_or(Found::Nothing, |text| Found::Text(Cow::Borrowed(text)))
            }
            _ => Found::Nothing,
        }
    }

    fn all(&self) -> Json {
        Json::Object(
            self.iter()
                .map(|(name, text)| (name.as_str(), Json::String(text.as_str().into())))
                .collect(),
        )
    }
}
