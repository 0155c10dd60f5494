//! Request validation (websocket-api, section 8 and items 95 to 97).
//!
//! In:  messages, good and bad, to routes with models.
//! Out: what reached the backend, what the client was told, what the access log says.
//!
//! Holds always: after a message that was refused the connection serves the next.

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionBackend, GatewayToml, HttpBackend, run_to_end, wait_until,
};

use crate::{GATEWAY, assert_id, connection_id, reply, start, text, watched_by};

/// A model of the api.
fn model(toml: GatewayToml, name: &str, schema: &Value) -> GatewayToml {
    let schema = Value::from(schema.to_string()).to_string();
    toml.set(&format!("apis.test.models.{name}"), "schema", &schema)
}

/// `{"action": …, "text": "1 to 5 characters"}`.
fn note() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "required": ["text"],
        "properties": { "text": { "type": "string", "minLength": 1, "maxLength": 5 } }
    })
}

/// A route that checks messages with one model, whatever they say.
fn checked(toml: GatewayToml, route: &str, models: &str) -> GatewayToml {
    toml.route_key(route, "model_selection_expression", r#""default""#).route_key(
        route,
        "request_models",
        models,
    )
}

/// websocket-api, 4.5: `Bad request body` with both ids (decision there).
fn assert_bad_body(frame: &str, connection: &str) {
    let value: Value = serde_json::from_str(frame).expect("an error frame is JSON");
    let (request, message) = (text(&value["requestId"]), text(&value["messageId"]));
    assert_id(request);
    assert_id(message);
    let wanted = format!(
        "{{\"message\": \"Bad request body\", \"connectionId\":\"{connection}\", \
         \"requestId\":\"{request}\", \"messageId\":\"{message}\"}}"
    );
    assert_eq!(frame, wanted);
}

/// websocket-api, items 95 and 97: AWS_PROXY, and proxies of any kind.
#[tokio::test]
async fn a_message_that_its_model_does_not_take_reaches_no_backend() {
    let function = FunctionBackend::start(|_| reply("taken")).await;
    let backend = HttpBackend::answering(Answer::body_of("taken")).await;
    let toml = model(watched_by(&function), "Note", &note())
        .two_way("function", "watcher")
        .http_proxy("proxied", &backend.url())
        .two_way("proxied", "proxied")
        .http_proxy("plain", &backend.url())
        .integration("plain", "type", r#""http""#)
        .two_way("plain", "plain")
        .route("oneway", "watcher");
    let toml = ["function", "proxied", "plain", "oneway"]
        .into_iter()
        .fold(toml, |toml, route| checked(toml, route, r#"{ default = "Note" }"#));
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let connection = connection_id(&function).await;
    for route in ["function", "proxied", "plain"] {
        for rest in
            [r#"}"#, r#","text":""}"#, r#","text":"longer"}"#, r#","text":1}"#, r#","text":null}"#]
        {
            client.send_text(&format!(r#"{{"action":"{route}"{rest}"#)).await;
            assert_bad_body(&client.next_text().await, &connection);
        }
        client.send_text(&format!(r#"{{"action":"{route}","text":"short","more":1}}"#)).await;
        assert_eq!(client.next_text().await, "taken", "{route}");
    }
    client.send_text(r#"{"action":"oneway"}"#).await;
    assert_bad_body(&client.next_text().await, &connection);
    client.ping_pong().await;
    assert_eq!(function.events_of("MESSAGE").len(), 1);
    assert_eq!(backend.count(), 2);
    let errors = [("api", "test"), ("stage", "prod"), ("kind", "invalid_body")];
    let counted = gateway.metric("tidegate_client_errors_total", &errors).await;
    assert_eq!(counted, 16.0, "{}", gateway.metrics().await);
}

/// websocket-api, item 96 and section 8: the selected key, `$default`, or a failure.
#[tokio::test]
async fn a_message_without_a_model_for_it_fails() {
    let function = FunctionBackend::start(|_| reply("taken")).await;
    let by_kind = r#""$request.body.kind""#;
    let toml = model(watched_by(&function), "Note", &note())
        .two_way("strict", "watcher")
        .route_key("strict", "model_selection_expression", by_kind)
        .route_key("strict", "request_models", r#"{ note = "Note" }"#)
        .two_way("lenient", "watcher")
        .route_key("lenient", "model_selection_expression", by_kind)
        .route_key("lenient", "request_models", r#"{ note = "Note", "$default" = "Any" }"#);
    let gateway = start(&model(toml, "Any", &json!({}))).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let connection = connection_id(&function).await;
    for (message, taken) in [
        (r#"{"action":"strict","kind":"note","text":"a"}"#, true),
        (r#"{"action":"strict","kind":"note"}"#, false),
        (r#"{"action":"strict","kind":"other","text":"a"}"#, false),
        (r#"{"action":"strict","text":"a"}"#, false),
        (r#"{"action":"lenient","kind":"note"}"#, false),
        (r#"{"action":"lenient","kind":"other"}"#, true),
        (r#"{"action":"lenient"}"#, true),
    ] {
        client.send_text(message).await;
        let answer = client.next_text().await;
        if taken {
            assert_eq!(answer, "taken", "{message}");
        } else {
            assert_bad_body(&answer, &connection);
        }
    }
    assert_eq!(function.events_of("MESSAGE").len(), 3);
}

/// websocket-api, section 8: `$ref` between models, as API Gateway writes it too; text that is no
/// JSON.
#[tokio::test]
async fn a_model_may_refer_to_another_and_wants_json() {
    let function = FunctionBackend::start(|_| reply("taken")).await;
    let list = json!({
        "type": "object",
        "properties": {
            "notes": { "type": "array", "items": { "$ref": "Note" }, "minItems": 1 },
            "last": { "$ref": "https://apigateway.amazonaws.com/restapis/a1b2c3/models/Note" }
        },
        "required": ["notes"]
    });
    let toml = model(watched_by(&function), "Note", &note()).two_way("$default", "watcher");
    let toml = checked(model(toml, "List", &list), "$default", r#"{ "$default" = "List" }"#);
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let connection = connection_id(&function).await;
    for (message, taken) in [
        (r#"{"notes":[{"text":"a"}]}"#, true),
        (r#"{"notes":[{"text":"a"}],"last":{"text":"b"}}"#, true),
        (r#"{"notes":[{"text":"a"},{"text":"longer"}]}"#, false),
        (r#"{"notes":[{"text":"a"}],"last":{}}"#, false),
        (r#"{"notes":[]}"#, false),
        ("not JSON", false),
        ("", false),
        ("[]", false),
        ("null", false),
        (r#"{"notes":[{"text":"a"}]"#, false),
    ] {
        client.send_text(message).await;
        let answer = client.next_text().await;
        if taken {
            assert_eq!(answer, "taken", "{message}");
        } else {
            assert_bad_body(&answer, &connection);
        }
    }
}

/// websocket-api, section 8 and 13.1: `$context.error.validationErrorString` says what is wrong
/// and repeats nothing of the message (reliability, line 18).
#[tokio::test]
async fn the_access_log_says_what_was_wrong_and_nothing_of_the_message() {
    let function = FunctionBackend::start(|_| reply("taken")).await;
    let log = r#"{ path = "access.log", format = "$context.requestId $context.eventType $context.status [$context.error.message] [$context.error.responseType] [$context.error.validationErrorString]" }"#;
    let toml = model(watched_by(&function), "Note", &note()).two_way("$default", "watcher").set(
        r#"apis.test.stages."prod""#,
        "access_log",
        log,
    );
    let gateway = start(&checked(toml, "$default", r#"{ default = "Note" }"#)).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"text":"payload-of-the-message"}"#).await;
    let refused = client.next_json().await;
    client.send_text(r#"{"text":"short"}"#).await;
    assert_eq!(client.next_text().await, "taken");
    let read = || std::fs::read_to_string(gateway.file("access.log")).unwrap_or_default();
    wait_until(DEADLINE, "three lines", async || read().lines().count() == 3).await;
    let all = read();
    let lines: Vec<&str> = all.lines().collect();
    let head = format!(
        "{} MESSAGE 400 [Bad request body] [BAD_REQUEST_BODY] [",
        text(&refused["requestId"])
    );
    let why =
        lines[1].strip_prefix(&head).unwrap_or_else(|| panic!("{}\nis not\n{head}", lines[1]));
    assert!(why.contains("text"), "which property it was: {why}");
    assert!(why.len() > 5 && !all.contains("payload-of"), "{why}");
    assert!(lines[2].contains(" MESSAGE 200 [-] [-] [-]"), "{}", lines[2]);
    assert!(!gateway.log_text().contains("payload-of"));
}

/// websocket-api, section 8: not for `$disconnect`; `$connect` has no body.
#[tokio::test]
async fn connects_and_disconnects_are_not_checked() {
    let function = FunctionBackend::accepting().await;
    let toml = model(watched_by(&function), "Note", &note());
    let toml = checked(toml, "$disconnect", r#"{ default = "Note" }"#);
    let gateway = match run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await {
        // A file that says so is taken and the model passed over, or refused with the reason.
        ended if ended.status.code() == Some(64) => {
            assert!(ended.stderr.contains("$disconnect"), "{}", ended.stderr);
            return;
        }
        _ => start(&toml).await,
    };
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.close(1000, "").await;
    function.next_event("DISCONNECT").await;
}

/// tidegate, section 1: what cannot be checked with stops the file.
#[tokio::test]
async fn a_model_that_is_none_stops_the_file() {
    let with = |schema: Value| {
        let toml = model(GatewayToml::new().echo("echo").two_way("$default", "echo"), "M", &schema);
        checked(toml, "$default", r#"{ default = "M" }"#)
    };
    let good = with(json!({ "type": "object" }));
    for (what, toml) in [
        ("no schema", with(json!({ "type": "thing" }))),
        ("a reference to nothing", with(json!({ "$ref": "Other" }))),
        ("a reference to elsewhere", with(json!({ "$ref": "https://example.com/schema" }))),
        ("a file", with(json!({ "$ref": "file:///etc/passwd" }))),
        ("an unknown model", checked(good.clone(), "$default", r#"{ default = "Other" }"#)),
    ] {
        let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await;
        assert_eq!(ended.status.code(), Some(64), "{what}: {}{}", ended.stdout, ended.stderr);
    }
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &good.build()).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}
