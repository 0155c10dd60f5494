//! The examples that people copy, and the reference page that is made of them.

use super::{
    super::{json_schema, load, reference_page},
    *,
};

/// The chat example is what `tidegate demo` serves and what newcomers copy.
#[test]
fn the_chat_example_is_a_good_file_without_warnings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/chat/gateway.toml");
    assert_eq!(loaded(load(Path::new(path), &Overrides::default())).warnings, [""; 0]);
}

#[test]
fn every_example_of_the_reference_page_is_a_good_file() {
    let folder = example_folder();
    let page = reference_page();
    let examples: Vec<_> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples, [SMALL, FULL]);
    for example in examples {
        loaded(parse_full(example, folder.path()));
    }
    assert!(loaded(parse_full(FULL, folder.path())).warnings.is_empty());
}

#[test]
fn the_full_example_has_every_key() {
    let schema = json_schema();
    let keys = schema["$defs"].as_object().unwrap().values();
    let keys = keys.filter_map(|one| one["properties"].as_object()).flatten();
    for (key, _) in keys {
        let whole = |at: usize| {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !FULL[..at].ends_with(word) && !FULL[at + key.len()..].starts_with(word)
        };
        assert!(FULL.match_indices(key.as_str()).any(|(at, _)| whole(at)), "{key}");
    }
}

#[test]
fn the_committed_reference_page_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = reference_page();
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap_or_default() == page,
        "docs/configuration.md is not what the doc comments say; to write it anew: \
         TIDEGATE_BLESS=1 cargo test -p tidegate config"
    );
}
