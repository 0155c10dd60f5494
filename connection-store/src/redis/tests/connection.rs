//! A connection whose client is the test: with facts, and able to hold up whoever sends to it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;

use super::super::*;
use crate::SendError;

/// A post of this payload keeps the thread that delivers it for so many milliseconds: what a node
/// that is stopped and goes on does to its lease.
const STALL: &str = "stall for ms: ";

const PANIC: &str = "panic";

pub(in crate::redis) struct TestConnection {
    id: ConnectionId,
    scope: Scope,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    facts: Option<Bytes>,
    got: Vec<Message>,
    closes: Vec<CloseRequest>,
}

impl TestConnection {
    pub(in crate::redis) fn open(
        store: &RedisStore<Self>,
        facts: Option<&'static str>,
    ) -> Arc<Self> {
        let facts = facts.map(|facts| Bytes::from_static(facts.as_bytes()));
        let record = Mutex::new(Record { facts, ..Record::default() });
        let connection = Self { id: store.allocate(), scope: super::home(), record };
        let connection = Arc::new(connection);
        store.insert(Arc::clone(&connection));
        connection
    }

    /// One that is in no store yet.
    pub(in crate::redis) fn of(id: ConnectionId) -> Arc<Self> {
        Arc::new(Self { id, scope: super::home(), record: Mutex::default() })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::redis) fn set_facts(&self, facts: Option<&'static str>) {
        self.record().facts = facts.map(|facts| Bytes::from_static(facts.as_bytes()));
    }

    /// What it has got so far.
    pub(in crate::redis) fn got(&self) -> Vec<Message> {
        self.record().got.clone()
    }

    pub(in crate::redis) fn closes(&self) -> Vec<u16> {
        self.record().closes.iter().map(|request| request.code).collect()
    }
}

/// A post of this payload panics in whoever delivers it.
pub(in crate::redis) fn panics() -> Message {
    super::text(PANIC)
}

pub(in crate::redis) fn stall(milliseconds: u64) -> Message {
    super::text(&format!("{STALL}{milliseconds}"))
}

impl LocalConnection for TestConnection {
    type Frame = Message;

    fn encode(message: &Message) -> Message {
        message.clone()
    }

    fn id(&self) -> ConnectionId {
        self.id
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn send(&self, frame: &Message) -> Result<(), SendError> {
        let text = std::str::from_utf8(&frame.payload).unwrap_or_default();
        assert_ne!(text, PANIC, "a test asked for a panic");
        if let Some(stall) = text.strip_prefix(STALL).and_then(|rest| rest.parse().ok()) {
            thread::sleep(Duration::from_millis(stall));
        }
        let mut record = self.record();
        if !record.closes.is_empty() {
            return Err(SendError::Closed);
        }
        record.got.push(frame.clone());
        Ok(())
    }

    fn close(&self, request: &CloseRequest) {
        self.record().closes.push(request.clone());
    }

    fn describe(&self) -> Description {
        Description {
            connected_at_ms: 1,
            last_active_at_ms: 2,
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: None,
        }
    }

    fn disconnect_facts(&self) -> Option<Bytes> {
        self.record().facts.clone()
    }
}
