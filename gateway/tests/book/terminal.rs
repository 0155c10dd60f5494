//! A reader's terminal: a folder with the files of a chapter, and a shell in it.
//!
//! In:  files and blocks of commands as the page has them. Out: what they print.
//!
//! Holds always: the ports of the page (8080, 3000 and the like) become free ones of the loopback, each
//! the same one throughout; a command that fails fails the test with what it said; whatever was started
//! ends with the value, jobs in the background too.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tidegate_testkit::{DEADLINE, try_http_call, wait_until, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{GATEWAY, page::root};

/// The ports that pages name.
const PORTS: [u16; 10] = [3000, 6379, 8080, 8081, 8082, 8083, 8084, 8085, 9000, 9001];

/// Where free ports are looked for: below the range from which systems take ports for themselves.
const FREE: std::ops::Range<u16> = 22_000..32_000;

/// Stands in for `npx wscat`, which npx would fetch: takes the same options, connects, and ends.
const WSCAT: &str = r#"
import asyncio, sys, websockets
arguments = sys.argv[1:]
assert arguments[:2] == ["wscat", "-c"], arguments
headers = [header.split(": ", 1) for header in arguments[4:]] if arguments[3:4] == ["-H"] else []
assert len(arguments) in (3, 5), arguments
async def main():
    async with websockets.connect(arguments[2], additional_headers=headers, proxy=None):
        print("Connected", flush=True)
try:
    asyncio.run(main())
except websockets.InvalidStatus as error:
    sys.exit(f"error: Unexpected server response: {error.response.status_code}")
"#;

/// A file or folder that `./test.sh` has installed.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = root().join(".tests").join(path);
    assert!(path.exists(), "{} is missing: run ./test.sh", path.display());
    path
}

/// The reader's folder.
pub(crate) struct Desk {
    folder: TempDir,
    ports: [(u16, u16); PORTS.len()],
    variables: Vec<(String, String)>,
}

impl Desk {
    /// An empty folder, and `tidegate`, `python3`, `node` and `npx` to be called.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("tidegate-book-").expect("a folder");
        let bin = folder.path().join(".bin");
        fs::create_dir(&bin).expect("a folder of ours");
        symlink(GATEWAY, bin.join("tidegate")).expect("a link of ours");
        let python = installed("python/bin/python");
        let calls = [
            ("python3", format!("exec {} \"$@\"", python.display())),
            ("node", format!("exec {} \"$@\"", installed("node/bin/node").display())),
            ("npx", format!("exec {} {}/wscat.py \"$@\"", python.display(), bin.display())),
        ];
        for (name, program) in calls {
            write_program(&bin.join(name), &format!("#!/bin/sh\n{program}\n"));
        }
        fs::write(bin.join("wscat.py"), WSCAT).expect("write");
        // All are held until the last one is known.
        let mut held = Vec::new();
        let ports = PORTS.map(|port| {
            let (free, socket) = free_port();
            held.push(socket);
            (port, free)
        });
        Self { folder, ports, variables: Vec::new() }
    }

    /// A variable of the environment, for what is started from here on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text of the page, for the ports of this folder.
    pub(crate) fn here(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            out += &rest[..start];
            rest = &rest[start..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, after) = rest.split_at(end);
            let known = self.ports.iter().find(|(port, _)| digits.parse() == Ok(*port));
            out += &known.map_or(digits.to_owned(), |(_, free)| free.to_string());
            rest = after;
        }
        // Tests listen on the loopback only.
        (out + rest).replace("0.0.0.0", "127.0.0.1")
    }

    /// The port that stands for one of the page's.
    pub(crate) fn port(&self, of_page: u16) -> u16 {
        let known = self.ports.iter().find(|(port, _)| *port == of_page);
        known.unwrap_or_else(|| panic!("{of_page} is no port of a page")).1
    }

    /// Saves a file as the page has it.
    pub(crate) fn save(&self, name: &str, text: &str) {
        fs::write(self.path(name), self.here(text)).expect("write");
    }

    /// Saves `gateway.toml`. Where the page leaves the addresses at their defaults, they stand in it.
    pub(crate) fn save_gateway_toml(&self, text: &str) {
        let mut text = text.to_owned();
        for (table, port) in [("listen", 8080), ("admin", 8081)] {
            if !text.contains(&format!("[{table}]")) {
                text = format!("[{table}]\naddress = \"127.0.0.1:{port}\"\n\n{text}");
            }
        }
        self.save("gateway.toml", &text);
    }

    /// Waits until somebody listens at a port of the page.
    pub(crate) async fn wait_for_port(&self, of_page: u16) {
        let port = self.port(of_page);
        wait_until(DEADLINE, &format!("somebody at {of_page} of the page"), async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
    }

    /// Waits until a gateway answers at a port of the page.
    pub(crate) async fn wait_for_gateway(&self, of_page: u16) {
        let url = format!("http://127.0.0.1:{}", self.port(of_page));
        wait_until(DEADLINE, &format!("a gateway at {of_page} of the page"), async || {
            try_http_call(&url, "GET", "/", &[], b"").await.is_some()
        })
        .await;
    }

    fn command(&self) -> Command {
        let mut command = Command::new("bash");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.path(".bin")).chain(std::env::split_paths(&path));
        let errors = fs::File::options().create(true).append(true).open(self.path(".errors"));
        command
            .args(["--noprofile", "--norc"])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(folders).expect("folders without a colon"))
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.expect("a file of ours"))
            .process_group(0);
        command
    }

    /// A shell, which keeps its jobs and variables from block to block.
    pub(crate) fn shell(&self) -> Shell<'_> {
        let mut child = Group(self.command().spawn().expect("run bash"));
        let stdin = child.0.stdin.take().expect("stdin is piped");
        let stdout = child.0.stdout.take().expect("stdout is piped");
        Shell { desk: self, stdin, lines: BufReader::new(stdout).lines(), _child: child }
    }

    /// A program that is spoken with, by the block that starts it.
    pub(crate) fn talk(&self, block: &str) -> Talk {
        let mut command = self.command();
        command.arg("-c").arg(format!("exec {}", self.here(block)));
        let mut child = Group(command.spawn().expect("run bash"));
        let stdin = child.0.stdin.take().expect("stdin is piped");
        let stdout = child.0.stdout.take().expect("stdout is piped");
        Talk { stdin, stdout, heard: String::new(), child }
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.path(".errors")).unwrap_or_default()
    }
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
}

fn free_port() -> (u16, TcpListener) {
    loop {
        let port = rand::random_range(FREE);
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port)) {
            return (port, socket);
        }
    }
}

/// A shell and all that it has started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // A group that has ended already is what is wanted.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// See [`Desk::shell`].
pub(crate) struct Shell<'d> {
    desk: &'d Desk,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Group,
}

impl Shell<'_> {
    /// Runs a block of the page to its end; what it has printed.
    ///
    /// # Panics
    /// When one of its commands fails.
    pub(crate) async fn run(&mut self, block: &str) -> String {
        const END: &str = "--- the block has ended";
        const FAILED: &str = "--- a command has failed";
        let block_here = self.desk.here(block);
        let script = format!(
            "trap \"echo; echo '{FAILED}'\" EXIT; set -e -o pipefail\n\
             {{\n{block_here}\n}} </dev/null\necho; echo '{END}'\n"
        );
        self.stdin.write_all(script.as_bytes()).await.expect("the shell reads");
        let mut printed = Vec::new();
        loop {
            let line =
                within(DEADLINE, &format!("the end of\n{block}"), self.lines.next_line()).await;
            match line.expect("output in UTF-8") {
                Some(line) if line == END => break,
                Some(line) if line != FAILED => printed.push(line),
                // Its jobs may still hold the pipe.
                _ => panic!("failed:\n{block}\n{}\n{}", printed.join("\n"), self.desk.errors()),
            }
        }
        // The line that ends what ends without a line break.
        if printed.last().is_some_and(String::is_empty) {
            printed.pop();
        }
        printed.join("\n")
    }
}

/// See [`Desk::talk`].
pub(crate) struct Talk {
    stdin: ChildStdin,
    stdout: ChildStdout,
    heard: String,
    child: Group,
}

impl Talk {
    /// Types a line.
    pub(crate) async fn say(&mut self, line: &str) {
        let line = format!("{}\n", line.trim_end());
        self.stdin.write_all(line.as_bytes()).await.expect("the program reads");
    }

    /// Waits until it has printed this, and forgets all up to there.
    pub(crate) async fn hear(&mut self, text: &str) {
        self.read_to(text).await;
    }

    /// What it prints between two texts.
    pub(crate) async fn hear_between(&mut self, before: &str, after: &str) -> String {
        self.read_to(before).await;
        self.read_to(after).await
    }

    async fn read_to(&mut self, text: &str) -> String {
        let mut chunk = [0; 4096];
        loop {
            if let Some((before, after)) = self.heard.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.heard = after;
                return before;
            }
            let what = format!("{text:?} after {:?}", self.heard);
            let read = within(DEADLINE, &what, self.stdout.read(&mut chunk)).await;
            let read = read.expect("output");
            assert!(read > 0, "the program has ended without {what}");
            self.heard += &String::from_utf8_lossy(&chunk[..read]);
        }
    }

    /// Ctrl-D; waits for the program's end.
    pub(crate) async fn end(mut self) {
        drop(self.stdin);
        let status = within(DEADLINE, "the program to end", self.child.0.wait()).await;
        assert!(status.expect("a child of ours").success());
    }
}

#[test]
fn the_pages_ports_are_replaced_and_nothing_else() {
    let desk = Desk::new();
    let (listen, redis) = (desk.port(8080), desk.port(6379));
    assert_eq!(
        desk.here("ws://127.0.0.1:8080/prod 80801 0.0.0.0:8080, --port 6379 10000/s"),
        format!("ws://127.0.0.1:{listen}/prod 80801 127.0.0.1:{listen}, --port {redis} 10000/s")
    );
}

#[tokio::test]
#[should_panic(expected = "no such thing")]
async fn a_command_that_fails_fails_the_test_with_what_it_said() {
    let desk = Desk::new();
    let mut shell = desk.shell();
    assert_eq!(shell.run("x=1\nprintf 'one\\n%s' \"$x\"").await, "one\n1");
    shell.run("echo 'no such thing' >&2; false; true").await;
}
