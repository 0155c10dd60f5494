//! Every block of shell in the README and in `docs/`: which test runs it, or why none does.
//!
//! Holds always: a block stands in one of the two lists, once. Those that are not run stand there with
//! their text, so that a change of one is looked at; of those that are run, the test takes the text from
//! the page.

use std::{collections::BTreeMap, fs};

use crate::page::{book, root};

/// Languages that blocks may have. Shell is `sh` and nothing else, so that none is overlooked.
const LANGUAGES: [&str; 8] = ["arrows", "js", "json", "python", "sh", "text", "toml", "yaml"];

/// How many blocks of a page a test runs, and which test: the file below `gateway/tests`, and the function.
const RUN: [(&str, usize, &str, &str); 9] = [
    ("docs/first-api.md", 6, "book/first_api.rs", "the_first_api_works_as_the_chapter_says"),
    (
        "docs/calling-back.md",
        2,
        "book/calling_back.rs",
        "the_calls_with_curl_do_what_the_chapter_says",
    ),
    ("docs/groups.md", 1, "clients/groups_guide.rs", "the_room_of_the_guide_works_as_it_says"),
    (
        "docs/templates.md",
        1,
        "book/templates.rs",
        "the_command_renders_a_template_with_all_that_it_may_read",
    ),
    (
        "docs/who-may-connect.md",
        1,
        "book/who_may_connect.rs",
        "without_an_authorizer_everyone_connects",
    ),
    (
        "docs/who-may-connect.md",
        1,
        "book/who_may_connect.rs",
        "an_api_key_opens_and_another_one_does_not",
    ),
    (
        "docs/who-may-connect.md",
        1,
        "book/who_may_connect.rs",
        "the_function_lets_its_token_in_and_no_other",
    ),
    (
        "docs/several-nodes.md",
        5,
        "book/several_nodes.rs",
        "three_nodes_are_one_gateway_and_outlive_one",
    ),
    ("docs/operating.md", 1, "book/operating.rs", "the_keys_on_the_command_line_are_taken"),
];

/// A block that no test runs.
struct NotRun {
    page: &'static str,
    text: &'static str,
    /// Why, and what is tried instead: a file below `gateway/tests`, and a function in it.
    reason: &'static str,
    instead: Option<(&'static str, &'static str)>,
}

const NOT_RUN: [NotRun; 5] = [
    NotRun {
        page: "README.md",
        text: "\
cargo run --release -- demo   # a chat: gateway, backend and page in one process; open the address in two tabs
./test.sh                     # installs what the tests need on a Debian machine with Rust, and runs every test
",
        reason: "builds for minutes, and runs this test",
        instead: Some(("clients/chat.rs", "start")),
    },
    NotRun {
        page: "docs/first-api.md",
        text: "cargo install --locked --path gateway\n",
        reason: "builds for minutes; the tests run what cargo has built of the same package",
        instead: None,
    },
    NotRun {
        page: "docs/first-api.md",
        text: "python3 -m venv client\nclient/bin/pip install --quiet websockets\n",
        reason: "fetches from PyPI; ./test.sh has installed the same, which the chapter's test uses",
        instead: Some(("book/first_api.rs", "the_first_api_works_as_the_chapter_says")),
    },
    NotRun {
        page: "docs/deploy.md",
        text: "\
docker build -f deploy/Dockerfile -t tidegate .
docker compose -f deploy/compose.yaml up --build --wait
",
        reason: "needs Docker and fetches images; the files are checked, and the balancer's is run",
        instead: Some(("deploy/compose.rs", "the_schema_has_no_objection_and_every_mounted_file_is_there")),
    },
    NotRun {
        page: "docs/deploy.md",
        text: "helm install gate deploy/helm/tidegate -f values.yaml\n",
        reason: "needs Kubernetes; the chart is installed into a stand-in for it",
        instead: Some(("deploy/helm.rs", "what_helm_creates_is_what_kubernetes_knows")),
    },
];

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let mut run: BTreeMap<&str, usize> = BTreeMap::new();
    for (page, count, ..) in RUN {
        *run.entry(page).or_default() += count;
    }
    let mut not_run: Vec<_> = NOT_RUN.iter().collect();
    for page in book() {
        let mut rest = 0;
        for block in &page.blocks {
            let known = LANGUAGES.contains(&block.language.as_str());
            assert!(known, "{}:{} is in {:?}", page.name, block.line, block.language);
            if block.language != "sh" {
                continue;
            }
            let said = not_run.iter().position(|it| it.page == page.name && it.text == block.text);
            match said {
                Some(place) => drop(not_run.remove(place)),
                None => rest += 1,
            }
        }
        let tests = run.remove(page.name.as_str()).unwrap_or(0);
        assert_eq!(
            rest, tests,
            "{}: blocks that are not listed, and those that tests run",
            page.name
        );
    }
    assert!(run.is_empty(), "no such pages: {run:?}");
    let left: Vec<_> = not_run.iter().map(|it| (it.page, it.text)).collect();
    assert!(left.is_empty(), "these stand in no page: {left:?}");
}

#[test]
fn the_tests_that_the_lists_name_are_there() {
    let instead = NOT_RUN.iter().filter_map(|it| it.instead);
    for (file, test) in RUN.iter().map(|(.., file, test)| (*file, *test)).chain(instead) {
        let path = root().join("gateway/tests").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{file}: {err}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
    }
    assert!(NOT_RUN.iter().all(|it| !it.reason.is_empty()));
}
