//! What a backend gets of an event, and what its answer becomes (websocket-api, 3.2, 4.4 and 5;
//! tidegate, section 4).
//!
//! In:  messages and upgrades, to HTTP backends, functions and mocks that answer properly or not.
//! Out: the request as the backend saw it, and the answer or the error.
//!
//! Holds always: what a client claims of the gateway's own headers reaches no backend.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use tidegate_flow::context::{Occurrence, UpgradeRequest};
use tidegate_integrations::{Owner, PoolLimits};
use tidegate_model::{Function, IntegrationKind, UriTemplate};

use crate::{DEADLINE, backend::Backend, call, compiled, message, pools, post};

fn function(uri: &str) -> IntegrationKind {
    IntegrationKind::AwsProxy(Function::Web(UriTemplate::parse(uri).unwrap()))
}

#[tokio::test]
async fn a_message_reaches_the_backend_unchanged_and_its_answer_comes_back() {
    let backend = Backend::start(|seen| {
        let body = Full::new(seen.body.clone());
        Response::builder().status(201).header("X-Answer", "yes").body(body).unwrap()
    })
    .await;
    let pools = pools(PoolLimits::default());
    let text = "{\"action\" : \"é\"}\r\n";
    let answer = call(&post(&backend.uri("/messages?a=1")), &pools, &message(text)).await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["x-answer"], "yes");
    assert_eq!(answer.body, text);
    assert!(!answer.binary);
    let seen = backend.seen().remove(0);
    assert_eq!((seen.method, seen.uri.to_string().as_str()), (Method::POST, "/messages?a=1"));
    assert_eq!(seen.body, text);
    assert_eq!(seen.headers["host"], backend.address.to_string());
    assert_eq!(seen.headers["content-length"], text.len().to_string());
    assert!(!seen.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn an_empty_message_is_posted_with_a_content_length_of_0() {
    let backend = Backend::echo().await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&backend.uri("/")), &pools, &message("")).await.unwrap();
    assert!(answer.body.is_empty());
    let headers = backend.seen().remove(0).headers;
    assert_eq!(headers.get_all("content-length").iter().collect::<Vec<_>>(), ["0"]);
}

#[tokio::test]
async fn a_redirect_is_the_answer_and_is_not_followed() {
    let backend = Backend::start(|_| {
        Response::builder().status(302).header("Location", "/other").body(Full::default()).unwrap()
    })
    .await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&backend.uri("/")), &pools, &message("x")).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn an_octet_stream_is_a_binary_answer() {
    let backend = Backend::start(|_| {
        let body = Full::new(Bytes::from_static(&[0, 255]));
        Response::builder().header("Content-Type", "application/octet-stream").body(body).unwrap()
    })
    .await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&backend.uri("/")), &pools, &message("x")).await.unwrap();
    assert!(answer.binary);
    assert_eq!(&answer.body[..], [0, 255]);
}

#[tokio::test]
async fn connect_shows_the_backend_the_clients_headers_and_query_and_no_body() {
    let backend = Backend::echo().await;
    let pools = pools(PoolLimits::default());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let occurrence = Occurrence::Connect(UpgradeRequest {
        headers: vec![
            pair("Sec-WebSocket-Protocol", "a, b"),
            pair("Cookie", "c=d"),
            pair("Tidegate-Principal-Id", "forged"),
            pair("Sec-WebSocket-Key", "k"),
        ],
        query: vec![pair("token", "a b")],
        raw_query: "token=a%20b".to_owned(),
    });
    call(&post(&backend.uri("/connect")), &pools, &occurrence).await.unwrap();
    let seen = backend.seen().remove(0);
    assert_eq!(seen.uri, "/connect?token=a%20b");
    assert!(seen.body.is_empty());
    assert_eq!(seen.headers["sec-websocket-protocol"], "a, b");
    assert_eq!(seen.headers["cookie"], "c=d");
    assert_eq!(seen.headers["tidegate-event-type"], "CONNECT");
    assert!(!seen.headers.contains_key("tidegate-principal-id"));
    assert!(!seen.headers.contains_key("sec-websocket-key"));
}

/// tidegate, section 4: any web server is a function.
#[tokio::test]
async fn a_function_gets_the_proxy_event_and_answers_a_proxy_response() {
    let backend = Backend::start(|seen| {
        let event: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let response = serde_json::json!({
            "statusCode": 403,
            "headers": {"sec-WebSocket-Protocol": "a", "Tidegate-Join": "room"},
            "body": event["body"],
        });
        Response::new(Full::new(response.to_string().into()))
    })
    .await;
    let pools = pools(PoolLimits::default());
    let integration = compiled(function(&backend.uri("/fn")), DEADLINE);
    let answer = call(&integration, &pools, &message("{\"a\": 1}")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (403, &b"{\"a\": 1}"[..]));
    assert_eq!(answer.headers["sec-websocket-protocol"], "a");
    assert_eq!(answer.headers["tidegate-join"], "room");
    let seen = backend.seen().remove(0);
    assert_eq!((seen.method, seen.uri.path()), (Method::POST, "/fn"));
    assert_eq!(seen.headers["content-type"], "application/json");
}

/// websocket-api, 3.2 and 4.4.
#[tokio::test]
async fn a_function_that_fails_or_answers_no_proxy_response_is_a_502() {
    let proper = r#"{"statusCode": 200}"#;
    for (status, body, kind) in [
        (500, proper, "function_error"),
        (201, proper, "function_error"),
        (302, proper, "function_error"),
        (200, "\"hello\"", "malformed_proxy_response"),
        (200, "{\"body\": \"x\"}", "malformed_proxy_response"),
        (200, "", "malformed_proxy_response"),
    ] {
        let backend = Backend::start(move |_| {
            Response::builder().status(status).body(Full::new(body.into())).unwrap()
        })
        .await;
        let pools = pools(PoolLimits::default());
        let integration = compiled(function(&backend.uri("/")), DEADLINE);
        let error = call(&integration, &pools, &message("x")).await.unwrap_err();
        assert_eq!((error.kind(), error.status().as_u16()), (kind, 502));
        assert_eq!(error.error_message().as_str(), "Internal server error");
        assert_eq!(error.blame(), Owner::ApiOwner);
    }
}

#[tokio::test]
async fn a_mock_answers_its_status_and_the_message_itself() {
    let pools = pools(PoolLimits::default());
    let integration = compiled(IntegrationKind::Echo { status: 207 }, DEADLINE);
    let answer = call(&integration, &pools, &message("hi")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (207, &b"hi"[..]));
    let connect = Occurrence::Connect(UpgradeRequest::default());
    assert!(call(&integration, &pools, &connect).await.unwrap().body.is_empty());
}
