//! What every store must pass: the six guarantees of [`ConnectionStore`], each as a function.
//!
//! In:  stores of [`RecordingConnection`]s, made by the test that calls; nothing is open in them.
//! Out: nothing, or a panic whose text tells what did not hold.
//!
//! A check opens connections at an `owner` and makes calls about them at a `caller`. Within one
//! node both are the same store ([`run_all`]); a store that has other nodes must hold between two
//! as well ([`run_all_across`]).
//!
//! Holds always: replies are awaited on the task of whoever calls the suite, so it runs under any
//! runtime. Plain threads are started only to race `allocate` and `remove`, which answer at once
//! and have to work outside a runtime too.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    pin::{Pin, pin},
    sync::{
        Arc, Barrier, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;

use crate::{
    CloseRequest, ConnectionId, ConnectionStore, DeliveryError, Description, LocalConnection,
    Message, MessageKind, Reply, Scope, SendError,
};

/// A store under test.
pub type TestedStore = dyn ConnectionStore<RecordingConnection>;

/// Runs every check within one node, with a fresh store for each.
///
/// # Panics
/// On the first guarantee that does not hold.
pub async fn run_all<S>(make: impl AsyncFn() -> S)
where
    S: ConnectionStore<RecordingConnection> + 'static,
{
    run_checks(async || {
        let store = Arc::new(make().await);
        (Arc::clone(&store), store)
    })
    .await;
}

/// Runs every check between two nodes of one cluster, with a fresh pair for each: connections are
/// opened at the first and reached from the second.
///
/// # Panics
/// On the first guarantee that does not hold.
pub async fn run_all_across<S>(make: impl AsyncFn() -> (S, S))
where
    S: ConnectionStore<RecordingConnection> + 'static,
{
    let make = async || {
        let (owner, caller) = make().await;
        (Arc::new(owner), Arc::new(caller))
    };
    run_checks(&make).await;
    let (owner, caller) = make().await;
    only_the_owner_holds_a_connection(&*owner, &*caller).await;
}

async fn run_checks<S>(make: impl AsyncFn() -> (Arc<S>, Arc<S>))
where
    S: ConnectionStore<RecordingConnection> + 'static,
{
    let (owner, _caller) = make().await;
    ids_are_unique_and_name_their_node(&*owner).await;
    let (owner, _caller) = make().await;
    of_racing_removes_exactly_one_gets_the_connection(&*owner).await;
    let (owner, _caller) = make().await;
    replies_about_own_connections_are_ready(&*owner).await;
    let (owner, caller) = make().await;
    a_connection_is_reachable_from_insert_until_remove(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    a_closed_connection_is_gone_for_every_call(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    of_racing_closes_exactly_one_succeeds(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    a_receipt_names_the_owner_whose_queue_took_the_message(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    full_and_closed_queues_are_told_apart(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    messages_arrive_in_the_order_of_their_answers(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    another_scope_learns_nothing(&*owner, &*caller).await;
    let (owner, caller) = make().await;
    a_message_is_encoded_once_and_only_for_a_receiver(&*owner, &*caller).await;
}

/// Guarantee 1.
pub async fn ids_are_unique_and_name_their_node(owner: &TestedStore) {
    const THREADS: usize = 4;
    const EACH: usize = 4_000;
    let drawn: Vec<ConnectionId> = thread::scope(|threads| {
        let draw = || (0..EACH).map(|_| owner.allocate()).collect::<Vec<_>>();
        let drawing: Vec<_> = (0..THREADS).map(|_| threads.spawn(draw)).collect();
        let drawn = drawing.into_iter().map(|thread| thread.join().expect("allocate panicked"));
        drawn.flatten().collect()
    });

    let mut seen = HashSet::new();
    let mut ones = [0usize; 64];
    for id in &drawn {
        assert!(seen.insert(*id), "the id {id} was given twice");
        assert_eq!(id.node(), owner.node(), "the id {id} names another node than the owner");
        assert_eq!(id.as_str().parse().as_ref(), Ok(id), "the id {id} does not survive its text");
        let bytes = URL_SAFE.decode(id.as_str()).unwrap_or_default();
        let random = bytes[3..].try_into().map(u64::from_be_bytes);
        let random = random.unwrap_or_else(|_| panic!("the id {id} is not 11 bytes of base64"));
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += usize::from(random >> bit & 1 == 1);
        }
    }
    // A fair bit is one in half of 16,000 ids, give or take 63; a counter or a clock is far off.
    for (bit, ones) in ones.into_iter().enumerate() {
        let share = ones * 100 / drawn.len();
        assert!(
            (45..55).contains(&share),
            "bit {bit} of the ids is one in {share} % and not random"
        );
    }
}

/// Guarantee 2, by `remove`.
pub async fn a_connection_is_reachable_from_insert_until_remove(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let id = owner.allocate();
    assert_gone(owner, caller, id, "before its insert").await;
    assert_eq!(owner.local().len(), 0, "a new store has no connections");

    let connection = RecordingConnection::new(id, home(), 10);
    owner.insert(Arc::clone(&connection));
    let neighbour = open(owner, 10);
    assert_ok(caller.post(&home(), id, message()).await, "a post after the insert");
    let described = caller.describe(&home(), id).await;
    assert_eq!(described, Ok(connection.describe()), "a description after the insert");
    let mut local: Vec<_> = owner.local().iter().map(|open| open.id()).collect();
    local.sort_unstable();
    let mut opened = [id, neighbour.id()];
    opened.sort_unstable();
    assert_eq!(local, opened, "`local` lists each connection of the node once");
    assert_eq!(connection.take().len(), 1, "the post reached the connection");

    let removed = owner.remove(id);
    let same = removed.is_some_and(|removed| Arc::ptr_eq(&removed, &connection));
    assert!(same, "`remove` gives the connection that was inserted");
    assert_gone(owner, caller, id, "after its remove").await;
    assert_eq!(connection.take(), [], "a removed connection got a message");
    assert_eq!(connection.closes(), [], "`remove` closed the connection");

    assert_ok(caller.post(&home(), neighbour.id(), message()).await, "a post to a neighbour");
    let local: Vec<_> = owner.local().iter().map(|open| open.id()).collect();
    assert_eq!(local, [neighbour.id()], "`local` after a remove");
}

/// Guarantee 2, by `close`.
pub async fn a_closed_connection_is_gone_for_every_call(owner: &TestedStore, caller: &TestedStore) {
    let (connection, neighbour) = (open(owner, 10), open(owner, 10));
    let request = CloseRequest { code: 4001, reason: "until tomorrow – ä".to_owned() };
    let answer = caller.close(&home(), connection.id(), request.clone()).await;
    assert_eq!(answer, Ok(()), "the close of an open connection");
    assert_eq!(connection.closes(), [request], "the connection is told code and reason, once");
    assert_gone(owner, caller, connection.id(), "after its close").await;
    assert_eq!(connection.closes().len(), 1, "a second close reached the connection");
    assert_eq!(neighbour.closes(), [], "the close reached a neighbour");
    assert_ok(caller.post(&home(), neighbour.id(), message()).await, "a post to a neighbour");
}

/// Guarantee 2, under many closes at once.
pub async fn of_racing_closes_exactly_one_succeeds(owner: &TestedStore, caller: &TestedStore) {
    for _ in 0..50 {
        let connection = open(owner, 10);
        let closes = (0..8).map(|_| async {
            yield_now().await;
            caller.close(&home(), connection.id(), close_request()).await
        });
        let mut answers = all(closes.collect()).await;
        answers.sort_unstable_by_key(Result::is_err);
        assert_eq!(answers[0], Ok(()), "one of several closes succeeds");
        let others = [Err(DeliveryError::Gone); 7];
        assert_eq!(answers[1..], others, "after the first close the connection is gone");
        assert_eq!(connection.closes().len(), 1, "the connection is told once");
    }
}

/// Guarantee 3: what a receipt means.
pub async fn a_receipt_names_the_owner_whose_queue_took_the_message(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let (connection, neighbour) = (open(owner, 10), open(owner, 10));
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    for (kind, payload) in [
        (MessageKind::Text, Bytes::from_static(b"hello")),
        (MessageKind::Text, Bytes::from_static("ä – \u{1f600}\0\r\n".as_bytes())),
        (MessageKind::Text, Bytes::new()),
        (MessageKind::Binary, Bytes::from(every_byte)),
        (MessageKind::Binary, Bytes::new()),
        // API Gateway's quota for one message.
        (MessageKind::Text, Bytes::from(vec![b'x'; 131_072])),
    ] {
        let sent = Message { kind, payload };
        let what = format!("a {kind:?} message of {} bytes", sent.payload.len());
        let receipt = caller.post(&home(), connection.id(), sent.clone()).await;
        let node = receipt.map(|receipt| receipt.node);
        assert_eq!(node, Ok(owner.node()), "the receipt for {what} names the owner");
        assert!(connection.take() == [sent], "{what} stands in the queue when it is answered");
    }
    assert_eq!(neighbour.take(), [], "a neighbour got a message");
}

/// Guarantee 3: what takes the place of a receipt.
pub async fn full_and_closed_queues_are_told_apart(owner: &TestedStore, caller: &TestedStore) {
    let connection = open(owner, 2);
    let messages = [message(), message(), message(), message()];
    let mut answers = Vec::new();
    for message in &messages[..3] {
        let answer = caller.post(&home(), connection.id(), message.clone()).await;
        answers.push(answer.map(|receipt| receipt.node));
    }
    let expected = [Ok(owner.node()), Ok(owner.node()), Err(DeliveryError::Full)];
    assert_eq!(answers, expected, "three posts to a queue that has room for two");
    assert_eq!(connection.take(), messages[..2], "a full queue keeps what it took");
    let described = caller.describe(&home(), connection.id()).await;
    assert_eq!(described, Ok(connection.describe()), "a full connection is not gone");
    let answer = caller.post(&home(), connection.id(), messages[3].clone()).await;
    assert_ok(answer, "a post after the client has read");
    assert_eq!(connection.take(), messages[3..], "a refused message arrived late");

    // The socket has ended and its task has not yet come to `remove`.
    connection.close(&close_request());
    let answer = caller.post(&home(), connection.id(), message()).await;
    assert_eq!(answer, Err(DeliveryError::Gone), "a post to a connection that has closed itself");
    let removed = owner.remove(connection.id());
    assert!(removed.is_some(), "a failed post leaves the connection to `remove`");
}

/// Guarantee 3: order, for several callers whose posts are under way at once.
pub async fn messages_arrive_in_the_order_of_their_answers(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    const CALLERS: usize = 5;
    const EACH: usize = 40;
    let connection = open(owner, CALLERS * EACH);
    let callers = (0..CALLERS).map(|name| {
        let id = connection.id();
        async move {
            for number in 0..EACH {
                let sent = text(format!("{name} {number}"));
                assert_ok(caller.post(&home(), id, sent).await, "a post to a queue with room");
                // Uneven, so that the callers do not keep step.
                for _ in 0..(name + number) % 3 {
                    yield_now().await;
                }
            }
        }
    });
    all(callers.collect()).await;
    let arrived = connection.take();
    assert_eq!(arrived.len(), CALLERS * EACH, "each message arrives once");
    for name in 0..CALLERS {
        let prefix = format!("{name} ");
        let of_one = arrived.iter().filter(|m| m.payload.starts_with(prefix.as_bytes()));
        for (number, arrived) in of_one.enumerate() {
            let expected = text(format!("{name} {number}"));
            assert_eq!(*arrived, expected, "the order of one caller's messages");
        }
    }
}

/// Guarantee 4.
pub async fn another_scope_learns_nothing(owner: &TestedStore, caller: &TestedStore) {
    let never_opened = owner.allocate();
    let open = open(owner, 2);
    let full = self::open(owner, 0);
    let closed = self::open(owner, 2);
    closed.close(&close_request());
    let foreign = [
        Scope::new("chat", "dev"),
        Scope::new("game", "prod"),
        Scope::new("game", "dev"),
        Scope::new("prod", "chat"),
        Scope::new("Chat", "prod"),
        Scope::new("chatp", "rod"),
        Scope::new("chat", ""),
        Scope::new("", ""),
    ];
    for scope in &foreign {
        for id in [never_opened, open.id(), full.id(), closed.id()] {
            let posted = caller.post(scope, id, message()).await;
            assert_eq!(posted, Err(DeliveryError::Gone), "a post under {scope:?}");
            let described = caller.describe(scope, id).await;
            assert_eq!(described, Err(DeliveryError::Gone), "a description under {scope:?}");
            let answer = caller.close(scope, id, close_request()).await;
            assert_eq!(answer, Err(DeliveryError::Gone), "a close under {scope:?}");
        }
    }
    assert_eq!(open.take(), [], "a message crossed scopes");
    assert_eq!(open.closes(), [], "a close crossed scopes");
    assert_ok(caller.post(&home(), open.id(), message()).await, "a post under the own scope");
    assert_eq!(owner.local().len(), 3, "a call under another scope removed a connection");
}

/// Guarantee 5.
pub async fn of_racing_removes_exactly_one_gets_the_connection(owner: &TestedStore) {
    const THREADS: usize = 4;
    let opened: Vec<_> = (0..500).map(|_| (open(owner, 1), AtomicUsize::new(0))).collect();
    let together = Barrier::new(THREADS);
    thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                for (connection, winners) in &opened {
                    together.wait();
                    if owner.remove(connection.id()).is_some() {
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for (_, winners) in opened {
        let winners = winners.into_inner();
        assert_eq!(winners, 1, "{winners} of {THREADS} racing removes got the connection");
    }
    assert_eq!(owner.local().len(), 0, "a removed connection is still listed");
}

/// Guarantee 6, as far as one node can show it: there is nothing to wait for.
pub async fn replies_about_own_connections_are_ready(owner: &TestedStore) {
    let (open, full) = (open(owner, 2), open(owner, 0));
    assert_ready(&owner.post(&home(), open.id(), message()), "a post");
    assert_ready(&owner.post(&home(), full.id(), message()), "a post to a full queue");
    assert_ready(&owner.describe(&home(), open.id()), "a description");
    assert_ready(&owner.close(&home(), open.id(), close_request()), "a close");
    assert_ready(&owner.post(&home(), open.id(), message()), "a post after the close");
    assert_ready(&owner.describe(&home(), owner.allocate()), "a description of no connection");
}

/// Guarantee 3, and what [`LocalConnection::encode`] asks of a store.
pub async fn a_message_is_encoded_once_and_only_for_a_receiver(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let connection = open(owner, 1);
    for (scope, id, expected, what) in [
        (home(), owner.allocate(), 0, "to nobody"),
        (Scope::new("game", "prod"), connection.id(), 0, "under another scope"),
        (home(), connection.id(), 1, "to an open connection"),
    ] {
        let sent = message();
        let _ = caller.post(&scope, id, sent.clone()).await;
        assert_eq!(encodings_of(&sent), expected, "encodings of a message {what}");
    }
}

/// What [`ConnectionStore::local`] and [`ConnectionStore::remove`] are about, between two nodes.
pub async fn only_the_owner_holds_a_connection(owner: &TestedStore, other: &TestedStore) {
    assert_ne!(owner.node(), other.node(), "two nodes have one name");
    let connection = open(owner, 1);
    assert_eq!(other.local().len(), 0, "a node lists another's connection as its own");
    assert!(other.remove(connection.id()).is_none(), "a node removed another's connection");
    assert_ok(other.post(&home(), connection.id(), message()).await, "a post from another node");
    assert_eq!(connection.take().len(), 1, "the post reached the connection");
}

/// A connection whose client is the test: a queue that is bounded in messages, and a record of what
/// the store asked for.
#[derive(Debug)]
pub struct RecordingConnection {
    id: ConnectionId,
    scope: Scope,
    capacity: usize,
    description: Description,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    queue: Vec<Message>,
    closes: Vec<CloseRequest>,
}

impl RecordingConnection {
    /// An open connection whose queue has room for `capacity` messages. Its description differs
    /// from that of every other id.
    pub fn new(id: ConnectionId, scope: Scope, capacity: usize) -> Arc<Self> {
        static BORN: AtomicU64 = AtomicU64::new(1_700_000_000_000);
        let connected_at_ms = BORN.fetch_add(1000, Ordering::Relaxed);
        let description = Description {
            connected_at_ms,
            last_active_at_ms: connected_at_ms + 7,
            source_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            user_agent: Some(format!("suite of {id}")),
        };
        Arc::new(Self { id, scope, capacity, description, record: Mutex::default() })
    }

    /// Empties the queue, as a client that reads does; oldest message first.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.record().queue)
    }

    /// Every request to close it so far, oldest first. It is closed from the first on.
    pub fn closes(&self) -> Vec<CloseRequest> {
        self.record().closes.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // A record is whole between any two statements; a check that panicked left it so.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each payload was encoded, by any thread: the trait's `encode` has no connection to
/// keep its count, and a store may encode on a thread of its own.
static ENCODINGS: Mutex<BTreeMap<Bytes, usize>> = Mutex::new(BTreeMap::new());

/// How often a message was encoded. Only of use for a payload that no other test sends.
pub fn encodings_of(message: &Message) -> usize {
    let encodings = ENCODINGS.lock().unwrap_or_else(PoisonError::into_inner);
    encodings.get(&message.payload).copied().unwrap_or(0)
}

impl LocalConnection for RecordingConnection {
    type Frame = Message;

    fn encode(message: &Message) -> Self::Frame {
        let mut encodings = ENCODINGS.lock().unwrap_or_else(PoisonError::into_inner);
        *encodings.entry(message.payload.clone()).or_default() += 1;
        message.clone()
    }

    fn id(&self) -> ConnectionId {
        self.id
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn send(&self, frame: &Self::Frame) -> Result<(), SendError> {
        let mut record = self.record();
        if !record.closes.is_empty() {
            return Err(SendError::Closed);
        }
        if record.queue.len() >= self.capacity {
            return Err(SendError::Full);
        }
        record.queue.push(frame.clone());
        Ok(())
    }

    fn close(&self, request: &CloseRequest) {
        self.record().closes.push(request.clone());
    }

    fn describe(&self) -> Description {
        self.description.clone()
    }
}

/// Drives a future on this thread, for tests of stores that answer at once and need no runtime.
/// Spins while it is pending.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::yield_now();
    }
}

/// The scope of every connection that [`open`] opens.
fn home() -> Scope {
    Scope::new("chat", "prod")
}

fn open(owner: &TestedStore, capacity: usize) -> Arc<RecordingConnection> {
    let connection = RecordingConnection::new(owner.allocate(), home(), capacity);
    owner.insert(Arc::clone(&connection));
    connection
}

fn text(payload: String) -> Message {
    Message { kind: MessageKind::Text, payload: payload.into() }
}

/// A message like no other of this process.
fn message() -> Message {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    text(format!("message {} of the suite", SERIAL.fetch_add(1, Ordering::Relaxed)))
}

fn close_request() -> CloseRequest {
    CloseRequest { code: 1000, reason: "closed by the suite".to_owned() }
}

#[track_caller]
fn assert_ok<T, E: Debug>(answer: Result<T, E>, what: &str) {
    if let Err(error) = answer {
        panic!("{what} was answered {error:?}");
    }
}

#[track_caller]
fn assert_ready<T>(reply: &Reply<T>, what: &str) {
    let ready = matches!(reply, Reply::Ready(Some(_)));
    assert!(ready, "{what} on the connection's own node had to wait");
}

/// Every call, at the owner and at the caller, answers as if the connection had never been.
async fn assert_gone(owner: &TestedStore, caller: &TestedStore, id: ConnectionId, when: &str) {
    for store in [caller, owner] {
        let posted = store.post(&home(), id, message()).await;
        assert_eq!(posted, Err(DeliveryError::Gone), "a post to a connection {when}");
        let described = store.describe(&home(), id).await;
        assert_eq!(described, Err(DeliveryError::Gone), "a description of a connection {when}");
        let answer = store.close(&home(), id, close_request()).await;
        assert_eq!(answer, Err(DeliveryError::Gone), "a close of a connection {when}");
        assert!(store.remove(id).is_none(), "`remove` found a connection {when}");
        let listed = store.local().iter().any(|open| open.id() == id);
        assert!(!listed, "`local` lists a connection {when}");
    }
}

/// Runs futures together and gives what they gave, in their order.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Lets the other futures of [`all`] go on.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The suite is tested with stores that break one guarantee each: a check that lets its fault pass
/// is no check.
#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{Lease, MemoryStore, NodeId, Receipt};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        GivesIdsTwice,
        CountsIds,
        NamesAnotherNode,
        KeepsAfterRemove,
        KeepsAfterClose,
        ClosesOnRemove,
        ClosesTwice,
        ForgetsReason,
        SignsForTheOwner,
        AnswersBeforeTheQueue,
        DropsText,
        TakesFullForGone,
        TakesClosedForFull,
        RemovesWhatIsFull,
        Overtakes,
        IgnoresTheApi,
        IgnoresTheStage,
        TellsFullToStrangers,
        RemovesForEveryone,
        WaitsAtHome,
        EncodesForNobody,
        EncodesTwice,
        ListsForeign,
    }

    type Node = MemoryStore<RecordingConnection>;

    /// One of two nodes that reach each other through memory: replies about the other's connections
    /// come later, as over a bus.
    struct Clustered {
        nodes: Arc<[Node; 2]>,
        own: usize,
        fault: Fault,
        /// What a fault keeps back: removed connections, ids, a message that is overtaken.
        kept: Arc<Mutex<Kept>>,
    }

    #[derive(Default)]
    struct Kept {
        connections: Vec<Arc<RecordingConnection>>,
        id: Option<ConnectionId>,
        serial: u64,
        late: Option<(ConnectionId, Message)>,
    }

    impl Clustered {
        fn pair(fault: Fault) -> (Self, Self) {
            let nodes = Arc::new([1, 2].map(|n| Node::with_node(NodeId::new(n).unwrap())));
            let kept = Arc::<Mutex<Kept>>::default();
            let node =
                |own| Self { nodes: Arc::clone(&nodes), own, fault, kept: Arc::clone(&kept) };
            (node(0), node(1))
        }

        fn own(&self) -> &Node {
            &self.nodes[self.own]
        }

        fn kept(&self) -> MutexGuard<'_, Kept> {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn ask<T: Send + Unpin + 'static>(
            &self,
            id: ConnectionId,
            call: impl FnOnce(&Node) -> T + Send + 'static,
        ) -> Reply<T> {
            let nodes = Arc::clone(&self.nodes);
            let Some(owner) = nodes.iter().position(|node| node.node() == id.node()) else {
                return Reply::ready(call(self.own()));
            };
            if owner == self.own && self.fault != Fault::WaitsAtHome {
                return Reply::ready(call(&nodes[owner]));
            }
            Reply::Later(Box::pin(async move {
                yield_now().await;
                let value = call(&nodes[owner]);
                yield_now().await;
                value
            }))
        }

        /// The scope that a faulty store believes the connection to be of.
        fn believed(&self, scope: &Scope, id: ConnectionId) -> Scope {
            let local = self.nodes.iter().flat_map(ConnectionStore::local);
            let Some(connection) = local.into_iter().find(|open| open.id() == id) else {
                return scope.clone();
            };
            let (mut scope, own) = (scope.clone(), connection.scope());
            match self.fault {
                Fault::IgnoresTheApi => scope.api = Arc::clone(&own.api),
                Fault::IgnoresTheStage => scope.stage = Arc::clone(&own.stage),
                _ => {}
            }
            scope
        }
    }

    impl ConnectionStore<RecordingConnection> for Clustered {
        fn node(&self) -> NodeId {
            self.own().node()
        }

        fn lease(&self) -> Lease {
            Lease::Unbounded
        }

        fn allocate(&self) -> ConnectionId {
            let mut kept = self.kept();
            kept.serial += 1;
            match self.fault {
                Fault::GivesIdsTwice if kept.serial == 10_000 => {
                    kept.id.expect("an id was given before the 10,000th")
                }
                Fault::CountsIds => ConnectionId::new(self.node(), kept.serial.to_be_bytes()),
                Fault::NamesAnotherNode => {
                    ConnectionId::new(NodeId::new(3).unwrap(), rand::random())
                }
                _ => *kept.id.insert(self.own().allocate()),
            }
        }

        fn insert(&self, connection: Arc<RecordingConnection>) {
            self.own().insert(connection);
        }

        fn remove(&self, id: ConnectionId) -> Option<Arc<RecordingConnection>> {
            match self.fault {
                Fault::RemovesForEveryone => self.nodes.iter().find_map(|node| node.remove(id)),
                Fault::KeepsAfterRemove => {
                    self.own().local().into_iter().find(|open| open.id() == id)
                }
                Fault::ClosesOnRemove => {
                    self.own().remove(id).inspect(|removed| removed.close(&close_request()))
                }
                _ => self.own().remove(id),
            }
        }

        fn post(
            &self,
            scope: &Scope,
            id: ConnectionId,
            message: Message,
        ) -> Reply<Result<Receipt, DeliveryError>> {
            let (fault, own, kept) = (self.fault, self.node(), Arc::clone(&self.kept));
            let (asked, scope) = (scope.clone(), self.believed(scope, id));
            self.ask(id, move |owner| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let mut message = message;
                match fault {
                    Fault::EncodesForNobody => drop(RecordingConnection::encode(&message)),
                    Fault::DropsText => message.kind = MessageKind::Binary,
                    Fault::Overtakes if message.payload == "3 7" => {
                        kept.late = Some((id, message));
                        return Ok(Receipt { node: owner.node() });
                    }
                    _ => {}
                }
                let answer = at_once(owner.post(&scope, id, message.clone()));
                if let Some((id, late)) = kept.late.take_if(|_| message.payload == "3 8") {
                    return at_once(owner.post(&scope, id, late));
                }
                let found = owner.local().into_iter().find(|open| open.id() == id);
                match (fault, answer, found) {
                    (Fault::SignsForTheOwner, Ok(_), _) => Ok(Receipt { node: own }),
                    (Fault::AnswersBeforeTheQueue, Ok(receipt), Some(found)) => {
                        found.take();
                        Ok(receipt)
                    }
                    (Fault::TakesFullForGone, Err(DeliveryError::Full), _) => {
                        Err(DeliveryError::Gone)
                    }
                    (Fault::TakesClosedForFull, Err(_), Some(_)) if asked == home() => {
                        Err(DeliveryError::Full)
                    }
                    (Fault::RemovesWhatIsFull, Err(DeliveryError::Full), _) => {
                        owner.remove(id);
                        Err(DeliveryError::Full)
                    }
                    (Fault::TellsFullToStrangers, Err(_), Some(found)) if found.capacity == 0 => {
                        Err(DeliveryError::Full)
                    }
                    (Fault::EncodesTwice, answer @ Ok(_), _) => {
                        drop(RecordingConnection::encode(&message));
                        answer
                    }
                    (_, answer, _) => answer,
                }
            })
        }

        fn describe(
            &self,
            scope: &Scope,
            id: ConnectionId,
        ) -> Reply<Result<Description, DeliveryError>> {
            let scope = scope.clone();
            self.ask(id, move |owner| at_once(owner.describe(&scope, id)))
        }

        fn close(
            &self,
            scope: &Scope,
            id: ConnectionId,
            mut request: CloseRequest,
        ) -> Reply<Result<(), DeliveryError>> {
            let (fault, kept, scope) = (self.fault, Arc::clone(&self.kept), scope.clone());
            if fault == Fault::ForgetsReason {
                request.reason.clear();
            }
            self.ask(id, move |owner| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let found = owner.local().into_iter().find(|open| open.id() == id);
                let answer = at_once(owner.close(&scope, id, request.clone()));
                match (fault, answer, found) {
                    (Fault::KeepsAfterClose, Ok(()), Some(found)) => {
                        owner.insert(found);
                        Ok(())
                    }
                    (Fault::ClosesTwice, Ok(()), Some(found)) => {
                        kept.connections.push(found);
                        Ok(())
                    }
                    (Fault::ClosesTwice, Err(_), None) => {
                        let again = kept.connections.iter().find(|open| open.id() == id);
                        again.map(|again| again.close(&request)).ok_or(DeliveryError::Gone)
                    }
                    (_, answer, _) => answer,
                }
            })
        }

        fn local(&self) -> Vec<Arc<RecordingConnection>> {
            match self.fault {
                Fault::ListsForeign => self.nodes.iter().flat_map(ConnectionStore::local).collect(),
                _ => self.own().local(),
            }
        }
    }

    #[test]
    fn a_store_that_answers_later_passes_within_a_node_and_across() {
        at_once(run_all(async || Clustered::pair(Fault::None).0));
        at_once(run_all_across(async || Clustered::pair(Fault::None)));
    }

    #[test]
    fn each_fault_is_found_and_named() {
        use Fault::*;
        for (fault, complaint) in [
            (GivesIdsTwice, "was given twice"),
            (CountsIds, "not random"),
            (NamesAnotherNode, "names another node than the owner"),
            (KeepsAfterRemove, "racing removes got the connection"),
            (KeepsAfterClose, "after its close"),
            (ClosesOnRemove, "`remove` closed the connection"),
            (ClosesTwice, "a close of a connection after its close"),
            (ForgetsReason, "told code and reason"),
            (SignsForTheOwner, "names the owner"),
            (AnswersBeforeTheQueue, "reached the connection"),
            (DropsText, "stands in the queue when it is answered"),
            (TakesFullForGone, "three posts to a queue that has room for two"),
            (TakesClosedForFull, "closed itself"),
            (RemovesWhatIsFull, "a full connection is not gone"),
            (Overtakes, "the order of one caller's messages"),
            (IgnoresTheApi, "a post under"),
            (IgnoresTheStage, "a post under"),
            (TellsFullToStrangers, "a post under"),
            (RemovesForEveryone, "a node removed another's connection"),
            (WaitsAtHome, "had to wait"),
            (EncodesForNobody, "encodings of a message to nobody"),
            (EncodesTwice, "encodings of a message to an open connection"),
            (ListsForeign, "lists another's connection as its own"),
        ] {
            let run = || at_once(run_all_across(async || Clustered::pair(fault)));
            let panic = catch_unwind(AssertUnwindSafe(run))
                .expect_err(&format!("{fault:?} passed the suite"));
            // Text without arguments is a `&str`.
            let fixed = panic.downcast_ref::<&str>().copied().unwrap_or_default();
            let told = panic.downcast_ref::<String>().map_or(fixed, String::as_str);
            assert!(told.contains(complaint), "{fault:?} was found by another check: {told}");
        }
    }
}
