//! A Redis that speaks TLS and nothing else (`rediss://`).
//!
//! In:  certificates that `openssl` makes; `SSL_CERT_FILE` names the authority that nodes trust.
//! Out: nodes that reach each other through it; or what they say of a Redis that they do not trust.

use std::path::PathBuf;

use tempfile::TempDir;
use tidegate_testkit::{
    DEADLINE, GatewayToml, RedisCertificates, RedisServer, TestGateway, wait_until, within,
};
use tokio::process::Command;

use crate::{Backend, GATEWAY, member, metric_reaches};

/// An authority, and what it has signed.
struct Authority(TempDir);

impl Authority {
    async fn make(name: &str) -> Self {
        let made = Self(TempDir::with_prefix("tidegate-authority-").expect("a temporary folder"));
        made.run(&format!("req -x509 -subj /CN={name} -keyout ca.key -out ca.pem")).await;
        made
    }

    /// A server that this authority vouches for, as long as the url names this host.
    async fn redis_for(&self, host: &str) -> RedisServer {
        let signed = "-addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key";
        let names = format!("-subj /CN=redis -addext subjectAltName={host}");
        self.run(&format!("req -x509 {names} {signed} -keyout redis.key -out redis.pem")).await;
        let files = RedisCertificates {
            authority: self.path("ca.pem"),
            certificate: self.path("redis.pem"),
            private_key: self.path("redis.key"),
        };
        RedisServer::start_tls(&files).await
    }

    async fn run(&self, arguments: &str) {
        let key = "-days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
        let arguments = format!("{arguments} {key}");
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output();
        let output = within(DEADLINE, "openssl to end", output).await.expect("openssl runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A node that trusts this authority alone.
    async fn node(&self, toml: &GatewayToml) -> TestGateway {
        let trusted = self.path("ca.pem");
        let trusted = trusted.to_str().expect("a path in UTF-8");
        TestGateway::start_with(GATEWAY, &toml.build(), &[("SSL_CERT_FILE", trusted)]).await
    }
}

#[tokio::test]
async fn over_tls_nodes_are_ready_and_reach_each_other() {
    let (authority, backend) = (Authority::make("ours").await, Backend::start().await);
    let redis = authority.redis_for("IP:127.0.0.1").await;
    let plain = redis.url().replace("rediss://", "redis://");
    let node = async |url: String| authority.node(&backend.toml().redis(&[url])).await;
    let (owner, caller) = (node(redis.url()).await, node(redis.url()).await);
    owner.wait_until_ready().await;
    caller.wait_until_ready().await;
    let member = member(&owner, "join=room").await;
    let posted = caller.post_to("prod", &member.id, b"post").await;
    assert_eq!(posted.status, 200, "{posted:?}");
    let sent = caller.manage("POST", "/prod/@groups/room", b"group").await;
    assert_eq!(sent.json()["recipients"], 1, "{sent:?}");
    member.settle().await;
    assert_eq!(member.texts(), ["post", "group"]);
    // It was TLS: without it nobody gets in.
    let outside = node(plain).await;
    metric_reaches(&outside, "tidegate_bus_links_total", &[("outcome", "failed")], 2.0).await;
    assert!(!outside.is_ready().await);
}

/// What a node that cannot use its Redis says of it.
async fn trouble_of(node: &TestGateway) -> String {
    let line = node.wait_for_log("the redis cannot be used, and is tried again").await;
    wait_until(DEADLINE, "it to be tried again", async || {
        let failed = node.metric("tidegate_bus_links_total", &[("outcome", "failed")]).await;
        failed >= 2.0
    })
    .await;
    let health = node.admin("/health/ready").await;
    assert_eq!(health.status, 503, "{health:?}");
    assert_eq!(health.text(), "not ready: the node holds no lease in the redis\n");
    line["fields"]["error"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_node_that_does_not_trust_its_redis_is_not_ready_and_says_what_to_do() {
    let (vouching, other) = (Authority::make("one").await, Authority::make("another").await);
    let backend = Backend::start().await;
    let redis = vouching.redis_for("IP:127.0.0.1").await;
    let alone = backend.toml().redis(&[redis.url()]);
    let as_a_cluster = backend.toml().redis(&[redis.url(), redis.url()]);
    for toml in [&alone, &as_a_cluster] {
        let trouble = trouble_of(&other.node(toml).await).await;
        assert!(trouble.contains("SSL_CERT_FILE"), "{trouble}");
    }
    vouching.node(&alone).await.wait_until_ready().await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_accepted_and_the_names_are_told() {
    let (authority, backend) = (Authority::make("ours").await, Backend::start().await);
    let redis = authority.redis_for("DNS:redis.example.com").await;
    let node = authority.node(&backend.toml().redis(&[redis.url()])).await;
    let trouble = trouble_of(&node).await;
    assert!(trouble.contains("127.0.0.1") && trouble.contains("redis.example.com"), "{trouble}");
}
