//! Whom a message is for, when it is for more than one connection.
//!
//! In:  what a caller named.
//! Out: an [`Audience`] for the store's calls, and what those calls answer.

use std::collections::HashSet;

use crate::{ConnectionId, DeliveryError, GroupName, Weighed};

/// Several connections of one stage.
///
/// Whoever may be posted to is in the audience: every connection that the store holds, also one
/// whose `$connect` is still under way, which keeps what it is sent until it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The members of a group. A group without members is an audience of nobody.
    Group(GroupName),
    /// The connections of one principal, as an authorizer named it.
    User(Box<str>),
    /// Every connection of the stage.
    Stage,
    /// These connections.
    Connections(ConnectionList),
}

/// Distinct connections, at most [`ConnectionList::MAX_LENGTH`], in the order they were named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ConnectionList(Vec<ConnectionId>);

impl ConnectionList {
    /// The longest list, before repetitions are taken out of it.
    pub const MAX_LENGTH: usize = 10_000;

    /// The list of these connections. One that is named again is dropped: nobody shall get a
    /// message twice.
    ///
    /// # Errors
    /// When more than 10,000 are named.
    pub fn new(mut ids: Vec<ConnectionId>) -> Result<Self, TooManyConnections> {
        if ids.len() > Self::MAX_LENGTH {
            return Err(TooManyConnections { named: ids.len() });
        }
        let mut seen = HashSet::with_capacity(ids.len());
        ids.retain(|id| seen.insert(*id));
        Ok(Self(ids))
    }

    /// The connections.
    pub fn as_slice(&self) -> &[ConnectionId] {
        &self.0
    }

    /// The connections, as a vector.
    pub fn into_vec(self) -> Vec<ConnectionId> {
        self.0
    }
}

/// One call named more connections than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{named} connections are named; one call takes at most {}", ConnectionList::MAX_LENGTH)]
pub struct TooManyConnections {
    /// How many were named.
    pub named: usize,
}

/// What became of a message for an audience.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Connections whose send queue took the message. Each got it once.
    pub recipients: u64,
    /// Nodes on which there is such a connection.
    pub nodes: u32,
    /// Of [`Audience::Connections`], those that are not there under this api and stage, in no
    /// order. Empty for any other audience: who has left is no member. A listed connection that is
    /// neither a recipient nor gone has a full queue.
    pub gone: Vec<ConnectionId>,
}

impl Weighed for SendReport {
    fn heap_bytes(&self) -> usize {
        self.gone.capacity() * size_of::<ConnectionId>()
    }
}

/// Other nodes cannot be asked now. What is this node's own has been done; whether it was done at
/// the others is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the nodes that own the other connections cannot be reached")]
pub struct Unavailable;

impl From<Unavailable> for DeliveryError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    fn id(number: u64) -> ConnectionId {
        ConnectionId::new(NodeId::new(1).unwrap(), number.to_be_bytes())
    }

    #[test]
    fn a_list_keeps_the_order_and_each_connection_once() {
        let list = ConnectionList::new(vec![id(3), id(1), id(3), id(2), id(1)]).unwrap();
        assert_eq!(list.as_slice(), [id(3), id(1), id(2)]);
        assert_eq!(list.into_vec(), [id(3), id(1), id(2)]);
    }

    #[test]
    fn a_list_has_at_most_10_000_connections() {
        let many: Vec<_> = (0..10_001).map(id).collect();
        assert_eq!(ConnectionList::new(many[..10_000].to_vec()).unwrap().0.len(), 10_000);
        let error = ConnectionList::new(many).unwrap_err();
        let told = "10001 connections are named; one call takes at most 10000";
        assert_eq!(error.to_string(), told);
        // Repetitions are work to read, too.
        assert!(ConnectionList::new(vec![id(1); 10_001]).is_err());
    }
}
