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

pub(super) async fn carry_out(core: &Core, work: Work) -> Response {
    let Work { scope, action, call } = work;
    let store = core.node.store();
    match action {
        Action::Post(id, message) => {
            let posted = match &call {
                Some(call) => store.post_once(&scope, id, message, call).await,
                None => store.post(&scope, id, message).await,
            };
            match posted {
                Ok(_receipt) => Response::empty(200),
                Err(err) => refused(err),
            }
        }
        Action::Send(audience, message, except) => {
            match send(store, &scope, audience, message, except, call.as_ref()).await {
                Ok(SendReport { recipients, nodes, .. }) => {
                    json(&serde_json::json!({ "recipients": recipients, "nodes": nodes }))
                }
                Err(Unavailable) => unavailable(not_everywhere(call.as_ref())),
            }
        }
        Action::Batch(list, message) => {
            let audience = Audience::Connections(list);
            match send(store, &scope, audience, message, Vec::new(), call.as_ref()).await {
                Ok(SendReport { recipients, gone, .. }) => {
                    let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
                    json(&serde_json::json!({ "delivered": recipients, "gone": gone }))
                }
                Err(Unavailable) => unavailable(not_everywhere(call.as_ref())),
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
                Err(Unavailable) => unavailable(
                    "not every node can be reached, and some connections may be open still: repeat the call",
                ),
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
            Ok(count) => json(&serde_json::json!({ "connections": count })),
            Err(Unavailable) => unavailable(
                "not every node can be reached, so its members are not counted: repeat the call",
            ),
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

fn refused(err: DeliveryError) -> Response {
    match err {
        DeliveryError::Gone => gone(),
        DeliveryError::Full => Response::error(
            429,
            "LimitExceededException",
            "the client does not read fast enough; its send queue is full",
        ),
        DeliveryError::Unavailable => {
            unavailable("the node that owns the connection cannot be reached")
        }
    }
}

fn unavailable(message: &str) -> Response {
    Response::error(503, "ServiceUnavailableException", message)
}

/// What became of a send that did not reach every node, and what a caller does about it.
fn not_everywhere(call: Option<&CallName>) -> &'static str {
    match call {
        Some(_) => {
            "not every node can be reached, and some connections may have the message: repeat the call \
             under the same Idempotency-Key (or amz-sdk-invocation-id), and they do not get it again"
        }
        None => {
            "not every node can be reached, and some connections may have the message: a repeated call \
             sends it to them again; one with an Idempotency-Key would not"
        }
    }
}

fn json(value: &serde_json::Value) -> Response {
    Response::json(200, value.to_string())
}

fn described(found: &Description) -> Response {
    let body = serde_json::json!({
        "connectedAt": iso_8601(found.connected_at_ms),
        "identity": { "sourceIp": found.source_ip, "userAgent": found.user_agent },
        "lastActiveAt": iso_8601(found.last_active_at_ms),
    });
    json(&body)
}

/// `cursor` is there as long as there may be more.
fn page(found: Result<Page, Unavailable>) -> Response {
    let Ok(Page { connections, next }) = found else {
        return unavailable(
            "not every node can be reached, so this page is not known: repeat the call, with its cursor",
        );
    };
    let ids: Vec<_> = connections.iter().map(ToString::to_string).collect();
    let mut body = serde_json::json!({ "connectionIds": ids });
    if let Some(next) = next {
        body["cursor"] = next.to_string().into();
    }
    json(&body)
}
