//! Frames and their limits (websocket-api, 3.5, 3.6 and 17.4; reliability, lines 3 and 4;
//! tidegate, section 4 on binary messages).
//!
//! In:  frames, one by one, right and wrong, large and slow.
//! Out: the exact close code, or the exact frames.
//!
//! Holds always: a limit is looked at from both sides, one byte apart. How each cause of an end
//! is told to `$disconnect` is in `close_codes`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tidegate_testkit::{
    Answer, Client, DEADLINE, Frame, FunctionBackend, GatewayToml, HttpBackend, Opcode, RawClient,
    ReceivedFrame, TestGateway, wait_until,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{Barrier, Semaphore},
};

use crate::{connection_id, echo, reply, start, watched_by};

const FRAME: usize = 32 * 1024;
const MESSAGE: usize = 128 * 1024;

/// As [`echo`], with the connection's id known.
async fn watched_echo(
    change: impl FnOnce(GatewayToml) -> GatewayToml,
) -> (TestGateway, FunctionBackend) {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function).echo("echo").two_way("$default", "echo");
    (start(&change(toml)).await, function)
}

/// Reads one message frame by frame; the frames.
async fn next_frames(client: &mut RawClient) -> Vec<ReceivedFrame> {
    let mut frames = Vec::new();
    loop {
        let frame = client.next_frame().await.expect("a frame");
        let last = frame.last;
        frames.push(frame);
        if last {
            return frames;
        }
    }
}

/// The payload of a message that came in frames of the right kinds.
async fn next_payload(client: &mut RawClient, opcode: Opcode) -> Vec<u8> {
    let frames = next_frames(client).await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame.opcode).collect();
    assert_eq!(kinds[0], opcode);
    assert!(kinds[1..].iter().all(|kind| *kind == Opcode::Continuation), "{kinds:?}");
    frames.into_iter().flat_map(|frame| frame.payload).collect()
}

/// websocket-api, item 47; reliability, line 4.
#[tokio::test]
async fn a_frame_of_32_kib_is_taken_and_one_byte_more_closes_1009() {
    let gateway = start(&echo()).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    client.send(&Frame::text(vec![b'x'; FRAME])).await;
    assert_eq!(next_payload(&mut client, Opcode::Text).await, vec![b'x'; FRAME]);
    client.send(&Frame::text(vec![b'x'; FRAME + 1])).await;
    assert_eq!(client.next_close().await.0, 1009);
}

/// websocket-api, item 47, for a continuation frame.
#[tokio::test]
async fn a_continuation_frame_over_32_kib_closes_1009_too() {
    let gateway = start(&echo()).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    client.send(&Frame::text("x").not_last()).await;
    client.send(&Frame::continuation(vec![b'x'; FRAME + 1])).await;
    assert_eq!(client.next_close().await.0, 1009);
}

/// websocket-api, item 48; reliability, line 4.
#[tokio::test]
async fn four_fragments_of_32_kib_are_one_event() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function).two_way("$default", "watcher")).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    client.send(&Frame::text(vec![b'a'; FRAME]).not_last()).await;
    client.send(&Frame::continuation(vec![b'b'; FRAME]).not_last()).await;
    client.send(&Frame::continuation(vec![b'c'; FRAME]).not_last()).await;
    client.send(&Frame::continuation(vec![b'd'; FRAME])).await;
    let event = function.next_event("MESSAGE").await;
    let whole: String = ["a", "b", "c", "d"].map(|letter| letter.repeat(FRAME)).concat();
    assert!(event["body"] == whole.as_str(), "the four fragments, one after another");
    next_frames(&mut client).await;
    assert_eq!(function.events_of("MESSAGE").len(), 1);
}

/// websocket-api, item 49; reliability, line 4. The bytes of the last frame decide, not its head.
#[tokio::test]
async fn a_message_of_one_byte_over_128_kib_closes_1009() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function).route("$default", "watcher")).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    client.send(&Frame::text(vec![b'x'; FRAME]).not_last()).await;
    for _ in 1..MESSAGE / FRAME {
        client.send(&Frame::continuation(vec![b'x'; FRAME]).not_last()).await;
    }
    client.send(&Frame::continuation("x")).await;
    assert_eq!(client.next_close().await.0, 1009);
    assert_eq!(function.events_of("MESSAGE").len(), 0);
}

/// reliability, line 4, with limits of one's own.
#[tokio::test]
async fn own_limits_are_as_exact() {
    let toml = echo().limit("max_message_bytes", "1000").limit("max_frame_bytes", "600");
    let gateway = start(&toml).await;
    let connect = async || RawClient::connect(&gateway.ws_url("prod")).await;
    let two = |first: usize, second: usize| {
        [Frame::text(vec![b'x'; first]).not_last(), Frame::continuation(vec![b'y'; second])]
            .map(|frame| frame.encode())
            .concat()
    };
    let mut client = connect().await;
    client.send_bytes(&two(600, 400)).await;
    assert_eq!(next_payload(&mut client, Opcode::Text).await.len(), 1000);
    client.send_bytes(&two(600, 401)).await;
    assert_eq!(client.next_close().await.0, 1009);
    let mut client = connect().await;
    client.send_bytes(&two(601, 1)).await;
    assert_eq!(client.next_close().await.0, 1009);
}

/// reliability, line 4, and websocket-api, 3.7: the close frame reaches a client that has not
/// ended sending, rather than a reset.
#[tokio::test]
async fn a_1009_reaches_a_client_that_is_still_sending() {
    let gateway = start(&echo()).await;
    for _ in 0..5 {
        let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
        let total = 4 * 1024 * 1024;
        client.send_bytes(&Frame::text("").claiming(total).encode()).await;
        for _ in 0..total / 65_536 {
            client.send_bytes(&[0x37; 65_536]).await;
        }
        assert_eq!(client.next_close().await.0, 1009);
    }
}

/// websocket-api, item 50: also where the api has a route for everything.
#[tokio::test]
async fn a_binary_message_closes_1003_and_reaches_no_integration() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function).route("$default", "watcher")).await;
    for frame in [Frame::new(Opcode::Binary, r#"{"action":"x"}"#), Frame::new(Opcode::Binary, "")] {
        let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
        client.send(&frame).await;
        assert_eq!(client.next_close().await.0, 1003);
    }
    assert_eq!(function.events_of("MESSAGE").len(), 0);
}

/// websocket-api, item 51; RFC 6455, 5.5.2: the pong has the ping's payload.
#[tokio::test]
async fn a_ping_is_answered_by_its_pong_and_by_nothing_else() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function).route("$default", "watcher")).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    let payloads = [vec![], b"hello".to_vec(), vec![0xff; 125]];
    for payload in &payloads {
        client.send(&Frame::new(Opcode::Ping, payload.clone())).await;
    }
    client.send(&Frame::new(Opcode::Pong, "unasked")).await;
    for payload in payloads {
        let pong = client.next_frame().await.expect("a pong");
        assert_eq!((pong.opcode, pong.payload), (Opcode::Pong, payload));
    }
    client.send(&Frame::text("end")).await;
    assert_eq!(function.next_event("MESSAGE").await["body"], "end");
    assert_eq!(function.events_of("MESSAGE").len(), 1, "control frames are no events");
}

/// RFC 6455, 5.4: control frames may come between fragments.
#[tokio::test]
async fn a_ping_between_fragments_is_answered_before_the_message_ends() {
    let gateway = start(&echo()).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    client.send(&Frame::text("he").not_last()).await;
    client.send(&Frame::new(Opcode::Ping, "p")).await;
    assert_eq!(client.next_frame().await.expect("a pong").opcode, Opcode::Pong);
    client.send(&Frame::continuation("").not_last()).await;
    client.send(&Frame::continuation("llo")).await;
    assert_eq!(next_payload(&mut client, Opcode::Text).await, b"hello");
}

/// A character may be cut by a fragment's end, and frames by a packet's.
#[tokio::test]
async fn a_message_that_arrives_byte_by_byte_is_whole() {
    let gateway = start(&echo()).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    let text = "grüße 😀";
    let (head, tail) = text.as_bytes().split_at(3); // inside the ü
    let bytes = [Frame::text(head).not_last().encode(), Frame::continuation(tail).encode()];
    for byte in bytes.concat() {
        client.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(next_payload(&mut client, Opcode::Text).await, text.as_bytes());
    // And two messages and a ping in one packet.
    let bytes = [Frame::text("1"), Frame::new(Opcode::Ping, ""), Frame::text("")];
    client.send_bytes(&bytes.map(|frame| frame.encode()).concat()).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(client.next_frame().await.expect("an answer").opcode);
    }
    kinds.sort_by_key(|kind| *kind == Opcode::Pong);
    assert_eq!(kinds, [Opcode::Text, Opcode::Text, Opcode::Pong]);
}

/// reliability, line 3: the exact close code, and no other connection notices.
#[tokio::test]
async fn violations_close_with_their_code_and_nobody_else_notices() {
    let gateway = start(&echo()).await;
    let mut bystander = Client::connect(&gateway.ws_url("prod")).await;
    let close_of = |payload: &[u8]| Frame::new(Opcode::Close, payload);
    let mut cases: Vec<(&str, Vec<Frame>, u16)> = vec![
        ("unmasked", vec![Frame::text("x").unmasked()], 1002),
        ("RSV1", vec![Frame::text("x").rsv(4)], 1002),
        ("RSV2", vec![Frame::text("x").rsv(2)], 1002),
        ("RSV3", vec![Frame::new(Opcode::Ping, "").rsv(1)], 1002),
        ("fragmented ping", vec![Frame::new(Opcode::Ping, "x").not_last()], 1002),
        ("fragmented close", vec![Frame::close(1000, "").not_last()], 1002),
        ("ping of 126 bytes", vec![Frame::new(Opcode::Ping, vec![0; 126])], 1002),
        ("close of 126 bytes", vec![Frame::close(1000, &"x".repeat(124))], 1002),
        ("continuation of nothing", vec![Frame::continuation("x")], 1002),
        ("text inside a message", vec![Frame::text("x").not_last(), Frame::text("y")], 1002),
        (
            "binary inside a message",
            vec![Frame::text("x").not_last(), Frame::new(Opcode::Binary, "y")],
            1002,
        ),
        ("close of one byte", vec![close_of(&[3])], 1002),
        ("bad UTF-8", vec![Frame::text([0xc3, 0x28])], 1007),
        ("cut UTF-8", vec![Frame::text([0xe2, 0x82])], 1007),
        ("surrogate", vec![Frame::text([0xed, 0xa0, 0x80])], 1007),
        (
            "bad UTF-8 in a later fragment",
            vec![Frame::text("ok").not_last(), Frame::continuation([0xff])],
            1007,
        ),
        ("bad UTF-8 as a reason", vec![close_of(&[0x03, 0xe8, 0xff])], 1007),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(("reserved opcode", vec![Frame::new(Opcode::Reserved(opcode), "x")], 1002));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(("bad close code", vec![Frame::close(code, "")], 1002));
    }
    let mut wrong = Vec::new();
    for (what, frames, code) in cases {
        let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        client.send_bytes(&bytes).await;
        let seen = client.next_close().await.0;
        if seen != code {
            wrong.push(format!("{what} ({frames:?}): closed {seen}, not {code}"));
        }
        bystander.send_text(what).await;
        assert_eq!(bystander.next_text().await, what);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// websocket-api, item 52 and 3.6 (decision): control frames do not reset the idle timer.
#[tokio::test]
async fn pings_do_not_keep_an_idle_connection_open() {
    let gateway = start(&echo().limit("idle_timeout_s", "1")).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    let opened = Instant::now();
    let close = loop {
        assert!(opened.elapsed() < Duration::from_secs(5), "pings keep it open");
        client.send(&Frame::new(Opcode::Ping, "")).await;
        match client.next_frame().await.expect("a close frame before the end") {
            frame if frame.opcode == Opcode::Pong => {}
            frame => break frame.close(),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(close, (1001, "Going away".to_owned()));
    let age = opened.elapsed();
    assert!((950..4000).contains(&age.as_millis()), "closed after {age:?}");
}

/// websocket-api, item 53 and 3.6: a message in either direction counts.
#[tokio::test]
async fn messages_in_either_direction_keep_a_connection_open() {
    let (gateway, function) = watched_echo(|toml| toml.limit("idle_timeout_s", "1")).await;
    let mut sender = Client::connect(&gateway.ws_url("prod")).await;
    connection_id(&function).await;
    let mut receiver = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        sender.send_text("still here").await;
        assert_eq!(sender.next_text().await, "still here");
        assert_eq!(gateway.post_to("prod", &id, b"news").await.status, 200);
        assert_eq!(receiver.next_text().await, "news");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(receiver.next_close().await, (1001, "Going away".to_owned()));
}

/// websocket-api, item 54.
#[tokio::test]
async fn at_its_maximum_age_a_connection_is_closed_despite_traffic() {
    let gateway = start(&echo().limit("max_connection_s", "2")).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    let opened = Instant::now();
    let close = loop {
        assert!(opened.elapsed() < Duration::from_secs(10), "traffic keeps it open");
        client.send(&Frame::text("busy")).await;
        match client.next_frame().await.expect("a close frame before the end") {
            frame if frame.opcode == Opcode::Text => {}
            frame => break frame.close(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(close, (1001, "Going away".to_owned()));
    let age = opened.elapsed();
    assert!((1950..6000).contains(&age.as_millis()), "closed after {age:?}");
}

/// websocket-api, item 55 and 3.9: the first message's answer waits for the second's.
#[tokio::test]
async fn two_messages_of_one_connection_are_at_the_backend_at_once() {
    let both = Arc::new(Barrier::new(2));
    let function = FunctionBackend::start_async(move |event| {
        let both = Arc::clone(&both);
        async move {
            if event["requestContext"]["eventType"] == "MESSAGE" {
                both.wait().await;
            }
            reply(event["body"].as_str().unwrap_or_default()).into()
        }
    })
    .await;
    let toml = GatewayToml::new().function("f", &function.url()).two_way("$default", "f");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("1").await;
    client.send_text("2").await;
    let mut texts = [client.next_text().await, client.next_text().await];
    texts.sort();
    assert_eq!(texts, ["1", "2"]);
}

/// A backend that answers nothing until permits are added.
async fn gated() -> (HttpBackend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let backend = HttpBackend::start(move |request| {
        let opened = Arc::clone(&opened);
        async move {
            opened.acquire().await.expect("never closed").forget();
            Answer::body_of(request.body)
        }
    })
    .await;
    (backend, gate)
}

/// tidegate, section 3: beyond `max_in_flight` reading stops; nothing is lost.
#[tokio::test]
async fn no_more_than_max_in_flight_messages_are_at_integrations_and_none_is_lost() {
    let (backend, gate) = gated().await;
    let toml = GatewayToml::new()
        .http_proxy("b", &backend.url())
        .two_way("$default", "b")
        .limit("max_in_flight", "3");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for number in 0..20 {
        client.send_text(&number.to_string()).await;
    }
    backend.wait_for_requests(3).await;
    tokio::time::sleep(Duration::from_millis(200)).await; // for what must not happen
    assert_eq!(backend.count(), 3);
    // Another connection has a share of its own.
    let mut other = Client::connect(&gateway.ws_url("prod")).await;
    other.send_text("other").await;
    backend.wait_for_requests(4).await;
    gate.add_permits(21);
    let mut numbers = Vec::new();
    for _ in 0..20 {
        numbers.push(client.next_text().await.parse::<u32>().expect("a number"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(0..20));
    assert_eq!(other.next_text().await, "other");
    assert!(backend.most_in_flight() <= 4, "{}", backend.most_in_flight());
}

/// A connection has stopped reading at its two messages in flight when a reload allows a hundred.
/// The end of a call was compared with the new limit, so nobody woke the connection, and what the
/// client had sent stayed unread.
#[tokio::test]
async fn a_reload_that_raises_max_in_flight_leaves_no_connection_waiting() {
    let (backend, gate) = gated().await;
    let toml = GatewayToml::new().http_proxy("b", &backend.url()).two_way("$default", "b");
    let gateway = start(&toml.clone().limit("max_in_flight", "2")).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for number in 0..10 {
        client.send_text(&number.to_string()).await;
    }
    backend.wait_for_requests(2).await;
    gateway.reload(&toml.limit("max_in_flight", "100").build()).await;
    wait_until(DEADLINE, "the reload", async || {
        gateway.metric("tidegate_reloads_total", &[("outcome", "accepted")]).await == 1.0
    })
    .await;
    gate.add_permits(10);
    for _ in 0..10 {
        client.next_text().await;
    }
}

/// tidegate, section 3: reading stops, so the client is held back by TCP, not by our memory.
#[tokio::test]
async fn a_client_beyond_max_in_flight_is_held_back_by_tcp() {
    let (backend, gate) = gated().await;
    let toml = GatewayToml::new()
        .http_proxy("b", &backend.url())
        .route("$default", "b")
        .limit("max_in_flight", "1");
    let gateway = start(&toml).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    let frame = Frame::text(vec![b'x'; FRAME]).encode();
    // Kernel buffers on loopback take some megabytes; a gateway that read on would take all.
    let mut sent = 0;
    let stalled = loop {
        assert!(sent < 2000, "64 MB were taken while one message is in flight");
        let write = client.stream().write_all(&frame);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(written) => written.expect("the connection is open"),
            Err(_) => break sent,
        }
        sent += 1;
    };
    assert_eq!(backend.count(), 1);
    gate.add_permits(stalled);
    let what = format!("all of {stalled} messages at the backend");
    wait_until(DEADLINE, &what, async || backend.count() >= stalled).await;
}

/// websocket-api, 3.5: outbound messages are split into frames of at most 32 KiB.
#[tokio::test]
async fn long_messages_to_clients_come_in_frames_of_32_kib() {
    let (gateway, function) = watched_echo(|toml| toml).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for (length, lengths) in [
        (FRAME, vec![FRAME]),
        (FRAME + 1, vec![FRAME, 1]),
        (100_000, vec![FRAME, FRAME, FRAME, 100_000 - 3 * FRAME]),
        (MESSAGE, vec![FRAME; 4]),
        (0, vec![0]),
    ] {
        // "é" is two bytes, so frames end inside characters too.
        let mut body = "é".repeat(length / 2).into_bytes();
        body.resize(length, b'x');
        assert_eq!(gateway.post_to("prod", &id, &body).await.status, 200);
        let frames = next_frames(&mut client).await;
        let seen: Vec<_> = frames.iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(seen, lengths);
        assert!(frames.iter().all(|frame| frame.rsv == 0));
        assert_eq!(frames[0].opcode, Opcode::Text);
        assert!(frames[1..].iter().all(|frame| frame.opcode == Opcode::Continuation));
        assert!(frames.into_iter().flat_map(|frame| frame.payload).eq(body));
    }
}

/// websocket-api, 3.5, for replies of integrations and for a mock's.
#[tokio::test]
async fn long_replies_come_in_frames_of_32_kib_too() {
    let function = FunctionBackend::start(|_| reply(&"y".repeat(100_000))).await;
    let toml = echo().function("f", &function.url()).two_way("long", "f");
    let gateway = start(&toml).await;
    let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
    client.send(&Frame::text(r#"{"action":"long"}"#)).await;
    let lengths = |frames: Vec<ReceivedFrame>| {
        frames.iter().map(|frame| frame.payload.len()).collect::<Vec<_>>()
    };
    let split = vec![FRAME, FRAME, FRAME, 100_000 - 3 * FRAME];
    assert_eq!(lengths(next_frames(&mut client).await), split);
    for at in 0..4 {
        let (from, to) = (at * 25_000, (at + 1) * 25_000);
        let payload = vec![b'z'; to - from];
        let frame = if at == 0 { Frame::text(payload) } else { Frame::continuation(payload) };
        client.send(&if at == 3 { frame } else { frame.not_last() }).await;
    }
    assert_eq!(lengths(next_frames(&mut client).await), split);
}

/// tidegate, section 4: binary messages for an HTTP backend.
#[tokio::test]
async fn a_binary_message_passes_to_an_http_backend_and_back() {
    let backend = HttpBackend::start(|request| async move {
        let kind =
            if request.body == [1, 2, 0xff] { "application/octet-stream" } else { "text/plain" };
        Answer::body_of(request.body).header("Content-Type", kind)
    })
    .await;
    let toml = GatewayToml::new()
        .api("binary", r#""pass""#)
        .http_proxy("b", &backend.url())
        .two_way("$default", "b")
        .route("x", "b");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_binary(&[1, 2, 0xff]).await;
    assert_eq!(client.next_binary().await, vec![1, 2, 0xff]);
    let request = backend.next_request().await;
    assert_eq!(request.header("content-type"), Some("application/octet-stream"));
    // No route key is looked for in a binary message.
    client.send_binary(br#"{"action":"x"}"#).await;
    assert_eq!(client.next_text().await, r#"{"action":"x"}"#, "text by its content type");
    let request = backend.next_request().await;
    assert_eq!(request.header("tidegate-route-key"), Some("$default"));
}

/// tidegate, section 4: binary messages for a function.
#[tokio::test]
async fn a_binary_message_passes_to_a_function_as_base64_and_back() {
    let function = FunctionBackend::start(|event| {
        json!({
            "statusCode": 200,
            "body": event["body"],
            "isBase64Encoded": event["isBase64Encoded"],
        })
    })
    .await;
    let toml = GatewayToml::new()
        .api("binary", r#""pass""#)
        .function("f", &function.url())
        .two_way("$default", "f");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_binary(&[0, 1, 0xfe, 0xff]).await;
    assert_eq!(client.next_binary().await, vec![0, 1, 0xfe, 0xff]);
    let event = function.next_event("MESSAGE").await;
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("AAH+/w=="), &json!(true)),);
    client.send_text("text").await;
    assert_eq!(client.next_text().await, "text");
    assert_eq!(function.next_event("MESSAGE").await["isBase64Encoded"], false);
}

/// tidegate, section 6: `POST ...?binary=true`, where the api has `binary = "pass"`.
#[tokio::test]
async fn a_binary_post_needs_an_api_that_passes_binary() {
    for (binary, status) in [(r#""pass""#, 200), (r#""close""#, 400)] {
        let (gateway, function) = watched_echo(|toml| toml.api("binary", binary)).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        let id = connection_id(&function).await;
        let target = format!("/prod/@connections/{id}?binary=true");
        let response = gateway.manage("POST", &target, &[0xff, 0]).await;
        assert_eq!(response.status, status, "{response:?}");
        if status == 200 {
            assert_eq!(client.next_binary().await, vec![0xff, 0]);
        } else {
            assert_eq!(response.header("x-amzn-errortype"), Some("BadRequestException"));
        }
        client.ping_pong().await;
    }
}
