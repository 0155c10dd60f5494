//! The gateway under test: the real binary, as a process, over real sockets.
//!
//! In:  the binary's path and the text of a `gateway.toml`; signals.
//! Out: its addresses, its log lines, its metrics, how it ended.
//!
//! Holds always: the process ends with its value, at the latest when it is dropped; a test that
//! fails prints the log.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    DEADLINE, HttpResponse, http_call, metric_value,
    process_signal::{freeze, signal},
    wait_until, within,
};

/// One running gateway, on ports of its own.
#[derive(Debug)]
pub struct TestGateway {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    log: Arc<Log>,
    reader: JoinHandle<()>,
}

/// What the process has said so far.
#[derive(Debug)]
struct Log {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl TestGateway {
    /// Writes `toml` into a folder of its own (which is also the process's working folder, so
    /// relative paths land there), runs `binary run gateway.toml --log-format json`, and waits
    /// until both ports are served. `binary` is `env!("CARGO_BIN_EXE_tidegate")` in the test.
    ///
    /// # Panics
    /// With the log, when the process ends or does not listen within [`DEADLINE`].
    pub async fn start(binary: &str, toml: &str) -> Self {
        Self::start_with(binary, toml, &[]).await
    }

    /// As [`Self::start`], with environment variables.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_with(binary: &str, toml: &str, environment: &[(&str, &str)]) -> Self {
        let directory = TempDir::with_prefix("tidegate-test-").expect("a temporary folder");
        write(&directory.path().join("gateway.toml"), toml);
        let mut child = Command::new(binary)
            .args(["run", "gateway.toml", "--log-format", "json"])
            .current_dir(directory.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("run {binary}: {err}"));
        let log = Arc::new(Log { lines: Mutex::default(), count: watch::Sender::new(0) });
        let stderr = child.stderr.take().expect("stderr is piped");
        let reader = tokio::spawn(read_log(stderr, Arc::clone(&log)));
        let (address, admin) = tokio::select! {
            both = async { (log.address("listening").await, log.address("admin listening").await) } => both,
            status = child.wait() => panic!("the gateway ended at once ({status:?})\n{}", log.text()),
        };
        Self { child, directory, address, admin, log, reader }
    }

    /// Where clients and management calls go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }

    /// `ws://127.0.0.1:{port}/{stage}`.
    pub fn ws_url(&self, stage: &str) -> String {
        format!("ws://{}/{stage}", self.address)
    }

    /// `http://127.0.0.1:{port}` of the listener, without a slash at the end.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://127.0.0.1:{port}` of the admin listener, without a slash at the end.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// `http://127.0.0.1:{port}/{stage}`: what an SDK takes as its endpoint.
    pub fn management_url(&self, stage: &str) -> String {
        format!("{}/{stage}", self.http_url())
    }

    /// The process's working folder.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in the process's working folder, such as an access log.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One unsigned call of the management API over a connection of its own: the raw `target`,
    /// from the stage on.
    pub async fn manage(&self, method: &str, target: &str, body: &[u8]) -> HttpResponse {
        http_call(&self.http_url(), method, target, &[], body).await
    }

    /// `POST /{stage}/@connections/{id}`.
    pub async fn post_to(&self, stage: &str, id: &str, body: &[u8]) -> HttpResponse {
        self.manage("POST", &format!("/{stage}/@connections/{id}"), body).await
    }

    /// `GET /{stage}/@connections/{id}`.
    pub async fn get_connection(&self, stage: &str, id: &str) -> HttpResponse {
        self.manage("GET", &format!("/{stage}/@connections/{id}"), b"").await
    }

    /// `DELETE /{stage}/@connections/{id}`.
    pub async fn delete_connection(&self, stage: &str, id: &str) -> HttpResponse {
        self.manage("DELETE", &format!("/{stage}/@connections/{id}"), b"").await
    }

    /// One GET on the admin listener.
    pub async fn admin(&self, target: &str) -> HttpResponse {
        http_call(&self.admin_url(), "GET", target, &[], b"").await
    }

    /// Whether `/health/ready` says so.
    pub async fn is_ready(&self) -> bool {
        self.admin("/health/ready").await.status == 200
    }

    /// Waits until [`Self::is_ready`]: a node among others has reached them.
    ///
    /// # Panics
    /// When it is not within [`DEADLINE`].
    pub async fn wait_until_ready(&self) {
        wait_until(DEADLINE, "the node to be ready", async || self.is_ready().await).await;
    }

    /// The text of `/metrics`.
    ///
    /// # Panics
    /// When it is not answered 200.
    pub async fn metrics(&self) -> String {
        let response = self.admin("/metrics").await;
        assert_eq!(response.status, 200, "GET /metrics: {}", response.text());
        response.text().to_owned()
    }

    /// One figure of `/metrics`, as [`metric_value`].
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metric_value(&self.metrics().await, name, labels)
    }

    /// Overwrites `gateway.toml` and sends SIGHUP. What the process then does is for the test to
    /// wait for (a log line, a behaviour).
    pub async fn reload(&self, toml: &str) {
        write(&self.file("gateway.toml"), toml);
        self.signal("HUP").await;
    }

    /// Sends a signal by its name: `TERM`, `HUP`, `KILL`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// When the process is gone.
    pub async fn signal(&self, name: &str) {
        signal(self.pid(), name).await;
    }

    /// SIGSTOP: it keeps its sockets and says nothing, from this call's return on, until it is sent
    /// `CONT`.
    pub async fn freeze(&self) {
        freeze(self.pid()).await;
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    pub async fn terminate(mut self, deadline: Duration) -> Ended {
        self.signal("TERM").await;
        self.wait_for_end(deadline).await
    }

    /// Kills the process (SIGKILL) and waits for the end: a node's sudden death.
    pub async fn kill(mut self) -> Ended {
        self.child.start_kill().expect("a process of ours can be killed");
        self.wait_for_end(DEADLINE).await
    }

    /// Waits for the end without asking for it.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    pub async fn wait_for_end(&mut self, deadline: Duration) -> Ended {
        let status = within(deadline, "the gateway to end", self.child.wait()).await;
        // Its pipe is closed now, so the reader ends by itself.
        within(DEADLINE, "the end of the log", &mut self.reader).await.expect("the reader");
        Ended {
            status: status.expect("a child of ours can be waited for"),
            stdout: String::new(),
            stderr: self.log.text(),
        }
    }

    /// Every log line so far, parsed.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn logs(&self) -> Vec<Value> {
        self.log.parsed(0)
    }

    /// The log so far, as it was written.
    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// The first log line whose `fields.message` is `message`, waited for.
    ///
    /// # Panics
    /// When it does not come within [`DEADLINE`].
    pub async fn wait_for_log(&self, message: &str) -> Value {
        self.log.find(message).await
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the failing test's output is for people")]
            {
                eprintln!("the gateway's log:\n{}", self.log.text());
            }
        }
    }
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output; empty for a [`TestGateway`].
    pub stdout: String,
    /// Standard error: the log.
    pub stderr: String,
}

/// Runs `binary` with `arguments` in a folder that holds `toml` as `gateway.toml`, to its end:
/// for `check`, `schema`, and files that must be refused.
///
/// # Panics
/// When it does not end within [`DEADLINE`].
pub async fn run_to_end(binary: &str, arguments: &[&str], toml: &str) -> Ended {
    let directory = TempDir::with_prefix("tidegate-test-").expect("a temporary folder");
    write(&directory.path().join("gateway.toml"), toml);
    let output = Command::new(binary)
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(DEADLINE, "the command to end", output).await;
    let output = output.unwrap_or_else(|err| panic!("run {binary}: {err}"));
    Ended {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Log {
    fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn parsed(&self, from: usize) -> Vec<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("a JSON log line, not {line:?}"))
        };
        lines[from..].iter().map(parse).collect()
    }

    /// The first line with this message. Lines that are no JSON (a panic's) are passed over.
    async fn find(&self, message: &str) -> Value {
        let mut count = self.count.subscribe();
        let search = async {
            let mut next = 0;
            loop {
                let upto = *count.borrow_and_update();
                let found = {
                    let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut parsed = lines[next..upto]
                        .iter()
                        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
                    parsed.find(|line| line["fields"]["message"] == message)
                };
                if let Some(line) = found {
                    return line;
                }
                next = upto;
                count.changed().await.expect("the sender lives in self");
            }
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(line) => line,
            Err(_) => panic!("no log line {message:?} within {DEADLINE:?}\n{}", self.text()),
        }
    }

    async fn address(&self, message: &str) -> SocketAddr {
        let line = self.find(message).await;
        let address = line["fields"]["address"].as_str().and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("no fields.address in {line}"))
    }
}

async fn read_log(stderr: ChildStderr, log: Arc<Log>) {
    let mut lines = BufReader::new(stderr).lines();
    // An unreadable line is the end of what a test can look at.
    while let Ok(Some(line)) = lines.next_line().await {
        let mut all = log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(line);
        log.count.send_replace(all.len());
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|err| panic!("write {}: {err}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A script that behaves like the binary as far as this module looks.
    fn script(directory: &TempDir, body: &str) -> String {
        let path = directory.path().join("stand-in");
        write(&path, &format!("#!/bin/sh\n{body}\n"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, executable).expect("a file of ours");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    const LISTENING: &str = r#"
echo '{"fields":{"message":"admin listening","address":"127.0.0.1:2"}}' >&2
echo 'not JSON' >&2
echo '{"fields":{"message":"listening","address":"127.0.0.1:1"}}' >&2"#;

    #[tokio::test]
    async fn addresses_come_from_the_log_and_signals_arrive() {
        let directory = TempDir::new().expect("a temporary folder");
        let body = format!(
            r#"trap 'echo "{{\"fields\":{{\"message\":\"reloaded\",\"file\":\"$(cat gateway.toml)\"}}}}" >&2' HUP
trap 'echo bye >&2; exit 7' TERM
{LISTENING}
while :; do sleep 0.05; done"#
        );
        let gateway = TestGateway::start(&script(&directory, &body), "first").await;
        assert_eq!(gateway.ws_url("prod"), "ws://127.0.0.1:1/prod");
        assert_eq!(gateway.admin_url(), "http://127.0.0.1:2");
        gateway.reload("second").await;
        assert_eq!(gateway.wait_for_log("reloaded").await["fields"]["file"], "second");
        let ended = gateway.terminate(DEADLINE).await;
        assert_eq!(ended.status.code(), Some(7));
        assert!(ended.stderr.ends_with("bye"), "{}", ended.stderr);
    }

    #[tokio::test]
    #[should_panic(expected = "no such thing")]
    async fn a_process_that_ends_at_once_fails_the_start_with_its_log() {
        let directory = TempDir::new().expect("a temporary folder");
        let binary = script(&directory, "echo 'no such thing' >&2; sleep 0.2; exit 64");
        TestGateway::start(&binary, "").await;
    }

    #[tokio::test]
    async fn a_command_runs_to_its_end_beside_its_file() {
        let directory = TempDir::new().expect("a temporary folder");
        let binary = script(&directory, "echo \"$1 $(cat gateway.toml)\"; echo bad >&2; exit 64");
        let ended = run_to_end(&binary, &["check"], "x = 1").await;
        assert_eq!(ended.status.code(), Some(64));
        assert_eq!((ended.stdout.trim(), ended.stderr.trim()), ("check x = 1", "bad"));
    }
}
