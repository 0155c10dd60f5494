//! One invocation on its way to a worker, and back.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{FunctionFailure, IntegrationError, functions::pool::Job};

/// What a caller gets.
pub(super) type Outcome = Result<Bytes, IntegrationError>;

/// An event for a function, and where its result goes.
#[derive(Debug)]
pub(super) struct Invocation {
    /// A version 4 UUID, as Lambda's request ids.
    pub(super) id: String,
    /// `Root=…`, as in the header `X-Amzn-Trace-Id`.
    pub(super) trace_id: String,
    pub(super) payload: Bytes,
    reply: oneshot::Sender<Outcome>,
}

impl Invocation {
    /// A new one, and where its outcome will be. Without a `trace_id` it gets one of its own.
    pub(super) fn new(
        payload: Bytes,
        trace_id: Option<String>,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let trace_id = trace_id.unwrap_or_else(new_trace_id);
        (Self { id: new_request_id(), trace_id, payload, reply }, outcome)
    }

    /// Tells the caller, who may have gone.
    pub(super) fn finish(self, outcome: Outcome) {
        let _ = self.reply.send(outcome);
    }

    /// Tells the caller that the function failed.
    pub(super) fn fail(self, failure: FunctionFailure) {
        self.finish(Err(IntegrationError::FunctionFailed(failure)));
    }
}

impl Job for Invocation {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// Now, in milliseconds since the epoch.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 8-4-4-4-12 lower-case hex digits, version 4 (RFC 9562, 5.4).
fn new_request_id() -> String {
    let random = rand::random::<u128>();
    let version_4 = (random & !(0xf << 76) | 4 << 76) & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{version_4:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn new_trace_id() -> String {
    let random = rand::random::<u128>() >> 32;
    format!("Root=1-{:08x}-{random:024x}", now_ms() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_version_4_uuid() {
        for _ in 0..100 {
            let id = new_request_id();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }

    #[test]
    fn a_trace_id_has_the_shape_of_amazons() {
        let id = new_trace_id();
        assert_eq!(id.len(), "Root=1-65d2ff2e-0123456789abcdef01234567".len(), "{id}");
    }
}
