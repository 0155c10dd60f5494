//! `[store]` of `gateway.toml` as the operator wrote it.
//!
//! In:  nothing; `serde` fills these from a file that [`super::shape`] has looked through.
//! Out: plain fields, for [`super::check_store`]. The doc comments are the reference page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_text::SecretText;

/// Where what nodes share is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreSection {
    /// Which store.
    pub(super) kind: StoreKind,
    /// Where the Redis is; required for `"redis"`. A single server: `redis://host:port`, with TLS
    /// `rediss://`, or `redis+unix:///path`; behind sentinels:
    /// `redis+sentinel://host:port,host:port/master-name`; a Redis Cluster: an array of one or
    /// more of its nodes. User and password stand before an `@`, percent-encoded, so a url is a
    /// secret.
    pub(super) url: Option<StoreUrl>,
    /// A node that is silent for this long is dead, seconds: others run the `$disconnect` of its
    /// connections within twice that. The same on every node.
    #[schemars(range(min = 2, max = 300))]
    pub(super) node_lease_s: u32,
    /// What keys and channels in the Redis begin with: 1 to 64 of `A-Z a-z 0-9 _ - . :`. The nodes
    /// that belong together have the same one.
    pub(super) prefix: String,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { kind: StoreKind::Memory, url: None, node_lease_s: 10, prefix: "tidegate".to_owned() }
    }
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreKind {
    /// one node by itself, needing nothing else
    Memory,
    /// several nodes that share a Redis: any node takes any management call
    Redis,
}

/// Where a Redis is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum StoreUrl {
    // First: serde would take an array of one string for an `{ env = … }` without its key.
    /// Nodes of a Redis Cluster.
    Several(Vec<SecretText>),
    /// A server, or sentinels.
    One(SecretText),
}
