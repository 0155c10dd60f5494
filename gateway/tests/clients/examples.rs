//! An example of `examples/`, started by its one command.
//!
//! In:  the example's name. Out: where its page is.
//!
//! Holds always: the example's database, if it has one, is its own; what was started ends with the
//! value, the gateway and the backend too.

use std::{net::TcpListener, process::Stdio};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tidegate_testkit::within;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    GATEWAY,
    chat::chromium,
    program::{Program, installed, output_of},
};

/// The backend and the gateway have each their own time to start, on a machine that runs other tests.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

const START: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/start.sh");

/// A running example.
pub(crate) struct Example {
    page_url: String,
    process: Child,
    /// Open, so that what was started can go on saying things.
    _stdout: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Example {
    /// Runs `examples/start.sh` for it, on ports of its own.
    pub(crate) async fn start(name: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let [page, gateway, admin] = free_ports();
        let node = installed("node/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(node).chain(std::env::split_paths(&path));
        let mut process = Command::new(START)
            .arg(name)
            .env("PATH", std::env::join_paths(folders).expect("folders without a colon"))
            .env("TIDEGATE", GATEWAY)
            .env("TIDEGATE_LOG", "warn")
            .env("PAGE_PORT", page.to_string())
            .env("GATEWAY_PORT", gateway.to_string())
            .env("ADMIN_PORT", admin.to_string())
            .env("NOTIFY_DB", folder.path().join("orders.db"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A group of its own: the script's children end with it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|err| panic!("run {START}: {err}"));
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let page_url = within(DEADLINE, "the page's address on stdout", async {
            while let Some(line) = stdout.next_line().await.expect("output in UTF-8") {
                if let Some((_, url)) = line.split_once("The example is at") {
                    return url.trim().to_owned();
                }
            }
            panic!("{name} ended without an address to open; it needs ./test.sh to have run");
        })
        .await;
        Self { page_url, process, _stdout: stdout, _folder: folder }
    }

    /// Where people open it.
    pub(crate) fn page_url(&self) -> &str {
        &self.page_url
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if let Some(id) = self.process.id().and_then(|id| i32::try_from(id).ok()) {
            // Twice: the second one tells a gateway that drains to end at once. A group that has
            // ended already is what is wanted.
            for _ in 0..2 {
                let _ = killpg(Pid::from_raw(id), Signal::SIGTERM);
            }
        }
    }
}

/// Ports that nobody listens on at this moment; all are held until the last one is known.
fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|socket| socket.local_addr().expect("a bound socket").port())
}

/// Runs a case of a browser's program on the example's page.
pub(crate) async fn run(example: &str, program: Program, case: &str) {
    let example = Example::start(example).await;
    let mut command = program.command();
    command
        .arg(case)
        .env("TIDEGATE_CHROMIUM", chromium())
        .env("TIDEGATE_EXAMPLE_URL", example.page_url())
        .env("TIDEGATE_SCREENSHOTS", installed("").join("screenshots"));
    output_of(command).await;
}
