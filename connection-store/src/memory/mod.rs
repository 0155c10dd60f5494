//! The store of a single node: a hub, and nobody to ask beyond it.
//!
//! In:  connections of this process, and calls about them from any of its threads.
//! Out: answers that are ready when the call returns; those about an audience of more than 128 are
//! ready when it has been walked, with a pause after each 128.
//!
//! ```text
//! post ──► shard (read lock, clone the Arc, unlock) ──► scope equal? ──► encode ──► send
//! send ──► group (lock, share its chunks, unlock) ──► each member: encode once, send
//! ```
//!
//! Holds always: no lock is held while a connection is called, so a connection may call the store
//! from any of its methods, and a slow one delays only its caller. A connection leaves the map by
//! one atomic removal, whichever of `remove` and `close` does it, and its memberships with it.

mod hub;
mod id_hasher;
mod members;
mod stage;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

pub use self::walk::Pause;
use self::{
    hub::Hub,
    stage::Part,
    walk::{Receivers, in_steps, wake_once},
};
use crate::{
    Audience, CallName, CloseRequest, ConnectionId, ConnectionStore, Cursor, DeliveryError,
    Description, GroupName, InterestWatcher, Invocations, Lease, LocalConnection, Message, NodeId,
    Page, PageLimit, Receipt, Reply, Scope, SendError, SendReport, Unavailable, once::once,
    remembered_report::RememberedReport,
};

/// All connections of a cluster of one node, sharded. The default store (`kind = "memory"`), and
/// the hub of stores that add a bus.
pub struct MemoryStore<C> {
    /// A [`NodeId`]'s number.
    node: AtomicU32,
    hub: Arc<Hub<C>>,
    pause: Pause,
    posts: Invocations<Receipt>,
    sends: Invocations<RememberedReport>,
}

impl<C: LocalConnection> MemoryStore<C> {
    /// A store without connections, for a node of a random name.
    pub fn new() -> Self {
        Self::with_node(NodeId::random())
    }

    /// A store without connections, for a node whose name is settled elsewhere.
    pub fn with_node(node: NodeId) -> Self {
        Self::with(node, None)
    }

    /// A store without connections that tells which audiences have members on this node.
    pub fn with_watcher(node: NodeId, watcher: Arc<dyn InterestWatcher>) -> Self {
        Self::with(node, Some(watcher))
    }

    fn with(node: NodeId, watcher: Option<Arc<dyn InterestWatcher>>) -> Self {
        Self {
            node: AtomicU32::new(node.get()),
            hub: Arc::new(Hub::new(watcher)),
            pause: wake_once,
            posts: Invocations::new(Invocations::<Receipt>::DEFAULT_CAPACITY),
            sends: Invocations::new(Invocations::<RememberedReport>::DEFAULT_CAPACITY),
        }
    }

    /// Gives the node another name. Connections keep the ids that they have.
    pub(crate) fn rename(&self, node: NodeId) {
        self.node.store(node.get(), Ordering::SeqCst);
    }

    /// The same store, pausing in the runtime's own way while it walks an audience.
    #[must_use]
    pub fn pausing_by(self, pause: Pause) -> Self {
        Self { pause, ..self }
    }

    /// How many connections it holds.
    pub fn len(&self) -> usize {
        self.hub.connections.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.hub.connections.is_empty()
    }

    /// Every audience that has members on this node now, for a directory that has lost them: all
    /// groups and users, and the stages that have connections. In no order.
    pub fn audiences(&self) -> Vec<(Scope, Audience)> {
        self.hub.audiences()
    }

    /// An id that no open connection has. Chance makes a second id equal to an earlier one once in
    /// 2⁶⁴ pairs; the check makes it never for those that it could harm.
    fn allocate_from(&self, mut random: impl FnMut() -> [u8; 8]) -> ConnectionId {
        loop {
            let id = ConnectionId::new(self.node(), random());
            if !self.hub.connections.contains_key(&id) {
                return id;
            }
        }
    }

    /// The part of a list that this node has, from a cursor on.
    fn page(
        &self,
        cursor: Option<Cursor>,
        part: impl FnOnce(u32) -> Option<Part<C>>,
    ) -> Reply<Result<Page, Unavailable>> {
        let first = cursor.map_or(Some(0), |cursor| cursor.begins_at(self.node()));
        let (connections, next) = first.and_then(part).unwrap_or_default();
        Reply::ready(Ok(Page {
            connections: connections.iter().map(|connection| connection.id()).collect(),
            next: next.map(|place| Cursor::new(self.node(), place)),
        }))
    }
}

impl<C: LocalConnection> Default for MemoryStore<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: LocalConnection> ConnectionStore<C> for MemoryStore<C> {
    fn node(&self) -> NodeId {
        let number = self.node.load(Ordering::SeqCst);
        NodeId::new(number).expect("it was a node's number when it was stored")
    }

    fn lease(&self) -> Lease {
        Lease::Unbounded
    }

    fn allocate(&self) -> ConnectionId {
        // The thread's generator is ChaCha, seeded by the operating system and again every 64 KiB:
        // ids that a client has seen tell nothing about those of others.
        self.allocate_from(rand::random)
    }

    fn insert(&self, connection: Arc<C>) {
        self.hub.insert(&connection);
    }

    fn remove(&self, id: ConnectionId) -> Option<Arc<C>> {
        self.hub.remove(id)
    }

    fn post(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        Reply::ready(post(&self.hub, self.node(), scope, id, &message))
    }

    fn post_once(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
        call: &CallName,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        let (hub, node, of) = (Arc::clone(&self.hub), self.node(), scope.clone());
        once(&self.posts, scope, id, call, move || {
            Reply::ready(post(&hub, node, &of, id, &message))
        })
    }

    fn describe(
        &self,
        scope: &Scope,
        id: ConnectionId,
    ) -> Reply<Result<Description, DeliveryError>> {
        Reply::ready(self.hub.find(scope, id).map(|connection| connection.describe()))
    }

    fn close(
        &self,
        scope: &Scope,
        id: ConnectionId,
        request: CloseRequest,
    ) -> Reply<Result<(), DeliveryError>> {
        Reply::ready(self.hub.find(scope, id).and_then(|connection| {
            let first = self.hub.close(&connection, &request);
            if first { Ok(()) } else { Err(DeliveryError::Gone) }
        }))
    }

    fn join(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>> {
        Reply::ready(self.hub.join(scope, group, id))
    }

    fn leave(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>> {
        Reply::ready(self.hub.leave(scope, group, id))
    }

    fn send(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
    ) -> Reply<Result<SendReport, Unavailable>> {
        send(&self.hub, self.pause, scope, audience, message, except)
    }

    fn send_once(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
        call: &CallName,
    ) -> Reply<Result<SendReport, Unavailable>> {
        let (hub, pause, of) = (Arc::clone(&self.hub), self.pause, scope.clone());
        let (named, target) = (audience.clone(), (audience.clone(), except.clone()));
        let sent = once(&self.sends, scope, target, call, move || {
            let to = audience.clone();
            let sent = send(&hub, pause, &of, audience.clone(), message.clone(), except.clone());
            sent.map(move |sent| sent.map(|report| RememberedReport::of(&report, &to)))
        });
        sent.map(move |sent| sent.map(|kept| kept.report(&named)))
    }

    fn close_audience(
        &self,
        scope: &Scope,
        audience: Audience,
        request: CloseRequest,
    ) -> Reply<Result<u64, Unavailable>> {
        let hub = Arc::clone(&self.hub);
        let mut receivers = Receivers::new(&hub, scope, audience);
        let mut closed = 0;
        in_steps(self.pause, move || {
            let more = receivers.walk(&hub, |_, connection| {
                let first = connection.is_some_and(|connection| hub.close(connection, &request));
                closed += u64::from(first);
            });
            (!more).then_some(Ok(closed))
        })
    }

    fn count(&self, scope: &Scope, group: &GroupName) -> Reply<Result<u64, Unavailable>> {
        let count = self.hub.stage(scope).map_or(0, |stage| stage.count(group));
        Reply::ready(Ok(count as u64))
    }

    fn members(
        &self,
        scope: &Scope,
        group: &GroupName,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        self.page(cursor, |first| {
            Some(self.hub.stage(scope)?.page_of_group(group, first, limit.get()))
        })
    }

    fn list(
        &self,
        scope: &Scope,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        self.page(cursor, |first| Some(self.hub.stage(scope)?.page(first, limit.get())))
    }

    fn shrink(&self) {
        self.hub.shrink();
        let now = Instant::now();
        self.posts.shrink(now);
        self.sends.shrink(now);
    }

    fn local(&self) -> Vec<Arc<C>> {
        self.hub.local()
    }
}

fn post<C: LocalConnection>(
    hub: &Hub<C>,
    node: NodeId,
    scope: &Scope,
    id: ConnectionId,
    message: &Message,
) -> Result<Receipt, DeliveryError> {
    let connection = hub.find(scope, id)?;
    connection.send(&C::encode(message))?;
    Ok(Receipt { node })
}

fn send<C: LocalConnection>(
    hub: &Arc<Hub<C>>,
    pause: Pause,
    scope: &Scope,
    audience: Audience,
    message: Message,
    mut except: Vec<ConnectionId>,
) -> Reply<Result<SendReport, Unavailable>> {
    except.sort_unstable();
    let hub = Arc::clone(hub);
    let listed = matches!(audience, Audience::Connections(_));
    let mut receivers = Receivers::new(&hub, scope, audience);
    let (mut frame, mut report) = (None, SendReport::default());
    in_steps(pause, move || {
        let more = receivers.walk(&hub, |id, connection| {
            if except.binary_search(&id).is_ok() {
                return;
            }
            let sent = connection.ok_or(SendError::Closed).and_then(|connection| {
                connection.send(frame.get_or_insert_with(|| C::encode(&message)))
            });
            match sent {
                Ok(()) => report.recipients += 1,
                Err(SendError::Closed) if listed => report.gone.push(id),
                Err(SendError::Closed | SendError::Full) => {}
            }
        });
        report.nodes = u32::from(report.recipients > 0);
        (!more).then(|| Ok(mem::take(&mut report)))
    })
}
