//! `tidegate demo` and its page, in headless Chromium, and the example's backend behind a gateway
//! that it does not share a process with. Screenshots stay in `.tests/screenshots`.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use chat_example::{Chat, GatewayAddress, gateway_toml};
use serde_json::{Value, json};
use tidegate_testkit::{Client, DEADLINE, TestGateway, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use crate::{
    GATEWAY,
    program::{Program, assert_installed, cases, installed, output_of},
};

/// A running demo; it ends with its value.
struct Demo {
    page_url: String,
    _process: Child,
    /// Open, so that the demo can go on saying things.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    async fn start() -> Self {
        let mut process = Command::new(GATEWAY)
            .arg("demo")
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--page", "127.0.0.1:0"])
            .env("TIDEGATE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("run {GATEWAY}: {err}"));
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let page_url = within(DEADLINE, "the page's address on stdout", async {
            while let Some(line) = stdout.next_line().await.expect("output in UTF-8") {
                if let Some((_, url)) = line.split_once("The chat is at") {
                    return url.trim().to_owned();
                }
            }
            panic!("the demo ended without an address to open");
        })
        .await;
        Self { page_url, _process: process, _stdout: stdout }
    }
}

/// Debian's browser, or the one that `TIDEGATE_CHROMIUM` names.
pub(crate) fn chromium() -> PathBuf {
    let named = std::env::var_os("TIDEGATE_CHROMIUM").map(PathBuf::from);
    let browser = named.unwrap_or_else(|| PathBuf::from("/usr/bin/chromium"));
    assert_installed(&browser);
    browser
}

async fn run(program: Program, case: &str) {
    let chromium = chromium();
    let demo = Demo::start().await;
    let mut command = program.command();
    command
        .arg(case)
        .env("TIDEGATE_CHROMIUM", chromium)
        .env("TIDEGATE_CHAT_URL", &demo.page_url)
        .env("TIDEGATE_SCREENSHOTS", installed("").join("screenshots"));
    output_of(command).await;
}

cases! {
    Program::Node("node/chat_in_chromium.mjs"), run:
    two_people_see_each_other_and_chat,
    two_tabs_of_one_browser_are_two_people,
    a_reload_keeps_the_history_without_doubles,
    a_room_hears_only_its_own_messages,
    what_others_write_stays_text,
    screenshots_are_kept,
}

/// The example's backend; `gateway` has been told this address.
fn serve(chat: Chat, gateway: &TestGateway) -> JoinHandle<()> {
    let address = GatewayAddress {
        websocket_url: gateway.ws_url("demo"),
        management_url: gateway.management_url("demo"),
    };
    tokio::spawn(async move { chat.serve(address).await.expect("it serves") })
}

/// Reads on until an event of a kind comes.
async fn next(client: &mut Client, kind: &str) -> Value {
    loop {
        let event = client.next_json().await;
        if event["type"] == kind {
            return event;
        }
        assert_ne!(event["type"], "error", "{event}");
    }
}

async fn ask(client: &mut Client, message: Value, kind: &str) -> Value {
    client.send_text(&message.to_string()).await;
    next(client, kind).await
}

/// Comes into a room; how things stand there.
async fn join(client: &mut Client, name: &str) -> Value {
    ask(client, json!({"action": "join", "room": "Été", "name": name}), "ok").await;
    ask(client, json!({"action": "look", "room": "été"}), "welcome").await
}

fn names(welcome: &Value) -> Vec<&str> {
    let people = welcome["people"].as_array().expect("people");
    people.iter().map(|person| person["name"].as_str().expect("a name")).collect()
}

/// The sockets are the gateway's, and so is the knowledge whose they are and which room they are in.
#[tokio::test]
async fn a_backend_that_starts_anew_finds_everyone_where_they_were() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let chat = Chat::bind(any).expect("a free port");
    let backend = chat.address();
    let gateway = TestGateway::start(GATEWAY, &gateway_toml(any, any, backend)).await;
    let serving = serve(chat, &gateway);
    let url = gateway.ws_url("demo");
    let mut ann = Client::connect(&format!("{url}?key=a")).await;
    let mut ben = Client::connect(&format!("{url}?key=b")).await;
    let before = join(&mut ann, "Ann").await;
    assert_eq!(names(&join(&mut ben, "Ben").await), ["Ann", "Ben"]);
    assert_eq!(next(&mut ann, "joined").await["person"]["name"], "Ben");

    serving.abort();
    assert!(serving.await.is_err_and(|end| end.is_cancelled()));
    let _serving = serve(Chat::bind(backend).expect("its port again"), &gateway);
    next(&mut ben, "anew").await;
    let after = join(&mut ann, "Ann").await;
    assert_eq!((&before["you"], names(&after)), (&after["you"], vec!["Ann"]));
    assert_ne!(before["log"], after["log"]);
    // Ben has not said anything yet, and hears what is said: he is in the room's group.
    let say = json!({"action": "say", "room": "été", "text": "still there?", "ref": "1"});
    ask(&mut ann, say, "ok").await;
    assert_eq!(next(&mut ben, "message").await["text"], "still there?");
    assert_eq!(names(&join(&mut ben, "Ben").await), ["Ann", "Ben"]);

    // Nobody but the gateway knows whose connection this was.
    ben.close(1000, "").await;
    assert_eq!(next(&mut ann, "left").await["person"]["name"], "Ben");
    gateway.terminate(DEADLINE).await;
}

/// A name without a key is nobody's.
#[tokio::test]
async fn whoever_brings_no_key_is_not_let_in() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let chat = Chat::bind(any).expect("a free port");
    let gateway = TestGateway::start(GATEWAY, &gateway_toml(any, any, chat.address())).await;
    let _serving = serve(chat, &gateway);
    let url = gateway.ws_url("demo");
    assert_eq!(tidegate_testkit::refused(&url).await.status, 401);
    let long = format!("{url}?key={}", "k".repeat(65));
    assert_eq!(tidegate_testkit::refused(&long).await.status, 403);
}
