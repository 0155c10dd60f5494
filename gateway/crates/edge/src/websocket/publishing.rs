//! How long a client waits until the other nodes know of it what they have to know: its groups, its
//! user, its `$disconnect`.
//!
//! In:  what this node's store was told so far.
//! Out: whether every node can know it.
//!
//! Holds always: a Redis that does not answer keeps nobody waiting for longer than a second.

use std::time::Duration;

use connection_store::{Reply, Unavailable};

use crate::core_state::Core;

const LONGEST: Duration = Duration::from_secs(1);

/// Waits until every node can know what this one was told; an error when it is not known that they do.
pub(super) async fn published(core: &Core) -> Result<(), Unavailable> {
    match core.node.store().published() {
        known @ Reply::Ready(_) => known.await,
        later @ Reply::Later(_) => {
            tokio::time::timeout(LONGEST, later).await.unwrap_or(Err(Unavailable))
        }
    }
}
