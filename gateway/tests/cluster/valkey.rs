//! Valkey in Redis's place: nodes are one gateway there as well (tidegate, sections 6 and 7).
//!
//! Without Valkey `./test.sh` leaves out the tests that have it in their names, and says so.

use serde_json::json;
use tidegate_testkit::{DEADLINE, RedisProgram, RedisServer, wait_until};

use crate::{Backend, LEASE, members, start_nodes, until_answered};

#[tokio::test]
async fn messages_reach_across_nodes_and_the_survivors_finish_for_a_killed_one() {
    const AT_EACH: usize = 20;
    let (redis, backend) =
        (RedisServer::start_as(RedisProgram::Valkey, &[]).await, Backend::start().await);
    let nodes = start_nodes(&vec![backend.toml().redis(&[redis.url()]); 3]).await;
    let [first, second, doomed] = &nodes[..] else { panic!("three nodes") };
    let here = members(first, AT_EACH, "join=room").await;
    let there = members(doomed, AT_EACH, "join=room").await;
    for node in &nodes {
        for member in here.iter().chain(&there) {
            let posted = node.post_to("prod", &member.id, b"post").await;
            assert_eq!(posted.status, 200, "{posted:?}");
        }
        let sent = node.manage("POST", "/prod/@groups/room", b"group").await;
        assert_eq!(sent.json(), json!({ "recipients": 2 * AT_EACH, "nodes": 2 }));
    }
    let thrice_both = ["post", "group", "post", "group", "post", "group"];
    for member in here.iter().chain(&there) {
        member.settle().await;
        assert_eq!(member.texts(), thrice_both);
    }
    // By sharded pub/sub, which Redis has since 7.
    assert_eq!(redis.cli(&["pubsub", "shardchannels"]).await.lines().count(), nodes.len());

    doomed.signal("KILL").await;
    for node in [first, second] {
        let gone = async || node.post_to("prod", &there[0].id, b"x").await;
        until_answered(410, &[503], 2 * LEASE, gone).await;
    }
    let ids = there.iter().map(|member| member.id.as_str());
    backend.each_is_disconnected_once(ids, "each of the killed node's").await;
    wait_until(DEADLINE, "the claim to end", async || {
        redis.cli(&["exists", "{tidegate}:claims"]).await == "0"
    })
    .await;
    assert_eq!(backend.disconnects().len(), there.len(), "nobody else's");
    let sent = second.manage("POST", "/prod/@groups/room", b"who is left").await;
    assert_eq!(sent.json(), json!({ "recipients": AT_EACH, "nodes": 1 }));
    for member in &here {
        member.settle().await;
        assert_eq!(member.texts().last().map(String::as_str), Some("who is left"));
    }
}
