//! A Redis, or a Valkey, of several servers: one that sentinels watch, and a cluster of six.
//!
//! In:  as [`RedisServer`]. Out: urls for `[store] url`, servers that can be killed.
//!
//! Holds always: who has been started is ready: the sentinels know each other and the replica, every
//! server of the cluster knows all of it.

use std::path::Path;

use tempfile::TempDir;
use tokio::process::Child;

use crate::{
    DEADLINE, RedisProgram, RedisServer, redis_program::Setup, redis_server::free_port, wait_until,
};

/// A master, a replica, and three sentinels that name a new master after a second of silence.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The first master.
    pub master: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    _folder: TempDir,
    port: u16,
    setup: Setup,
    _child: Child,
}

impl RedisSentinels {
    /// All five, of this program.
    pub async fn start(program: RedisProgram) -> Self {
        let master = RedisServer::start_as(program, &[]).await;
        let port = master.port().to_string();
        let of_master = ["--replicaof", "127.0.0.1", &port];
        let replica = RedisServer::start_as(program, &of_master).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(program, master.port()).await);
        }
        let all = Self { master, replica, sentinels };
        wait_until(DEADLINE, "the sentinels to know each other and the replica", async || {
            for sentinel in &all.sentinels {
                let told = sentinel.cli(&["sentinel", "master", "main"]).await;
                let lines: Vec<&str> = told.lines().collect();
                let says = |pair: [&str; 2]| lines.windows(2).any(|found| found == pair);
                if !says(["num-slaves", "1"]) || !says(["num-other-sentinels", "2"]) {
                    return false;
                }
            }
            true
        })
        .await;
        all
    }

    /// `redis+sentinel://…/main`.
    pub fn url(&self) -> String {
        let host = |sentinel: &Sentinel| format!("127.0.0.1:{}", sentinel.port);
        let hosts: Vec<_> = self.sentinels.iter().map(host).collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }
}

impl Sentinel {
    async fn start(program: RedisProgram, master: u16) -> Self {
        let setup = Setup::new(program, &[]);
        for _ in 0..20 {
            let folder = TempDir::with_prefix("tidegate-sentinel-").expect("a temporary folder");
            let file = folder.path().join("sentinel.conf");
            let text = format!(
                "sentinel monitor main 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds main 1000\n\
                 sentinel failover-timeout main 4000\n"
            );
            std::fs::write(&file, text).expect("a file in an own folder");
            let port = free_port();
            let mut child = setup.spawn(&[&file, Path::new("--sentinel")], folder.path(), port);
            if setup.answers(&mut child, port).await {
                return Self { _folder: folder, port, setup, _child: child };
            }
        }
        panic!("no sentinel came up");
    }

    async fn cli(&self, arguments: &[&str]) -> String {
        self.setup.cli(self.port, arguments, &[]).await
    }
}

/// Three masters with a replica each.
#[derive(Debug)]
pub struct RedisCluster {
    /// All six.
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// All six, of this program, which have found each other.
    ///
    /// # Panics
    /// When they do not.
    pub async fn start(program: RedisProgram) -> Self {
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1500",
            "--cluster-replica-validity-factor",
            "0",
        ];
        let starting = (0..6).map(|_| RedisServer::start_as(program, &options));
        let servers = futures_util::future::join_all(starting).await;
        let hosts: Vec<_> =
            servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(hosts.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let told = servers[0].cli(&create).await;
        assert!(told.contains("All 16384 slots covered"), "{told}");
        let cluster = Self { servers };
        wait_until(DEADLINE, "every server to know the cluster", async || {
            for server in &cluster.servers {
                let info = server.cli(&["cluster", "info"]).await;
                let nodes = server.cli(&["cluster", "nodes"]).await;
                let is_whole = info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:6")
                    && nodes.matches("slave").count() == 3;
                if !is_whole {
                    return false;
                }
            }
            true
        })
        .await;
        cluster
    }

    /// All their urls.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(RedisServer::url).collect()
    }

    /// Kills the master that holds `key`.
    ///
    /// # Panics
    /// When nobody holds it.
    pub async fn kill_master_of(&mut self, key: &str) {
        let slot = self.servers[0].cli(&["cluster", "keyslot", key]).await;
        let slot: u32 = slot.parse().expect("a number");
        let nodes = self.servers[0].cli(&["cluster", "nodes"]).await;
        let port = nodes.lines().find_map(|line| master_of(line, slot)).expect("a master has it");
        let holder = self.servers.iter_mut().find(|server| server.port() == port);
        holder.expect("a server of this cluster").kill().await;
    }
}

/// The port of the server that a line of `CLUSTER NODES` is about, if it is the slot's master.
fn master_of(line: &str, slot: u32) -> Option<u16> {
    let fields: Vec<&str> = line.split(' ').collect();
    let (first, last) = fields.get(8)?.split_once('-')?;
    let range = first.parse().ok()?..=last.parse().ok()?;
    let port = fields[1].split(['@', ':']).nth(1)?.parse().ok()?;
    range.contains(&slot).then_some(port)
}
