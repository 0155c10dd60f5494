//! Lambda handlers, unmodified, under Amazon's own runtime clients, as workers of the gateway
//! (tidegate, section 4; clients, sections 2 and 7).
//!
//! ```text
//! handlers/                 functions as they are written for Lambda, in three languages
//!        ▲ worker processes that the gateway starts from a copy of them
//! handlers, workers         what clients see of them; how they are run
//! ```
//!
//! In:  the runtime clients below `.tests/`, which ./test.sh installs. Out: the gateway's answers.
//!
//! Holds always: each test has a copy of the code and a state folder of its own; management calls
//! must be signed, and no key is configured: only the workers' own opens them.

mod handlers;
mod workers;

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_testkit::{Client, DEADLINE, GatewayToml, TestGateway, wait_until};

use crate::{GATEWAY, program::installed};

/// The function's name, and its integration's.
const FUNCTION: &str = "chat";

/// A worker's command line and the code it needs.
#[derive(Debug, Clone, Copy)]
enum Code {
    /// `awslambdaric` with the handler of a module in `handlers/python`.
    Python(&'static str),
    /// `aws-lambda-ric` with the handler of a file in `handlers/node`, by its suffix.
    Node(&'static str),
    /// `handlers/rust`, which is its own runtime client.
    Rust,
}

impl Code {
    /// Copies the code into `folder`; the command to start there.
    fn install(self, folder: &Path) -> Vec<String> {
        let handlers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/handlers");
        let copy = |from: &str, to: &str| {
            fs::copy(handlers.join(from), folder.join(to)).expect("a handler's file");
        };
        match self {
            Self::Python(module) => {
                copy(&format!("python/{module}.py"), &format!("{module}.py"));
                python(module)
            }
            Self::Node(suffix) => {
                copy(&format!("node/chat.{suffix}"), &format!("chat.{suffix}"));
                // Amazon's runtime provides the SDK: ES modules look for it in folders above.
                let modules = installed("node/node_modules").canonicalize().expect("a folder");
                std::os::unix::fs::symlink(modules, folder.join("node_modules")).expect("a link");
                ["aws-lambda-ric", "chat.handler"].map(str::to_owned).into()
            }
            Self::Rust => vec![text_of(&installed("rust/debug/chat-handler"))],
        }
    }
}

/// `awslambdaric` with the handler of a module.
fn python(module: &str) -> Vec<String> {
    let handler = format!("{module}.handler");
    ["python3", "-m", "awslambdaric", &handler].map(str::to_owned).into()
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("a path that is text").to_owned()
}

/// A gateway with one function behind `$connect`, `$disconnect` and the routes of the handlers.
struct Served {
    // First: it is gone before its folders.
    gateway: TestGateway,
    folders: Folders,
}

/// What a gateway's function has on disk.
struct Folders {
    /// The function's `directory`.
    code: TempDir,
    /// The gateway's state and temporary files, and a home without anybody's AWS profiles.
    home: TempDir,
}

impl Folders {
    fn new() -> Self {
        let folder = || TempDir::with_prefix("tidegate-test-").expect("a temporary folder");
        Self { code: folder(), home: folder() }
    }

    fn code(&self, file: &str) -> std::path::PathBuf {
        self.code.path().join(file)
    }
}

impl Served {
    /// The function, with keys of `[functions.chat]`.
    async fn start(code: Code, keys: &[(&str, &str)]) -> Self {
        Self::start_with(code, keys, |toml| toml).await
    }

    /// The same, with whatever else the test wants in the file.
    async fn start_with(
        code: Code,
        keys: &[(&str, &str)],
        change: impl FnOnce(GatewayToml) -> GatewayToml,
    ) -> Self {
        let folders = Folders::new();
        let command = code.install(folders.code.path());
        Self::run(folders, &command, keys, change).await
    }

    async fn run(
        folders: Folders,
        command: &[String],
        keys: &[(&str, &str)],
        change: impl FnOnce(GatewayToml) -> GatewayToml,
    ) -> Self {
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let mut toml = GatewayToml::new()
            .set("management", "auth", r#""sigv4""#)
            .local_function(FUNCTION, &command, folders.code.path())
            // Long enough for an SDK's first call on a busy machine.
            .local_function_key(FUNCTION, "timeout_ms", "15000")
            .route("$connect", FUNCTION)
            .route("$disconnect", FUNCTION)
            .route("announce", FUNCTION)
            .route("announce-by-api", FUNCTION)
            .two_way("greet", FUNCTION)
            .two_way("misbehave", FUNCTION)
            .two_way("$default", FUNCTION);
        for (key, value) in keys {
            toml = toml.local_function_key(FUNCTION, key, value);
        }
        let (path, home) = (path(), text_of(folders.home.path()));
        let environment =
            [("PATH", &*path), ("HOME", &*home), ("XDG_STATE_HOME", &*home), ("TMPDIR", &*home)];
        let gateway = TestGateway::start_with(GATEWAY, &change(toml).build(), &environment).await;
        Self { gateway, folders }
    }

    async fn connect(&self) -> Client {
        Client::connect(&self.gateway.ws_url("prod")).await
    }

    /// Waits for a line of the function's output that has this in it; its fields.
    async fn output(&self, part: &str) -> Value {
        let find = || {
            self.gateway.logs().into_iter().find(|line| {
                line["fields"]["message"] == "output"
                    && line["fields"]["line"].as_str().is_some_and(|line| line.contains(part))
            })
        };
        wait_until(DEADLINE, &format!("{part:?} in the log"), async || find().is_some()).await;
        find().expect("it was there just now")["fields"].take()
    }

    /// Waits until that many workers have ended otherwise than by being told to.
    async fn crashes(&self, count: u32) {
        let crashes = async || {
            let labels = [("function", FUNCTION)];
            self.gateway.metric("tidegate_function_worker_crashes_total", &labels).await
        };
        let what = format!("{count} workers have crashed");
        wait_until(DEADLINE, &what, async || crashes().await == f64::from(count)).await;
    }
}

/// What a person has on the PATH who works in the virtual environment and the Node project.
fn path() -> String {
    let own = env::var("PATH").expect("a PATH");
    let folders = ["python/bin", "node/node_modules/.bin", "node/bin"];
    let mut all: Vec<_> = folders.map(|folder| text_of(&installed(folder))).into();
    all.push(own);
    all.join(":")
}

/// Sends a message of these keys.
async fn send(client: &mut Client, message: Value) {
    client.send_text(&message.to_string()).await;
}

/// Sends a message of these keys; the reply, as JSON.
async fn ask(client: &mut Client, message: Value) -> Value {
    send(client, message).await;
    client.next_json().await
}

/// Asks a handler for what it does right; the connection's id.
async fn greet(client: &mut Client) -> String {
    let greeting = ask(client, json!({ "action": "greet", "name": "Ada" })).await;
    assert_eq!(greeting["text"], "hello Ada", "{greeting}");
    greeting["connectionId"].as_str().expect("a connection id").to_owned()
}

/// Checks an error frame byte for byte (websocket-api, 4.5).
fn assert_error_frame(frame: &str, message: &str, connection_id: &str) {
    let head = format!(
        "{{\"message\": \"{message}\", \"connectionId\":\"{connection_id}\", \"requestId\":\""
    );
    let id = frame.strip_prefix(&head).and_then(|rest| rest.strip_suffix("\"}"));
    assert!(id.is_some_and(|id| id.len() == 16), "{frame}\nis not\n{head}<request id>\"}}");
}
