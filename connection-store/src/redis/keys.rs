//! The names of keys and channels.
//!
//! In:  nodes and audiences.
//! Out: names; two audiences have one name only if they are equal.
//!
//! ```text
//! {tidegate}:nodes                 hash: node ─► incarnation       who lives, or has died unclaimed
//! {tidegate}:lease:NODE            incarnation, with the lease's expiry
//! {tidegate}:fallen:NODE           the tombstone of a node that was claimed or has left, for a week
//! {tidegate}:whole                 hash: node ─► the last round in which all of it stood here; 0: none yet
//! {tidegate}:round                 begins anew, one higher, with each link that a node makes again
//! {tidegate}:born                  when this directory was begun, in milliseconds since 1970
//! {tidegate}:in:AUDIENCE           set of nodes that have members
//! {tidegate}:interest:NODE         set of the audiences' names in which NODE stands
//! {tidegate}:facts:NODE            hash: connection id ─► what its `$disconnect` needs
//! {tidegate}:claims                hash: dead node ─► NODE:INCARNATION of its claimer
//! {tidegate}:orphans:NODE          a dead node's facts
//! {tidegate}:cleaning:NODE         a dead node's interest, until it is taken out
//! {tidegate}:call:DIGEST           the answer of a call to an audience, for 60 s
//! tidegate:1:inbox:NODE            channel
//! ```

use super::wire::VERSION;
use crate::{Audience, NodeId, Scope};

pub(super) struct Keys {
    prefix: String,
    /// With its hash tag: all keys are in one slot.
    tagged: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), tagged: format!("{{{prefix}}}") }
    }

    /// What every key begins with.
    pub(super) fn tagged(&self) -> &str {
        &self.tagged
    }

    pub(super) fn inbox(&self, node: NodeId) -> String {
        format!("{}:{VERSION}:inbox:{node}", self.prefix)
    }

    pub(super) fn of(&self, what: &str) -> String {
        format!("{}:{what}", self.tagged)
    }

    pub(super) fn of_node(&self, what: &str, node: NodeId) -> String {
        format!("{}:{what}:{node}", self.tagged)
    }

    /// `None` for a list of connections, of which every id names its node.
    pub(super) fn audience(&self, scope: &Scope, audience: &Audience) -> Option<Vec<u8>> {
        let (kind, name) = match audience {
            Audience::Group(group) => ('g', group.as_str()),
            Audience::User(principal) => ('u', &**principal),
            Audience::Stage => ('s', ""),
            Audience::Connections(_) => return None,
        };
        // The lengths keep names apart whatever is in them.
        let (api, stage) = (&*scope.api, &*scope.stage);
        let lengths = format!("{}.{}", api.len(), stage.len());
        Some(format!("{}:in:{kind}:{lengths}:{api}{stage}:{name}", self.tagged).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn audiences_have_different_names() {
        let keys = Keys::new("t");
        let mut seen = HashSet::new();
        for (api, stage) in [("a", "b"), ("ab", ""), ("", "ab"), ("a:", "b"), ("1.1:a", "b")] {
            let group = |name: &str| Audience::Group(name.parse().unwrap());
            let user = |name: &str| Audience::User(name.into());
            for audience in [group("x"), user("x"), user(""), user("b:x"), Audience::Stage] {
                let name = keys.audience(&Scope::new(api, stage), &audience).unwrap();
                assert!(name.starts_with(b"{t}:in:"));
                assert!(seen.insert(name), "{api} {stage} {audience:?}");
            }
        }
        let nobody = Audience::Connections(crate::ConnectionList::default());
        assert_eq!(keys.audience(&Scope::new("a", "b"), &nobody), None);
    }

    #[test]
    fn a_channel_names_the_bus_version_and_the_node() {
        let node = NodeId::new(0xab).unwrap();
        assert_eq!(Keys::new("t").inbox(node), "t:1:inbox:0000ab");
        assert_eq!(Keys::new("t").of_node("lease", node), "{t}:lease:0000ab");
    }
}
