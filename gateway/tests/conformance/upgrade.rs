//! What an upgrade request must be (websocket-api, 3.1 to 3.3; tidegate, section 9; reliability,
//! lines 6 and 13; RFC 6455, 4.2).
//!
//! In:  upgrade requests, right and wrong, long, and from foreign pages.
//! Out: the 101, or a refusal by the gateway itself.
//!
//! Holds always: a refusal is read whole, with its headers and its body. What `$connect` makes of a
//! good request is in `connect`, which api and stage it means in `addressing`.

use tidegate_testkit::{
    Client, GatewayToml, HttpClient, HttpResponse, RawClient, http_call, refused_with,
};

use crate::{assert_error_frame, assert_id, start, text};

/// The headers of an upgrade request.
pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Asks for an upgrade; the status, 101 for one that is accepted.
pub(crate) async fn upgrade_status(url: &str, headers: &[(&str, &str)]) -> u16 {
    upgrade_answer(url, headers).await.status
}

/// Asks for an upgrade; the whole answer, accepted or not.
pub(crate) async fn upgrade_answer(url: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let all = [&UPGRADE[..], headers].concat();
    let target = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    http_call(url, "GET", target.expect("a URL with a path"), &all, b"").await
}

/// A refusal by the gateway itself: status, class, and a body in the form of an error frame
/// (websocket-api, 3.2, decision). Returns the frame's text for people.
pub(crate) fn assert_refusal(response: &HttpResponse, status: u16, error_type: &str) -> String {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some(error_type), "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    let connection_id = text(&body["connectionId"]);
    assert_id(connection_id);
    let message = text(&body["message"]);
    let request_id = assert_error_frame(response.text(), message, connection_id);
    assert_eq!(response.header("x-amzn-requestid"), Some(request_id.as_str()));
    message.to_owned()
}

/// tidegate, section 9: compression is off by default, whatever is offered.
#[tokio::test]
async fn an_offered_compression_is_not_negotiated() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let client = RawClient::connect_with(&gateway.ws_url("prod"), &offer).await;
    assert_eq!(client.response().header("sec-websocket-extensions"), None);
}

/// websocket-api, item 43 and 3.2: a known stage, any sub path.
#[tokio::test]
async fn a_plain_get_on_a_known_stage_is_answered_426() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    let mut client = HttpClient::connect(&gateway.http_url()).await;
    for target in ["/prod", "/prod/", "/prod?x=1", "/prod/sub/path"] {
        let response = client.call("GET", target, &[], b"").await;
        assert_refusal(&response, 426, "UpgradeRequiredException");
        assert_eq!(response.header("upgrade"), Some("websocket"), "RFC 9110, 15.5.22");
    }
}

/// RFC 6455, 4.2: what a handshake needs.
#[tokio::test]
async fn a_wrong_handshake_is_refused() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    let with = |name: &'static str, value: Option<&'static str>| {
        let mut headers = UPGRADE.to_vec();
        headers.retain(|(own, _)| *own != name);
        headers.extend(value.map(|value| (name, value)));
        headers
    };
    let cases = [
        ("GET", with("Sec-WebSocket-Key", None), 400),
        ("GET", with("Sec-WebSocket-Key", Some("c2hvcnQ=")), 400),
        ("GET", with("Sec-WebSocket-Key", Some("not base64 at all !!")), 400),
        ("POST", UPGRADE.to_vec(), 400),
        ("GET", with("Sec-WebSocket-Version", Some("8")), 426),
        ("GET", with("Sec-WebSocket-Version", None), 426),
        ("GET", with("Upgrade", Some("h2c")), 426),
        ("GET", with("Connection", Some("keep-alive")), 426),
    ];
    for (method, headers, status) in cases {
        let response = http_call(&gateway.http_url(), method, "/prod", &headers, b"").await;
        assert_eq!(response.status, status, "{method} {headers:?}");
        if status == 426 {
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "RFC 6455, 4.2.2");
        }
    }
    let lists = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")];
    let headers = [&lists[..], &UPGRADE[2..]].concat();
    let response = http_call(&gateway.http_url(), "GET", "/prod", &headers, b"").await;
    assert_eq!(response.status, 101, "token lists, in any case");
}

/// reliability, line 6.
#[tokio::test]
async fn a_head_of_more_than_16_kib_or_100_headers_is_refused() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    let call = async |target: &str, headers: &[(&str, &str)]| {
        let headers = [&UPGRADE[..], headers].concat();
        http_call(&gateway.http_url(), "GET", target, &headers, b"").await.status
    };
    let long = "x".repeat(16 * 1024);
    assert_eq!(call("/prod", &[("X-Long", &long)]).await, 431);
    assert_eq!(call("/prod", &[("X-Long", &long[..15 * 1024])]).await, 101);
    // Host is one more.
    assert_eq!(call("/prod", &[("X-Many", "1"); 96]).await, 431);
    assert_eq!(call("/prod", &[("X-Many", "1"); 95]).await, 101);
}

/// websocket-api, 3.1: at most 4096 characters.
#[tokio::test]
async fn a_url_of_4096_characters_is_taken_and_one_more_is_not() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    let target = |length: usize| {
        let head = "/prod?x=";
        head.to_owned() + &"y".repeat(length - head.len())
    };
    let call =
        async |length| http_call(&gateway.http_url(), "GET", &target(length), &UPGRADE, b"").await;
    assert_eq!(call(4096).await.status, 101);
    assert_refusal(&call(4097).await, 414, "RequestUriTooLongException");
}

/// reliability, line 13.
#[tokio::test]
async fn a_foreign_origin_is_answered_403() {
    let toml = GatewayToml::new()
        .route_key("$default", "reply", "false")
        .api("allowed_origins", r#"["https://chat.example.com", "https://*.example.org"]"#);
    let gateway = start(&toml).await;
    for origin in ["https://chat.example.com", "https://CHAT.example.com", "https://a.example.org"]
    {
        Client::connect_with(&gateway.ws_url("prod"), &[("Origin", origin)], &[]).await;
    }
    Client::connect(&gateway.ws_url("prod")).await; // no Origin: no browser
    for origin in [
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "https://chat.example.com.evil.com",
        "https://evil.com/https://chat.example.com",
        "https://evilexample.org",
        "https://a.b.example.org",
        "https://example.org",
        "null",
        "",
    ] {
        let response = refused_with(&gateway.ws_url("prod"), &[("Origin", origin)], &[]).await;
        assert_eq!(assert_refusal(&response, 403, "ForbiddenException"), "Forbidden", "{origin}");
    }
    // The default: any.
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    let origin = [("Origin", "https://anything.example")];
    Client::connect_with(&gateway.ws_url("prod"), &origin, &[]).await;
}
