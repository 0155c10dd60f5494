//! Patterns and paths that stand in a template as they are: compiled with it, not in each render.
//!
//! In:  the literal arguments of `$input.json`, `$input.path` and the methods that take patterns.
//! Out: what they compile to. One that does not compile is left out: it fails when it is used, as
//!      one that is put together in a render does.

use std::{collections::HashMap, sync::Arc};

use regex::Regex;

use crate::{
    ast::{Expression, Node},
    json_path::JsonPath,
    methods::regexes,
};

/// The most patterns that one template keeps, for each may take a megabyte.
const MAX_PATTERNS: usize = 64;

/// What the nodes of a template refer to.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// What `#define` stores.
    pub(crate) blocks: Vec<Vec<Node>>,
    /// By their text.
    pub(crate) paths: HashMap<String, JsonPath>,
    /// Those that match anywhere, by their text as Java writes it.
    pub(crate) patterns: HashMap<String, Arc<Regex>>,
    /// Those that match the whole text.
    pub(crate) anchored: HashMap<String, Arc<Regex>>,
}

impl Parts {
    /// Takes note of a method's call.
    pub(crate) fn prepare(&mut self, method: &str, arguments: &[Expression]) {
        let Some(Expression::Text(text)) = arguments.first() else { return };
        match method {
            "json" | "path" => {
                if let Ok(path) = JsonPath::parse(text) {
                    self.paths.insert(text.to_string(), path);
                }
            }
            "matches" | "split" | "replaceAll" | "replaceFirst" => {
                let is_anchored = method == "matches";
                let known = if is_anchored { &mut self.anchored } else { &mut self.patterns };
                if known.len() < MAX_PATTERNS
                    && !known.contains_key(&**text)
                    && let Ok(regex) = regexes::compile(text, is_anchored)
                {
                    known.insert(text.to_string(), Arc::new(regex));
                }
            }
            _ => {}
        }
    }
}
