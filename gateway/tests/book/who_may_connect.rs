//! `docs/who-may-connect.md`: each section's file with each section's command. Tokens in a browser are
//! tried in `gateway/tests/clients/openid.rs`.

use crate::{page::Page, terminal::Desk};

/// A partner's key of the page's shape.
const KEY: &str = "a-key-of-twenty-or-more";

/// The file with a part added at its end, and the section's program.
fn desk(part: Option<usize>) -> Desk {
    let page = Page::read("docs/who-may-connect.md");
    let files: [String; 7] = page.all("toml");
    let [who, ..]: [String; 3] = page.all("python");
    let mut desk = Desk::new();
    desk.save_gateway_toml(&format!("{}\n{}", files[0], part.map_or("", |part| &files[part])));
    desk.save("who.py", &who);
    desk.set("PARTNER_API_KEY", KEY);
    desk
}

#[tokio::test]
async fn without_an_authorizer_everyone_connects() {
    let [everyone, ..]: [String; 3] = Page::read("docs/who-may-connect.md").all("sh");
    let (run, connect) = everyone.split_once('\n').expect("two commands");
    let desk = desk(None);
    let mut shell = desk.shell();
    shell.run(run).await;
    desk.wait_for_gateway(8080).await;
    assert_eq!(shell.run(connect).await, "Connected");
}

#[tokio::test]
async fn an_api_key_opens_and_another_one_does_not() {
    let [_, with_key, _] = Page::read("docs/who-may-connect.md").all("sh");
    let desk = desk(Some(1));
    let mut shell = desk.shell();
    shell.run("tidegate run gateway.toml &").await;
    desk.wait_for_gateway(8080).await;
    assert_eq!(shell.run(&with_key).await, "Connected");
    let other = with_key.replace("$PARTNER_API_KEY", "another-key-of-twenty");
    assert_eq!(shell.run(&refusal(&other)).await, "error: Unexpected server response: 403");
}

#[tokio::test]
async fn the_function_lets_its_token_in_and_no_other() {
    let [_, _, by_function] = Page::read("docs/who-may-connect.md").all("sh");
    let (run, connect) = by_function.split_once('\n').expect("two commands");
    let desk = desk(Some(3));
    let mut shell = desk.shell();
    shell.run(run).await;
    desk.wait_for_port(9001).await;
    shell.run("tidegate run gateway.toml &").await;
    desk.wait_for_gateway(8080).await;
    assert_eq!(shell.run(connect).await, "Connected");
    let other = connect.replace("a-good-token", "a-bad-token");
    assert_eq!(shell.run(&refusal(&other)).await, "error: Unexpected server response: 401");
    let none = connect.replace("?token=a-good-token", "");
    assert_eq!(shell.run(&refusal(&none)).await, "error: Unexpected server response: 401");
}

/// A command that has to fail, with what it says.
fn refusal(command: &str) -> String {
    format!("if {} 2>&1; then false; fi", command.trim_end())
}
