//! The programs of Redis, or those of Valkey in their place, which take the same options.
//!
//! In:  `redis-server` and `redis-cli` on the path; `valkey-server` and `valkey-cli` there or where
//!      `./test.sh` puts them. Options as on the command line.
//! Out: a process that serves one port of the loopback; what the client prints.
//!
//! Holds always: the process ends with its value; it writes nothing down. With certificates it
//! serves no port without TLS.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use crate::DEADLINE;

/// Where `./test.sh` unpacks Valkey if the system has none.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../.tests/valkey/usr/bin");

/// Whose programs serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisProgram {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
}

/// The PEM files of a server that speaks TLS, and nothing else. It asks for no client's certificate.
#[derive(Debug, Clone)]
pub struct RedisCertificates {
    /// The authority, for `redis-cli`.
    pub authority: PathBuf,
    /// The server's, for 127.0.0.1.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// How a server is run, and spoken with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) program: RedisProgram,
    pub(crate) tls: Option<RedisCertificates>,
    pub(crate) options: Vec<String>,
}

impl RedisProgram {
    fn command(self, which: &str) -> Command {
        let name = match self {
            Self::Redis => format!("redis-{which}"),
            Self::Valkey => format!("valkey-{which}"),
        };
        let unpacked = Path::new(UNPACKED).join(&name);
        let mut command =
            if unpacked.exists() { Command::new(unpacked) } else { Command::new(name) };
        command.kill_on_drop(true).stderr(Stdio::null());
        command
    }
}

fn start(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|err| {
        panic!("run {:?}, which ./test.sh installs: {err}", command.as_std().get_program())
    })
}

impl Setup {
    pub(crate) fn new(program: RedisProgram, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { program, tls: None, options }
    }

    /// Starts the server, with a configuration file or none.
    pub(crate) fn spawn(&self, file: &[&Path], folder: &Path, port: u16) -> Child {
        let port = port.to_string();
        let mut command = self.program.command("server");
        command.args(file).args(["--bind", "127.0.0.1"]);
        match &self.tls {
            None => command.args(["--port", &port]),
            Some(files) => command
                .args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
                .arg("--tls-cert-file")
                .arg(&files.certificate)
                .arg("--tls-key-file")
                .arg(&files.private_key),
        };
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder);
        command.args(&self.options).stdin(Stdio::null()).stdout(Stdio::null());
        start(command)
    }

    /// Whether the server answers; `false` when it ends instead, for its port is taken.
    pub(crate) async fn answers(&self, child: &mut Child, port: u16) -> bool {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            if self.cli(port, &["ping"], &[]).await == "PONG" {
                // Not another server's answer, that had the port before.
                return matches!(child.try_wait(), Ok(None));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// What the client prints.
    pub(crate) async fn cli(&self, port: u16, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.program.command("cli");
        command.args(["-p", &port.to_string()]);
        if let Some(files) = &self.tls {
            command.args(["--tls", "--cacert"]).arg(&files.authority);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(command);
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // It reads none where it has nothing to read it for.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("a child of ours can be waited for");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
