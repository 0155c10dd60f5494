//! What a node as a whole is told.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use crate::{
    AccessKey, Api, ApiKey, AwsSettings, LocalFunction, Secret, Throttle, Traces, UsagePlan,
};

/// A checked `gateway.toml`.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// `[listen]`: the public port.
    pub listen: ListenSection,
    /// `[admin]`: metrics and health.
    pub admin: SocketAddr,
    /// `[management]`: who may call `@connections`.
    pub management: Management,
    /// Calls of the management API, over all callers; `None` is unlimited.
    pub management_throttle: Option<Throttle>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[drain]`.
    pub drain: Drain,
    /// `[store]`: where what nodes share is kept.
    pub store: Store,
    /// `[tracing]`; `None` is off.
    pub traces: Option<Traces>,
    /// `[apis]`: ids are unique.
    pub apis: Vec<Api>,
    /// `[aws]`.
    pub aws: AwsSettings,
    /// `[functions]`: names are unique.
    pub functions: Vec<LocalFunction>,
    /// `[api_keys]`: names and values are unique.
    pub api_keys: Vec<ApiKey>,
    /// `[usage_plans]`: names are unique.
    pub usage_plans: Vec<UsagePlan>,
}

/// `[listen]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSection {
    /// Port 0 takes a free one, which the log names.
    pub address: SocketAddr,
    /// `None` speaks plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// PEM files of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key.
    pub private_key: PathBuf,
    /// Clients must show a certificate of this authority (mutual TLS).
    pub client_ca: Option<PathBuf>,
}

/// Who may call the management API.
#[derive(Debug, Clone)]
pub enum Management {
    /// Loopback peers, unsigned.
    LoopbackOnly,
    /// Whoever signs with one of these (SigV4, service `execute-api`).
    SigV4(Vec<AccessKey>),
}

/// `[limits]`. Defaults live in the section of `gateway.toml` that becomes this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest client message after reassembly, and largest post. A larger one closes with 1009.
    pub max_message_bytes: usize,
    /// Largest client frame's payload. A larger one closes with 1009.
    pub max_frame_bytes: usize,
    /// Without a data message in either direction for this long, close with 1001.
    pub idle_timeout: Duration,
    /// A connection's age at which it is closed with 1001; `None` never.
    pub max_connection: Option<Duration>,
    /// What may wait for one client, frames included.
    pub send_queue_bytes: usize,
    /// What happens when more would wait.
    pub slow_client: SlowClient,
    /// Messages of one connection at integrations at once.
    pub max_in_flight: NonZeroU32,
    /// `$connect` and `$disconnect` calls, and calls of authorizers, that one integration of this
    /// node works on at once; more wait.
    pub lifecycle_calls_in_flight: NonZeroU32,
    /// From accept to the request's last header byte, the TLS handshake included.
    pub handshake_timeout: Duration,
    /// Open connections on this node.
    pub connections: Option<NonZeroU32>,
    /// Open connections of one source address.
    pub connections_per_ip: Option<NonZeroU32>,
    /// New connections a second, burst the same.
    pub new_connections_per_s: Option<NonZeroU32>,
}

/// What happens to a client whose send queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClient {
    /// It is closed with 1008.
    Close,
    /// The oldest waiting messages give way.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
}

/// `[drain]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// The process ends by then, whatever is left.
    pub deadline: Duration,
    /// Clients are closed spread over this long.
    pub spread: Duration,
}

/// `[store]`: where what nodes share is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// One node by itself.
    Memory,
    /// Several nodes that share a Redis.
    Redis(RedisStoreSettings),
}

/// How a node reaches the Redis that it shares with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisStoreSettings {
    /// One for a server or its sentinels, one or more for the nodes of a Redis Cluster, in the
    /// store's own form. Each may hold a password.
    pub urls: Vec<Secret>,
    /// Whether they are a Redis Cluster's.
    pub is_cluster: bool,
    /// A node that is silent for this long is dead.
    pub node_lease: Duration,
    /// What keys and channels begin with.
    pub prefix: String,
}
