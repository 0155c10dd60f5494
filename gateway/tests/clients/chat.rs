//! `tidegate demo` and its page, in headless Chromium. Screenshots stay in `.tests/screenshots`.

use std::{path::PathBuf, process::Stdio};

use tidegate_testkit::{DEADLINE, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    GATEWAY,
    program::{Program, assert_installed, cases, installed, output_of},
};

/// A running demo; it ends with its value.
struct Demo {
    page_url: String,
    _process: Child,
    /// Open, so that the demo can go on saying things.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    async fn start() -> Self {
        let mut process = Command::new(GATEWAY)
            .arg("demo")
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--page", "127.0.0.1:0"])
            .env("TIDEGATE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("run {GATEWAY}: {err}"));
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let page_url = within(DEADLINE, "the page's address on stdout", async {
            while let Some(line) = stdout.next_line().await.expect("output in UTF-8") {
                if let Some((_, url)) = line.split_once("The chat is at") {
                    return url.trim().to_owned();
                }
            }
            panic!("the demo ended without an address to open");
        })
        .await;
        Self { page_url, _process: process, _stdout: stdout }
    }
}

/// Debian's browser, or the one that `TIDEGATE_CHROMIUM` names.
pub(crate) fn chromium() -> PathBuf {
    let named = std::env::var_os("TIDEGATE_CHROMIUM").map(PathBuf::from);
    let browser = named.unwrap_or_else(|| PathBuf::from("/usr/bin/chromium"));
    assert_installed(&browser);
    browser
}

async fn run(program: Program, case: &str) {
    let chromium = chromium();
    let demo = Demo::start().await;
    let mut command = program.command();
    command
        .arg(case)
        .env("TIDEGATE_CHROMIUM", chromium)
        .env("TIDEGATE_CHAT_URL", &demo.page_url)
        .env("TIDEGATE_SCREENSHOTS", installed("").join("screenshots"));
    output_of(command).await;
}

cases! {
    Program::Node("node/chat_in_chromium.mjs"), run:
    two_people_see_each_other_and_chat,
    two_tabs_of_one_browser_are_two_people,
    a_reload_keeps_the_history_without_doubles,
    a_room_hears_only_its_own_messages,
    what_others_write_stays_text,
    screenshots_are_kept,
}
