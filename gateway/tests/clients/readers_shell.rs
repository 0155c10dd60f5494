//! A shell in which the commands of a README run as they stand there, at addresses of a test's own.
//!
//! In:  blocks of commands, files of the repository that they name. Out: what they start.
//!
//! Holds always: the loopback's addresses become some of a network of its own there, the ports free
//! ones, each the same throughout; a command that fails fails the test, with all that was said;
//! whatever was started ends with the shell.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tidegate_testkit::within;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::GATEWAY;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What the files and commands name.
const PORTS: [&str; 5] = ["3000", "6379", "8080", "8081", "8404"];
/// A block may restart several gateways one after the other, on a busy machine.
const BLOCK: Duration = Duration::from_secs(120);

/// The blocks of commands in a section, which are that many.
pub(crate) fn sections_blocks<const N: usize>(file: &str, section: &str) -> [String; N] {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).expect("a file of the repository");
    let (_, section) = text.split_once(section).unwrap_or_else(|| panic!("{section} in {file}"));
    let section = section.split("\n## ").next().expect("the section itself");
    let blocks = section.split("\n```sh\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("\n```\n").expect("the block's end");
        block.to_owned()
    });
    let blocks: Vec<String> = blocks.collect();
    blocks.try_into().unwrap_or_else(|blocks| panic!("{N} blocks in {file}: {blocks:#?}"))
}

/// The reader's folder and addresses.
pub(crate) struct Desk {
    folder: TempDir,
    /// `127.x.y.`. Linux has all of 127.0.0.0/8 without being asked, and takes a port of it for no
    /// connection that goes out: so a server that restarts finds its port free.
    network: String,
    ports: [u16; PORTS.len()],
}

impl Desk {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        let [x, y] = [(); 2].map(|()| rand::random_range(1..=254));
        let network = format!("127.{x}.{y}.");
        // All are held until the last one is known.
        let held = PORTS.map(|_| TcpListener::bind(format!("{network}1:0")).expect("a free port"));
        let ports = held.each_ref().map(|held| held.local_addr().expect("a bound socket").port());
        Self { folder: TempDir::with_prefix("tidegate-readme-").expect("a folder"), network, ports }
    }

    /// A text of the repository, for the addresses of this folder.
    pub(crate) fn here(&self, text: &str) -> String {
        let text = text.replace("127.0.1.", &self.network);
        let mut rest = &*text.replace("127.0.0.1", &format!("{}100", self.network));
        let mut out = String::new();
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            out += &rest[..start];
            rest = &rest[start..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let known = PORTS.iter().position(|port| *port == &rest[..end]);
            out += &known.map_or(rest[..end].to_owned(), |known| self.ports[known].to_string());
            rest = &rest[end..];
        }
        out + rest
    }

    /// The address that stands for one of the repository's.
    pub(crate) fn address_of(&self, address: &str) -> SocketAddr {
        self.here(address).parse().expect("an address")
    }

    /// Puts a file of the repository into the folder, for the addresses here.
    pub(crate) fn copy(&self, file: &str) {
        let text =
            fs::read_to_string(Path::new(ROOT).join(file)).expect("a file of the repository");
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder of ours");
        fs::write(path, self.here(&text)).expect("a file of ours");
    }

    /// A shell in the folder, with `tidegate` to be called.
    pub(crate) fn shell(&self) -> Shell<'_> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let gateway = Path::new(GATEWAY).parent().expect("a folder above").to_owned();
        let folders = std::iter::once(gateway).chain(std::env::split_paths(&path));
        // Where Debian has its servers, which is not on everybody's path.
        let folders = folders.chain([Path::new("/usr/sbin").to_owned()]);
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(folders).expect("folders without a colon"))
            .env("TIDEGATE_LOG", "warn")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.log()).expect("a file of ours"))
            // A group of its own: what the shell starts ends with it.
            .process_group(0)
            .spawn()
            .expect("run bash");
        let stdin = child.stdin.take().expect("stdin is piped");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Shell { desk: self, child, stdin, lines }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

/// A shell, which keeps its jobs and variables from block to block.
pub(crate) struct Shell<'d> {
    desk: &'d Desk,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Shell<'_> {
    /// Runs a block to its end. What it and its jobs print goes to a file: in a pipe that nobody reads
    /// they would get stuck.
    ///
    /// # Panics
    /// When one of its commands fails.
    pub(crate) async fn run(&mut self, block: &str) {
        const END: &str = "--- the block has ended";
        const FAILED: &str = "--- a command has failed";
        let here = self.desk.here(block);
        let script = format!(
            "trap \"echo '{FAILED}'\" EXIT; set -e\n\
             {{\n{here}\n}} </dev/null >&2\necho '{END}'\n"
        );
        self.stdin.write_all(script.as_bytes()).await.expect("the shell reads");
        let end = within(BLOCK, &format!("the end of\n{block}"), self.lines.next_line()).await;
        assert_eq!(end.expect("output in UTF-8").as_deref(), Some(END), "{block}");
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("what the commands said:\n{}", self.desk.said());
        }
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // A group that has ended already is what is wanted.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
