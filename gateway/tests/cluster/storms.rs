//! Everybody comes at once, and goes at once: the backend sees no more of it than it is to see
//! (reliability, line 30).

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tidegate_testkit::{DEADLINE, GatewayToml, NotOpened, TestGateway, wait_until};

use crate::{Backend, Cluster, GATEWAY, Member, member::try_member};

const AT_ONCE: usize = 12;

/// A storm of `count` clients: those that are in, and how many were told to come later.
async fn storm(nodes: &[&TestGateway], count: usize) -> (Vec<Member>, usize) {
    let opening = stream::iter(0..count)
        .map(|number| try_member(nodes[number % nodes.len()].ws_url("prod?join=room")))
        .buffer_unordered(count);
    let (mut open, mut later) = (Vec::new(), 0);
    for opened in opening.collect::<Vec<_>>().await {
        match opened {
            Ok(member) => open.push(member),
            Err(NotOpened::Refused(429)) => later += 1,
            Err(other) => panic!("101 or 429 was due, not {other:?}"),
        }
    }
    (open, later)
}

fn bounded(toml: GatewayToml) -> GatewayToml {
    toml.limit("lifecycle_calls_in_flight", &AT_ONCE.to_string())
}

/// One node, by itself.
#[tokio::test]
async fn in_a_storm_nobody_gets_anything_but_101_or_429_and_the_backend_gets_its_bound() {
    let backend = Backend::start().await;
    let toml = bounded(backend.toml()).limit("new_connections_per_s", "400");
    let node = TestGateway::start(GATEWAY, &toml.build()).await;
    backend.connects_take(Duration::from_millis(20));
    let begun = Instant::now();
    let (open, later) = storm(&[&node], 700).await;
    let took = begun.elapsed();
    // The bucket's burst, and what it was filled with meanwhile.
    let admitted = 400 + (took.as_secs_f64() * 400.0).ceil() as usize;
    assert!((400..=admitted).contains(&open.len()), "{} in {took:?}", open.len());
    assert_eq!(open.len() + later, 700);
    assert_eq!(
        node.metric("tidegate_connect_total", &[("outcome", "throttled")]).await,
        later as f64
    );
    assert_eq!(backend.most_at_once(), (AT_ONCE, 0), "$connect calls at once");
    // And out again: all of them in the same moment, most without a word.
    backend.disconnects_take(Duration::from_millis(10));
    let ids: Vec<String> = open.into_iter().map(Member::cut).collect();
    backend.each_is_disconnected_once(ids.iter().map(String::as_str), "each once").await;
    assert_eq!(backend.most_at_once().1, AT_ONCE, "$disconnect calls at once");
    wait_until(DEADLINE, "nothing to be left", async || {
        node.metric("tidegate_connections", &[]).await == 0.0 && backend.disconnecting() == 0
    })
    .await;
}

/// Who was on a node that died comes back to the others, while its `$disconnect`s are run there.
#[tokio::test]
async fn the_storm_after_a_death_stays_within_the_bound_and_everybody_is_in_again() {
    const CLIENTS: usize = 200;
    let cluster = Cluster::start_with(3, bounded).await;
    let [first, second, doomed] = &cluster.nodes[..] else { panic!("three nodes") };
    let backend = &cluster.backend;
    let (old, _) = storm(&[doomed], CLIENTS).await;
    backend.connects_take(Duration::from_millis(10));
    backend.disconnects_take(Duration::from_millis(10));
    doomed.signal("KILL").await;
    let (new, later) = storm(&[first, second], CLIENTS).await;
    assert_eq!((new.len(), later), (CLIENTS, 0), "no rate is set");
    let ids = old.iter().map(|member| member.id.as_str());
    backend.each_is_disconnected_once(ids, "each of the dead node's").await;
    let (connects, disconnects) = backend.most_at_once();
    assert!(connects <= 2 * AT_ONCE, "{connects} $connect calls of two nodes at once");
    // Half of one survivor's places: the other half is for its own clients.
    assert!(disconnects <= AT_ONCE / 2, "{disconnects} $disconnect calls at once");
    wait_until(DEADLINE, "the room to be whole", async || {
        let count = first.manage("GET", "/prod/@groups/room", b"").await;
        count.status == 200 && count.json()["connections"] == CLIENTS
    })
    .await;
    let sent = second.manage("POST", "/prod/@groups/room", b"all here?").await;
    assert_eq!(sent.json()["recipients"], CLIENTS);
    for member in &new {
        assert_eq!(member.wait_for_texts(1).await, ["all here?"]);
        assert_eq!(member.end(), None);
    }
}
