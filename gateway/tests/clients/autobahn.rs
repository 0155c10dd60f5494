//! Autobahn's WebSocket cases, but for those of compression (12.*, 13.*).
//!
//! The suite wants an echo without Amazon's limits: binary messages pass, a message may have
//! 16 MiB, and a two-way `$default` route leads to a backend that answers what it was sent.

use tidegate_testkit::{GatewayToml, TestGateway};

use crate::{
    GATEWAY,
    echo_backend::EchoBackend,
    program::{Program, installed, output_of},
};

/// Above the suite's largest message, 16 MiB.
const MAX_BYTES: &str = "33554432";

/// Runs the cases that `pattern` names. All `count` of them must pass: a case that is skipped, or
/// that the suite no longer has, is a failure too.
async fn pass(pattern: &str, count: usize) {
    let backend = EchoBackend::start().await;
    let toml = GatewayToml::new()
        .api("binary", r#""pass""#)
        .limit("max_message_bytes", MAX_BYTES)
        .limit("max_frame_bytes", MAX_BYTES)
        .limit("send_queue_bytes", MAX_BYTES)
        .http_proxy("echo", &backend.url())
        .two_way("$default", "echo");
    let gateway = TestGateway::start(GATEWAY, &toml.build()).await;
    let mut command = Program::Python("autobahn/driver.py").command();
    command
        .arg(installed("autobahntestsuite/autobahntestsuite"))
        .arg(gateway.ws_url("prod"))
        .args(["--cases", pattern]);
    let report = output_of(command).await;
    let sum = format!("{count} passed, 0 failed, 0 unimplemented");
    assert_eq!(report.lines().last(), Some(sum.as_str()), "{report}");
}

#[tokio::test]
async fn framing_passes() {
    pass("1.*", 16).await;
}

#[tokio::test]
async fn pings_and_pongs_pass() {
    pass("2.*", 11).await;
}

#[tokio::test]
async fn reserved_bits_pass() {
    pass("3.*", 7).await;
}

#[tokio::test]
async fn opcodes_pass() {
    pass("4.*", 10).await;
}

#[tokio::test]
async fn fragmentation_passes() {
    pass("5.*", 20).await;
}

#[tokio::test]
async fn utf8_handling_passes() {
    pass("6.*", 145).await;
}

#[tokio::test]
async fn close_handling_passes() {
    pass("7.*", 37).await;
}

#[tokio::test]
async fn limits_pass() {
    pass("9.*", 54).await;
}

#[tokio::test]
async fn the_rest_passes() {
    pass("10.*", 1).await;
}
