//! What the client and `$disconnect` are told at a connection's end (websocket-api, 3.7).
//!
//! In:  one cause each. Out: the close frame, and the `disconnectStatusCode` /
//! `disconnectReason` pair.
//!
//! Holds always: one `$disconnect` for each connection, and none for a refused one.

use serde_json::json;
use tidegate_testkit::{
    Client, Frame, FunctionBackend, GatewayToml, Opcode, RawClient, TestGateway, refused,
};

use crate::{connection_id, start, watched_by};

/// One connection whose end is watched.
struct Ending {
    gateway: TestGateway,
    function: FunctionBackend,
    client: RawClient,
    id: String,
}

impl Ending {
    async fn start(change: impl FnOnce(GatewayToml) -> GatewayToml) -> Self {
        let function = FunctionBackend::accepting().await;
        let toml = change(watched_by(&function).route("$default", "watcher"));
        let gateway = start(&toml).await;
        let client = RawClient::connect(&gateway.ws_url("prod")).await;
        let id = connection_id(&function).await;
        Self { gateway, function, client, id }
    }

    /// What the close frame to the client must say, and that the connection is then ended.
    async fn client_sees(&mut self, code: u16, reason: &str) {
        assert_eq!(self.client.next_close().await, (code, reason.to_owned()));
    }

    /// Answers the gateway's close frame, as a client must.
    async fn answer(&mut self, code: u16) {
        self.client.send(&Frame::close(code, "")).await;
        assert_eq!(self.client.next_frame().await, None, "the connection ends after both closes");
    }

    /// What `$disconnect` must be told, once.
    async fn disconnect_says(&self, code: u16, reason: &str) {
        let event = self.function.next_event("DISCONNECT").await;
        let context = &event["requestContext"];
        assert_eq!(
            (&context["disconnectStatusCode"], &context["disconnectReason"]),
            (&json!(code), &json!(reason)),
        );
        assert_eq!(context["connectionId"], self.id.as_str());
        let gone = self.gateway.get_connection("prod", &self.id).await;
        assert_eq!(gone.status, 410, "the connection is gone when $disconnect runs");
        assert_eq!(self.function.events_of("DISCONNECT").len(), 1);
    }
}

/// websocket-api, 3.7: client closes without a status code.
#[tokio::test]
async fn a_close_without_code_is_echoed_without_code() {
    let mut ending = Ending::start(|toml| toml).await;
    ending.client.send(&Frame::new(Opcode::Close, "")).await;
    ending.client_sees(1005, "").await;
    ending.disconnect_says(1005, "Client-side close frame status not set").await;
}

/// websocket-api, 3.7: client closes with a code.
#[tokio::test]
async fn a_close_with_code_is_echoed_and_told_with_its_reason() {
    for (code, reason) in [(1000, "done"), (1001, ""), (3000, "späßle"), (4999, "own")] {
        let mut ending = Ending::start(|toml| toml).await;
        ending.client.send(&Frame::close(code, reason)).await;
        let frame = ending.client.next_frame().await.expect("an echo");
        assert_eq!(frame.close().0, code);
        assert_eq!(ending.client.next_frame().await, None);
        ending.disconnect_says(code, reason).await;
    }
}

/// websocket-api, 3.7: idle timeout.
#[tokio::test]
async fn an_idle_connection_is_closed_1001_going_away() {
    let mut ending = Ending::start(|toml| toml.limit("idle_timeout_s", "1")).await;
    ending.client_sees(1001, "Going away").await;
    ending.answer(1001).await;
    ending.disconnect_says(1001, "Going away").await;
}

/// websocket-api, 3.7: the maximum age (2 hours on API Gateway).
#[tokio::test]
async fn a_connection_at_its_maximum_age_is_closed_1001_going_away() {
    let mut ending = Ending::start(|toml| toml.limit("max_connection_s", "1")).await;
    ending.client_sees(1001, "Going away").await;
    ending.answer(1001).await;
    ending.disconnect_says(1001, "Going away").await;
}

/// websocket-api, 3.7: `DELETE @connections/{id}`; the frame has no reason (decision).
#[tokio::test]
async fn a_deleted_connection_is_closed_1000_without_reason() {
    let mut ending = Ending::start(|toml| toml).await;
    assert_eq!(ending.gateway.delete_connection("prod", &ending.id).await.status, 204);
    ending.client_sees(1000, "").await;
    ending.answer(1000).await;
    ending.disconnect_says(1000, "Connection Closed Normally").await;
}

/// websocket-api, 3.7: binary frame; the reason is empty (decision).
#[tokio::test]
async fn a_binary_frame_ends_with_1003() {
    let mut ending = Ending::start(|toml| toml).await;
    ending.client.send(&Frame::new(Opcode::Binary, vec![1, 2, 3])).await;
    let close = ending.client.next_close().await;
    assert_eq!(close.0, 1003);
    ending.answer(1003).await;
    ending.disconnect_says(1003, "").await;
    assert_eq!(ending.function.events_of("MESSAGE").len(), 0);
}

/// websocket-api, 3.7: too large; the reason is empty (decision).
#[tokio::test]
async fn a_frame_over_the_limit_ends_with_1009() {
    let mut ending = Ending::start(|toml| toml.limit("max_frame_bytes", "1000")).await;
    ending.client.send(&Frame::text(vec![b'x'; 1001])).await;
    assert_eq!(ending.client.next_close().await.0, 1009);
    ending.answer(1009).await;
    ending.disconnect_says(1009, "").await;
    assert_eq!(ending.function.events_of("MESSAGE").len(), 0);
}

/// websocket-api, 3.7: TCP loss without close; the reason is empty (decision).
#[tokio::test]
async fn a_lost_connection_is_told_as_1006() {
    let Ending { gateway, function, client, id } = Ending::start(|toml| toml).await;
    client.cut();
    let event = function.next_event("DISCONNECT").await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1006);
    assert_eq!(event["requestContext"]["disconnectReason"], "");
    assert_eq!(event["requestContext"]["connectionId"], id.as_str());
    assert_eq!(gateway.get_connection("prod", &id).await.status, 410);
}

/// websocket-api, 3.8: a refused upgrade must not produce `$disconnect`. A later connection's
/// events show that nothing is on its way any more.
#[tokio::test]
async fn a_refused_upgrade_has_no_disconnect() {
    let function = FunctionBackend::start(|event| {
        let query = &event["queryStringParameters"]["enter"];
        json!({ "statusCode": if *query == "no" { 403 } else { 200 } })
    })
    .await;
    let gateway = start(&watched_by(&function)).await;
    let refusal = refused(&(gateway.ws_url("prod") + "?enter=no")).await;
    assert_eq!(refusal.status, 403);
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.close(1000, "").await;
    let events = function.wait_for_events("DISCONNECT", 1).await;
    let accepted = &function.events_of("CONNECT")[1];
    assert_eq!(
        events[0]["requestContext"]["connectionId"],
        accepted["requestContext"]["connectionId"],
    );
    assert_eq!(function.events_of("DISCONNECT").len(), 1);
}
