//! `tidegate_bus_*`: which there are, and where it is tested that each of them moves.

use std::collections::BTreeSet;

use tidegate_testkit::{DEADLINE, TestGateway, wait_until};

use crate::{
    Backend, Cluster, GATEWAY, assert_unavailable, member, metric_reaches, node_of,
    outages::BACK_WITHIN, until_answered,
};

/// Every sample, and the file whose tests see it move.
const MOVED: [(&str, &str); 25] = [
    ("up", "outages"),
    ("lease_held", "outages"),
    ("sent_total", "delivery"),
    ("received_total", "delivery"),
    ("receipts_total", "delivery"),
    (r#"failed_total{reason="timeout"}"#, "metrics"),
    (r#"failed_total{reason="unavailable"}"#, "outages"),
    ("published_total", "delivery"),
    ("published_bytes_total", "delivery"),
    (r#"dropped_total{reason="too_long"}"#, "poison"),
    (r#"dropped_total{reason="foreign"}"#, "poison"),
    (r#"dropped_total{reason="version"}"#, "poison"),
    (r#"dropped_total{reason="malformed"}"#, "poison"),
    (r#"dropped_total{reason="overflow"}"#, "metrics"),
    (r#"dropped_total{reason="late"}"#, "metrics"),
    (r#"links_total{outcome="made"}"#, "outages"),
    (r#"links_total{outcome="failed"}"#, "outages"),
    (r#"links_total{outcome="lost"}"#, "outages"),
    ("failed_probes_total", "metrics"),
    ("lost_leases_total", "ghosts"),
    ("claimed_nodes_total", "deaths"),
    ("orphans_total", "deaths"),
    ("unusable_orphans_total", "deaths"),
    ("waiting", "metrics"),
    ("queued_bytes", "metrics"),
];

fn samples(metrics: &str) -> BTreeSet<&str> {
    let names = metrics.lines().filter_map(|line| line.strip_prefix("tidegate_bus_"));
    names.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
}

#[tokio::test]
async fn each_figure_of_the_bus_is_moved_by_a_test_and_a_node_by_itself_has_none() {
    let cluster = Cluster::start(1).await;
    let metrics = cluster.nodes[0].metrics().await;
    let known: BTreeSet<&str> = MOVED.iter().map(|(name, _)| *name).collect();
    assert_eq!(samples(&metrics), known, "a new figure needs a test that makes it move");
    let backend = Backend::start().await;
    let alone = TestGateway::start(GATEWAY, &backend.toml().build()).await;
    assert_eq!(samples(&alone.metrics().await), BTreeSet::new());
}

/// A node that listens and says nothing: a question waits for it, is given up, and its answer is
/// nobody's any more.
#[tokio::test]
async fn a_question_that_is_answered_too_late_is_counted_on_both_ways() {
    let cluster = Cluster::start_with(2, |toml| toml.set("store", "node_lease_s", "20")).await;
    let [silent, asking] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(silent, "").await;
    silent.freeze().await;
    let post = async { assert_unavailable(&asking.post_to("prod", &client.id, b"late").await) };
    let waiting = metric_reaches(asking, "tidegate_bus_waiting", &[], 1.0);
    tokio::join!(post, waiting);
    let timed_out = [("reason", "timeout")];
    assert_eq!(asking.metric("tidegate_bus_failed_total", &timed_out).await, 1.0);
    assert_eq!(asking.metric("tidegate_bus_waiting", &[]).await, 0.0);
    silent.signal("CONT").await;
    metric_reaches(asking, "tidegate_bus_dropped_total", &[("reason", "late")], 1.0).await;
}

/// More bus messages at once than a node takes in.
#[tokio::test]
async fn a_flood_of_bus_messages_is_dropped_and_counted() {
    let cluster = Cluster::start_with(2, |toml| toml.set("store", "node_lease_s", "20")).await;
    let [flooded, other] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(flooded, "").await;
    let inbox = format!("tidegate:1:inbox:{}", node_of(&client.id));
    flooded.freeze().await;
    let flood = "for i = 1, 60000 do redis.call('SPUBLISH', KEYS[1], 'x') end";
    cluster.redis.cli(&["eval", flood, "1", &inbox]).await;
    flooded.signal("CONT").await;
    metric_reaches(flooded, "tidegate_bus_dropped_total", &[("reason", "overflow")], 1.0).await;
    metric_reaches(flooded, "tidegate_bus_dropped_total", &[("reason", "foreign")], 1.0).await;
    // When it reads what came behind the flood, the flood is over. Its own probe may have been among
    // what was dropped: then it makes its link anew.
    wait_until(DEADLINE, "the flood to be over", async || {
        cluster.redis.cli_with(&["spublish", &inbox], &crate::poison::header(2)).await;
        flooded.metric("tidegate_bus_dropped_total", &[("reason", "version")]).await >= 1.0
    })
    .await;
    let post = async || other.post_to("prod", &client.id, b"afterwards").await;
    until_answered(200, &[503], BACK_WITHIN, post).await;
    client.settle().await;
    assert_eq!(client.texts(), ["afterwards"]);
}

/// The Redis is slow: what is to be published waits, and the figure says how much.
#[tokio::test]
async fn what_waits_to_be_published_is_told_in_bytes() {
    let cluster = Cluster::start_with(2, |toml| toml.set("store", "node_lease_s", "20")).await;
    let [owner, asking] = &cluster.nodes[..] else { panic!("two nodes") };
    let client = member(owner, "").await;
    cluster.redis.freeze().await;
    let body = vec![b'x'; 100_000];
    let post = async || asking.post_to("prod", &client.id, &body).await.status;
    // The first one is on its way; the others stand behind it.
    let others = async {
        metric_reaches(asking, "tidegate_bus_waiting", &[], 1.0).await;
        futures_util::future::join_all((0..7).map(|_| post())).await
    };
    let queued = async {
        metric_reaches(asking, "tidegate_bus_queued_bytes", &[], 700_000.0).await;
        cluster.redis.thaw().await;
    };
    let (first, others, ()) = tokio::join!(post(), others, queued);
    assert_eq!((first, others), (200, vec![200; 7]), "a pause is not an outage");
    assert_eq!(asking.metric("tidegate_bus_queued_bytes", &[]).await, 0.0);
    let texts = client.wait_for_texts(8).await;
    assert!(texts.iter().all(|text| text.len() == body.len()));
}

/// A Redis that says nothing: the probe, once a second, is the first to miss it.
#[tokio::test]
async fn a_probe_that_does_not_come_back_is_counted_and_the_node_is_not_ready() {
    let cluster = Cluster::start_with(1, |toml| toml.set("store", "node_lease_s", "20")).await;
    let node = &cluster.nodes[0];
    assert_eq!(node.metric("tidegate_bus_failed_probes_total", &[]).await, 0.0);
    cluster.redis.freeze().await;
    metric_reaches(node, "tidegate_bus_failed_probes_total", &[], 1.0).await;
    assert!(!node.is_ready().await);
    cluster.redis.thaw().await;
    node.wait_until_ready().await;
}
