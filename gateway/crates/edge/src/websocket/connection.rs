//! One client connection, as everybody but its own task sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use connection_store::{
    CloseRequest, ConnectionId, Description, LocalConnection, Message, Scope, SendError,
};
use parking_lot::Mutex;
use tidegate_flow::{
    context::ConnectionFacts,
    session::{End, EndCause},
};
use tidegate_model::SlowClient;
use tidegate_telemetry::{DroppedCause, OpenConnection};
use tokio::net::TcpStream;

use super::{
    frame::encode_message,
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
    pub(crate) socket: TcpStream,
    node: Arc<Node>,
    outbox: Mutex<Outbox>,
    last_active_ms: AtomicU64,
    /// Messages at integrations.
    in_flight: AtomicU32,
    /// The connection's task has stopped reading until a call ends.
    waits_for_call: AtomicBool,
    place: Mutex<Place>,
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
        Self {
            last_active_ms: AtomicU64::new(facts.connected_at_ms),
            facts,
            id,
            scope,
            stage,
            tls,
            socket,
            node,
            outbox: Mutex::new(Outbox::held()),
            in_flight: AtomicU32::new(0),
            waits_for_call: AtomicBool::new(false),
            place: Mutex::new(Place { _admission: Some(admission), open: None }),
        }
    }

    /// Sends bytes that hold whole, encoded messages.
    pub(crate) fn send_encoded(&self, frames: &Bytes) -> Result<(), SendError> {
        self.send_by(|outbox, direct, limit| outbox.send(frames, direct, limit))?;
        self.touch();
        Ok(())
    }

    /// Sends what one read gave rise to. It is no activity of its own: a pong keeps no connection
    /// from being idle (websocket-api, section 3.6), and a message has counted when it came.
    pub(crate) fn send_gathered(&self, frames: &[u8]) {
        // Refused only where the connection is closing, which its task knows.
        let _ = self.send_by(|outbox, direct, limit| outbox.send_gathered(frames, direct, limit));
    }

    fn send_by(
        &self,
        send: impl FnOnce(&mut Outbox, Option<&TcpStream>, QueueLimit) -> Sent,
    ) -> Result<(), SendError> {
        let limit = {
            let limits = &self.node.snapshot().limits;
            QueueLimit { bytes: limits.send_queue_bytes, policy: limits.slow_client }
        };
        let direct = (!self.tls).then_some(&self.socket);
        let sent = {
            let mut outbox = self.outbox.lock();
            let sent = send(&mut outbox, direct, limit);
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

    /// The send queue. Not to be held over an await.
    pub(crate) fn outbox(&self) -> parking_lot::MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }

    /// Counts it as open until [`Self::leave`].
    pub(crate) fn mark_open(&self, open: OpenConnection) {
        self.place.lock().open = Some(open);
    }

    /// Makes its place free: it was refused or has ended, whoever still holds it.
    pub(crate) fn leave(&self) {
        *self.place.lock() = Place::default();
    }

    pub(crate) fn count_dropped(&self, cause: DroppedCause, count: u32) {
        if let Some(stage) = self.node.snapshot().stage(self.stage) {
            stage.metrics.dropped(cause, u64::from(count));
        }
    }

    /// A message went in or out: the idle time begins anew.
    pub(crate) fn touch(&self) {
        self.last_active_ms.store(now_ms(), Ordering::Relaxed);
    }

    pub(crate) fn last_active_ms(&self) -> u64 {
        self.last_active_ms.load(Ordering::Relaxed)
    }

    /// Messages at integrations now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
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
    type Frame = Bytes;

    fn encode(message: &Message) -> Bytes {
        encode_message(message.kind, &message.payload)
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

    fn send(&self, frame: &Bytes) -> Result<(), SendError> {
        self.send_encoded(frame)
    }

    fn close(&self, request: &CloseRequest) {
        self.order_close(End::deleted(request.code, request.reason.clone()));
    }

    fn describe(&self) -> Description {
        Description {
            connected_at_ms: self.facts.connected_at_ms,
            last_active_at_ms: self.last_active_ms(),
            source_ip: self.facts.source_ip,
            user_agent: self.facts.user_agent.as_deref().map(str::to_owned),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
