//! What connections cost the process, and that it is given back (reliability, lines 7, 12 and 36).
//!
//! In:  connections that are idle, half open, slow to begin, or hostile.
//! Out: the process's memory and descriptors, and when it ends a connection by itself.
//!
//! Holds always: each test has a figure of before to compare with, or a bystander. Counts are
//! scaled down to what a test may take.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tidegate_testkit::{
    Client, DEADLINE, Frame, FunctionBackend, RawClient, TestGateway, wait_until, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use crate::{echo, echoes, reply, start, watched_by};

/// The process's resident memory, bytes.
pub(crate) fn resident(gateway: &TestGateway) -> u64 {
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
pub(crate) fn sockets(wanted: usize) -> usize {
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

/// reliability, line 12: a `$disconnect` that waits for its turn needs no socket.
#[tokio::test]
async fn clients_that_have_left_keep_no_descriptor_while_their_disconnects_wait() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let function = FunctionBackend::start_async(move |event| {
        let opened = Arc::clone(&opened);
        async move {
            if event["requestContext"]["eventType"] == "DISCONNECT" {
                opened.acquire().await.expect("never closed").forget();
            }
            reply("done").into()
        }
    })
    .await;
    let toml = watched_by(&function).limit("lifecycle_calls_in_flight", "1");
    let gateway = start(&toml).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(Client::connect(&gateway.ws_url("prod")).await);
    }
    let with_all = descriptors(&gateway);
    for mut client in clients {
        client.close(1000, "").await;
    }
    let free = async || descriptors(&gateway) <= with_all - 29;
    wait_until(DEADLINE, "the descriptors of those who left", free).await;
    assert!(function.events_of("DISCONNECT").len() <= 1, "the others wait for the first");
    gate.add_permits(30);
    let all_ran = async || function.events_of("DISCONNECT").len() == 30;
    wait_until(DEADLINE, "each $disconnect to run", all_ran).await;
}
