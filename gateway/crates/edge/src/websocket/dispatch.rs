//! From a client's message to its integration, and back.
//!
//! In:  messages as they came off the wire.
//! Out: runs of their routes; error frames; replies of two-way routes.
//!
//! ```text
//! message -> throttle -> route -> integration -> reply, if the route is two-way
//!                \          \           \
//!                 error frame, and the connection stays open
//! ```
//!
//! Holds always: a message's route is resolved against the snapshot of its moment; whatever becomes
//! of a message, the connection stays open.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use connection_store::MessageKind;
use tidegate_flow::{
    context::Occurrence,
    error_frame::{ErrorMessage, bad_request_body_frame, error_frame},
    models::InvalidBody,
    opaque_id::OpaqueId,
    route_selection,
};
use tidegate_integrations::Answer;
use tidegate_model::{Binary, RouteKey};
use tidegate_telemetry::ClientErrorKind;
use tracing::Instrument as _;

use super::{
    asked_for,
    connection::{CallInFlight, Connection},
    ending::{Ending, Told},
    frame::{append_message, encode_message},
    run::{Run, run_span},
};
use crate::{
    core_state::Core,
    snapshot::{RouteEntry, StageEntry},
    traces::{self, OpenSpan},
};

/// A message from a client, as it came off the wire.
pub(crate) struct Incoming {
    pub(crate) body: Bytes,
    pub(crate) binary: bool,
}

impl Incoming {
    /// The message as text; of a binary one, nothing.
    fn text(&self) -> &str {
        if self.binary {
            return "";
        }
        // The protocol machine has checked that it is UTF-8.
        std::str::from_utf8(&self.body).unwrap_or("")
    }
}

/// Takes one message of a client's. What can be answered at once is appended to `out`, as frames;
/// the rest is a task of its own.
pub(crate) fn on_message(
    core: &Arc<Core>,
    connection: &Arc<Connection>,
    incoming: Incoming,
    out: &mut Vec<u8>,
) {
    connection.touch();
    let node = &core.node;
    let snapshot = node.snapshot();
    let Some(stage) = snapshot.stage(connection.stage) else {
        // Not so while the connection is open: what a reload removes stays until it has ended.
        return;
    };
    let route = select(stage, &incoming);
    let bytes = incoming.body.len();
    let trace = traces::message(node, connection, route.map(|route| &*route.key), bytes);
    if !stage.admits(route.map(|route| &**route), node.now_ns()) {
        stage.metrics.client_error(ClientErrorKind::Throttled);
        let message = ErrorMessage::TooManyRequests;
        return answer_error((connection, stage), incoming, trace, (message, 429), out);
    }
    let Some(route) = route else {
        stage.metrics.client_error(ClientErrorKind::NoRoute);
        let message = ErrorMessage::Forbidden;
        return answer_error((connection, stage), incoming, trace, (message, 403), out);
    };
    route.metrics.message_in(bytes);
    if let Some(validator) = &route.validator
        && let Err(invalid) = validator.validate(incoming.text())
    {
        stage.metrics.client_error(ClientErrorKind::InvalidBody);
        return answer_invalid((connection, stage, route), incoming, trace, &invalid, out);
    }
    match route.integration.as_ref() {
        None => {
            if stage.access_log.is_none() {
                traces::answered_in_place(trace);
            } else {
                let mut run = Run::new(occurrence(incoming)).traced(trace);
                run.end(&connection.facts, stage, &route.key, &Ending::default());
            }
        }
        // Nothing to wait for: answered in place, without a task, and in the read's one write.
        Some(integration) if integration.is_immediate() && stage.access_log.is_none() => {
            route.metrics.integration_took(Duration::ZERO);
            if route.reply {
                let kind = match (incoming.binary, stage.binary) {
                    (true, Binary::Pass) => MessageKind::Binary,
                    _ => MessageKind::Text,
                };
                append_message(out, kind, &incoming.body);
                route.metrics.message_out(bytes);
            }
            traces::answered_in_place(trace);
        }
        Some(_) => {
            let call = connection.begin_call();
            let (stage, route) = (stage.clone(), route.clone());
            let (core, connection) = (core.clone(), connection.clone());
            let span = run_span(&connection.facts, &route.key);
            let message = (incoming, trace, call);
            let run = run_message(core, connection, stage, route, message);
            tokio::spawn(run.instrument(span));
        }
    }
}

fn select<'s>(stage: &'s StageEntry, incoming: &Incoming) -> Option<&'s Arc<RouteEntry>> {
    if incoming.binary {
        return stage.route(RouteKey::DEFAULT);
    }
    route_selection::select(&stage.expression, incoming.text(), |key| stage.route(key))
}

fn occurrence(incoming: Incoming) -> Occurrence {
    Occurrence::Message {
        message_id: OpaqueId::random(),
        body: incoming.body,
        binary: incoming.binary,
    }
}

/// The gateway's own answer to a message that reaches no integration.
fn answer_error(
    (connection, stage): (&Connection, &StageEntry),
    incoming: Incoming,
    trace: OpenSpan,
    (message, status): (ErrorMessage, u16),
    out: &mut Vec<u8>,
) {
    let mut run = Run::new(occurrence(incoming)).traced(trace);
    let text = error_frame(message.as_str(), connection.facts.id, run.request_id);
    append_message(out, MessageKind::Text, text.as_bytes());
    run.end(&connection.facts, stage, "-", &Ending::refused(status, message));
}

/// The answer to a message that its route's model does not take (websocket-api, section 8).
fn answer_invalid(
    (connection, stage, route): (&Connection, &StageEntry, &RouteEntry),
    incoming: Incoming,
    trace: OpenSpan,
    invalid: &InvalidBody,
    out: &mut Vec<u8>,
) {
    let message_id = OpaqueId::random();
    let body = Occurrence::Message { message_id, body: incoming.body, binary: incoming.binary };
    let mut run = Run::new(body).traced(trace);
    let text = bad_request_body_frame(connection.facts.id, run.request_id, message_id);
    append_message(out, MessageKind::Text, text.as_bytes());
    let ending = Ending {
        validation_error: Some(&invalid.detail),
        ..Ending::refused(400, ErrorMessage::BadRequestBody)
    };
    run.end(&connection.facts, stage, &route.key, &ending);
}

async fn run_message(
    core: Arc<Core>,
    connection: Arc<Connection>,
    stage: Arc<StageEntry>,
    route: Arc<RouteEntry>,
    (incoming, trace, call): (Incoming, OpenSpan, CallInFlight),
) {
    let _running = core.node.begin_run();
    let mut run = Run::new(occurrence(incoming)).traced(trace);
    let invoked = run.invoke(&core, &connection.facts, &stage, &route).await;
    if let Some(Ok(answer)) = invoked.as_ref().map(|invoked| &invoked.result) {
        asked_for::change_groups(&core, &connection, &route, &answer.headers).await;
    }
    let (status, error) = match invoked.as_ref().map(|invoked| &invoked.result) {
        None => (200, None),
        Some(Ok(answer)) if route.reply => reply(&connection, &stage, &route, &run, answer),
        Some(Ok(_)) => (200, None),
        Some(Err(err)) => {
            let message = err.error_message();
            send_error(&connection, &run, message);
            (err.status().as_u16(), Some(message))
        }
    };
    let ending = Ending {
        status,
        invoked: invoked.as_ref(),
        error: error.map(Told::from),
        ..Ending::default()
    };
    run.end(&connection.facts, &stage, &route.key, &ending);
    drop(call);
}

/// Sends a two-way route's answer (websocket-api, section 4.6; tidegate, section 4 on binary).
fn reply(
    connection: &Connection,
    stage: &StageEntry,
    route: &RouteEntry,
    run: &Run,
    answer: &Answer,
) -> (u16, Option<ErrorMessage>) {
    let kind = if answer.binary && stage.binary == Binary::Pass {
        MessageKind::Binary
    } else if std::str::from_utf8(&answer.body).is_ok() {
        MessageKind::Text
    } else {
        // A text frame must be UTF-8, or it would break the client.
        let message = ErrorMessage::InternalServerError;
        send_error(connection, run, message);
        return (500, Some(message));
    };
    // A reply to a client that has left meanwhile is dropped.
    if connection.send_encoded(&encode_message(kind, &answer.body)).is_ok() {
        route.metrics.message_out(answer.body.len());
    }
    (200, None)
}

fn send_error(connection: &Connection, run: &Run, message: ErrorMessage) {
    let text = error_frame(message.as_str(), connection.facts.id, run.request_id);
    let _ = connection.send_encoded(&encode_message(MessageKind::Text, text.as_bytes()));
}
