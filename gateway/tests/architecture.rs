//! `docs/architecture.md` draws who may depend on whom; this compares it with the manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("gateway/ is in the root").to_owned()
}

/// The block ` ```arrows ` of the page.
fn drawn() -> Arrows {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page");
    let block = page.split("```arrows\n").nth(1).and_then(|rest| rest.split("```").next());
    block
        .expect("the page has a block of arrows")
        .lines()
        .map(|line| {
            let (from, to) = line.split_once("->").expect("a line reads `crate -> crates`");
            let to = to.split_whitespace().map(str::to_owned).collect();
            (from.trim().to_owned(), to)
        })
        .collect()
}

/// Every package of the workspace with the workspace's own packages among its `[dependencies]`.
fn declared() -> Arrows {
    let mut manifests = Vec::new();
    find_manifests(&root(), &mut manifests);
    let packages: Vec<(String, toml::Table)> = manifests
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("a manifest");
            let table: toml::Table = text.parse().expect("a manifest is TOML");
            // A workspace of its own: fuzz, a function of the client tests.
            if table.contains_key("workspace") {
                return None;
            }
            let name = table.get("package")?.get("name")?.as_str()?.to_owned();
            Some((name, table))
        })
        .collect();
    let names: BTreeSet<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    packages
        .iter()
        .map(|(name, table)| {
            let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
            let own = dependencies
                .into_iter()
                .flat_map(toml::Table::keys)
                .filter(|key| names.contains(key.as_str()))
                .cloned()
                .collect();
            (name.clone(), own)
        })
        .collect()
}

fn find_manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the project").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            find_manifests(&path, found);
        } else if name == "Cargo.toml" {
            found.push(path);
        }
    }
}

#[test]
fn every_dependency_between_crates_is_an_arrow_of_the_architecture_page() {
    let (drawn, declared) = (drawn(), declared());
    for (name, dependencies) in &declared {
        let allowed = drawn.get(name);
        let allowed =
            allowed.unwrap_or_else(|| panic!("docs/architecture.md does not name {name}"));
        let extra: Vec<_> = dependencies.difference(allowed).collect();
        assert!(extra.is_empty(), "docs/architecture.md draws no arrow from {name} to {extra:?}");
    }
    let gone: Vec<_> = drawn.keys().filter(|name| !declared.contains_key(*name)).collect();
    assert!(gone.is_empty(), "docs/architecture.md names {gone:?}, which do not exist");
}

#[test]
fn every_arrow_of_the_architecture_page_is_a_dependency() {
    let (drawn, declared) = (drawn(), declared());
    for (name, arrows) in &drawn {
        let unused: Vec<_> = arrows.difference(&declared[name]).collect();
        assert!(unused.is_empty(), "docs/architecture.md draws {name} -> {unused:?} for nothing");
    }
}
