//! `examples/lambda-chat`: its page in headless Chromium, and the same functions with their table
//! in DynamoDB, as on AWS. Screenshots stay in `.tests/screenshots`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_testkit::{Client, DEADLINE, TestGateway, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    GATEWAY, examples,
    program::{Program, assert_installed, cases, installed},
};

async fn run(program: Program, case: &str) {
    examples::run("lambda-chat", program, case).await;
}

cases! {
    Program::Node("node/lambda_chat_in_chromium.mjs"), run:
    two_people_chat_and_who_leaves_is_seen_to_leave,
    typing_is_seen_by_the_others,
    the_table_keeps_the_history_for_whoever_comes_back_or_comes_late,
    who_goes_to_another_room_leaves_the_first_and_hears_only_the_second,
    screenshots_are_kept,
}

/// moto's DynamoDB with the table that the functions want; says where it is.
const DYNAMODB: &str = r#"
import boto3, logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
url = "http://%s:%d" % server.get_host_and_port()
boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1",
             aws_access_key_id="AKIDTEST", aws_secret_access_key="test").create_table(
    TableName="chat", BillingMode="PAY_PER_REQUEST",
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")])
print(url, flush=True)
sys.stdin.read()
"#;

/// The table's service and its address; it ends with the process.
async fn dynamodb() -> (String, Child) {
    let mut process = Command::new(installed("python/bin/python"))
        .args(["-c", DYNAMODB])
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run Python");
    let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
    let url = within(DEADLINE, "moto's address", lines.next_line()).await.expect("text");
    (url.expect("an address before its end"), process)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/lambda-chat")
        .canonicalize()
        .expect("the example")
}

/// The example's own file, with the table in DynamoDB.
async fn with_its_table_at(url: &str, home: &TempDir) -> TestGateway {
    let here = folder();
    assert_installed(&here.join(".installed"));
    let file = fs::read_to_string(here.join("gateway.toml")).expect("its gateway.toml");
    let mut toml: toml::Table = file.parse().expect("TOML");
    toml["listen"]["address"] = "127.0.0.1:0".into();
    toml["admin"]["address"] = "127.0.0.1:0".into();
    for (_, function) in toml["functions"].as_table_mut().expect("functions") {
        let directory = here.join(function["directory"].as_str().expect("a folder"));
        function["directory"] = directory.to_str().expect("text").into();
        function["environment"] = toml::toml! { TABLE = "chat" }.into();
    }
    let services = format!("[aws.endpoints]\ndynamodb = \"{url}\"");
    toml.extend(services.parse::<toml::Table>().expect("TOML"));
    let (bin, path) = (here.join(".venv/bin"), env::var("PATH").expect("a PATH"));
    let path = format!("{}:{path}", bin.display());
    let home = home.path().to_str().expect("text");
    let environment = [("PATH", &*path), ("HOME", home), ("XDG_STATE_HOME", home)];
    TestGateway::start_with(GATEWAY, &toml.to_string(), &environment).await
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

/// What `TABLE` names on AWS: the same functions, unchanged, and nothing else in its place.
#[tokio::test]
async fn the_same_functions_keep_their_table_in_dynamodb() {
    let (url, _dynamodb) = dynamodb().await;
    let home = TempDir::with_prefix("tidegate-test-").unwrap();
    let gateway = with_its_table_at(&url, &home).await;
    let come = async |key: &str, name: &str| {
        let mut client = Client::connect(&format!("{}?key={key}", gateway.ws_url("live"))).await;
        let join = json!({"action": "join", "room": "Night Watch", "name": name, "ref": "j"});
        let joined = ask(&mut client, join, "ok").await;
        assert_eq!(joined["room"], "night-watch");
        let look = json!({"action": "look", "room": "night-watch", "ref": "l"});
        let welcome = ask(&mut client, look, "welcome").await;
        (client, welcome)
    };
    let (mut ann, _) = come("a", "Ann").await;
    let say = json!({"action": "say", "room": "night-watch", "text": "hello", "ref": "1"});
    for _ in ["once", "again, as after a lost answer"] {
        assert_eq!(ask(&mut ann, say.clone(), "ok").await["seq"], 1);
    }

    let (mut ben, welcome) = come("b", "Ben").await;
    let names: Vec<_> = welcome["people"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["Ann", "Ben"]);
    let said: Vec<_> = welcome["messages"].as_array().unwrap().iter().collect();
    assert_eq!((said.len(), &said[0]["text"]), (1, &json!("hello")));
    assert_eq!(next(&mut ann, "joined").await["person"]["name"], "Ben");

    let say = json!({"action": "say", "room": "night-watch", "text": "good evening", "ref": "1"});
    assert_eq!(ask(&mut ben, say, "ok").await["seq"], 2, "marks are each person's own");
    assert_eq!(next(&mut ann, "message").await["text"], "good evening");
    ben.close(1000, "").await;
    assert_eq!(next(&mut ann, "left").await["person"]["name"], "Ben");
}
