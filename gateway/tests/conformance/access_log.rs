//! What the access log says (websocket-api, 13.1 and item 119; tidegate, sections 1 and 8).
//!
//! In:  events of every kind, refusals among them; a log that is moved, a disk that is full.
//! Out: the log's lines.
//!
//! Holds always: a line is held against what the client was told and what the backend received.

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, TestGateway, refused,
    refused_with, wait_until,
};

use crate::{
    assert_id,
    authorizers::{GuardKey, allow, answer, case, guarded_by, statement},
    echo, reply, start, text,
    upgrade::upgrade_status,
    watched_by,
};

/// An access log of these variables, a bar between them, `requestId` among them.
pub(crate) fn logging(toml: GatewayToml, names: &[&str]) -> GatewayToml {
    let names: Vec<_> = names.iter().map(|name| format!("$context.{name}")).collect();
    let format = names.join("|") + "|$context.eventType";
    let log = format!("{{ path = \"access.log\", format = {} }}", Value::from(format));
    toml.set(r#"apis.test.stages."prod""#, "access_log", &log)
}

/// The first `count` lines about connects of a log by [`logging`], without the event's type.
pub(crate) async fn connect_lines(gateway: &TestGateway, count: usize) -> Vec<String> {
    let read = || {
        let text = std::fs::read_to_string(gateway.file("access.log")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_suffix("|CONNECT"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until(DEADLINE, "lines of the access log", async || read().len() >= count).await;
    read()
}

/// Waits until the file has `count` lines; all lines.
async fn lines(gateway: &TestGateway, name: &str, count: usize) -> Vec<String> {
    let path = gateway.file(name);
    let read = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    let what = format!("{count} lines in {name}");
    wait_until(DEADLINE, &what, async || read().len() >= count).await;
    read()
}

/// websocket-api, item 119 and 13.1: one line per event, with the variables of the table.
#[tokio::test]
async fn the_access_log_has_one_line_per_event() {
    let function = FunctionBackend::start(|event| {
        if event["body"] == "fail" { FunctionAnswer::error() } else { reply("ok").into() }
    })
    .await;
    let variables = [
        "apiId",
        "stage",
        "eventType",
        "routeKey",
        "status",
        "connectionId",
        "messageId",
        "requestId",
        "extendedRequestId",
        "domainName",
        "connectedAt",
        "requestTime",
        "requestTimeEpoch",
        "identity.sourceIp",
        "identity.userAgent",
        "identity.apiKey",
        "integration.status",
        "integration.integrationStatus",
        "integrationStatus",
        "integration.latency",
        "integrationLatency",
        "integration.error",
        "error.message",
        "authorizer.principalId",
    ];
    let format = variables.map(|name| format!("{name}=$context.{name}")).join("|");
    let log = format!("{{ path = \"access.log\", format = {} }}", Value::from(format));
    let toml = watched_by(&function)
        .two_way("known", "watcher")
        .two_way("$default", "watcher")
        .set(r#"apis.test.stages."prod""#, "access_log", &log);
    let gateway = start(&toml).await;
    let headers = [("Host", "test.localhost"), ("User-Agent", "agent of \"mine\"\t|")];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    let connect = function.next_event("CONNECT").await;
    client.send_text(r#"{"action":"known"}"#).await;
    client.next_text().await;
    client.send_text("fail").await;
    let frame = client.next_json().await;
    client.close(1000, "").await;
    let messages = function.wait_for_events("MESSAGE", 2).await;
    let disconnect = function.next_event("DISCONNECT").await;
    let parsed: Vec<_> = lines(&gateway, "access.log", 4)
        .await
        .into_iter()
        .map(|line| {
            // The agent holds a bar, so it is cut out by its neighbour.
            let line = line.replace("\\t|", "");
            let pairs = line.split('|').map(|pair| pair.split_once('=').expect("name=value"));
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<std::collections::HashMap<_, _>>()
        })
        .collect();
    assert_eq!(parsed.len(), 4, "{parsed:?}");
    let events = [&connect, &messages[0], &messages[1], &disconnect];
    for (line, event) in parsed.iter().zip(events) {
        let context = &event["requestContext"];
        for name in [
            "apiId",
            "stage",
            "eventType",
            "routeKey",
            "connectionId",
            "messageId",
            "requestId",
            "extendedRequestId",
            "domainName",
            "connectedAt",
            "requestTime",
            "requestTimeEpoch",
        ] {
            let wanted = match &context[name] {
                Value::Null => "-".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(line[name], wanted, "{name} in {line:?}");
        }
        assert_eq!(line["identity.sourceIp"], "127.0.0.1");
        assert_eq!(line["identity.userAgent"], r#"agent of \"mine\""#);
        assert_eq!(line["identity.apiKey"], "-");
        assert_eq!(line["authorizer.principalId"], "-");
        assert_eq!(line["integration.latency"], line["integrationLatency"]);
        assert!(line["integration.latency"].parse::<u64>().is_ok(), "{line:?}");
    }
    let [connect, known, failed, disconnect] = &parsed[..] else { unreachable!("four lines") };
    for line in [connect, known, disconnect] {
        assert_eq!((line["status"].as_str(), line["error.message"].as_str()), ("200", "-"));
        assert_eq!(line["integration.status"], "200");
        assert_eq!(line["integration.integrationStatus"], line["integrationStatus"]);
        assert_eq!(line["integration.error"], "-");
    }
    assert_eq!(failed["status"], "502");
    assert_eq!(failed["error.message"], "Internal server error");
    assert_ne!(failed["integration.error"], "-");
    assert_eq!(failed["requestId"], text(&frame["requestId"]), "as the client was told");
}

/// websocket-api, 13.1: what the gateway refuses itself is logged with its status, and with what
/// kind of response it was (`error.responseType`, gateway response types).
#[tokio::test]
async fn the_access_log_tells_of_refusals() {
    let log = r#"{ path = "access.log", format = "$context.requestId $context.eventType $context.routeKey $context.status [$context.error.message] $context.error.messageString" }"#;
    let toml = GatewayToml::new()
        .echo("echo")
        .two_way("known", "echo")
        .api("allowed_origins", r#"["https://own.example"]"#)
        .set(r#"apis.test.stages."prod""#, "access_log", log);
    let gateway = start(&toml).await;
    let origin = [("Origin", "https://x.example")];
    let foreign = refused_with(&gateway.ws_url("prod"), &origin, &[]).await.json();
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("no route").await;
    let frame = client.next_json().await;
    let lines = lines(&gateway, "access.log", 3).await;
    let rest = |line: &str| {
        let (id, rest) = line.split_once(' ').expect("an id first");
        assert_id(id);
        (id.to_owned(), rest.to_owned())
    };
    let expected = r#"CONNECT $connect 403 [Forbidden] "Forbidden""#;
    assert_eq!(rest(&lines[0]), (text(&foreign["requestId"]).to_owned(), expected.to_owned()));
    assert_eq!(rest(&lines[1]).1, "CONNECT $connect 200 [-] -");
    let (id, said) = rest(&lines[2]);
    assert_eq!(id, text(&frame["requestId"]));
    assert_eq!(said, r#"MESSAGE - 403 [Forbidden] "Forbidden""#);
}

/// websocket-api, 13.1: `error.responseType` is supported; the gateway response types of REST
/// name a throttled request THROTTLED.
#[tokio::test]
async fn the_access_log_names_the_response_type_of_a_refusal() {
    let log =
        r#"{ path = "access.log", format = "$context.requestId $context.error.responseType" }"#;
    let stage = r#"apis.test.stages."prod""#;
    let toml =
        echo().set(stage, "access_log", log).set(stage, "throttle", "{ rate = 0, burst = 0 }");
    let gateway = start(&toml).await;
    assert_eq!(refused(&gateway.ws_url("prod")).await.status, 429);
    let lines = lines(&gateway, "access.log", 1).await;
    assert!(lines[0].ends_with(" THROTTLED"), "{lines:?}");
}

/// websocket-api, 13.1: what the access log says of an authorizer and its refusals.
#[tokio::test]
async fn the_access_log_tells_how_the_authorizer_decided() {
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        let mut good = allow();
        good["context"] = json!({ "tier": "gold" });
        match case(&event) {
            "allow" => good.into(),
            "deny" => answer(&json!([statement("Deny", "*")])).into(),
            _ => FunctionAnswer::error(),
        }
    })
    .await;
    let names = [
        "requestId",
        "status",
        "authorizer.principalId",
        "authorizer.tier",
        "authorizer.status",
        "authorizer.integrationStatus",
        "authorizer.latency",
        "authorizer.integrationLatency",
        "authorizer.error",
        "authorize.status",
        "authorize.error",
        "error.message",
        "error.responseType",
    ];
    let toml = guarded_by(GatewayToml::new(), &who.url())
        .guard_key("identity_source", r#"["route.request.querystring.case"]"#);
    let gateway = start(&logging(toml, &names)).await;
    let url = gateway.ws_url("prod");
    for query in ["?case=allow", "?case=deny", "?case=boom", ""] {
        upgrade_status(&format!("{url}{query}"), &[]).await;
    }
    let lines = connect_lines(&gateway, 4).await;
    let parsed: Vec<Vec<&str>> = lines.iter().map(|line| line.split('|').collect()).collect();
    let value = |line: usize, name: &str| {
        parsed[line][names.iter().position(|own| *own == name).expect("a name of the format")]
    };
    let numbers = |line: usize, name: &str| value(line, name).parse::<u64>().is_ok();
    for (line, status) in ["200", "403", "500", "401"].into_iter().enumerate() {
        assert_eq!(value(line, "status"), status, "{lines:?}");
        assert_eq!(value(line, "authorizer.status"), status, "{lines:?}");
        assert!(numbers(line, "authorizer.latency"), "{lines:?}");
        assert_eq!(value(line, "authorizer.error") == "-", line == 0, "{lines:?}");
        assert_eq!(value(line, "authorize.status"), status, "{lines:?}");
        assert_eq!(value(line, "authorize.error"), value(line, "authorizer.error"));
    }
    assert_eq!(value(0, "authorizer.principalId"), "u1");
    assert_eq!(value(0, "authorizer.tier"), "gold");
    assert_eq!(value(0, "authorizer.integrationStatus"), "200");
    assert!(numbers(0, "authorizer.integrationLatency"));
    assert_eq!(value(0, "error.responseType"), "-");
    for (line, message, kind) in [
        (1, "Forbidden", "ACCESS_DENIED"),
        (2, "Internal server error", "AUTHORIZER_FAILURE"),
        (3, "Unauthorized", "UNAUTHORIZED"),
    ] {
        assert_eq!(value(line, "authorizer.principalId"), "-", "{lines:?}");
        assert_eq!(value(line, "error.message"), message);
        assert_eq!(value(line, "error.responseType"), kind);
    }
}

/// tidegate, section 1: SIGHUP; a rotated log is opened anew.
#[tokio::test]
async fn a_moved_access_log_is_opened_anew_on_sighup() {
    let log = r#"{ path = "access.log", format = "$context.requestId $context.eventType" }"#;
    let toml = echo().set(r#"apis.test.stages."prod""#, "access_log", log);
    let gateway = start(&toml).await;
    Client::connect(&gateway.ws_url("prod")).await.close(1000, "").await;
    lines(&gateway, "access.log", 2).await;
    std::fs::rename(gateway.file("access.log"), gateway.file("access.log.1")).expect("rename");
    gateway.reload(&toml.build()).await;
    gateway.wait_for_log("configuration reloaded").await;
    wait_until(DEADLINE, "a new log file", async || gateway.file("access.log").exists()).await;
    Client::connect(&gateway.ws_url("prod")).await.close(1000, "").await;
    assert_eq!(lines(&gateway, "access.log", 2).await.len(), 2);
    assert_eq!(lines(&gateway, "access.log.1", 2).await.len(), 2);
}

/// tidegate, section 8; design: everything dropped is counted, and a full disk costs log lines,
/// not connections.
#[tokio::test]
async fn a_full_disk_under_the_access_log_costs_counted_lines_and_nothing_else() {
    // Each write to it fails with "no space left on device" (Linux).
    let format = format!("$context.requestId {}", "x".repeat(2000));
    let log = format!("{{ path = \"/dev/full\", format = {} }}", Value::from(format));
    let gateway = start(&echo().set(r#"apis.test.stages."prod""#, "access_log", &log)).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for _ in 0..50 {
        client.send_text("hello").await;
        assert_eq!(client.next_text().await, "hello");
    }
    wait_until(DEADLINE, "lost lines to be counted", async || {
        gateway.metric("tidegate_access_log_dropped_total", &[]).await > 0.0
    })
    .await;
    client.ping_pong().await;
}
