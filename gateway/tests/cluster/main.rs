//! Several nodes and their Redis: real gateway processes, real `redis-server` processes, killed,
//! frozen, cut off and started again (tidegate, sections 6 and 7; reliability, lines 20, 21, 25 to 30
//! and 33).
//!
//! In:  a [`Cluster`]: nodes that share a Redis and a [`Backend`]; [`Member`]s, their clients.
//! Out: what each client got and how it ended, which `$disconnect` was run how often, what callers
//! were answered, what the metrics count.
//!
//! Holds always: every test has processes of its own on ports of its own; waits are for events,
//! under a deadline. What a promise gives a time for is held to that time.

mod backend;
mod deaths;
mod delivery;
mod ghosts;
mod member;
mod metrics;
mod one_gateway;
mod outages;
mod poison;
mod reloads;
mod restarts;
mod rooms;
mod storms;
mod tls;
mod topologies;
mod valkey;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidegate_testkit::{DEADLINE, GatewayToml, HttpResponse, RedisServer, TestGateway};

pub(crate) use self::{
    backend::Backend,
    member::{Member, member, members},
};

/// The binary under test.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A node that is silent for this long is dead: what [`GatewayToml::redis`] sets.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Of the shape of a connection id, and nobody's.
pub(crate) const NOBODY: &str = "L0SM9cOFvHcCIhw=";

/// Nodes that share a Redis, and the backend behind them.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<TestGateway>,
    pub(crate) redis: RedisServer,
    pub(crate) backend: Backend,
}

impl Cluster {
    /// That many nodes, which deliver.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |toml| toml).await
    }

    /// The same, with changes of their file.
    pub(crate) async fn start_with(
        count: usize,
        change: impl FnOnce(GatewayToml) -> GatewayToml,
    ) -> Self {
        let (redis, backend) = (RedisServer::start().await, Backend::start().await);
        let toml = change(backend.toml().redis(&[redis.url()]));
        let nodes = start_nodes(&vec![toml; count]).await;
        Self { nodes, redis, backend }
    }
}

/// Starts a node for each file; all of them deliver.
pub(crate) async fn start_nodes(files: &[GatewayToml]) -> Vec<TestGateway> {
    join_all(files.iter().map(async |toml| {
        let node = TestGateway::start(GATEWAY, &toml.build()).await;
        node.wait_until_ready().await;
        node
    }))
    .await
}

/// The number of the node that a connection id names, as keys and channels of the Redis have it.
pub(crate) fn node_of(id: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE};
    let bytes = URL_SAFE.decode(id).expect("an id is base64");
    bytes[..3].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks again and again until the status is the one that is due, at the latest after `within`, and
/// gives how long that took. Fails at any status but that and those in `before`.
pub(crate) async fn until_answered(
    due: u16,
    before: &[u16],
    within: Duration,
    ask: impl AsyncFn() -> HttpResponse,
) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        let late = begun.elapsed();
        if answer.status == due {
            assert!(late <= within, "{due} only after {late:?}");
            return late;
        }
        assert!(before.contains(&answer.status), "{due} was due, not {answer:?}");
        assert!(late < within, "no {due} after {late:?}, but {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until this node knows who is gone: a directory that is new may lack nodes that live, so for
/// one lease nobody is.
pub(crate) async fn knows_who_is_gone(node: &TestGateway) {
    let ask = async || node.post_to("prod", NOBODY, b"x").await;
    until_answered(410, &[503], 2 * LEASE, ask).await;
}

/// Checks that a call was refused since somebody cannot be reached.
pub(crate) fn assert_unavailable(answer: &HttpResponse) {
    let told = (answer.status, answer.header("x-amzn-errortype"));
    assert_eq!(told, (503, Some("ServiceUnavailableException")), "{answer:?}");
}

/// Waits until a metric has reached a value.
pub(crate) async fn metric_reaches(
    node: &TestGateway,
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) {
    tidegate_testkit::wait_until(DEADLINE, &format!("{name} {labels:?} {value}"), async || {
        node.metric(name, labels).await >= value
    })
    .await;
}
