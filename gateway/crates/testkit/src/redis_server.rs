//! A Redis of a test's own: the real `redis-server`, or a Valkey, to be killed, frozen and started
//! again.
//!
//! In:  as the programs of [`RedisProgram`]. Out: a server on a free port of the loopback; what its
//!      client prints.
//!
//! Holds always: the process ends with its value; it has written nothing down, so it comes back
//! empty.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::TcpListener,
};

use tempfile::TempDir;
use tokio::process::Child;

use crate::{
    RedisCertificates, RedisProgram,
    process_signal::{freeze, signal},
    redis_program::Setup,
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
    setup: Setup,
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
        Self::start_as(RedisProgram::Redis, options).await
    }

    /// A server of this program, with more options.
    ///
    /// # Panics
    /// When none comes up.
    pub async fn start_as(program: RedisProgram, options: &[&str]) -> Self {
        Self::set_up(Setup::new(program, options)).await
    }

    /// A `redis-server` that speaks TLS and nothing else.
    ///
    /// # Panics
    /// When none comes up.
    pub async fn start_tls(files: &RedisCertificates) -> Self {
        let setup = Setup { tls: Some(files.clone()), ..Setup::new(RedisProgram::Redis, &[]) };
        Self::set_up(setup).await
    }

    async fn set_up(setup: Setup) -> Self {
        // Another process may take the port between the look and the start.
        for _ in 0..20 {
            let folder = TempDir::with_prefix("tidegate-redis-").expect("a temporary folder");
            let port = free_port();
            let child = setup.spawn(&[], folder.path(), port);
            let mut server = Self { folder, port, setup: setup.clone(), child };
            if server.answers().await {
                return server;
            }
        }
        panic!("no {:?} came up", setup.program);
    }

    /// `redis://127.0.0.1:{port}`, or `rediss://` where it speaks TLS.
    pub fn url(&self) -> String {
        let scheme = if self.setup.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
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
        self.child = self.setup.spawn(&[], self.folder.path(), self.port);
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
        self.setup.cli(self.port, arguments, &[]).await
    }

    /// What `redis-cli` prints, with `last` as the command's last argument, whatever is in it.
    pub async fn cli_with(&self, arguments: &[&str], last: &[u8]) -> String {
        self.setup.cli(self.port, &[&["-x"], arguments].concat(), last).await
    }

    async fn answers(&mut self) -> bool {
        self.setup.answers(&mut self.child, self.port).await
    }
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

    async fn comes_back_on_its_port_and_empty(mut server: RedisServer) {
        assert_eq!(server.cli_with(&["set", "key"], b"a\xff b").await, "OK");
        assert_eq!(server.cli(&["strlen", "key"]).await, "4");
        let url = server.url();
        server.kill().await;
        assert_eq!(server.cli(&["ping"]).await, "");
        server.restart().await;
        assert_eq!((server.cli(&["dbsize"]).await, server.url()), ("0".to_owned(), url));
    }

    #[tokio::test]
    async fn a_server_comes_back_on_its_port_and_empty() {
        comes_back_on_its_port_and_empty(RedisServer::start().await).await;
    }

    #[tokio::test]
    async fn a_valkey_comes_back_on_its_port_and_empty() {
        let server = RedisServer::start_as(RedisProgram::Valkey, &[]).await;
        let info = server.cli(&["info", "server"]).await;
        assert!(info.contains("valkey_version:"), "{info}");
        comes_back_on_its_port_and_empty(server).await;
    }
}
