//! What the admin port serves (tidegate, section 2; reliability, line 33).
//!
//! In:  requests to both ports, with backends that answer and backends that do not.
//! Out: the statuses.
//!
//! Holds always: what is asked here is served on no other port, and depends on no backend.

use tidegate_testkit::{Client, FunctionAnswer, FunctionBackend, GatewayToml, HttpClient};

use crate::{echo, start};

/// tidegate, section 2: what the admin port serves, and only there.
#[tokio::test]
async fn health_and_metrics_are_on_the_admin_port_only() {
    let gateway = start(&echo()).await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
        assert_eq!(gateway.manage("GET", path, b"").await.status, 403, "{path}");
    }
    let mut http = HttpClient::connect(&gateway.admin_url()).await;
    assert_eq!(http.call("GET", "/prod", &[], b"").await.status, 404);
    assert_eq!(http.call("POST", "/metrics", &[], b"").await.status, 405);
    let head = http.call("HEAD", "/metrics", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(http.call("GET", "/health/live?probe=1", &[], b"").await.status, 200);
}

/// reliability, line 33: neither depends on a backend.
#[tokio::test]
async fn health_does_not_depend_on_a_backend() {
    let function = FunctionBackend::start(|_| FunctionAnswer::stall()).await;
    let toml = GatewayToml::new()
        .function("stalled", &function.url())
        .http_proxy("down", "http://127.0.0.1:1/")
        .route("$default", "stalled")
        .two_way("down", "down");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for _ in 0..16 {
        client.send_text("stall").await;
    }
    function.http().wait_for_requests(16).await;
    assert_eq!(gateway.admin("/health/live").await.status, 200);
    assert_eq!(gateway.admin("/health/ready").await.status, 200);
}
