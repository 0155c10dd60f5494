//! What a message's sender gets back: replies of two-way routes, and error frames (websocket-api,
//! 4.4 to 4.6 and 17.6).
//!
//! In:  messages, and what the function answers. Out: text frames to the client.
//!
//! Holds always: "nothing is sent" is seen by what comes next, not by waiting.

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, TestGateway, wait_until,
};

use crate::{assert_error_frame, connection_id, reply, start, text, watched_by};

/// A gateway whose function is asked by the message what to do: `action` names the route, `do`
/// the answer.
struct Asked {
    client: Client,
    function: FunctionBackend,
    gateway: TestGateway,
    id: String,
}

/// The answers that a message may ask for.
fn answer(wish: &str) -> FunctionAnswer {
    match wish {
        "reply" => reply("here you are").into(),
        "no body" => json!({ "statusCode": 200 }).into(),
        "null body" => json!({ "statusCode": 200, "body": null }).into(),
        "throw" => FunctionAnswer::error(),
        "cut" => FunctionAnswer::from(Answer::cut()),
        "stall" => FunctionAnswer::stall(),
        "string" => json!("just text").into(),
        "no status" => json!({ "body": "no statusCode" }).into(),
        "array" => json!([1, 2]).into(),
        "nothing" => FunctionAnswer::raw(""),
        "no JSON" => FunctionAnswer::raw("<html>"),
        status => {
            json!({ "statusCode": status.parse::<u16>().expect("a wish"), "body": "text" }).into()
        }
    }
}

impl Asked {
    async fn start() -> Self {
        let function = FunctionBackend::start(|event| {
            if event["requestContext"]["eventType"] != "MESSAGE" {
                return json!({ "statusCode": 200 }).into();
            }
            let message: Value = serde_json::from_str(text(&event["body"])).expect("a JSON body");
            answer(text(&message["do"]))
        })
        .await;
        let toml = watched_by(&function)
            .function("impatient", &function.url())
            .integration("impatient", "timeout_ms", "100")
            .function("nobody", "http://127.0.0.1:1/")
            .route("tell", "watcher")
            .two_way("ask", "watcher")
            .two_way("ask-quickly", "impatient")
            .route("tell-quickly", "impatient")
            .two_way("ask-nobody", "nobody")
            .two_way("ask-rarely", "watcher")
            .route_key("ask-rarely", "throttle", "{ rate = 0, burst = 0 }");
        let gateway = start(&toml).await;
        let client = Client::connect(&gateway.ws_url("prod")).await;
        let id = connection_id(&function).await;
        Self { client, function, gateway, id }
    }

    async fn send(&mut self, action: &str, wish: &str) {
        self.client.send_text(&json!({ "action": action, "do": wish }).to_string()).await;
    }

    /// Sends, and returns the next text.
    async fn ask(&mut self, action: &str, wish: &str) -> String {
        self.send(action, wish).await;
        self.client.next_text().await
    }

    /// Sends, and expects an error frame.
    async fn expect_error(&mut self, action: &str, wish: &str, message: &str) -> String {
        let frame = self.ask(action, wish).await;
        assert_error_frame(&frame, message, &self.id)
    }
}

/// websocket-api, item 72.
#[tokio::test]
async fn a_one_way_route_sends_nothing_back() {
    let mut asked = Asked::start().await;
    for wish in ["reply", "500", "no body"] {
        asked.send("tell", wish).await;
    }
    asked.function.wait_for_events("MESSAGE", 3).await;
    let function = asked.function.http();
    wait_until(DEADLINE, "three answers", async || function.in_flight() == 0).await;
    assert_eq!(asked.ask("ask", "201").await, "text", "the first text is the two-way route's");
    assert_eq!(asked.client.close(1000, "").await.0, 1000, "and no other comes before the end");
}

/// websocket-api, item 73 and 4.4.
#[tokio::test]
async fn a_two_way_route_sends_the_body_whatever_the_status() {
    let mut asked = Asked::start().await;
    assert_eq!(asked.ask("ask", "reply").await, "here you are");
    for status in ["200", "204", "301", "401", "500", "501"] {
        assert_eq!(asked.ask("ask", status).await, "text", "{status}");
    }
}

/// websocket-api, item 74: `reply = true` is the route response, and there is nothing else to set.
#[tokio::test]
async fn reply_alone_makes_a_route_two_way() {
    let function = FunctionBackend::start(|_| reply("yes")).await;
    let toml = GatewayToml::new().function("f", &function.url()).two_way("$default", "f");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("hello").await;
    assert_eq!(client.next_text().await, "yes");
}

/// websocket-api, item 75.
#[tokio::test]
async fn a_two_way_reply_without_body_is_an_empty_text_message() {
    let mut asked = Asked::start().await;
    assert_eq!(asked.ask("ask", "no body").await, "");
    assert_eq!(asked.ask("ask", "null body").await, "");
}

/// websocket-api, item 76.
#[tokio::test]
async fn a_function_error_on_a_one_way_route_sends_an_internal_server_error_frame() {
    let mut asked = Asked::start().await;
    let frame_id = asked.expect_error("tell", "throw", "Internal server error").await;
    let event = asked.function.next_event("MESSAGE").await;
    assert_eq!(event["requestContext"]["requestId"], frame_id, "one request, one id");
}

/// websocket-api, 4.4 and 4.5: what is no proxy response is a function error.
#[tokio::test]
async fn a_malformed_proxy_response_sends_an_internal_server_error_frame() {
    let mut asked = Asked::start().await;
    for action in ["ask", "tell"] {
        for wish in ["string", "no status", "array", "nothing", "no JSON", "cut", "throw"] {
            asked.expect_error(action, wish, "Internal server error").await;
        }
    }
    asked.expect_error("ask-nobody", "reply", "Internal server error").await;
}

/// websocket-api, item 77, on one-way routes too (4.5).
#[tokio::test]
async fn an_integration_timeout_sends_an_endpoint_request_timed_out_frame() {
    let mut asked = Asked::start().await;
    asked.expect_error("ask-quickly", "stall", "Endpoint request timed out").await;
    asked.expect_error("tell-quickly", "stall", "Endpoint request timed out").await;
}

/// websocket-api, 4.5 and 11.2: the integration is not invoked and the connection stays open.
#[tokio::test]
async fn a_throttled_message_gets_a_too_many_requests_frame_and_no_integration() {
    let mut asked = Asked::start().await;
    asked.expect_error("ask-rarely", "reply", "Too Many Requests").await;
    assert_eq!(asked.function.events_of("MESSAGE").len(), 0);
    assert_eq!(asked.ask("ask", "reply").await, "here you are");
}

/// websocket-api, item 78.
#[tokio::test]
async fn the_socket_stays_usable_after_every_error_frame() {
    let mut asked = Asked::start().await;
    for (action, wish, message) in [
        ("nonsense", "reply", "Forbidden"),
        ("ask", "throw", "Internal server error"),
        ("tell", "string", "Internal server error"),
        ("ask-nobody", "reply", "Internal server error"),
        ("ask-quickly", "stall", "Endpoint request timed out"),
        ("ask-rarely", "reply", "Too Many Requests"),
    ] {
        asked.expect_error(action, wish, message).await;
        assert_eq!(asked.ask("ask", "reply").await, "here you are", "after {message}");
    }
    assert_eq!(asked.function.events_of("DISCONNECT").len(), 0);
    assert_eq!(asked.gateway.get_connection("prod", &asked.id).await.status, 200);
}

/// websocket-api, 4.4 (decision): decoded, sent as text when it is UTF-8, else an error frame.
#[tokio::test]
async fn a_base64_reply_is_decoded_to_text_or_is_an_error() {
    let function = FunctionBackend::start(|event| match event["body"].as_str() {
        None => json!({ "statusCode": 200 }),
        Some(body) => json!({ "statusCode": 200, "body": body, "isBase64Encoded": true }),
    })
    .await;
    let gateway = start(&watched_by(&function).two_way("$default", "watcher")).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    client.send_text("Z3LDvMOfZQ==").await;
    assert_eq!(client.next_text().await, "grüße");
    for (bad, why) in [("//8=", "no UTF-8"), ("*", "no base64")] {
        client.send_text(bad).await;
        let frame = client.next_text().await;
        assert_error_frame(&frame, "Internal server error", &id);
        assert_eq!(function.events_of("DISCONNECT").len(), 0, "{why}");
    }
}

/// websocket-api, 3.9: a slow answer holds up no other message of the connection.
#[tokio::test]
async fn replies_may_arrive_in_another_order_than_their_messages() {
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let waiting = std::sync::Arc::clone(&gate);
    let function = FunctionBackend::start_async(move |event| {
        let waiting = std::sync::Arc::clone(&waiting);
        async move {
            let body = text(&event["body"]).to_owned();
            if body == "slow" {
                waiting.notified().await;
            }
            reply(&body).into()
        }
    })
    .await;
    let toml = GatewayToml::new().function("f", &function.url()).two_way("$default", "f");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("slow").await;
    client.send_text("quick").await;
    assert_eq!(client.next_text().await, "quick");
    gate.notify_one();
    assert_eq!(client.next_text().await, "slow");
}
