//! What is posted through one node to a connection of another: in order, all of it, once
//! (reliability, line 21; tidegate, section 6, on calls that come again).

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;
use tidegate_testkit::{HttpClient, HttpResponse, TestGateway, http_call};

use crate::{Cluster, member::settle_all, members};

/// Callers at one node, each of which posts its own numbers one after the other.
const CALLERS: usize = 24;
const EACH: usize = 1000;
/// Connections at another node; several callers post to each.
const CONNECTIONS: usize = 6;
/// Posts of a caller that stand in its HTTP connection at once.
const PIPELINED: usize = 50;

#[tokio::test]
async fn of_24_000_posts_through_another_node_none_is_lost_doubled_or_out_of_order() {
    let cluster = Cluster::start(2).await;
    let [owner, other] = &cluster.nodes[..] else { panic!("two nodes") };
    let members = members(owner, CONNECTIONS, "").await;
    let calls = (0..CALLERS).map(|caller| {
        let target = format!("/prod/@connections/{}", members[caller % CONNECTIONS].id);
        let base = other.http_url();
        tokio::spawn(async move {
            let mut client = HttpClient::connect(&base).await;
            for first in (0..EACH).step_by(PIPELINED) {
                let mut requests = String::new();
                for number in first..first + PIPELINED {
                    let body = format!("{caller} {number}");
                    let length = body.len();
                    requests += &format!(
                        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                }
                client.send_bytes(requests.as_bytes()).await;
                for number in first..first + PIPELINED {
                    let answer = client.read_response(false).await;
                    assert_eq!(answer.status, 200, "{caller} {number}: {answer:?}");
                }
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("a caller whose posts were all taken");
    }
    settle_all(&members).await;
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for text in members.iter().flat_map(|member| member.texts()) {
        let (caller, number) = text.split_once(' ').expect("two numbers");
        let due = next.entry(caller.parse().expect("a number")).or_default();
        assert_eq!(number, due.to_string(), "of caller {caller}");
        *due += 1;
    }
    assert_eq!(next, (0..CALLERS).map(|caller| (caller, EACH)).collect());

    // What the metrics count of it.
    let posts = (CALLERS * EACH) as f64;
    for (node, counted) in [
        (other, "tidegate_bus_sent_total"),
        (other, "tidegate_bus_receipts_total"),
        (owner, "tidegate_bus_received_total"),
    ] {
        assert_eq!(node.metric(counted, &[]).await, posts, "{counted}");
    }
    let published = other.metric("tidegate_bus_published_total", &[]).await;
    assert!(published < posts, "what waits goes out together: {published} bus messages");
    assert!(other.metric("tidegate_bus_published_bytes_total", &[]).await > posts);
    assert_eq!(other.metric("tidegate_bus_failed_total", &[]).await, 0.0);
    assert_eq!(other.metric("tidegate_bus_waiting", &[]).await, 0.0);
    assert_eq!(other.metric("tidegate_bus_queued_bytes", &[]).await, 0.0);
}

async fn call(node: &TestGateway, target: &str, name: (&str, &str), body: &str) -> HttpResponse {
    http_call(&node.http_url(), "POST", target, &[name], body.as_bytes()).await
}

#[tokio::test]
async fn a_call_that_comes_again_through_another_node_is_answered_as_before_and_sent_once() {
    let cluster = Cluster::start(3).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!("three nodes") };
    let [at_a] = &members(a, 1, "join=room").await[..] else { panic!("one") };
    let [at_b] = &members(b, 1, "join=room").await[..] else { panic!("one") };
    let batch = json!({ "connectionIds": [at_a.id, at_b.id], "data": "batch" }).to_string();
    let sent_to_both = json!({ "recipients": 2, "nodes": 2 });
    let post = format!("/prod/@connections/{}", at_a.id);
    for (number, (target, body, due)) in [
        (post.as_str(), "post", None),
        ("/prod/@groups/room", "group", Some(sent_to_both.clone())),
        ("/prod/@broadcast", "broadcast", Some(sent_to_both)),
        ("/prod/@connections", &batch, Some(json!({ "delivered": 2, "gone": [] }))),
    ]
    .into_iter()
    .enumerate()
    {
        // The name that AWS SDKs repeat, and the one of everybody else; neither is the other.
        for header in ["amz-sdk-invocation-id", "Idempotency-Key"] {
            let id = format!("call {number}");
            let name = (header, id.as_str());
            for node in [c, b, a, c] {
                let answer = call(node, target, name, body).await;
                assert_eq!(answer.status, 200, "{header}: {answer:?}");
                if let Some(due) = &due {
                    assert_eq!(answer.json(), *due, "{header} of {target}");
                }
            }
            // All at once, through all nodes.
            let id = format!("race {number}");
            let name = (header, id.as_str());
            let race = [a, b, c, a, b, c].map(|node| call(node, target, name, body));
            for answer in join_all(race).await {
                assert_eq!(answer.status, 200, "{header}: {answer:?}");
                if let Some(due) = &due {
                    assert_eq!(answer.json(), *due, "{header} of {target}, all at once");
                }
            }
        }
    }
    settle_all([at_a, at_b]).await;
    let twice_with_each_header = |text: &str| vec![text.to_owned(); 4];
    let of_both = ["group", "broadcast", "batch"].map(twice_with_each_header).concat();
    assert_eq!(at_a.texts(), [twice_with_each_header("post"), of_both.clone()].concat());
    assert_eq!(at_b.texts(), of_both);
}

/// A name is its target's alone.
#[tokio::test]
async fn the_same_name_for_another_target_or_without_a_name_is_another_call() {
    let cluster = Cluster::start(2).await;
    let [a, b] = &cluster.nodes[..] else { panic!("two nodes") };
    let members = members(a, 2, "join=one,two").await;
    let name = ("Idempotency-Key", "the same");
    for target in [
        format!("/prod/@connections/{}", members[0].id),
        format!("/prod/@connections/{}", members[1].id),
        "/prod/@groups/one".to_owned(),
        "/prod/@groups/two".to_owned(),
        format!("/prod/@groups/two?except={}", members[1].id),
        "/prod/@broadcast".to_owned(),
    ] {
        for node in [b, a, b] {
            assert_eq!(call(node, &target, name, &target).await.status, 200);
        }
    }
    for node in [b, b, a] {
        assert_eq!(node.manage("POST", "/prod/@groups/one", b"no name").await.status, 200);
    }
    settle_all(&members).await;
    assert_eq!(members.iter().map(|member| member.texts().len()).collect::<Vec<_>>(), [8, 7]);
}
