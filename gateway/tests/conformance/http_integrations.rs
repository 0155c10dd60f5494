//! What HTTP backends are sent and what becomes of their answers (websocket-api, section 5 and
//! items 79 to 84; tidegate, section 4).
//!
//! In:  sessions of clients through `http_proxy` integrations.
//! Out: the requests that the backend saw; replies.
//!
//! Holds always: the backend is a real server that keeps each request as it stood on the wire.

use tidegate_testkit::{
    Answer, Client, FunctionBackend, GatewayToml, HttpBackend, RawClient, RecordedRequest,
};

use crate::{assert_error_frame, assert_id, connection_id, start, watched_by};

/// A file with `http_proxy` integrations `connect` (on `$connect`) and `message` (two-way on
/// `$default`), each with a path of its own.
fn proxied(backend: &HttpBackend) -> GatewayToml {
    GatewayToml::new()
        .http_proxy("connect", &format!("{}/connect", backend.url()))
        .http_proxy("message", &format!("{}/message", backend.url()))
        .route("$connect", "connect")
        .two_way("$default", "message")
}

/// Runs one session: connect with `query` and `headers`, send `message`, wait for its reply.
/// The two requests that the backend saw.
async fn session(
    toml: &GatewayToml,
    backend: &HttpBackend,
    query: &str,
    headers: &[(&str, &str)],
    message: &str,
) -> [RecordedRequest; 2] {
    let gateway = start(toml).await;
    let url = gateway.ws_url("prod") + query;
    let mut client = Client::connect_with(&url, headers, &[]).await;
    client.send_text(message).await;
    client.next_text().await;
    [backend.next_request().await, backend.next_request().await]
}

/// websocket-api, item 79 and 5.1.
#[tokio::test]
async fn a_proxied_message_is_the_request_body_with_the_default_headers() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let message = "{ \"a\":1,\r\n\"é\" : 1.0 }  no JSON";
    let [_, request] = session(&proxied(&backend), &backend, "", &[], message).await;
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/message"));
    assert_eq!(request.text(), message);
    assert_eq!(request.header("x-amzn-apigateway-api-id"), Some("test"));
    assert_eq!(request.header("user-agent"), Some("AmazonAPIGateway_test"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let length = message.len().to_string();
    assert_eq!(request.header("content-length"), Some(length.as_str()));
    let host = backend.address().to_string();
    assert_eq!(request.header("host"), Some(host.as_str()));
    let trace = request.header("x-amzn-trace-id").expect("a trace id");
    assert!(trace.starts_with("Root=1-"), "{trace}");
}

/// websocket-api, item 80 and 5.1.
#[tokio::test]
async fn a_proxied_connect_has_no_body() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let [request, _] = session(&proxied(&backend), &backend, "", &[], "x").await;
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/connect"));
    assert_eq!(request.text(), "");
    assert!(matches!(request.header("content-length"), None | Some("0")));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("content-type"), None, "a body alone has a type");
}

/// websocket-api, 5.1: the client's own headers and query, without those of the hop, which are
/// also the ones that `Connection` names (RFC 9110, 7.6.1).
#[tokio::test]
async fn a_proxied_connect_forwards_headers_and_query_but_not_the_handshake() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let headers = [
        ("Cookie", "a=b"),
        ("X-Room", "r1"),
        ("Connection", "Upgrade, X-Hop"),
        ("X-Hop", "not for you"),
        ("Proxy-Authorization", "not for you"),
    ];
    let [request, message] =
        session(&proxied(&backend), &backend, "?token=a%20b&x=1", &headers, "x").await;
    assert_eq!(request.target, "/connect?token=a%20b&x=1");
    assert_eq!(request.header("cookie"), Some("a=b"));
    assert_eq!(request.header("x-room"), Some("r1"));
    for name in [
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "x-hop",
        "proxy-authorization",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(message.target, "/message", "a message has no query of the client's");
    assert_eq!(message.header("cookie"), None, "nor its headers");
}

/// websocket-api, 5.1 and 3.8.
#[tokio::test]
async fn a_proxied_disconnect_has_no_body_and_its_answer_is_ignored() {
    let backend = HttpBackend::answering(Answer::status(500).body("no matter")).await;
    let toml = GatewayToml::new()
        .http_proxy("end", &format!("{}/end", backend.url()))
        .route("$disconnect", "end");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    assert_eq!(client.close(1000, "").await.0, 1000);
    let request = backend.next_request().await;
    assert_eq!((request.target.as_str(), request.text()), ("/end", ""));
    assert_eq!(request.header("tidegate-event-type"), Some("DISCONNECT"));
    assert_eq!(backend.count(), 1, "no second try");
}

/// websocket-api, item 81, with our own headers switched off.
#[tokio::test]
async fn the_connection_id_is_absent_unless_mapped() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .http_proxy("plain", &format!("{}/plain", backend.url()))
        .integration("plain", "context_headers", "false")
        .http_proxy("mapped", &format!("{}/mapped", backend.url()))
        .integration("mapped", "context_headers", "false")
        .parameter("mapped", "integration.request.header.connectionId", "context.connectionId")
        .parameter("mapped", "integration.request.header.routeKey", "context.routeKey")
        .two_way("plain", "plain")
        .two_way("mapped", "mapped");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for action in ["plain", "mapped"] {
        client.send_text(&format!(r#"{{"action":"{action}"}}"#)).await;
        assert_eq!(client.next_text().await, "ok");
    }
    let plain = backend.next_request().await;
    assert_eq!(plain.target, "/plain");
    for (name, value) in &plain.headers {
        assert!(!value.contains(&id), "{name}: {value}");
        assert!(!name.to_ascii_lowercase().starts_with("tidegate-"), "{name}");
    }
    let mapped = backend.next_request().await;
    assert_eq!(mapped.header("connectionid"), Some(id.as_str()));
    assert_eq!(mapped.header("routekey"), Some("mapped"));
}

/// tidegate, section 4.
#[tokio::test]
async fn http_backends_are_told_the_context_in_headers() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let [connect, message] = session(&proxied(&backend), &backend, "", &[], "x").await;
    let id = connect.header("tidegate-connection-id").expect("a connection id");
    assert_id(id);
    assert_eq!(message.header("tidegate-connection-id"), Some(id));
    for (request, event_type, route_key) in
        [(&connect, "CONNECT", "$connect"), (&message, "MESSAGE", "$default")]
    {
        assert_eq!(request.header("tidegate-event-type"), Some(event_type));
        assert_eq!(request.header("tidegate-route-key"), Some(route_key));
        assert_eq!(request.header("tidegate-stage"), Some("prod"));
        assert_id(request.header("tidegate-request-id").expect("a request id"));
        assert_eq!(request.header("tidegate-principal-id"), None, "no authorizer ran");
    }
}

/// tidegate, section 4: dropped at the upgrade, so a function never sees them either.
#[tokio::test]
async fn a_client_cannot_set_a_tidegate_header() {
    let forged = [("Tidegate-Connection-Id", "forged"), ("tIDEGATE-Principal-Id", "admin")];
    for context_headers in ["true", "false"] {
        let backend = HttpBackend::answering(Answer::ok()).await;
        let toml = proxied(&backend).integration("connect", "context_headers", context_headers);
        let gateway = start(&toml).await;
        let _client = RawClient::connect_with(&gateway.ws_url("prod"), &forged).await;
        let request = backend.next_request().await;
        let values: Vec<_> = request.headers.iter().map(|(_, value)| value.as_str()).collect();
        assert!(!values.contains(&"forged") && !values.contains(&"admin"), "{values:?}");
    }
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    let _client = RawClient::connect_with(&gateway.ws_url("prod"), &forged).await;
    let event = function.next_event("CONNECT").await.to_string();
    assert!(!event.contains("forged") && !event.contains("admin"), "{event}");
}

/// websocket-api, item 82 and 5.3: what resolves to nothing is left out.
#[tokio::test]
async fn a_body_path_and_a_constant_map_to_headers_and_query() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = proxied(&backend)
        .parameter("message", "integration.request.header.room", "route.request.body.a.b")
        .parameter("message", "integration.request.header.missing", "route.request.body.a.c")
        .parameter("message", "integration.request.header.constant", "'x'")
        .parameter("message", "integration.request.querystring.source", "'w s&='");
    let body = r#"{"a":{"b":"r1"}}"#;
    let [_, request] = session(&toml, &backend, "", &[], body).await;
    assert_eq!(request.header("room"), Some("r1"));
    assert_eq!(request.header("missing"), None);
    assert_eq!(request.header("constant"), Some("x"));
    assert_eq!(request.query.as_deref(), Some("source=w%20s%26%3D"));
    assert_eq!(request.text(), body, "mapping leaves the body alone");
}

/// websocket-api, 5.3: bytes of a message cannot end a header.
#[tokio::test]
async fn a_mapped_body_value_cannot_forge_a_header() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = proxied(&backend).parameter(
        "message",
        "integration.request.header.room",
        "route.request.body.room",
    );
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"room":"r1\r\nX-Forged: yes\r\n\r\nGET / HTTP/1.1"}"#).await;
    let _reply_or_error_frame = client.next_text().await;
    client.send_text(r#"{"room":"r2"}"#).await;
    assert_eq!(client.next_text().await, "ok");
    for request in backend.requests() {
        assert_eq!(request.header("x-forged"), None);
        assert_eq!(request.method, "POST");
    }
}

/// websocket-api, item 83, 5.3 and 3.2: declared on the route, and refused with 400 when required
/// and missing.
#[tokio::test]
async fn a_query_parameter_of_the_upgrade_maps_on_connect() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = proxied(&backend)
        .set(
            r#"apis.test.routes."$connect".request_parameters"#,
            "route.request.querystring.t",
            "{ required = true }",
        )
        .parameter("connect", "integration.request.header.token", "route.request.querystring.t")
        .parameter("connect", "integration.request.header.agent", "route.request.header.User-Agent")
        .set(
            r#"apis.test.routes."$connect".request_parameters"#,
            "route.request.header.User-Agent",
            "{ required = false }",
        );
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let _client = Client::connect(&(url.clone() + "?t=a%20b")).await;
    let request = backend.next_request().await;
    assert_eq!(request.header("token"), Some("a b"));
    assert_eq!(request.header("agent"), None, "an optional source may be missing");
    let refusal = tidegate_testkit::refused(&url).await;
    assert_eq!(refusal.status, 400);
    assert_eq!(backend.count(), 1, "a refused upgrade reaches no backend");
}

/// websocket-api, item 84, in host and path.
#[tokio::test]
async fn stage_variables_in_the_uri_are_substituted() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = GatewayToml::new()
        .variable("host", &backend.address().to_string())
        .variable("version", "v2")
        .http_proxy("message", "http://${stageVariables.host}/${stageVariables.version}/in")
        .two_way("$default", "message");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    assert_eq!(client.next_text().await, "ok");
    assert_eq!(backend.next_request().await.target, "/v2/in");
}

/// websocket-api, 5.2: the answer's body goes back unchanged, whatever the status; a redirect is
/// an answer like any other.
#[tokio::test]
async fn a_proxied_reply_is_the_backends_body_whatever_the_status() {
    let backend = HttpBackend::start(async |request: RecordedRequest| match request.text() {
        "redirect" => Answer::status(302).header("Location", "/elsewhere").body("moved"),
        "error" => Answer::status(503).body("<p>busy</p>"),
        "empty" => Answer::status(204),
        text => Answer::body_of(format!("you said {text}")),
    })
    .await;
    let toml =
        GatewayToml::new().http_proxy("message", &backend.url()).two_way("$default", "message");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for (sent, received) in [
        ("hello", "you said hello"),
        ("redirect", "moved"),
        ("error", "<p>busy</p>"),
        ("empty", ""),
    ] {
        client.send_text(sent).await;
        assert_eq!(client.next_text().await, received);
    }
    assert_eq!(backend.count(), 4, "no redirect is followed");
}

/// websocket-api, 5.2 and 4.5.
#[tokio::test]
async fn a_backend_that_cannot_be_reached_or_hangs_up_is_an_internal_server_error() {
    let backend = HttpBackend::answering(Answer::cut()).await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .http_proxy("rude", &backend.url())
        .http_proxy("absent", "http://127.0.0.1:1/")
        .two_way("rude", "rude")
        .route("absent", "absent");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for action in ["rude", "absent"] {
        client.send_text(&format!(r#"{{"action":"{action}"}}"#)).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
    }
}

/// tidegate, section 4: an `aws_proxy` integration POSTs the event to any web server.
#[tokio::test]
async fn a_function_over_http_gets_the_event_as_json() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    let _client = Client::connect(&gateway.ws_url("prod")).await;
    let event = function.next_event("CONNECT").await;
    assert_eq!(event["requestContext"]["eventType"], "CONNECT");
    let request = &function.http().requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/function"));
    assert_eq!(request.header("content-type"), Some("application/json"));
}
