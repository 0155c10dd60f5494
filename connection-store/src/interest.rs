//! What other nodes have to know of this node's groups, users and stages: whether there is anybody.
//!
//! In:  the first and the last member of each, as they come and go.
//! Out: a call for each, for a store that publishes it to a directory.

use crate::{Audience, Scope};

/// Is told when an audience gets its first member on this node, and when it loses its last.
///
/// A store of several nodes sends a group's message to those nodes only that have members of it.
pub trait InterestWatcher: Send + Sync {
    /// `audience` (a group, a user, or the stage) has members here from now on, or none.
    ///
    /// The calls about one audience come one at a time and in the order of what happened, for they
    /// are made under the lock that guards its members. Hence an implementation must not call the
    /// store, nor wait for anything: it puts the news into a queue.
    fn changed(&self, scope: &Scope, audience: Audience, has_members: bool);
}
