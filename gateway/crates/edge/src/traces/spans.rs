//! The spans that there are, their names and their attributes (docs/operating.md, "Traces").
//!
//! In:  a run of a route, a call of an integration or of the management API, and how it ended.
//! Out: what is said of it, by OpenTelemetry's semantic conventions where those have a word.
//!
//! Holds always: names are of few values; an error says whose fault it is.

use connection_store::ConnectionId;
use tidegate_authorizers::{CompiledAuthorizer, Denial, Granted};
use tidegate_flow::{
    context::{ConnectionFacts, Occurrence},
    session::End,
    trace_context::TraceContext,
};
use tidegate_integrations::{Answer, CompiledIntegration, IntegrationError, Owner};
use tidegate_model::Endpoint;
use tidegate_telemetry::{ConnectOutcome, DisconnectCause, ManagementOperation, SpanKind};

use super::{OpenSpan, Upstream};
use crate::{
    http::{head::Head, response::Response},
    node::Node,
    snapshot::RouteEntry,
    websocket::{Connection, Ending},
};

const API: &str = "tidegate.api";
const STAGE: &str = "tidegate.stage";
const CONNECTION_ID: &str = "tidegate.connection_id";
const REQUEST_ID: &str = "tidegate.request_id";
const ROUTE_KEY: &str = "tidegate.route_key";
const INTEGRATION: &str = "tidegate.integration";
const AUTHORIZER: &str = "tidegate.authorizer";
const OPERATION: &str = "tidegate.operation";
const OUTCOME: &str = "tidegate.outcome";
/// What a message's run came to, as the access log has it; a message has no HTTP status.
const STATUS: &str = "tidegate.status";
const BLAME: &str = "tidegate.blame";
const MESSAGE_BYTES: &str = "tidegate.message.bytes";
const CLOSE_CODE: &str = "tidegate.close_code";
const CLOSE_CAUSE: &str = "tidegate.close_cause";
const ERROR_TYPE: &str = "error.type";
const HTTP_METHOD: &str = "http.request.method";
const HTTP_STATUS: &str = "http.response.status_code";
const HTTP_ROUTE: &str = "http.route";
const SERVER_ADDRESS: &str = "server.address";
const SERVER_PORT: &str = "server.port";

/// An upgrade request that a stage takes, until it is answered.
pub(crate) fn connect(node: &Node, facts: &ConnectionFacts, from: Option<&Upstream>) -> OpenSpan {
    let Some(tracer) = &node.tracer else { return OpenSpan::default() };
    let name = || format!("connect {}/{}", facts.api_id, facts.stage);
    let mut span = tracer.begin(SpanKind::Server, from, name);
    about_connection(&mut span, facts);
    span.text(HTTP_METHOD, "GET");
    if span.is_recorded() {
        span.text(HTTP_ROUTE, &format!("/{}", facts.stage));
    }
    span
}

/// How an upgrade ended.
pub(crate) fn connect_outcome(span: &mut OpenSpan, outcome: ConnectOutcome) {
    span.text(OUTCOME, outcome.as_str());
}

/// A message, until its reply is queued. `route_key` is `None` where no route takes it.
pub(crate) fn message(
    node: &Node,
    connection: &Connection,
    route_key: Option<&str>,
    bytes: usize,
) -> OpenSpan {
    let Some(tracer) = &node.tracer else { return OpenSpan::default() };
    let route_key = route_key.unwrap_or("-");
    let mut span = tracer.begin(SpanKind::Server, None, || format!("message {route_key}"));
    about_connection(&mut span, &connection.facts);
    span.link(connection.connect_span());
    span.text(ROUTE_KEY, route_key);
    span.number(MESSAGE_BYTES, bytes);
    span
}

/// The end of a connection that somebody is told of; `connect` is the span of its upgrade.
pub(crate) fn disconnect(
    node: &Node,
    (facts, connect): (&ConnectionFacts, Option<&TraceContext>),
    end: &End,
    cause: DisconnectCause,
) -> OpenSpan {
    let Some(tracer) = &node.tracer else { return OpenSpan::default() };
    let name = || format!("disconnect {}/{}", facts.api_id, facts.stage);
    let mut span = tracer.begin(SpanKind::Server, None, name);
    about_connection(&mut span, facts);
    span.link(connect);
    span.number(CLOSE_CODE, end.code);
    span.text(CLOSE_CAUSE, cause.as_str());
    span
}

/// How a run of a route ended; ends its span.
pub(crate) fn run_ended(
    span: &mut OpenSpan,
    occurrence: &Occurrence,
    request_id: &str,
    ending: &Ending<'_>,
) {
    if span.is_recorded() {
        span.text(REQUEST_ID, request_id);
        let status = ending.status;
        match occurrence {
            // The access log has Amazon's 200 for it.
            Occurrence::Connect(_) if status == 200 => span.number(HTTP_STATUS, 101),
            Occurrence::Connect(_) => span.number(HTTP_STATUS, status),
            Occurrence::Message { .. } => span.number(STATUS, status),
            Occurrence::Disconnect { .. } => {}
        }
        let failure = ending.failure();
        if !matches!(occurrence, Occurrence::Connect(_)) {
            span.text(OUTCOME, failure.as_ref().map_or("ok", |(kind, _)| kind));
        }
        if let Some((kind, blame)) = failure {
            failed(span, &kind, blame);
        }
    }
    span.end();
}

/// A message that was answered where it came in.
pub(crate) fn answered_in_place(mut span: OpenSpan) {
    span.number(STATUS, 200);
    span.text(OUTCOME, "ok");
    span.end();
}

/// A call of a route's integration.
pub(crate) fn integration(
    run: &OpenSpan,
    route: &RouteEntry,
    integration: &CompiledIntegration,
) -> OpenSpan {
    if integration.is_immediate() {
        return OpenSpan::default();
    }
    let name = route.integration_name.as_deref().unwrap_or_default();
    let kind = if integration.is_mock() { SpanKind::Internal } else { SpanKind::Client };
    let mut span = run.child(kind, || format!("integration {name}"));
    if span.is_recorded() {
        span.text(INTEGRATION, name);
        span.text(ROUTE_KEY, &route.key);
        if let Some((endpoint, method)) = integration.http_target() {
            span.text(HTTP_METHOD, method.as_str());
            match endpoint {
                Endpoint::Http(host, port) | Endpoint::Https(host, port) => {
                    span.text(SERVER_ADDRESS, host);
                    span.number(SERVER_PORT, *port);
                }
                Endpoint::Unix(path) => span.text(SERVER_ADDRESS, path),
            }
        }
    }
    span
}

/// How it ended.
pub(crate) fn integration_ended(mut span: OpenSpan, result: &Result<Answer, IntegrationError>) {
    match result {
        Ok(answer) => {
            span.number(HTTP_STATUS, answer.status);
            // The conventions' rule for whoever calls: any status from 400 on is an error.
            if answer.status >= 400 && span.is_recorded() {
                span.text(ERROR_TYPE, &answer.status.to_string());
                span.fail();
            }
        }
        Err(error) => {
            failed(&mut span, error.kind(), error.blame());
            span.fail();
        }
    }
    span.end();
}

/// The question whether somebody may connect.
pub(crate) fn authorizer(
    run: &OpenSpan,
    route: &RouteEntry,
    authorizer: &CompiledAuthorizer,
) -> OpenSpan {
    let name = route.authorizer_name.as_deref().unwrap_or_default();
    let kind = match authorizer {
        CompiledAuthorizer::Request(_) => SpanKind::Client,
        CompiledAuthorizer::Jwt(_) => SpanKind::Internal,
    };
    let mut span = run.child(kind, || format!("authorizer {name}"));
    span.text(AUTHORIZER, name);
    span
}

/// How it was answered.
pub(crate) fn authorizer_ended(mut span: OpenSpan, asked: &Result<Granted, Denial>) {
    match asked {
        Ok(_) => span.text(OUTCOME, "ok"),
        Err(denial) => {
            span.text(OUTCOME, "denied");
            failed(&mut span, denial.kind, denial.blame);
        }
    }
    span.end();
}

/// A call of the management API. `is_known`: whether it is known who calls.
pub(crate) fn management(
    node: &Node,
    head: &Head<'_, '_>,
    is_known: bool,
    operation: ManagementOperation,
) -> OpenSpan {
    let Some(tracer) = &node.tracer else { return OpenSpan::default() };
    // Whoever may post to connections may also say which trace a post is of; nobody else may.
    let from = if is_known { Upstream::of(head) } else { None };
    let operation = operation.as_str();
    let mut span =
        tracer.begin(SpanKind::Server, from.as_ref(), || format!("management {operation}"));
    span.text(OPERATION, operation);
    let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let method = known.into_iter().find(|method| *method == head.method);
    span.text(HTTP_METHOD, method.unwrap_or("_OTHER"));
    span
}

/// What it was answered; `to` is the api, the stage and, where there is one, the connection.
pub(crate) fn management_ended(
    mut span: OpenSpan,
    to: Option<(&str, &str, Option<ConnectionId>)>,
    response: &Response,
) {
    if span.is_recorded() {
        if let Some((api, stage, connection)) = to {
            span.text(API, api);
            span.text(STAGE, stage);
            if let Some(connection) = connection {
                span.text(CONNECTION_ID, &connection.to_string());
            }
        }
        let status = response.status;
        span.number(HTTP_STATUS, status);
        if status >= 400 {
            let kind = response.error_type.map_or_else(|| status.to_string(), str::to_owned);
            let blame = match status {
                500.. => Owner::Gateway,
                // Nobody there, or one that does not read.
                410 => Owner::Client,
                _ => Owner::ApiOwner,
            };
            say_failure(&mut span, &kind, blame);
            if status >= 500 {
                span.fail();
            }
        }
    }
    span.end();
}

fn about_connection(span: &mut OpenSpan, facts: &ConnectionFacts) {
    span.text(API, &facts.api_id);
    span.text(STAGE, &facts.stage);
    span.text(CONNECTION_ID, facts.id.as_str());
}

/// By the conventions, what serves has not failed where the caller is at fault.
fn failed(span: &mut OpenSpan, kind: &str, blame: Owner) {
    say_failure(span, kind, blame);
    if blame != Owner::Client {
        span.fail();
    }
}

fn say_failure(span: &mut OpenSpan, kind: &str, blame: Owner) {
    span.text(ERROR_TYPE, kind);
    span.text(
        BLAME,
        match blame {
            Owner::Client => "client",
            Owner::ApiOwner => "api_owner",
            Owner::Gateway => "gateway",
        },
    );
}
