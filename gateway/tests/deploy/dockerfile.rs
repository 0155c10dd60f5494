//! `deploy/Dockerfile` and `.dockerignore`.
//!
//! Images are not built here: that takes a daemon and a base image from a registry. What can go
//! wrong before that is looked at: the linter's objections, what is copied, and who runs.

use std::{fs, path::Path};

use tempfile::TempDir;
use tokio::process::Command;

use crate::programs::{in_repository, installed, run, text_of};

/// Instructions with their arguments, continued lines joined, comments left out.
fn instructions() -> Vec<(String, String)> {
    let text = text_of("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = |line: &str| line.trim().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    joined.lines().filter_map(split).collect()
}

fn arguments_of(instruction: &str) -> Vec<String> {
    let all = instructions().into_iter().filter(|(name, _)| name == instruction);
    all.map(|(_, arguments)| arguments.trim().to_owned()).collect()
}

/// What is copied from the repository.
fn copied() -> Vec<String> {
    let from_here = arguments_of("COPY").into_iter().filter(|it| !it.starts_with("--from"));
    let sources = from_here.flat_map(|arguments| {
        let mut words: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        words.pop();
        words
    });
    sources.collect()
}

#[tokio::test]
async fn the_linter_has_no_objection() {
    let dockerfile = in_repository("deploy/Dockerfile");
    let said = run(Command::new(installed("bin/hadolint")).arg(dockerfile)).await.expect_well();
    assert_eq!(said.all(), "");
}

#[test]
fn the_image_builds_with_the_repositorys_toolchain() {
    let toolchain = text_of("rust-toolchain.toml");
    let line = toolchain.lines().find_map(|line| line.strip_prefix("channel = "));
    let version = line.expect("a channel").trim_matches('"');
    let from = arguments_of("FROM");
    assert!(from[0].starts_with(&format!("rust:{version}-")), "{}", from[0]);
    assert!(arguments_of("ENV").contains(&format!("RUSTUP_TOOLCHAIN={version}")));
}

#[test]
fn the_image_is_empty_but_for_the_binary_and_runs_as_nobody() {
    assert_eq!(arguments_of("FROM").last().expect("a stage"), "scratch");
    let user = arguments_of("USER");
    let [user] = &user[..] else { panic!("one user, not {user:?}") };
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().expect("a number")).collect();
    assert!(ids.iter().all(|id| *id > 0), "{user} is root");
    assert_eq!(arguments_of("ENTRYPOINT"), [r#"["/tidegate"]"#]);
    assert_eq!(arguments_of("CMD"), [r#"["run", "/etc/tidegate/gateway.toml"]"#]);
}

/// The health check runs without a shell, so it is the binary itself.
#[test]
fn the_health_check_is_the_binarys_own() {
    let check = arguments_of("HEALTHCHECK").join(" ");
    assert!(check.contains(r#"CMD ["/tidegate", "health", "#), "{check}");
}

/// `.dockerignore` lets in exactly what is copied, and cargo finds every member of the workspace
/// in it, with the lock file as it is.
#[tokio::test]
async fn the_context_has_what_the_build_takes_and_nothing_else() {
    let ignore = text_of(".dockerignore");
    let mut let_in: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut taken = copied();
    taken.push("rust-toolchain.toml".to_owned());
    let_in.sort_unstable();
    taken.sort_unstable();
    assert_eq!(let_in, taken, "let in by .dockerignore, and copied");
    assert_eq!(ignore.lines().find(|line| !line.starts_with('#')), Some("*"));

    let context = TempDir::new().expect("a temporary folder");
    for source in copied() {
        let from = in_repository(&source);
        copy(&from, &context.path().join(&source));
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version=1", "--no-deps"]);
    run(cargo.current_dir(context.path())).await.expect_well();
}

/// What is left out of a context by its `**/` lines is not copied either.
fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap_or_else(|err| panic!("{}: {err}", from.display()));
        return;
    }
    fs::create_dir_all(to).expect("a folder of ours");
    for entry in fs::read_dir(from).expect("a folder of the repository") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        let left_out = ["target", "node_modules", ".venv", "__pycache__", ".env"];
        if !left_out.iter().any(|left_out| name == *left_out) {
            copy(&entry.path(), &to.join(name));
        }
    }
}
