//! A call of the management API, done, and its answer.
//!
//! Holds always: a call that comes again by its invocation id is answered as before and does
//! nothing; one that failed for want of room or of a node is done again.

use std::{sync::Arc, time::Instant};

use connection_store::{
    Begun, ConnectionId, DeliveryError, Description, Message, Page, SendReport, Unavailable,
};
use tidegate_flow::context::iso_8601;

use super::{
    call::{Action, Work},
    gone,
};
use crate::{core_state::Core, http::response::Response};

/// What a call that may come again was answered.
#[derive(Debug, Clone)]
pub(crate) enum Answered {
    /// A post: the owner's queue took it.
    Sent,
    /// A post: nobody is there.
    Gone,
    /// A send to an audience.
    Counts { recipients: u64, nodes: u32 },
    /// A batch.
    Batch { delivered: u64, gone: Arc<[ConnectionId]> },
}

/// Why there is no answer of use.
enum Failed {
    Full,
    Unavailable,
}

pub(super) async fn carry_out(core: &Core, work: Work) -> Response {
    let Work { scope, stage, action, invocation } = work;
    let store = core.node.store();
    match action {
        action @ (Action::Post(..) | Action::Send(..) | Action::Batch(..)) => {
            let answered = once(core, &scope, &action, invocation.as_deref(), || async {
                let answered = send(core, &scope, &action).await?;
                let (count, bytes) = match (&answered, message(&action)) {
                    (Answered::Sent, Some(message)) => (1, message.payload.len()),
                    (
                        Answered::Counts { recipients, .. }
                        | Answered::Batch { delivered: recipients, .. },
                        Some(message),
                    ) => (*recipients, message.payload.len()),
                    _ => (0, 0),
                };
                if let Some(stage) = core.node.snapshot().stage(stage) {
                    stage.posts.messages_out(count, bytes);
                }
                Ok(answered)
            });
            match answered.await {
                Ok(answered) => answered.response(),
                Err(failed) => failed.response(),
            }
        }
        Action::Describe(id) => match store.describe(&scope, id).await {
            Ok(found) => described(&found),
            Err(err) => refused(err),
        },
        Action::Close(id, request) => match store.close(&scope, id, request).await {
            Ok(()) => Response::empty(204),
            Err(err) => refused(err),
        },
        Action::CloseAll(audience, request) => {
            match store.close_audience(&scope, audience, request).await {
                Ok(_) => Response::empty(204),
                Err(Unavailable) => Failed::Unavailable.response(),
            }
        }
        Action::Join(group, id) => match store.join(&scope, &group, id).await {
            Ok(()) => Response::empty(204),
            Err(err) => refused(err),
        },
        Action::Leave(group, id) => match store.leave(&scope, &group, id).await {
            Ok(()) => Response::empty(204),
            Err(err) => refused(err),
        },
        Action::Count(group) => match store.count(&scope, &group).await {
            Ok(count) => {
                Response::json(200, serde_json::json!({ "connections": count }).to_string())
            }
            Err(Unavailable) => Failed::Unavailable.response(),
        },
        Action::Members(group, limit, cursor) => {
            page(store.members(&scope, &group, limit, cursor).await)
        }
        Action::List(limit, cursor) => page(store.list(&scope, limit, cursor).await),
    }
}

/// Does `act` unless the call was answered before, or is being done: then that answer is given.
async fn once<F: Future<Output = Result<Answered, Failed>>>(
    core: &Core,
    scope: &connection_store::Scope,
    action: &Action,
    invocation: Option<&[u8]>,
    act: impl Fn() -> F,
) -> Result<Answered, Failed> {
    let Some(name) = invocation else { return act().await };
    let target = target(action);
    loop {
        match core.node.invocations.begin(Instant::now(), scope, &target, name) {
            Begun::New(invocation) => {
                let answered = act().await?;
                invocation.answer(Instant::now(), answered.clone());
                return Ok(answered);
            }
            Begun::Replayed(answered) => return Ok(answered),
            Begun::InFlight(first) => {
                if let Some(answered) = first.await {
                    return Ok(answered);
                }
                // The first was not done after all.
            }
        }
    }
}

/// Whom a call is for: the same name for another target is another call.
fn target(action: &Action) -> (u8, String, Vec<ConnectionId>, bool) {
    use connection_store::{Audience, MessageKind};
    let binary = message(action).is_some_and(|message| message.kind == MessageKind::Binary);
    match action {
        Action::Post(id, _) => (0, String::new(), vec![*id], binary),
        Action::Batch(list, _) => (1, String::new(), list.as_slice().to_vec(), binary),
        Action::Send(audience, _, except) => {
            let (kind, name) = match audience {
                Audience::Group(group) => (2, group.as_str().to_owned()),
                Audience::User(user) => (3, user.to_string()),
                Audience::Stage | Audience::Connections(_) => (4, String::new()),
            };
            (kind, name, except.clone(), binary)
        }
        _ => (u8::MAX, String::new(), Vec::new(), binary),
    }
}

fn message(action: &Action) -> Option<&Message> {
    match action {
        Action::Post(_, message) | Action::Send(_, message, _) | Action::Batch(_, message) => {
            Some(message)
        }
        _ => None,
    }
}

async fn send(
    core: &Core,
    scope: &connection_store::Scope,
    action: &Action,
) -> Result<Answered, Failed> {
    use connection_store::Audience;
    let store = core.node.store();
    Ok(match action {
        Action::Post(id, message) => match store.post(scope, *id, message.clone()).await {
            Ok(_receipt) => Answered::Sent,
            Err(DeliveryError::Gone) => Answered::Gone,
            Err(DeliveryError::Full) => return Err(Failed::Full),
            Err(DeliveryError::Unavailable) => return Err(Failed::Unavailable),
        },
        Action::Batch(list, message) => {
            let audience = Audience::Connections(list.clone());
            let sent = store.send(scope, audience, message.clone(), Vec::new()).await;
            let SendReport { recipients, gone, .. } =
                sent.map_err(|Unavailable| Failed::Unavailable)?;
            Answered::Batch { delivered: recipients, gone: gone.into() }
        }
        Action::Send(audience, message, except) => {
            let sent = store.send(scope, audience.clone(), message.clone(), except.clone()).await;
            let SendReport { recipients, nodes, .. } =
                sent.map_err(|Unavailable| Failed::Unavailable)?;
            Answered::Counts { recipients, nodes }
        }
        _ => return Err(Failed::Unavailable),
    })
}

impl Answered {
    fn response(&self) -> Response {
        let json = |value: serde_json::Value| Response::json(200, value.to_string());
        match self {
            Self::Sent => Response::empty(200),
            Self::Gone => gone(),
            Self::Counts { recipients, nodes } => {
                json(serde_json::json!({ "recipients": recipients, "nodes": nodes }))
            }
            Self::Batch { delivered, gone } => {
                let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
                json(serde_json::json!({ "delivered": delivered, "gone": gone }))
            }
        }
    }
}

impl Failed {
    fn response(&self) -> Response {
        match self {
            Self::Full => Response::error(
                429,
                "LimitExceededException",
                "the client does not read fast enough; its send queue is full",
            ),
            Self::Unavailable => Response::error(
                503,
                "ServiceUnavailableException",
                "the node that owns the connection cannot be reached",
            ),
        }
    }
}

fn refused(err: DeliveryError) -> Response {
    match err {
        DeliveryError::Gone => gone(),
        DeliveryError::Full => Failed::Full.response(),
        DeliveryError::Unavailable => Failed::Unavailable.response(),
    }
}

fn described(found: &Description) -> Response {
    let body = serde_json::json!({
        "connectedAt": iso_8601(found.connected_at_ms),
        "identity": { "sourceIp": found.source_ip, "userAgent": found.user_agent },
        "lastActiveAt": iso_8601(found.last_active_at_ms),
    });
    Response::json(200, body.to_string())
}

/// `cursor` is there as long as there may be more.
fn page(found: Result<Page, Unavailable>) -> Response {
    let Ok(Page { connections, next }) = found else { return Failed::Unavailable.response() };
    let ids: Vec<_> = connections.iter().map(ToString::to_string).collect();
    let mut body = serde_json::json!({ "connectionIds": ids });
    if let Some(next) = next {
        body["cursor"] = next.to_string().into();
    }
    Response::json(200, body.to_string())
}
