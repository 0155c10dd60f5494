//! Who calls the management API, and whether it may do what it wants.
//!
//! In:  a request as it was received.
//! Out: the caller, or the answer that refuses it.

use connection_store::Scope;
use tidegate_flow::{
    iam_access::{self, Circumstances, StageArn},
    sigv4::{self, SignatureError},
};
use tidegate_model::{AccessKey, Management};

use super::{call::Wanted, forbidden};
use crate::{
    core_state::Core,
    http::{head::Head, response::Response},
    transport::Peer,
    websocket::now_ms,
};

/// Who calls.
pub(super) enum Caller {
    /// It may do everything: a process of this machine, a worker of a local function, a key without
    /// a policy.
    Trusted,
    /// The access key of this id has a policy.
    Limited(String),
}

/// Checks the signature, or that none is needed.
pub(super) fn known(
    core: &Core,
    head: &Head<'_, '_>,
    peer: &Peer,
    body: &[u8],
) -> Result<Caller, Response> {
    let snapshot = core.node.snapshot();
    match &snapshot.management {
        // The peer's own address: what a header claims of another one does not matter.
        Management::LoopbackOnly if peer.address.ip().to_canonical().is_loopback() => {
            Ok(Caller::Trusted)
        }
        Management::LoopbackOnly => Err(forbidden()),
        Management::SigV4(_) => head.with_signed_request(body, |request| {
            let worker = &core.node.worker_key;
            let find = |id: &str| {
                snapshot.access_key(id).or((worker.access_key_id == id).then_some(worker))
            };
            let mut keys = core.signing_keys.lock();
            let signed = sigv4::verify(request, find, &mut keys, now_ms() / 1000).map_err(
                |err: SignatureError| {
                    tracing::debug!(error = %err, "management call refused");
                    Response::error(403, err.error_type(), err.message())
                },
            )?;
            let has_policy = |key: &AccessKey| key.policy.is_some();
            Ok(if snapshot.access_key(&signed.access_key_id).is_some_and(has_policy) {
                Caller::Limited(signed.access_key_id)
            } else {
                Caller::Trusted
            })
        }),
    }
}

/// Whether `caller` may do this to a stage (websocket-api, 9.6), and not too often (11.1).
pub(super) fn check(
    core: &Core,
    head: &Head<'_, '_>,
    peer: &Peer,
    caller: &Caller,
    scope: &Scope,
    wanted: &Wanted,
) -> Result<(), Response> {
    let snapshot = core.node.snapshot();
    if let Caller::Limited(access_key_id) = caller {
        let key = snapshot.access_key(access_key_id).ok_or_else(forbidden)?;
        let arn = StageArn {
            region: &snapshot.region,
            account_id: &snapshot.account_id,
            api_id: &scope.api,
            stage: &scope.stage,
        };
        let resource = arn.management(head.method, &wanted.path());
        let facts = iam_access::facts(key, &snapshot.account_id);
        let circumstances = Circumstances {
            source_ip: peer.address.ip().to_canonical(),
            secure_transport: peer.tls.is_some(),
            user_agent: head.header("user-agent"),
            referer: head.header("referer"),
            now_s: now_ms() / 1000,
        };
        let decision = iam_access::decide(key, &circumstances.manage(&resource, &facts));
        if !decision.is_allowed() {
            let resource = resource.resource;
            tracing::debug!(access_key_id, resource, "a policy does not allow the call");
            return Err(Response::error(
                403,
                "AccessDeniedException",
                "the access key's policy does not allow execute-api:ManageConnections here",
            ));
        }
    }
    let throttle = snapshot.management_throttle.as_ref();
    if throttle.is_some_and(|bucket| !bucket.take(core.node.now_ns())) {
        return Err(Response::error(
            429,
            "LimitExceededException",
            "more calls of the management API than `management.throttle` lets through",
        ));
    }
    Ok(())
}
