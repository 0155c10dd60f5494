//! The programs of the other languages, as child processes.
//!
//! In:  a program, the case it is to run or the orders that it is to carry out, what it needs in its
//!      environment.
//! Out: its standard output, or a panic with all that it said.
//!
//! Holds always: the environment of the person who runs the tests (proxies, profiles, credentials)
//! does not reach the SDKs; the child ends with the test.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Where `./test.sh` installs, below the workspace.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tests");
/// Where the programs are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Longer than any case takes on a busy machine, Autobahn's large messages included.
const DEADLINE: Duration = Duration::from_secs(300);

/// A program by its path below `gateway/tests/clients`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program {
    Python(&'static str),
    Node(&'static str),
}

impl Program {
    /// The program's command line, ready for arguments and environment.
    pub(crate) fn command(self) -> Command {
        let (interpreter, file) = match self {
            Self::Python(file) => ("python/bin/python", file),
            Self::Node(file) => ("node/bin/node", file),
        };
        let mut command = Command::new(installed(interpreter));
        command
            .arg(Path::new(PROGRAMS).join(file))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONWARNINGS", "ignore")
            .env("TIDEGATE_NODE_MODULES", Path::new(INSTALLED).join("node"))
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN");
        command
    }

    /// The cases that the program has, in its order.
    pub(crate) async fn cases(self) -> Vec<String> {
        let mut command = self.command();
        command.arg("--list");
        output_of(command).await.lines().map(str::to_owned).collect()
    }
}

/// A program that runs beside the test and carries out its orders: a line of JSON each, answered by
/// a line of JSON.
pub(crate) struct Spoken {
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Spoken {
    /// Starts it. What it complains of goes to the test's own output.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|err| panic!("run {command:?}: {err}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, stdin, answers }
    }

    /// What it answers to an order.
    ///
    /// # Panics
    /// When it ends instead.
    pub(crate) async fn ask(&mut self, order: &Value) -> Value {
        let asking = async {
            let written = self.stdin.write_all(format!("{order}\n").as_bytes()).await;
            let answer = self.answers.next_line().await.expect("output in UTF-8");
            written.ok().and(answer)
        };
        let answer = tokio::time::timeout(DEADLINE, asking).await;
        let answer = answer.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {order}"));
        let answer = answer.unwrap_or_else(|| panic!("the program has ended at {order}"));
        serde_json::from_str(&answer).unwrap_or_else(|err| panic!("{err} in {answer:?}"))
    }

    /// Waits for its end, which must be a good one; there are no more orders.
    pub(crate) async fn end(mut self) {
        drop(self.stdin);
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = status.expect("the program ends without orders").expect("a child of ours");
        assert!(status.success(), "{status}; what it complained of is above");
    }
}

/// A file or folder that `./test.sh` has installed.
///
/// # Panics
/// When it is missing.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = Path::new(INSTALLED).join(path);
    assert_installed(&path);
    path
}

/// Fails the test when a file that `./test.sh` provides is missing.
pub(crate) fn assert_installed(path: &Path) {
    let name = path.display();
    assert!(path.exists(), "{name} is missing: run ./test.sh, which installs what this needs");
}

/// Runs a command to its end; its standard output.
///
/// # Panics
/// With all that it said, when it fails or does not end.
pub(crate) async fn output_of(mut command: Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|err| panic!("run {command:?}: {err}"));
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut out = child.stdout.take().expect("stdout is piped");
    let mut err = child.stderr.take().expect("stderr is piped");
    // A browser that outlives the program holds its pipes: the program's end has the same deadline.
    let ended = tokio::time::timeout(DEADLINE, async {
        let read = tokio::join!(out.read_to_string(&mut stdout), err.read_to_string(&mut stderr));
        read.0.and(read.1).expect("output in UTF-8");
        child.wait().await.expect("a child of ours can be waited for")
    })
    .await;
    let how = match ended {
        Ok(status) if status.success() => return stdout,
        Ok(status) => status.to_string(),
        Err(_) => format!("not ended within {DEADLINE:?}"),
    };
    let arguments: Vec<_> =
        command.as_std().get_args().map(|text| text.to_string_lossy()).collect();
    panic!("{}: {how}\n{stdout}\n{stderr}", arguments.join(" "));
}

/// A test per case of a program, by the names the program gives them, and one test that no case
/// of the program is left out. `$run` is `async fn(Program, case: &str)`.
macro_rules! cases {
    ($program:expr, $run:path: $($case:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            $run($program, stringify!($case)).await;
        })+

        #[tokio::test]
        async fn every_case_of_the_program_is_a_test_here() {
            assert_eq!($program.cases().await, [$(stringify!($case)),+]);
        }
    };
}
pub(crate) use cases;
