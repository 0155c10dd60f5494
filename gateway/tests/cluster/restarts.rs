//! Nodes that end in order, one after the other, under traffic (reliability, line 29; tidegate,
//! section 7, on drain).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidegate_testkit::{
    DEADLINE, GatewayToml, HttpResponse, RedisServer, TestGateway, try_http_call,
};

use crate::{
    Backend, Cluster, Member, knows_who_is_gone, member::try_member, members, start_nodes,
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
    cluster.backend.disconnects_take(Duration::ZERO);
    let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    tidegate_testkit::wait_until(DEADLINE, "each to be run", async || {
        ids.iter().all(|id| cluster.backend.disconnects_of(id) > 0)
    })
    .await;
    let runs = cluster.backend.disconnects();
    // Under way when the deadline came: nobody knows whether those were made.
    let twice = runs.values().filter(|times| **times == 2).count();
    assert!(runs.values().all(|times| *times <= 2) && twice <= 2, "{runs:?}");
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
