//! `docs/operating.md`: keys on the command line, and every metric by its name.

use std::collections::BTreeSet;

use tidegate_testkit::{Client, DEADLINE, GatewayToml, TestGateway, wait_until};

use crate::{GATEWAY, page::Page, terminal::Desk};

#[tokio::test]
async fn the_keys_on_the_command_line_are_taken() {
    let [command] = Page::read("docs/operating.md").all("sh");
    let [file] = Page::read("README.md").all("toml");
    let mut desk = Desk::new();
    desk.save_gateway_toml(&file);
    let url = desk.here("redis://127.0.0.1:6379");
    desk.set("REDIS_URL", &url);
    let mut shell = desk.shell();
    shell.run("redis-server --bind 127.0.0.1 --port 6379 --save '' >redis.log &").await;
    desk.wait_for_port(6379).await;
    shell.run(&format!("{} &", command.trim_end())).await;
    // 9000 is what the command says, and not 8080, as the file does.
    desk.wait_for_gateway(9000).await;
    let shell = tokio::sync::Mutex::new(shell);
    wait_until(DEADLINE, "the node to have its redis", async || {
        let health = "tidegate health --admin 127.0.0.1:8081 || true";
        shell.lock().await.run(health).await == "ready"
    })
    .await;
}

/// The names in the first column of the page's tables.
fn listed() -> BTreeSet<String> {
    let page = Page::read("docs/operating.md");
    let rows = page.text.lines().filter_map(|line| line.strip_prefix("| `tidegate_"));
    let mut names = BTreeSet::new();
    for row in rows {
        let column = row.split('|').next().expect("a column");
        for name in format!("`tidegate_{column}").split('`').filter(|name| name.contains('_')) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[tokio::test]
async fn every_metric_is_listed_and_every_figure_of_the_bus_exists() {
    // Nobody listens there: the figures are there all the same.
    let toml = GatewayToml::new()
        .redis(&["redis://127.0.0.1:9".to_owned()])
        .echo("echo")
        .two_way("$default", "echo");
    let gateway = TestGateway::start(GATEWAY, &toml.build()).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("hi").await;
    assert_eq!(client.next_text().await, "hi");
    gateway.manage("GET", "/prod/@connections", b"").await;
    let metrics = gateway.metrics().await;
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<_> = names.map(str::to_owned).collect();
    let listed = listed();
    let is_listed = |name: &&String| {
        listed.contains(*name)
            || (name.starts_with("tidegate_process_") && listed.contains("tidegate_process_*"))
    };
    let missing: Vec<_> = there.iter().filter(|name| !is_listed(name)).collect();
    assert!(missing.is_empty(), "docs/operating.md does not list {missing:?}");
    let of_bus = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter(|name| name.starts_with("tidegate_bus_")).cloned().collect()
    };
    assert_eq!(of_bus(&listed), of_bus(&there));
}
