//! From what happened on a connection to its integration, and back.
//!
//! ```text
//! message -> throttle -> route -> integration -> reply, if the route is two-way
//!                \          \           \
//!                 error frame, and the connection stays open
//! ```

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use connection_store::MessageKind;
use tidegate_authorizers::{Denial, Granted};
use tidegate_flow::{
    access_log::{self, AuthorizerOutcome, Outcome, StepOutcome},
    context::{ConnectionFacts, Event, Occurrence},
    error_frame::{ErrorMessage, bad_request_body_frame, error_frame},
    models::InvalidBody,
    opaque_id::OpaqueId,
    route_selection,
    session::End,
    trace_context::TraceContext,
};
use tidegate_integrations::{Answer, IntegrationError, Owner};
use tidegate_model::{Binary, RouteKey};
use tidegate_telemetry::{ClientErrorKind, DisconnectCause};
use tracing::{Instrument as _, Span, debug_span, warn};

use super::{
    asked_for,
    connection::{CallInFlight, Connection, now_ms},
    frame::{append_message, encode_message},
    session_task::disconnect_cause,
};
use crate::{
    core_state::Core,
    snapshot::{RouteEntry, Snapshot, StageEntry},
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

/// One run of one route, from its start to its line in the access log and the end of its span.
pub(crate) struct Run {
    pub(crate) request_id: OpaqueId,
    at_ms: u64,
    pub(crate) occurrence: Occurrence,
    pub(crate) trace: OpenSpan,
}

/// What an integration answered, and how long it took.
pub(crate) struct Invoked {
    pub(crate) result: Result<Answer, IntegrationError>,
    took: Duration,
}

impl Invoked {
    /// What the client is told of a failure.
    pub(crate) fn told(&self) -> Option<Told> {
        self.result.as_ref().err().map(|err| err.error_message().into())
    }
}

/// What a client was told that was not served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) message: &'static str,
    /// By gateway response types.
    pub(crate) response_type: &'static str,
}

impl From<ErrorMessage> for Told {
    fn from(message: ErrorMessage) -> Self {
        Self { message: message.as_str(), response_type: message.response_type() }
    }
}

/// How a run ended, for its line in the access log.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) status: u16,
    pub(crate) invoked: Option<&'a Invoked>,
    pub(crate) error: Option<Told>,
    pub(crate) validation_error: Option<&'a str>,
    pub(crate) authorizer: Option<&'a AuthorizerLog>,
}

impl Default for Ending<'_> {
    fn default() -> Self {
        Self { status: 200, invoked: None, error: None, validation_error: None, authorizer: None }
    }
}

impl Ending<'_> {
    /// What kind of failure it was and whose fault, where the client was not served.
    pub(crate) fn failure(&self) -> Option<(Cow<'static, str>, Owner)> {
        let answered = self.invoked.map(|invoked| &invoked.result);
        match (self.status, answered, self.error) {
            (_, Some(Err(err)), _) => Some((err.kind().into(), err.blame())),
            (..400, _, None) => None,
            (status, answered, told) => {
                let of_backend = answered.is_some() || self.authorizer.is_some();
                let blame = match status {
                    ..500 => Owner::Client,
                    _ if of_backend => Owner::ApiOwner,
                    _ => Owner::Gateway,
                };
                let kind =
                    told.map_or_else(|| status.to_string().into(), |t| t.response_type.into());
                Some((kind, blame))
            }
        }
    }

    /// Nothing was called.
    pub(crate) fn refused(status: u16, told: impl Into<Told>) -> Self {
        Self { status, error: Some(told.into()), ..Self::default() }
    }
}

/// Who decides about a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecidedBy {
    Function,
    Token,
    Signature,
}

/// How deciding about a connect went, for the access log.
#[derive(Debug)]
pub(crate) struct AuthorizerLog {
    by: DecidedBy,
    latency_ms: u64,
    integration_latency_ms: Option<u64>,
    status: u16,
    error: Option<String>,
    /// It was known who it is; what was decided is what they may.
    is_known: bool,
}

impl AuthorizerLog {
    /// What a signature or a token says of somebody it is about, and a policy or the rules do not
    /// let in.
    const NOT_ALLOWED: [&str; 4] = ["denied", "not_allowed", "scope", "claim"];

    pub(crate) fn new<T>(by: DecidedBy, took: Duration, decided: &Result<T, Denial>) -> Self {
        let denial = decided.as_ref().err();
        Self {
            by,
            latency_ms: milliseconds(took),
            integration_latency_ms: None,
            status: denial.map_or(200, |denial| denial.status.code().as_u16()),
            error: denial.map(|denial| denial.log.clone().into_owned()),
            is_known: denial.is_none_or(|denial| Self::NOT_ALLOWED.contains(&denial.kind)),
        }
    }

    /// How an authorizer that was asked decided.
    pub(crate) fn asked(by: DecidedBy, took: Duration, decided: &Result<Granted, Denial>) -> Self {
        let latency = |granted: &Granted| granted.authorizer.as_ref()?.integration_latency_ms;
        Self {
            integration_latency_ms: decided.as_ref().ok().and_then(latency),
            ..Self::new(by, took, decided)
        }
    }

    fn authorizer(&self) -> AuthorizerOutcome<'_> {
        if self.by == DecidedBy::Signature {
            return AuthorizerOutcome::default();
        }
        let is_function = self.by == DecidedBy::Function;
        AuthorizerOutcome {
            error: self.error.as_deref(),
            integration_latency_ms: self.integration_latency_ms,
            integration_status: (is_function && self.status == 200).then_some(200),
            latency_ms: Some(self.latency_ms),
            request_id: None,
            status: Some(self.status),
        }
    }

    /// A function says who it is and what they may at once, which counts as the latter.
    fn authenticate(&self) -> StepOutcome<'_> {
        match (self.by, self.is_known) {
            (DecidedBy::Function, _) => StepOutcome::default(),
            (_, true) => {
                StepOutcome { error: None, latency_ms: Some(self.latency_ms), status: Some(200) }
            }
            (_, false) => self.step(),
        }
    }

    fn authorize(&self) -> StepOutcome<'_> {
        match (self.by, self.is_known) {
            (DecidedBy::Function, _) => self.step(),
            // Its time is the other step's.
            (_, true) => StepOutcome { latency_ms: None, ..self.step() },
            (_, false) => StepOutcome::default(),
        }
    }

    fn step(&self) -> StepOutcome<'_> {
        StepOutcome {
            error: self.error.as_deref(),
            latency_ms: Some(self.latency_ms),
            status: Some(self.status),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Run {
    pub(crate) fn new(occurrence: Occurrence) -> Self {
        Self {
            request_id: OpaqueId::random(),
            at_ms: now_ms(),
            occurrence,
            trace: OpenSpan::default(),
        }
    }

    /// In this span, which ends with the run.
    pub(crate) fn traced(self, trace: OpenSpan) -> Self {
        Self { trace, ..self }
    }

    /// The event as integrations, mappings and log lines see it.
    pub(crate) fn event<'e>(
        &'e self,
        facts: &'e ConnectionFacts,
        stage: &'e StageEntry,
        route_key: &'e str,
    ) -> Event<'e> {
        Event {
            connection: facts,
            route_key,
            occurrence: &self.occurrence,
            request_id: self.request_id,
            at_ms: self.at_ms,
            stage_variables: &stage.variables,
            trace: None,
        }
    }

    /// Calls a route's integration; `None` where the route has none.
    pub(crate) async fn invoke(
        &self,
        core: &Core,
        facts: &ConnectionFacts,
        stage: &StageEntry,
        route: &RouteEntry,
    ) -> Option<Invoked> {
        let integration = route.integration.as_ref()?;
        let span = traces::integration(&self.trace, route, integration);
        let event = Event { trace: span.context(), ..self.event(facts, stage, &route.key) };
        let _place = match &route.gate {
            None => None,
            Some(gate) if matches!(self.occurrence, Occurrence::Disconnect { .. }) => {
                Some(gate.enter().await)
            }
            Some(gate) => match gate.enter_soon().await {
                Ok(place) => Some(place),
                Err(waited) => {
                    let err = IntegrationError::TimedOut(waited);
                    report(facts, route, &err);
                    let result = Err(err);
                    traces::integration_ended(span, &result);
                    return Some(Invoked { result, took: waited });
                }
            },
        };
        let started = Instant::now();
        let result = integration.call(&core.pools, &event).await;
        let took = started.elapsed();
        traces::integration_ended(span, &result);
        route.metrics.integration_took(took);
        if let Err(err) = &result {
            report(facts, route, err);
        }
        Some(Invoked { result, took })
    }

    /// Ends it: its span, and the access log's line where the stage has one.
    pub(crate) fn end(
        &mut self,
        facts: &ConnectionFacts,
        stage: &StageEntry,
        route_key: &str,
        ending: &Ending<'_>,
    ) {
        traces::run_ended(&mut self.trace, &self.occurrence, self.request_id.as_str(), ending);
        let Some((log, format)) = &stage.access_log else { return };
        let Ending { status, invoked, error, validation_error, authorizer } = *ending;
        let (integration_status, integration_error) = match invoked.map(|i| &i.result) {
            Some(Ok(answer)) => (Some(answer.status), None),
            Some(Err(err)) => (None, Some(err.to_string())),
            None => (None, None),
        };
        let outcome = Outcome {
            status: Some(status),
            integration_status,
            integration_service_status: integration_status,
            integration_latency_ms: invoked.map(|invoked| milliseconds(invoked.took)),
            integration_error: integration_error.as_deref(),
            error_message: error.map(|told| told.message),
            error_response_type: error.map(|told| told.response_type),
            validation_error,
            authorizer: authorizer.map(AuthorizerLog::authorizer).unwrap_or_default(),
            authenticate: authorizer.map(AuthorizerLog::authenticate).unwrap_or_default(),
            authorize: authorizer.map(AuthorizerLog::authorize).unwrap_or_default(),
            ..Outcome::default()
        };
        let mut line = String::new();
        access_log::render(format, &self.event(facts, stage, route_key), &outcome, &mut line);
        log.write(line);
    }
}

/// Counts and logs a failed call; a backend that is down does not flood the log.
fn report(facts: &ConnectionFacts, route: &RouteEntry, err: &IntegrationError) {
    route.metrics.integration_failed(err.kind());
    if let Some(unlogged) = route.may_warn(now_ms()) {
        let cause = std::error::Error::source(err).map(ToString::to_string);
        warn!(
            connection_id = %facts.id,
            api_id = &*facts.api_id,
            stage = &*facts.stage,
            route_key = &*route.key,
            error = %err,
            cause,
            blame = ?err.blame(),
            unlogged,
            "integration failed"
        );
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

/// The span of one run of one route; nothing but a comparison unless somebody listens to `debug`.
pub(crate) fn run_span(facts: &ConnectionFacts, route_key: &str) -> Span {
    debug_span!(
        "run",
        connection_id = %facts.id,
        api_id = &*facts.api_id,
        stage = &*facts.stage,
        route_key
    )
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

/// Whether the end of a connection is to be told to anybody, or to a log.
pub(crate) fn has_disconnect(snapshot: &Snapshot, connection: &Connection) -> bool {
    let stage = snapshot.stage(connection.stage);
    stage.is_some_and(|stage| stage.disconnect.is_some() || stage.access_log.is_some())
}

/// Runs `$disconnect`; its answer is ignored (websocket-api, section 3.8).
pub(crate) async fn run_disconnect(core: Arc<Core>, connection: Arc<Connection>, end: End) {
    let _running = core.node.begin_run();
    // A node that was taken for dead leaves it to whoever took its place.
    if core.node.store().finishes(connection.id).await {
        let stage = core.node.snapshot().stage(connection.stage).cloned();
        if let Some(stage) = stage {
            let known = (&connection.facts, connection.connect_span());
            disconnect(&core, known, &stage, end).await;
        }
    }
    connection.forget_facts();
}

/// Runs the `$disconnect` of a connection whose node has died; `false` where its stage is not
/// served here.
pub(crate) async fn run_orphans_disconnect(core: &Arc<Core>, facts: &ConnectionFacts) -> bool {
    let _running = core.node.begin_run();
    let stage = core.node.snapshot().stage_named(&facts.api_id, &facts.stage).cloned();
    let Some(stage) = stage else { return false };
    stage.metrics.disconnect(DisconnectCause::NodeLost);
    let span = run_span(facts, RouteKey::DISCONNECT);
    disconnect(core, (facts, None), &stage, End::node_lost()).instrument(span).await;
    true
}

/// `known` is the connection, and the span of its upgrade where that is recorded.
async fn disconnect(
    core: &Core,
    known: (&ConnectionFacts, Option<&TraceContext>),
    stage: &StageEntry,
    end: End,
) {
    let (facts, _) = known;
    let trace = traces::disconnect(&core.node, known, &end, disconnect_cause(end.cause));
    let occurrence = Occurrence::Disconnect { code: end.code, reason: end.reason };
    let mut run = Run::new(occurrence).traced(trace);
    let invoked = match &stage.disconnect {
        Some(route) => run.invoke(core, facts, stage, route).await,
        None => None,
    };
    let ending = Ending { invoked: invoked.as_ref(), ..Ending::default() };
    run.end(facts, stage, RouteKey::DISCONNECT, &ending);
}
