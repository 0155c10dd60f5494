//! Nodes that end in order, one after the other, under traffic (reliability, line 29; tidegate,
//! section 7, on drain).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use tidegate_testkit::{
    DEADLINE, Ended, GatewayToml, HttpResponse, RedisServer, TestGateway, try_http_call, wait_until,
};

use crate::{
    Backend, Cluster, LEASE, Member, knows_who_is_gone, member::try_member, members, start_nodes,
};

#[tokio::test]
async fn a_node_that_drains_spreads_its_clients_leaves_the_directory_and_ends_in_order() {
    let mut cluster = Cluster::start_with(2, |toml| toml.set("drain", "spread_s", "2")).await;
    let mut leaving = cluster.nodes.pop().expect("a second node");
    let stays = &cluster.nodes[0];
    let clients = members(&leaving, 80, "join=room").await;
    knows_who_is_gone(stays).await;
    let started = Instant::now();
    let unready = async {
        loop {
            match try_http_call(&leaving.admin_url(), "GET", "/health/ready", &[], b"").await {
                Some(answer) if answer.status == 503 => return answer.text().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    leaving.signal("TERM").await;
    assert_eq!(unready.await, "not ready: draining\n");
    // Nobody new.
    assert!(try_member(leaving.ws_url("prod")).await.is_err());
    // Its clients are reached for as long as they are there.
    let mut reached = 0;
    for client in clients.iter().rev().take(40) {
        let answer = stays.post_to("prod", &client.id, b"still there").await;
        match answer.status {
            200 => reached += 1,
            _ => assert_eq!(answer.status, 410, "{answer:?}"),
        }
    }
    assert!(reached > 0, "nobody was there any more");
    let mut ends = Vec::new();
    for client in &clients {
        let (code, at) = client.wait_for_end().await;
        assert_eq!(code, 1001);
        ends.push(at - started);
    }
    ends.sort_unstable();
    let texts: usize = clients.iter().map(|client| client.texts().len()).sum();
    assert_eq!(texts, reached, "what was answered 200 was delivered");
    // Evenly: no half second has more than twice its share.
    let crowd = ends.iter().map(|at| {
        let near = |other: &&Duration| **other >= *at && **other < *at + Duration::from_millis(500);
        ends.iter().filter(near).count()
    });
    let crowd = crowd.max().expect("there were some");
    assert!(crowd <= 40, "{crowd} of 80 within half a second of 2: {ends:?}");
    let ended = leaving.wait_for_end(DEADLINE).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    // At once: it is not a node that has died, of which others must find out.
    for client in &clients {
        let gone = stays.post_to("prod", &client.id, b"x").await;
        assert_eq!(gone.status, 410, "{gone:?}");
    }
    let count = stays.manage("GET", "/prod/@groups/room", b"").await;
    assert_eq!(count.json()["connections"], 0);
    assert_eq!(cluster.redis.cli(&["hlen", "{tidegate}:nodes"]).await, "1");
    for client in &clients {
        let events = cluster.backend.disconnect_events_of(&client.id);
        assert_eq!(events.len(), 1, "each once, by the node itself");
        assert_eq!(events[0]["requestContext"]["disconnectStatusCode"], 1001);
    }
    assert_eq!(stays.metric("tidegate_bus_orphans_total", &[]).await, 0.0);
}

/// Its tombstone says that it has left, however new the link is; one such id must not make a batch
/// of others fail.
#[tokio::test]
async fn who_has_left_is_gone_also_right_after_a_blip_of_the_link() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let toml = backend.toml().redis(&[redis.url()]).set("drain", "spread_s", "0");
    let toml = toml.set("store", "node_lease_s", "10");
    let mut nodes = start_nodes(&vec![toml.clone(); 3]).await;
    let leaving = nodes.pop().expect("a third node");
    let stays = members(&nodes[1], 1, "").await;
    let left = members(&leaving, 1, "").await;
    leaving.terminate(DEADLINE).await;
    // It knows no more than what stands in the redis.
    nodes.extend(start_nodes(&[toml]).await);
    let lost = [("outcome", "lost")];
    let links = async |node: &TestGateway| node.metric("tidegate_bus_links_total", &lost).await;
    let body = json!({ "connectionIds": [stays[0].id, left[0].id], "data": "hi" }).to_string();
    let due = json!({ "delivered": 1, "gone": [left[0].id] });
    for kind in ["normal", "pubsub"] {
        redis.cli(&["client", "kill", "type", kind]).await;
    }
    for node in &nodes {
        wait_until(DEADLINE, "the blip to be noticed", async || links(node).await >= 1.0).await;
        node.wait_until_ready().await;
        let gone = node.post_to("prod", &left[0].id, b"x").await;
        assert_eq!(gone.status, 410, "{gone:?}");
    }
    for node in &nodes {
        let batch = node.manage("POST", "/prod/@connections", body.as_bytes()).await;
        assert_eq!((batch.status, batch.json()), (200, due.clone()));
    }
}

/// What a drain's deadline cuts off is run by another node.
#[tokio::test]
async fn what_a_drain_cannot_finish_is_finished_by_another_node() {
    let mut cluster = Cluster::start_with(2, |toml| {
        toml.set("drain", "spread_s", "0")
            .set("drain", "deadline_s", "1")
            .limit("lifecycle_calls_in_flight", "2")
    })
    .await;
    let leaving = cluster.nodes.pop().expect("a second node");
    let clients = members(&leaving, 30, "").await;
    cluster.backend.disconnects_take(Duration::from_millis(300));
    let ended = leaving.terminate(DEADLINE).await;
    let cut_off = ended.stderr.lines().any(|line| line.contains("cut_off"));
    assert!(cut_off, "the log says what was cut off:\n{}", ended.stderr);
    assert_warned(&ended, "another node runs the $disconnects that are missing");
    cluster.backend.disconnects_take(Duration::ZERO);
    let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    wait_until(DEADLINE, "each to be run", async || {
        ids.iter().all(|id| cluster.backend.disconnects_of(id) > 0)
    })
    .await;
    let runs = cluster.backend.disconnects();
    // Under way when the deadline came: nobody knows whether those were made.
    let twice = runs.values().filter(|times| **times == 2).count();
    assert!(runs.values().all(|times| *times <= 2) && twice <= 2, "{runs:?}");
}

/// The log warns that something was cut off, and says what becomes of it.
fn assert_warned(ended: &Ended, fate: &str) {
    let warnings = ended.stderr.lines().filter(|line| line.contains("WARN"));
    let told: Vec<_> = warnings.filter(|line| line.contains("the drain's deadline")).collect();
    let is_told = told.len() == 1 && told[0].contains(fate) && !told[0].contains(r#""cut_off":0"#);
    assert!(is_told, "{fate}:\n{}", ended.stderr);
}

/// A Redis that falls silent when the drain is all but over: leaving the directory must not take the
/// time that its commands are given.
#[tokio::test]
async fn a_redis_that_freezes_during_a_drain_does_not_hold_the_node_beyond_its_deadline() {
    let mut cluster = Cluster::start_with(1, |toml| {
        toml.set("drain", "spread_s", "0")
            .set("drain", "deadline_s", "4")
            // With it go the times that the commands are given.
            .set("store", "node_lease_s", "10")
    })
    .await;
    let mut node = cluster.nodes.pop().expect("one");
    let _client = members(&node, 1, "").await;
    cluster.backend.disconnects_take(DEADLINE);
    let started = Instant::now();
    node.signal("TERM").await;
    // So late that the node has not missed it yet when its time is over.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(cluster.backend.disconnecting(), 1, "the node has something to wait for");
    cluster.redis.freeze().await;
    let ended = node.wait_for_end(DEADLINE).await;
    let took = started.elapsed();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(took < Duration::from_millis(4500), "after {took:?} of 4 s");
    assert_warned(&ended, "while the redis was away");
}

/// Whether a node may run its `$disconnect`s, it does not know while the Redis is away. They are left
/// to another node, which finds them in a Redis that kept its data.
#[tokio::test]
async fn a_node_that_ends_while_the_redis_is_away_leaves_its_disconnects_to_another_one() {
    let mut cluster = Cluster::start_with(2, |toml| {
        toml.set("drain", "spread_s", "0").set("drain", "deadline_s", "2")
    })
    .await;
    let leaving = cluster.nodes.pop().expect("a second node");
    let clients = members(&leaving, 5, "").await;
    cluster.redis.freeze().await;
    wait_until(DEADLINE, "its lease to be over", async || {
        leaving.metric("tidegate_bus_lease_held", &[]).await == 0.0
    })
    .await;
    let ended = leaving.terminate(DEADLINE).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_warned(&ended, "while the redis was away");
    for client in &clients {
        assert_eq!(client.wait_for_end().await.0, 1001);
    }
    assert!(cluster.backend.disconnects().is_empty(), "it could not know");
    cluster.redis.thaw().await;
    let ids = clients.iter().map(|client| client.id.as_str());
    cluster.backend.each_is_disconnected_once(ids, "by the other one").await;
    let events = cluster.backend.disconnect_events_of(&clients[0].id);
    assert_eq!(events[0]["requestContext"]["disconnectStatusCode"], 1006);
}

/// A drain may last for long, and two leases are due to the clients of a node that has died.
#[tokio::test]
async fn a_node_that_drains_hands_on_the_dead_node_that_it_has_claimed() {
    /// How long a `$disconnect` takes, of which two are run at once.
    const TAKES: Duration = Duration::from_millis(100);
    let mut cluster = Cluster::start_with(2, |toml| {
        toml.set("drain", "spread_s", "1")
            .set("drain", "deadline_s", "20")
            .limit("lifecycle_calls_in_flight", "4")
    })
    .await;
    let backend = &cluster.backend;
    let dying = cluster.nodes.pop().expect("a second node");
    let leaving = cluster.nodes.pop().expect("a first node");
    let clients = members(&dying, 40, "").await;
    // Keeps the drain waiting.
    backend.connects_take(DEADLINE);
    let upgrading = tokio::spawn(try_member(leaving.ws_url("prod")));
    wait_until(DEADLINE, "the $connect", async || backend.connects() == 41).await;
    backend.connects_take(Duration::ZERO);
    backend.disconnects_take(TAKES);
    dying.kill().await;
    wait_until(DEADLINE, "the claim", async || backend.disconnects().len() >= 4).await;
    leaving.signal("TERM").await;
    let stays = start_nodes(&[backend.toml().redis(&[cluster.redis.url()])]).await;
    let started = Instant::now();
    let ids = clients.iter().map(|client| client.id.as_str());
    backend.each_is_disconnected_once(ids, "each").await;
    let took = backend.last_disconnect_at().expect("there were some") - started;
    assert!(took <= 2 * LEASE + 20 * TAKES, "all were run only after {took:?}");
    let by_it = leaving.metric("tidegate_disconnect_total", &[("cause", "node_lost")]).await;
    let by_other = stays[0].metric("tidegate_disconnect_total", &[("cause", "node_lost")]).await;
    assert!(by_it < 40.0 && by_it + by_other == 40.0, "{by_it} and {by_other}");
    assert_eq!(stays[0].metric("tidegate_bus_claimed_nodes_total", &[]).await, 0.0);
    upgrading.abort();
}

/// Where clients and posts go: the nodes that are not on their way out.
struct Balancer(Mutex<Vec<Arc<TestGateway>>>);

impl Balancer {
    fn pick(&self, number: usize) -> Arc<TestGateway> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&nodes[number % nodes.len()])
    }

    fn swap(&self, change: impl FnOnce(&mut Vec<Arc<TestGateway>>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What became of the posts to one client.
#[derive(Default)]
struct Posts {
    /// By the connection that each went to: what was answered 200, what may have arrived.
    accepted: BTreeMap<String, Vec<usize>>,
    unknown: BTreeSet<usize>,
    refused: usize,
    slowest: Duration,
}

/// A client that comes back elsewhere whenever its node closes it, and its caller, which posts
/// through any node as fast as it is answered.
async fn customer(
    number: usize,
    balancer: Arc<Balancer>,
    until: Arc<tokio::sync::Semaphore>,
) -> (Posts, usize) {
    let mut posts = Posts::default();
    let mut reconnects = 0;
    let mut next = 0;
    'life: loop {
        let member = loop {
            let node = balancer.pick(number + reconnects + next);
            match try_member(node.ws_url("prod?join=room")).await {
                Ok(member) => break member,
                // It began to drain just now.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            reconnects += 1;
        };
        let sent_here = next;
        while member.end().is_none() {
            let text = next.to_string();
            let asked = Instant::now();
            let answer = post(&balancer.pick(next), &member.id, &text).await;
            posts.slowest = posts.slowest.max(asked.elapsed());
            match answer.map(|answer| answer.status) {
                Some(200) => posts.accepted.entry(member.id.clone()).or_default().push(next),
                Some(410) => {
                    posts.refused += 1;
                    break;
                }
                // The link's fault or the node's: it may have arrived.
                Some(503) | None => _ = posts.unknown.insert(next),
                Some(other) => panic!("answered {other}"),
            }
            next += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
            if until.is_closed() {
                member.settle().await;
                check(&member, &posts, sent_here);
                break 'life;
            }
        }
        assert_eq!(member.wait_for_end().await.0, 1001);
        check(&member, &posts, sent_here);
        reconnects += 1;
    }
    (posts, reconnects)
}

async fn post(node: &TestGateway, id: &str, text: &str) -> Option<HttpResponse> {
    let target = format!("/prod/@connections/{id}");
    try_http_call(&node.http_url(), "POST", &target, &[], text.as_bytes()).await
}

/// Everything that was accepted came, in order, once; and nothing that nobody sent.
fn check(member: &Member, posts: &Posts, from: usize) {
    let got: Vec<usize> =
        member.texts().iter().map(|text| text.parse().expect("a number")).collect();
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "once and in order: {got:?}");
    let accepted = posts.accepted.get(&member.id).cloned().unwrap_or_default();
    let missing: Vec<_> = accepted.iter().filter(|number| !got.contains(number)).collect();
    assert!(missing.is_empty(), "accepted and not delivered: {missing:?} of {accepted:?}");
    let strange = got.iter().filter(|number| {
        **number < from || !(accepted.contains(number) || posts.unknown.contains(number))
    });
    assert_eq!(strange.count(), 0, "{got:?}");
}

#[tokio::test]
async fn three_nodes_are_restarted_under_traffic_and_no_accepted_post_is_lost() {
    const CUSTOMERS: usize = 24;
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let toml: GatewayToml = backend.toml().redis(&[redis.url()]).set("drain", "spread_s", "1");
    let nodes = start_nodes(&vec![toml.clone(); 3]).await;
    for node in &nodes {
        knows_who_is_gone(node).await;
    }
    let balancer = Balancer(Mutex::new(nodes.into_iter().map(Arc::new).collect()));
    let balancer = Arc::new(balancer);
    let until = Arc::new(tokio::sync::Semaphore::new(1));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|number| tokio::spawn(customer(number, Arc::clone(&balancer), Arc::clone(&until))))
        .collect();
    for _ in 0..3 {
        let fresh = start_nodes(std::slice::from_ref(&toml)).await.pop().expect("one");
        let mut old = balancer.pick(0);
        // It serves what it is asked until it ends: readiness takes it out, a moment later.
        old.signal("TERM").await;
        balancer.swap(|nodes| {
            nodes.remove(0);
            nodes.push(Arc::new(fresh));
        });
        let ended = loop {
            match Arc::try_unwrap(old) {
                Ok(mut node) => break node.wait_for_end(DEADLINE).await,
                // A call on its way through it.
                Err(shared) => old = shared,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    until.close();
    let (mut accepted, mut unknown, mut moved, mut refused) = (0, 0, 0, 0);
    let mut slowest = Duration::ZERO;
    for customer in customers {
        let (posts, reconnects) = customer.await.expect("a customer that lost nothing");
        accepted += posts.accepted.values().map(Vec::len).sum::<usize>();
        (unknown, refused) = (unknown + posts.unknown.len(), refused + posts.refused);
        moved += reconnects;
        slowest = slowest.max(posts.slowest);
    }
    // Each had to move at least once on the average of three restarts of three nodes.
    assert!(moved >= CUSTOMERS, "{moved} reconnects");
    assert!(accepted > 50 * unknown, "{accepted} accepted, {unknown} unknown, {refused} refused");
    // Who ends in order keeps nobody waiting, whenever it is asked.
    assert!(slowest < Duration::from_secs(3), "a post took {slowest:?}");
    // Each connection that was closed had its $disconnect, from its own node.
    backend.nobody_is_disconnected_twice("by a node and by another");
    assert!(backend.disconnects().len() >= CUSTOMERS);
}
