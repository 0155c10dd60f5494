//! What the bus carries, and what it does not let in.

use super::{server::Server, *};

/// One caller at a time for each connection, many connections: nothing lost, doubled or reordered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_000_tagged_posts_none_is_lost_doubled_or_out_of_order() {
    const CALLERS: usize = 100;
    const EACH: usize = 1000;
    let server = Server::start();
    let [owner, caller]: [Arc<Node>; 2] =
        [start(&server.url(), "t").await, start(&server.url(), "t").await].map(Arc::new);
    let calls = (0..CALLERS).map(|_| {
        let connection = TestConnection::open(&owner, None);
        let (caller, node) = (Arc::clone(&caller), owner.node());
        tokio::spawn(async move {
            for number in 0..EACH {
                assert_eq!(post(&caller, connection.id(), &number.to_string()).await, Ok(node));
            }
            let got = connection.got();
            assert_eq!(got.len(), EACH);
            for (number, message) in got.iter().enumerate() {
                assert_eq!(*message, text(&number.to_string()));
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let counts = caller.counts();
    let posts = (CALLERS * EACH) as u64;
    assert_eq!((counts.sent, counts.receipts, counts.timeouts), (posts, posts, 0));
    assert_eq!((owner.counts().received, counts.waiting, counts.queued_bytes), (posts, 0, 0));
    assert!(counts.published < posts / 2, "what waits goes out together: {counts:?}");
}

#[tokio::test]
async fn poisoned_messages_are_counted_and_dropped() {
    let server = Server::with(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    // Patient enough to take 100 MB in.
    let patient = || options(&server.url(), "t").lease(6 * LEASE);
    let owner: Node = start_with(patient()).await;
    let caller: Node = start_with(patient()).await;
    let connection = TestConnection::open(&owner, None);
    let inbox = format!("t:1:inbox:{}", owner.node());
    let client = redis::Client::open(server.url()).unwrap();
    let mut client = client.get_multiplexed_async_connection().await.unwrap();
    client.set_response_timeout(DEADLINE);
    let hundred_megabytes = vec![b'x'; 100 << 20];
    let malformed = [b"tgb\x01\0\0\0\x01".as_slice(), &[0xff; 64]].concat();
    for message in [
        b"random \xff\x00 bytes".as_slice(),
        b"tgb\x02\0\0\0\x01 a future version",
        &malformed,
        &hundred_megabytes,
    ] {
        let mut publish = redis::cmd("SPUBLISH");
        let heard: u64 = publish.arg(&inbox).arg(message).query_async(&mut client).await.unwrap();
        assert_eq!(heard, 1);
    }
    until("all four are counted", || {
        let counts = owner.counts();
        [
            counts.dropped_foreign,
            counts.dropped_version,
            counts.dropped_malformed,
            counts.dropped_too_long,
        ] == [1; 4]
    })
    .await;
    until_answered("a post afterwards", DEADLINE, &Ok(owner.node()), async || {
        post(&caller, connection.id(), "x").await
    })
    .await;
}

/// With the server's own limit, it cuts off whoever would have to take so much.
#[tokio::test]
async fn a_node_that_the_server_cut_off_is_back_by_itself() {
    let server = Server::start();
    let owner: Node = start(&server.url(), "t").await;
    let caller: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&owner, None);
    assert_eq!(server.cli(&["client", "kill", "type", "pubsub"]), "2");
    until("both have noticed", || {
        [&owner, &caller].iter().all(|node| node.counts().disconnects == 1 && node.delivers())
    })
    .await;
    assert_eq!(post(&caller, connection.id(), "x").await, Ok(owner.node()));
    assert_eq!(connection.closes(), [] as [u16; 0]);
}

#[tokio::test]
async fn a_node_of_another_bus_version_is_not_there_for_a_moment_and_not_gone() {
    let server = Server::start();
    let caller: Node = start(&server.url(), "t").await;
    // It lives, by the directory, and listens elsewhere.
    server.cli(&["hset", "{t}:nodes", "000007", "1"]);
    server.cli(&["set", "{t}:lease:000007", "1"]);
    let there = ConnectionId::new(NodeId::new(7).unwrap(), [1; 8]);
    let absent = ConnectionId::new(NodeId::new(8).unwrap(), [1; 8]);
    until_answered("a post to nobody's node", 3 * LEASE, &Err(DeliveryError::Gone), async || {
        post(&caller, absent, "x").await
    })
    .await;
    assert_eq!(post(&caller, there, "x").await, Err(DeliveryError::Unavailable));
}

#[tokio::test]
async fn a_message_that_no_bus_message_holds_is_refused() {
    let server = Server::start();
    let owner: Node = start(&server.url(), "t").await;
    let caller: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&owner, None);
    let long = "x".repeat(wire::MAX_MESSAGE_BYTES);
    assert_eq!(post(&caller, connection.id(), &long).await, Err(DeliveryError::Unavailable));
    assert_eq!(caller.counts().refused, 1);
    let fits = "x".repeat(wire::MAX_MESSAGE_BYTES - 1024);
    assert_eq!(post(&caller, connection.id(), &fits).await, Ok(owner.node()));
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends_at_its_deadline() {
    let server = Server::start();
    let owner: Node = start_with(options(&server.url(), "t").lease(4 * LEASE)).await;
    let caller: Node =
        start_with(options(&server.url(), "t").answer_within(Duration::from_millis(300))).await;
    let connection = TestConnection::open(&owner, None);
    let begun = Instant::now();
    let answer = caller.post(&home(), connection.id(), connection::stall(900)).await;
    assert_eq!(answer, Err(DeliveryError::Unavailable));
    assert!((250..900).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    until("the timeout is counted", || caller.counts().timeouts == 1).await;
    until("the late answer is counted", || caller.counts().dropped_late == 1).await;
    assert_eq!(post(&caller, connection.id(), "x").await, Ok(owner.node()));
}

/// Not for its time but for what it costs: `cargo test --release -- --ignored --nocapture cost_of`.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn cost_of_a_remote_post() {
    const CALLERS: usize = 200;
    const EACH: usize = 2000;
    let server = Server::start();
    let [owner, caller]: [Arc<Node>; 2] =
        [start(&server.url(), "t").await, start(&server.url(), "t").await].map(Arc::new);
    let posts = (CALLERS * EACH) as f64;
    for callers in [&owner, &caller] {
        let of_server = || -> f64 {
            let info = server.cli(&["info", "cpu"]);
            let seconds = |key| -> f64 {
                let line = info.lines().find_map(|line: &str| line.strip_prefix(key)).unwrap();
                line.trim().parse().unwrap()
            };
            seconds("used_cpu_sys:") + seconds("used_cpu_user:")
        };
        let of_self = || -> f64 {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
            let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
            (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
        };
        let (begun, server_before, self_before) = (Instant::now(), of_server(), of_self());
        let calls = (0..CALLERS).map(|_| {
            let connection = TestConnection::open(&owner, None);
            let caller = Arc::clone(callers);
            tokio::spawn(async move {
                for _ in 0..EACH {
                    assert!(post(&caller, connection.id(), "a message of a chat").await.is_ok());
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        let where_to = if Arc::ptr_eq(callers, &owner) { "local" } else { "remote" };
        println!(
            "{where_to}: {:.0} posts/s, {:.2} us of both nodes' CPU, {:.2} us of Redis's, {:.1} posts a bus message",
            posts / begun.elapsed().as_secs_f64(),
            (of_self() - self_before) * 1e6 / posts,
            (of_server() - server_before) * 1e6 / posts,
            posts / (callers.counts().published as f64),
        );
    }
}
