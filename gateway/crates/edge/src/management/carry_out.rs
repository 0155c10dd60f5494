//! A call of the management API, done, and its answer.
//!
//! Holds always: a call that comes again by its invocation id is answered as before and does
//! nothing; one that failed for want of room or of a node is done again.

use connection_store::{
    Audience, CallName, ConnectionId, ConnectionStore, DeliveryError, Description, Message, Page,
    Reply, Scope, SendReport, Unavailable,
};
use tidegate_flow::context::iso_8601;

use super::{
    call::{Action, Work},
    gone,
};
use crate::{core_state::Core, http::response::Response, websocket::Connection};

/// What a message that was sent is answered with.
enum Answered {
    /// A post: the owner's queue took it.
    Sent,
    /// A send to an audience.
    Counts { recipients: u64, nodes: u32 },
    /// A batch.
    Batch { delivered: u64, gone: Vec<ConnectionId> },
}

pub(super) async fn carry_out(core: &Core, work: Work) -> Response {
    let Work { scope, action, call } = work;
    let store = core.node.store();
    match action {
        Action::Post(id, message) => {
            let posted = match &call {
                Some(call) => store.post_once(&scope, id, message, call).await,
                None => store.post(&scope, id, message).await,
            };
            answer(posted.map(|_receipt| Answered::Sent))
        }
        Action::Send(audience, message, except) => {
            let report = send(store, &scope, audience, message, except, call.as_ref()).await;
            let counts = report
                .map(|SendReport { recipients, nodes, .. }| Answered::Counts { recipients, nodes });
            answer(counts.map_err(DeliveryError::from))
        }
        Action::Batch(list, message) => {
            let audience = Audience::Connections(list);
            let report = send(store, &scope, audience, message, Vec::new(), call.as_ref()).await;
            let batch = report.map(|SendReport { recipients, gone, .. }| Answered::Batch {
                delivered: recipients,
                gone,
            });
            answer(batch.map_err(DeliveryError::from))
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
                Err(Unavailable) => refused(Unavailable.into()),
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
            Err(Unavailable) => refused(Unavailable.into()),
        },
        Action::Members(group, limit, cursor) => {
            page(store.members(&scope, &group, limit, cursor).await)
        }
        Action::List(limit, cursor) => page(store.list(&scope, limit, cursor).await),
    }
}

/// Sends to an audience: once for all calls of that name, where the call has one.
fn send(
    store: &dyn ConnectionStore<Connection>,
    scope: &Scope,
    audience: Audience,
    message: Message,
    except: Vec<ConnectionId>,
    call: Option<&CallName>,
) -> Reply<Result<SendReport, Unavailable>> {
    match call {
        Some(call) => store.send_once(scope, audience, message, except, call),
        None => store.send(scope, audience, message, except),
    }
}

fn answer(answered: Result<Answered, DeliveryError>) -> Response {
    match answered {
        Ok(answered) => answered.response(),
        Err(err) => refused(err),
    }
}

impl Answered {
    fn response(&self) -> Response {
        let json = |value: serde_json::Value| Response::json(200, value.to_string());
        match self {
            Self::Sent => Response::empty(200),
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

fn refused(err: DeliveryError) -> Response {
    match err {
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
    let Ok(Page { connections, next }) = found else { return refused(Unavailable.into()) };
    let ids: Vec<_> = connections.iter().map(ToString::to_string).collect();
    let mut body = serde_json::json!({ "connectionIds": ids });
    if let Some(next) = next {
        body["cursor"] = next.to_string().into();
    }
    Response::json(200, body.to_string())
}
