//! What an operator sees of a configuration, good and bad.
//!
//! In:  the examples of the reference page, with something replaced, added or broken.
//! Out: what was loaded of it, or the problems, as they are printed.
//!
//! Here is what all of the modules share; there is one for each subject.

mod any_text;
mod authorizers;
mod aws_and_functions;
mod defaults;
mod examples;
mod files;
mod integrations;
mod models;
mod names;
mod overrides;
mod printed_summary;
mod problems;
mod secrets;
mod store;
mod tracing;
mod usage;

use std::{fs, num::NonZeroU32, path::Path, time::Duration};

use proptest::prelude::*;
use tidegate_model::{Management, Store, Throttle};

use super::{
    Loaded, Overrides, Problems, parse, parse_among,
    reference::{FULL, SMALL},
    summary,
    surroundings::Surroundings,
};

const KEY: &str =
    "[[management.credentials]]\naccess_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = ";

/// The small example with `to` for `from`.
fn small(from: &str, to: &str) -> Result<Loaded, Problems> {
    assert!(SMALL.contains(from), "{from}");
    parse(&SMALL.replace(from, to), Path::new("."), "gateway.toml")
}

/// The small example with `more` after it.
fn and(more: &str) -> Result<Loaded, Problems> {
    parse(&format!("{SMALL}{more}\n"), Path::new("."), "gateway.toml")
}

/// The small example with `more` before it, at line 1.
fn with(more: &str) -> Result<Loaded, Problems> {
    parse(&format!("{more}\n{SMALL}"), Path::new("."), "gateway.toml")
}

fn lines(result: Result<Loaded, Problems>) -> Vec<String> {
    let problems = result.expect_err("problems");
    problems.iter().map(ToString::to_string).collect()
}

/// The one problem's key and message.
fn problem(result: Result<Loaded, Problems>) -> (String, String) {
    let problems = result.expect_err("a problem");
    assert_eq!(problems.iter().len(), 1, "{problems}");
    let one = problems.iter().next().unwrap();
    (one.key.clone(), one.message.clone())
}

fn loaded(result: Result<Loaded, Problems>) -> Loaded {
    result.unwrap_or_else(|problems| panic!("{problems}"))
}

/// A folder with the files that the full example names.
fn example_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::write(folder.path().join("next-secret"), "from-file\r\n").unwrap();
    fs::write(folder.path().join("redis-url"), "redis://10.0.0.13:6379\n").unwrap();
    fs::write(folder.path().join("room.vtl"), "{\"text\": $input.json('$')}\n").unwrap();
    fs::write(folder.path().join("room.schema.json"), r#"{"type": "string"}"#).unwrap();
    fs::create_dir_all(folder.path().join("functions/rooms")).unwrap();
    folder
}

fn parse_full(text: &str, folder: &Path) -> Result<Loaded, Problems> {
    parse_full_with(text, &Overrides::default(), folder)
}

fn parse_full_with(text: &str, overrides: &Overrides, folder: &Path) -> Result<Loaded, Problems> {
    let known = [
        "TIDEGATE_SECRET",
        "TIDEGATE_SESSION_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "ROOMS_TOKEN",
        "PARTNER_API_KEY",
        "DEVICE_SECRET",
        "OTLP_AUTHORIZATION",
    ];
    let long_enough = "from-the-environment";
    let variable = |name: &str| match name {
        "TIDEGATE_REDIS_URL" => Some("redis://:hunter2@10.0.0.12:6379".to_owned()),
        name => known.contains(&name).then(|| long_enough.to_owned()),
    };
    parse_among(text, "gateway.toml", overrides, &Surroundings::new(folder, &variable))
}
