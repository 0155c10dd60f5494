//! What the metrics count (tidegate, section 8; reliability, line 34).
//!
//! In:  upgrades, messages, calls and ends of every kind, and scrapes before and after each.
//! Out: by how much each figure moved, under which labels; the text that Prometheus reads.
//!
//! Holds always: a figure is compared with itself before, so that only its own cause can move it.

use serde_json::json;
use tidegate_testkit::{
    Client, DEADLINE, Frame, FunctionAnswer, FunctionBackend, GatewayToml, Opcode, RawClient,
    TestGateway, http_call, metric_value, refused, refused_with, wait_until,
};

use crate::{connection_id, echo, reply, start, text, watched_by};

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
/// goes with some causes. `slow_client` is in `slow_clients`, `stage_removed` in `reloads`.
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

/// reliability, line 34; tidegate, section 8: labels come from the configuration, never from a
/// payload, a path or an id.
#[tokio::test]
async fn what_clients_send_makes_no_new_series() {
    let gateway = start(&GatewayToml::new().echo("echo").two_way("known", "echo")).await;
    let base = gateway.http_url();
    let strange = async |number: usize| {
        let name = format!("strange{number}");
        let mut client = Client::connect(&(gateway.ws_url("prod") + "/" + &name)).await;
        client.send_text(&format!(r#"{{"action":"{name}"}}"#)).await;
        client.next_text().await;
        client.send_text(r#"{"action":"known"}"#).await;
        client.next_text().await;
        client.close(4000 + u16::try_from(number).expect("small"), &name).await;
        refused(&gateway.ws_url(&name)).await;
        gateway.manage("GET", &format!("/prod/@connections/{name}"), b"").await;
        gateway.manage(&format!("M{number}"), "/prod/@connections/x", b"").await;
        gateway.post_to(&name, "L0SM9cOFvHcCIhw=", b"").await;
        let host = format!("{name}.example");
        http_call(&base, "GET", "/prod", &[("Host", &host)], b"").await;
        gateway.admin(&format!("/{name}")).await;
    };
    strange(0).await;
    let series = async || {
        let text = gateway.metrics().await;
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let before = series().await;
    for number in 1..30 {
        strange(number).await;
    }
    assert_eq!(series().await, before);
    let text = gateway.metrics().await;
    assert!(!text.contains("strange"), "{text}");
}
