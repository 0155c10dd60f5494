//! The store of several nodes: each keeps its own connections in memory, and a Redis carries what
//! they want of each other.
//!
//! In:  connections of this process, and calls about any connection, from any thread.
//! Out: answers about this node's own connections at once, as a [`MemoryStore`] gives them; about
//! others when their node has answered through its inbox, or by a deadline.
//!
//! ```text
//! post ─ own id ──► inner (a MemoryStore)                                     no Redis is asked
//!      └ other's ─► outbox ─► publish ─► [Redis] ─► inbox of the owner ─► its inner
//!                      ◄──── its outbox ◄──────── receipt ◄──────────────────┘
//! send ─► inner, and every node that the directory names for the audience, side by side
//! insert, join, leave, accepted, ended ─► inner; the directory hears of it behind the call
//! ```
//!
//! One thread with a runtime of its own does all that concerns the Redis (`supervisor`): it publishes
//! (`outbox`), reads (`inbox`), writes the directory (`directory`), claims the dead (`orphans`), and
//! keeps the lease. docs/adr/0014-redis-bus.md says why so.
//!
//! Holds always: calls about own connections touch no lock that the thread holds over an await; a
//! question is sent once at most; while the link is down, questions are answered at once.

mod core;
mod counts;
mod directory;
mod inbox;
mod keys;
mod link;
mod once;
mod options;
mod orphans;
mod outbox;
mod roll;
mod scripts;
mod standing;
mod supervisor;
#[cfg(test)]
mod tests;
mod unfinished;
pub(crate) mod wire;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
    task,
};

use self::{
    core::{Bus, Core, add_numbers, add_reports, send_to_own, split},
    counts::Counters,
    directory::Directory,
    keys::Keys,
    orphans::Desk,
    outbox::Outbox,
    roll::Roll,
    scripts::Caller,
    standing::Standing,
    supervisor::Wish,
    unfinished::Unfinished,
    wire::{Answer, Question},
};
pub use self::{
    counts::BusCounts,
    options::{InvalidRedisUrl, RedisOptions},
    orphans::{Orphan, Orphans},
    standing::NodeState,
};
use crate::{
    Audience, CallName, CloseRequest, ConnectionId, ConnectionStore, Cursor, DeliveryError,
    Description, GroupName, Lease, LocalConnection, MemoryStore, Message, NodeId, Page, PageLimit,
    Receipt, Reply, Scope, SendReport, Unavailable,
};

/// All connections of several nodes that share a Redis 7, a Valkey, or their like (`kind =
/// "redis"`). Its calls that take time are awaited under a tokio runtime with time.
///
/// Dropped, it is as dead as a node that was killed: others find out when its lease ends. In order it
/// goes by [`Self::leave_cluster`].
pub struct RedisStore<C> {
    core: Arc<Core<C>>,
    orphans: Mutex<Option<mpsc::Receiver<Orphan>>>,
    /// Closed with the store: then the thread ends.
    wishes: mpsc::Sender<Wish>,
}

impl<C: LocalConnection> RedisStore<C> {
    /// A store without connections. It begins to reach for the Redis at once and goes on until it
    /// has it: [`Self::state`] and [`Self::lease`](ConnectionStore::lease) tell.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(options: RedisOptions) -> io::Result<Self> {
        let caller = Caller { node: NodeId::random(), incarnation: rand::random() };
        let keys = Arc::new(Keys::new(options.prefix_text()));
        let directory = Arc::new(Directory::new(Arc::clone(&keys)));
        let (outbox, outgoing) = Outbox::new();
        let (desk, orphans) = Desk::new();
        let inner = MemoryStore::with_watcher(caller.node, Arc::clone(&directory) as Arc<_>)
            .pausing_by(|| Box::pin(task::yield_now()));
        let bus = Arc::new(Bus {
            options,
            keys,
            standing: Standing::new(caller),
            counters: Counters::default(),
            outbox,
            directory,
            desk,
            roll: Roll::default(),
            probed: watch::Sender::new(0),
        });
        let core =
            Arc::new(Core { bus, inner, unfinished: Unfinished::default(), sends: once::sends() });
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (wishes, wished) = mpsc::channel(1);
        let of_thread = Arc::clone(&core);
        thread::Builder::new().name("redis".to_owned()).spawn(move || {
            runtime.block_on(supervisor::run(of_thread, outgoing, wished));
        })?;
        Ok(Self { core, orphans: Mutex::new(Some(orphans)), wishes })
    }

    /// This node's number and whether it can be reached, now and whenever that changes.
    ///
    /// When [`NodeState::lost_leases`] grows, the store has closed every connection of the old number
    /// with 1012 and goes on under a new one. Another node runs their `$disconnect`, but for those it
    /// cannot know of: [`ConnectionStore::finishes`] tells.
    pub fn state(&self) -> watch::Receiver<NodeState> {
        self.core.bus.standing.watch()
    }

    /// Why the server could not be used, whenever it was tried in vain: what it said, or the system.
    /// Without urls and passwords.
    pub fn troubles(&self) -> watch::Receiver<String> {
        self.core.bus.standing.troubles()
    }

    /// The connections of nodes that have died, as this node claims them. They are there once:
    /// `None` at the second call.
    pub fn orphans(&self) -> Option<Orphans> {
        let waiting = self.orphans.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiting.map(|waiting| Orphans::new(waiting, Arc::clone(&self.core.bus)))
    }

    /// Takes nothing more over from nodes that die: this one is about to leave. No more
    /// [`Orphans`] come, none [is ours](Orphan::is_ours) that has not been begun, and what this node
    /// has claimed is another's as soon as those that were begun are done.
    pub fn leave_off(&self) {
        self.core.bus.desk.leave_off();
    }

    /// What the bus has done so far.
    pub fn counts(&self) -> BusCounts {
        self.core.bus.counts()
    }

    /// Writes what the directory has not yet, and leaves it: other nodes say of this node's
    /// connections that they are gone, and claim those whose facts are still kept. The store reaches
    /// nobody afterwards. Takes no longer than three commands may.
    pub async fn leave_cluster(&self) {
        let (left, has_left) = oneshot::channel();
        if self.wishes.send(Wish::Leave(left)).await.is_ok() {
            let _ended = has_left.await;
        }
    }

    /// Whether the connection is this node's own, as far as its id tells.
    fn is_own(&self, id: ConnectionId) -> bool {
        id.node() == self.core.inner.node()
    }

    fn bus(&self) -> &Bus {
        &self.core.bus
    }
}

/// Reads a bus message as a node does, for a fuzzer: what is read can be written, and is then read
/// as the same.
///
/// # Panics
/// Where it is not.
#[cfg(any(test, feature = "suite"))]
pub fn check_bus_message(bytes: &[u8]) {
    let Ok(items) = wire::items(&bytes::Bytes::copy_from_slice(bytes)) else { return };
    for (number, body) in items.flatten() {
        let item = wire::item(number, &body).expect("what a bus message held fits into one");
        let again = wire::one_item(&item.into());
        assert_eq!(again, Some((number, body)), "an item is not read as it was written");
    }
}

/// What an answer says of a call that gives nothing but its success.
fn done(answer: &Answer) -> Result<(), DeliveryError> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Failed(error) => Err(*error),
        _ => Err(DeliveryError::Unavailable),
    }
}

impl<C: LocalConnection> ConnectionStore<C> for RedisStore<C> {
    fn node(&self) -> NodeId {
        self.core.inner.node()
    }

    fn lease(&self) -> Lease {
        self.bus().standing.lease(Instant::now())
    }

    fn delivers(&self) -> bool {
        self.bus().standing.delivers()
    }

    fn allocate(&self) -> ConnectionId {
        self.core.inner.allocate()
    }

    fn insert(&self, connection: Arc<C>) {
        let id = connection.id();
        self.core.unfinished.inserted(&connection);
        self.core.inner.insert(Arc::clone(&connection));
        if self.is_own(id) {
            self.accepted(&connection);
        } else {
            // The number was lost between `allocate` and here.
            let _first = self.core.inner.close(connection.scope(), id, supervisor::restart());
        }
    }

    fn remove(&self, id: ConnectionId) -> Option<Arc<C>> {
        let removed = self.core.inner.remove(id);
        self.core.unfinished.removed(id);
        removed
    }

    fn accepted(&self, connection: &C) {
        let facts = connection.disconnect_facts();
        if let Some(facts) = facts.filter(|_| self.is_own(connection.id())) {
            self.bus().directory.keep(connection.id(), facts);
        }
    }

    fn ended(&self, id: ConnectionId) {
        // First: who writes all that is known reads this, and takes what comes meanwhile as newer.
        self.core.unfinished.over(id);
        if self.is_own(id) {
            self.bus().directory.forget(id);
        }
    }

    fn finishes(&self, id: ConnectionId) -> Reply<bool> {
        // Whoever took this node for dead finishes only those of whom it has found facts.
        if let Some(acts) = self.bus().standing.acts_for(id.node(), Instant::now()) {
            return Reply::ready(acts || self.core.unfinished.is_known_here_only(id));
        }
        let core = Arc::clone(&self.core);
        Reply::Later(Box::pin(async move {
            core.bus.standing.will_act_for(id.node()).await
                || core.unfinished.is_known_here_only(id)
        }))
    }

    fn published(&self) -> Reply<Result<(), Unavailable>> {
        self.bus().directory.published()
    }

    fn post(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        if self.is_own(id) {
            return self.core.inner.post(scope, id, message);
        }
        let question = Question::Post { scope: scope.clone(), id, message, call: None };
        let answer = self.bus().ask(id.node(), question);
        answer.map(move |answer| done(&answer).map(|()| Receipt { node: id.node() }))
    }

    fn post_once(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
        call: &CallName,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        if self.is_own(id) {
            return self.core.inner.post_once(scope, id, message, call);
        }
        let call = Some(call.clone());
        let question = Question::Post { scope: scope.clone(), id, message, call };
        let answer = self.bus().ask(id.node(), question);
        answer.map(move |answer| done(&answer).map(|()| Receipt { node: id.node() }))
    }

    fn describe(
        &self,
        scope: &Scope,
        id: ConnectionId,
    ) -> Reply<Result<Description, DeliveryError>> {
        if self.is_own(id) {
            return self.core.inner.describe(scope, id);
        }
        let answer = self.bus().ask(id.node(), Question::Describe { scope: scope.clone(), id });
        answer.map(|answer| match answer {
            Answer::Description(description) => Ok(description),
            answer => done(&answer).and(Err(DeliveryError::Unavailable)),
        })
    }

    fn close(
        &self,
        scope: &Scope,
        id: ConnectionId,
        request: CloseRequest,
    ) -> Reply<Result<(), DeliveryError>> {
        if self.is_own(id) {
            return self.core.inner.close(scope, id, request);
        }
        let question = Question::Close { scope: scope.clone(), id, request };
        self.bus().ask(id.node(), question).map(|answer| done(&answer))
    }

    fn join(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>> {
        if self.is_own(id) {
            return match self.core.inner.join(scope, group, id) {
                Reply::Ready(Some(Ok(()))) => {
                    self.published().map(|published| published.map_err(DeliveryError::from))
                }
                reply => reply,
            };
        }
        let question = Question::Join { scope: scope.clone(), id, group: group.clone() };
        self.bus().ask(id.node(), question).map(|answer| done(&answer))
    }

    fn leave(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>> {
        if self.is_own(id) {
            return self.core.inner.leave(scope, group, id);
        }
        let question = Question::Leave { scope: scope.clone(), id, group: group.clone() };
        self.bus().ask(id.node(), question).map(|answer| done(&answer))
    }

    fn send(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
    ) -> Reply<Result<SendReport, Unavailable>> {
        self.core.send(scope, audience, message, except, None)
    }

    fn send_once(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
        call: &CallName,
    ) -> Reply<Result<SendReport, Unavailable>> {
        once::send(&self.core, scope, audience, message, except, call)
    }

    fn close_audience(
        &self,
        scope: &Scope,
        audience: Audience,
        request: CloseRequest,
    ) -> Reply<Result<u64, Unavailable>> {
        let own = self.own_part(&audience);
        let own = own.map(|own| self.core.inner.close_audience(scope, own, request.clone()));
        let (bus, scope) = (Arc::clone(&self.core.bus), scope.clone());
        Reply::Later(Box::pin(async move {
            let others = bus.ask_others(&scope, audience, |_, audience| Question::CloseAudience {
                scope: scope.clone(),
                audience,
                request: request.clone(),
            });
            let own = async {
                match own {
                    Some(own) => own.await,
                    None => Ok(0),
                }
            };
            let (own, others) = tokio::join!(own, others);
            Ok(own?.saturating_add(add_numbers(others?)?))
        }))
    }

    fn count(&self, scope: &Scope, group: &GroupName) -> Reply<Result<u64, Unavailable>> {
        let own = self.core.inner.count(scope, group);
        let (bus, scope, group) = (Arc::clone(&self.core.bus), scope.clone(), group.clone());
        Reply::Later(Box::pin(async move {
            let audience = Audience::Group(group.clone());
            let question = |_, _| Question::Count { scope: scope.clone(), group: group.clone() };
            let others = bus.ask_others(&scope, audience, question).await?;
            Ok(own.await?.saturating_add(add_numbers(others)?))
        }))
    }

    fn members(
        &self,
        scope: &Scope,
        group: &GroupName,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        self.page(scope, Some(group.clone()), limit, cursor)
    }

    fn list(
        &self,
        scope: &Scope,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        self.page(scope, None, limit, cursor)
    }

    fn shrink(&self) {
        self.core.inner.shrink();
        self.core.unfinished.shrink();
        self.core.sends.shrink(Instant::now());
    }

    fn local(&self) -> Vec<Arc<C>> {
        self.core.inner.local()
    }
}

impl<C: LocalConnection> RedisStore<C> {
    fn own_part(&self, audience: &Audience) -> Option<Audience> {
        self.core.own_part(audience)
    }

    /// A page of the first node, in the order of their numbers, that the cursor has not done with.
    fn page(
        &self,
        scope: &Scope,
        group: Option<GroupName>,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        let (core, scope) = (Arc::clone(&self.core), scope.clone());
        Reply::Later(Box::pin(async move {
            let audience = group.clone().map_or(Audience::Stage, Audience::Group);
            let mut nodes = core.bus.others(&scope, &audience).await?;
            let own = core.inner.node();
            nodes.push(own);
            nodes.sort_unstable();
            let first = |node: NodeId| cursor.map_or(Some(0), |cursor| cursor.begins_at(node));
            let mut nodes = nodes.into_iter().filter_map(|node| Some((node, first(node)?)));
            let Some((node, place)) = nodes.next() else { return Ok(Page::default()) };
            let mut page = if node == own {
                let cursor = Some(Cursor::new(own, place));
                match &group {
                    Some(group) => core.inner.members(&scope, group, limit, cursor).await?,
                    None => core.inner.list(&scope, limit, cursor).await?,
                }
            } else {
                let question =
                    Question::Page { scope: scope.clone(), group: group.clone(), limit, place };
                match core.bus.ask(node, question).await {
                    Answer::Page { connections, next } => {
                        Page { connections, next: next.map(|place| Cursor::new(node, place)) }
                    }
                    Answer::Failed(DeliveryError::Gone) => Page::default(),
                    _ => return Err(Unavailable),
                }
            };
            page.next = page.next.or_else(|| nodes.next().map(|(node, _)| Cursor::new(node, 0)));
            Ok(page)
        }))
    }
}

impl<C: LocalConnection> Core<C> {
    /// What of an audience this node has to look for among its own.
    fn own_part(&self, audience: &Audience) -> Option<Audience> {
        match audience {
            Audience::Connections(list) => split(list.as_slice()).remove(&self.inner.node()),
            audience => Some(audience.clone()),
        }
    }

    fn send(
        self: &Arc<Self>,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
        call: Option<&CallName>,
    ) -> Reply<Result<SendReport, Unavailable>> {
        // What each node is told names only its own, so that a repetition through another node says
        // the same.
        let except_of = |except: &[ConnectionId], node: NodeId| -> Vec<_> {
            except.iter().filter(|id| id.node() == node).copied().collect()
        };
        let own = self.own_part(&audience);
        let own = own.map(|own| {
            let except = except_of(&except, self.inner.node());
            send_to_own(&self.inner, scope, own, message.clone(), except, call)
        });
        if self.owns_all(&audience) {
            return own.unwrap_or_else(|| Reply::ready(Ok(SendReport::default())));
        }
        let (bus, scope, call) = (Arc::clone(&self.bus), scope.clone(), call.cloned());
        Reply::Later(Box::pin(async move {
            let others = bus.ask_others(&scope, audience, |node, audience| Question::Send {
                scope: scope.clone(),
                audience,
                message: message.clone(),
                except: except_of(&except, node),
                call: call.clone(),
            });
            let own = async {
                match own {
                    Some(own) => own.await,
                    None => Ok(SendReport::default()),
                }
            };
            let (own, others) = tokio::join!(own, others);
            let mut report = own?;
            add_reports(&mut report, others?, &except)?;
            Ok(report)
        }))
    }
}
