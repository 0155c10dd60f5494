//! Clients that do not read (reliability, lines 22 and 23; tidegate, section 3; websocket-api,
//! section 10).
//!
//! In:  posts to a client that has stopped reading, under each policy of `slow_client`.
//! Out: what the caller is told, what the client reads once it reads again, what is counted.
//!
//! Holds always: what waits for one client is bounded, and a bystander notices nothing of it.

use std::time::{Duration, Instant};

use tidegate_testkit::{
    Client, DEADLINE, FunctionBackend, HttpClient, Opcode, RawClient, TestGateway, wait_until,
};

use crate::{connection_id, echoes, resources::resident, start, watched_echo};

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
