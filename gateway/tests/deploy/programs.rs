//! The programs that check and run the files, and the files themselves.
//!
//! In:  names and arguments. Out: what programs said; processes that listen.
//!
//! Holds always: a child is killed when its value drops; what it said is in the failure's text.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tidegate_testkit::{DEADLINE, within};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A file or folder by its path in the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    let path = Path::new(ROOT).join(path);
    path.canonicalize().unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// A file's text.
pub(crate) fn text_of(path: &str) -> String {
    let path = in_repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// A program of the system. Servers are in `/usr/sbin`, which is not on everybody's path.
pub(crate) fn program(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| candidate.is_file());
    let found = found.unwrap_or_else(|| panic!("{name} is missing: ./test.sh installs it"));
    let mut command = Command::new(found);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What is installed below `.tests/deploy`.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = Path::new(ROOT).join(".tests/deploy").join(name);
    assert!(path.exists(), "{} is missing: ./test.sh installs it", path.display());
    path
}

/// The folder's `validate.py` or `helm_install.py`.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(installed("bin/python"));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy").join(script))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// How a program ended, and all that it said.
pub(crate) struct Said {
    /// Whether it ended with 0.
    pub(crate) well: bool,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Said {
    /// Both together.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Fails the test unless the program ended with 0.
    pub(crate) fn expect_well(self) -> Self {
        assert!(self.well, "{}", self.all());
        self
    }

    /// What it printed, as JSON.
    pub(crate) fn json(self) -> Value {
        let said = self.expect_well();
        serde_json::from_str(&said.out).unwrap_or_else(|err| panic!("{err} in {}", said.out))
    }
}

/// Runs a program to its end.
pub(crate) async fn run(command: &mut Command) -> Said {
    run_with_input(command, b"").await
}

/// Runs a program to its end with `input` on its standard input.
pub(crate) async fn run_with_input(command: &mut Command, input: &[u8]) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|err| panic!("run {command:?}: {err}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let both = async {
        // A program that reads nothing may be gone already.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = within(3 * DEADLINE, "a program to end", both).await.expect("a child of ours");
    Said {
        well: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A server that runs until it is dropped. Its log goes to the test's.
pub(crate) fn serve(command: &mut Command) -> Child {
    command.stdout(Stdio::null());
    command.spawn().unwrap_or_else(|err| panic!("run {command:?}: {err}"))
}

/// A loopback address where nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener")
}

/// `text` with each `old` replaced by its `new`, each of which must be there.
pub(crate) fn replaced(text: &str, pairs: &[(&str, String)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old:?} is not in the file any more");
        text.replace(old, new)
    })
}
