//! The trait that every store implements, and its guarantees.
//!
//! In:  connections that this node accepted, and calls about any connection by its id.
//! Out: [`Reply`]s: ready at once where the connection is this node's own, later where another
//! node has to be asked.
//!
//! Holds always: what the guarantees of [`ConnectionStore`] say.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;

use crate::{
    Audience, CallName, CloseRequest, ConnectionId, Cursor, GroupName, Message, NodeId, Page,
    PageLimit, SendReport, Unavailable, Weighed,
};

/// The api and stage that a connection belongs to; under any other its id is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The api's id.
    pub api: Arc<str>,
    /// The stage's name.
    pub stage: Arc<str>,
}

impl Scope {
    /// That stage of that api.
    pub fn new(api: impl Into<Arc<str>>, stage: impl Into<Arc<str>>) -> Self {
        Self { api: api.into(), stage: stage.into() }
    }
}

/// One connection as its own node holds it.
///
/// The store calls it from any thread and holds no lock meanwhile.
pub trait LocalConnection: Send + Sync + 'static {
    /// A message in the form that sockets take, made once for all its receivers.
    type Frame: Send + Sync;

    /// Encodes a message for any number of connections. A store calls it once for a message, and
    /// only when it has found somebody to send it to.
    fn encode(message: &Message) -> Self::Frame;

    /// The id that it was registered under; never another.
    fn id(&self) -> ConnectionId;

    /// Where it belongs; never elsewhere.
    fn scope(&self) -> &Scope;

    /// Whose it is, as an authorizer named it: the user under whom [`Audience::User`] finds it.
    /// Settled before it is inserted, and never another afterwards. `None`, the default, for a
    /// connection that nobody has authorized.
    fn principal(&self) -> Option<&str> {
        None
    }

    /// Puts a message into the send queue. Never blocks. `Ok` means that the queue took it, or
    /// that the socket has it already.
    fn send(&self, frame: &Self::Frame) -> Result<(), SendError>;

    /// Begins to close it. Never blocks; a second call changes nothing.
    fn close(&self, request: &CloseRequest);

    /// What a caller may learn of it.
    fn describe(&self) -> Description;

    /// What another node needs to finish this connection should its own node die: to run its
    /// `$disconnect`. `Some` from its acceptance to the end of its `$disconnect`; opaque to a store,
    /// and perhaps read by another release. `None`, the default, where nobody will finish it.
    fn disconnect_facts(&self) -> Option<Bytes> {
        None
    }
}

/// Why a send queue did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full and the new message was dropped.
    #[error("the client's send queue is full")]
    Full,
    /// The connection is closing or closed, perhaps because of this very message.
    #[error("the connection is closed")]
    Closed,
}

/// What a caller may learn of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Milliseconds since 1970.
    pub connected_at_ms: u64,
    /// The last message in either direction; milliseconds since 1970.
    pub last_active_at_ms: u64,
    /// The client's address.
    pub source_ip: IpAddr,
    /// `User-Agent`, if the client sent one.
    pub user_agent: Option<String>,
}

/// Proof that a message stands in its owner's send queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The node that owns the connection.
    pub node: NodeId,
}

impl Weighed for Receipt {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Why a connection could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No such connection under this api and stage, any more or ever.
    #[error("the connection is gone")]
    Gone,
    /// The client does not read fast enough, and the message was not taken.
    #[error("the client's send queue is full")]
    Full,
    /// The owner cannot be asked now; whether it took the message is not known.
    #[error("the node that owns the connection cannot be reached")]
    Unavailable,
}

impl From<SendError> for DeliveryError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            SendError::Closed => Self::Gone,
        }
    }
}

/// Whether this node may act in its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// There is nobody else: a single node.
    Unbounded,
    /// Others take over after this moment unless it is renewed.
    Until(Instant),
    /// Others may have taken over already. Nothing may be promised in this node's name.
    Lost,
}

/// An answer that is often there at once: a local connection costs no allocation and no wake-up.
pub enum Reply<T> {
    /// Known now. `None` once taken.
    Ready(Option<T>),
    /// Known when another node has answered.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Reply<T> {
    /// An answer that is known now.
    pub fn ready(value: T) -> Self {
        Self::Ready(Some(value))
    }

    /// The same answer, said otherwise.
    pub(crate) fn map<U>(self, say: impl FnOnce(T) -> U + Send + 'static) -> Reply<U>
    where
        T: 'static,
    {
        match self {
            Self::Ready(value) => Reply::Ready(value.map(say)),
            Self::Later(later) => Reply::Later(Box::pin(async move { say(later.await) })),
        }
    }
}

impl<T: Unpin> Future for Reply<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Ready(value) => {
                Poll::Ready(value.take().expect("a reply is not polled after it was ready"))
            }
            Self::Later(future) => future.as_mut().poll(context),
        }
    }
}

/// Which connections are open, and how to reach them.
///
/// Guarantees, which `suite` checks on every implementation:
///
/// 1. [`allocate`](Self::allocate) never gives the same id twice; its ids name this node and
///    carry 64 random bits.
/// 2. A connection is reachable from [`insert`](Self::insert) until [`remove`](Self::remove) or
///    [`close`](Self::close), and after either no call finds it again.
/// 3. A [`Receipt`] names the owner and means that its queue took the message. Messages of one
///    caller to one connection that were answered in an order arrive in that order. A full queue
///    is [`DeliveryError::Full`], a connection that has closed by itself is
///    [`DeliveryError::Gone`], and a message that nobody can get is not even encoded.
/// 4. Another api's or stage's connection is [`DeliveryError::Gone`], exactly as one that never
///    was: nothing is learnt of it.
/// 5. Of any number of racing [`remove`](Self::remove) calls exactly one gets the connection.
/// 6. No call blocks the thread; what takes time is a [`Reply::Later`]. To post to, describe or
///    close a connection of this very node takes no time: the reply is [`Reply::Ready`].
/// 7. A group has whoever has [joined](Self::join) it and not [left](Self::leave) it, each once
///    however often it joined. Its members' end ends their membership: a connection that is
///    removed or closed while it joins is no member afterwards. A group is there while it has
///    members, and nothing is kept of one that has none.
/// 8. A [`send`](Self::send) to an audience reaches each connection once that is in it from the
///    call to the answer, and none twice that leaves and joins meanwhile; the report counts those
///    whose queue took the message, and never one of `except`. A connection of another stage is in
///    no audience. The message is encoded at most once on a node, and not where nobody gets it.
/// 9. Sends keep one sender's order: the messages of a caller that waits for each answer before it
///    sends the next, to one connection or to any audience, arrive at each receiver in that order.
///    Whoever does not wait has sent them side by side, and they may arrive so.
/// 10. Pages of a list show each connection exactly once that is in it from the first page to the
///     last, whoever comes and goes. One that comes or goes meanwhile is on one page or on none,
///     and one that leaves a group and joins it again is counted as another.
/// 11. A [`post_once`](Self::post_once) or [`send_once`](Self::send_once) that succeeded is not made
///     again within 60 s, whichever node is asked, and the same call that comes meanwhile or
///     afterwards gets its answer. One that failed may be made again. The memory for this is bounded.
///
/// Sends from other nodes find users and stages, as lists do, from the moment at which
/// [`published`](Self::published) is ready: an insert does not wait for the other nodes to know.
///
/// What is in an audience is what may be posted to: whatever is inserted and not yet removed. A
/// connection that is inserted while its `$connect` runs may join, is counted and listed, and keeps
/// what it is sent until it is accepted; when it is refused, all that ends with its removal. One
/// that is inserted when it is accepted is [`DeliveryError::Gone`] until then.
pub trait ConnectionStore<C: LocalConnection>: Send + Sync {
    /// This node.
    fn node(&self) -> NodeId;

    /// Whether this node may act in its own name. Readiness follows it.
    fn lease(&self) -> Lease;

    /// Whether other nodes are reached, and reach this one, as far as is known. Readiness follows
    /// it. `true`, the default, where there is nobody else.
    fn delivers(&self) -> bool {
        true
    }

    /// A fresh id that names this node.
    fn allocate(&self) -> ConnectionId;

    /// Makes a connection reachable under its id: one that this store allocated, and inserted once.
    fn insert(&self, connection: Arc<C>);

    /// Makes a local connection unreachable. The caller that gets it has ended it. `None` where
    /// another caller was first, [`close`](Self::close) included, or where it is not this node's.
    fn remove(&self, id: ConnectionId) -> Option<Arc<C>>;

    /// A connection that was inserted has been accepted: its
    /// [`disconnect_facts`](LocalConnection::disconnect_facts) are there from now on. Nothing, the
    /// default, where nobody else could finish it. Needless where they were there at the insert.
    fn accepted(&self, _connection: &C) {}

    /// A connection's `$disconnect` is over: its facts are needed no more. Nothing, the default,
    /// where they are not kept.
    fn ended(&self, _id: ConnectionId) {}

    /// Whether it is for this node to run the `$disconnect` of a connection that it has accepted and
    /// that has ended: `false` where another node has claimed it, and may know of it. Not ready while
    /// that is not known. `true` at once, the default, where there is nobody else. To be asked just
    /// before the run: what was so a moment ago may be otherwise.
    fn finishes(&self, _id: ConnectionId) -> Reply<bool> {
        Reply::ready(true)
    }

    /// Is ready when every node can know what this node was told so far: who is in which audience,
    /// and the facts of who was accepted.
    fn published(&self) -> Reply<Result<(), Unavailable>> {
        Reply::ready(Ok(()))
    }

    /// Delivers a message to one connection.
    fn post(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
    ) -> Reply<Result<Receipt, DeliveryError>>;

    /// Delivers a message to one connection, once for all calls of that name and about that
    /// connection within 60 s.
    fn post_once(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
        call: &CallName,
    ) -> Reply<Result<Receipt, DeliveryError>>;

    /// Tells about one connection.
    fn describe(
        &self,
        scope: &Scope,
        id: ConnectionId,
    ) -> Reply<Result<Description, DeliveryError>>;

    /// Makes a connection unreachable and begins to close it. `Ok` for one caller only, and never
    /// beside a [`remove`](Self::remove) that got the connection. The connection lives on while it
    /// closes, but [`local`](Self::local) and `remove` know it no more: what has to happen once at
    /// its end hangs on the connection itself.
    fn close(
        &self,
        scope: &Scope,
        id: ConnectionId,
        request: CloseRequest,
    ) -> Reply<Result<(), DeliveryError>>;

    /// Makes a connection a member of a group; one that is a member already stays it.
    ///
    /// For a connection of this node that is so on this node when the call returns, whether or not
    /// the reply is awaited. The reply comes when sends from every node find the member.
    fn join(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>>;

    /// Ends a connection's membership; `Ok` also where it is no member. A send that is under way
    /// may reach it still.
    ///
    /// For a connection of this node that is so when the call returns.
    fn leave(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>>;

    /// Delivers a message to every connection of an audience but those in `except`.
    ///
    /// Pauses after each 128 receivers or so, for which the reply has to be polled: one that is
    /// dropped before it is ready leaves the rest without the message.
    ///
    /// # Errors
    /// [`Unavailable`] when other nodes may have receivers and cannot be asked; receivers of this
    /// node may have it.
    fn send(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
    ) -> Reply<Result<SendReport, Unavailable>>;

    /// Does what [`send`](Self::send) does, once for all calls of that name, to that audience and
    /// with the same exceptions, within 60 s.
    fn send_once(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
        call: &CallName,
    ) -> Reply<Result<SendReport, Unavailable>>;

    /// Closes every connection of an audience, as [`close`](Self::close) does. How many there were
    /// for this call to close. Pauses as [`send`](Self::send) does.
    fn close_audience(
        &self,
        scope: &Scope,
        audience: Audience,
        request: CloseRequest,
    ) -> Reply<Result<u64, Unavailable>>;

    /// How many members a group has, on all nodes.
    fn count(&self, scope: &Scope, group: &GroupName) -> Reply<Result<u64, Unavailable>>;

    /// A page of a group's members: the first one, or that which a cursor says.
    fn members(
        &self,
        scope: &Scope,
        group: &GroupName,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>>;

    /// A page of the stage's connections: the first one, or that which a cursor says.
    fn list(
        &self,
        scope: &Scope,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>>;

    /// Gives back the memory of a peak that is over. Called about once a minute.
    fn shrink(&self) {}

    /// This node's own connections at this moment, in no order. One that is inserted or removed
    /// meanwhile may be among them or not.
    fn local(&self) -> Vec<Arc<C>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::at_once;

    #[test]
    fn a_reply_gives_its_value_whether_it_is_known_now_or_later() {
        assert_eq!(at_once(Reply::ready(1)), 1);
        assert_eq!(at_once(Reply::Later(Box::pin(async { 2 }))), 2);
        assert_eq!(at_once(Reply::ready(1).map(|one| one + 2)), 3);
        assert_eq!(at_once(Reply::Later(Box::pin(async { 2 })).map(|two| two + 2)), 4);
    }

    #[test]
    fn a_closed_connection_is_gone_and_a_full_one_is_not() {
        assert_eq!(DeliveryError::from(SendError::Closed), DeliveryError::Gone);
        assert_eq!(DeliveryError::from(SendError::Full), DeliveryError::Full);
    }
}
