//! `docs/first-api.md`, followed from the files to the last command.

use crate::{
    page::Page,
    terminal::{Desk, installed},
};

/// The connection that the page speaks of.
const ID: &str = "Qyi07eCbtjMCJKw=";

#[tokio::test]
async fn the_first_api_works_as_the_chapter_says() {
    let page = Page::read("docs/first-api.md");
    let [toml] = page.all("toml");
    let [backend] = page.all("python");
    let [_install, check, start, _venv, client, push, broadcast, stop] = page.all("sh");
    let [checked, greeting, forbidden] = page.all("text");
    let [message, counts] = page.all("json");
    let desk = Desk::new();
    desk.save_gateway_toml(&toml);
    desk.save("backend.py", &backend);
    std::os::unix::fs::symlink(installed("python"), desk.path("client")).expect("a link of ours");

    let mut first = desk.shell();
    assert_eq!(first.run(&check).await.trim_end(), desk.here(&checked).trim_end());
    first.run(&start).await;
    desk.wait_for_port(3000).await;
    desk.wait_for_gateway(8080).await;

    let mut client = desk.talk(&client);
    client.hear("Connected to").await;
    client.say(&message).await;
    let (before, after) = greeting.trim_end().split_once(ID).expect("the page's id");
    let id = client.hear_between(before, "=").await + "=" + after;
    assert_eq!(id.len(), ID.len(), "{id:?}");
    client.say(r#"{"action": "dance"}"#).await;
    let (said, _) = forbidden.split_once("requestId").expect("the page's frame");
    client.hear(&said.replace(ID, &id)).await;

    let mut second = desk.shell();
    second.run(&push.replace(ID, &id)).await;
    client.hear("news for you").await;
    assert_eq!(second.run(&broadcast).await, counts.trim_end());
    client.hear("news for all").await;
    client.end().await;
    first.run(&stop).await;
    first.run("wait").await;
}

/// "Ten lines": the file may not grow behind the text's back.
#[test]
fn the_backend_is_short_and_needs_nothing_but_python() {
    let [backend] = Page::read("docs/first-api.md").all("python");
    let code = backend.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(code <= 10, "{code} lines");
    let imports: Vec<_> = backend.lines().filter(|line| line.contains("import")).collect();
    assert_eq!(
        imports,
        ["import json", "from http.server import BaseHTTPRequestHandler, HTTPServer"]
    );
}
