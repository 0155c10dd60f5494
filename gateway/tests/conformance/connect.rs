//! What `$connect` decides (websocket-api, 3.1 to 3.3, 4.3 and items 33 to 42; tidegate, section 4;
//! reliability, lines 5 and 20).
//!
//! In:  upgrades on apis with and without `$connect`, whose integration answers well, badly or late.
//! Out: the 101 with what may go along with it, or the refusal; what the integration was told.
//!
//! Holds always: nothing is answered, and no message route runs, before `$connect` has ended.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, Frame, FunctionAnswer, FunctionBackend, GatewayToml, HttpBackend, HttpClient,
    RawClient, TestGateway, refused, refused_with,
};
use tokio::sync::Semaphore;

use crate::{connection_id, start, text, upgrade::assert_refusal, watched_by};

/// A gateway whose `$connect` function answers by the query `?answer=`.
async fn answering(
    answer: impl Fn(&str) -> FunctionAnswer + Send + Sync + 'static,
) -> (TestGateway, FunctionBackend) {
    let function = FunctionBackend::start(move |event| {
        let wanted = event["queryStringParameters"]["answer"].as_str().unwrap_or_default();
        answer(wanted)
    })
    .await;
    (start(&watched_by(&function)).await, function)
}

fn asking_for(gateway: &TestGateway, answer: &str) -> String {
    format!("{}?answer={answer}", gateway.ws_url("prod"))
}

/// websocket-api, item 33 and 3.1.
#[tokio::test]
async fn an_api_without_connect_accepts_directly() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}

/// websocket-api, 3.1: a route without a target.
#[tokio::test]
async fn a_connect_route_without_integration_accepts_directly() {
    let gateway = start(&GatewayToml::new().route_key("$connect", "reply", "false")).await;
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}

/// websocket-api, item 34, and the whole range of 3.2.
#[tokio::test]
async fn a_function_that_answers_2xx_accepts() {
    let (gateway, _function) = answering(|status| {
        json!({ "statusCode": status.parse::<u16>().expect("a status") }).into()
    })
    .await;
    for status in ["200", "201", "204", "299"] {
        Client::connect(&asking_for(&gateway, status)).await.ping_pong().await;
    }
}

/// websocket-api, item 35, and 3.2: the body of a proxy integration goes along.
#[tokio::test]
async fn a_function_that_answers_another_status_refuses_with_it_and_its_body() {
    let (gateway, _function) = answering(|status| {
        let status: u16 = status.parse().expect("a status");
        json!({ "statusCode": status, "body": format!("no: {status}") }).into()
    })
    .await;
    for status in [300, 301, 400, 401, 403, 404, 410, 429, 500, 501, 503] {
        let response = refused(&asking_for(&gateway, &status.to_string())).await;
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.text(), format!("no: {status}"));
    }
}

/// websocket-api, item 35, for an HTTP backend.
#[tokio::test]
async fn an_http_backend_decides_with_its_status_too() {
    let backend = HttpBackend::start(|request| async move {
        match request.query.as_deref() {
            Some("enter=yes") => Answer::status(204),
            _ => Answer::status(402).header("Content-Type", "text/plain").body("pay first"),
        }
    })
    .await;
    let toml =
        GatewayToml::new().http_proxy("backend", &backend.url()).route("$connect", "backend");
    let gateway = start(&toml).await;
    Client::connect(&(gateway.ws_url("prod") + "?enter=yes")).await.ping_pong().await;
    let response = refused(&gateway.ws_url("prod")).await;
    assert_eq!((response.status, response.text()), (402, "pay first"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
}

/// websocket-api, items 36 and 37.
#[tokio::test]
async fn a_function_that_fails_or_answers_nonsense_refuses_with_502() {
    let (gateway, _function) = answering(|answer| match answer {
        "exception" => FunctionAnswer::error(),
        other => FunctionAnswer::raw(match other {
            "text" => "hello",
            "string" => r#""hello""#,
            "empty" => "",
            "array" => "[200]",
            "no-status" => r#"{"body":"hello"}"#,
            "bad-status" => r#"{"statusCode":"yes"}"#,
            _ => unreachable!("an answer of this test"),
        }),
    })
    .await;
    let answers = ["exception", "text", "string", "empty", "array", "no-status", "bad-status"];
    for answer in answers {
        let response = refused(&asking_for(&gateway, answer)).await;
        let message = assert_refusal(&response, 502, "InternalServerErrorException");
        assert_eq!(message, "Internal server error", "{answer}");
    }
}

/// websocket-api, item 38.
#[tokio::test]
async fn a_connect_beyond_its_timeout_refuses_with_504() {
    let function = FunctionBackend::start(|_| FunctionAnswer::stall()).await;
    let gateway = start(&watched_by(&function).integration("watcher", "timeout_ms", "100")).await;
    let response = refused(&gateway.ws_url("prod")).await;
    let message = assert_refusal(&response, 504, "InternalServerErrorException");
    assert_eq!(message, "Endpoint request timed out");
}

/// websocket-api, 3.2: HTTP backend unreachable.
#[tokio::test]
async fn an_unreachable_backend_refuses_with_504() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let url = backend.url();
    backend.stop().await;
    let toml = GatewayToml::new().http_proxy("backend", &url).route("$connect", "backend");
    let gateway = start(&toml).await;
    let response = refused(&gateway.ws_url("prod")).await;
    assert_refusal(&response, 504, "InternalServerErrorException");
}

/// websocket-api, item 39; reliability, line 20: `$connect` ends before the 101, and no message
/// route runs before it, not even for a client that does not wait.
#[tokio::test]
async fn nothing_is_answered_or_run_before_connect_has_ended() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let function = FunctionBackend::start_async(move |event| {
        let opened = Arc::clone(&opened);
        async move {
            if event["requestContext"]["eventType"] == "CONNECT" {
                opened.acquire().await.expect("never closed").forget();
            }
            json!({ "statusCode": 200 }).into()
        }
    })
    .await;
    let gateway = start(&watched_by(&function).route("$default", "watcher")).await;
    let mut client = HttpClient::connect(&gateway.http_url()).await;
    let head = "GET /prod HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send_bytes(&[head.as_bytes(), &Frame::text("early").encode()].concat()).await;
    connection_id(&function).await;
    let answered = tokio::time::timeout(Duration::from_millis(200), client.read_response(false));
    answered.await.expect_err("no answer before $connect has ended");
    assert_eq!(function.events_of("MESSAGE").len(), 0, "no message before the 101");
    gate.add_permits(1);
    assert_eq!(client.read_response(false).await.status, 101);
    assert_eq!(function.next_event("MESSAGE").await["body"], "early");
}

/// websocket-api, 3.2: required route request parameter missing.
#[tokio::test]
async fn a_missing_required_parameter_is_answered_400_before_connect_runs() {
    let function = FunctionBackend::accepting().await;
    let required = r#"{ "route.request.querystring.token" = { required = true },
        "route.request.header.X-Room" = { required = true },
        "route.request.header.X-Other" = { required = false } }"#
        .replace('\n', " ");
    let toml = watched_by(&function).route_key("$connect", "request_parameters", &required);
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let with_token = format!("{url}?token=t");
    let room = [("x-room", "r1")];
    Client::connect_with(&with_token, &room, &[]).await;
    for (url, headers) in [(&url, &room[..]), (&with_token, &[])] {
        let response = refused_with(url, headers, &[]).await;
        assert_refusal(&response, 400, "BadRequestException");
    }
    assert_eq!(function.events_of("CONNECT").len(), 1, "only the accepted one was asked about");
}

/// websocket-api, item 40.
#[tokio::test]
async fn other_headers_and_the_body_of_connect_stay_behind() {
    let (gateway, _function) = answering(|_| {
        json!({
            "statusCode": 200,
            "headers": { "Set-Cookie": "a=b", "X-Own": "1", "Content-Type": "text/plain" },
            "multiValueHeaders": { "X-Many": ["1", "2"] },
            "body": "welcome",
        })
        .into()
    })
    .await;
    let mut client = Client::connect(&asking_for(&gateway, "")).await;
    let mut names = client.header_names();
    names.sort_unstable();
    names.retain(|name| *name != "date");
    assert_eq!(names, ["connection", "sec-websocket-accept", "upgrade"]);
    // A message before the pong would fail it.
    client.ping_pong().await;
}

/// websocket-api, item 41 and 3.3: any casing of the name.
#[tokio::test]
async fn the_subprotocol_that_connect_returns_is_answered() {
    let (gateway, _function) =
        answering(|name| json!({ "statusCode": 200, "headers": { name: "graphql-ws" } }).into())
            .await;
    for name in ["Sec-WebSocket-Protocol", "sec-websocket-protocol", "SEC-WEBSOCKET-PROTOCOL"] {
        let url = asking_for(&gateway, name);
        let client = Client::connect_with(&url, &[], &["chat", "graphql-ws"]).await;
        assert_eq!(client.subprotocol(), Some("graphql-ws"), "{name}");
    }
}

/// websocket-api, 3.3: several offers are one string to the integration; an HTTP backend answers
/// with a plain header.
#[tokio::test]
async fn an_http_backend_sees_the_offer_and_picks_from_it() {
    let backend = HttpBackend::answering(Answer::ok().header("sec-websocket-protocol", "b")).await;
    let toml =
        GatewayToml::new().http_proxy("backend", &backend.url()).route("$connect", "backend");
    let gateway = start(&toml).await;
    let client = Client::connect_with(&gateway.ws_url("prod"), &[], &["a", "b"]).await;
    assert_eq!(client.subprotocol(), Some("b"));
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    let offer = [("Sec-WebSocket-Protocol", "a, b")];
    RawClient::connect_with(&gateway.ws_url("prod"), &offer).await;
    let event = function.next_event("CONNECT").await;
    assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "a, b");
}

/// websocket-api, item 42; reliability, line 5.
#[tokio::test]
async fn an_offer_that_the_backend_leaves_alone_is_not_answered() {
    let function = FunctionBackend::accepting().await;
    for toml in [watched_by(&function), GatewayToml::new().route_key("$default", "reply", "false")]
    {
        let gateway = start(&toml).await;
        let offer = [("Sec-WebSocket-Protocol", "chat")];
        let client = RawClient::connect_with(&gateway.ws_url("prod"), &offer).await;
        assert_eq!(client.response().header("sec-websocket-protocol"), None);
    }
}

fn headers_of<'a>(event: &'a Value, name: &str) -> Vec<&'a str> {
    let all = event["multiValueHeaders"].as_object().expect("multiValueHeaders");
    let own = all.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
    own.flat_map(|(_, values)| values.as_array().expect("an array")).map(text).collect()
}

/// websocket-api, 4.3: the headers that the gateway adds.
#[tokio::test]
async fn the_integration_is_told_where_the_client_came_from() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    let port = gateway.address().port().to_string();
    RawClient::connect(&gateway.ws_url("prod")).await;
    let event = function.next_event("CONNECT").await;
    assert_eq!(headers_of(&event, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(headers_of(&event, "x-forwarded-proto"), ["http"]);
    assert_eq!(headers_of(&event, "x-forwarded-port"), [port.as_str()]);
    // What a client claims of its way is kept, but stands before what we know, and changes nothing.
    let claims = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "443"),
    ];
    RawClient::connect_with(&gateway.ws_url("prod"), &claims).await;
    let event = function.next_event("CONNECT").await;
    assert_eq!(headers_of(&event, "x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(headers_of(&event, "x-forwarded-proto"), ["http"]);
    assert_eq!(headers_of(&event, "x-forwarded-port"), [port.as_str()]);
    assert_eq!(event["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
}

/// tidegate, section 4: a client can never set a header of our prefix.
#[tokio::test]
async fn a_tidegate_header_from_a_client_is_dropped() {
    let claims = [
        ("Tidegate-Connection-Id", "claimed"),
        ("tidegate-principal-id", "claimed"),
        ("TIDEGATE-ANYTHING", "claimed"),
        ("X-Tidegate", "own"),
    ];
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    RawClient::connect_with(&gateway.ws_url("prod"), &claims).await;
    let event = function.next_event("CONNECT").await.to_string();
    assert!(!event.contains("claimed"), "{event}");
    assert!(event.contains("X-Tidegate"), "only the prefix is ours: {event}");

    let backend = HttpBackend::answering(Answer::ok()).await;
    for context_headers in ["true", "false"] {
        let toml = GatewayToml::new()
            .http_proxy("backend", &backend.url())
            .integration("backend", "context_headers", context_headers)
            .route("$connect", "backend");
        let gateway = start(&toml).await;
        RawClient::connect_with(&gateway.ws_url("prod"), &claims).await;
        let request = backend.next_request().await;
        assert!(request.headers.iter().all(|(_, value)| value != "claimed"), "{request:?}");
        assert_eq!(request.header("x-tidegate"), Some("own"));
        let id = request.header("tidegate-connection-id");
        assert_eq!(id.is_some(), context_headers == "true", "{request:?}");
    }
}
