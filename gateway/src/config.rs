//! Reads `gateway.toml`.
//!
//! In:  a file, or its text and the folder that its paths start at; what the command line sets over
//!      it.
//! Out: a checked [`Configuration`] with warnings, or [`Problems`]: everything that is wrong, each
//!      thing with its key and line. And, from the same types: the JSON Schema, the reference
//!      page, and the summary that `tidegate check` prints.
//!
//! ```text
//! text --toml--> spanned tree, --set --shape (the schema)--> what fits --serde--> sections --check--> model
//!                    |                     |                                                |
//!                    '-- syntax            '-- unknown keys, types, ranges                  '-- meaning
//! ```
//!
//! Holds always: any text gives one or the other and never a panic; a piece that is reported by one
//! step is not reported again by the next; no message contains a secret.

mod api_file;
mod authorizer_file;
mod aws_file;
mod check;
mod check_access_key;
mod check_api;
mod check_authorizer;
mod check_aws;
mod check_integration;
mod check_models;
mod check_route;
mod check_store;
mod check_tracing;
mod check_transformation;
mod check_usage;
mod document;
mod file;
mod fixed_uri;
mod integration_file;
mod key_path;
mod later;
mod lookup;
mod overrides;
mod problem;
mod reference;
mod report;
mod schema;
mod secret_text;
mod shape;
mod store_file;
mod suggestion;
mod summary;
mod summary_api;
mod summary_store;
mod surroundings;
#[cfg(test)]
mod tests;
mod tracing_file;
mod usage_file;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tidegate_model::Configuration;
use toml::de::{DeTable, Deserializer};

pub use overrides::Overrides;
pub use problem::{Problem, Problems};
pub use reference::reference_page;
pub use schema::json_schema;
pub use summary::summary;

use file::GatewayFile;
use key_path::KeyPath;
use report::Report;
use surroundings::Surroundings;

/// A configuration that can be served.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says.
    pub configuration: Configuration,
    /// What is allowed and worth a second look, one line each, in the form of a [`Problem`].
    pub warnings: Vec<String>,
}

/// A file, and what the command line sets over it each time that it is read.
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What `--set` says.
    pub overrides: Overrides,
}

impl Source {
    /// Reads the file; relative paths in it and in what is set start at its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, or that it cannot be read.
    pub fn load(&self) -> Result<Loaded, Problems> {
        load(&self.path, &self.overrides)
    }
}

fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Problems> {
    let file_name = path.display().to_string();
    let unreadable = |line, message| {
        let key = String::new();
        Problems(vec![Problem { file: file_name.clone(), line, set: None, key, message }])
    };
    let bytes = fs::read(path).map_err(|error| {
        unreadable(None, format!("cannot be read: {}", surroundings::plain_reason(&error)))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(Some(line), "is not UTF-8 text, which TOML is".to_owned())
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse_among(&text, &file_name, overrides, &Surroundings::new(folder, &process_variable))
}

/// Reads `text`. Relative paths in it start at `folder`; problems name `file_name`.
///
/// Looks at the process's environment and at the files that the text names (secrets, TLS,
/// templates, schemas, the folders of functions and access logs); opens no socket and creates
/// nothing.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, folder: &Path, file_name: &str) -> Result<Loaded, Problems> {
    let around = Surroundings::new(folder, &process_variable);
    parse_among(text, file_name, &Overrides::default(), &around)
}

fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn parse_among(
    text: &str,
    file_name: &str,
    overrides: &Overrides,
    around: &Surroundings<'_>,
) -> Result<Loaded, Problems> {
    let mut report = Report::new(file_name, text);
    let configuration = read(text, overrides, around, &mut report);
    if configuration.is_none() && !report.has_problems() {
        // Bytes from outside must not panic, not even where this module is wrong about itself.
        report
            .problem(&KeyPath::root(), "cannot be read, and why is not known: a fault of tidegate");
    }
    let warnings = report.finish()?;
    // `finish` gave no problem, so there is a configuration; see above.
    let configuration = configuration.expect("without one there is a problem");
    Ok(Loaded { configuration, warnings })
}

fn read(
    text: &str,
    overrides: &Overrides,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Configuration> {
    let file = sections(text, overrides, report)?;
    check::configuration(&file, around, report)
}

/// What fits of `text` and what is set over it.
fn sections(text: &str, overrides: &Overrides, report: &mut Report<'_>) -> Option<GatewayFile> {
    let mut document = DeTable::parse(text)
        .map_err(|error| {
            // Past its end, a file is wrong on its last line rather than on one it does not have.
            let at = error.span().map_or(text.trim_end().len(), |span| span.start);
            report.syntax(at, error.message());
        })
        .ok()?;
    overrides.apply(document.get_mut(), report);
    shape::keep_what_fits(schema::schema(), document.get_mut(), report);
    GatewayFile::deserialize(Deserializer::from(document))
        .map_err(|error| {
            // The schema is made from these types, so this is a gap between schemars and serde.
            report.syntax(error.span().map_or(0, |span| span.start), error.message());
        })
        .ok()
}
