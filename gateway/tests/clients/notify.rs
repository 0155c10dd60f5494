//! `examples/notify`: its page in headless Chromium, and its backend's own tests. Screenshots stay
//! in `.tests/screenshots`.

use std::path::Path;

use tokio::process::Command;

use crate::{
    examples,
    program::{Program, assert_installed, cases, output_of},
};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/notify");

async fn run(program: Program, case: &str) {
    examples::run("notify", program, case).await;
}

cases! {
    Program::Node("node/notify_in_chromium.mjs"), run:
    an_update_reaches_every_tab_of_its_user_and_nobody_else,
    receipts_count_the_tabs,
    who_was_offline_sees_what_was_missed,
    a_wrong_password_and_a_forged_or_expired_token_are_refused,
    an_expired_token_is_renewed_without_losing_an_update,
    screenshots_are_kept,
}

/// The outbox through crashes and outages, the REST api's refusals, the gateway's calls.
#[tokio::test]
async fn the_backends_own_tests_pass() {
    let python = Path::new(EXAMPLE).join(".venv/bin/python");
    assert_installed(&python);
    let mut command = Command::new(python);
    command
        .args(["-W", "error::ResourceWarning", "-m", "unittest", "--verbose"])
        .current_dir(EXAMPLE)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .env("no_proxy", "*");
    output_of(command).await;
}
