//! Several real gateways behind one real Redis, as a scenario starts them.
//!
//! In:  the gateway's binary and its settings. Out: the nodes, each of them ready, and the Redis.
//!
//! Holds always: all of it is gone when the [`Cluster`] is.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::{
    admin::{self, Metrics},
    affinity::Cores,
    failure::Failure,
    gateway_config::{self, Settings},
    meter::Processes,
    redis_process::RedisProcess,
    server_process::ServerProcess,
};

/// How many nodes there are in every scenario of several.
pub(crate) const NODES: usize = 2;

/// The lease where nobody dies.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// A node is ready as soon as it has found the Redis and heard itself through it.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Running nodes.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) redis: RedisProcess,
    pub(crate) nodes: Vec<ServerProcess>,
}

impl Cluster {
    /// Starts a Redis and [`NODES`] gateways with `settings`, and waits until they are ready.
    pub(crate) fn start(
        binary: &Path,
        settings: &Settings,
        lease: Duration,
        cores: Cores,
    ) -> Result<Self, Failure> {
        let redis = RedisProcess::start(cores)?;
        let settings = Settings { redis: Some((redis.url(), lease)), ..settings.clone() };
        let text = gateway_config::gateway_toml(&settings);
        let node = |_| ServerProcess::configured(binary, &text, cores);
        let nodes = (0..NODES).map(node).collect::<Result<Vec<_>, _>>()?;
        let cluster = Self { redis, nodes };
        for node in &cluster.nodes {
            admin::wait_until_ready(admin_of(node), READY_TIMEOUT)?;
        }
        Ok(cluster)
    }

    /// Where each node's clients and callers connect.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// Whose CPU time is taken: of all nodes together, and of the Redis.
    pub(crate) fn processes(&self) -> Processes {
        let servers = self.nodes.iter().map(ServerProcess::id).collect();
        Processes { servers, redis: Some(self.redis.id()) }
    }

    /// What each node says of itself.
    pub(crate) fn metrics(&self) -> Result<Vec<Metrics>, Failure> {
        self.nodes.iter().map(|node| admin::metrics(admin_of(node))).collect()
    }

    /// Stops the nodes in order, each of which must end as it should, and then the Redis.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.nodes.into_iter().try_for_each(ServerProcess::stop)
    }
}

/// The admin port of a gateway, which always has one.
pub(crate) fn admin_of(node: &ServerProcess) -> SocketAddr {
    node.admin.expect("a gateway is started only when both its addresses are known")
}
