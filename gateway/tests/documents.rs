//! What the README and `docs/` promise, tried: its files exist, its configuration is taken, its
//! commands are there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("gateway/ is in the root").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// The blocks of a language, without their fences.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

/// What `tidegate check` says of a file, in a folder with these folders in it; it must be taken.
fn assert_taken_without_warnings(text: &str, folders: &[&str], variables: &[(&str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    for inner in folders {
        fs::create_dir_all(folder.path().join(inner)).expect("a folder of the page");
    }
    let file = folder.path().join("gateway.toml");
    fs::write(&file, text).expect("write");
    let mut check = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    check.arg("check").arg(&file).envs(variables.iter().copied());
    let checked = check.output().expect("run tidegate check");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{text}");
    assert_eq!(said, "", "no warnings either\n{text}");
}

#[test]
fn the_readmes_gateway_toml_is_taken_as_it_stands() {
    let readme = read(&root().join("README.md"));
    let blocks = blocks(&readme, "toml");
    let [text] = blocks[..] else { panic!("the README has one configuration: {blocks:?}") };
    assert_taken_without_warnings(text, &[], &[]);
}

/// The page's first configuration is whole; each of the others is to be added to it.
#[test]
fn each_way_to_say_who_may_connect_is_taken_as_it_stands() {
    let page = read(&root().join("docs/who-may-connect.md"));
    let blocks = blocks(&page, "toml");
    assert!(blocks.len() >= 7, "{} configurations", blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let text = if index == 0 { String::new() } else { format!("{}\n", blocks[0]) } + block;
        let variables =
            [("PARTNER_API_KEY", "a-key-of-twenty-or-more"), ("DEVICE_SECRET", "a secret")];
        assert_taken_without_warnings(&text, &["functions/who"], &variables);
    }
}

/// The page's first configuration is whole; the other is to be added to it.
#[test]
fn the_pages_local_function_and_its_one_on_aws_are_taken_as_they_stand() {
    let page = read(&root().join("docs/functions.md"));
    let blocks = blocks(&page, "toml");
    let [whole, added] = blocks[..] else { panic!("two configurations: {blocks:?}") };
    for text in [whole.to_owned(), format!("{whole}\n{added}")] {
        assert_taken_without_warnings(
            &text,
            &["functions/chat"],
            &[("AWS_SECRET_ACCESS_KEY", "a secret")],
        );
    }
}

/// Each is a whole file, but the one that says where the services are, which goes with any.
#[test]
fn each_example_of_templates_is_taken_as_it_stands() {
    let page = read(&root().join("docs/templates.md"));
    let blocks = blocks(&page, "toml");
    assert!(blocks.len() >= 11, "{} configurations", blocks.len());
    for block in &blocks {
        let text = if block.contains("[apis.chat]") {
            (*block).to_owned()
        } else {
            format!("{}\n{block}", blocks[0])
        };
        // So that the management API, of which the page says nothing, gives no warning.
        let text = format!("{text}\n[management]\nauth = \"none\"\n");
        assert_taken_without_warnings(&text, &[], &[]);
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/adr", "examples/chat", "load-tests", "fuzz"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of the project");
        pages.extend(
            entries
                .flatten()
                .map(|e| e.path())
                .filter(|p| p.extension().is_some_and(|extension| extension == "md")),
        );
    }
    for page in pages {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let target = page.parent().expect("a page is in a folder").join(path);
            assert!(target.exists(), "{} links to {link}", page.display());
        }
    }
}

#[test]
fn the_commands_of_the_documents_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("--help").output().expect("run");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for page in ["README.md", "docs/operating.md", "docs/backends.md", "examples/chat/README.md"] {
        let text = read(&root().join(page));
        for command in text
            .split("`tidegate ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next())
        {
            let known = command.is_empty() || help.contains(&format!("  {command} "));
            assert!(known, "{page} names `tidegate {command}`");
        }
    }
}
