//! The connection that the suite opens.
//!
//! In:  what a store sends to it and asks of it.
//! Out: all of that, to the check that opened it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{CloseRequest, ConnectionId, Description, LocalConnection, Message, Scope, SendError};

/// A connection whose client is the test: a queue that is bounded in messages, and a record of what
/// the store asked for.
#[derive(Debug)]
pub struct RecordingConnection {
    id: ConnectionId,
    scope: Scope,
    principal: Option<Box<str>>,
    pub(super) capacity: usize,
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
        Self::of(None, id, scope, capacity)
    }

    /// The same, of a user where there is one.
    pub fn of(
        principal: Option<&str>,
        id: ConnectionId,
        scope: Scope,
        capacity: usize,
    ) -> Arc<Self> {
        static BORN: AtomicU64 = AtomicU64::new(1_700_000_000_000);
        let connected_at_ms = BORN.fetch_add(1000, Ordering::Relaxed);
        let description = Description {
            connected_at_ms,
            last_active_at_ms: connected_at_ms + 7,
            source_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            user_agent: Some(format!("suite of {id}")),
        };
        let principal = principal.map(Into::into);
        Arc::new(Self { id, scope, principal, capacity, description, record: Mutex::default() })
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

    fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
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
