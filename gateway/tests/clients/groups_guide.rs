//! `docs/groups.md`, followed: its configuration, its backend, its commands and its script, as they
//! stand there but for the ports.
//!
//! In:  the page. Out: what clients of the room read, and what commands and script print.
//!
//! Holds always: a block is taken by its language and its order, so that one more or less fails.

use std::{fs, net::TcpListener, path::Path, process::Stdio};

use serde_json::{Value, json};
use tidegate_testkit::{Client, DEADLINE, GatewayToml, TestGateway, refused, wait_until};
use tokio::process::{Child, Command};

use crate::{
    GATEWAY,
    program::{installed, output_of},
};

/// The blocks of a language, without their fences.
fn blocks<const N: usize>(page: &str, language: &str) -> [String; N] {
    let fence = format!("```{language}\n");
    let found: Vec<_> = page
        .split(fence.as_str())
        .skip(1)
        .filter_map(|rest| rest.split("```").next().map(str::to_owned))
        .collect();
    found.try_into().unwrap_or_else(|found: Vec<_>| panic!("{N} of {language}: {found:?}"))
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/groups.md");
    fs::read_to_string(page).expect("docs/groups.md")
}

/// Python from where `./test.sh` installs, with a program in a file of its own.
fn python(folder: &Path, name: &str, program: &str) -> Command {
    let file = folder.join(name);
    fs::write(&file, program).expect("write");
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(file).current_dir(folder).kill_on_drop(true);
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command
}

/// The room of the guide: its gateway and its backend.
struct Room {
    gateway: TestGateway,
    folder: tempfile::TempDir,
    _backend: Child,
}

impl Room {
    /// `management` replaces the page's own table, where a test wants another.
    async fn open(management: Option<&str>) -> Self {
        let page = page();
        let [toml] = blocks(&page, "toml");
        let [backend, _script] = blocks(&page, "python");
        // Free a moment ago, and the backend's in a moment.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port().to_string();
        let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
        let mut toml = format!("{ports}{}", toml.replace("3000", &port));
        if let Some(table) = management {
            assert!(toml.contains("[management]\nauth = \"none\" "));
            toml = toml.replace("[management]\nauth = \"none\" ", &format!("{table}\n"));
        }
        let gateway = TestGateway::start(GATEWAY, &toml).await;
        let folder = tempfile::tempdir().expect("a folder");
        let address = gateway.address().to_string();
        assert!(backend.contains("127.0.0.1:8080") && backend.contains("3000"));
        let backend = backend.replace("3000", &port).replace("127.0.0.1:8080", &address);
        drop(free);
        let mut command = python(folder.path(), "backend.py", &backend);
        let child = command.stderr(Stdio::null()).spawn().expect("python runs");
        wait_until(DEADLINE, "the backend", async || {
            tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_ok()
        })
        .await;
        Self { gateway, folder, _backend: child }
    }

    /// A client that has been welcomed.
    async fn member(&self, room: &str) -> Client {
        let mut client = Client::connect(&self.gateway.ws_url(&format!("prod?room={room}"))).await;
        assert_eq!(client.next_text().await, format!("welcome to {room}"));
        client
    }

    /// A block of the page, for this gateway's address.
    fn here(&self, block: &str) -> String {
        block.replace("127.0.0.1:8080", &self.gateway.address().to_string())
    }
}

#[tokio::test]
async fn the_room_of_the_guide_works_as_it_says() {
    let room = Room::open(None).await;
    let (mut ann, mut bob) = (room.member("red").await, room.member("red").await);
    let mut cleo = room.member("blue").await;
    ann.send_text(r#"{"action": "say", "room": "red", "text": "hi, grüße"}"#).await;
    assert_eq!(bob.next_text().await, "hi, grüße");
    ann.ping_pong().await;
    cleo.ping_pong().await;
    assert_eq!(refused(&room.gateway.ws_url("prod?room=no%0Aroom")).await.status, 400);

    let [commands] = blocks(&page(), "sh");
    let mut answers = Vec::new();
    for line in commands.lines() {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(room.here(line)).env("NO_PROXY", "*");
        let answer: Value = serde_json::from_str(&output_of(shell).await).expect("JSON");
        answers.push(answer);
    }
    assert_eq!(answers[0], json!({ "recipients": 2, "nodes": 1 }));
    assert_eq!(answers[1], json!({ "connections": 2 }));
    assert_eq!(answers[2]["connectionIds"].as_array().map(Vec::len), Some(2));
    assert_eq!(answers[3], json!({ "recipients": 3, "nodes": 1 }));
    assert_eq!(answers.len(), 4);
    for member in [&mut ann, &mut bob] {
        assert_eq!(member.next_text().await, "hello, red");
    }
    for member in [&mut ann, &mut bob, &mut cleo] {
        assert_eq!(member.next_text().await, "the shop closes");
        member.ping_pong().await;
    }
}

#[tokio::test]
async fn the_signed_script_of_the_guide_works_as_it_says() {
    let key = GatewayToml::new().signed("AKIDEXAMPLE", "an example's secret/+=").build();
    let credentials = &key[key.find("[[management.credentials]]").expect("a key")..];
    let room = Room::open(Some(&format!("[management]\nauth = \"sigv4\"\n{credentials}#"))).await;
    let (mut ann, mut bob) = (room.member("red").await, room.member("red").await);
    let mut cleo = room.member("blue").await;
    let [_backend, script] = blocks(&page(), "python");
    let mut command = python(room.folder.path(), "script.py", &room.here(&script));
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "an example's secret/+=")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    let printed = output_of(command).await;
    let printed: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(&line.replace('\'', "\"")).expect("Python's dict"))
        .collect();
    let sent_to = |recipients: u32| json!({ "recipients": recipients, "nodes": 1 });
    assert_eq!(printed, [sent_to(1), sent_to(3), sent_to(3)]);
    // One of the two was left out of the first, and taken out of the room in the end.
    let mut first = Vec::new();
    for member in [&mut ann, &mut bob] {
        let text = member.next_text().await;
        if text != "once" {
            assert_eq!(member.next_text().await, "once");
        }
        first.push(text);
        member.ping_pong().await;
    }
    first.sort_unstable();
    assert_eq!(first, ["hello from Python", "once"]);
    assert_eq!(cleo.next_text().await, "once");
    cleo.ping_pong().await;
    let unsigned = room.gateway.manage("GET", "/prod/@groups/red", b"").await;
    assert_eq!(unsigned.status, 403);
}
