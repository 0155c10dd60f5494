//! A Redis of a test's own: the real `redis-server`, to be killed, frozen and started again.
//!
//! In:  the programs `redis-server` and `redis-cli` on the path; options as on the command line.
//! Out: a server on a free port of the loopback; what `redis-cli` prints.
//!
//! Holds always: the process ends with its value; it has written nothing down, so it comes back
//! empty.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use crate::{
    DEADLINE,
    process_signal::{freeze, signal},
};

/// Where the ports are looked for. They and those 10,000 above, which a Redis Cluster takes as well,
/// are below the range from which systems take ports for themselves: while a server is away, nobody
/// else's connection sits on its port.
const PORTS: std::ops::Range<u16> = 10_000..22_000;

/// One server.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// A server that answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with more options, such as `["--client-output-buffer-limit", "pubsub 0 0 0"]`.
    ///
    /// # Panics
    /// When none comes up.
    pub async fn start_with(options: &[&str]) -> Self {
        // Another process may take the port between the look and the start.
        for _ in 0..20 {
            let folder = TempDir::with_prefix("tidegate-redis-").expect("a temporary folder");
            let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
            let port = free_port();
            let child = spawn(&[], folder.path(), port, &options);
            let mut server = Self { folder, port, options, child };
            if server.answers().await {
                return server;
            }
        }
        panic!("no redis-server came up");
    }

    /// `redis://127.0.0.1:{port}`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child of ours can be killed");
    }

    /// The same server again, on the same port, and empty.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn restart(&mut self) {
        self.child = spawn(&[], self.folder.path(), self.port, &self.options);
        assert!(self.answers().await, "the server does not come back");
    }

    /// SIGSTOP: it keeps its sockets and says nothing, from this call's return on.
    pub async fn freeze(&self) {
        freeze(self.pid()).await;
    }

    /// SIGCONT: it goes on where it was.
    pub async fn thaw(&self) {
        signal(self.pid(), "CONT").await;
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// What `redis-cli` prints.
    pub async fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments, &[]).await
    }

    /// What `redis-cli` prints, with `last` as the command's last argument, whatever is in it.
    pub async fn cli_with(&self, arguments: &[&str], last: &[u8]) -> String {
        cli(self.port, &[&["-x"], arguments].concat(), last).await
    }

    async fn answers(&mut self) -> bool {
        answers(&mut self.child, self.port).await
    }
}

/// Starts `redis-server`, with a configuration file or none.
pub(crate) fn spawn(file: &[&Path], folder: &Path, port: u16, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(file)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|err| panic!("run redis-server: {err}"))
}

/// Whether it does; `false` when it ends instead, for its port is taken.
pub(crate) async fn answers(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        if cli(port, &["ping"], &[]).await == "PONG" {
            // Not another server's answer, that had the port before.
            return matches!(child.try_wait(), Ok(None));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

pub(crate) async fn cli(port: u16, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|err| panic!("run redis-cli: {err}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // It reads none where it has nothing to read it for.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("a child of ours can be waited for");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A port that nobody listens at now.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let among = u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(random % among).expect("below a u16");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_comes_back_on_its_port_and_empty() {
        let mut server = RedisServer::start().await;
        assert_eq!(server.cli_with(&["set", "key"], b"a\xff b").await, "OK");
        assert_eq!(server.cli(&["strlen", "key"]).await, "4");
        let url = server.url();
        server.kill().await;
        assert_eq!(server.cli(&["ping"]).await, "");
        server.restart().await;
        assert_eq!((server.cli(&["dbsize"]).await, server.url()), ("0".to_owned(), url));
    }
}
