//! The contract, statement by statement, against the real gateway process over real sockets.
//!
//! In:  a `gateway.toml` per test, clients before the gateway, backends behind it, all from
//!      `tidegate-testkit` (`gateway/crates/testkit`, whose front page shows a whole test).
//! Out: what each side saw. Doc comments name the statement: `websocket-api, item 27` is the
//!      conformance checklist of the WebSocket contract, `tidegate, section 5` our own surface.
//!
//! Holds always: one binary with one module per subject (a `mod` line below each), so that it
//! links once; every test has a gateway of its own; waits are for events, under a deadline.

mod access_log;
mod addressing;
mod admin_port;
mod api_keys;
mod asked_for;
mod audiences;
mod authorizer_functions;
mod authorizers;
mod close_codes;
mod commands;
mod connect;
mod drain;
mod events;
mod failing_authorizers;
mod frames;
mod groups;
mod http_integrations;
mod iam;
mod invocations;
mod isolation;
mod jwt;
mod lambda;
mod limits;
mod management;
mod management_http;
mod metrics;
mod models;
mod post_during_connect;
mod reloads;
mod replies;
mod resources;
mod route_selection;
mod secrets;
mod service_calls;
mod signed_calls;
mod slow_clients;
mod template_errors;
mod tls;
mod traces;
mod transformation;
mod upgrade;

use std::path::Path;

use serde_json::{Value, json};
use tidegate_testkit::{Client, FunctionBackend, GatewayToml, TestGateway};

/// The binary under test.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_tidegate");

/// Starts the gateway with a file.
pub(crate) async fn start(toml: &GatewayToml) -> TestGateway {
    assert!(Path::new(GATEWAY).is_file(), "{GATEWAY} is built by cargo test");
    TestGateway::start(GATEWAY, &toml.build()).await
}

/// An api whose `$connect` and `$disconnect` go to one function, for tests that need to know
/// the connection.
pub(crate) fn watched_by(function: &FunctionBackend) -> GatewayToml {
    GatewayToml::new()
        .function("watcher", &function.url())
        .route("$connect", "watcher")
        .route("$disconnect", "watcher")
}

/// An api that says every message back.
pub(crate) fn echo() -> GatewayToml {
    GatewayToml::new().echo("echo").two_way("$default", "echo")
}

/// As [`echo`], with `$connect` and `$disconnect` watched.
pub(crate) fn watched_echo(function: &FunctionBackend) -> GatewayToml {
    watched_by(function).echo("echo").two_way("$default", "echo")
}

/// One message there and back.
pub(crate) async fn echoes(client: &mut Client, text: &str) {
    client.send_text(text).await;
    assert_eq!(client.next_text().await, text);
}

/// The connection id of the next `$connect` event.
pub(crate) async fn connection_id(function: &FunctionBackend) -> String {
    let event = function.next_event("CONNECT").await;
    text(&event["requestContext"]["connectionId"]).to_owned()
}

/// A JSON string's text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a JSON string, not {value}"))
}

/// A proxy response (websocket-api, 4.4) with status 200 and this body.
pub(crate) fn reply(body: &str) -> Value {
    json!({ "statusCode": 200, "body": body })
}

/// Checks an error frame byte for byte (websocket-api, 4.5): one space after the first colon and
/// after each comma, none after the other colons. Returns its request id.
pub(crate) fn assert_error_frame(frame: &str, message: &str, connection_id: &str) -> String {
    let head = format!(
        "{{\"message\": \"{message}\", \"connectionId\":\"{connection_id}\", \"requestId\":\""
    );
    let id = frame.strip_prefix(&head).and_then(|rest| rest.strip_suffix("\"}"));
    let id = id.unwrap_or_else(|| panic!("{frame}\nis not\n{head}<request id>\"}}"));
    assert_id(id);
    id.to_owned()
}

/// Checks the shape of connection, request and message ids (websocket-api, 4.1 and item 64).
pub(crate) fn assert_id(id: &str) {
    let shaped = id.len() == 16
        && id.ends_with('=')
        && id[..15].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    assert!(shaped, "{id:?} is not 16 characters of URL-safe base64 with one =");
}
