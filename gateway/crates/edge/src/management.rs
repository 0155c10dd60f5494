//! The management API: `@connections` (websocket-api, section 10).
//!
//! In:  a request of a backend's, whole and unverified.
//! Out: what became of it, in the form that AWS SDKs read.
//!
//! Holds always: nothing is looked up and nothing changes before the caller is known.

use std::sync::Arc;

use bytes::Bytes;
use connection_store::{CloseRequest, ConnectionId, DeliveryError, Message, MessageKind, Scope};
use percent_encoding::percent_decode_str;
use tidegate_flow::{
    context::iso_8601,
    iam_access::{self, Circumstances, StageArn},
    sigv4::{self, SignatureError},
};
use tidegate_model::{AccessKey, Binary, Management};
use tidegate_telemetry::ManagementOperation;

use crate::{
    core_state::Core,
    http::{head::Head, response::Response},
    snapshot::{Snapshot, StageIndex},
    transport::Peer,
    websocket::now_ms,
};

/// A call whose caller is known.
pub(crate) struct Call {
    operation: ManagementOperation,
    what: Result<Work, Response>,
}

struct Work {
    scope: Arc<Scope>,
    stage: StageIndex,
    id: ConnectionId,
    action: Action,
}

enum Action {
    Post(Message),
    Get,
    Delete(CloseRequest),
}

/// Whether a path, as received, is of the management API. Decides who reads the body; it does not
/// say that the call is a good one.
pub(crate) fn is_call(raw_path: &str) -> bool {
    segments(raw_path).take(2).any(|segment| decoded(segment) == "@connections")
}

/// The answer to a body over the limit.
pub(crate) fn payload_too_large(core: &Core, limit: usize) -> Response {
    core.node.metrics.management_request(ManagementOperation::Post, 413);
    Response::error(
        413,
        "PayloadTooLargeException",
        &format!("a message has at most {limit} bytes"),
    )
}

/// Knows the caller, then reads what it wants.
pub(crate) fn authorize(core: &Core, head: &Head<'_, '_>, peer: &Peer, body: &[u8]) -> Call {
    let operation = match head.method {
        "POST" => ManagementOperation::Post,
        "GET" => ManagementOperation::Get,
        "DELETE" => ManagementOperation::Delete,
        _ => ManagementOperation::Other,
    };
    let call = Asked { core, head, peer, body, operation };
    let what = call.caller().and_then(|caller| call.read(&caller));
    Call { operation, what }
}

/// Does what was asked for and answers.
pub(crate) async fn answer(core: &Core, call: Call) -> Response {
    let response = match call.what {
        Ok(work) => carry_out(core, work).await,
        Err(refused) => refused,
    };
    core.node.metrics.management_request(call.operation, response.status);
    response
}

/// A call as it came.
struct Asked<'a> {
    core: &'a Core,
    head: &'a Head<'a, 'a>,
    peer: &'a Peer,
    body: &'a [u8],
    operation: ManagementOperation,
}

/// Who calls.
enum Caller {
    /// It may do everything: a process of this machine, a worker of a local function, a key without
    /// a policy.
    Trusted,
    /// The access key of this id has a policy.
    Limited(String),
}

impl Asked<'_> {
    fn caller(&self) -> Result<Caller, Response> {
        let snapshot = self.core.node.snapshot();
        match &snapshot.management {
            // The peer's own address: what a header claims of another one does not matter.
            Management::LoopbackOnly if self.peer.address.ip().to_canonical().is_loopback() => {
                Ok(Caller::Trusted)
            }
            Management::LoopbackOnly => Err(forbidden()),
            Management::SigV4(_) => self.head.with_signed_request(self.body, |request| {
                let worker = &self.core.node.worker_key;
                let find = |id: &str| {
                    snapshot.access_key(id).or((worker.access_key_id == id).then_some(worker))
                };
                let mut keys = self.core.signing_keys.lock();
                let signed = sigv4::verify(request, find, &mut keys, now_ms() / 1000)
                    .map_err(|err: SignatureError| {
                        tracing::debug!(error = %err, "management call refused");
                        Response::error(403, err.error_type(), err.message())
                    })?;
                let has_policy = |key: &AccessKey| key.policy.is_some();
                Ok(match snapshot.access_key(&signed.access_key_id).is_some_and(has_policy) {
                    true => Caller::Limited(signed.access_key_id),
                    false => Caller::Trusted,
                })
            }),
        }
    }

    fn read(&self, caller: &Caller) -> Result<Work, Response> {
        let Self { core, head, body, .. } = self;
        let snapshot = core.node.snapshot();
        // Split first, decoded afterwards: a %2F in an id is no separator.
        let mut path = segments(head.raw_path()).map(decoded);
        let (stage, id) = match (path.next(), path.next(), path.next(), path.next()) {
            (Some(stage), Some(word), Some(id), None) if word == "@connections" => (stage, id),
            _ => return Err(forbidden()),
        };
        let api = snapshot.api(head.header("host").unwrap_or("")).ok_or_else(forbidden)?;
        let index = api
            .stage(&stage)
            .ok_or_else(|| if snapshot.was_removed(api, &stage) { gone() } else { forbidden() })?;
        let stage = snapshot.stage(index).ok_or_else(forbidden)?;
        if let Caller::Limited(access_key_id) = caller {
            self.check_policy(&snapshot, access_key_id, &stage.scope, &id)?;
        }
        if snapshot.management_throttle.as_ref().is_some_and(|b| !b.take(core.node.now_ns())) {
            return Err(Response::error(
                429,
                "LimitExceededException",
                "more management calls than `management.throttle` lets through",
            ));
        }
        let id: ConnectionId =
            id.parse().map_err(|err| Response::bad_request(&format!("{err}")))?;
        let action = match self.operation {
            ManagementOperation::Post => {
                let binary =
                    parameter(head.raw_query(), "binary").is_some_and(|value| value == "true");
                if binary && stage.binary == Binary::Close {
                    return Err(Response::bad_request(
                        "this api takes no binary messages (binary = \"close\")",
                    ));
                }
                if !binary && std::str::from_utf8(body).is_err() {
                    return Err(Response::bad_request("a text message must be UTF-8"));
                }
                let kind = if binary { MessageKind::Binary } else { MessageKind::Text };
                Action::Post(Message { kind, payload: Bytes::copy_from_slice(body) })
            }
            ManagementOperation::Get => Action::Get,
            ManagementOperation::Delete => Action::Delete(close_request(head.raw_query())?),
            ManagementOperation::Other => {
                return Err(Response {
                    extra: "Allow: POST, GET, DELETE\r\n",
                    ..Response::error(405, "MethodNotAllowedException", "POST, GET or DELETE")
                });
            }
        };
        Ok(Work { scope: stage.scope.clone(), stage: index, id, action })
    }

    /// Whether the key's policy lets it do this (websocket-api, 9.6).
    fn check_policy(
        &self,
        snapshot: &Snapshot,
        access_key_id: &str,
        scope: &Scope,
        connection_id: &str,
    ) -> Result<(), Response> {
        let key = snapshot.access_key(access_key_id).ok_or_else(forbidden)?;
        let arn = StageArn {
            region: &snapshot.region,
            account_id: &snapshot.account_id,
            api_id: &scope.api,
            stage: &scope.stage,
        };
        let path = format!("@connections/{connection_id}");
        let resource = arn.management(self.head.method, &path);
        let facts = iam_access::facts(key, &snapshot.account_id);
        let circumstances = Circumstances {
            source_ip: self.peer.address.ip().to_canonical(),
            secure_transport: self.peer.tls.is_some(),
            user_agent: self.head.header("user-agent"),
            referer: self.head.header("referer"),
            now_s: now_ms() / 1000,
        };
        let decision = iam_access::decide(key, &circumstances.manage(&resource, &facts));
        if decision.is_allowed() {
            return Ok(());
        }
        tracing::debug!(access_key_id, resource = resource.resource, "a policy does not allow it");
        Err(Response::error(
            403,
            "AccessDeniedException",
            "the access key's policy does not allow execute-api:ManageConnections here",
        ))
    }
}

/// `?code=&reason=` of a delete (tidegate, section 6).
fn close_request(raw_query: &str) -> Result<CloseRequest, Response> {
    let code = match parameter(raw_query, "code") {
        None => 1000,
        Some(text) => match text.parse() {
            Ok(code @ (1000 | 3000..=4999)) => code,
            _ => return Err(Response::bad_request("code is 1000 or 3000 to 4999")),
        },
    };
    let reason = parameter(raw_query, "reason").unwrap_or_default();
    if reason.len() > 123 {
        return Err(Response::bad_request("reason has at most 123 bytes of UTF-8"));
    }
    Ok(CloseRequest { code, reason })
}

async fn carry_out(core: &Core, work: Work) -> Response {
    let Work { scope, stage, id, action } = work;
    let store = core.node.store();
    let done = match action {
        Action::Post(message) => {
            let bytes = message.payload.len();
            store.post(&scope, id, message).await.map(|_receipt| {
                if let Some(stage) = core.node.snapshot().stage(stage) {
                    stage.posts.message_out(bytes);
                }
                Response::empty(200)
            })
        }
        Action::Get => store.describe(&scope, id).await.map(|found| {
            let body = serde_json::json!({
                "connectedAt": iso_8601(found.connected_at_ms),
                "identity": { "sourceIp": found.source_ip, "userAgent": found.user_agent },
                "lastActiveAt": iso_8601(found.last_active_at_ms),
            });
            Response::json(200, body.to_string())
        }),
        Action::Delete(request) => {
            store.close(&scope, id, request).await.map(|()| Response::empty(204))
        }
    };
    done.unwrap_or_else(|err| match err {
        DeliveryError::Gone => gone(),
        DeliveryError::Full => Response::error(
            429,
            "LimitExceededException",
            "the client does not read fast enough; its send queue is full",
        ),
        DeliveryError::Unavailable => Response::error(
            503,
            "ServiceUnavailableException",
            "the node that owns the connection cannot be reached",
        ),
    })
}

/// Without a body, as Amazon's (websocket-api, section 10).
fn gone() -> Response {
    Response { error_type: Some("GoneException"), ..Response::empty(410) }
}

fn forbidden() -> Response {
    Response::error(403, "ForbiddenException", "Forbidden")
}

/// The segments of a path; runs of `/` count as one, as in what the SDKs sign.
fn segments(raw_path: &str) -> impl Iterator<Item = &str> {
    raw_path.split('/').filter(|segment| !segment.is_empty())
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The last value of a query parameter, decoded.
fn parameter(raw_query: &str, name: &str) -> Option<String> {
    crate::http::query::pairs(raw_query).filter(|(key, _)| key == name).map(|(_, v)| v).last()
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
        ] {
            assert!(is_call(path), "{path}");
        }
        for path in ["/prod", "/prod/", "/prod/chat/@connections", "/"] {
            assert!(!is_call(path), "{path}");
        }
    }

    #[test]
    fn a_delete_may_choose_1000_or_an_applications_close_code() {
        assert_eq!(close_request("").map(|c| c.code).ok(), Some(1000));
        let own = close_request("code=4001&reason=good%20bye+now").ok();
        assert_eq!(own, Some(CloseRequest { code: 4001, reason: "good bye now".to_owned() }));
        for bad in ["code=1001", "code=x", "code=5000", &format!("reason={}", "x".repeat(124))] {
            assert_eq!(close_request(bad).err().map(|r| r.status), Some(400), "{bad}");
        }
    }
}
