//! Another file for nodes that have connections: what the others need to finish for a node follows
//! the file that it has now (tidegate, sections 1 and 7).
//!
//! In:  two nodes and their clients, a reload of both, the death of one.
//! Out: whose `$disconnect` the other one runs; what a node that is to have another store says.
//!
//! Holds always: the connections are older than the reload, and their node is killed after it.

use serde_json::Value;
use tidegate_testkit::{DEADLINE, RedisServer, TestGateway, refused, wait_until};

use crate::{
    Backend, Cluster, GATEWAY, LEASE, Member, member, members, metric_reaches, node_of,
    until_answered,
};

/// Connections of the node that dies; more than the directory is told of at once.
const CONNECTIONS: usize = 450;

fn ids(members: &[Member]) -> impl Iterator<Item = &str> {
    members.iter().map(|member| member.id.as_str())
}

/// The files of an api with a `$disconnect` route and of the same without.
fn files(backend: &Backend, redis: &RedisServer) -> (String, String) {
    let with = Backend::guard(backend.toml()).redis(&[redis.url()]).build();
    let start = with.find(r#"[apis.test.routes."$disconnect"]"#).expect("the route");
    let end = start + with[start..].find("\n\n").expect("the end of its table") + 2;
    let without = format!("{}{}", &with[..start], &with[end..]);
    (with, without)
}

async fn start_both(file: &str) -> [TestGateway; 2] {
    let both = [TestGateway::start(GATEWAY, file), TestGateway::start(GATEWAY, file)];
    let nodes = futures_util::future::join_all(both).await;
    for node in &nodes {
        node.wait_until_ready().await;
    }
    nodes.try_into().expect("as many as were started")
}

async fn reload(nodes: &[TestGateway], file: &str, times: f64) {
    for node in nodes {
        node.reload(file).await;
        metric_reaches(node, "tidegate_reloads_total", &[("outcome", "accepted")], times).await;
    }
}

/// How many connections' facts the directory has of the node of `id`.
async fn kept(redis: &RedisServer, id: &str) -> String {
    redis.cli(&["hlen", &format!("{{tidegate}}:facts:{}", node_of(id))]).await
}

async fn wait_for_kept(redis: &RedisServer, id: &str, count: usize) {
    wait_until(DEADLINE, &format!("{count} connections' facts to be kept"), async || {
        kept(redis, id).await == count.to_string()
    })
    .await;
}

#[tokio::test]
async fn a_disconnect_route_that_a_reload_adds_is_run_for_a_dead_nodes_older_connections() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let (with, without) = files(&backend, &redis);
    let nodes = start_both(&without).await;
    let [survivor, doomed] = &nodes;
    let before = members(doomed, CONNECTIONS, "user=ann&join=room").await;
    let ended_before = member(doomed, "user=ann").await;
    ended_before.leave().await;
    let no = refused(&doomed.ws_url("prod?user=x&refuse=1")).await;
    assert_eq!(no.status, 403, "{no:?}");
    let bystander = member(survivor, "user=bob").await;
    assert_eq!(kept(&redis, &before[0].id).await, "0", "nobody needs them yet");

    reload(&nodes, &with, 1.0).await;
    let after = members(doomed, 3, "user=ann").await;
    let ended_after = member(doomed, "user=ann").await;
    ended_after.leave().await;
    let run_by_its_own = [ended_after.id.as_str()];
    backend.each_is_disconnected_once(run_by_its_own, "the one that left").await;
    wait_for_kept(&redis, &before[0].id, before.len() + after.len()).await;
    // Once more changes nothing.
    reload(&nodes, &with, 2.0).await;

    doomed.signal("KILL").await;
    let all = ids(&before).chain(ids(&after));
    backend.each_is_disconnected_once(all, "each of the dead node's").await;
    for client in &before {
        let event = &backend.disconnect_events_of(&client.id)[0]["requestContext"];
        let connect = &backend.connect_of(&client.id)["requestContext"];
        for fact in ["connectedAt", "domainName", "identity", "apiId", "stage"] {
            assert!(!connect[fact].is_null() && connect[fact] == event[fact], "{fact}: {event}");
        }
        assert_eq!(event["authorizer"]["principalId"], "ann", "{event}");
        assert_eq!(event["disconnectStatusCode"], 1006, "{event}");
    }
    let gone = async || survivor.post_to("prod", &before[0].id, b"x").await;
    until_answered(410, &[503], 2 * LEASE, gone).await;
    wait_until(DEADLINE, "the claim to end", async || {
        redis.cli(&["exists", "{tidegate}:claims"]).await == "0"
    })
    .await;
    backend.nobody_is_disconnected_twice("at the end");
    // The dead node's, and the one that left; not who had ended before, or was refused.
    assert_eq!(backend.disconnects().len(), before.len() + after.len() + 1);
    bystander.leave().await;
    backend.each_is_disconnected_once([bystander.id.as_str()], "the survivor's own").await;
}

#[tokio::test]
async fn a_disconnect_route_that_a_reload_takes_away_is_run_for_nobody() {
    let (redis, backend) = (RedisServer::start().await, Backend::start().await);
    let (with, without) = files(&backend, &redis);
    let nodes = start_both(&with).await;
    let [survivor, doomed] = &nodes;
    let clients = members(doomed, 40, "user=ann").await;
    wait_for_kept(&redis, &clients[0].id, clients.len()).await;
    reload(&nodes, &without, 1.0).await;
    let later = member(doomed, "user=ann").await;
    // Whoever ends now is to be finished by nobody, so nothing is left of it.
    let [leaving, staying @ ..] = &clients[..] else { panic!("some clients") };
    leaving.leave().await;
    wait_for_kept(&redis, &later.id, staying.len()).await;

    doomed.signal("KILL").await;
    metric_reaches(survivor, "tidegate_bus_claimed_nodes_total", &[], 1.0).await;
    let orphans = staying.len() as f64;
    metric_reaches(survivor, "tidegate_bus_orphans_total", &[], orphans).await;
    wait_until(DEADLINE, "the claim to end", async || {
        redis.cli(&["exists", "{tidegate}:claims"]).await == "0"
    })
    .await;
    assert!(backend.disconnects().is_empty(), "run by a file that had no route for it");
    assert_eq!(survivor.metric("tidegate_bus_unusable_orphans_total", &[]).await, 0.0);
}

/// The store is what a node was started with: a reload that names another one says so.
#[tokio::test]
async fn a_node_keeps_its_store_over_a_reload_and_says_what_needs_a_restart() {
    let cluster = Cluster::start(2).await;
    let [first, second] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(second, "join=room").await;
    let elsewhere = RedisServer::start().await;
    let toml = cluster.backend.toml().redis(&[cluster.redis.url()]);
    let changes = [
        toml.clone().redis(&[elsewhere.url()]),
        toml.clone().set("store", "prefix", r#""other""#),
        toml.clone().set("store", "node_lease_s", "60"),
        cluster.backend.toml(),
    ];
    let told = || {
        let mut lines = first.logs();
        let said = "this change takes effect at the next start";
        lines.retain(|line| line["fields"]["message"] == said);
        lines.iter().map(|line| line["fields"]["key"].clone()).collect::<Vec<Value>>()
    };
    for (number, toml) in changes.iter().enumerate() {
        let due = number + 1;
        reload(std::slice::from_ref(first), &toml.build(), due as f64).await;
        wait_until(DEADLINE, "a line that says so", async || told().len() == due).await;
        let sent = first.manage("POST", "/prod/@groups/room", b"by the old store").await;
        assert_eq!(sent.json(), serde_json::json!({ "recipients": 1, "nodes": 1 }));
        assert!(first.is_ready().await);
    }
    assert!(told().iter().all(|key| key == "store"), "{:?}", told());
    client.settle().await;
    assert_eq!(client.texts(), ["by the old store"; 4]);
    assert_eq!(elsewhere.cli(&["dbsize"]).await, "0", "nothing went there");
    assert_eq!(cluster.redis.cli(&["keys", "{other}*"]).await, "");
}
