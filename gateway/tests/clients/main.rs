//! Tidegate with the clients that people really use, from those packages' own releases.
//!
//! ```text
//! python/, node/, autobahn/   the programs, one named case per run; ./test.sh installs their packages
//!        ▲ a child process per test
//! sdks, websocket_clients, chat, openid, autobahn   which cases there are, and what stands behind the gateway
//! dashboard, game, notify, lambda_chat              the examples, each started by its one command
//! several_nodes                                     the chat over three gateways, by its README's commands
//!
//! handlers/                   Lambda functions, which the gateway itself runs: functions
//! ```
//!
//! In:  the packages below `.tests/`, the gateway's binary. Out: a test per case.
//!
//! Holds always: a package that is missing fails the test and says what installs it; every case of
//! a program is a test here; a program that does not end is killed.

mod autobahn;
mod aws_services;
mod chat;
mod dashboard;
mod echo_backend;
mod examples;
mod functions;
mod game;
mod groups_guide;
mod lambda_chat;
mod notify;
mod openid;
mod program;
mod readers_shell;
mod sdks;
mod several_nodes;
mod websocket_clients;

use serde_json::{Value, json};
use tidegate_testkit::{FunctionBackend, GatewayToml, TestGateway};

/// The binary under test.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A gateway whose backend does what the programs count on (`python/harness.py`).
pub(crate) async fn gateway(toml: GatewayToml) -> (TestGateway, FunctionBackend) {
    let function =
        FunctionBackend::start(|event| match event["requestContext"]["eventType"].as_str() {
            Some("CONNECT") => connect(&event),
            _ => message(&event),
        })
        .await;
    let toml = toml
        .function("function", &function.url())
        .route("$connect", "function")
        .two_way("$default", "function");
    (TestGateway::start(GATEWAY, &toml.build()).await, function)
}

/// `?refuse=403` is refused with that status; of the offered subprotocols, `chat.v1` is chosen.
fn connect(event: &Value) -> Value {
    if let Some(status) = event["queryStringParameters"]["refuse"].as_str() {
        return json!({ "statusCode": status.parse::<u16>().expect("a status in ?refuse=") });
    }
    let offered = event["headers"]["Sec-WebSocket-Protocol"].as_str().unwrap_or_default();
    if offered.split(',').any(|name| name.trim() == "chat.v1") {
        json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": "chat.v1" } })
    } else {
        json!({ "statusCode": 200 })
    }
}

/// "who am I" is answered with the connection id, everything else with itself.
fn message(event: &Value) -> Value {
    let body = match event["body"].as_str() {
        Some("who am I") => &event["requestContext"]["connectionId"],
        _ => &event["body"],
    };
    json!({ "statusCode": 200, "body": body })
}
