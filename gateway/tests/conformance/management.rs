//! `@connections`: what its calls do (websocket-api, section 10 and items 106 to 112; clients, 1.2
//! and 1.4; tidegate, section 6; reliability, lines 4, 17, 21 and 23).
//!
//! In:  calls with raw targets, about connections that are open, gone, somebody else's or malformed.
//! Out: status, headers and body as AWS SDKs read them, and what the client saw of it.
//!
//! Holds always: a refused call changes nothing; the client's next message shows it. How the calls
//! come over HTTP is in `management_http`, who may make them in `signed_calls`.

use std::time::Duration;

use serde_json::json;
use tidegate_testkit::{
    Client, FunctionBackend, GatewayToml, HttpClient, HttpResponse, TestGateway, http_call,
};

use crate::{assert_id, connection_id, start, text, watched_by};

pub(crate) const MESSAGE: usize = 128 * 1024;

/// One open connection and its id.
pub(crate) struct Open {
    pub(crate) gateway: TestGateway,
    function: FunctionBackend,
    pub(crate) client: Client,
    pub(crate) id: String,
}

impl Open {
    pub(crate) async fn start() -> Self {
        Self::start_with(|toml| toml).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(GatewayToml) -> GatewayToml) -> Self {
        let function = FunctionBackend::accepting().await;
        let gateway = start(&change(watched_by(&function).route("$default", "watcher"))).await;
        // The host names the api where there is more than one.
        let host = [("Host", "test.localhost")];
        let client = Client::connect_with(&gateway.ws_url("prod"), &host, &[]).await;
        let id = connection_id(&function).await;
        Self { gateway, function, client, id }
    }

    /// The path of this connection.
    pub(crate) fn target(&self) -> String {
        format!("/prod/@connections/{}", self.id)
    }

    pub(crate) async fn call(&self, method: &str, target: &str, body: &[u8]) -> HttpResponse {
        self.gateway.manage(method, target, body).await
    }
}

/// An error as SDKs read it: status, class, JSON message (clients, 1.4). Returns the message.
pub(crate) fn assert_error(response: &HttpResponse, status: u16, error_type: &str) -> String {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some(error_type), "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_id(response.header("x-amzn-requestid").expect("a request id"));
    let body = response.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    text(&body["message"]).to_owned()
}

/// 410 as Amazon's: the class in the header, and no body.
fn assert_gone(response: &HttpResponse) {
    assert_eq!(response.status, 410, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("GoneException"));
    assert_eq!(response.body, b"");
    assert_id(response.header("x-amzn-requestid").expect("a request id"));
}

/// websocket-api, item 106.
#[tokio::test]
async fn a_post_is_one_text_message_with_the_same_bytes() {
    let mut open = Open::start().await;
    for body in ["hello", "{\"a\": \"grüße 😀\"}\n", "", "\u{0}\u{feff}"] {
        let response = open.call("POST", &open.target(), body.as_bytes()).await;
        assert_eq!((response.status, response.text()), (200, ""), "{response:?}");
        assert_eq!(response.header("content-length"), Some("0"));
        assert_eq!(open.client.next_text().await, body);
    }
    for content_type in ["application/octet-stream", "image/png", "text/plain; charset=latin1"] {
        let headers = [("Content-Type", content_type)];
        let url = open.gateway.http_url();
        let response = http_call(&url, "POST", &open.target(), &headers, b"any type").await;
        assert_eq!(response.status, 200);
        assert_eq!(open.client.next_text().await, "any type");
    }
}

/// `2022-01-25T18:50:04.673Z`.
fn assert_iso_millis(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{time}");
}

/// websocket-api, item 107 and section 10: exactly these fields.
#[tokio::test]
async fn get_tells_who_is_connected_and_since_when() {
    let mut open = Open::start().await;
    let response = open.call("GET", &open.target(), b"").await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let first = response.json();
    let (connected, active) = (text(&first["connectedAt"]), text(&first["lastActiveAt"]));
    assert_iso_millis(connected);
    assert_iso_millis(active);
    let expected = json!({
        "connectedAt": connected,
        "identity": { "sourceIp": "127.0.0.1", "userAgent": null },
        "lastActiveAt": active,
    });
    assert_eq!(first, expected);

    // A client's message is activity; being asked about is none.
    tokio::time::sleep(Duration::from_millis(20)).await;
    open.client.send_text("I am active").await;
    open.function.next_event("MESSAGE").await;
    let second = open.call("GET", &open.target(), b"").await.json();
    assert_eq!(second["connectedAt"], connected);
    assert!(text(&second["lastActiveAt"]) > active, "{second} after {first}");
    let third = open.call("GET", &open.target(), b"").await.json();
    assert_eq!(second, third);

    let agent = [("User-Agent", "Mozilla/5.0 (\"quoted\")")];
    let _client = Client::connect_with(&open.gateway.ws_url("prod"), &agent, &[]).await;
    let id = connection_id(&open.function).await;
    let body = open.gateway.get_connection("prod", &id).await.json();
    assert_eq!(body["identity"]["userAgent"], agent[0].1);
}

/// websocket-api, item 108; clients, 1.4.
#[tokio::test]
async fn after_delete_every_call_is_answered_410() {
    let mut open = Open::start().await;
    let response = open.call("DELETE", &open.target(), b"").await;
    assert_eq!((response.status, response.body.as_slice()), (204, &b""[..]), "{response:?}");
    assert_eq!(response.header("content-length"), None, "RFC 9110, 8.6");
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&open.call(method, &open.target(), b"").await);
    }
    assert_eq!(open.client.next_close().await.0, 1000);
    open.function.next_event("DISCONNECT").await;
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&open.call(method, &open.target(), b"").await);
    }
    assert_eq!(open.function.events_of("DISCONNECT").len(), 1);
}

/// reliability, line 23: as soon as the client has closed, or never was.
#[tokio::test]
async fn a_connection_that_is_gone_is_answered_410() {
    let mut open = Open::start().await;
    open.client.close(1000, "").await;
    open.function.next_event("DISCONNECT").await;
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&open.call(method, &open.target(), b"x").await);
        // Of the right shape, and never given to anybody.
        assert_gone(&open.call(method, "/prod/@connections/L0SM9cOFvHcCIhw=", b"x").await);
        assert_gone(&open.call(method, "/prod/@connections/AAAAAAAAAAAAAAA=", b"x").await);
    }
}

/// websocket-api, item 109 and section 10.
#[tokio::test]
async fn a_malformed_id_is_answered_400() {
    let open = Open::start().await;
    for id in [
        "short",
        "AAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAA!=",
        "AAAAAAAAAAAAAA%20",
        "a%2Fb%20c%2Bd%26e%3Ff%2520~-_.%2A%21%27%28%29",
        "%C3%A9",
        "%FF%FE",
        "AAAAAAAAAAAAA%2F=",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let response = open.call(method, &format!("/prod/@connections/{id}"), b"x").await;
            let message = assert_error(&response, 400, "BadRequestException");
            assert!(message.starts_with("Invalid connectionId"), "{message}");
        }
    }
}

/// websocket-api, item 110; reliability, line 4. Also for a chunked body, whose length nobody
/// says beforehand.
#[tokio::test]
async fn a_post_of_131072_bytes_is_taken_and_one_byte_more_is_answered_413() {
    let mut open = Open::start().await;
    let url = open.gateway.http_url();
    let chunked = [("Transfer-Encoding", "chunked")];
    let chunks = |length: usize| {
        let mut wire = Vec::new();
        for chunk in vec![b'x'; length].chunks(10_000) {
            wire.extend(format!("{:X};ext=1\r\n", chunk.len()).into_bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
        wire
    };
    let response = open.call("POST", &open.target(), &vec![b'x'; MESSAGE]).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(open.client.next_text().await.len(), MESSAGE);
    let response = http_call(&url, "POST", &open.target(), &chunked, &chunks(MESSAGE)).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(open.client.next_text().await.len(), MESSAGE);
    for _ in 0..5 {
        let response = open.call("POST", &open.target(), &vec![b'x'; MESSAGE + 1]).await;
        assert_error(&response, 413, "PayloadTooLargeException");
        let body = chunks(MESSAGE + 1);
        let response = http_call(&url, "POST", &open.target(), &chunked, &body).await;
        assert_error(&response, 413, "PayloadTooLargeException");
    }
    let response = open.call("POST", &open.target(), &vec![b'x'; 4 * 1024 * 1024]).await;
    assert_error(&response, 413, "PayloadTooLargeException");
    open.client.ping_pong().await;
}

/// reliability, line 4, with a limit of one's own.
#[tokio::test]
async fn an_own_message_limit_holds_for_posts_too() {
    let mut open = Open::start_with(|toml| {
        toml.limit("max_message_bytes", "1000").limit("max_frame_bytes", "1000")
    })
    .await;
    assert_eq!(open.call("POST", &open.target(), &[b'x'; 1000]).await.status, 200);
    assert_eq!(open.client.next_text().await.len(), 1000);
    let response = open.call("POST", &open.target(), &[b'x'; 1001]).await;
    assert_error(&response, 413, "PayloadTooLargeException");
}

/// websocket-api, section 10 (decision): messages to clients are text.
#[tokio::test]
async fn a_post_that_is_not_utf_8_is_answered_400() {
    let mut open = Open::start().await;
    for body in [&[0xff][..], &[0xc3, 0x28], &[b'a', 0xe2, 0x82], &[0xed, 0xa0, 0x80]] {
        let response = open.call("POST", &open.target(), body).await;
        assert_error(&response, 400, "BadRequestException");
    }
    open.client.ping_pong().await;
}

/// websocket-api, item 112; clients, 1.2: every spelling of the same path.
#[tokio::test]
async fn the_path_may_be_escaped_and_have_double_slashes() {
    let mut open = Open::start().await;
    let bare = open.id.strip_suffix('=').expect("an id ends with =").to_owned();
    for target in [
        format!("/prod/@connections/{bare}="),
        format!("/prod/@connections/{bare}%3D"),
        format!("/prod/@connections/{bare}%3d"),
        format!("/prod/%40connections/{bare}="),
        format!("/prod/%40connections/{bare}%3D"),
        format!("/prod//@connections/{bare}%3D"),
        format!("//prod/@connections//{bare}%3D"),
        format!("/%70rod/%40%63onnections/{bare}%3D"),
    ] {
        let response = open.call("POST", &target, target.as_bytes()).await;
        assert_eq!(response.status, 200, "{target}: {response:?}");
        assert_eq!(open.client.next_text().await, target);
    }
    // Decoded once, never twice; case matters.
    for target in [
        format!("/prod/%2540connections/{bare}="),
        format!("/prod/@Connections/{bare}="),
        format!("/prod%2F@connections/{bare}="),
        format!("/prod/@connections/{bare}=/more"),
    ] {
        let response = open.call("POST", &target, b"no").await;
        assert_ne!(response.status, 200, "{target}: {response:?}");
    }
    open.client.ping_pong().await;
}

/// websocket-api, section 10 and clients, 1.4: an unknown stage is forbidden.
#[tokio::test]
async fn an_unknown_stage_is_answered_403() {
    let mut open = Open::start().await;
    for method in ["GET", "POST", "DELETE"] {
        for target in [
            format!("/test/@connections/{}", open.id),
            format!("/@connections/{}", open.id),
            format!("/PROD/@connections/{}", open.id),
        ] {
            let response = open.call(method, &target, b"x").await;
            let message = assert_error(&response, 403, "ForbiddenException");
            assert_eq!(message, "Forbidden", "{target}");
        }
    }
    open.client.ping_pong().await;
}

/// reliability, line 17.
#[tokio::test]
async fn an_id_of_one_api_or_stage_is_unknown_under_another() {
    let mut open = Open::start_with(|toml| {
        toml.stage("blue").section(
            r#"
[apis.other]
protocol = "websocket"
route_selection_expression = "x"
[apis.other.stages.prod]
[apis.other.routes."$default"]
"#,
        )
    })
    .await;
    let (url, target) = (open.gateway.http_url(), open.target());
    let own = [("Host", "test.localhost")];
    let other = [("Host", "other.localhost")];
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&http_call(&url, method, &target, &other, b"x").await);
        let blue = format!("/blue/@connections/{}", open.id);
        assert_gone(&http_call(&url, method, &blue, &own, b"x").await);
        let response = http_call(&url, method, &target, &[("Host", "third.localhost")], b"x").await;
        assert_error(&response, 403, "ForbiddenException");
    }
    open.client.ping_pong().await;
    assert_eq!(http_call(&url, "GET", &target, &own, b"").await.status, 200);
}

/// tidegate, section 6: a delete with a close code of one's own.
#[tokio::test]
async fn a_delete_may_say_code_and_reason() {
    for (query, code, reason) in [
        ("?code=4001&reason=too%20loud", 4001, "too loud"),
        ("?code=3000", 3000, ""),
        ("?reason=bye", 1000, "bye"),
        ("?code=4999&reason=sp%C3%A4ter", 4999, "später"),
    ] {
        let mut open = Open::start().await;
        let response = open.call("DELETE", &(open.target() + query), b"").await;
        assert_eq!(response.status, 204, "{response:?}");
        assert_eq!(open.client.next_close().await, (code, reason.to_owned()));
        let event = open.function.next_event("DISCONNECT").await;
        assert_eq!(event["requestContext"]["disconnectStatusCode"], code);
    }
}

/// tidegate, section 6: 1000 and 3000 to 4999; RFC 6455, 5.5: a reason has 123 bytes at most.
#[tokio::test]
async fn a_code_or_reason_that_may_not_be_sent_is_answered_400_and_closes_nothing() {
    let mut open = Open::start().await;
    let long = format!("?reason={}", "x".repeat(124));
    for query in [
        "?code=0",
        "?code=999",
        "?code=1001",
        "?code=1006",
        "?code=2999",
        "?code=5000",
        "?code=65536",
        "?code=-1",
        "?code=x",
        "?code=",
        &long,
    ] {
        let response = open.call("DELETE", &(open.target() + query), b"").await;
        assert_error(&response, 400, "BadRequestException");
    }
    open.client.ping_pong().await;
}

/// reliability, line 21: posts of one caller arrive in the order in which they were answered.
#[tokio::test]
async fn posts_of_one_caller_arrive_in_order() {
    let mut open = Open::start().await;
    let target = open.target();
    let url = open.gateway.http_url();
    let posting = tokio::spawn(async move {
        let mut http = HttpClient::connect(&url).await;
        for number in 0..1000_u32 {
            let body = number.to_string() + &"x".repeat(number as usize % 700);
            let response = http.call("POST", &target, &[], body.as_bytes()).await;
            assert_eq!(response.status, 200);
        }
    });
    for number in 0..1000_u32 {
        let text = open.client.next_text().await;
        let seen = text.trim_end_matches('x').parse();
        assert_eq!(seen, Ok(number));
    }
    posting.await.expect("the caller");
    open.client.ping_pong().await;
}
