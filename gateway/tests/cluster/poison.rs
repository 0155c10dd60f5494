//! What anybody may publish to a node's inbox: counted, dropped, and of no consequence (reliability,
//! line 27).

use tidegate_testkit::{DEADLINE, RedisServer, TestGateway, wait_until};

use crate::{
    Backend, Cluster, LEASE, member, metric_reaches, node_of, start_nodes, until_answered,
};

/// Header of a bus message: magic, version, sender.
pub(crate) fn header(version: u8) -> Vec<u8> {
    [b"tgb".as_slice(), &[version], &7u32.to_be_bytes()].concat()
}

/// An item with its length.
fn item(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short item");
    [&length.to_be_bytes(), body].concat()
}

async fn publish(redis: &RedisServer, inbox: &str, message: &[u8]) {
    let heard = redis.cli_with(&["spublish", inbox], message).await;
    assert_eq!(heard, "1", "the node listens");
}

fn inbox_of(id: &str) -> String {
    format!("tidegate:1:inbox:{}", node_of(id))
}

async fn dropped(node: &TestGateway, reason: &str, count: f64) {
    metric_reaches(node, "tidegate_bus_dropped_total", &[("reason", reason)], count).await;
    let counted = node.metric("tidegate_bus_dropped_total", &[("reason", reason)]).await;
    assert_eq!(counted, count, "{reason}");
}

#[tokio::test]
async fn poisoned_bus_messages_are_counted_by_their_kind_and_delivery_goes_on() {
    let cluster = Cluster::start(2).await;
    let [owner, caller] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(owner, "join=room").await;
    let inbox = inbox_of(&client.id);
    let number = 42u64.to_be_bytes();
    let late = [number.as_slice(), &[128]].concat();
    let unknown_kind = [number.as_slice(), &[77], b"?"].concat();
    let too_much = [number.as_slice(), &[128], b"more than it says"].concat();
    let cut_off = [&u32::MAX.to_be_bytes(), b"short".as_slice()].concat();
    let wrong: [(&str, Vec<u8>, f64); 10] = [
        ("foreign", Vec::new(), 1.0),
        ("foreign", b"random \xff\x00 bytes".to_vec(), 2.0),
        ("foreign", b"{\"json\":true}".to_vec(), 3.0),
        ("version", [header(2), item(&late)].concat(), 1.0),
        ("version", header(0), 2.0),
        ("malformed", [header(1), cut_off].concat(), 1.0),
        ("malformed", [header(1), item(&unknown_kind)].concat(), 2.0),
        ("malformed", [header(1), item(&too_much)].concat(), 3.0),
        // What is right beside it is taken, though nobody asked for this answer.
        ("malformed", [header(1), item(&unknown_kind), item(&late)].concat(), 4.0),
        ("late", [header(1), item(&late)].concat(), 2.0),
    ];
    for (reason, message, count) in wrong {
        publish(&cluster.redis, &inbox, &message).await;
        dropped(owner, reason, count).await;
    }
    dropped(owner, "too_long", 0.0).await;
    dropped(owner, "overflow", 0.0).await;
    for node in [owner, caller] {
        assert_eq!(node.post_to("prod", &client.id, b"x").await.status, 200);
    }
    let sent = caller.manage("POST", "/prod/@groups/room", b"x").await;
    assert_eq!(sent.json()["recipients"], 1);
    client.settle().await;
    assert_eq!(client.texts().len(), 3);
    assert!(owner.is_ready().await);
    assert_eq!(owner.metric("tidegate_bus_links_total", &[("outcome", "lost")]).await, 0.0);
}

/// A server that has no limit of its own hands it on.
#[tokio::test]
async fn a_bus_message_of_100_mb_is_dropped_and_delivery_goes_on() {
    let redis = RedisServer::start_with(&["--client-output-buffer-limit", "pubsub 0 0 0"]).await;
    let backend = Backend::start().await;
    // Patient enough to take it in.
    let toml = backend.toml().redis(&[redis.url()]).set("store", "node_lease_s", "10");
    let nodes = start_nodes(&vec![toml; 2]).await;
    let [owner, caller] = &nodes[..] else { panic!("two nodes") };
    let client = member(owner, "").await;
    let message = vec![b'x'; 100 << 20];
    publish(&redis, &inbox_of(&client.id), &message).await;
    dropped(owner, "too_long", 1.0).await;
    let post = async || caller.post_to("prod", &client.id, b"afterwards").await;
    until_answered(200, &[503], LEASE, post).await;
    client.settle().await;
    assert_eq!(client.texts(), ["afterwards"]);
}

/// Redis's default limit cuts off a subscriber that would have to take so much: the node is back by
/// itself.
#[tokio::test]
async fn a_node_that_the_redis_cut_off_for_a_message_too_long_is_back_by_itself() {
    let cluster = Cluster::start(2).await;
    let [owner, caller] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(owner, "join=room").await;
    cluster.redis.cli_with(&["spublish", &inbox_of(&client.id)], &vec![b'x'; 40 << 20]).await;
    metric_reaches(owner, "tidegate_bus_links_total", &[("outcome", "lost")], 1.0).await;
    wait_until(DEADLINE, "it to be back", async || owner.is_ready().await).await;
    let post = async || caller.post_to("prod", &client.id, b"afterwards").await;
    until_answered(200, &[503], 2 * LEASE, post).await;
    client.settle().await;
    assert_eq!((client.texts(), client.end()), (vec!["afterwards".to_owned()], None));
    assert_eq!(owner.metric("tidegate_bus_lost_leases_total", &[]).await, 0.0);
}
