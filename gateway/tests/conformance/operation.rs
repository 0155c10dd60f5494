//! What the operator sees and does (tidegate, sections 1, 2, 7 and 8; websocket-api, 13.1;
//! reliability, lines 18 and 33).
//!
//! In:  commands, signals, files good and bad, scrapes.
//! Out: exit codes, output, figures, log lines, and clients that leave in good order.
//!
//! Holds always: a figure is compared with itself before, so that only its own cause can move it.

use std::{process::Stdio, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, Frame, FunctionAnswer, FunctionBackend, GatewayToml, HttpClient, Opcode,
    RawClient, TestGateway, metric_value, refused, refused_with, run_to_end, wait_until, within,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::Semaphore,
};

use crate::{GATEWAY, assert_id, connection_id, reply, start, text, watched_by};

/// An api that says every message back.
fn echo() -> GatewayToml {
    GatewayToml::new().echo("echo").two_way("$default", "echo")
}

/// By how much a figure moves while something happens: waits until it has moved at all, since
/// some of it happens after the client knows.
async fn moved<T>(
    gateway: &TestGateway,
    name: &str,
    labels: &[(&str, &str)],
    happens: impl Future<Output = T>,
) -> f64 {
    let before = gateway.metric(name, labels).await;
    happens.await;
    let what = format!("{name}{labels:?} to move from {before}");
    wait_until(DEADLINE, &what, async || gateway.metric(name, labels).await != before).await;
    gateway.metric(name, labels).await - before
}

/// tidegate, section 8: `tidegate_connections` and `tidegate_connect_total`.
#[tokio::test]
async fn upgrades_are_counted_by_how_they_ended() {
    let function =
        FunctionBackend::start(|event| match event["queryStringParameters"]["answer"].as_str() {
            Some("refuse") => json!({ "statusCode": 403 }).into(),
            Some("fail") => FunctionAnswer::error(),
            _ => json!({ "statusCode": 200 }).into(),
        })
        .await;
    let toml = watched_by(&function)
        .api("allowed_origins", r#"["https://own.example"]"#)
        .limit("connections", "1");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let outcome = |outcome| [("api", "test"), ("stage", "prod"), ("outcome", outcome)];
    let name = "tidegate_connect_total";
    let asking = |answer: &str| format!("{url}?answer={answer}");
    let count = moved(&gateway, name, &outcome("refused"), refused(&asking("refuse"))).await;
    assert_eq!(count, 1.0);
    let failing = asking("fail");
    let failed = refused(&failing);
    assert_eq!(moved(&gateway, name, &outcome("integration_error"), failed).await, 1.0);
    let plain = gateway.manage("GET", "/prod", b"");
    assert_eq!(moved(&gateway, name, &outcome("bad_request"), plain).await, 1.0);
    let foreign = [("Origin", "https://foreign.example")];
    let foreign = refused_with(&url, &foreign, &[]);
    assert_eq!(moved(&gateway, name, &outcome("forbidden"), foreign).await, 1.0);
    let mut client = None;
    let connecting = async { client = Some(Client::connect(&url).await) };
    assert_eq!(moved(&gateway, name, &outcome("accepted"), connecting).await, 1.0);
    let mut client = client.expect("connected");
    assert_eq!(gateway.metric("tidegate_connections", &[]).await, 1.0);
    assert_eq!(moved(&gateway, name, &outcome("throttled"), refused(&url)).await, 1.0);
    let gone = moved(&gateway, "tidegate_connections", &[], client.close(1000, "")).await;
    assert_eq!(gone, -1.0);
}

/// tidegate, section 8: `tidegate_disconnect_total`, and the `tidegate_client_errors_total` that
/// goes with some causes. `slow_client` and `stage_removed` are in `reliability`.
#[tokio::test]
async fn ends_are_counted_by_their_cause() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .limit("idle_timeout_s", "2")
        .limit("max_message_bytes", "1000")
        .limit("max_frame_bytes", "1000");
    let gateway = start(&toml).await;
    let end = async |cause: &str, error: Option<&str>, frame: Option<Frame>| {
        // An option, so that it is this block that keeps it open.
        let mut client = Some(RawClient::connect(&gateway.ws_url("prod")).await);
        let labels = |name, value| [("api", "test"), ("stage", "prod"), (name, value)];
        let errors = async || match error {
            Some(kind) => {
                let labels = labels("kind", kind);
                gateway.metric("tidegate_client_errors_total", &labels).await
            }
            None => 0.0,
        };
        let before = errors().await;
        let ending = async {
            match (frame, &mut client) {
                (Some(frame), Some(client)) => {
                    client.send(&frame).await;
                    // Answered, or the gateway would wait for the answer first.
                    let (code, _) = client.next_close().await;
                    client.send(&Frame::close(code, "")).await;
                }
                _ => client = None,
            }
        };
        let name = "tidegate_disconnect_total";
        let count = moved(&gateway, name, &labels("cause", cause), ending).await;
        assert_eq!(count, 1.0, "{cause}");
        assert_eq!(errors().await - before, if error.is_some() { 1.0 } else { 0.0 }, "{cause}");
        drop(client);
    };
    end("client", None, Some(Frame::close(1000, ""))).await;
    end("lost", None, None).await;
    end("too_large", Some("too_large"), Some(Frame::text(vec![b'x'; 1001]))).await;
    end("binary", Some("binary"), Some(Frame::new(Opcode::Binary, "x"))).await;
    end("protocol", Some("protocol"), Some(Frame::text("x").unmasked())).await;
    end("protocol", Some("invalid_utf8"), Some(Frame::text([0xff]))).await;
    end("idle", None, Some(Frame::new(Opcode::Pong, ""))).await;

    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = text(
        &function.events_of("CONNECT").last().expect("connected")["requestContext"]["connectionId"],
    )
    .to_owned();
    let labels = [("cause", "deleted")];
    let deleting = gateway.delete_connection("prod", &id);
    assert_eq!(moved(&gateway, "tidegate_disconnect_total", &labels, deleting).await, 1.0);
    client.next_close().await;
}

/// tidegate, section 8: `max_age` needs a limit that would end the other cases.
#[tokio::test]
async fn an_end_by_age_is_counted() {
    let gateway = start(&echo().limit("max_connection_s", "1")).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let cause = [("cause", "max_age")];
    let ending = client.next_close();
    assert_eq!(moved(&gateway, "tidegate_disconnect_total", &cause, ending).await, 1.0);
}

/// tidegate, section 8: messages, bytes, integration times and errors, by route.
#[tokio::test]
async fn messages_and_integration_calls_are_counted_by_route() {
    let function =
        FunctionBackend::start(|event| match event["body"].as_str().unwrap_or_default() {
            body if body.contains("fail") => FunctionAnswer::error(),
            body if body.contains("nonsense") => FunctionAnswer::raw("nonsense"),
            body if body.contains("stall") => FunctionAnswer::stall(),
            _ => reply("four").into(),
        })
        .await;
    let toml = watched_by(&function)
        .integration("watcher", "timeout_ms", "500")
        .two_way("known", "watcher");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let good = r#"{"action":"known"}"#;
    let on = |route, more: Option<(&'static str, &'static str)>| {
        let mut labels = vec![("api", "test"), ("stage", "prod"), ("route", route)];
        labels.extend(more);
        labels
    };
    let into = on("known", Some(("direction", "in")));
    let out = on("known", Some(("direction", "out")));
    for _ in 0..2 {
        client.send_text(good).await;
        assert_eq!(client.next_text().await, "four");
    }
    // The time is taken before the reply is sent, the reply is counted after.
    wait_until(DEADLINE, "both replies to be counted", async || {
        gateway.metric("tidegate_messages_total", &out).await == 2.0
    })
    .await;
    let metrics = gateway.metrics().await;
    let value = |name: &str, labels: &[(&str, &str)]| metric_value(&metrics, name, labels);
    assert_eq!(value("tidegate_messages_total", &into), 2.0);
    assert_eq!(value("tidegate_message_bytes_total", &into), 2.0 * good.len() as f64);
    assert_eq!(value("tidegate_message_bytes_total", &out), 8.0);
    assert_eq!(value("tidegate_integration_seconds_count", &on("known", None)), 2.0);
    assert!(value("tidegate_integration_seconds_sum", &on("known", None)) > 0.0);
    let infinite = on("known", Some(("le", "+Inf")));
    assert_eq!(value("tidegate_integration_seconds_bucket", &infinite), 2.0);
    assert_eq!(value("tidegate_integration_seconds_count", &on("$connect", None)), 1.0);

    for (message, kind) in [
        ("fail", "function_error"),
        ("nonsense", "malformed_proxy_response"),
        ("stall", "timed_out"),
    ] {
        client.send_text(&format!(r#"{{"action":"known","x":"{message}"}}"#)).await;
        assert!(client.next_json().await["connectionId"] == id.as_str());
        let labels = on("known", Some(("kind", kind)));
        assert_eq!(gateway.metric("tidegate_integration_errors_total", &labels).await, 1.0);
    }
    client.send_text("no route").await;
    assert_eq!(client.next_json().await["message"], "Forbidden");
    let kind = [("api", "test"), ("stage", "prod"), ("kind", "no_route")];
    assert_eq!(gateway.metric("tidegate_client_errors_total", &kind).await, 1.0);

    // What the management API sends is counted under its own name.
    gateway.post_to("prod", &id, b"posted").await;
    let posts = on("@connections", Some(("direction", "out")));
    assert_eq!(gateway.metric("tidegate_messages_total", &posts).await, 1.0);
    assert_eq!(gateway.metric("tidegate_message_bytes_total", &posts).await, 6.0);
}

/// tidegate, section 8: `tidegate_management_requests_total`.
#[tokio::test]
async fn management_calls_are_counted_by_operation_and_status() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    let _client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let known = format!("/prod/@connections/{id}");
    let unknown = "/prod/@connections/L0SM9cOFvHcCIhw=".to_owned();
    let bad = "/prod/@connections/bad".to_owned();
    let stage = format!("/none/@connections/{id}");
    let long = vec![b'x'; 131_073];
    for (method, target, body, operation, status) in [
        ("POST", &known, &b"x"[..], "post", "200"),
        ("POST", &known, &[0xff], "post", "400"),
        ("POST", &known, &long, "post", "413"),
        ("POST", &stage, b"x", "post", "403"),
        ("GET", &known, b"", "get", "200"),
        ("GET", &bad, b"", "get", "400"),
        ("GET", &unknown, b"", "get", "410"),
        ("PUT", &known, b"", "other", "405"),
        ("DELETE", &known, b"", "delete", "204"),
        ("DELETE", &known, b"", "delete", "410"),
    ] {
        let labels = [("operation", operation), ("status", status)];
        let name = "tidegate_management_requests_total";
        let calling = gateway.manage(method, target, body);
        assert_eq!(moved(&gateway, name, &labels, calling).await, 1.0, "{method} {status}");
    }
}

/// tidegate, section 8: `tidegate_process_*`; Prometheus' text format.
#[tokio::test]
async fn a_scrape_tells_of_the_process_in_prometheus_text() {
    let gateway = start(&echo()).await;
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
    // The kernel counts in hundredths of a second; each scrape takes some of one.
    wait_until(DEADLINE, "some CPU time", async || {
        gateway.metric("tidegate_process_cpu_seconds_total", &[]).await > 0.0
    })
    .await;
    let response = gateway.admin("/metrics").await;
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").is_some_and(|t| t.starts_with("text/plain")));
    let metrics = response.text();
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"] {
        let value = metric_value(metrics, &format!("tidegate_process_{name}"), &[]);
        assert!(value > 0.0, "{name}: {value}");
    }
    let mut typed = std::collections::HashSet::new();
    for line in metrics.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "TYPE", name, kind] => {
                assert!(typed.insert(name), "{name} has two TYPE lines");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let total = name.ends_with("_total");
                assert_eq!(total, kind == "counter", "counters end with _total: {line}");
            }
            ["#", "HELP", ..] => {}
            _ => {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                assert!(typed.contains(family) || typed.contains(name), "no TYPE: {line}");
                let value = line.rsplit(' ').next().unwrap_or_default();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}

/// tidegate, section 2: what the admin port serves, and only there.
#[tokio::test]
async fn health_and_metrics_are_on_the_admin_port_only() {
    let gateway = start(&echo()).await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
        assert_eq!(gateway.manage("GET", path, b"").await.status, 403, "{path}");
    }
    let mut http = HttpClient::connect(&gateway.admin_url()).await;
    assert_eq!(http.call("GET", "/prod", &[], b"").await.status, 404);
    assert_eq!(http.call("POST", "/metrics", &[], b"").await.status, 405);
    let head = http.call("HEAD", "/metrics", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(http.call("GET", "/health/live?probe=1", &[], b"").await.status, 200);
}

/// reliability, line 33: neither depends on a backend.
#[tokio::test]
async fn health_does_not_depend_on_a_backend() {
    let function = FunctionBackend::start(|_| FunctionAnswer::stall()).await;
    let toml = GatewayToml::new()
        .function("stalled", &function.url())
        .http_proxy("down", "http://127.0.0.1:1/")
        .route("$default", "stalled")
        .two_way("down", "down");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for _ in 0..16 {
        client.send_text("stall").await;
    }
    function.http().wait_for_requests(16).await;
    assert_eq!(gateway.admin("/health/live").await.status, 200);
    assert_eq!(gateway.admin("/health/ready").await.status, 200);
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

/// A function whose messages wait for permits.
async fn gated() -> (FunctionBackend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let function = FunctionBackend::start_async(move |event| {
        let opened = Arc::clone(&opened);
        async move {
            if event["requestContext"]["eventType"] == "MESSAGE" {
                opened.acquire().await.expect("never closed").forget();
            }
            reply("late reply").into()
        }
    })
    .await;
    (function, gate)
}

/// tidegate, sections 1 and 7: readiness fails first, nothing is accepted, what is at
/// integrations is finished, then 1001, `$disconnect` for each, exit 0.
#[tokio::test]
async fn a_drain_delivers_what_is_in_flight_then_closes_1001_and_runs_each_disconnect() {
    let (function, gate) = gated().await;
    let toml = watched_by(&function)
        .two_way("$default", "watcher")
        .section("[drain]\ndeadline_s = 15\nspread_s = 1");
    let mut gateway = start(&toml).await;
    let mut busy = Client::connect(&gateway.ws_url("prod")).await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(Client::connect(&gateway.ws_url("prod")).await);
    }
    busy.send_text("slow").await;
    function.next_event("MESSAGE").await;
    gateway.signal("TERM").await;
    gateway.wait_for_log("draining").await;
    assert_eq!(gateway.admin("/health/ready").await.status, 503);
    assert_eq!(gateway.admin("/health/live").await.status, 200);
    assert_eq!(gateway.metric("tidegate_draining", &[]).await, 1.0);
    // Not accepted any more, in whatever way.
    let late = tokio::net::TcpStream::connect(gateway.address()).await;
    if late.is_ok() {
        assert_eq!(refused(&gateway.ws_url("prod")).await.status, 503);
    }
    for client in &mut idle {
        assert_eq!(client.next_close().await, (1001, "Going away".to_owned()));
    }
    gate.add_permits(1);
    assert_eq!(busy.next_text().await, "late reply", "before the close");
    assert_eq!(busy.next_close().await, (1001, "Going away".to_owned()));
    let ended = gateway.wait_for_end(Duration::from_secs(10)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let ends = function.events_of("DISCONNECT");
    assert_eq!(ends.len(), 6, "one for each, before the end");
    for event in ends {
        assert_eq!(event["requestContext"]["disconnectStatusCode"], 1001);
        assert_eq!(event["requestContext"]["disconnectReason"], "Going away");
    }
}

/// tidegate, section 7: `spread_s` spreads many clients over time.
#[tokio::test]
async fn a_drain_spreads_its_closes() {
    let toml = echo().section("[drain]\ndeadline_s = 15\nspread_s = 1");
    let mut gateway = start(&toml).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Client::connect(&gateway.ws_url("prod")).await);
    }
    let started = std::time::Instant::now();
    gateway.signal("TERM").await;
    let closes = clients.into_iter().map(|mut client| async move {
        assert_eq!(client.next_close().await.0, 1001);
        started.elapsed()
    });
    let mut times = futures_util::future::join_all(closes).await;
    times.sort();
    let span = times[39] - times[0];
    assert!(span > Duration::from_millis(500), "all closed within {span:?}");
    assert_eq!(gateway.wait_for_end(DEADLINE).await.status.code(), Some(0));
}

/// tidegate, section 7: exit 0 before `deadline_s`, whatever is left.
#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let (function, _gate) = gated().await;
    let toml = watched_by(&function)
        .two_way("$default", "watcher")
        .section("[drain]\ndeadline_s = 1\nspread_s = 0");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("never answered").await;
    function.next_event("MESSAGE").await;
    let started = std::time::Instant::now();
    let ended = gateway.terminate(Duration::from_secs(10)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let took = started.elapsed();
    assert!((900..5000).contains(&took.as_millis()), "{took:?}");
}

/// tidegate, section 1: a second signal ends at once.
#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for second in ["TERM", "INT"] {
        let (function, _gate) = gated().await;
        let mut gateway = start(&watched_by(&function).two_way("$default", "watcher")).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        client.send_text("never answered").await;
        function.next_event("MESSAGE").await;
        gateway.signal("INT").await;
        gateway.wait_for_log("draining").await;
        gateway.signal(second).await;
        // The drain itself would take 30 s.
        let ended = gateway.wait_for_end(Duration::from_secs(5)).await;
        assert_ne!(ended.status.code(), Some(0), "not in good order");
        assert_ne!(ended.status.code(), None, "ended by itself, not by the signal");
    }
}

/// tidegate, section 1: what would be served.
#[tokio::test]
async fn check_prints_what_would_be_served() {
    let toml = GatewayToml::new()
        .stage("blue")
        .http_proxy("backend", "http://backend.example:3000/messages")
        .function("worker", "http://worker.example/f")
        .route("$connect", "backend")
        .two_way("sendmessage", "worker")
        .signed("AKIDSHOWN", "the secret that is never shown");
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for wanted in [
        "test",
        "prod",
        "blue",
        "$connect",
        "sendmessage",
        "backend",
        "worker",
        "http://backend.example:3000/messages",
        "http://worker.example/f",
        "127.0.0.1:0",
    ] {
        assert!(ended.stdout.contains(wanted), "{wanted} is missing in\n{}", ended.stdout);
    }
    assert!(!format!("{ended:?}").contains("never shown"), "{ended:?}");
}

/// `--set` of `check` and `run`: over the file's keys, and to blame for its own.
#[tokio::test]
async fn a_key_on_the_command_line_is_set_over_the_files() {
    let toml = echo().limit("max_in_flight", "3").build();
    let set = ["--set", "limits.max_in_flight=5", "--set", "apis.test.domains=[\"d.example\"]"];
    let ended = run_to_end(GATEWAY, &[&["check", "gateway.toml"], &set[..]].concat(), &toml).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for wanted in ["max_in_flight = 5 (default 16)", "d.example"] {
        assert!(ended.stdout.contains(wanted), "{wanted} is missing in\n{}", ended.stdout);
    }
    for (set, said) in [
        ("limits.connections=0", "--set limits.connections: 0 is an error"),
        ("limits.max_in_flight", "--set number 1: expected KEY=VALUE"),
        (
            "limits.max_in_flight.x=1",
            "--set limits.max_in_flight.x: `limits.max_in_flight` is no table",
        ),
    ] {
        for command in ["check", "run"] {
            let arguments = [command, "gateway.toml", "--set", set];
            let ended = run_to_end(GATEWAY, &arguments, &toml).await;
            assert_eq!(ended.status.code(), Some(64), "{ended:?}");
            assert!(
                ended.stderr.starts_with(said) && ended.stderr.lines().count() == 1,
                "{ended:?}"
            );
        }
    }
}

/// The file alone cannot be served, so a reload that forgot what was set would be refused.
#[tokio::test]
async fn a_reload_sets_the_same_keys_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = echo().set("listen", "address", "\"nowhere\"").build();
    std::fs::write(folder.path().join("gateway.toml"), toml).expect("write");
    let mut node = tokio::process::Command::new(GATEWAY)
        .args(["run", "gateway.toml", "--set", "listen.address=127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run");
    let mut lines = BufReader::new(node.stderr.take().expect("piped")).lines();
    let pid = node.id().expect("it runs").to_string();
    let signal = async |name: &str| {
        let sent = tokio::process::Command::new("kill").args([name, &pid]).status().await;
        assert!(sent.expect("kill(1) runs").success(), "kill {name}");
    };
    let mut until = async |wanted: &[&str]| {
        let found = async {
            loop {
                let line = lines.next_line().await.expect("a line").expect("it is not over");
                if wanted.iter().any(|wanted| line.contains(wanted)) {
                    return line;
                }
            }
        };
        within(DEADLINE, "the log line", found).await
    };
    // The last line of the start.
    until(&[" listening address="]).await;
    signal("-HUP").await;
    let line = until(&["configuration reloaded", "configuration refused"]).await;
    assert!(line.contains("reloaded"), "{line}");
    signal("-TERM").await;
    let ended = within(DEADLINE, "the end", node.wait()).await.expect("a child of ours");
    assert_eq!(ended.code(), Some(0));
}

/// tidegate, section 1: every problem at once, each with its key and line; exit 64.
#[tokio::test]
async fn a_file_with_ten_mistakes_is_refused_with_ten_lines() {
    let toml = r#"[listen]
address = "nowhere"
[limits]
idle_timeout_s = 0
misspelt = 1
max_in_flight = "many"
[apis.test]
route_selection_expression = "$request.body.action"
domains = ["not a host"]
[apis.test.stages.prod]
throttle = { rate = -1, burst = 1 }
[apis.test.integrations.b]
type = "http_proxy"
uri = "ftp://example.com/"
timeout_ms = 29001
[apis.test.routes."$foo"]
[apis.test.routes.x]
integration = "absent"
"#;
    let expected = [
        (2, "listen.address"),
        (4, "limits.idle_timeout_s"),
        (5, "limits.misspelt"),
        (6, "limits.max_in_flight"),
        (9, "apis.test.domains"),
        (11, "apis.test.stages.prod.throttle"),
        (14, "apis.test.integrations.b.uri"),
        (15, "apis.test.integrations.b.timeout_ms"),
        (16, "apis.test.routes"),
        (18, "apis.test.routes.x.integration"),
    ];
    for command in ["check", "run"] {
        let ended = run_to_end(GATEWAY, &[command, "gateway.toml"], toml).await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert_eq!(ended.stdout, "");
        let said: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(said.len(), expected.len(), "{}", ended.stderr);
        for (line, (number, key)) in said.iter().zip(expected) {
            let head = format!("gateway.toml:{number}: {key}");
            assert!(line.starts_with(&head), "{line}\ndoes not start with\n{head}");
        }
    }
}

/// tidegate, section 1: a file that is absent or no TOML.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_exit_64_too() {
    for command in ["check", "run"] {
        let ended = run_to_end(GATEWAY, &[command, "absent.toml"], "").await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.contains("absent.toml"), "{ended:?}");
        let broken = "[apis.test\nx = 1\n";
        let ended = run_to_end(GATEWAY, &[command, "gateway.toml"], broken).await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.starts_with("gateway.toml:1: "), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

/// tidegate, section 2: a port that is taken is said, and is no fault of the file.
#[tokio::test]
async fn a_taken_port_ends_the_start() {
    let gateway = start(&echo()).await;
    let taken = format!("{:?}", gateway.address().to_string());
    let toml = echo().set("listen", "address", &taken);
    let ended = run_to_end(GATEWAY, &["run", "gateway.toml"], &toml.build()).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&gateway.address().to_string()), "{ended:?}");
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}

/// tidegate, section 1.
#[tokio::test]
async fn schema_prints_a_json_schema() {
    let ended = run_to_end(GATEWAY, &["schema"], "").await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let schema: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert!(schema["$schema"].is_string());
    for section in ["listen", "admin", "management", "limits", "drain", "store", "apis"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

/// tidegate, section 1: as everywhere.
#[tokio::test]
async fn version_and_help_are_answered() {
    let ended = run_to_end(GATEWAY, &["--version"], "").await;
    let version = format!("tidegate {}", env!("CARGO_PKG_VERSION"));
    assert_eq!((ended.status.code(), ended.stdout.trim()), (Some(0), version.as_str()));
    let ended = run_to_end(GATEWAY, &["--help"], "").await;
    assert_eq!(ended.status.code(), Some(0));
    for command in ["run", "demo", "check", "schema"] {
        assert!(ended.stdout.contains(command), "{command}: {}", ended.stdout);
    }
}

/// reliability, line 18; tidegate, section 3: no secret, token, cookie or payload in logs at any
/// level, in metrics, in error bodies.
#[tokio::test]
async fn nothing_secret_is_in_logs_metrics_or_error_bodies() {
    let function =
        FunctionBackend::start(|event| match event["body"].as_str().unwrap_or_default() {
            body if body.contains("fail") => FunctionAnswer::error(),
            body if body.contains("nonsense") => FunctionAnswer::raw("payload-of-the-answer"),
            _ => reply("payload-of-the-reply").into(),
        })
        .await;
    let toml = watched_by(&function)
        .two_way("$default", "watcher")
        .http_proxy("down", "http://127.0.0.1:1/?token=token-of-the-uri")
        .two_way("down", "down")
        .set("management", "auth", r#""sigv4""#)
        .section(
            r#"[[management.credentials]]
access_key_id = "AKIDEXAMPLE"
secret_access_key = { env = "TIDEGATE_TEST_SECRET" }
"#,
        );
    let environment = [("TIDEGATE_TEST_SECRET", "secret-of-the-key"), ("TIDEGATE_LOG", "trace")];
    let gateway = TestGateway::start_with(GATEWAY, &toml.build(), &environment).await;
    let headers = [
        ("Cookie", "session=cookie-of-the-client"),
        ("Authorization", "Bearer bearer-of-the-client"),
        ("X-Api-Key", "apikey-of-the-client"),
    ];
    let url = gateway.ws_url("prod") + "?token=token-of-the-query";
    let mut client = Client::connect_with(&url, &headers, &[]).await;
    let id = connection_id(&function).await;
    let mut bodies = Vec::new();
    for message in [
        r#"{"action":"x","payload":"payload-of-the-message"}"#,
        r#"{"action":"x","payload":"payload-of-the-message fail"}"#,
        r#"{"action":"x","payload":"payload-of-the-message nonsense"}"#,
        r#"{"action":"down","payload":"payload-of-the-message"}"#,
    ] {
        client.send_text(message).await;
        let answer = client.next_text().await;
        if answer != "payload-of-the-reply" {
            bodies.push(answer);
        }
    }
    assert_eq!(bodies.len(), 3, "three error frames");
    let signer = tidegate_testkit::Signer::new("AKIDEXAMPLE", "secret-of-the-key");
    let host = gateway.address().to_string();
    for (target, good) in [
        (format!("/prod/@connections/{id}"), true),
        ("/prod/@connections/token-of-the-path".to_owned(), true),
        (format!("/prod/@connections/{id}?x=token-of-the-query"), false),
    ] {
        let now = std::time::SystemTime::now();
        let added = signer.sign("POST", &target, &[("Host", &host)], b"payload-of-the-post", now);
        let mut all = vec![("Host", host.as_str())];
        all.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let body: &[u8] = if good { b"payload-of-the-post" } else { b"payload-of-another" };
        let url = gateway.http_url();
        let response = tidegate_testkit::http_call(&url, "POST", &target, &all, body).await;
        if response.status != 400 {
            // A malformed id is named to its caller, as on Amazon.
            bodies.push(response.text().to_owned());
        }
    }
    assert_eq!(client.next_text().await, "payload-of-the-post");
    client.send_binary(b"payload-of-binary").await;
    client.next_close().await;
    function.next_event("DISCONNECT").await;
    let metrics = gateway.metrics().await;
    let ended = gateway.terminate(DEADLINE).await;
    let told = [ended.stderr, metrics, bodies.join("\n")];
    for secret in ["-of-the-", "payload-of-"] {
        for text in &told {
            let found = text.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "{secret}");
        }
    }
}

/// tidegate, section 3: secrets from the environment and from files; a missing one is said by its
/// name only.
#[tokio::test]
async fn a_secret_may_come_from_a_file_and_is_never_printed() {
    let directory = tempfile::TempDir::with_prefix("tidegate-secret-").expect("a folder");
    let path = directory.path().join("secret");
    std::fs::write(&path, "secret-of-the-file\n").expect("a file of ours");
    let with = |secret: &str| {
        echo()
            .set("management", "auth", r#""sigv4""#)
            .section(&format!(
                "[[management.credentials]]\naccess_key_id = \"AKIDEXAMPLE\"\n\
                 secret_access_key = {secret}\n"
            ))
            .build()
    };
    let file = Value::from(path.to_str().expect("UTF-8")).to_string();
    let toml = with(&format!("{{ file = {file} }}"));
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(!format!("{ended:?}").contains("secret-of-the-file"), "{ended:?}");
    let gateway = TestGateway::start(GATEWAY, &toml).await;
    let signer = tidegate_testkit::Signer::new("AKIDEXAMPLE", "secret-of-the-file");
    let host = gateway.address().to_string();
    let target = "/prod/@connections/L0SM9cOFvHcCIhw=";
    let now = std::time::SystemTime::now();
    let added = signer.sign("GET", target, &[("Host", &host)], b"", now);
    let mut all = vec![("Host", host.as_str())];
    all.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let url = gateway.http_url();
    let response = tidegate_testkit::http_call(&url, "GET", target, &all, b"").await;
    assert_eq!(response.status, 410, "signed with the file's secret: {response:?}");
    for missing in [r#"{ env = "TIDEGATE_TEST_ABSENT" }"#, r#"{ file = "absent-secret" }"#] {
        let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &with(missing)).await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        let key = "management.credentials";
        assert!(ended.stderr.contains(key), "{ended:?}");
    }
}
