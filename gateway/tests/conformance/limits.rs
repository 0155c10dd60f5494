//! How many connections and messages are let through (reliability, line 10; tidegate, section 3;
//! websocket-api, 11.2 and items 114 and 115).
//!
//! In:  more connections or messages than a limit or a throttle allows.
//! Out: 429 or an error frame for what is over it, and that the rest passes.
//!
//! Holds always: each limit is tested alone, with what it still lets through beside what it refuses.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testkit::{
    Client, DEADLINE, FunctionBackend, GatewayToml, HttpClient, TestGateway, refused, wait_until,
};
use tokio::net::TcpStream;

use crate::{
    assert_error_frame, connection_id, echo, echoes, start, text,
    upgrade::{UPGRADE, assert_refusal, upgrade_status},
    watched_by,
};

/// Connects until one is refused with 429; how many were not.
async fn admitted(gateway: &TestGateway, at_most: usize) -> Vec<Client> {
    let mut open = Vec::new();
    for _ in 0..at_most {
        open.push(Client::connect(&gateway.ws_url("prod")).await);
    }
    let response = refused(&gateway.ws_url("prod")).await;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("TooManyRequestsException"));
    open
}

/// reliability, line 10; tidegate, section 3: `connections` and `connections_per_ip`, each alone.
/// A place is free again when its connection has ended.
#[tokio::test]
async fn limits_on_open_connections_hold_and_places_come_back() {
    for limit in ["connections", "connections_per_ip"] {
        let function = FunctionBackend::accepting().await;
        let gateway = start(&watched_by(&function).limit(limit, "3")).await;
        let mut open = admitted(&gateway, 3).await;
        open[1].close(1000, "").await;
        function.next_event("DISCONNECT").await;
        let again = async || upgrade_status(&gateway.ws_url("prod"), &[]).await == 101;
        wait_until(DEADLINE, &format!("a place under {limit}"), again).await;
        open[0].ping_pong().await;
        let refused = gateway.metric("tidegate_connect_total", &[("outcome", "throttled")]).await;
        assert!(refused >= 1.0, "{limit}: {refused}");
    }
}

/// reliability, line 10: refused upgrades and handshakes hold no place.
#[tokio::test]
async fn a_refused_upgrade_takes_no_place() {
    let function = FunctionBackend::start(|event| {
        let refuse = event["queryStringParameters"]["no"].is_string();
        serde_json::json!({ "statusCode": if refuse { 403 } else { 200 } })
    })
    .await;
    let gateway = start(&watched_by(&function).limit("connections", "1")).await;
    for _ in 0..5 {
        let answer = refused(&(gateway.ws_url("prod") + "?no=1")).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    let _half_open = TcpStream::connect(gateway.address()).await.expect("connect");
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}

/// reliability, line 10; tidegate, section 3: a token bucket with a burst of the same size.
#[tokio::test]
async fn new_connections_per_second_are_limited() {
    let gateway = start(&echo().limit("new_connections_per_s", "2")).await;
    let started = Instant::now();
    let (mut accepted, mut throttled) = (0, 0);
    while started.elapsed() < Duration::from_secs(3) {
        let mut http = HttpClient::connect(&gateway.http_url()).await;
        match http.call("GET", "/prod", &UPGRADE, b"").await.status {
            101 => accepted += 1,
            429 => throttled += 1,
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two at once and two a second.
    let most = 2.0 + 2.0 * started.elapsed().as_secs_f64();
    assert!((4.0..=most).contains(&f64::from(accepted)), "{accepted} accepted, at most {most}");
    assert!(throttled > 0);
}

/// reliability, line 10: a throttle on the stage, and one on a route, each alone.
#[tokio::test]
async fn messages_over_a_throttle_get_an_error_frame_and_the_others_pass() {
    let tight = "{ rate = 0.001, burst = 4 }";
    let on_stage = |toml: GatewayToml| toml.set(r#"apis.test.stages."prod""#, "throttle", tight);
    let on_route = |toml: GatewayToml| toml.route_key("$default", "throttle", tight);
    // The upgrade takes a token of the stage's, none of the route's.
    for (toml, passes) in [(on_stage(echo()), 3), (on_route(echo()), 4)] {
        let gateway = start(&toml).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        for number in 0..passes {
            echoes(&mut client, &number.to_string()).await;
        }
        for _ in 0..3 {
            client.send_text("one more").await;
            let frame = client.next_json().await;
            let id = text(&frame["connectionId"]).to_owned();
            assert_error_frame(&exact(&frame), "Too Many Requests", &id);
        }
        let kind = [("kind", "throttled")];
        assert_eq!(gateway.metric("tidegate_client_errors_total", &kind).await, 3.0);
    }
}

/// An error frame's exact text, made again from its members.
fn exact(frame: &Value) -> String {
    format!(
        r#"{{"message": {}, "connectionId":{}, "requestId":{}}}"#,
        frame["message"], frame["connectionId"], frame["requestId"]
    )
}

/// websocket-api, item 114, and 11.2.
#[tokio::test]
async fn a_stage_throttle_of_zero_refuses_with_429() {
    let function = FunctionBackend::accepting().await;
    let zero = "{ rate = 0, burst = 0 }";
    let toml = watched_by(&function).set(r#"apis.test.stages."prod""#, "throttle", zero);
    let gateway = start(&toml).await;
    let response = refused(&gateway.ws_url("prod")).await;
    let message = assert_refusal(&response, 429, "TooManyRequestsException");
    assert_eq!(message, "Too Many Requests");
    assert_eq!(function.events().len(), 0, "a throttled upgrade reaches no integration");
}

/// websocket-api, item 115 and 11.2: a route's throttle replaces the stage's; a throttled message
/// is answered by an error frame, reaches no integration, and the connection stays open.
#[tokio::test]
async fn a_route_throttle_replaces_the_stages() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .route("$default", "watcher")
        .two_way("free", "watcher")
        .set(r#"apis.test.stages."prod""#, "throttle", "{ rate = 0, burst = 0 }")
        .route_key("$connect", "throttle", "{ rate = 100, burst = 100 }")
        .route_key("free", "throttle", "{ rate = 100, burst = 100 }");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    client.send_text("hello").await;
    assert_error_frame(&client.next_text().await, "Too Many Requests", &id);
    client.send_text(r#"{"action":"free"}"#).await;
    assert_eq!(client.next_text().await, "");
    assert_eq!(function.events_of("MESSAGE").len(), 1, "only the free one");
    client.close(1000, "").await;
    function.next_event("DISCONNECT").await; // not throttled (11.2)
}
