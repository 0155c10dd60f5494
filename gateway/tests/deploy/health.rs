//! `tidegate health`, as the image's health check calls it, against a running node.

use tidegate_testkit::{DEADLINE, FunctionBackend, GatewayToml, TestGateway, wait_until};
use tokio::process::Command;

use crate::{
    GATEWAY,
    programs::{Said, run},
};

async fn health(admin: &str) -> Said {
    run(Command::new(GATEWAY).args(["health", "--admin", admin])).await
}

fn admin_of(gateway: &TestGateway) -> String {
    gateway.admin_url().trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn a_ready_node_is_healthy_and_one_that_is_gone_is_not() {
    let toml = GatewayToml::new().echo("echo").two_way("$default", "echo");
    let gateway = TestGateway::start(GATEWAY, &toml.build()).await;
    let admin = admin_of(&gateway);
    assert_eq!(health(&admin).await.expect_well().out, "ready\n");
    gateway.kill().await;
    let said = health(&admin).await;
    assert!(!said.well);
    let expected = format!("tidegate: connect to {admin}: ");
    assert!(said.err.starts_with(&expected), "{}", said.err);
}

/// A call at a backend holds the drain open, so that the check can look at it.
#[tokio::test]
async fn a_draining_node_is_not_healthy_and_says_so() {
    let function = FunctionBackend::start(|_| tidegate_testkit::FunctionAnswer::stall()).await;
    let toml = GatewayToml::new()
        .function("stalls", &function.url())
        .two_way("$default", "stalls")
        .set("drain", "deadline_s", "10")
        .set("drain", "spread_s", "1");
    let gateway = TestGateway::start(GATEWAY, &toml.build()).await;
    let mut client = tidegate_testkit::Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("wait").await;
    function.next_event("MESSAGE").await;
    gateway.signal("TERM").await;
    let admin = admin_of(&gateway);
    wait_until(DEADLINE, "the node to drain", async || {
        let said = health(&admin).await;
        !said.well && said.err.contains("answered 503: not ready: ")
    })
    .await;
}
