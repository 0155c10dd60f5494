//! A node that was taken for dead and is not: frozen, or cut off from its Redis, for longer than its
//! lease. Nobody is served by a ghost (reliability, lines 20, 26 and 33).

use std::time::Duration;

use tidegate_testkit::{DEADLINE, GatewayToml, RedisServer, TcpProxy, TestGateway, wait_until};

use crate::{
    Backend, Cluster, LEASE, Member, assert_unavailable, member, member::try_member, members,
    metric_reaches, node_of, start_nodes, until_answered,
};

/// The node has noticed: its clients are told, it has another number, and serves and is served.
async fn comes_back(ghost: &TestGateway, other: &TestGateway, clients: &[Member], old: &str) {
    for client in clients {
        assert_eq!(client.wait_for_end().await.0, 1012);
    }
    let line = ghost
        .wait_for_log(
            "the lease was lost: clients are closed with 1012, and the node goes on under a new number",
        )
        .await;
    assert_eq!(line["fields"]["old_node"], old, "{line}");
    ghost.wait_until_ready().await;
    assert_eq!(ghost.metric("tidegate_bus_lost_leases_total", &[]).await, 1.0);
    assert_eq!(ghost.metric("tidegate_bus_lease_held", &[]).await, 1.0);
    let next = member(ghost, "join=again").await;
    assert_ne!(node_of(&next.id), old);
    let post = async || other.post_to("prod", &next.id, b"welcome back").await;
    until_answered(200, &[503], LEASE, post).await;
    let sent = other.manage("POST", "/prod/@groups/again", b"and in a group").await;
    assert_eq!(sent.json()["recipients"], 1, "{sent:?}");
    next.settle().await;
    assert_eq!(next.texts(), ["welcome back", "and in a group"]);
    for node in [ghost, other] {
        let gone = node.post_to("prod", &clients[0].id, b"x").await;
        assert_eq!(gone.status, 410, "of its old life: {gone:?}");
    }
}

#[tokio::test]
async fn a_node_that_was_frozen_for_longer_than_its_lease_closes_its_clients_and_comes_back() {
    let cluster = Cluster::start(2).await;
    let [ghost, other] = &cluster.nodes[..] else { panic!("two nodes") };
    let backend = &cluster.backend;
    let clients = members(ghost, 20, "join=room").await;
    let leaving = members(ghost, 5, "").await;
    let old = node_of(&clients[0].id);
    ghost.freeze().await;
    // These leave while nobody looks: their ends wait in the ghost's sockets.
    let left: Vec<String> = leaving.into_iter().map(Member::cut).collect();
    let gone = async || other.post_to("prod", &clients[0].id, b"x").await;
    // The ghost listens, and says nothing: at first a post is answered when its time is over.
    until_answered(410, &[503], Duration::from_secs(12), gone).await;
    let all = clients.iter().map(|client| &client.id).chain(&left).map(String::as_str);
    backend.each_is_disconnected_once(all, "each, by the survivor").await;
    ghost.signal("CONT").await;
    comes_back(ghost, other, &clients, &old).await;
    for client in &clients {
        assert!(client.texts().is_empty(), "a ghost served: {:?}", client.texts());
    }
    // The ghost has ended every one of them by now.
    wait_until(DEADLINE, "only the living to be open", async || {
        ghost.metric("tidegate_connections", &[]).await == 0.0
    })
    .await;
    backend.nobody_is_disconnected_twice("not by the ghost");
    let lost = [("cause", "lease_lost")];
    assert!(ghost.metric("tidegate_disconnect_total", &lost).await >= 20.0);
    assert_eq!(other.metric("tidegate_bus_claimed_nodes_total", &[]).await, 1.0);
}

/// One node of two is cut off from the Redis, and lives on.
#[tokio::test]
async fn a_node_that_is_cut_off_serves_its_clients_until_it_knows_that_it_was_taken_for_dead() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let proxy = TcpProxy::start(redis.port()).await;
    let cut_off = backend.toml().redis(&[format!("redis://{}", proxy.address())]);
    let nodes = start_nodes(&[cut_off, backend.toml().redis(&[redis.url()])]).await;
    let [ghost, other] = &nodes[..] else { panic!("two nodes") };
    let clients = members(ghost, 10, "join=room").await;
    let leaving = members(ghost, 3, "").await;
    let there = member(other, "").await;
    let old = node_of(&clients[0].id);
    proxy.hold();
    let not_ready = async || {
        let live = ghost.admin("/health/live").await;
        assert_eq!(live.status, 200, "{live:?}");
        ghost.admin("/health/ready").await
    };
    until_answered(503, &[200], Duration::from_secs(10), not_ready).await;
    // Nobody can reach it from elsewhere, and it nobody; its own it serves.
    assert_unavailable(&ghost.post_to("prod", &there.id, b"x").await);
    assert_eq!(ghost.post_to("prod", &clients[0].id, b"from here").await.status, 200);
    // Its clients' ends are for whoever has the connection in the end.
    for client in &leaving {
        client.leave().await;
    }
    let left: Vec<&str> = leaving.iter().map(|client| client.id.as_str()).collect();
    let gone = async || other.post_to("prod", &clients[0].id, b"x").await;
    until_answered(410, &[503], Duration::from_secs(12), gone).await;
    let all = clients.iter().map(|client| client.id.as_str()).chain(left.iter().copied());
    backend.each_is_disconnected_once(all, "each, by the other node").await;
    assert!(other.is_ready().await);
    clients[0].settle().await;
    assert_eq!(clients[0].texts(), ["from here"], "it does not know yet");
    assert_eq!(clients[0].end(), None);
    proxy.release();
    comes_back(ghost, other, &clients, &old).await;
    backend.nobody_is_disconnected_twice("not by the ghost");
    // Whoever was at the other node noticed nothing.
    there.settle().await;
    assert_eq!((there.texts().len(), there.end()), (0, None));
}

/// Shorter than the lease, it is nothing but a pause.
#[tokio::test]
async fn a_node_that_was_frozen_for_less_than_its_lease_goes_on_as_if_nothing_had_been() {
    let cluster = Cluster::start_with(2, |toml| toml.set("store", "node_lease_s", "4")).await;
    let [frozen, other] = &cluster.nodes[..] else { panic!("two nodes") };
    let clients = members(frozen, 5, "").await;
    frozen.freeze().await;
    let held = other.post_to("prod", &clients[0].id, b"while frozen");
    let held = async {
        let answer = held.await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let thaw = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        frozen.signal("CONT").await;
    };
    tokio::join!(held, thaw);
    frozen.wait_until_ready().await;
    let post = async || other.post_to("prod", &clients[1].id, b"x").await;
    until_answered(200, &[503], LEASE, post).await;
    clients[0].settle().await;
    assert_eq!(clients[0].texts(), ["while frozen"]);
    assert!(clients.iter().all(|client| client.end().is_none()));
    assert_eq!(frozen.metric("tidegate_bus_lost_leases_total", &[]).await, 0.0);
    assert!(cluster.backend.disconnects().is_empty());
}

/// Two nodes, of which the first has a user of its own at the Redis, so that it can be shut out: its
/// links are cut at once, and the other node notices nothing.
struct Two {
    ghost: TestGateway,
    other: TestGateway,
    redis: RedisServer,
    backend: Backend,
}

impl Two {
    async fn start(change: impl FnOnce(GatewayToml) -> GatewayToml) -> Self {
        let (redis, backend) = (RedisServer::start().await, Backend::start().await);
        redis.cli(&["acl", "setuser", "ghost", "on", ">secret", "~*", "&*", "+@all"]).await;
        let of_ghost = format!("redis://ghost:secret@127.0.0.1:{}", redis.port());
        let of_ghost = change(backend.toml().redis(&[of_ghost]));
        let nodes = start_nodes(&[of_ghost, backend.toml().redis(&[redis.url()])]).await;
        let [ghost, other] = <[TestGateway; 2]>::try_from(nodes).expect("two nodes");
        Self { ghost, other, redis, backend }
    }

    async fn shut_out(&self) {
        self.redis.cli(&["acl", "setuser", "ghost", "off"]).await;
        self.redis.cli(&["client", "kill", "user", "ghost"]).await;
    }

    async fn let_in(&self) {
        self.redis.cli(&["acl", "setuser", "ghost", "on"]).await;
    }

    /// Waits until the other node has claimed the ghost.
    async fn is_claimed(&self) {
        metric_reaches(&self.other, "tidegate_bus_claimed_nodes_total", &[], 1.0).await;
    }

    /// Waits until the ghost knows it.
    async fn is_back(&self) {
        metric_reaches(&self.ghost, "tidegate_bus_lost_leases_total", &[], 1.0).await;
        self.ghost.wait_until_ready().await;
    }
}

/// The claimer knows nothing of these: only their own node can run their `$disconnect`.
#[tokio::test]
async fn who_is_let_in_while_the_node_is_cut_off_is_disconnected_once_by_that_node() {
    let two = Two::start(|toml| toml).await;
    let (ghost, backend) = (&two.ghost, &two.backend);
    let before = members(ghost, 3, "").await;
    // Longer than it takes to lose the number and to have another.
    backend.connects_take(4 * LEASE);
    let url = ghost.ws_url("prod");
    let upgrading = tokio::spawn(try_member(url));
    wait_until(DEADLINE, "the $connect", async || backend.connects() == 4).await;
    backend.connects_take(Duration::ZERO);
    two.shut_out().await;
    until_answered(503, &[200], Duration::from_secs(5), || ghost.admin("/health/ready")).await;
    let meanwhile = members(ghost, 3, "").await;
    two.is_claimed().await;
    two.let_in().await;
    two.is_back().await;
    assert!(!upgrading.is_finished(), "its $connect was too short for this test");
    let upgraded = upgrading.await.expect("it is let in").expect("it is let in");
    for client in before.iter().chain(&meanwhile).chain([&upgraded]) {
        assert_eq!(client.wait_for_end().await.0, 1012);
    }
    let all = before.iter().chain(&meanwhile).chain([&upgraded]);
    backend.each_is_disconnected_once(all.map(|client| client.id.as_str()), "each").await;
    let code = |client: &Member| {
        let event = &backend.disconnect_events_of(&client.id)[0];
        event["requestContext"]["disconnectStatusCode"].as_u64()
    };
    assert_eq!((code(&before[0]), code(&meanwhile[0])), (Some(1006), Some(1012)));
}

/// A `$disconnect` may wait for its place for longer than its node is its node.
#[tokio::test]
async fn a_disconnect_that_waits_while_its_node_is_taken_for_dead_is_not_run_by_it() {
    let two = Two::start(|toml| toml.limit("lifecycle_calls_in_flight", "1")).await;
    let (ghost, backend) = (&two.ghost, &two.backend);
    let clients = members(ghost, 20, "").await;
    backend.disconnects_take(Duration::from_millis(500));
    for client in &clients {
        client.leave().await;
    }
    wait_until(DEADLINE, "the second call", async || backend.disconnects().len() == 2).await;
    two.shut_out().await;
    wait_until(DEADLINE, "each to be run", async || backend.disconnects().len() == 20).await;
    two.let_in().await;
    two.is_back().await;
    // Behind all that have waited.
    let last = member(ghost, "").await;
    last.leave().await;
    wait_until(DEADLINE, "the last one", async || backend.disconnects_of(&last.id) == 1).await;
    let twice = backend.disconnects().into_values().filter(|times| *times > 1).count();
    assert!(twice <= 1, "{twice} are run again, and only one was under way");
}
