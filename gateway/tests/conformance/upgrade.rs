//! How an upgrade request is answered (websocket-api, 3.1 to 3.3 and 17.3; tidegate, section 2).
//!
//! In:  upgrade requests, right and wrong, on apis with and without `$connect`.
//! Out: the 101 or the refusal, and what the `$connect` integration was told.
//!
//! Holds always: a refusal is read whole, with its headers and its body.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, Frame, FunctionAnswer, FunctionBackend, GatewayToml, HttpBackend, HttpClient,
    HttpResponse, RawClient, TestGateway, http_call, refused, refused_with,
};
use tokio::sync::Semaphore;

use crate::{assert_error_frame, assert_id, connection_id, start, text, watched_by};

const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A refusal by the gateway itself: status, class, and a body in the form of an error frame
/// (websocket-api, 3.2, decision). Returns the frame's text for people.
fn assert_refusal(response: &HttpResponse, status: u16, error_type: &str) -> String {
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

/// tidegate, section 2: sub paths and a trailing slash are tolerated; websocket-api, 3.1.
#[tokio::test]
async fn a_trailing_slash_a_query_and_sub_paths_are_tolerated() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    for path in ["prod/", "prod?a=b", "prod/?a=b", "prod/any/sub/path", "%70rod"] {
        Client::connect(&gateway.ws_url(path)).await.ping_pong().await;
    }
}

/// websocket-api, 3.2: unknown stage; with and without an upgrade.
#[tokio::test]
async fn an_unknown_stage_is_answered_403() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    for path in ["test", "PROD", "prods", "", "%2Fprod", "..%2fprod"] {
        let response = refused(&gateway.ws_url(path)).await;
        assert_eq!(assert_refusal(&response, 403, "ForbiddenException"), "Forbidden", "{path:?}");
        let response = gateway.manage("GET", &format!("/{path}"), b"").await;
        assert_refusal(&response, 403, "ForbiddenException");
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

/// Which of two apis took the upgrade with this `Host`; `None` for a refusal with 403.
async fn api_of(gateway: &TestGateway, function: &FunctionBackend, host: &str) -> Option<String> {
    let headers = [&UPGRADE[..], &[("Host", host)]].concat();
    let response = http_call(&gateway.http_url(), "GET", "/prod", &headers, b"").await;
    if response.status == 101 {
        let event = function.next_event("CONNECT").await;
        assert_eq!(event["requestContext"]["domainName"], host);
        return Some(text(&event["requestContext"]["apiId"]).to_owned());
    }
    assert_refusal(&response, 403, "ForbiddenException");
    None
}

/// tidegate, section 2: exact domains, then wildcards, `.execute-api.`, `.localhost`.
#[tokio::test]
async fn the_host_decides_which_api_is_meant() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .api("domains", r#"["chat.example.com", "x.example.org"]"#)
        .section(&format!(
            r#"
[apis.other]
protocol = "websocket"
route_selection_expression = "$request.body.action"
domains = ["*.example.org", "*.localhost"]
[apis.other.stages.prod]
[apis.other.integrations.watcher]
type = "aws_proxy"
uri = "{}"
[apis.other.routes."$connect"]
integration = "watcher"
"#,
            function.url()
        ));
    let gateway = start(&toml).await;
    for (host, api) in [
        ("chat.example.com", Some("test")),
        ("CHAT.Example.com", Some("test")),
        ("chat.example.com:8443", Some("test")),
        ("a.example.org", Some("other")),
        ("x.example.org", Some("test")),
        ("a.b.example.org", None),
        ("example.org", None),
        ("test.execute-api.us-east-1.amazonaws.com", Some("test")),
        ("other.execute-api.eu-west-1.amazonaws.com", Some("other")),
        ("third.execute-api.eu-west-1.amazonaws.com", None),
        // The wildcard comes before the api's own name.
        ("test.localhost", Some("other")),
        ("localhost", None),
        ("127.0.0.1", None),
        ("evil-chat.example.com", None),
        ("chat.example.com.evil.com", None),
    ] {
        assert_eq!(api_of(&gateway, &function, host).await.as_deref(), api, "{host}");
    }
}

/// websocket-api, 12.3, 12.4 and item 118: a key of a custom domain stands in the stage's place, in
/// upgrades and in calls of the management API; a mapping without a key takes the rest.
#[tokio::test]
async fn api_mappings_serve_a_stage_under_a_domain_of_its_own() {
    let function = FunctionBackend::accepting().await;
    let mappings = r#"[
        { domain = "d.example.com", key = "v1", stage = "prod" },
        { domain = "*.example.com", stage = "beta" },
        { domain = "d.example.com", key = "V2", stage = "beta" },
    ]"#;
    let toml = watched_by(&function).stage("beta").api("api_mappings", mappings);
    let gateway = start(&toml).await;
    for (host, path, stage) in [
        ("d.example.com", "/v1", Some("prod")),
        ("D.example.com:443", "/v1/", Some("prod")),
        ("d.example.com", "/V2/sub", Some("beta")),
        // An exact host that is mapped serves its keys, and nothing of the wildcard's.
        ("d.example.com", "/v2", None),
        ("d.example.com", "/prod", None),
        ("d.example.com", "/", None),
        ("x.example.com", "/", Some("beta")),
        ("x.example.com", "/prod", Some("beta")),
        ("elsewhere.example.org", "/v1", None),
        ("elsewhere.example.org", "/prod", Some("prod")),
    ] {
        let headers = [&UPGRADE[..], &[("Host", host)]].concat();
        let response = http_call(&gateway.http_url(), "GET", path, &headers, b"").await;
        let Some(stage) = stage else {
            assert_refusal(&response, 403, "ForbiddenException");
            continue;
        };
        assert_eq!(response.status, 101, "{host}{path}");
        let event = function.next_event("CONNECT").await;
        assert_eq!(event["requestContext"]["stage"], stage, "{host}{path}");
        assert_eq!(event["requestContext"]["domainName"], host);
    }
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let mut beta = Client::connect(&gateway.ws_url("beta")).await;
    let id = connection_id(&function).await;
    let of_beta = connection_id(&function).await;
    let post = |host: &'static str, path: String| {
        let url = gateway.http_url();
        async move { http_call(&url, "POST", &path, &[("Host", host)], b"pushed").await.status }
    };
    assert_eq!(post("d.example.com", format!("/v1/@connections/{id}")).await, 200);
    assert_eq!(client.next_text().await, "pushed");
    assert_eq!(post("x.example.com", format!("/@connections/{of_beta}")).await, 200);
    assert_eq!(beta.next_text().await, "pushed");
    assert_eq!(post("d.example.com", format!("/prod/@connections/{id}")).await, 403);
    assert_eq!(post("d.example.com", format!("/@connections/{id}")).await, 403);
    assert_eq!(post("d.example.com", format!("/V2/@connections/{id}")).await, 410);
}

/// tidegate, section 2: `{api id}.localhost`, and the only api in the file.
#[tokio::test]
async fn the_only_api_answers_to_every_host() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    for host in ["127.0.0.1:1", "test.localhost", "other.localhost", "example.com", "[::1]:8080"] {
        assert_eq!(api_of(&gateway, &function, host).await.as_deref(), Some("test"), "{host}");
    }
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
