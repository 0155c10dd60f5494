//! What mapping templates make of a message on its way to the backend and back (websocket-api,
//! 2.5 to 2.7, 5.2, 6.1, 6.3 and items 85, 86, 90, 91, 93, 94). Functions: `lambda`; what fails:
//! `template_errors`.
//!
//! In:  sessions of clients through `mock` and `http` integrations with templates.
//! Out: the requests that the backend saw; upgrades, replies and error frames.
//!
//! Holds always: which template renders what is a matter of `tidegate-flow`'s own tests; here is
//! what can be seen from outside.

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, FunctionBackend, GatewayToml, HttpBackend, RecordedRequest, refused,
    refused_with,
};

use crate::{assert_error_frame, connection_id, start, watched_by};

/// What most mocks' request templates say.
const OK: &str = r#"{"statusCode": 200}"#;

/// A mock `name` that answers `reply` to everything.
fn answering(toml: GatewayToml, name: &str, reply: &str) -> GatewayToml {
    toml.mock(name)
        .request_template(name, "application/json", OK)
        .response_template(name, "$default", "$default", reply)
}

/// Sends each message and compares the reply.
async fn expect_replies(client: &mut Client, pairs: &[(&str, &str)]) {
    for (sent, received) in pairs {
        client.send_text(sent).await;
        assert_eq!(client.next_text().await, *received, "{sent}");
    }
}

/// A web server that answers with the status that the body's `status` names, and a fixed body.
async fn server_of_statuses() -> HttpBackend {
    HttpBackend::start(async |request: RecordedRequest| {
        let status = request.json()["status"].as_u64().unwrap_or(200);
        Answer::status(status.try_into().expect("a status"))
            .header("Content-Type", "application/json")
            .body(r#"{"text":"hello"}"#)
    })
    .await
}

/// websocket-api, item 85 and 6.1: the set that was tried on the service, byte for byte.
#[tokio::test]
async fn a_mock_replies_with_its_rendered_template() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .mock("greet")
        .integration("greet", "template_selection_expression", r#""200""#)
        .request_template("greet", "200", OK)
        .response("greet", "$default", "template_selection_expression", r#""200""#)
        .response_template(
            "greet",
            "$default",
            "200",
            r#"{"statusCode" : 200, "connectionId" : "$context.connectionId"}"#,
        )
        .two_way("$default", "greet");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    client.send_text("hello").await;
    let greeting = format!(r#"{{"statusCode" : 200, "connectionId" : "{id}"}}"#);
    assert_eq!(client.next_text().await, greeting);
}

/// websocket-api, 4.6 and 6.1: a reply needs the route response too.
#[tokio::test]
async fn a_mock_on_a_one_way_route_sends_nothing_back() {
    let toml = answering(GatewayToml::new(), "say", "said")
        .route("tell", "say")
        .two_way("$default", "say");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"action":"tell"}"#).await;
    client.send_text("ask").await;
    assert_eq!(client.next_text().await, "said");
    assert_eq!(client.close(1000, "").await.0, 1000, "one reply to two messages");
}

/// websocket-api, 6.1 and 3.2.
#[tokio::test]
async fn a_mock_on_connect_accepts_with_200_and_refuses_with_500() {
    let toml = GatewayToml::new()
        .mock("door")
        .request_template("door", "application/json", r#"{"statusCode": $input.params("status")}"#)
        .route("$connect", "door");
    let gateway = start(&toml).await;
    let at = |status| format!("{}?status={status}", gateway.ws_url("prod"));
    for status in [200, 201, 299] {
        Client::connect(&at(status)).await;
    }
    for status in [300, 401, 403, 500, 503] {
        assert_eq!(refused(&at(status)).await.status, status);
    }
    // Nobody said more than the status, so the gateway does, in its own form.
    let forbidden = refused(&at(403)).await;
    assert_eq!(forbidden.json()["message"], "Forbidden");
    assert_eq!(forbidden.header("x-amzn-errortype"), Some("ForbiddenException"));
}

/// websocket-api, 3.2: what a template says to a client that is refused is what the client reads.
#[tokio::test]
async fn a_template_words_the_refusal_of_a_mock() {
    let toml = GatewayToml::new()
        .mock("door")
        .request_template("door", "application/json", r#"{"statusCode": 403}"#)
        .response_template("door", "$default", "$default", r#"{"sorry": "$context.stage"}"#)
        .route("$connect", "door");
    let gateway = start(&toml).await;
    let said = refused(&gateway.ws_url("prod")).await;
    assert_eq!((said.status, said.json()), (403, serde_json::json!({"sorry": "prod"})));
}

/// websocket-api, 6.1: "template absent or without statusCode".
#[tokio::test]
async fn a_mock_without_a_status_is_an_internal_server_error() {
    let function = FunctionBackend::accepting().await;
    let mut toml = watched_by(&function);
    let templates =
        [("text", "hello"), ("none", "{}"), ("word", r#"{"statusCode":"ok"}"#), ("empty", "")];
    for (name, template) in templates {
        toml = answering(toml, name, "never said")
            .request_template(name, "application/json", template)
            .two_way(name, name);
    }
    // No request template at all: the message itself must not become the status.
    toml = toml
        .mock("absent")
        .response_template("absent", "$default", "$default", "never said")
        .two_way("absent", "absent");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for action in ["text", "none", "word", "empty", "absent"] {
        client.send_text(&json!({ "action": action, "statusCode": 200 }).to_string()).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
    }
    let toml = GatewayToml::new()
        .mock("door")
        .request_template("door", "application/json", "{}")
        .route("$connect", "door");
    assert_eq!(refused(&start(&toml).await.ws_url("prod")).await.status, 500);
}

/// websocket-api, item 86 and 2.6: by status, the whole of it, in the order of the keys' text,
/// `$default` last.
#[tokio::test]
async fn an_http_answers_status_picks_its_integration_response() {
    let backend = server_of_statuses().await;
    let mut toml = GatewayToml::new().http("ask", &backend.url()).two_way("$default", "ask");
    for (key, said) in [
        (r"/2\d\d/", "fine"),
        (r"/4\d\d/", "yours"),
        ("/404/", "not there"),
        ("/5/", "never: a part is no match"),
        (r"/[23]\d\d/", "never: /2 comes before /["),
        ("$default", "else"),
    ] {
        let template = format!("{said} $context.status $input.path('$.text')");
        toml = toml.response_template("ask", key, "$default", &template);
    }
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    expect_replies(
        &mut client,
        &[
            (r#"{"status":200}"#, "fine 200 hello"),
            (r#"{"status":201}"#, "fine 201 hello"),
            // "/404/" sorts before "/4\d\d/".
            (r#"{"status":404}"#, "not there 404 hello"),
            (r#"{"status":418}"#, "yours 418 hello"),
            (r#"{"status":302}"#, "never: /2 comes before /[ 302 hello"),
            (r#"{"status":503}"#, "else 503 hello"),
        ],
    )
    .await;
}

/// websocket-api, 2.6: a configuration error.
#[tokio::test]
async fn an_answer_that_no_integration_response_is_for_is_an_internal_server_error() {
    let backend = server_of_statuses().await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .http("ask", &backend.url())
        .response("ask", r"/4\d\d/", "response_templates", "{}")
        .two_way("$default", "ask")
        .route("tell", "ask");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for sent in [r#"{"status":200}"#, r#"{"action":"tell","status":200}"#] {
        client.send_text(sent).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
    }
    expect_replies(&mut client, &[(r#"{"status":404}"#, r#"{"text":"hello"}"#)]).await;

    let toml = GatewayToml::new()
        .mock("door")
        .request_template("door", "application/json", OK)
        .response("door", r"/4\d\d/", "response_templates", "{}")
        .route("$connect", "door");
    assert_eq!(refused(&start(&toml).await.ws_url("prod")).await.status, 500);
}

/// websocket-api, 2.7: no templates, or no integration response at all.
#[tokio::test]
async fn without_a_response_template_the_backends_body_passes_unchanged() {
    let body = "{ \"a\" : 1.0,\r\n\"é\":2 }  no JSON";
    let backend = HttpBackend::answering(Answer::status(201).body(body)).await;
    let toml = GatewayToml::new()
        .http("bare", &backend.url())
        .http("chosen", &backend.url())
        .response("chosen", "$default", "response_templates", "{}")
        .http("missed", &backend.url())
        .response_template("missed", "$default", "200", "only for 200")
        .two_way("bare", "bare")
        .two_way("chosen", "chosen")
        .two_way("missed", "missed");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for action in ["bare", "chosen", "missed"] {
        expect_replies(&mut client, &[(&json!({ "action": action }).to_string(), body)]).await;
    }
}

/// websocket-api, item 90; `default` and `$default` are different keys (2.5).
#[tokio::test]
async fn an_expression_that_selects_no_template_uses_the_default_one() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = GatewayToml::new()
        .http("literal", &backend.url())
        .integration("literal", "template_selection_expression", r#""default""#)
        .request_template("literal", "$default", "the default one")
        .http("path", &backend.url())
        .integration("path", "template_selection_expression", r#""$request.body.kind""#)
        .request_template("path", "note", "a note: $input.path('$.text')")
        .request_template("path", "default", "never")
        .request_template("path", "$default", "something else")
        .two_way("literal", "literal")
        .two_way("$default", "path");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for (sent, expected) in [
        (r#"{"action":"literal"}"#, "the default one"),
        (r#"{"kind":"note","text":"milk"}"#, "a note: milk"),
        (r#"{"kind":"call"}"#, "something else"),
        ("no JSON", "something else"),
    ] {
        client.send_text(sent).await;
        assert_eq!(client.next_text().await, "ok");
        assert_eq!(backend.next_request().await.text(), expected, "{sent}");
    }
}

/// websocket-api, item 91 and section 7: `$input.body` is empty and `$input.params()` are the
/// upgrade's on `$connect`; a message has no parameters.
#[tokio::test]
async fn without_an_expression_the_json_template_is_for_all_three_events() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let template = concat!(
        r#"{"event":"$context.eventType","route":"$context.routeKey","body":"$input.body","#,
        r#""json":$input.json('$'),"t":"$input.params('t')","stage":"$stageVariables.colour"}"#
    );
    let toml = GatewayToml::new()
        .variable("colour", "blue")
        .http("all", &backend.url())
        .request_template("all", "application/json", template)
        .route("$connect", "all")
        .two_way("$default", "all")
        .route("$disconnect", "all");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod") + "?t=a%20b";
    let mut client = Client::connect_with(&url, &[("X-Room", "r1")], &[]).await;
    client.send_text("7").await;
    client.next_text().await;
    client.close(1000, "").await;
    let seen: Vec<Value> = backend
        .wait_for_requests(3)
        .await
        .iter()
        .map(|request| {
            assert_eq!(request.header("content-type"), Some("application/json"));
            assert_eq!(request.header("x-room"), None, "nothing passes but what is mapped");
            assert_eq!(request.query, None);
            request.json()
        })
        .collect();
    let facts = |event: &str, route: &str, body: &str, json: Value, t: &str| {
        json!({
            "event": event, "route": route, "body": body, "json": json, "t": t, "stage": "blue",
        })
    };
    assert_eq!(
        seen,
        [
            facts("CONNECT", "$connect", "", json!({}), "a b"),
            facts("MESSAGE", "$default", "7", json!("7"), ""),
            facts("DISCONNECT", "$disconnect", "", json!({}), ""),
        ]
    );
}

/// websocket-api, item 94 and 2.5.
#[tokio::test]
async fn what_no_template_is_for_passes_or_is_an_unsupported_media_type() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let function = FunctionBackend::accepting().await;
    let mut toml = watched_by(&function);
    let mut expected = Vec::new();
    for (behavior, has_template, passes) in [
        ("when_no_match", false, true),
        ("when_no_match", true, true),
        ("WHEN_NO_TEMPLATES", false, true),
        ("WHEN_NO_TEMPLATES", true, false),
        ("NEVER", false, false),
        ("NEVER", true, false),
    ] {
        let name = format!("{behavior}-{has_template}");
        toml = toml
            .http(&name, &backend.url())
            .integration(&name, "passthrough_behavior", &format!("{behavior:?}"))
            .two_way(&name, &name);
        if has_template {
            toml = toml.request_template(&name, "text/plain", "never");
        }
        expected.push((name, passes));
    }
    toml = toml.route("one-way", "NEVER-false");
    expected.push(("one-way".to_owned(), false));
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let mut calls = 0;
    for (name, passes) in expected {
        let sent = format!(r#"{{ "action" : "{name}" }}"#);
        client.send_text(&sent).await;
        let received = client.next_text().await;
        if passes {
            assert_eq!(received, "ok", "{name}");
            assert_eq!(backend.next_request().await.text(), sent, "byte for byte");
            calls += 1;
        } else {
            assert_error_frame(&received, "Unsupported Media Type", &id);
        }
        assert_eq!(backend.count(), calls, "{name}: what is rejected reaches no backend");
    }
}

/// websocket-api, 2.5: on `$connect`, HTTP 415.
#[tokio::test]
async fn an_upgrade_that_no_template_is_for_is_refused_with_415() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    for (behavior, template) in [("never", None), ("when_no_templates", Some("never"))] {
        let mut toml = GatewayToml::new()
            .http("door", &backend.url())
            .integration("door", "passthrough_behavior", &format!("{behavior:?}"))
            .route("$connect", "door");
        if let Some(template) = template {
            toml = toml.request_template("door", "text/plain", template);
        }
        let gateway = start(&toml).await;
        let refusal = refused(&gateway.ws_url("prod")).await;
        assert_eq!(refusal.status, 415, "{behavior}");
        assert_eq!(refusal.json()["message"], "Unsupported Media Type");
    }
    assert_eq!(backend.count(), 0);
}

/// websocket-api, 2.5: "proxy integrations ignore templates".
#[tokio::test]
async fn a_proxy_ignores_templates() {
    let backend = HttpBackend::answering(Answer::body_of("as it is")).await;
    let toml = GatewayToml::new()
        .http_proxy("proxy", &backend.url())
        .request_template("proxy", "application/json", "never")
        .response_template("proxy", "$default", "$default", "never")
        .two_way("$default", "proxy");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    expect_replies(&mut client, &[("a message", "as it is")]).await;
    assert_eq!(backend.next_request().await.text(), "a message");
}

/// websocket-api, 6.3, towards the backend.
#[tokio::test]
async fn base64_text_becomes_bytes_for_the_backend() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .http("bytes", &backend.url())
        .integration("bytes", "content_handling_strategy", r#""CONVERT_TO_BINARY""#)
        .two_way("$default", "bytes")
        .http("text", &backend.url())
        .integration("text", "content_handling_strategy", r#""convert_to_text""#)
        .two_way("text", "text")
        .http("field", &backend.url())
        .integration("field", "content_handling_strategy", r#""convert_to_binary""#)
        .request_template("field", "application/json", "$input.path('$.data')")
        .two_way("field", "field");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let text = r#"{"action":"text"}"#;
    for (sent, body, content_type) in [
        ("AP8QIA==", &b"\x00\xff\x10\x20"[..], "application/octet-stream"),
        (r#"{"action":"field","data":"/wA="}"#, b"\xff\x00", "application/octet-stream"),
        (text, text.as_bytes(), "application/json"),
    ] {
        client.send_text(sent).await;
        assert_eq!(client.next_text().await, "ok");
        let request = backend.next_request().await;
        assert_eq!(request.body, body, "{sent}");
        assert_eq!(request.header("content-type"), Some(content_type), "{sent}");
    }
    for bad in ["no base64!", r#"{"action":"field","data":"*"}"#] {
        client.send_text(bad).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
    }
    assert_eq!(backend.count(), 3, "what cannot be decoded reaches no backend");
}

/// websocket-api, 6.3, towards the client, and what an api without binary messages makes of bytes.
#[tokio::test]
async fn bytes_become_base64_text_for_the_client_and_the_reverse() {
    let backend = HttpBackend::start(async |request: RecordedRequest| match request.json()["send"]
        .as_str()
    {
        Some("bytes") => {
            Answer::body_of(b"\x00\xff".to_vec()).header("Content-Type", "application/octet-stream")
        }
        Some(text) => Answer::body_of(text.to_owned()),
        None => Answer::status(400),
    })
    .await;
    let function = FunctionBackend::accepting().await;
    let handled = |toml: GatewayToml, name: &str, strategy: &str| {
        toml.http(name, &backend.url())
            .response(name, "$default", "content_handling_strategy", &format!("{strategy:?}"))
            .two_way(name, name)
    };
    let toml = handled(watched_by(&function), "text", "CONVERT_TO_TEXT");
    let toml = handled(toml, "binary", "convert_to_binary");
    let ask = |action: &str, send: &str| json!({ "action": action, "send": send }).to_string();

    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    expect_replies(
        &mut client,
        &[
            (&ask("text", "bytes"), "AP8="),
            (&ask("text", "already text"), "already text"),
            (&ask("binary", "Z3LDvMOfZQ=="), "grüße"),
        ],
    )
    .await;
    for bad in [ask("binary", "no base64!"), ask("binary", "/wA=")] {
        client.send_text(&bad).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
    }

    let gateway = start(&toml.api("binary", r#""pass""#)).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(&ask("binary", "/wA=")).await;
    assert_eq!(&client.next_binary().await[..], b"\xff\x00");
}

/// mapping-templates, section 11: overrides are over mapped parameters.
#[tokio::test]
async fn a_request_template_overrides_header_query_and_path() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let template = concat!(
        "#set($context.requestOverride.header.room = $input.path('$.room'))",
        "#set($context.requestOverride.querystring['n'] = \"1 2\")",
        "#set($context.requestOverride.path.key = 'a/b')",
        "body"
    );
    let toml = GatewayToml::new()
        .http("put", &format!("{}/x/{{key}}", backend.url()))
        .integration("put", "method", r#""PUT""#)
        .parameter("put", "integration.request.header.room", "'mapped'")
        .parameter("put", "integration.request.header.kept", "'mapped'")
        .parameter("put", "integration.request.path.key", "'mapped'")
        .request_template("put", "application/json", template)
        .two_way("$default", "put");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"room":"r1"}"#).await;
    assert_eq!(client.next_text().await, "ok");
    let request = backend.next_request().await;
    assert_eq!((request.method.as_str(), request.text()), ("PUT", "body"));
    assert_eq!(request.target, "/x/a%2Fb?n=1%202");
    assert_eq!(request.header("room"), Some("r1"));
    assert_eq!(request.header("kept"), Some("mapped"));
}

/// mapping-templates, section 11, with 5.2: "unless the response template/mapping changes it".
#[tokio::test]
async fn a_response_template_overrides_the_status_of_an_upgrade() {
    let backend = server_of_statuses().await;
    let override_status = "#set($context.responseOverride.status = 403)no";
    let toml = GatewayToml::new()
        .http("door", &backend.url())
        .request_template("door", "application/json", r#"{"status":$input.params('status')}"#)
        .response_template("door", "/200/", "$default", override_status)
        .response_template(
            "door",
            "/500/",
            "$default",
            "#set($context.responseOverride.status = 200)",
        )
        .response_template("door", "$default", "$default", "as it was")
        .route("$connect", "door");
    let gateway = start(&toml).await;
    let at = |status: u16| format!("{}?status={status}", gateway.ws_url("prod"));
    assert_eq!(refused(&at(200)).await.status, 403);
    Client::connect(&at(500)).await;
    assert_eq!(refused(&at(404)).await.status, 404, "the backend's own");
}

/// websocket-api, 1.5 and 3.3: a mapped `Sec-WebSocket-Protocol` is the 101's; the gateway picks
/// none itself.
#[tokio::test]
async fn response_parameters_and_overrides_name_the_subprotocol() {
    let backend = HttpBackend::answering(
        Answer::body_of(r#"{"use":{"protocol":"v2"}}"#)
            .header("Sec-WebSocket-Protocol", "never, for it is not mapped")
            .header("X-Chosen", "v1"),
    )
    .await;
    let parameter = |value: &str| {
        format!(r#"{{ "route.response.header.Sec-WebSocket-Protocol" = "{value}" }}"#)
    };
    let with = |value: &str| {
        GatewayToml::new()
            .http("door", &backend.url())
            .response("door", "$default", "response_parameters", &parameter(value))
            .route("$connect", "door")
    };
    for (toml, chosen) in [
        (with("integration.response.header.X-Chosen"), "v1"),
        (with("integration.response.body.use.protocol"), "v2"),
        (with("'v3'"), "v3"),
        (
            with("'v3'").response_template(
                "door",
                "$default",
                "$default",
                "#set($context.responseOverride.header['Sec-WebSocket-Protocol'] = 'v4')",
            ),
            "v4",
        ),
    ] {
        let gateway = start(&toml).await;
        let client = Client::connect_with(&gateway.ws_url("prod"), &[], &["v0", chosen]).await;
        assert_eq!(client.subprotocol(), Some(chosen));
        assert_eq!(client.header("x-chosen"), None, "only headers of the WebSocket reach it");
    }
    let unmapped = GatewayToml::new()
        .http("door", &backend.url())
        .response("door", "$default", "response_templates", "{}")
        .route("$connect", "door");
    let gateway = start(&unmapped).await;
    let client = Client::connect(&gateway.ws_url("prod")).await;
    assert_eq!(client.subprotocol(), None);
}

/// websocket-api, section 7: `$context` on a message, with what only a message has.
#[tokio::test]
async fn a_message_template_reads_the_events_context() {
    let function = FunctionBackend::accepting().await;
    let toml = answering(
        watched_by(&function),
        "who",
        concat!(
            "$context.connectionId $context.eventType $context.routeKey $context.stage ",
            "$context.apiId $context.identity.sourceIp $context.identity.userAgent ",
            "#if($context.requestId == $context.extendedRequestId)same#end ",
            "#if($context.messageId != '')id#end [$context.authorizer.principalId]"
        ),
    )
    .two_way("who", "who");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let mut client = Client::connect_with(&url, &[("User-Agent", "a test")], &[]).await;
    let id = connection_id(&function).await;
    let said = format!("{id} MESSAGE who prod test 127.0.0.1 a test same id []");
    expect_replies(&mut client, &[(r#"{"action":"who"}"#, &said)]).await;
}

/// websocket-api, item 93 and 2.7, with a web server: a template for its status, else `$default`.
#[tokio::test]
async fn without_an_expression_the_response_template_is_that_of_the_status() {
    let backend = server_of_statuses().await;
    let toml = GatewayToml::new()
        .http("ask", &backend.url())
        .response_template("ask", "$default", "200", "two hundred: $input.path('$.text')")
        .response_template("ask", "$default", "$default", "else: $input.path('$.text')")
        .two_way("$default", "ask");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    expect_replies(
        &mut client,
        &[(r#"{"status":200}"#, "two hundred: hello"), (r#"{"status":201}"#, "else: hello")],
    )
    .await;
}

/// A refused upgrade of a template's making leaves nothing behind (websocket-api, 3.8).
#[tokio::test]
async fn an_upgrade_that_a_mock_refuses_has_no_disconnect() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .mock("door")
        .request_template(
            "door",
            "application/json",
            "#if($input.params('x-key') == 'open'){\"statusCode\": 200}#else{\"statusCode\": 401}#end",
        )
        .route("$connect", "door");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    assert_eq!(refused(&url).await.status, 401);
    assert_eq!(refused_with(&url, &[("x-key", "shut")], &[]).await.status, 401);
    let mut client = Client::connect_with(&url, &[("x-key", "open")], &[]).await;
    client.close(1000, "").await;
    assert_eq!(function.wait_for_events("DISCONNECT", 1).await.len(), 1);
    assert_eq!(function.events().len(), 1, "one connection, one end");
}
