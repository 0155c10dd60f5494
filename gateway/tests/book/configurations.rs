//! Every block of TOML in the README and in `docs/`, by the real `tidegate check`.
//!
//! A block that has a route selection expression is a whole file, and taken as it stands. Any other is a
//! part of one: its keys go over those of the page's first whole file, or of the README's where the
//! page has none. On the pages that say so, a part is added at the end of the file instead.
//!
//! Around it there is what the file names: variables, folders, certificates. A file that says nothing of
//! the management API gets `auth = "none"`, for otherwise there is a warning.

use std::{fs, path::Path, process::Command};

use toml::{Table, Value};

use crate::{
    GATEWAY,
    page::{Page, book},
};

/// "… is that file with the section's block added at its end."
const ADDED_AT_THE_END: [&str; 2] = ["docs/who-may-connect.md", "docs/functions.md"];

fn is_whole(text: &str) -> bool {
    text.contains("route_selection_expression")
}

/// Puts the keys of `part` over those of `base`, table by table.
fn lay_over(base: &mut Table, part: Table) {
    for (key, value) in part {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(part)) => lay_over(base, part),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// A whole file.
fn completed(page: &Page, block: &str, readmes: &str) -> String {
    let parse = |text: &str| -> Table {
        text.parse().unwrap_or_else(|err| panic!("{}: {err}\n{text}", page.name))
    };
    let mut text = block.to_owned();
    if !is_whole(block) {
        let whole =
            page.blocks.iter().find(|block| block.language == "toml" && is_whole(&block.text));
        let base = whole.map_or(readmes, |block| block.text.as_str());
        text = if ADDED_AT_THE_END.contains(&page.name.as_str()) {
            format!("{base}\n{block}")
        } else {
            let mut base = parse(base);
            lay_over(&mut base, parse(block));
            base.to_string()
        };
    }
    if !parse(&text).contains_key("management") {
        text += "\n[management]\nauth = \"none\"\n";
    }
    text
}

/// The quoted words after each `key = `, also where a longer key ends so.
fn named<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let before = format!("{key} = \"");
    text.split(before.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// What the file names and `tidegate check` looks for.
fn surround(folder: &Path, text: &str) -> Vec<(String, &'static str)> {
    for directory in named(text, "directory") {
        fs::create_dir_all(folder.join(directory)).expect("a folder that the page names");
    }
    for (certificate, key) in named(text, "certificate").iter().zip(named(text, "private_key")) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-subj", "/CN=localhost"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.arg("-out").arg(folder.join(certificate)).arg("-keyout").arg(folder.join(key));
        let made = openssl.output().expect("run openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for authority in named(text, "client_ca") {
            fs::copy(folder.join(certificate), folder.join(authority)).expect("copy");
        }
    }
    for file in named(text, "file") {
        fs::write(folder.join(file), value_of(file)).expect("write");
    }
    named(text, "env").iter().map(|name| ((*name).to_owned(), value_of(name))).collect()
}

/// Something of the kind that the name of a variable or file tells.
fn value_of(name: &str) -> &'static str {
    let name = name.to_lowercase().replace('-', "_");
    if name.ends_with("redis_url") {
        "redis://127.0.0.1:6379"
    } else if name.ends_with(".json") {
        r#"{"type": "object"}"#
    } else if name.ends_with(".vtl") {
        "$input.body"
    } else {
        "a-secret-of-twenty-or-more"
    }
}

fn assert_taken_without_warnings(place: &str, text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let variables = surround(folder.path(), text);
    let file = folder.path().join("gateway.toml");
    fs::write(&file, text).expect("write");
    let mut check = Command::new(GATEWAY);
    check.arg("check").arg(&file).current_dir(folder.path()).envs(variables);
    let checked = check.output().expect("run tidegate check");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{place}: {said}\n{text}");
    assert_eq!(said, "", "{place}: no warnings either\n{text}");
}

#[test]
fn every_configuration_of_the_book_is_taken() {
    let [readmes] = Page::read("README.md").all("toml");
    assert!(is_whole(&readmes));
    let mut count = 0;
    for page in book() {
        for block in page.blocks.iter().filter(|block| block.language == "toml") {
            let text = completed(&page, &block.text, &readmes);
            assert_taken_without_warnings(&format!("{}:{}", page.name, block.line), &text);
            count += 1;
        }
    }
    assert!(count >= 35, "{count} configurations were found");
}
