//! The server under test as a child process: the gateway, or the raw baseline.
//!
//! ```text
//! start --"listening" on stderr--> running --SIGTERM--> exited, status checked
//! ```
//!
//! In:  what to run, on which core. Out: its addresses, its process id.
//!
//! Holds always: the child is gone when its [`ServerProcess`] is, on every path.

use std::{
    collections::VecDeque,
    env, fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    affinity::Cores,
    failure::Failure,
    gateway_config::{self, Settings},
    meter::Processes,
    proc_stats,
    scenario::{Job, Scenario},
};

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than `[drain] deadline_s` of the configuration.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of the child's log is kept for a failure's sake.
const KEPT_LOG_LINES: usize = 20;

/// Which server a figure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The release gateway.
    Gateway,
    /// The hand-written epoll server of [`crate::raw`].
    Raw,
}

impl Kind {
    /// As the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Raw => "raw",
        }
    }
}

/// Why a server could not be run to its proper end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(
        "no release gateway at {}: run `cargo build --release` first, or name one with --gateway",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("start {}", .0.display())]
    Start(PathBuf, #[source] io::Error),
    #[error("the {server} did not log \"listening\" within 10 s; its log ends with:\n{log}")]
    NotListening { server: &'static str, log: String },
    #[error("the {server} ended with {status}; its log ends with:\n{log}")]
    Exit { server: &'static str, status: ExitStatus, log: String },
    #[error("the {0} was still running 15 s after SIGTERM")]
    NotStopped(&'static str),
}

/// Finds the gateway: `given` (`--gateway`), `TIDEGATE_BINARY`, beside this program when that
/// is a release build, `target/release` of the current folder.
pub(crate) fn find_gateway(given: Option<PathBuf>) -> Result<PathBuf, ServerError> {
    let named = given.or_else(|| env::var_os("TIDEGATE_BINARY").map(PathBuf::from));
    let path = named.unwrap_or_else(|| {
        let beside = env::current_exe().ok().and_then(|own| {
            let folder = own.parent().filter(|folder| folder.ends_with("release"))?;
            Some(folder.join("tidegate")).filter(|path| path.is_file())
        });
        beside.unwrap_or_else(|| PathBuf::from("target/release/tidegate"))
    });
    if path.is_file() { Ok(path) } else { Err(ServerError::Missing(path)) }
}

/// This program as the worker of the local function, beside the generator.
fn worker_command(cores: Cores) -> Result<Vec<String>, Failure> {
    let program = env::current_exe()?.into_os_string().into_string().map_err(|path| {
        Failure::Usage(format!("{} is no path in UTF-8", Path::new(&path).display()))
    })?;
    let core = cores.generator().map(|core| format!("--core={core}"));
    Ok([program, "worker".to_owned()].into_iter().chain(core).collect())
}

/// A running server.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    kind: Kind,
    child: Child,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Where `/metrics` is; the raw server has none.
    pub(crate) admin: Option<SocketAddr>,
    log: Arc<Mutex<VecDeque<String>>>,
    /// Holds the configuration file while the gateway may reload it.
    _folder: TempDir,
}

impl ServerProcess {
    /// Starts the gateway in `binary` with routes to `backend` and what else `job` needs.
    pub(crate) fn gateway(
        binary: &Path,
        backend: SocketAddr,
        job: &Job,
        cores: Cores,
    ) -> Result<Self, Failure> {
        let settings =
            Settings { max_in_flight: job.sizes.depth.max(16), ..Settings::new(backend) };
        let mut text = gateway_config::gateway_toml(&settings);
        if job.scenario == Scenario::Function {
            text += &gateway_config::local_function(&worker_command(cores)?);
        }
        Self::configured(binary, &text, cores)
    }

    /// Starts the gateway in `binary` with the configuration `text`.
    pub(crate) fn configured(binary: &Path, text: &str, cores: Cores) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("gateway.toml");
        fs::write(&file, text)?;
        let mut command = Command::new(binary);
        command.arg("run").arg(file).args(["--log-format", "json"]).env("TIDEGATE_LOG", "info");
        // What it keeps for its workers goes with the folder.
        command.env("XDG_STATE_HOME", folder.path());
        Self::start(Kind::Gateway, command, folder, cores)
    }

    /// Starts this program again as the raw server.
    pub(crate) fn raw(backend: SocketAddr, cores: Cores) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("raw-server").arg("--backend").arg(backend.to_string());
        Self::start(Kind::Raw, command, tempfile::tempdir()?, cores)
    }

    fn start(
        kind: Kind,
        mut command: Command,
        folder: TempDir,
        cores: Cores,
    ) -> Result<Self, Failure> {
        // The raw server ends with its standard input, so with this program at the latest.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = cores
            .on_server_core(|| command.spawn())?
            .map_err(|error| ServerError::Start(command.get_program().into(), error))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (found, addresses) = mpsc::channel();
        let stderr = child.stderr.take().expect("stderr was asked for as a pipe");
        let reader_log = Arc::clone(&log);
        thread::spawn(move || read_log(stderr, &reader_log, &found));
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { kind, child, address: unknown, admin: None, log, _folder: folder };
        server.wait_until_listening(&addresses)?;
        Ok(server)
    }

    fn wait_until_listening(&mut self, found: &Receiver<Listening>) -> Result<(), Failure> {
        let until = Instant::now() + START_TIMEOUT;
        let (mut public, mut admin) = (None, None);
        while public.is_none() || (admin.is_none() && self.kind == Kind::Gateway) {
            match found.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Listening::Public(address)) => public = public.or(Some(address)),
                Ok(Listening::Admin(address)) => admin = Some(address),
                Err(RecvTimeoutError::Timeout) => {
                    let log = self.last_log_lines();
                    return Err(ServerError::NotListening { server: self.kind.name(), log }.into());
                }
                // Its stderr is at its end, so the child is ending.
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    return Err(self.ended_with(status).into());
                }
            }
        }
        self.address = public.expect("the loop ends when it is known");
        self.admin = admin;
        Ok(())
    }

    /// Whose CPU time is this server's.
    pub(crate) fn processes(&self) -> Processes {
        Processes { servers: vec![self.id()], redis: None }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL, and returns when the process is gone.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Resident heap and stacks, bytes.
    pub(crate) fn user_memory_bytes(&self) -> io::Result<u64> {
        proc_stats::user_memory_bytes(self.child.id())
    }

    /// Sends SIGTERM and waits; anything but the proper end is an error.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        // A child that has ended by itself is found below, by its status.
        signal::kill(pid_of(&self.child), Signal::SIGTERM)?;
        let until = Instant::now() + STOP_TIMEOUT;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > until => {
                    return Err(ServerError::NotStopped(self.kind.name()).into());
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        let proper = match self.kind {
            Kind::Gateway => status.success(),
            // It has no signal handler: dying of the signal is how it ends.
            Kind::Raw => status.signal() == Some(Signal::SIGTERM as i32),
        };
        if proper { Ok(()) } else { Err(self.ended_with(status).into()) }
    }

    fn ended_with(&self, status: ExitStatus) -> ServerError {
        ServerError::Exit { server: self.kind.name(), status, log: self.last_log_lines() }
    }

    fn last_log_lines(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // After `stop` both only report that the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child as signals name it.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("Linux process ids fit in 22 bits"))
}

enum Listening {
    Public(SocketAddr),
    Admin(SocketAddr),
}

/// Reads the child's log to its end, so that the child never waits for a full pipe.
fn read_log(stderr: ChildStderr, kept: &Mutex<VecDeque<String>>, found: &Sender<Listening>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(listening) = parse_listening(&line) {
            // Nobody waits any more once both are known.
            let _ = found.send(listening);
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_LOG_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

#[derive(Deserialize)]
struct LogLine<'a> {
    #[serde(borrow)]
    fields: LogFields<'a>,
}

#[derive(Deserialize)]
struct LogFields<'a> {
    message: &'a str,
    address: SocketAddr,
}

fn parse_listening(line: &str) -> Option<Listening> {
    let line: LogLine<'_> = serde_json::from_str(line).ok()?;
    match line.fields.message {
        "listening" => Some(Listening::Public(line.fields.address)),
        "admin listening" => Some(Listening::Admin(line.fields.address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_are_read_from_the_log_and_other_lines_are_passed_over() {
        let line = |message: &str| {
            format!(
                r#"{{"timestamp":"t","level":"INFO","fields":{{"message":"{message}",
                "address":"127.0.0.1:4000","n":1}},"target":"x"}}"#
            )
        };
        let four_thousand = SocketAddr::from(([127, 0, 0, 1], 4000));
        let public = parse_listening(&line("listening"));
        assert!(matches!(public, Some(Listening::Public(address)) if address == four_thousand));
        let admin = parse_listening(&line("admin listening"));
        assert!(matches!(admin, Some(Listening::Admin(address)) if address == four_thousand));
        assert!(parse_listening(&line("drained")).is_none());
        assert!(parse_listening("listening on 127.0.0.1:4000").is_none());
    }

    #[test]
    fn a_missing_gateway_says_how_to_build_one() {
        let error = find_gateway(Some("/nowhere/tidegate".into())).expect_err("nothing is there");
        assert!(error.to_string().contains("cargo build --release"), "{error}");
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_log() {
        let cores = Cores::none();
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken >&2; exit 64"]);
        let folder = tempfile::tempdir().expect("folder");
        let error = ServerProcess::start(Kind::Gateway, command, folder, cores)
            .expect_err("it never listens")
            .to_string();
        assert!(error.contains("64") && error.contains("broken"), "{error}");
    }
}
