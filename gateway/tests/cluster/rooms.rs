//! A room over three nodes: a message reaches each member once, whoever joins, leaves and dies
//! meanwhile, and the answer counts right (reliability, line 25).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_testkit::{HttpClient, HttpResponse, RedisServer, TcpProxy, http_call};

use crate::{
    Backend, Cluster, Member, assert_unavailable, member,
    member::{settle_all, try_member},
    members, start_nodes,
};

const ROOM: &str = "/prod/@groups/room";

fn recipients(answer: &HttpResponse) -> u64 {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["recipients"].as_u64().expect("a number")
}

fn numbers(member: &Member) -> Vec<usize> {
    member.texts().iter().map(|text| text.parse().expect("a number")).collect()
}

/// Members come by `$connect`, by a call through any node, and go by a call through any node. Of each
/// message exactly as many copies arrive as its answer said.
#[tokio::test]
async fn while_members_join_and_leave_each_gets_each_message_once_and_the_counts_are_right() {
    const MESSAGES: usize = 150;
    let cluster = Cluster::start(3).await;
    let bases: Arc<Vec<_>> =
        Arc::new(cluster.nodes.iter().map(|node| (node.ws_url(""), node.http_url())).collect());
    let mut stayers = Vec::new();
    for node in &cluster.nodes {
        stayers.extend(members(node, 5, "join=room").await);
    }
    // How many messages have been answered, and begun.
    let (answered, begun) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let copies = Arc::<Mutex<BTreeMap<usize, u64>>>::default();

    let churn = (0..6).map(|number| {
        let (bases, answered, begun) = (bases.clone(), answered.clone(), begun.clone());
        let copies = copies.clone();
        tokio::spawn(async move {
            let mut round = number;
            while answered.load(Ordering::SeqCst) < MESSAGES {
                let (home, other) = (&bases[round % 3], &bases[(round / 3 + 1) % 3]);
                let by_connect = round % 2 == 0;
                let query = if by_connect { "prod?join=room" } else { "prod" };
                let member = try_member(format!("{}{query}", home.0)).await.expect("it is let in");
                let place = format!("{ROOM}/connections/{}", member.id);
                if !by_connect {
                    let joined = http_call(&other.1, "PUT", &place, &[], b"").await;
                    assert_eq!(joined.status, 204, "{joined:?}");
                }
                // Those that began before may reach it or not; those that begin now must.
                let from = begun.load(Ordering::SeqCst);
                let stay = answered.load(Ordering::SeqCst) + 1 + round % 7;
                while answered.load(Ordering::SeqCst) < stay.min(MESSAGES) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let upto = answered.load(Ordering::SeqCst);
                let left = http_call(&other.1, "DELETE", &place, &[], b"").await;
                assert_eq!(left.status, 204, "{left:?}");
                member.settle().await;
                let got = numbers(&member);
                let gapless = got.windows(2).all(|pair| pair[1] == pair[0] + 1);
                assert!(gapless, "each once and in order: {got:?}");
                assert!(
                    (from..upto).all(|due| got.contains(&due)),
                    "a member from {from} to {upto} got {got:?}"
                );
                for number in got {
                    *copies.lock().expect("nobody panics").entry(number).or_default() += 1;
                }
                round += 5;
            }
        })
    });
    let churn: Vec<_> = churn.collect();
    let mut caller = HttpClient::connect(&cluster.nodes[0].http_url()).await;
    let mut counted = BTreeMap::new();
    for number in 0..MESSAGES {
        begun.store(number + 1, Ordering::SeqCst);
        let text = number.to_string();
        let answer = caller.call("POST", ROOM, &[], text.as_bytes()).await;
        counted.insert(number, recipients(&answer));
        answered.store(number + 1, Ordering::SeqCst);
    }
    for one in churn {
        one.await.expect("a member that got what was its");
    }
    settle_all(&stayers).await;
    let mut copies = copies.lock().expect("nobody panics").clone();
    for member in &stayers {
        assert_eq!(numbers(member), (0..MESSAGES).collect::<Vec<_>>());
    }
    for number in 0..MESSAGES {
        *copies.entry(number).or_default() += stayers.len() as u64;
    }
    assert_eq!(copies, counted, "copies that came, and recipients that the answers named");
    assert!(counted.values().any(|count| *count > stayers.len() as u64), "nobody came");
    let count = cluster.nodes[1].manage("GET", ROOM, b"").await;
    assert_eq!(count.json()["connections"], stayers.len());
}

/// Also where its node had nobody in the group before, so that no other node would ask it.
#[tokio::test]
async fn who_has_joined_gets_the_next_message_whichever_node_sends_it() {
    let cluster = Cluster::start(3).await;
    let [home, joining, sending] = &cluster.nodes[..] else { panic!("three nodes") };
    let member = member(home, "join=first").await;
    let sent = sending.manage("POST", "/prod/@groups/first", b"by $connect").await;
    assert_eq!(recipients(&sent), 1, "by $connect");
    for number in 0..60 {
        let place = format!("/prod/@groups/g{number}/connections/{}", member.id);
        let by = if number % 2 == 0 { joining } else { home };
        assert_eq!(by.manage("PUT", &place, b"").await.status, 204);
        let group = format!("/prod/@groups/g{number}");
        let sent = sending.manage("POST", &group, number.to_string().as_bytes()).await;
        assert_eq!(recipients(&sent), 1, "group {number}");
        assert_eq!(by.manage("DELETE", &place, b"").await.status, 204);
        let sent = sending.manage("POST", &group, b"to nobody").await;
        assert_eq!(recipients(&sent), 0, "group {number}, which it has left");
    }
    member.settle().await;
    assert_eq!(member.texts().len(), 61);
}

/// What makes the last test's promise hold, where the Redis is slow.
#[tokio::test]
async fn a_join_is_answered_when_the_directory_has_it_and_not_before() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let wire = TcpProxy::start(redis.port()).await;
    let toml = |url: String| backend.toml().redis(&[url]).set("store", "node_lease_s", "3");
    let behind_the_wire = toml(format!("redis://{}", wire.address()));
    let nodes = start_nodes(&[behind_the_wire, toml(redis.url())]).await;
    let [home, sending] = &nodes[..] else { panic!("two nodes") };
    let member = member(home, "").await;
    let place = format!("{ROOM}/connections/{}", member.id);
    wire.hold();
    let mut joining = Box::pin(home.manage("PUT", &place, b""));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut joining).await;
    assert!(early.is_err(), "no other node knows of it: {early:?}");
    wire.release();
    assert_eq!(joining.await.status, 204);
    assert_eq!(recipients(&sending.manage("POST", ROOM, b"x").await), 1);
}

/// Until the others know that a node is dead, a send to a room with members there is answered 503:
/// nobody can say whether they got it. Everybody else gets it all the same, once.
#[tokio::test]
async fn while_a_node_dies_everybody_else_gets_each_message_once() {
    let mut cluster = Cluster::start(3).await;
    let mut stayers = members(&cluster.nodes[0], 8, "join=room").await;
    stayers.extend(members(&cluster.nodes[1], 8, "join=room").await);
    let doomed = members(&cluster.nodes[2], 8, "join=room").await;
    let victim = cluster.nodes.pop().expect("a third node");
    let mut caller = HttpClient::connect(&cluster.nodes[0].http_url()).await;
    let mut killed = None;
    let (mut number, mut refused) = (0, 0);
    let mut answered = Vec::new();
    let died = loop {
        let text = number.to_string();
        let answer = caller.call("POST", ROOM, &[], text.as_bytes()).await;
        match answer.status {
            200 => answered.push((number, recipients(&answer))),
            _ => {
                assert_unavailable(&answer);
                refused += 1;
            }
        }
        number += 1;
        match killed {
            None if number == 40 => {
                killed = Some(Instant::now());
                // It does not wait for the end: posts go on meanwhile.
                victim.signal("KILL").await;
            }
            Some(at) if answer.status == 200 && number > 45 && recipients(&answer) == 16 => {
                break at.elapsed();
            }
            _ => {}
        }
        if killed.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(died <= 2 * crate::LEASE, "the room is whole again only after {died:?}");
    settle_all(&stayers).await;
    for member in &stayers {
        assert_eq!(numbers(member), (0..number).collect::<Vec<_>>(), "also those refused");
    }
    for member in &doomed {
        let got = numbers(member);
        assert_eq!(got, (0..got.len()).collect::<Vec<_>>());
        assert!(got.len() >= 40, "what was answered before the kill: {got:?}");
    }
    assert!(answered.iter().all(|(_, count)| [24, 16].contains(count)), "{answered:?}");
    assert!(refused > 0, "nobody noticed");
    drop(victim);
}

/// A backend that repeats what was answered 503, as SDKs do, through whichever node: the living, who
/// have it already, get it once.
#[tokio::test]
async fn a_send_that_is_repeated_while_a_node_dies_reaches_everybody_else_once() {
    let mut cluster = Cluster::start(3).await;
    let mut stayers = members(&cluster.nodes[0], 8, "join=room").await;
    stayers.extend(members(&cluster.nodes[1], 8, "join=room").await);
    let doomed = members(&cluster.nodes[2], 1, "join=room").await;
    let victim = cluster.nodes.pop().expect("a third node");
    let mut callers = Vec::new();
    for node in &cluster.nodes {
        callers.push(HttpClient::connect(&node.http_url()).await);
    }
    victim.signal("KILL").await;
    // From here on the Redis knows that nobody listens there; a call that it had passed on before
    // would be answered only when the node is known to be dead.
    let lost = format!("/prod/@connections/{}", doomed[0].id);
    let base = cluster.nodes[0].http_url();
    loop {
        let asked = http_call(&base, "GET", &lost, &[], b"");
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(100), asked).await {
            if answer.status == 503 {
                break;
            }
            assert_eq!(answer.status, 200, "it is claimed already");
        }
    }
    let name = [("Idempotency-Key", "once")];
    let (mut refused, begun) = (0, Instant::now());
    let counted = loop {
        let answer = callers[refused % 2].call("POST", ROOM, &name, b"0").await;
        if answer.status == 200 {
            break recipients(&answer);
        }
        assert_unavailable(&answer);
        refused += 1;
        assert!(begun.elapsed() <= 2 * crate::LEASE, "the room is not whole again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(counted, 16, "as many as got it");
    assert!(refused > 1, "it was not repeated");
    settle_all(&stayers).await;
    for member in &stayers {
        assert_eq!(numbers(member), [0]);
    }
    drop(victim);
}
