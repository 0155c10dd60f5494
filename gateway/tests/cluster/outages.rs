//! The Redis goes away: killed, frozen, cut off from all nodes; and comes back as it was or empty
//! (reliability, lines 26 and 33; tidegate, section 7).
//!
//! In:  two nodes with clients. Out: what goes on without it, what is refused and how fast, and that
//!      everything is back within 5 s of its return.

use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_testkit::{DEADLINE, RedisServer, TcpProxy, TestGateway, wait_until};

use crate::{
    Backend, Cluster, GATEWAY, LEASE, Member, assert_unavailable, member, members, start_nodes,
    until_answered,
};

/// "Delivery is back within 5 s of its return."
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(5);

/// "`/health/ready` fails within 10 s."
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// Two nodes and those of their clients that stay for the whole test.
pub(crate) struct Stage<'a> {
    pub(crate) owner: &'a TestGateway,
    pub(crate) caller: &'a TestGateway,
    pub(crate) backend: &'a Backend,
    stayers: Vec<Member>,
    leavers: Vec<Member>,
}

impl<'a> Stage<'a> {
    pub(crate) async fn set(nodes: &'a [TestGateway], backend: &'a Backend) -> Self {
        let [owner, caller] = nodes else { panic!("two nodes") };
        let stayers = members(owner, 6, "join=room").await;
        let leavers = members(owner, 4, "join=room").await;
        let stage = Self { owner, caller, backend, stayers, leavers };
        stage.is_whole(10).await;
        stage
    }

    fn target(&self) -> String {
        format!("/prod/@connections/{}", self.stayers[0].id)
    }

    /// Every kind of call works, from either node; the room has that many members. Nobody is told
    /// that it has fewer: what is not known yet is 503.
    async fn is_whole(&self, room: usize) {
        let within = BACK_WITHIN;
        let begun = Instant::now();
        let nobody_is_missed = self.reaches_all(room, within);
        let works = async {
            for node in [self.owner, self.caller] {
                let post = async || node.manage("POST", &self.target(), b"well").await;
                until_answered(200, &[503], within, post).await;
                until_answered(200, &[503], within, || node.admin("/health/ready")).await;
            }
        };
        tokio::join!(nobody_is_missed, works);
        assert!(begun.elapsed() <= within, "whole only after {:?}", begun.elapsed());
    }

    /// Calls to the room reach every member through either node, at the latest after `within`, and
    /// until then nobody.
    async fn reaches_all(&self, room: usize, within: Duration) {
        let [everybody, counted] =
            [json!({ "recipients": room, "nodes": 1 }), json!({ "connections": room })];
        let whole = async |node: &TestGateway, method, target, due: &serde_json::Value| {
            let call = async || {
                let answer = node.manage(method, target, b"all well").await;
                if answer.status == 200 {
                    assert_eq!(answer.json(), *due, "{method} {target}: 200 to a part of it");
                }
                answer
            };
            until_answered(200, &[503], within, call).await;
        };
        let room = "/prod/@groups/room";
        tokio::join!(
            whole(self.owner, "POST", room, &everybody),
            whole(self.caller, "POST", room, &everybody),
            whole(self.caller, "POST", "/prod/@broadcast", &everybody),
            whole(self.caller, "GET", room, &counted),
        );
    }

    /// Without the Redis: what is local goes on, what is not is refused at once, and the health
    /// checks tell it.
    pub(crate) async fn goes_on_alone(&self) {
        for node in [self.owner, self.caller] {
            let ready = async || {
                assert_eq!(node.admin("/health/live").await.status, 200);
                node.admin("/health/ready").await
            };
            until_answered(503, &[200], NOTICED_WITHIN, ready).await;
            assert_eq!(node.metric("tidegate_bus_up", &[]).await, 0.0);
        }
        let refused = [("reason", "unavailable")];
        let refused_before = self.caller.metric("tidegate_bus_failed_total", &refused).await;
        for _ in 0..20 {
            let one = "the node that owns the connection cannot be reached";
            for (method, target, told) in [
                ("POST", self.target(), one),
                ("GET", self.target(), one),
                ("POST", "/prod/@groups/room".to_owned(), "some connections may have the message"),
                ("GET", "/prod/@groups/room".to_owned(), "its members are not counted"),
                ("DELETE", "/prod/@groups/nobody".to_owned(), "some connections may be open still"),
                ("POST", "/prod/@broadcast".to_owned(), "some connections may have the message"),
                ("GET", "/prod/@connections".to_owned(), "this page is not known"),
            ] {
                let asked = Instant::now();
                let answer = self.caller.manage(method, &target, b"").await;
                let took = asked.elapsed();
                assert_unavailable(&answer);
                assert!(took < Duration::from_millis(500), "{method} {target} took {took:?}");
                let json = answer.json();
                let message = json["message"].as_str().expect("a message");
                assert!(message.contains(told), "{method} {target}: {message}");
            }
            let posted = self.owner.manage("POST", &self.target(), b"alone").await;
            assert_eq!(posted.status, 200, "{posted:?}");
        }
        let refused_now = self.caller.metric("tidegate_bus_failed_total", &refused).await;
        assert!(refused_now >= refused_before + 20.0, "{refused_now} refused");
        self.stayers[0].settle().await;
        assert_eq!(self.stayers[0].texts().iter().filter(|text| *text == "alone").count(), 20);
        // Clients come and go as ever.
        let visitor = member(self.caller, "").await;
        assert_eq!(self.caller.post_to("prod", &visitor.id, b"x").await.status, 200);
        visitor.leave().await;
    }

    /// Some clients leave while nobody can be told.
    pub(crate) async fn some_leave(&mut self) {
        for leaver in &self.leavers {
            leaver.leave().await;
        }
    }

    /// All is as before; who left has its `$disconnect`, who stayed has none.
    pub(crate) async fn is_back(&self) {
        self.is_whole(self.stayers.len()).await;
        let left = self.leavers.iter().map(|leaver| leaver.id.as_str());
        self.backend.each_is_disconnected_once(left, "who left meanwhile").await;
        // Past the time at which a lease that was not renewed would be claimed.
        tokio::time::sleep(LEASE + LEASE / 2).await;
        self.is_whole(self.stayers.len()).await;
        for stayer in &self.stayers {
            stayer.settle().await;
            assert_eq!((stayer.end(), self.backend.disconnects_of(&stayer.id)), (None, 0));
        }
        // The leavers and one visitor.
        assert_eq!(self.backend.disconnects().len(), self.leavers.len() + 1);
        self.backend.nobody_is_disconnected_twice("at the end");
        for node in [self.owner, self.caller] {
            assert_eq!(node.metric("tidegate_bus_lost_leases_total", &[]).await, 0.0);
            assert_eq!(node.metric("tidegate_bus_claimed_nodes_total", &[]).await, 0.0);
            assert!(node.metric("tidegate_bus_links_total", &[("outcome", "lost")]).await >= 1.0);
            assert!(node.metric("tidegate_bus_links_total", &[("outcome", "made")]).await >= 2.0);
            assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
        }
    }
}

#[tokio::test]
async fn a_redis_that_was_killed_and_comes_back_empty_is_filled_again() {
    let mut cluster = Cluster::start(2).await;
    let mut stage = Stage::set(&cluster.nodes, &cluster.backend).await;
    cluster.redis.kill().await;
    // The very next call is refused, and does not wait until anybody has noticed.
    let asked = Instant::now();
    assert_unavailable(&stage.caller.manage("POST", &stage.target(), b"x").await);
    assert!(asked.elapsed() < Duration::from_millis(500), "after {:?}", asked.elapsed());
    stage.goes_on_alone().await;
    stage.some_leave().await;
    for node in &cluster.nodes {
        crate::metric_reaches(node, "tidegate_bus_links_total", &[("outcome", "failed")], 1.0)
            .await;
        crate::metric_reaches(node, "tidegate_bus_lease_held", &[], 0.0).await;
    }
    cluster.redis.restart().await;
    stage.is_back().await;
    let facts = format!("{{tidegate}}:facts:{}", crate::node_of(&stage.stayers[0].id));
    assert_eq!(cluster.redis.cli(&["hlen", &facts]).await, "6", "the facts of those who stayed");
}

/// Nobody's link breaks: each node finds out by itself that what it had written is gone.
#[tokio::test]
async fn a_redis_that_is_emptied_while_it_runs_is_filled_again_and_hides_nobody() {
    // With a lease as long as the default: less of it would bring the nodes back sooner.
    let cluster = Cluster::start_with(2, |toml| toml.set("store", "node_lease_s", "10")).await;
    let stage = Stage::set(&cluster.nodes, &cluster.backend).await;
    for _ in 0..2 {
        assert_eq!(cluster.redis.cli(&["flushall"]).await, "OK");
        stage.is_whole(10).await;
    }
    for stayer in &stage.stayers {
        stayer.settle().await;
        assert_eq!((stayer.end(), cluster.backend.disconnects_of(&stayer.id)), (None, 0));
    }
}

#[tokio::test]
async fn a_redis_that_was_frozen_for_longer_than_the_lease_kills_nobody() {
    let cluster = Cluster::start(2).await;
    let mut stage = Stage::set(&cluster.nodes, &cluster.backend).await;
    cluster.redis.freeze().await;
    let frozen = Instant::now();
    stage.goes_on_alone().await;
    stage.some_leave().await;
    wait_until(DEADLINE, "both leases to be over", async || {
        let held = "tidegate_bus_lease_held";
        stage.owner.metric(held, &[]).await + stage.caller.metric(held, &[]).await == 0.0
    })
    .await;
    // Without its lease a node does not know whose the ends are.
    let done = cluster.backend.disconnects().len();
    tokio::time::sleep((LEASE + LEASE).saturating_sub(frozen.elapsed())).await;
    let unknown = members(stage.owner, 1, "").await;
    unknown[0].leave().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cluster.backend.disconnects().len(), done, "an end that may be another's is held");
    stage.leavers.extend(unknown);
    cluster.redis.thaw().await;
    stage.is_back().await;
}

/// In the moment in which nobody has noticed yet: a client that joins groups, however many, is let in
/// after a second, as one that joins none, and is in them on its node.
#[tokio::test]
async fn a_redis_that_has_just_frozen_delays_a_client_that_joins_groups_by_a_second() {
    let cluster = Cluster::start_with(1, |toml| toml.set("store", "node_lease_s", "20")).await;
    let node = &cluster.nodes[0];
    cluster.redis.freeze().await;
    let asked = Instant::now();
    let client = member(node, "join=a,b,c,d,e,f").await;
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(1800), "let in after {took:?}");
    let told = "groups were joined on this node, and the other nodes do not know of it yet";
    let line = node.wait_for_log(told).await;
    assert_eq!(
        (&line["level"], &line["fields"]["route_key"]),
        (&json!("WARN"), &json!("$connect"))
    );
    assert!(!node.log_text().contains("not understood"), "nobody wrote a bad header");
    cluster.redis.thaw().await;
    let counted = async || node.manage("GET", "/prod/@groups/f", b"").await;
    until_answered(200, &[503], BACK_WITHIN, counted).await;
    assert_eq!(counted().await.json(), json!({ "connections": 1 }));
    client.leave().await;
}

/// Nothing passes between the nodes and the Redis, and nobody is told: no reset, no end. Whoever is
/// back first finds the others' leases over, and leaves them their time to come back.
#[tokio::test]
async fn a_redis_behind_a_dead_wire_is_missed_and_found_again() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let wires = [TcpProxy::start(redis.port()).await, TcpProxy::start(redis.port()).await];
    let toml = |wire: &TcpProxy| backend.toml().redis(&[format!("redis://{}", wire.address())]);
    let nodes = start_nodes(&wires.each_ref().map(toml)).await;
    let mut stage = Stage::set(&nodes, &backend).await;
    for wire in &wires {
        wire.hold();
    }
    stage.goes_on_alone().await;
    stage.some_leave().await;
    wait_until(DEADLINE, "both leases to be over in the redis", async || {
        redis.cli(&["keys", "{tidegate}:lease:*"]).await.is_empty()
    })
    .await;
    wires[0].release();
    until_answered(200, &[503], BACK_WITHIN, || stage.owner.admin("/health/ready")).await;
    tokio::time::sleep(LEASE / 2).await;
    wires[1].release();
    stage.is_back().await;
}

#[tokio::test]
async fn a_node_that_starts_without_its_redis_serves_its_clients_and_joins_when_it_comes() {
    let (mut redis, backend) = (RedisServer::start().await, Backend::start().await);
    redis.kill().await;
    let toml = backend.toml().redis(&[redis.url()]).build();
    let [first, second] =
        [TestGateway::start(GATEWAY, &toml).await, TestGateway::start(GATEWAY, &toml).await];
    let client = member(&first, "join=room").await;
    let visitor = member(&first, "").await;
    assert_eq!(first.post_to("prod", &client.id, b"alone").await.status, 200);
    assert_unavailable(&second.post_to("prod", &client.id, b"x").await);
    let ready = first.admin("/health/ready").await;
    assert_eq!(
        (ready.status, ready.text()),
        (503, "not ready: the node holds no lease in the redis\n")
    );
    assert_eq!(first.admin("/health/live").await.status, 200);
    // Its number stands in no directory: nobody else could run this.
    visitor.leave().await;
    backend.each_is_disconnected_once([visitor.id.as_str()], "who left before").await;
    redis.restart().await;
    for node in [&first, &second] {
        until_answered(200, &[503], BACK_WITHIN, || node.admin("/health/ready")).await;
    }
    let post = async || second.post_to("prod", &client.id, b"together").await;
    until_answered(200, &[503], BACK_WITHIN, post).await;
    // Of a node that has not begun with its redis nobody knows whom it may not know.
    let send = async || {
        let sent = second.manage("POST", "/prod/@groups/room", b"in a room").await;
        if sent.status == 200 {
            assert_eq!(sent.json(), json!({ "recipients": 1, "nodes": 1 }));
        }
        sent
    };
    until_answered(200, &[503], BACK_WITHIN, send).await;
    client.settle().await;
    assert_eq!(client.texts(), ["alone", "together", "in a room"]);
    // What it had before it was known is known now.
    first.signal("KILL").await;
    backend.each_is_disconnected_once([client.id.as_str()], "by the other one").await;
}

/// An operator who reads the log knows what to mend: a password that is missing, a server that is
/// not there. Each is said once and not at every attempt.
#[tokio::test]
async fn the_log_says_why_the_redis_cannot_be_used() {
    let (mut redis, backend) = (RedisServer::start().await, Backend::start().await);
    redis.cli(&["config", "set", "requirepass", "hunter2"]).await;
    let toml = backend.toml().redis(&[redis.url()]).build();
    let node = TestGateway::start(GATEWAY, &toml).await;
    let told = "the redis cannot be used, and is tried again";
    let line = node.wait_for_log(told).await;
    let error = line["fields"]["error"].as_str().expect("it says why");
    assert!(error.to_lowercase().contains("auth"), "{error}");
    redis.kill().await;
    let refused = || node.log_text().contains("Connection refused");
    wait_until(DEADLINE, "the second reason", async || refused()).await;
    let failures = async || node.metric("tidegate_bus_links_total", &[("outcome", "failed")]).await;
    let before = failures().await;
    wait_until(DEADLINE, "more attempts", async || failures().await >= before + 2.0).await;
    let said = node.logs().iter().filter(|line| line["fields"]["message"] == told).count();
    assert_eq!(said, 2, "one line for each reason:\n{}", node.log_text());
    assert!(!node.log_text().contains("hunter2"));
}
