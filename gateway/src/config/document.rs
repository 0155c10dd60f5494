//! Longer texts in `gateway.toml` that have a language of their own: JSON documents and mapping
//! templates, in place or in a file.
//!
//! In:  what the file says, and the files around it.
//! Out: a JSON value, or a template's text, or why there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_vtl::MAX_TEMPLATE_BYTES;

use super::surroundings::{FileFault, Surroundings};

/// A JSON document.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum JsonDocument {
    /// JSON text.
    Text(String),
    /// The document as a table.
    Table(Map<String, Value>),
}

impl JsonDocument {
    /// The document, or what is wrong with its text.
    pub(super) fn value(&self) -> Result<Value, String> {
        match self {
            Self::Text(text) => json(text),
            Self::Table(table) => Ok(Value::Object(table.clone())),
        }
    }
}

/// JSON text taken apart; the reason, where it is none, does not repeat the text.
pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

/// A mapping template.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum TemplateSource {
    /// The template itself.
    Text(String),
    /// A file that holds it.
    File(TemplateFile),
}

/// The path of a template's file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateFile {
    /// The file's path; the file is taken as it is, its last line break too.
    file: String,
}

impl TemplateSource {
    /// The template's text.
    pub(super) fn text(&self, around: &Surroundings<'_>) -> Result<String, FileFault> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(TemplateFile { file }) => {
                // More than a template may have is refused before it is in memory.
                around.read_text_file(file, MAX_TEMPLATE_BYTES as u64)
            }
        }
    }

    /// The file as the operator named it, where it is one.
    pub(super) fn file(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::File(TemplateFile { file }) => Some(file),
        }
    }
}
