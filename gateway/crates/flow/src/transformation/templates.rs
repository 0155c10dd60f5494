//! The templates of one map, compiled, each with the key that names it in the configuration.
//!
//! Holds always: a template that is not found by its own key is the one keyed `$default`, if there
//! is one.

use std::collections::BTreeMap;

use tidegate_vtl::{Bindings, Limits, Rendered, Template};

use super::rejected::{CompileError, Direction, Rejected};

/// What templates are looked for by where nothing selects another (websocket-api, 2.5).
pub(super) const APPLICATION_JSON: &str = "application/json";

const DEFAULT: &str = "$default";

/// One template.
#[derive(Debug)]
pub(super) struct NamedTemplate {
    /// Its key inside the integration.
    key: String,
    template: Template,
}

/// Templates by key.
#[derive(Debug)]
pub(super) struct Templates(BTreeMap<String, NamedTemplate>);

impl Templates {
    /// Compiles each; `map` is the key of the map inside the integration.
    pub(super) fn compile(
        map: &str,
        texts: &BTreeMap<String, String>,
    ) -> Result<Self, CompileError> {
        let compiled = texts.iter().map(|(name, text)| {
            let key = format!("{map}.{}", toml_key(name));
            let template =
                Template::compile(text).map_err(|error| CompileError::template(&key, &error))?;
            Ok((name.clone(), NamedTemplate { key, template }))
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The template of `key`, else the one of `$default`.
    pub(super) fn select(&self, key: &str) -> Option<&NamedTemplate> {
        self.0.get(key).or_else(|| self.0.get(DEFAULT))
    }
}

impl NamedTemplate {
    pub(super) fn render(
        &self,
        bindings: &Bindings<'_>,
        limits: &Limits,
        direction: Direction,
    ) -> Result<Rendered, Rejected> {
        let rendered = self.template.render(bindings, limits);
        rendered.map_err(|error| Rejected::template(&self.key, &error, direction))
    }
}

/// A key as TOML writes it in a dotted one.
pub(super) fn toml_key(key: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(is_bare) {
        return key.to_owned();
    }
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}
