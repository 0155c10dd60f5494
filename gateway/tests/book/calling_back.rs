//! `docs/calling-back.md`: its file, its commands, and its programs with AWS's SDKs.

use std::{os::unix::fs::symlink, time::SystemTime};

use serde_json::Value;
use tidegate_testkit::{Client, Signer, http_call};

use crate::{
    page::Page,
    terminal::{Desk, installed},
};

/// The connection that the page speaks of.
const ID: &str = "Qyi07eCbtjMCJKw=";

/// A client of the chapter's gateway, and its id.
async fn client(desk: &Desk) -> (Client, String) {
    let mut client = Client::connect(&format!("ws://127.0.0.1:{}/prod", desk.port(8080))).await;
    // A message without a route of its own is answered by the mock; an id is told by the list.
    client.ping_pong().await;
    let list = http_call(
        &format!("http://127.0.0.1:{}", desk.port(8080)),
        "GET",
        "/prod/@connections",
        &[],
        b"",
    )
    .await;
    let id = list.json()["connectionIds"][0].as_str().map(str::to_owned);
    (client, id.unwrap_or_default())
}

#[tokio::test]
async fn the_calls_with_curl_do_what_the_chapter_says() {
    let page = Page::read("docs/calling-back.md");
    let [toml, _signed] = page.all("toml");
    let [calls, repeated] = page.all("sh");
    let desk = Desk::new();
    desk.save_gateway_toml(&toml);
    let mut shell = desk.shell();
    shell.run("tidegate run gateway.toml &").await;
    desk.wait_for_gateway(8080).await;

    let (mut named, id) = client(&desk).await;
    let calls: Vec<_> = calls.lines().map(|line| line.replace(ID, &id)).collect();
    let [post, get, delete, gone] = &calls[..] else { panic!("four calls: {calls:?}") };
    assert_eq!(shell.run(post).await, "");
    assert_eq!(named.next_text().await, "hello");
    let described: Value = serde_json::from_str(&shell.run(get).await).expect("JSON");
    assert_eq!(described["identity"]["sourceIp"], "127.0.0.1");
    let keys: Vec<_> = described.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["connectedAt", "identity", "lastActiveAt"]);
    assert_eq!(shell.run(delete).await, "");
    assert_eq!(named.next_close().await, (4001, "bye".to_owned()));
    assert_eq!(shell.run(gone).await, "410");

    let (mut one, _) = client(&desk).await;
    let answers = shell.run(&repeated).await;
    assert_eq!(answers, r#"{"recipients":1,"nodes":1}{"recipients":1,"nodes":1}"#);
    assert_eq!(one.next_text().await, "only once");
    one.ping_pong().await;
}

#[tokio::test]
async fn the_programs_with_aws_sdks_post_and_hear_of_who_is_gone() {
    let page = Page::read("docs/calling-back.md");
    let [whole, signed] = page.all("toml");
    let [python] = page.all("python");
    let [javascript] = page.all("js");
    let mut desk = Desk::new();
    let unsigned = "[management]\nauth = \"none\"\n";
    assert!(whole.contains(unsigned), "the file that the signed part goes over");
    desk.save_gateway_toml(&whole.replace(unsigned, &signed));
    desk.save("caller.py", &python);
    desk.save("caller.mjs", &javascript);
    symlink(installed("node/node_modules"), desk.path("node_modules")).expect("a link of ours");
    desk.set("TIDEGATE_SECRET", "an example's secret/+=");
    desk.set("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    desk.set("AWS_SECRET_ACCESS_KEY", "an example's secret/+=");
    let mut shell = desk.shell();
    shell.run("tidegate run gateway.toml &").await;
    desk.wait_for_gateway(8080).await;
    let mut client = Client::connect(&format!("ws://127.0.0.1:{}/prod", desk.port(8080))).await;
    let url = format!("http://127.0.0.1:{}", desk.port(8080));
    let (host, list) = (url.trim_start_matches("http://"), "/prod/@connections");
    let signer = Signer::new("AKIDEXAMPLE", "an example's secret/+=");
    let added = signer.sign("GET", list, &[("Host", host)], b"", SystemTime::now());
    let headers: Vec<_> =
        added.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let listed = http_call(&url, "GET", list, &headers, b"").await.json();
    let id = listed["connectionIds"][0].as_str().expect("an id");
    for (command, text) in
        [("python3 caller.py", "hello from Python"), ("node caller.mjs", "hello from JavaScript")]
    {
        assert_eq!(shell.run(&format!("{command} '{id}'")).await, "");
        assert_eq!(client.next_text().await, text);
    }
    drop(client);
    let mut printed = String::new();
    for command in ["python3 caller.py", "node caller.mjs"] {
        printed += &shell.run(&format!("{command} {ID}")).await;
    }
    assert_eq!(printed, "gonegone");
}
