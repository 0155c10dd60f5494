//! The management API: `@connections` (websocket-api, section 10), `@groups`, `@users`,
//! `@broadcast` (tidegate, section 6).
//!
//! In:  a request of a backend's, whole and unverified.
//! Out: what became of it, in the form that AWS SDKs read.
//!
//! ```text
//! caller (who is it) -> call (what does it want) -> policy, throttle -> carry_out -> answer
//! ```
//!
//! Holds always: nothing is looked up and nothing changes before the caller is known.

mod call;
mod caller;
mod carry_out;

use tidegate_telemetry::ManagementOperation;

use self::call::Work;
use crate::{
    core_state::Core,
    http::{head::Head, response::Response},
    snapshot::Snapshot,
    traces::{self, OpenSpan},
    transport::Peer,
};

/// What an id takes in the JSON of a batch: quotes, comma, white space, and percent signs too.
const BATCH_BYTES_PER_ID: usize = 32;

/// What a byte of a message takes at most in the JSON of a batch: `\u0000`.
const BATCH_BYTES_PER_BYTE: usize = 6;

/// What a batch is posted to.
const COLLECTION: &str = "@connections";

/// A call whose caller is known.
pub(crate) struct Call {
    operation: ManagementOperation,
    what: Result<Work, Response>,
    trace: OpenSpan,
}

/// Whether a path, as received, is of the management API. Decides who reads the body; it does not
/// say that the call is a good one.
pub(crate) fn is_call(raw_path: &str) -> bool {
    let word = |segment: &str| {
        matches!(&*call::decoded(segment), "@connections" | "@groups" | "@users" | "@broadcast")
    };
    call::segments(raw_path).take(2).any(word)
}

/// How large a call's body may be, bytes: one message, or what a batch takes for one.
pub(crate) fn body_limit(snapshot: &Snapshot, head: &Head<'_, '_>) -> usize {
    let message = snapshot.limits.max_message_bytes;
    // Looked at closely only where it may be one: posts to one connection are on the hot path.
    let ends_as_a_batch =
        || call::segments(head.raw_path()).last().is_some_and(|s| call::decoded(s) == COLLECTION);
    if head.method == "POST"
        && ends_as_a_batch()
        && call::Wanted::of(snapshot, head).operation() == ManagementOperation::Batch
    {
        let ids = connection_store::ConnectionList::MAX_LENGTH * BATCH_BYTES_PER_ID;
        return message * BATCH_BYTES_PER_BYTE + ids;
    }
    message
}

/// The answer to a body over that limit.
pub(crate) fn payload_too_large(core: &Core, head: &Head<'_, '_>) -> Response {
    let snapshot = core.node.snapshot();
    let operation = call::Wanted::of(&snapshot, head).operation();
    core.node.metrics.management_request(operation, 413);
    if operation == ManagementOperation::Batch {
        let limit = body_limit(&snapshot, head);
        let message = format!("the body of a batch has at most {limit} bytes");
        return Response::error(413, "PayloadTooLargeException", &message);
    }
    call::too_large(snapshot.limits.max_message_bytes)
}

/// Knows the caller, then reads what it wants.
pub(crate) fn authorize(core: &Core, head: &Head<'_, '_>, peer: &Peer, body: &[u8]) -> Call {
    let wanted = call::Wanted::of(&core.node.snapshot(), head);
    let operation = wanted.operation();
    let caller = caller::known(core, head, peer, body);
    let trace = traces::management(&core.node, head, caller.is_ok(), operation);
    let what = caller.and_then(|caller| {
        let stage = call::stage(core, head, &wanted)?;
        caller::check(core, head, peer, &caller, &stage.scope, &wanted)?;
        wanted.read(core, head, &stage, body)
    });
    Call { operation, what, trace }
}

/// Does what was asked for and answers.
pub(crate) async fn answer(core: &Core, call: Call) -> Response {
    let (scope, connection, response) = match call.what {
        Ok(work) => {
            let connection = work.action.connection();
            (Some(work.scope.clone()), connection, carry_out::carry_out(core, work).await)
        }
        Err(refused) => (None, None, refused),
    };
    core.node.metrics.management_request(call.operation, response.status);
    let to = scope.as_deref().map(|scope| (&*scope.api, &*scope.stage, connection));
    traces::management_ended(call.trace, to, &response);
    response
}

/// Without a body, as Amazon's (websocket-api, section 10).
fn gone() -> Response {
    Response { error_type: Some("GoneException"), ..Response::empty(410) }
}

fn forbidden() -> Response {
    Response::error(403, "ForbiddenException", "Forbidden")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_management_api_is_known_by_its_path_in_any_spelling() {
        for path in [
            "/prod/@connections/x=",
            "/prod/%40connections/x%3D",
            "/prod//@connections/x%3D",
            "/@connections/x",
            "/prod/@groups/room",
            "/prod/@users/ann",
            "/prod/%40broadcast",
        ] {
            assert!(is_call(path), "{path}");
        }
        for path in ["/prod", "/prod/", "/prod/chat/@connections", "/", "/prod/groups/room"] {
            assert!(!is_call(path), "{path}");
        }
    }
}
