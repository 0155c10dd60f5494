//! One client connection, as everybody but its own task sees it.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use connection_store::{
    CloseRequest, ConnectionId, Description, LocalConnection, Message, Scope, SendError,
};
use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard};
use tidegate_flow::{
    context::ConnectionFacts,
    session::{End, EndCause},
    trace_context::TraceContext,
};
use tidegate_model::{Limits, SlowClient};
use tidegate_telemetry::{DroppedCause, OpenConnection};
use tokio::net::TcpStream;

use super::{
    disconnect_facts,
    frame::encode_message,
    keeping::Keeping,
    outbox::{Outbox, QueueLimit, Sent},
};
use crate::{admission::Admission, node::Node, snapshot::StageIndex};

/// One client connection from the moment its `$connect` runs. Shared by its task, by the calls
/// under way for it, and by the store.
pub(crate) struct Connection {
    pub(crate) facts: ConnectionFacts,
    pub(crate) id: ConnectionId,
    pub(crate) scope: Arc<Scope>,
    pub(crate) stage: StageIndex,
    /// Whether only the connection's own task may write to the socket.
    pub(crate) tls: bool,
    /// `None` once the connection's task has ended, whoever still holds the connection.
    socket: RwLock<Option<TcpStream>>,
    /// What the traces of its messages point at; only where it was recorded.
    connect_span: Option<Box<TraceContext>>,
    node: Arc<Node>,
    outbox: Mutex<Outbox>,
    /// `facts.connected_at_ms` by [`steady_ms`], as is the next.
    steady_connected_at_ms: u64,
    last_active_ms: AtomicU64,
    /// Messages at integrations.
    in_flight: AtomicU32,
    /// No further message is read: a drain has come to it.
    stopped_reading: AtomicBool,
    /// The connection's task has stopped reading until a call ends.
    waits_for_call: AtomicBool,
    /// Whether a surviving node would need its facts.
    keeping: Keeping,
    place: Mutex<Place>,
}

/// 1012 "Service Restart" (the IANA registry of close codes).
const RESTART: u16 = 1012;

/// What the management API sends, encoded for any number of connections.
pub(crate) struct Posted {
    frames: Bytes,
    payload_bytes: usize,
}

/// What a connection counts in until it has ended.
#[derive(Default)]
struct Place {
    /// The node's limits.
    _admission: Option<Admission>,
    /// `tidegate_connections`, once it is accepted.
    open: Option<OpenConnection>,
}

impl Connection {
    pub(crate) fn new(
        node: Arc<Node>,
        id: ConnectionId,
        facts: ConnectionFacts,
        scope: Arc<Scope>,
        stage: StageIndex,
        (socket, tls): (TcpStream, bool),
        admission: Admission,
    ) -> Self {
        // The one moment at which both clocks are compared.
        let waited_ms = now_ms().saturating_sub(facts.connected_at_ms);
        let connected_at_ms = steady_ms().saturating_sub(waited_ms);
        Self {
            steady_connected_at_ms: connected_at_ms,
            last_active_ms: AtomicU64::new(connected_at_ms),
            facts,
            id,
            scope,
            stage,
            tls,
            socket: RwLock::new(Some(socket)),
            connect_span: None,
            node,
            outbox: Mutex::new(Outbox::held()),
            in_flight: AtomicU32::new(0),
            stopped_reading: AtomicBool::new(false),
            waits_for_call: AtomicBool::new(false),
            keeping: Keeping::new(),
            place: Mutex::new(Place { _admission: Some(admission), open: None }),
        }
    }

    /// With the span of its upgrade.
    pub(crate) fn with_connect_span(self, connect_span: Option<Box<TraceContext>>) -> Self {
        Self { connect_span, ..self }
    }

    /// The span of its upgrade, where that is recorded.
    pub(crate) fn connect_span(&self) -> Option<&TraceContext> {
        self.connect_span.as_deref()
    }

    /// Sends bytes that hold whole, encoded messages.
    pub(crate) fn send_encoded(&self, frames: &Bytes) -> Result<(), SendError> {
        self.send_within(&self.node.snapshot().limits, frames)
    }

    fn send_within(&self, limits: &Limits, frames: &Bytes) -> Result<(), SendError> {
        self.send_by(limits, |outbox, direct, limit| outbox.send(frames, direct, limit))?;
        self.touch();
        Ok(())
    }

    /// Sends what one read gave rise to. It is no activity of its own: a pong keeps no connection
    /// from being idle (websocket-api, section 3.6), and a message has counted when it came.
    pub(crate) fn send_gathered(&self, frames: &[u8]) {
        let limits = &self.node.snapshot().limits;
        // Refused only where the connection is closing, which its task knows.
        let _ = self
            .send_by(limits, |outbox, direct, limit| outbox.send_gathered(frames, direct, limit));
    }

    fn send_by(
        &self,
        limits: &Limits,
        send: impl FnOnce(&mut Outbox, Option<&TcpStream>, QueueLimit) -> Sent,
    ) -> Result<(), SendError> {
        let limit = QueueLimit { bytes: limits.send_queue_bytes, policy: limits.slow_client };
        let sent = {
            let mut outbox = self.outbox.lock();
            let socket = if self.tls { None } else { self.socket() };
            let sent = send(&mut outbox, socket.as_deref(), limit);
            if sent.overflowed {
                outbox.order_close(End::refused(1008, EndCause::SlowClient));
            }
            sent
        };
        if sent.dropped > 0 {
            self.count_dropped(
                match limit.policy {
                    SlowClient::Close => DroppedCause::Close,
                    SlowClient::DropOldest => DroppedCause::DropOldest,
                    SlowClient::DropNewest => DroppedCause::DropNewest,
                },
                sent.dropped,
            );
        }
        if sent.overflowed {
            // Nobody reaches it any more: the poster that comes next reads 410 at once.
            self.node.store().remove(self.id);
        }
        sent.result
    }

    /// Orders the connection's task to close it; the first order counts.
    pub(crate) fn order_close(&self, end: End) {
        self.outbox.lock().order_close(end);
    }

    /// The socket, until it is taken. Not to be held over an await.
    pub(crate) fn socket(&self) -> Option<MappedRwLockReadGuard<'_, TcpStream>> {
        RwLockReadGuard::try_map(self.socket.read(), Option::as_ref).ok()
    }

    /// The socket, for whoever ends it: nobody else reads or writes any more. So the descriptor
    /// is free at once, also while a `$disconnect` or a call under way holds the connection.
    pub(crate) fn take_socket(&self) -> Option<TcpStream> {
        self.socket.write().take()
    }

    /// The send queue. Not to be held over an await.
    pub(crate) fn outbox(&self) -> parking_lot::MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }

    /// Counts it as open until [`Self::leave`].
    pub(crate) fn mark_open(&self, open: OpenConnection) {
        self.place.lock().open = Some(open);
    }

    /// Whether it has been accepted and has not ended.
    pub(crate) fn is_accepted(&self) -> bool {
        self.place.lock().open.is_some()
    }

    /// Makes its place free: it was refused or has ended, whoever still holds it.
    pub(crate) fn leave(&self) {
        *self.place.lock() = Place::default();
    }

    /// Has the store keep what another node needs to run the `$disconnect` of this connection, which
    /// has been accepted. Nothing where it is kept already, or where its end is over.
    pub(crate) fn keep_facts(&self) {
        if self.keeping.begin() {
            self.node.store().accepted(self);
        }
    }

    /// Nobody needs to run its `$disconnect` any more.
    pub(crate) fn forget_facts(&self) {
        if self.keeping.end() {
            self.node.store().ended(self.id);
        }
    }

    pub(crate) fn count_dropped(&self, cause: DroppedCause, count: u32) {
        if let Some(stage) = self.node.snapshot().stage(self.stage) {
            stage.metrics.dropped(cause, u64::from(count));
        }
    }

    /// A message went in or out: the idle time begins anew.
    pub(crate) fn touch(&self) {
        self.last_active_ms.store(steady_ms(), Ordering::Relaxed);
    }

    /// How long no message went in or out.
    pub(crate) fn idle_for(&self) -> Duration {
        since(self.last_active_ms.load(Ordering::Relaxed))
    }

    /// How long it has been there, from before its authorizer and `$connect`.
    pub(crate) fn age(&self) -> Duration {
        since(self.steady_connected_at_ms)
    }

    /// Messages at integrations now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Has the task read no further message.
    pub(crate) fn stop_reading(&self) {
        self.stopped_reading.store(true, Ordering::Release);
    }

    pub(crate) fn has_stopped_reading(&self) -> bool {
        self.stopped_reading.load(Ordering::Acquire)
    }

    /// Has the task woken when the next call ends.
    pub(crate) fn wait_for_call(&self) {
        self.waits_for_call.store(true, Ordering::Release);
    }

    /// Counts one message as being at an integration until the guard drops, which wakes the
    /// connection's task where it has stopped reading.
    pub(crate) fn begin_call(self: &Arc<Self>) -> CallInFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        CallInFlight(self.clone())
    }
}

/// One message at an integration.
#[must_use]
pub(crate) struct CallInFlight(Arc<Connection>);

impl Drop for CallInFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        // Asked of the task and not of the limit, which a reload may have changed meanwhile.
        if self.0.waits_for_call.swap(false, Ordering::AcqRel) {
            self.0.outbox.lock().wake();
        }
    }
}

impl LocalConnection for Connection {
    type Frame = Posted;

    fn encode(message: &Message) -> Posted {
        let frames = encode_message(message.kind, &message.payload);
        Posted { frames, payload_bytes: message.payload.len() }
    }

    fn id(&self) -> ConnectionId {
        self.id
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn principal(&self) -> Option<&str> {
        self.facts.authorization.as_deref()?.principal_id()
    }

    fn send(&self, posted: &Posted) -> Result<(), SendError> {
        let snapshot = self.node.snapshot();
        self.send_within(&snapshot.limits, &posted.frames)?;
        // Counted by the node that has the client, and not for a call that was answered as before.
        if let Some(stage) = snapshot.stage(self.stage) {
            stage.posts.message_out(posted.payload_bytes);
        }
        Ok(())
    }

    fn close(&self, request: &CloseRequest) {
        let reason = request.reason.clone();
        self.order_close(match request.code {
            // No caller of the management API may ask for it: the store does, without its lease.
            RESTART => End::lease_lost(reason),
            code => End::deleted(code, reason),
        });
    }

    fn disconnect_facts(&self) -> Option<Bytes> {
        self.keeping.is_kept().then(|| disconnect_facts::encode(&self.facts))
    }

    fn describe(&self) -> Description {
        let last_active_ms = self.last_active_ms.load(Ordering::Relaxed);
        let active_for_ms = last_active_ms.saturating_sub(self.steady_connected_at_ms);
        Description {
            connected_at_ms: self.facts.connected_at_ms,
            last_active_at_ms: self.facts.connected_at_ms + active_for_ms,
            source_ip: self.facts.source_ip,
            user_agent: self.facts.user_agent.as_deref().map(str::to_owned),
        }
    }
}

/// Milliseconds since 1970, for what is shown and signed. It jumps when the clock is set.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Milliseconds that only ever grow as time passes, from some moment of this process: for the
/// limits of time, so that a clock that is set closes nobody.
fn steady_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Not from 0, for what began before the first look.
    DAY_MS + millis(START.elapsed())
}

fn since(then_ms: u64) -> Duration {
    Duration::from_millis(steady_ms().saturating_sub(then_ms))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
