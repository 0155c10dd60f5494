//! `docs/several-nodes.md`, tried on one machine as it says: three nodes, a Redis, a death. What each
//! failure does is tried in `gateway/tests/cluster`.

use std::{os::unix::fs::symlink, time::Duration};

use tidegate_testkit::wait_until;
use tokio::sync::Mutex;

use crate::{
    page::Page,
    terminal::{Desk, installed},
};

/// Twice the lease of the chapter's commands, and time to be seen.
const CERTAIN: Duration = Duration::from_secs(6);

#[tokio::test]
async fn three_nodes_are_one_gateway_and_outlive_one() {
    let page = Page::read("docs/several-nodes.md");
    let [toml] = page.all("toml");
    let [start, client, send, kill, look] = page.all("sh");
    let desk = Desk::new();
    desk.save_gateway_toml(&toml);
    symlink(installed("python"), desk.path("client")).expect("a link of ours");
    let mut first = desk.shell();
    let second = Mutex::new(desk.shell());
    first.run(&start).await;
    for admin in [8081, 8083, 8085] {
        let ready = format!("tidegate health --admin 127.0.0.1:{admin} || true");
        wait_until(CERTAIN, "the node to be ready", async || {
            second.lock().await.run(&ready).await == "ready"
        })
        .await;
    }
    let mut client = desk.talk(&client);
    client.hear("Connected to").await;
    client.say("hi").await;
    client.hear("hi").await;
    // The second node learns of the first connection behind its 101.
    let sent = second.lock().await.run(&send).await;
    assert_eq!(sent, r#"{"recipients":1,"nodes":1}"#);
    client.hear("hello from the second").await;
    first.run(&kill).await;
    let claimed = "tidegate_bus_claimed_nodes_total";
    let after = [format!("{claimed} 0"), format!("{claimed} 1")];
    wait_until(CERTAIN, "the broadcast to reach nobody, and one to have claimed", async || {
        let printed = second.lock().await.run(&look).await;
        let mut lines: Vec<_> =
            printed.split(['\n', '}']).filter(|line| !line.is_empty()).collect();
        let broadcast = lines.remove(0);
        lines.sort_unstable();
        broadcast == r#"{"recipients":0,"nodes":0"# && lines == after
    })
    .await;
    first.run("kill %4 %3 %1").await;
}
