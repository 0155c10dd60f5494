//! Posts to a connection whose `$connect` still runs (tidegate, section 5; websocket-api, item 111).
//!
//! In:  a function that posts to its own connection before it answers.
//! Out: what the post was answered, and what the client reads after its 101.
//!
//! Holds always: what is held for a client is bounded, and goes with one that is refused.

use std::sync::{Arc, OnceLock};

use serde_json::json;
use tidegate_testkit::{
    Client, FunctionBackend, GatewayToml, HttpResponse, TestGateway, http_call, refused,
};

use crate::{start, text, watched_by};

/// A gateway whose `$connect` function posts to its own connection and answers `status`. Returns
/// what the post was answered, too.
async fn posting_during_connect(
    change: impl FnOnce(GatewayToml) -> GatewayToml,
    status: u16,
) -> (TestGateway, Arc<OnceLock<(String, HttpResponse)>>, FunctionBackend) {
    let base = Arc::new(OnceLock::<String>::new());
    let posted = Arc::new(OnceLock::new());
    let (known, result) = (Arc::clone(&base), Arc::clone(&posted));
    let function = FunctionBackend::start_async(move |event| {
        let (known, result) = (Arc::clone(&known), Arc::clone(&result));
        async move {
            if event["requestContext"]["eventType"] == "CONNECT" {
                let id = text(&event["requestContext"]["connectionId"]);
                let target = format!("/prod/@connections/{id}");
                let base = known.get().expect("set before a client connects");
                let response = http_call(base, "POST", &target, &[], b"welcome").await;
                result.set((id.to_owned(), response)).expect("one connection");
            }
            json!({ "statusCode": status }).into()
        }
    })
    .await;
    let gateway = start(&change(watched_by(&function))).await;
    base.set(gateway.http_url()).expect("set once");
    (gateway, posted, function)
}

/// tidegate, section 5: held, and delivered right after the 101.
#[tokio::test]
async fn a_post_from_inside_connect_is_delivered_after_the_101() {
    let (gateway, posted, _function) = posting_during_connect(|toml| toml, 200).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    assert_eq!(client.next_text().await, "welcome");
    client.ping_pong().await;
    assert_eq!(posted.get().expect("the post was made").1.status, 200);
}

/// tidegate, section 5: at most `send_queue_bytes`.
#[tokio::test]
async fn what_is_held_for_a_connecting_client_is_bounded() {
    let small = |toml: GatewayToml| toml.limit("send_queue_bytes", "5");
    let (gateway, posted, _function) = posting_during_connect(small, 200).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.ping_pong().await;
    let response = &posted.get().expect("the post was made").1;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("LimitExceededException"));
}

/// websocket-api, item 111.
#[tokio::test]
async fn a_post_from_inside_connect_is_gone_where_the_api_says_so() {
    let gone = |toml: GatewayToml| toml.api("post_during_connect", r#""gone""#);
    let (gateway, posted, _function) = posting_during_connect(gone, 200).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.ping_pong().await;
    let (id, response) = posted.get().expect("the post was made");
    assert_eq!(response.status, 410, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("GoneException"));
    assert_eq!(gateway.get_connection("prod", id).await.status, 200, "reachable once it is open");
}

/// tidegate, section 5: what was held for a client that is refused goes with it.
#[tokio::test]
async fn a_refused_connection_is_gone_for_posts() {
    let (gateway, posted, _function) = posting_during_connect(|toml| toml, 403).await;
    let response = refused(&gateway.ws_url("prod")).await;
    assert_eq!(response.status, 403);
    assert!(!response.text().contains("welcome"), "{response:?}");
    let id = &posted.get().expect("the post was made").0;
    assert_eq!(gateway.post_to("prod", id, b"hello").await.status, 410);
}
