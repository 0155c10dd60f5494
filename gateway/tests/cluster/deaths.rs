//! A node is killed: the others say of its connections that they are gone, and run the `$disconnect`
//! of each, once, within twice the lease (reliability, lines 20 and 28; tidegate, section 7).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tidegate_testkit::{
    DEADLINE, NotOpened, RedisServer, TcpProxy, TestGateway, refused, wait_until,
};

use crate::{
    Backend, Cluster, LEASE, Member, assert_unavailable, member, member::try_member, members,
    metric_reaches, node_of, start_nodes, until_answered,
};

fn ids(members: &[Member]) -> impl Iterator<Item = &str> + Clone {
    members.iter().map(|member| member.id.as_str())
}

/// `$disconnect` says of a connection what its `$connect` did.
fn assert_facts(connect: &Value, disconnect: &Value, code: u16) {
    let (then, now) = (&connect["requestContext"], &disconnect["requestContext"]);
    for fact in
        ["connectionId", "connectedAt", "domainName", "identity", "authorizer", "apiId", "stage"]
    {
        assert!(!then[fact].is_null(), "{fact} of {then}");
        assert_eq!(then[fact], now[fact], "{fact}");
    }
    assert_eq!(now["disconnectStatusCode"], code, "{now}");
    assert_eq!(
        (&now["routeKey"], &now["eventType"]),
        (&"$disconnect".into(), &"DISCONNECT".into())
    );
}

#[tokio::test]
async fn of_a_killed_node_each_connection_is_gone_and_disconnected_once_within_two_leases() {
    const CONNECTIONS: usize = 300;
    let cluster = Cluster::start_with(3, |toml| {
        Backend::guard(toml).limit("lifecycle_calls_in_flight", "16")
    })
    .await;
    let [first, second, doomed] = &cluster.nodes[..] else { panic!("three nodes") };
    let backend = &cluster.backend;
    let clients = members(doomed, CONNECTIONS, "user=ann&join=room").await;
    let bystanders = members(first, 5, "user=bob").await;
    // Neither of these is anybody's to finish: refused, and finished.
    for _ in 0..5 {
        let no = refused(&doomed.ws_url("prod?user=x&refuse=1")).await;
        assert_eq!(no.status, 403, "{no:?}");
    }
    let left = members(doomed, 5, "user=ann").await;
    for client in &left {
        client.leave().await;
    }
    backend.each_is_disconnected_once(ids(&left), "those who left").await;
    let facts = format!("{{tidegate}}:facts:{}", node_of(&left[0].id));
    wait_until(DEADLINE, "their ends to be noted", async || {
        cluster.redis.cli(&["hlen", &facts]).await == CONNECTIONS.to_string()
    })
    .await;
    // Of the $disconnect calls only those of the dead node's are to be counted.
    backend.disconnects_take(Duration::from_millis(10));

    let died = Instant::now();
    doomed.signal("KILL").await;
    let gone = async |node: &TestGateway| {
        let ask = async || node.post_to("prod", &clients[0].id, b"x").await;
        // Not known at first, and never accepted.
        until_answered(410, &[503], 2 * LEASE, ask).await
    };
    tokio::join!(gone(first), gone(second));
    backend.each_is_disconnected_once(ids(&clients), "each of the dead node's").await;
    let took = backend.last_disconnect_at().expect("there were some") - died;
    assert!(took <= 2 * LEASE, "all were run only after {took:?}");
    for client in &clients {
        let event = &backend.disconnect_events_of(&client.id)[0];
        assert_facts(&backend.connect_of(&client.id), event, 1006);
        assert_eq!(event["requestContext"]["authorizer"]["team"], "blue", "{event}");
    }
    let (_, at_once) = backend.most_at_once();
    assert!((2..=16).contains(&at_once), "{at_once} calls at once");
    for node in [first, second] {
        for client in clients.iter().step_by(30) {
            for method in ["POST", "GET", "DELETE"] {
                let target = format!("/prod/@connections/{}", client.id);
                assert_eq!(node.manage(method, &target, b"").await.status, 410, "{method}");
            }
        }
        let group = node.manage("GET", "/prod/@groups/room", b"").await;
        assert_eq!(group.json()["connections"], 0);
        let sent = node.manage("POST", "/prod/@broadcast", b"you are left").await;
        assert_eq!(sent.json(), serde_json::json!({ "recipients": 5, "nodes": 1 }));
    }
    // Nobody else is run: not the refused, not again those who left, not the living.
    let all: BTreeSet<String> = ids(&clients).chain(ids(&left)).map(str::to_owned).collect();
    assert_eq!(backend.disconnects().into_keys().collect::<BTreeSet<_>>(), all);
    for bystander in &bystanders {
        bystander.settle().await;
        assert_eq!(bystander.texts(), ["you are left"; 2]);
    }
    let mut counted = [0.0; 3];
    for node in [first, second] {
        for (sum, name) in counted.iter_mut().zip([
            "tidegate_bus_claimed_nodes_total",
            "tidegate_bus_orphans_total",
            "tidegate_bus_unusable_orphans_total",
        ]) {
            *sum += node.metric(name, &[]).await;
        }
    }
    assert_eq!(counted, [1.0, CONNECTIONS as f64, 0.0]);
    let lost = [("cause", "node_lost")];
    let lost = [
        first.metric("tidegate_disconnect_total", &lost).await,
        second.metric("tidegate_disconnect_total", &lost).await,
    ];
    assert_eq!(lost.iter().sum::<f64>(), CONNECTIONS as f64);
    // Nothing of the dead is left behind.
    wait_until(DEADLINE, "its facts and claims to be gone", async || {
        let keys = cluster.redis.cli(&["keys", "{tidegate}:*"]).await;
        !["orphans", "claims", "cleaning"].iter().any(|left| keys.contains(left))
    })
    .await;
    backend.nobody_is_disconnected_twice("at the end");
}

/// Whoever got the 101 was accepted, however soon the node died; whoever did not may have been.
#[tokio::test]
async fn a_client_that_was_let_in_just_before_the_kill_is_disconnected_too() {
    let cluster = Cluster::start(2).await;
    let [survivor, doomed] = &cluster.nodes[..] else { panic!("two nodes") };
    let url = doomed.ws_url("prod?join=room");
    let mut storm = stream::iter(0..400).map(|_| try_member(url.clone())).buffer_unordered(24);
    let (mut accepted, mut cut) = (Vec::new(), 0);
    while let Some(opened) = storm.next().await {
        match opened {
            Ok(member) => {
                accepted.push(member);
                if accepted.len() == 60 {
                    doomed.signal("KILL").await;
                }
            }
            Err(NotOpened::Cut) => cut += 1,
            Err(NotOpened::Refused(status)) => panic!("refused with {status}"),
        }
    }
    assert!(accepted.len() >= 60 && cut > 0, "{} in, {cut} cut", accepted.len());
    cluster.backend.each_is_disconnected_once(ids(&accepted), "each that got its 101").await;
    let gone = async || survivor.post_to("prod", &accepted[0].id, b"x").await;
    until_answered(410, &[503], 2 * LEASE, gone).await;
    wait_until(DEADLINE, "the claim to end", async || {
        cluster.redis.cli(&["exists", "{tidegate}:claims"]).await == "0"
    })
    .await;
    cluster.backend.nobody_is_disconnected_twice("those that got no 101 included");
}

/// What makes the last test's promise hold: the 101 waits for the directory, and not the other way.
#[tokio::test]
async fn a_client_is_let_in_when_the_directory_has_its_facts_and_not_before() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let proxy = TcpProxy::start(redis.port()).await;
    let toml = |url: String| backend.toml().redis(&[url]).set("store", "node_lease_s", "3");
    let behind_the_wire = toml(format!("redis://{}", proxy.address()));
    let nodes = start_nodes(&[toml(redis.url()), behind_the_wire]).await;
    let doomed = &nodes[1];
    proxy.hold();
    let mut opening = Box::pin(try_member(doomed.ws_url("prod")));
    // Less than what a node waits at most for a Redis that does not answer.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut opening).await;
    assert_eq!(backend.connects(), 1, "its $connect was run");
    assert!(early.is_err(), "it was let in although nobody else could run its $disconnect");
    proxy.release();
    let member = opening.await.expect("it is let in");
    let facts = format!("{{tidegate}}:facts:{}", node_of(&member.id));
    assert_eq!(redis.cli(&["hexists", &facts, &member.id]).await, "1");
    doomed.signal("KILL").await;
    backend.each_is_disconnected_once([member.id.as_str()], "by the survivor").await;
}

/// Where a node dies that had taken another's connections over, the next one goes on. A call that was
/// under way, or whose end was not noted yet, is made again: once more, and only those.
#[tokio::test]
async fn who_finishes_for_a_dead_node_and_dies_is_finished_for() {
    /// How long a call's end may take to be noted, on a busy machine.
    const NOTED_WITHIN: Duration = Duration::from_secs(1);
    const AT_ONCE: usize = 4;
    let mut cluster =
        Cluster::start_with(3, |toml| toml.limit("lifecycle_calls_in_flight", "8")).await;
    let backend = &cluster.backend;
    let doomed = cluster.nodes.pop().expect("a third node");
    let clients = members(&doomed, 120, "").await;
    let of_survivors =
        [members(&cluster.nodes[0], 10, "").await, members(&cluster.nodes[1], 10, "").await];
    backend.disconnects_take(Duration::from_millis(60));
    doomed.kill().await;
    wait_until(DEADLINE, "a survivor to be in the middle", async || {
        backend.disconnects().len() >= 30
    })
    .await;
    let mut claimer = 0;
    if cluster.nodes[1].metric("tidegate_bus_claimed_nodes_total", &[]).await > 0.0 {
        claimer = 1;
    }
    let second = cluster.nodes.remove(claimer);
    let died = Instant::now();
    second.kill().await;
    let done = backend.disconnects().len();
    assert!(done < clients.len(), "it was too fast to be killed in the middle");
    let all = ids(&clients).chain(ids(&of_survivors[claimer]));
    wait_until(2 * DEADLINE, "each to be run", async || {
        all.clone().all(|id| backend.disconnects_of(id) > 0)
    })
    .await;
    let took = died.elapsed();
    assert!(took <= 2 * LEASE + Duration::from_millis(130 / 4 * 60), "only after {took:?}");
    wait_until(DEADLINE, "the claims to end", async || {
        cluster.redis.cli(&["exists", "{tidegate}:claims"]).await == "0"
    })
    .await;
    let runs = backend.disconnects();
    assert_eq!(runs.len(), 130, "nobody else's");
    assert!(runs.values().all(|times| *times <= 2), "at most twice: {runs:?}");
    for (id, _) in runs.iter().filter(|(_, times)| **times == 2) {
        // Under way, or done and about to be noted.
        let first = backend.first_disconnect_at(id);
        assert!(died - first <= NOTED_WITHIN, "{id} was run {:?} before the kill", died - first);
    }
    let (_, at_once) = backend.most_at_once();
    assert!(at_once <= 2 * AT_ONCE, "{at_once} at once");
    for bystander in &of_survivors[1 - claimer] {
        bystander.settle().await;
    }
}

/// A survivor whose configuration does not know the stage says so, and does not keep what it cannot
/// use.
#[tokio::test]
async fn what_no_survivor_can_finish_is_counted_and_not_kept() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let toml = backend.toml().redis(&[redis.url()]);
    let nodes = start_nodes(&[toml.clone(), toml.stage("test")]).await;
    let known = member(&nodes[1], "").await;
    let unknown = try_member(nodes[1].ws_url("test")).await.expect("it is let in");
    nodes[1].signal("KILL").await;
    backend.each_is_disconnected_once([known.id.as_str()], "the stage that is known").await;
    metric_reaches(&nodes[0], "tidegate_bus_unusable_orphans_total", &[], 1.0).await;
    wait_until(DEADLINE, "the claim to end", async || {
        redis.cli(&["exists", "{tidegate}:claims"]).await == "0"
    })
    .await;
    assert_eq!(backend.disconnects_of(&unknown.id), 0);
    let gone = nodes[0].post_to("prod", &known.id, b"x").await;
    assert_eq!(gone.status, 410, "{gone:?}");
}

/// Before it is known that a node is dead, its connections are neither there nor gone. Once the Redis
/// has closed the dead node's link, nobody waits to hear it.
#[tokio::test]
async fn posts_to_a_node_that_was_just_killed_are_refused_at_once() {
    let cluster = Cluster::start_with(2, |toml| toml.set("store", "node_lease_s", "10")).await;
    let [survivor, doomed] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(doomed, "join=room").await;
    doomed.signal("KILL").await;
    wait_until(DEADLINE, "nobody to listen", async || {
        cluster.redis.cli(&["pubsub", "shardchannels"]).await.lines().count() == 1
    })
    .await;
    for target in [format!("/prod/@connections/{}", client.id), "/prod/@groups/room".to_owned()] {
        let asked = Instant::now();
        let answer = survivor.manage("POST", &target, b"x").await;
        assert_unavailable(&answer);
        assert!(asked.elapsed() < Duration::from_millis(500), "after {:?}", asked.elapsed());
    }
    assert!(survivor.is_ready().await, "the survivor is well");
}
