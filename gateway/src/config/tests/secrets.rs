//! Secrets: where they come from, and that they are never shown.

use super::*;

#[test]
fn a_secret_comes_from_the_file_the_environment_or_another_file() {
    let folder = example_folder();
    let secret = |text: &str| {
        let text = format!("{KEY}{text}\n{SMALL}");
        match loaded(parse_full(&text, folder.path())).configuration.management {
            Management::SigV4(keys) => keys[0].secret_access_key.reveal().to_owned(),
            Management::LoopbackOnly => panic!("sigv4 is the default"),
        }
    };
    assert_eq!(secret("\"in-place\""), "in-place");
    assert_eq!(secret("{ env = \"TIDEGATE_SECRET\" }"), "from-the-environment");
    assert_eq!(secret("{ file = \"next-secret\" }"), "from-file", "one line break is cut");
}

#[test]
fn a_secret_that_cannot_be_had_names_the_variable_or_the_path() {
    let folder = example_folder();
    let missing = |text: &str| {
        let (key, message) = problem(parse_full(&format!("{KEY}{text}\n{SMALL}"), folder.path()));
        assert_eq!(key, "management.credentials[0].secret_access_key");
        message
    };
    let unset = missing("{ env = \"NOT_SET\" }");
    assert_eq!(unset, "the environment variable `NOT_SET` is not set");
    let path = folder.path().join("absent");
    assert_eq!(
        missing("{ file = \"absent\" }"),
        format!("cannot read {}: there is no such file", path.display())
    );
    assert!(missing("{ file = \".\" }").ends_with("is a folder: give the path of a file"));
    assert!(missing("{ file = \"cert.pem\" }").ends_with("is empty"));
    assert_eq!(
        missing("{ path = \"x\" }"),
        "expected a string, { env = … } or { file = … }, found another table"
    );
    assert_eq!(missing("\"\""), "the secret is empty");
}

/// Secrets of the wrong shape and secrets beside other mistakes.
#[test]
fn no_message_and_no_summary_shows_a_secret() {
    let folder = example_folder();
    let of = |text: &str| parse_full(&format!("{text}\n{SMALL}"), folder.path());
    for text in [
        "[management]\nsecret_access_key = \"hunter2\"".to_owned(),
        format!("{KEY}[\"hunter2\"]"),
        format!("{KEY}{{ text = \"hunter2\" }}"),
        format!("{KEY}{{ env = \"A\", file = \"hunter2\" }}"),
        format!("{KEY}\"hunter2\"\nregion = 1"),
        format!("{KEY}\"hunter2"),
    ] {
        let problems = of(&text).expect_err("problems").to_string();
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    let Loaded { configuration, warnings } = loaded(of(&format!("{KEY}\"hunter2\"")));
    let shown = format!("{configuration:?} {warnings:?} {}", summary(&configuration));
    assert!(!shown.contains("hunter2"), "{shown}");
}
