//! What must hold when clients, backends and operators misbehave (reliability, lines 7, 10, 17,
//! 22 to 24, 31, 32, 34, 36).
//!
//! In:  more of something than a limit allows, or something that stands still.
//! Out: that the limit holds, and that nobody else notices.
//!
//! Holds always: each test has a bystander, or a figure of before to compare with. Counts are
//! scaled down to what a test may take; a loss is still 0.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tidegate_testkit::{
    Answer, Client, DEADLINE, Frame, FunctionBackend, GatewayToml, HttpBackend, HttpClient, Opcode,
    RawClient, TestGateway, refused, wait_until, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{assert_error_frame, connection_id, start, text, watched_by};

/// An api that says every message back.
fn echo() -> GatewayToml {
    GatewayToml::new().echo("echo").two_way("$default", "echo")
}

/// As [`echo`], with `$connect` and `$disconnect` watched.
fn watched_echo(function: &FunctionBackend) -> GatewayToml {
    watched_by(function).echo("echo").two_way("$default", "echo")
}

/// One message there and back.
async fn echoes(client: &mut Client, text: &str) {
    client.send_text(text).await;
    assert_eq!(client.next_text().await, text);
}

/// The process's resident memory, bytes.
fn resident(gateway: &TestGateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid()));
    let status = status.expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kilobytes: u64 =
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kilobytes * 1024
}

/// How many of the process's descriptors are open.
fn descriptors(gateway: &TestGateway) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("procfs").count()
}

/// Connects often enough that each core of the gateway has begun to work, so that what a process
/// opens once is open before anybody counts.
async fn warm(gateway: &TestGateway) {
    for _ in 0..40 {
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        client.ping_pong().await;
        client.close(1000, "").await;
    }
    let left = async || gateway.metric("tidegate_connections", &[]).await == 0.0;
    wait_until(DEADLINE, "the first clients to have left", left).await;
}

/// As many sockets as this test may open: what it wants, or a quarter of the descriptors.
fn sockets(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("procfs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit");
    let soft: usize =
        line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    wanted.min(soft / 4)
}

/// reliability, line 7.
#[tokio::test]
async fn a_handshake_that_takes_too_long_ends_at_its_timeout() {
    let gateway = start(&echo().limit("handshake_timeout_s", "1")).await;
    let head = "GET /prod HTTP/1.1\r\nHost: h\r\nX-";
    for (first, drip) in [("", false), (head, false), (head, true)] {
        let mut slow = TcpStream::connect(gateway.address()).await.expect("connect");
        slow.write_all(first.as_bytes()).await.expect("send");
        let connected = Instant::now();
        let end = async {
            let mut byte = [0];
            loop {
                let pause = Duration::from_millis(if drip { 50 } else { 10_000 });
                tokio::select! {
                    read = slow.read(&mut byte) => return read.unwrap_or(0),
                    () = tokio::time::sleep(pause) => {
                        let _ = slow.write_all(b"x").await;
                    }
                }
            }
        };
        let read = within(DEADLINE, "the end of a slow handshake", end).await;
        assert_eq!(read, 0, "no answer, since there was no request");
        let age = connected.elapsed();
        assert!((900..4000).contains(&age.as_millis()), "ended after {age:?}");
    }
}

/// reliability, line 7, at a smaller figure.
#[tokio::test]
async fn half_open_handshakes_leave_open_connections_alone() {
    let gateway = start(&echo().limit("handshake_timeout_s", "2")).await;
    warm(&gateway).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    echoes(&mut client, "before").await;
    let (memory, files) = (resident(&gateway), descriptors(&gateway));
    let count = sockets(500);
    let mut slow = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("connect");
        stream.write_all(b"GET /prod HTTP/1.1\r\nX-Slow: ").await.expect("send");
        slow.push(stream);
    }
    for _ in 0..50 {
        echoes(&mut client, "meanwhile").await;
    }
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
    // 10,000 may cost 50 MB, and a megabyte is for what has nothing to do with their number.
    let grown = resident(&gateway).saturating_sub(memory);
    assert!(grown < 5_000 * count as u64 + 1_000_000, "{count} half-open cost {grown} bytes");
    let ended = async || descriptors(&gateway) <= files;
    wait_until(DEADLINE, "the half-open connections to be closed", ended).await;
    echoes(&mut client, "after").await;
}

/// Connects until one is refused with 429; how many were not.
async fn admitted(gateway: &TestGateway, at_most: usize) -> Vec<Client> {
    let mut open = Vec::new();
    for _ in 0..at_most {
        open.push(Client::connect(&gateway.ws_url("prod")).await);
    }
    let response = refused(&gateway.ws_url("prod")).await;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("TooManyRequestsException"));
    open
}

/// reliability, line 10; tidegate, section 3: `connections` and `connections_per_ip`, each alone.
/// A place is free again when its connection has ended.
#[tokio::test]
async fn limits_on_open_connections_hold_and_places_come_back() {
    for limit in ["connections", "connections_per_ip"] {
        let function = FunctionBackend::accepting().await;
        let gateway = start(&watched_by(&function).limit(limit, "3")).await;
        let mut open = admitted(&gateway, 3).await;
        open[1].close(1000, "").await;
        function.next_event("DISCONNECT").await;
        let again = async || {
            let response = tidegate_testkit::http_call(
                &gateway.http_url(),
                "GET",
                "/prod",
                &[
                    ("Connection", "Upgrade"),
                    ("Upgrade", "websocket"),
                    ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ],
                b"",
            )
            .await;
            response.status == 101
        };
        wait_until(DEADLINE, &format!("a place under {limit}"), again).await;
        open[0].ping_pong().await;
        let refused = gateway.metric("tidegate_connect_total", &[("outcome", "throttled")]).await;
        assert!(refused >= 1.0, "{limit}: {refused}");
    }
}

/// reliability, line 10: refused upgrades and handshakes hold no place.
#[tokio::test]
async fn a_refused_upgrade_takes_no_place() {
    let function = FunctionBackend::start(|event| {
        let refuse = event["queryStringParameters"]["no"].is_string();
        serde_json::json!({ "statusCode": if refuse { 403 } else { 200 } })
    })
    .await;
    let gateway = start(&watched_by(&function).limit("connections", "1")).await;
    for _ in 0..5 {
        let answer = refused(&(gateway.ws_url("prod") + "?no=1")).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    let _half_open = TcpStream::connect(gateway.address()).await.expect("connect");
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}

/// reliability, line 10; tidegate, section 3: a token bucket with a burst of the same size.
#[tokio::test]
async fn new_connections_per_second_are_limited() {
    let gateway = start(&echo().limit("new_connections_per_s", "2")).await;
    let started = Instant::now();
    let (mut accepted, mut throttled) = (0, 0);
    while started.elapsed() < Duration::from_secs(3) {
        let mut http = HttpClient::connect(&gateway.http_url()).await;
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        match http.call("GET", "/prod", &headers, b"").await.status {
            101 => accepted += 1,
            429 => throttled += 1,
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two at once and two a second.
    let most = 2.0 + 2.0 * started.elapsed().as_secs_f64();
    assert!((4.0..=most).contains(&f64::from(accepted)), "{accepted} accepted, at most {most}");
    assert!(throttled > 0);
}

/// reliability, line 10: a throttle on the stage, and one on a route, each alone.
#[tokio::test]
async fn messages_over_a_throttle_get_an_error_frame_and_the_others_pass() {
    let tight = "{ rate = 0.001, burst = 4 }";
    let on_stage = |toml: GatewayToml| toml.set(r#"apis.test.stages."prod""#, "throttle", tight);
    let on_route = |toml: GatewayToml| toml.route_key("$default", "throttle", tight);
    // The upgrade takes a token of the stage's, none of the route's.
    for (toml, passes) in [(on_stage(echo()), 3), (on_route(echo()), 4)] {
        let gateway = start(&toml).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        for number in 0..passes {
            echoes(&mut client, &number.to_string()).await;
        }
        for _ in 0..3 {
            client.send_text("one more").await;
            let frame = client.next_json().await;
            let id = text(&frame["connectionId"]).to_owned();
            assert_error_frame(&exact(&frame), "Too Many Requests", &id);
        }
        let kind = [("kind", "throttled")];
        assert_eq!(gateway.metric("tidegate_client_errors_total", &kind).await, 3.0);
    }
}

/// An error frame's exact text, made again from its members.
fn exact(frame: &Value) -> String {
    format!(
        r#"{{"message": {}, "connectionId":{}, "requestId":{}}}"#,
        frame["message"], frame["connectionId"], frame["requestId"]
    )
}

/// A client that does not read, and posts to it until one is not taken. Returns the answers'
/// statuses in order; message `n` starts with `n`.
async fn overfill(gateway: &TestGateway, id: &str, posts: usize) -> Vec<u16> {
    let mut http = HttpClient::connect(&gateway.http_url()).await;
    let target = format!("/prod/@connections/{id}");
    let mut statuses = Vec::new();
    for number in 0..posts {
        let body = format!("{number} {}", "x".repeat(32_000));
        statuses.push(http.call("POST", &target, &[], body.as_bytes()).await.status);
    }
    statuses
}

/// What a client reads that has not read until now: the numbers of the messages, and the close
/// code, if one comes before the connection is quiet.
async fn catch_up(client: &mut RawClient, last: Option<usize>) -> (Vec<usize>, Option<u16>) {
    let mut numbers = Vec::new();
    loop {
        match client.next_frame().await {
            Some(frame) if frame.opcode == Opcode::Text => {
                let text = String::from_utf8(frame.payload).expect("text");
                let number = text.split(' ').next().and_then(|n| n.parse().ok());
                numbers.push(number.expect("a number"));
                if numbers.last().copied() == last {
                    return (numbers, None);
                }
            }
            Some(frame) => return (numbers, Some(frame.close().0)),
            None => return (numbers, Some(1006)),
        }
    }
}

/// Posts of 32 KB that overfill a client for certain: kernel buffers on loopback take some
/// megabytes, the queue 256 KiB.
const POSTS: usize = 700;

struct SlowClient {
    gateway: TestGateway,
    function: FunctionBackend,
    client: RawClient,
    id: String,
    bystander: Client,
}

impl SlowClient {
    async fn start(policy: &str) -> Self {
        let function = FunctionBackend::accepting().await;
        let toml = watched_echo(&function)
            .limit("send_queue_bytes", "262144")
            .limit("slow_client", &format!("{policy:?}"));
        let gateway = start(&toml).await;
        let bystander = Client::connect(&gateway.ws_url("prod")).await;
        connection_id(&function).await;
        let client = RawClient::connect(&gateway.ws_url("prod")).await;
        let id = connection_id(&function).await;
        Self { gateway, function, client, id, bystander }
    }

    /// Overfills while the bystander works; the statuses of the posts.
    async fn overfill(&mut self) -> Vec<u16> {
        echoes(&mut self.bystander, "warm").await;
        let memory = resident(&self.gateway);
        let posting = overfill(&self.gateway, &self.id, POSTS);
        let meanwhile = async {
            for _ in 0..100 {
                let asked = Instant::now();
                echoes(&mut self.bystander, "meanwhile").await;
                assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            }
        };
        let (statuses, ()) = tokio::join!(posting, meanwhile);
        let grown = resident(&self.gateway).saturating_sub(memory);
        assert!(grown < 8 << 20, "{grown} bytes for a queue of 256 KiB");
        statuses
    }

    async fn dropped(&self, cause: &str) -> f64 {
        let labels = [("cause", cause)];
        self.gateway.metric("tidegate_send_queue_dropped_total", &labels).await
    }
}

/// reliability, line 22; tidegate, section 3: `slow_client = "close"`.
#[tokio::test]
async fn a_client_that_stops_reading_is_closed_1008() {
    let mut slow = SlowClient::start("close").await;
    let statuses = slow.overfill().await;
    let taken = statuses.iter().take_while(|status| **status == 200).count();
    assert!(taken < POSTS, "every post was taken");
    assert!(statuses[taken..].iter().all(|status| *status == 410), "{:?}", &statuses[taken..]);
    let event = slow.function.next_event("DISCONNECT").await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1008);
    assert!(slow.dropped("close").await >= 1.0);
    let cause = [("cause", "slow_client")];
    assert_eq!(slow.gateway.metric("tidegate_disconnect_total", &cause).await, 1.0);
    echoes(&mut slow.bystander, "after").await;
}

/// reliability, line 22: a client that reads again in time sees why.
#[tokio::test]
async fn a_slow_client_that_reads_again_at_once_sees_the_1008() {
    let mut slow = SlowClient::start("close").await;
    let target = format!("/prod/@connections/{}", slow.id);
    let mut http = HttpClient::connect(&slow.gateway.http_url()).await;
    let mut taken = 0;
    let rest = "x".repeat(32_000);
    while http.call("POST", &target, &[], format!("{taken} {rest}").as_bytes()).await.status == 200
    {
        taken += 1;
        assert!(taken < POSTS, "every post was taken");
    }
    let (numbers, code) = catch_up(&mut slow.client, None).await;
    assert_eq!(code, Some(1008));
    assert!(numbers.iter().copied().eq(0..numbers.len()), "in order and none doubled");
    assert!(numbers.len() <= taken);
}

/// reliability, lines 22 and 23; tidegate, section 3: `slow_client = "drop_newest"`. 200 only
/// after the queue took it: the client reads exactly what was answered 200.
#[tokio::test]
async fn with_drop_newest_the_caller_is_told_429_and_the_rest_arrives() {
    let mut slow = SlowClient::start("drop_newest").await;
    let statuses = slow.overfill().await;
    let taken: Vec<_> = (0..POSTS).filter(|number| statuses[*number] == 200).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0, "every post was taken");
    assert_eq!(taken.len() + refused, POSTS, "{statuses:?}");
    let (numbers, _) = catch_up(&mut slow.client, taken.last().copied()).await;
    assert_eq!(numbers, taken);
    assert_eq!(slow.dropped("drop_newest").await, refused as f64);
    let posted = slow.gateway.post_to("prod", &slow.id, b"1000 again").await;
    assert_eq!(posted.status, 200);
    assert_eq!(catch_up(&mut slow.client, Some(1000)).await.0, [1000]);
    echoes(&mut slow.bystander, "after").await;
}

/// websocket-api, section 10: the error of a full receive buffer.
#[tokio::test]
async fn a_full_client_is_limit_exceeded_to_the_caller() {
    let slow = SlowClient::start("drop_newest").await;
    let mut http = HttpClient::connect(&slow.gateway.http_url()).await;
    let target = format!("/prod/@connections/{}", slow.id);
    let body = vec![b'x'; 100_000];
    for _ in 0..POSTS {
        let response = http.call("POST", &target, &[], &body).await;
        if response.status != 200 {
            assert_eq!(response.status, 429, "{response:?}");
            assert_eq!(response.header("x-amzn-errortype"), Some("LimitExceededException"));
            assert!(response.json()["message"].is_string());
            // What still waits goes with the connection, and is counted.
            slow.client.cut();
            let labels = [("cause", "closed")];
            let name = "tidegate_send_queue_dropped_total";
            wait_until(DEADLINE, "what waited to be counted", async || {
                slow.gateway.metric(name, &labels).await >= 1.0
            })
            .await;
            return;
        }
    }
    panic!("every post was taken");
}

/// reliability, line 22; tidegate, section 3: `slow_client = "drop_oldest"`.
#[tokio::test]
async fn with_drop_oldest_the_newest_arrives_and_a_gap_is_left() {
    let mut slow = SlowClient::start("drop_oldest").await;
    let statuses = slow.overfill().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let (numbers, _) = catch_up(&mut slow.client, Some(POSTS - 1)).await;
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order and none doubled");
    assert_eq!(numbers[0], 0);
    assert!(numbers.len() < POSTS, "nothing was dropped");
    assert_eq!(slow.dropped("drop_oldest").await, (POSTS - numbers.len()) as f64);
    echoes(&mut slow.bystander, "after").await;
}

/// reliability, line 24, at what fits: posts and echoes with the socket's own tag.
#[tokio::test]
async fn no_socket_sees_a_foreign_byte() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_echo(&function)).await;
    let count = sockets(1000);
    let clients: Vec<_> = stream::iter(0..count)
        .map(|number| {
            let url = format!("{}?tag={number}", gateway.ws_url("prod"));
            async move { (number, Client::connect(&url).await) }
        })
        .buffer_unordered(32)
        .collect()
        .await;
    let mut ids = vec![String::new(); count];
    for event in function.wait_for_events("CONNECT", count).await {
        let tag: usize = text(&event["queryStringParameters"]["tag"]).parse().expect("a number");
        ids[tag] = text(&event["requestContext"]["connectionId"]).to_owned();
    }
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), count, "ids are unique");
    let (ids, gateway) = (&ids, &gateway);
    stream::iter(clients)
        .for_each_concurrent(64, |(number, mut client)| async move {
            let tag = format!("tag {number} of {}", ids[number]);
            let posted = format!("posted to {tag}");
            client.send_text(&tag).await;
            assert_eq!(client.next_text().await, tag);
            let status = gateway.post_to("prod", &ids[number], posted.as_bytes()).await.status;
            assert_eq!(status, 200);
            assert_eq!(client.next_text().await, posted);
            client.send_text(&tag).await;
            assert_eq!(client.next_text().await, tag);
            client.ping_pong().await;
        })
        .await;
}

/// reliability, line 31: down, and healthy within a second of its return.
#[tokio::test]
async fn a_backend_that_is_down_hurts_its_own_route_only_and_is_used_again_at_once() {
    let backend = HttpBackend::answering(Answer::body_of("first")).await;
    let url = backend.url();
    let toml = echo().http_proxy("b", &url).two_way("backend", "b");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let call = r#"{"action":"backend"}"#;
    client.send_text(call).await;
    assert_eq!(client.next_text().await, "first");
    let address = backend.stop().await;
    for _ in 0..20 {
        client.send_text(call).await;
        let frame = client.next_json().await;
        assert_eq!(frame["message"], "Internal server error");
        echoes(&mut client, "other route").await;
    }
    let kind = [("route", "backend"), ("kind", "unreachable")];
    assert_eq!(gateway.metric("tidegate_integration_errors_total", &kind).await, 20.0);
    let _back = HttpBackend::start_at(address, |_| async { Answer::body_of("back") }).await;
    let returned = Instant::now();
    client.send_text(call).await;
    assert_eq!(client.next_text().await, "back");
    assert!(returned.elapsed() < Duration::from_secs(1), "{:?}", returned.elapsed());
}

/// reliability, line 31: stalled, and dripping a byte.
#[tokio::test]
async fn a_backend_that_stalls_or_drips_hurts_its_own_route_only() {
    let healthy = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&healthy);
    let backend = HttpBackend::start(move |request| {
        let healthy = switch.load(Ordering::SeqCst);
        async move {
            match request.path.as_str() {
                _ if healthy => Answer::body_of("healthy"),
                "/stall" => Answer::stall(),
                _ => Answer::body_of(vec![b'x'; 1000]).dripping(Duration::from_millis(100)),
            }
        }
    })
    .await;
    let mut toml = echo();
    for name in ["stall", "drip"] {
        let url = format!("{}/{name}", backend.url());
        toml =
            toml.http_proxy(name, &url).integration(name, "timeout_ms", "1000").two_way(name, name);
    }
    let gateway = start(&toml).await;
    let mut bystander = Client::connect(&gateway.ws_url("prod")).await;
    let memory = resident(&gateway);
    let mut waiting = Vec::new();
    for number in 0..20 {
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        for _ in 0..5 {
            let name = if number % 2 == 0 { "stall" } else { "drip" };
            client.send_text(&format!(r#"{{"action":"{name}"}}"#)).await;
        }
        waiting.push(client);
    }
    for _ in 0..50 {
        let asked = Instant::now();
        echoes(&mut bystander, "meanwhile").await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    for client in &mut waiting {
        for _ in 0..5 {
            assert_eq!(client.next_json().await["message"], "Endpoint request timed out");
        }
    }
    let grown = resident(&gateway).saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes for 100 calls that stand still");
    healthy.store(true, Ordering::SeqCst);
    for name in ["stall", "drip"] {
        bystander.send_text(&format!(r#"{{"action":"{name}"}}"#)).await;
        assert_eq!(bystander.next_text().await, "healthy");
    }
}

/// reliability, line 32; design: routes are resolved per message against the current file.
#[tokio::test]
async fn a_reload_under_traffic_drops_no_socket_and_routes_by_the_new_file() {
    let function = FunctionBackend::start(|_| crate::reply("from the function")).await;
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

/// reliability, line 34; tidegate, section 8: labels come from the configuration, never from a
/// payload, a path or an id.
#[tokio::test]
async fn what_clients_send_makes_no_new_series() {
    let gateway = start(&watched_none().two_way("known", "echo")).await;
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
        tidegate_testkit::http_call(&base, "GET", "/prod", &[("Host", &host)], b"").await;
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

/// An api without a `$default` route.
fn watched_none() -> GatewayToml {
    GatewayToml::new().echo("echo")
}

/// reliability, line 36. The figure of a debug build; the task's own size is asserted beside it.
#[tokio::test]
async fn an_idle_connection_costs_less_than_16_kb() {
    let gateway = start(&echo()).await;
    let count = sockets(800);
    let open = async |count: usize| -> Vec<RawClient> {
        stream::iter(0..count)
            .map(|_| async {
                let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
                // Something was said on it, so that what a message needs has come and gone.
                client.send(&Frame::text("x".repeat(2000))).await;
                client.next_frame().await.expect("the echo");
                client
            })
            .buffer_unordered(16)
            .collect()
            .await
    };
    let _warm = open(50).await;
    let before = resident(&gateway);
    let idle = open(count).await;
    let each = resident(&gateway).saturating_sub(before) / count as u64;
    assert!(each < 16 * 1024, "{each} bytes for each of {count} idle connections");
    assert_eq!(gateway.metric("tidegate_connections", &[]).await, (50 + count) as f64);
    drop(idle);
}

/// reliability, line 12, at a smaller figure: whatever clients do, descriptors come back.
#[tokio::test]
async fn descriptors_come_back_after_hostile_connections() {
    let gateway = start(&echo()).await;
    warm(&gateway).await;
    let mut bystander = Client::connect(&gateway.ws_url("prod")).await;
    echoes(&mut bystander, "before").await;
    let before = descriptors(&gateway);
    for number in 0..200 {
        match number % 5 {
            0 => drop(TcpStream::connect(gateway.address()).await.expect("connect")),
            1 => {
                let mut stream = TcpStream::connect(gateway.address()).await.expect("connect");
                let _ = stream.write_all(&[0xff; 100]).await;
            }
            2 => RawClient::connect(&gateway.ws_url("prod")).await.cut(),
            3 => {
                let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
                client.send_bytes(&[0xff; 100]).await;
            }
            _ => {
                let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
                client.send(&Frame::text("half").not_last()).await;
            }
        }
    }
    let back = async || descriptors(&gateway) <= before;
    wait_until(DEADLINE, "the descriptors to come back", back).await;
    // The baseline may have held one of the warm-up's, which had not ended yet.
    let alone = async || gateway.metric("tidegate_connections", &[]).await == 1.0;
    wait_until(DEADLINE, "the bystander to be alone", alone).await;
    echoes(&mut bystander, "after").await;
}
