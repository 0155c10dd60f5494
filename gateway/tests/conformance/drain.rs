//! How a gateway ends (tidegate, sections 1 and 7).
//!
//! In:  signals, while clients are idle and while calls are under way.
//! Out: what each client still reads, how it is closed, the exit code and when.
//!
//! Holds always: an end in good order is exit code 0, and only that is.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tidegate_testkit::{
    Client, DEADLINE, Ended, FunctionAnswer, FunctionBackend, GatewayToml, refused,
};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    authorizers::{allow, guarded_by},
    echo, reply, start, watched_by,
};

/// A function whose messages wait for permits.
async fn gated() -> (FunctionBackend, Arc<Semaphore>) {
    gated_at(|event| event["requestContext"]["eventType"] == "MESSAGE", reply("late reply")).await
}

/// A function whose answers to some events wait for permits.
async fn gated_at(
    is_held: impl Fn(&Value) -> bool + Send + Sync + 'static,
    answer: Value,
) -> (FunctionBackend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let function = FunctionBackend::start_async(move |event| {
        let (opened, answer) = (Arc::clone(&opened), answer.clone());
        let is_held = is_held(&event);
        async move {
            if is_held {
                opened.acquire().await.expect("never closed").forget();
            }
            answer.into()
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

/// Exit 0, and nothing was cut off.
fn assert_in_order(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(r#""cut_off":0"#), "{}", ended.stderr);
    assert!(!ended.stderr.contains("cut off"), "no warning:\n{}", ended.stderr);
}

/// The single `$disconnect` that `function` was told of came from the drain.
fn assert_told_once(function: &FunctionBackend) {
    let ends = function.events_of("DISCONNECT");
    assert_eq!(ends.len(), 1, "once: {ends:?}");
    assert_eq!(ends[0]["requestContext"]["disconnectStatusCode"], 1001);
}

/// A client asks for its upgrade; `held` answers only when the node drains already. It is let in,
/// for its backend believes that it is there; and leaves at once.
async fn assert_late_upgrade_leaves(
    toml: GatewayToml,
    held: &FunctionBackend,
    gate: &Semaphore,
    watcher: &FunctionBackend,
) {
    let mut gateway = start(&toml.section("[drain]\ndeadline_s = 15\nspread_s = 0")).await;
    let url = gateway.ws_url("prod");
    let connecting = tokio::spawn(async move { Client::connect(&url).await });
    held.http().next_request().await;
    gateway.signal("TERM").await;
    gateway.wait_for_log("draining").await;
    gate.add_permits(1);
    let mut client = connecting.await.expect("it is let in");
    assert_eq!(client.next_close().await, (1001, "Going away".to_owned()));
    let ended = gateway.wait_for_end(Duration::from_secs(8)).await;
    assert_in_order(&ended);
    assert_told_once(watcher);
}

/// tidegate, section 7: each that was let in is closed with 1001 and has its `$disconnect`, also one
/// that is let in after the drain has looked who is there.
#[tokio::test]
async fn a_client_whose_authorizer_answers_during_a_drain_is_closed_like_the_others() {
    let (who, gate) = gated_at(|_| true, allow()).await;
    let watcher = FunctionBackend::start(|_| reply("")).await;
    let toml = guarded_by(watched_by(&watcher), &who.url());
    assert_late_upgrade_leaves(toml, &who, &gate, &watcher).await;
}

#[tokio::test]
async fn a_client_whose_connect_ends_during_a_drain_is_closed_like_the_others() {
    for during_connect in [r#""held""#, r#""gone""#] {
        let is_connect = |event: &Value| event["requestContext"]["eventType"] == "CONNECT";
        let (function, gate) = gated_at(is_connect, reply("")).await;
        let toml = watched_by(&function).api("post_during_connect", during_connect);
        assert_late_upgrade_leaves(toml, &function, &gate, &function).await;
    }
}

/// tidegate, section 7: "finish what is at integrations". What a client goes on to send is not there
/// yet, or a client that never pauses would never be let go.
#[tokio::test]
async fn a_client_that_always_has_a_message_at_its_backend_leaves_when_those_have_come_back() {
    let function = FunctionBackend::start(|event| {
        let is_message = event["requestContext"]["eventType"] == "MESSAGE";
        let takes = Duration::from_millis(if is_message { 200 } else { 0 });
        FunctionAnswer::from(reply("late reply")).after(takes)
    })
    .await;
    let toml = watched_by(&function)
        .two_way("$default", "watcher")
        .section("[drain]\ndeadline_s = 15\nspread_s = 0");
    let mut gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let mut pauses = tokio::time::interval(Duration::from_millis(40));
    let mut replies = 0;
    let code = loop {
        tokio::select! {
            message = client.receive() => match message {
                Some(Message::Text(_)) => {
                    replies += 1;
                    if replies == 5 {
                        gateway.signal("TERM").await;
                    }
                }
                Some(Message::Close(frame)) => break frame.map(|frame| u16::from(frame.code)),
                other => panic!("a reply or a close was due, not {other:?}"),
            },
            _ = pauses.tick() => client.send_text("more").await,
        }
    };
    assert_eq!(code, Some(1001));
    // Answers the close frame.
    while client.receive().await.is_some() {}
    let ended = gateway.wait_for_end(Duration::from_secs(8)).await;
    assert_in_order(&ended);
    assert_told_once(&function);
    assert_eq!(function.events_of("MESSAGE").len(), replies, "each that got there is answered");
}

/// tidegate, section 7: exit 0 before `deadline_s`, whatever is left; every `$disconnect` runs. The
/// log warns of what was cut off.
#[tokio::test]
async fn a_drain_ends_before_its_deadline_and_closes_in_time_for_the_disconnects() {
    let (function, _gate) = gated().await;
    let toml = watched_by(&function)
        .two_way("$default", "watcher")
        .section("[drain]\ndeadline_s = 4\nspread_s = 0");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("never answered").await;
    function.next_event("MESSAGE").await;
    let started = std::time::Instant::now();
    let (ended, close) = tokio::join!(gateway.terminate(DEADLINE), client.next_close());
    let took = started.elapsed();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    // The call had its time; the signal and the end have their way here.
    assert!((3000..4500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(close, (1001, "Going away".to_owned()));
    assert_told_once(&function);
    let warning = ended.stderr.lines().find(|line| line.contains("WARN"));
    let warning = warning.unwrap_or_else(|| panic!("no warning:\n{}", ended.stderr));
    assert!(warning.contains(r#""cut_off":1"#), "the call: {warning}");
    assert!(warning.contains("are not run"), "nobody else is there: {warning}");
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
