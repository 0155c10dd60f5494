//! Several nodes are one gateway: whichever node a call reaches, it is answered as by one node that
//! holds every connection (tidegate, sections 6 and 7).
//!
//! In:  one script of calls. Out: its answers and what clients got, word for word the same on one
//!      node by itself and across three.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_testkit::{GatewayToml, HttpResponse, TestGateway, http_call};

use crate::{Backend, Cluster, GATEWAY, Member, NOBODY, member, metric_reaches};

/// Clients by the names that the script has for them, and what was answered so far.
struct Play<'a> {
    entry: &'a TestGateway,
    cast: Vec<(&'static str, Member)>,
    told: Vec<String>,
}

fn with_users(toml: GatewayToml) -> GatewayToml {
    Backend::guard(toml).stage("test").api("binary", r#""pass""#)
}

impl<'a> Play<'a> {
    /// Seven clients, one after the other on the nodes of `homes`.
    async fn begin(entry: &'a TestGateway, homes: &[&TestGateway]) -> Self {
        let mut cast = Vec::new();
        let roles = [
            ("ann", "user=ann&join=red,blue"),
            ("bob", "user=bob&join=red"),
            ("cid", "user=cid&join=red"),
            ("ann again", "user=ann"),
            ("dan", "user=dan&join=red"),
            ("eve", "user=eve"),
            ("fay", "user=fay&join=red"),
        ];
        for (number, (name, query)) in roles.into_iter().enumerate() {
            cast.push((name, member(homes[number % homes.len()], query).await));
        }
        Self { entry, cast, told: Vec::new() }
    }

    fn of(&self, name: &str) -> &Member {
        &self.cast.iter().find(|(own, _)| *own == name).expect("one of the cast").1
    }

    /// A call of stage `prod`. `[name]` in a target or a body is that client's id; in the answer
    /// ids are names again.
    async fn call(&mut self, method: &str, target: &str, body: &str) -> HttpResponse {
        let named = |text: &str| {
            let mut text = text.to_owned();
            for (name, member) in &self.cast {
                text = text.replace(&format!("[{name}]"), &member.id);
            }
            text.replace("[nobody]", NOBODY)
        };
        let path = format!("/prod/{}", named(target));
        let body = named(body);
        let answer = http_call(&self.entry.http_url(), method, &path, &[], body.as_bytes()).await;
        let error = answer.header("x-amzn-errortype").unwrap_or("-").to_owned();
        let said = self.unnamed(answer.text());
        self.told.push(format!("{method} {target}: {} {error} {said}", answer.status));
        answer
    }

    fn unnamed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, member) in &self.cast {
            text = text.replace(&member.id, &format!("[{name}]"));
        }
        text.replace(NOBODY, "[nobody]")
    }

    /// What each client has got, and how it ended. Everything that was sent has come.
    async fn curtain(mut self) -> Vec<String> {
        for (name, member) in &self.cast {
            if member.end().is_none() {
                member.settle().await;
            }
            let texts: Vec<_> = member.texts().iter().map(|text| self.unnamed(text)).collect();
            let end = member.end().map(|(code, _)| code);
            self.told.push(format!("{name}: {texts:?} {end:?}"));
        }
        self.told
    }

    async fn all_calls(mut self) -> Vec<String> {
        // One connection.
        self.call("POST", "@connections/[ann]", "hello").await;
        self.call("POST", "@connections/[bob]", "").await;
        self.call("POST", "@connections/[cid]", &"x".repeat(128 * 1024 + 1)).await;
        self.call("POST", "@connections/[cid]", &"x".repeat(128 * 1024)).await;
        self.call("POST", "@connections/[nobody]", "x").await;
        self.call("POST", "@connections/nonsense", "x").await;
        for name in ["ann", "bob", "cid"] {
            self.describe(name).await;
        }
        // Groups.
        self.call("GET", "@groups/red", "").await;
        self.call("GET", "@groups/none", "").await;
        self.call("POST", "@groups/red", "to red").await;
        self.call("POST", "@groups/red?except=[bob]&except=[dan]", "not to all of red").await;
        self.call("POST", "@groups/red?except=[eve]", "eve is no member").await;
        self.call("POST", "@groups/none", "x").await;
        for name in ["eve", "ann again"] {
            self.call("PUT", &format!("@groups/late/connections/[{name}]"), "").await;
            // Once more changes nothing.
            self.call("PUT", &format!("@groups/late/connections/[{name}]"), "").await;
        }
        self.call("PUT", "@groups/late/connections/[nobody]", "").await;
        self.call("PUT", "@groups/not%20a%20name/connections/[eve]", "").await;
        self.call("POST", "@groups/late", "to late").await;
        self.call("DELETE", "@groups/late/connections/[eve]", "").await;
        self.call("DELETE", "@groups/late/connections/[nobody]", "").await;
        self.call("GET", "@groups/late", "").await;
        self.call("POST", "@groups/late", "to the last one").await;
        self.pages("@groups/red/connections", 5).await;
        self.pages("@groups/late/connections", 1).await;
        self.pages("@connections", 7).await;
        // Users, everybody, lists.
        self.call("POST", "@users/ann", "to ann").await;
        self.call("POST", "@users/ann?except=[ann]", "to the other ann").await;
        self.call("POST", "@users/nobody", "x").await;
        self.call("POST", "@broadcast", "to all").await;
        self.call("POST", "@broadcast?except=[ann]&except=[fay]", "to nearly all").await;
        let batch = r#"{"connectionIds":["[fay]","[ann]","[bob]","[ann]"],"data":"to some"}"#;
        self.call("POST", "@connections", batch).await;
        // In the order of the call, wherever they were.
        let batch = r#"{"connectionIds":["[nobody]","[cid]"],"data":"to one"}"#;
        self.call("POST", "@connections", batch).await;
        self.call("POST", "@connections", r#"{"connectionIds":["?"],"data":"x"}"#).await;
        // Another stage of the same api knows none of them.
        let ann = self.of("ann").id.clone();
        let target = format!("/test/@connections/{ann}");
        let foreign = http_call(&self.entry.http_url(), "POST", &target, &[], b"x").await;
        self.told.push(format!("another stage: {}", foreign.status));
        let foreign =
            http_call(&self.entry.http_url(), "POST", "/test/@broadcast", &[], b"x").await;
        self.told.push(format!("another stage: {}", foreign.text()));
        // Ends.
        self.call("DELETE", "@connections/[cid]?code=999", "").await;
        self.call("DELETE", "@connections/[cid]?code=4001&reason=that%20is%20it", "").await;
        self.of("cid").wait_for_end().await;
        for method in ["POST", "GET", "DELETE"] {
            self.call(method, "@connections/[cid]", "").await;
        }
        self.call("PUT", "@groups/red/connections/[cid]", "").await;
        self.call("DELETE", "@users/ann", "").await;
        for name in ["ann", "ann again"] {
            self.of(name).wait_for_end().await;
        }
        self.call("GET", "@groups/red", "").await;
        self.call("DELETE", "@groups/red?code=4002", "").await;
        for name in ["bob", "dan", "fay"] {
            self.of(name).wait_for_end().await;
        }
        self.call("GET", "@groups/red", "").await;
        self.call("POST", "@broadcast", "to the last").await;
        self.pages("@connections", 1).await;
        self.curtain().await
    }

    /// What a node says of a connection is what its `$connect` knew.
    async fn describe(&mut self, name: &str) {
        let answer = self.call("GET", &format!("@connections/[{name}]"), "").await;
        // Its times are another play's.
        self.told.pop();
        let described = answer.json();
        assert_eq!(described["identity"]["sourceIp"], "127.0.0.1", "{described}");
        let connected = described["connectedAt"].as_str().expect("a time").to_owned();
        let active = described["lastActiveAt"].as_str().expect("a time");
        assert!(connected.len() == 24 && connected.as_str() <= active, "{described}");
        let keys: Vec<_> = described.as_object().expect("an object").keys().cloned().collect();
        self.told.push(format!("GET {name}: {} {keys:?}", answer.status));
    }

    /// Each id of a list once, whatever the page's size.
    async fn pages(&mut self, list: &str, count: usize) {
        for limit in [1, 2, 100] {
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            let mut cursor = String::new();
            loop {
                let target = format!("{list}?limit={limit}{cursor}");
                let answer = self.call("GET", &target, "").await;
                self.told.pop();
                let page: Value = answer.json();
                let ids = page["connectionIds"].as_array().expect("ids").clone();
                assert!(ids.len() <= limit, "{page}");
                for id in ids {
                    *seen.entry(self.unnamed(id.as_str().expect("an id"))).or_default() += 1;
                }
                match page["cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!((seen.len(), seen.values().max()), (count, Some(&1)), "{list}: {seen:?}");
            self.told.push(format!("{list} by {limit}: {seen:?}"));
        }
    }
}

/// How many nodes an answer speaks of is the one thing that may differ.
fn without_nodes(told: Vec<String>) -> Vec<String> {
    let strip = |line: String| match line.rsplit_once(r#","nodes":"#) {
        Some((before, _)) => format!("{before}}}"),
        None => line,
    };
    told.into_iter().map(strip).collect()
}

#[tokio::test]
async fn every_call_is_answered_as_by_one_node_whichever_node_it_reaches() {
    let backend = Backend::start().await;
    let alone = TestGateway::start(GATEWAY, &with_users(backend.toml()).build()).await;
    let on_one = Play::begin(&alone, &[&alone]).await.all_calls().await;
    assert!(
        on_one.iter().any(|line| line.contains(r#"{"recipients":5,"nodes":1}"#)),
        "{on_one:#?}"
    );
    let on_one = without_nodes(on_one);

    let cluster = Cluster::start_with(3, with_users).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!("three nodes") };
    for node in [a, b] {
        crate::knows_who_is_gone(node).await;
    }
    for (entry, homes) in [(a, [b, c, b].as_slice()), (b, &[a, b, c])] {
        let across = Play::begin(entry, homes).await.all_calls().await;
        for (one, several) in on_one.iter().zip(without_nodes(across)) {
            assert_eq!(*one, several, "on one node, and across several");
        }
        // The next play is for an empty house.
        crate::until_answered(200, &[], crate::LEASE, async || {
            let mut answer = entry.manage("POST", "/prod/@broadcast", b"who is there").await;
            if answer.json()["recipients"] != 0 {
                answer.status = 0;
            }
            answer
        })
        .await;
    }
}

/// The counts of an audience's send, and one bus message for each node that has members.
#[tokio::test]
async fn a_send_says_how_many_took_it_on_how_many_nodes() {
    let cluster = Cluster::start(3).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!("three nodes") };
    let at_b = crate::members(b, 20, "join=room").await;
    let at_c = crate::members(c, 10, "join=room").await;
    let send = async |target: &str| {
        let answer = a.manage("POST", target, b"hello").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    assert_eq!(send("/prod/@groups/room").await, json!({ "recipients": 30, "nodes": 2 }));
    let published = a.metric("tidegate_bus_sent_total", &[]).await;
    let received = b.metric("tidegate_bus_received_total", &[]).await;
    assert_eq!(send("/prod/@broadcast").await, json!({ "recipients": 30, "nodes": 2 }));
    assert_eq!(a.metric("tidegate_bus_sent_total", &[]).await, published + 2.0);
    metric_reaches(b, "tidegate_bus_received_total", &[], received + 1.0).await;
    assert_eq!(b.metric("tidegate_bus_received_total", &[]).await, received + 1.0);
    let except = format!("/prod/@groups/room?except={}&except={}", at_b[0].id, at_c[0].id);
    assert_eq!(send(&except).await, json!({ "recipients": 28, "nodes": 2 }));
    for (number, member) in at_b.iter().chain(&at_c).enumerate() {
        member.settle().await;
        let due = if number == 0 || number == 20 { 2 } else { 3 };
        assert_eq!(member.texts().len(), due, "client {number}");
    }
    for member in &at_c {
        member.leave().await;
    }
    crate::until_answered(200, &[], crate::LEASE, async || {
        let mut answer = a.manage("POST", "/prod/@groups/room", b"x").await;
        if answer.json() != json!({ "recipients": 20, "nodes": 1 }) {
            answer.status = 0;
        }
        answer
    })
    .await;
}
