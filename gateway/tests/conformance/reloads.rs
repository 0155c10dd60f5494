//! Another file while clients are connected (reliability, line 32; tidegate, sections 1, 8 and 9;
//! websocket-api, 12.2).
//!
//! In:  files good and bad, given to a gateway that serves; stages that are not in the new one.
//! Out: by which file messages are routed, who is closed and with what, what is counted.
//!
//! Holds always: a connection of before stays open, unless its stage is gone; then it ends in good
//! order.

use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, FunctionBackend, GatewayToml, TestGateway, refused, wait_until, within,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{GATEWAY, connection_id, echo, echoes, reply, start, watched_echo};

/// Gives the gateway another file and waits until it has taken it, or refused it: `outcome` is
/// `accepted` or `refused`.
pub(crate) async fn reload(gateway: &TestGateway, toml: &GatewayToml, outcome: &str) {
    let labels = [("outcome", outcome)];
    let count = async || gateway.metric("tidegate_reloads_total", &labels).await;
    let before = count().await;
    gateway.reload(&toml.build()).await;
    wait_until(DEADLINE, "the reload", async || count().await == before + 1.0).await;
}

/// reliability, line 32; design: routes are resolved per message against the current file.
#[tokio::test]
async fn a_reload_under_traffic_drops_no_socket_and_routes_by_the_new_file() {
    let function = FunctionBackend::start(|_| reply("from the function")).await;
    let toml = watched_echo(&function);
    let gateway = start(&toml).await;
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    let mut traffic = Vec::new();
    for number in 0..20 {
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
        traffic.push(tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                echoes(&mut client, &format!("client {number}")).await;
                rounds.fetch_add(1, Ordering::SeqCst);
            }
            client
        }));
    }
    let mut probe = Client::connect(&gateway.ws_url("prod")).await;
    let call = r#"{"action":"added"}"#;
    echoes(&mut probe, call).await;
    for reload in 1..=5 {
        let before = rounds.load(Ordering::SeqCst);
        let name = format!("added{reload}");
        gateway.reload(&toml.clone().two_way(&name, "watcher").build()).await;
        let accepted = async || {
            let outcome = [("outcome", "accepted")];
            gateway.metric("tidegate_reloads_total", &outcome).await == f64::from(reload)
        };
        wait_until(DEADLINE, "the reload", accepted).await;
        probe.send_text(&format!(r#"{{"action":"{name}"}}"#)).await;
        assert_eq!(probe.next_text().await, "from the function", "on a socket of before");
        wait_until(DEADLINE, "traffic after the reload", async || {
            rounds.load(Ordering::SeqCst) > before + 20
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut open = Vec::new();
    for client in traffic {
        open.push(client.await.expect("no echo was lost"));
    }
    for client in &mut open {
        client.ping_pong().await;
    }
    assert_eq!(function.events_of("DISCONNECT").len(), 0);
}

/// reliability, line 32; tidegate, section 1.
#[tokio::test]
async fn a_bad_file_is_refused_and_the_old_one_stays() {
    let toml = echo();
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let bad = toml.clone().api("misspelt", "1").unset("apis.test", "route_selection_expression");
    for text in [bad.build(), "not TOML".to_owned(), String::new()] {
        let outcome = [("outcome", "refused")];
        let before = gateway.metric("tidegate_reloads_total", &outcome).await;
        gateway.reload(&text).await;
        wait_until(DEADLINE, "the refusal", async || {
            gateway.metric("tidegate_reloads_total", &outcome).await == before + 1.0
        })
        .await;
        echoes(&mut client, "the old file").await;
        Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
    }
    gateway.wait_for_log("configuration refused, the old one stays").await;
    let log = gateway.log_text();
    assert!(log.contains("apis.test.misspelt"), "{log}");
    assert!(log.contains("apis.test.route_selection_expression"), "{log}");
    // And a good one after that is taken.
    gateway.reload(&toml.two_way("x", "echo").build()).await;
    gateway.wait_for_log("configuration reloaded").await;
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

/// websocket-api, 12.2 (decision); tidegate, section 8.
#[tokio::test]
async fn a_removed_stage_closes_its_connections_1001() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_echo(&function);
    let gateway = start(&toml.clone().stage("blue")).await;
    let mut stays = Client::connect(&gateway.ws_url("prod")).await;
    let mut leaves = Client::connect(&gateway.ws_url("blue")).await;
    gateway.reload(&toml.build()).await;
    assert_eq!(leaves.next_close().await, (1001, "Going away".to_owned()));
    echoes(&mut stays, "prod goes on").await;
    assert_eq!(refused(&gateway.ws_url("blue")).await.status, 403);
    wait_until(DEADLINE, "one connection less", async || {
        gateway.metric("tidegate_connections", &[]).await == 1.0
    })
    .await;
}

/// tidegate, section 8, and design: an end that is not counted is not noticed.
#[tokio::test]
async fn the_end_of_a_removed_stages_connection_is_counted() {
    let toml = echo();
    let gateway = start(&toml.clone().stage("blue")).await;
    let mut leaves = Client::connect(&gateway.ws_url("blue")).await;
    gateway.reload(&toml.build()).await;
    assert_eq!(leaves.next_close().await.0, 1001);
    wait_until(DEADLINE, "the connection to be gone", async || {
        gateway.metric("tidegate_connections", &[]).await == 0.0
    })
    .await;
    let cause = [("cause", "stage_removed")];
    assert_eq!(gateway.metric("tidegate_disconnect_total", &cause).await, 1.0);
}

/// tidegate, section 9: `$disconnect` runs once for each accepted connection; reliability, line
/// 20. With the routes that the stage had.
#[tokio::test]
async fn a_removed_stages_connections_have_their_disconnect() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_echo(&function);
    let gateway = start(&toml.clone().stage("blue")).await;
    let mut leaves = Client::connect(&gateway.ws_url("blue")).await;
    let id = connection_id(&function).await;
    gateway.reload(&toml.build()).await;
    assert_eq!(leaves.next_close().await.0, 1001);
    let gone = async || gateway.metric("tidegate_connections", &[]).await == 0.0;
    wait_until(DEADLINE, "the connection to be gone", gone).await;
    // A later connection's end shows that nothing is on its way any more.
    Client::connect(&gateway.ws_url("prod")).await.close(1000, "").await;
    let later = connection_id(&function).await;
    let ends = async || {
        let events = function.events_of("DISCONNECT");
        events.iter().any(|event| event["requestContext"]["connectionId"] == later.as_str())
    };
    wait_until(DEADLINE, "the later connection's $disconnect", ends).await;
    let events = function.events_of("DISCONNECT");
    let own = events.iter().find(|event| event["requestContext"]["connectionId"] == id.as_str());
    let own = own.unwrap_or_else(|| panic!("no $disconnect for {id}, only {events:?}"));
    assert_eq!(own["requestContext"]["disconnectStatusCode"], 1001);
    assert_eq!(own["requestContext"]["stage"], "blue");
}

/// websocket-api, 12.2 (decision): then 410 on callbacks.
#[tokio::test]
async fn callbacks_to_a_removed_stage_are_answered_410() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_echo(&function);
    let gateway = start(&toml.clone().stage("blue")).await;
    let mut client = Client::connect(&gateway.ws_url("blue")).await;
    let id = connection_id(&function).await;
    gateway.reload(&toml.build()).await;
    assert_eq!(client.next_close().await.0, 1001);
    assert_eq!(gateway.post_to("blue", &id, b"x").await.status, 410);
}

/// What cannot change while a node runs is named, and stays as it was until the next start.
#[tokio::test]
async fn a_reload_names_what_needs_a_restart_and_leaves_it_as_it_was() {
    let toml = echo();
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    echoes(&mut client, "before").await;
    let named = || {
        let message = |line: &Value| line["fields"]["message"].clone();
        let mut lines = gateway.logs();
        lines.retain(|line| message(line) == "this change takes effect at the next start");
        lines.into_iter().map(|line| line["fields"]["key"].clone()).collect::<Vec<_>>()
    };
    // Nobody answers there: a node that took this store would be ready no more.
    let changed = toml
        .clone()
        .redis(&["redis://127.0.0.1:1".to_owned()])
        .set("listen", "address", r#""127.0.0.1:1""#)
        .set("admin", "address", r#""127.0.0.1:2""#);
    reload(&gateway, &changed, "accepted").await;
    gateway.wait_for_log("configuration reloaded").await;
    assert_eq!(named(), ["listen.address", "admin.address", "store"]);
    assert!(gateway.is_ready().await);
    let metrics = gateway.metrics().await;
    assert!(!metrics.contains("tidegate_bus_"), "there is no bus:\n{metrics}");
    echoes(&mut client, "after").await;
    let mut later = Client::connect(&gateway.ws_url("prod")).await;
    echoes(&mut later, "a new one").await;
    let sent = gateway.manage("POST", "/prod/@broadcast", b"to both").await;
    assert_eq!(sent.json(), json!({ "recipients": 2, "nodes": 1 }));
    // Nothing differs from what runs, so nothing is to be told.
    reload(&gateway, &toml, "accepted").await;
    assert_eq!(named().len(), 3);
}

/// tidegate, section 8. A first failure that comes out of nothing is no increase to Prometheus, so
/// what a route's calls may fail with is shown as 0 from the start, and from a reload on.
#[tokio::test]
async fn failures_of_a_routes_calls_are_shown_before_the_first() {
    let toml = echo()
        .http_proxy("web", "http://127.0.0.1:1/")
        .function("function", "http://127.0.0.1:1/")
        .mock("made")
        .request_template("made", "$default", r#"{"statusCode":200}"#)
        .route("web", "web");
    let gateway = start(&toml).await;
    let shown = async |route: &str| {
        let metrics = gateway.metrics().await;
        let of_route = format!("route=\"{route}\"");
        let lines = metrics.lines().filter(|line| {
            line.starts_with("tidegate_integration_errors_total{") && line.contains(&of_route)
        });
        let kinds = lines.map(|line| {
            assert!(line.ends_with(" 0"), "{line}");
            let (_, rest) = line.split_once("kind=\"").expect("a kind");
            rest.split_once('"').expect("its end").0.to_owned()
        });
        kinds.collect::<BTreeSet<_>>()
    };
    let of_backends =
        ["answer_too_large", "lost", "path_parameter", "timed_out", "unreachable", "uri_too_long"];
    assert_eq!(shown("web").await, of_backends.map(str::to_owned).into());
    assert_eq!(shown("$default").await, BTreeSet::new(), "an echo does not fail");
    assert_eq!(shown("function").await, BTreeSet::new(), "there is no such route yet");
    reload(&gateway, &toml.route("function", "function").route("made", "made"), "accepted").await;
    let mut of_functions = shown("function").await;
    for kind in of_backends.into_iter().chain(["function_error", "malformed_proxy_response"]) {
        assert!(of_functions.remove(kind), "{kind} is not shown");
    }
    assert_eq!(of_functions, BTreeSet::new(), "it is not called by way of AWS");
    let of_mocks = shown("made").await;
    for kind in ["no_mock_status", "request_template", "body_not_json"] {
        assert!(of_mocks.contains(kind), "{kind} is not shown");
    }
    assert!(!of_mocks.contains("unreachable"), "nothing is behind a mock");
    // What then happens is counted there.
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"action":"web"}"#).await;
    let labels = [("route", "web"), ("kind", "unreachable")];
    wait_until(DEADLINE, "the failure to be counted", async || {
        gateway.metric("tidegate_integration_errors_total", &labels).await == 1.0
    })
    .await;
}
