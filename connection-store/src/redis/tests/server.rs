//! A Redis of a test's own, or a Valkey.
//!
//! In:  nothing but the programs `redis-server` and `redis-cli` on the path; `valkey-server` and
//!      `valkey-cli` there or where `./test.sh` puts them.
//! Out: a server on a free port of the loopback, which ends with the value.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long anything that a test waits for may take.
pub(in crate::redis) const DEADLINE: Duration = Duration::from_secs(20);

/// Where `./test.sh` unpacks Valkey if the system has none.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tests/valkey/usr/bin");

/// Whose programs serve.
#[derive(Clone, Copy)]
pub(in crate::redis) enum Program {
    Redis,
    Valkey,
}

impl Program {
    fn command(self, which: &str) -> Command {
        let name = match self {
            Self::Redis => format!("redis-{which}"),
            Self::Valkey => format!("valkey-{which}"),
        };
        let unpacked = Path::new(UNPACKED).join(&name);
        if unpacked.exists() { Command::new(unpacked) } else { Command::new(name) }
    }
}

pub(in crate::redis) struct Server {
    program: Program,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// A server that answers.
    pub(in crate::redis) fn start() -> Self {
        Self::with(&[])
    }

    /// A server with more options, as on the command line.
    pub(in crate::redis) fn with(options: &[&str]) -> Self {
        Self::of(Program::Redis, options)
    }

    /// A server of this program, with more options.
    pub(in crate::redis) fn of(program: Program, options: &[&str]) -> Self {
        let mut arguments: Vec<String> =
            options.iter().map(|option| (*option).to_owned()).collect();
        if !options.contains(&"--save") {
            arguments.extend(["--save".to_owned(), String::new()]);
        }
        // Another process may take the port between the look and the start.
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let child = spawn(program, &folder, port, &arguments);
            let mut server = Self { program, folder, port, arguments: arguments.clone(), child };
            if server.answers() {
                return server;
            }
        }
        panic!("no server came up");
    }

    pub(in crate::redis) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The url of a user of its own, who can be shut out while others are not.
    pub(in crate::redis) fn url_of(&self, user: &str) -> String {
        self.cli(&["acl", "setuser", user, "on", ">secret", "~*", "&*", "+@all"]);
        format!("redis://{user}:secret@127.0.0.1:{}", self.port)
    }

    /// Cuts a user off.
    pub(in crate::redis) fn shut_out(&self, user: &str) {
        self.cli(&["acl", "setuser", user, "off"]);
        self.cli(&["client", "kill", "user", user]);
    }

    pub(in crate::redis) fn let_in(&self, user: &str) {
        self.cli(&["acl", "setuser", user, "on"]);
    }

    pub(in crate::redis) fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub(in crate::redis) fn kill(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("a killed server ends");
    }

    /// The same server again, on the same port, with whatever it had written to its folder.
    pub(in crate::redis) fn restart(&mut self) {
        self.child = spawn(self.program, &self.folder, self.port, &self.arguments);
        assert!(self.answers(), "the server comes back");
    }

    /// SIGSTOP: it keeps its sockets and says nothing.
    pub(in crate::redis) fn stop(&self) {
        self.signal("STOP");
    }

    pub(in crate::redis) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill is there").success(), "the server runs");
    }

    /// What `redis-cli` prints.
    pub(in crate::redis) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = self.program.command("cli").args(["-p", &port]).args(arguments).output();
        let output = output.expect("./test.sh installs it");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if self.cli(&["ping"]) == "PONG" {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

pub(in crate::redis) fn free_port() -> u16 {
    // A cluster's own port is 10,000 above: below 55,536 and not among the ephemeral ones' end.
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        if port < 55_000 {
            return port;
        }
    }
}

fn spawn(program: Program, folder: &TempDir, port: u16, arguments: &[String]) -> Child {
    let log = File::create(folder.path().join("log")).expect("a file in an own folder");
    program
        .command("server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder.path())
        .args(arguments)
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("./test.sh installs it")
}
