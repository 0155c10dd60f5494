//! From an upgrade request to an open connection, or to a refusal.
//!
//! ```text
//! api by host -> stage by path -> limits -> origin -> throttle -> API key -> signature
//!     -> authorizer -> API key of the authorizer -> parameters -> $connect -> 101
//! ```
//!
//! Holds always: nothing is accepted before `$connect` has said yes; a refused upgrade runs no
//! `$disconnect`; what the integration answered beyond the subprotocol is not sent with the 101.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use connection_store::Unavailable;
use percent_encoding::percent_decode_str;
use sha1::{Digest as _, Sha1};
use tidegate_flow::{
    context::{ConnectionFacts, Occurrence, UpgradeRequest},
    error_frame::{ErrorMessage, error_frame},
    opaque_id::OpaqueId,
    session::{End, EndCause},
    trace_context::TraceContext,
};
use tidegate_integrations::Answer;
use tidegate_model::{PostDuringConnect, RouteKey};
use tidegate_telemetry::{ClientErrorKind, ConnectOutcome};
use tokio::net::TcpStream;
use tracing::{Instrument as _, debug};

use super::{
    asked_for,
    authorization::{self, Request},
    connection::{Connection, now_ms},
    disconnect::has_disconnect,
    ending::{AuthorizerLog, Ending},
    publishing::published,
    refusal::Refusal,
    run::{Invoked, Run, run_span},
    session_task::SessionTask,
};
use crate::{
    admission::Admission,
    core_state::Core,
    http::{
        head::Head,
        query,
        response::{Response, append_date},
    },
    node::Phase,
    snapshot::{RouteEntry, StageEntry, StageIndex},
    traces::{self, Upstream},
    transport::{self, Peer, Tls},
};

/// Longest URL, as API Gateway's quota has it.
const MAX_URL_BYTES: usize = 4096;

/// The GUID of RFC 6455, 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgrade that only the authorizer and `$connect` can refuse any more.
pub(crate) struct Upgrade {
    index: StageIndex,
    /// As it was when the head was checked. What is left to check is left of the same rules: with
    /// those of a reload in between, neither half might ask for what the other one leaves to it.
    stage: Arc<StageEntry>,
    admission: Admission,
    accept: String,
    connection_id: connection_store::ConnectionId,
    facts: ConnectionFacts,
    run: Run,
    request: Request,
    /// How the signature was decided about, where one was asked for.
    signed: Option<AuthorizerLog>,
}

/// Checks everything that needs no integration. The error is the whole answer.
pub(crate) fn check(core: &Core, peer: &Peer, head: &Head<'_, '_>) -> Result<Upgrade, Response> {
    let id = core.node.store().allocate();
    let connection_id = OpaqueId::from_text(id.as_bytes());
    let request_id = OpaqueId::random();
    let respond = |refusal: &Refusal| refusal.response(connection_id, request_id);

    let snapshot = core.node.snapshot();
    let host = head.header("host").unwrap_or("");
    let first = first_segment(head.raw_path());
    let place = snapshot.place(host, first.as_deref());
    let Some((api, index)) = place.and_then(|place| Some((place.api, place.stage?))) else {
        return Err(respond(&Refusal::forbidden()));
    };
    let Some(stage) = snapshot.stage(index) else { return Err(respond(&Refusal::forbidden())) };

    let mut facts = ConnectionFacts {
        id: connection_id,
        api_id: stage.scope.api.clone(),
        stage: stage.scope.stage.clone(),
        domain_name: host.into(),
        source_ip: peer.address.ip().to_canonical(),
        user_agent: head.header("user-agent").map(Into::into),
        connected_at_ms: now_ms(),
        authorization: None,
    };
    let mut run = Run::new(Occurrence::Connect(UpgradeRequest::default()));
    run.request_id = request_id;
    let upstream = core.node.tracer.as_ref().and_then(|tracer| tracer.of_client(head));
    run.trace = traces::connect(&core.node, &facts, upstream.as_ref());
    let trace = run.trace.context();
    let mut refuse =
        |facts: &ConnectionFacts, refusal: Refusal, authorizer: Option<&AuthorizerLog>| {
            count_refusal(stage, &refusal);
            traces::connect_outcome(&mut run.trace, refusal.outcome);
            let ending = Ending { authorizer, ..Ending::refused(refusal.status, refusal.told) };
            run.end(facts, stage, RouteKey::CONNECT, &ending);
            respond(&refusal)
        };

    let accept = match handshake(head) {
        Ok(accept) => accept,
        Err(refusal) => return Err(refuse(&facts, refusal, None)),
    };
    if core.node.phase() == Phase::Draining {
        let outcome = ConnectOutcome::Throttled;
        let message = ErrorMessage::ServiceUnavailable;
        let refusal = Refusal::new(503, "ServiceUnavailableException", message, outcome);
        return Err(refuse(&facts, refusal, None));
    }
    let now_ns = core.node.now_ns();
    if snapshot.new_connections.as_ref().is_some_and(|bucket| !bucket.take(now_ns)) {
        return Err(refuse(&facts, Refusal::throttled(), None));
    }
    let admission = match core.node.clients.admit(facts.source_ip, &snapshot.limits) {
        Ok(admission) => admission,
        Err(limit) => {
            debug!(source_ip = %facts.source_ip, ?limit, "connection refused");
            return Err(refuse(&facts, Refusal::throttled(), None));
        }
    };
    if let (Some(allowed), Some(origin)) = (&api.allowed_origins, head.header("origin"))
        && !allowed.iter().any(|pattern| pattern.matches(origin))
    {
        return Err(refuse(&facts, Refusal::forbidden(), None));
    }
    if !stage.admits(stage.connect.as_deref(), now_ns) {
        return Err(refuse(&facts, Refusal::throttled(), None));
    }
    let mut request = Request::default();
    let mut signed = None;
    if let Some(route) = &stage.connect {
        let at = (&**stage, &**route);
        if let Err(refusal) =
            authorization::check_head(core, &snapshot, at, peer, head, &mut facts, &mut signed)
        {
            return Err(refuse(&facts, refusal, signed.as_ref()));
        }
        request = Request::of(route, peer, head);
    }
    if stage.connect.is_some() {
        let mut request = upgrade_request(peer, head, &facts, trace);
        if let Some(trace) = trace {
            replace_trace_context(&mut request.headers, trace, upstream.as_ref());
        }
        run.occurrence = Occurrence::Connect(request);
    }
    Ok(Upgrade {
        index,
        stage: stage.clone(),
        admission,
        accept,
        connection_id: id,
        facts,
        run,
        request,
        signed,
    })
}

/// Counts an upgrade that the gateway refuses itself.
fn count_refusal(stage: &StageEntry, refusal: &Refusal) {
    stage.metrics.connect(refusal.outcome);
    if refusal.status < 500 {
        stage.metrics.client_error(ClientErrorKind::Upgrade);
    }
}

/// What RFC 6455, 4.2.1 asks of the request; the value of `Sec-WebSocket-Accept`.
fn handshake(head: &Head<'_, '_>) -> Result<String, Refusal> {
    if !head.is_upgrade() {
        return Err(Refusal::upgrade_required());
    }
    if head.target.len() > MAX_URL_BYTES {
        let outcome = ConnectOutcome::BadRequest;
        let message = ErrorMessage::UriTooLong;
        return Err(Refusal::new(414, "RequestUriTooLongException", message, outcome));
    }
    if head.method != "GET" || head.minor_version == 0 {
        return Err(Refusal::bad_request());
    }
    if head.header("sec-websocket-version").map(str::trim) != Some("13") {
        return Err(Refusal::upgrade_required());
    }
    let key = head.header("sec-websocket-key").map(str::trim).unwrap_or("");
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => {}
        _ => return Err(Refusal::bad_request()),
    }
    let hash = Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize();
    Ok(STANDARD.encode(hash))
}

/// The first segment of the path, decoded. Sub paths and a trailing slash are tolerated.
fn first_segment(raw_path: &str) -> Option<String> {
    let first = raw_path.split('/').find(|segment| !segment.is_empty())?;
    Some(percent_decode_str(first).decode_utf8().ok()?.into_owned())
}

/// The request as events and mappings may see it.
fn upgrade_request(
    peer: &Peer,
    head: &Head<'_, '_>,
    facts: &ConnectionFacts,
    trace: Option<TraceContext>,
) -> UpgradeRequest {
    // Hop-by-hop, by itself or because `Connection` names it (RFC 9110, 7.6.1); without a meaning
    // behind us; and what only the gateway may say.
    let hidden = |name: &str| {
        ["connection", "upgrade", "content-length", "transfer-encoding", "keep-alive"]
            .iter()
            .any(|hidden| name.eq_ignore_ascii_case(hidden))
            || head.lists("connection", name)
            || name.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("tidegate-"))
    };
    // Written anew below.
    let forwarded = ["x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"];
    let mut headers: Vec<(String, String)> = head
        .headers
        .iter()
        .filter(|header| !hidden(header.name))
        .filter(|header| !forwarded.iter().any(|name| header.name.eq_ignore_ascii_case(name)))
        .map(|header| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned())
        })
        .collect();
    let said = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !said("x-amzn-trace-id") {
        let fresh = || {
            let seconds = facts.connected_at_ms / 1000;
            let random: [u32; 3] = rand::random();
            let [a, b, c] = random;
            format!("Root=1-{seconds:08x}-{a:08x}{b:08x}{c:08x}")
        };
        let id = trace.map_or_else(fresh, |trace| trace.amazon_trace_id());
        headers.push(("X-Amzn-Trace-Id".to_owned(), id));
    }
    let via = match head.header("x-forwarded-for") {
        Some(earlier) => format!("{earlier}, {}", facts.source_ip),
        None => facts.source_ip.to_string(),
    };
    let proto = if peer.tls.is_some() { "https" } else { "http" };
    headers.push(("X-Forwarded-For".to_owned(), via));
    headers.push(("X-Forwarded-Port".to_owned(), peer.local_port.to_string()));
    headers.push(("X-Forwarded-Proto".to_owned(), proto.to_owned()));
    let raw_query = head.raw_query().to_owned();
    UpgradeRequest { headers, query: query::pairs(&raw_query).collect(), raw_query }
}

/// What backends and events are told of the trace, whatever the client said: the upgrade's own
/// span, and the client's `tracestate` only where its trace goes on.
fn replace_trace_context(
    headers: &mut Vec<(String, String)>,
    trace: TraceContext,
    upstream: Option<&Upstream>,
) {
    headers.retain(|(name, _)| {
        !["traceparent", "tracestate"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    });
    headers.push(("traceparent".to_owned(), trace.traceparent()));
    if let Some(state) = upstream.and_then(Upstream::state) {
        headers.push(("tracestate".to_owned(), state.to_owned()));
    }
}

/// Runs `$connect` and answers. `early` came behind the request.
pub(crate) async fn run(core: Arc<Core>, peer: Peer, upgrade: Upgrade, early: Vec<u8>) {
    let running = core.node.begin_run();
    let Upgrade {
        index,
        stage,
        admission,
        accept,
        connection_id,
        mut facts,
        mut run,
        request,
        signed: mut asked,
    } = upgrade;
    let Peer { socket, mut tls, .. } = peer;
    if let Some(route) = &stage.connect {
        let at = (&*stage, &**route);
        let span = run_span(&facts, &route.key);
        let asking = authorization::ask(&core, at, &mut facts, &mut run, &request, &mut asked);
        if let Err(refusal) = asking.instrument(span).await {
            count_refusal(&stage, &refusal);
            traces::connect_outcome(&mut run.trace, refusal.outcome);
            let ending = Ending {
                authorizer: asked.as_ref(),
                ..Ending::refused(refusal.status, refusal.told)
            };
            run.end(&facts, &stage, RouteKey::CONNECT, &ending);
            let response = refusal.response(facts.id, run.request_id);
            drop(admission);
            return refuse(&socket, &mut tls, &response).await;
        }
    }
    let connection = Connection::new(
        core.node.clone(),
        connection_id,
        facts,
        stage.scope.clone(),
        index,
        (socket, tls.is_some()),
        admission,
    );
    let connection = Arc::new(connection.with_connect_span(run.trace.to_link()));
    // Reachable while `$connect` runs: a post is held until the 101 is sent.
    let held = stage.post_during_connect == PostDuringConnect::Held;
    if held {
        core.node.store().insert(connection.clone());
    }
    let mut reachable = Reachable { core: &core, id: connection_id, kept: false };
    let facts = &connection.facts;
    let invoked = match &stage.connect {
        Some(route) => {
            let span = run_span(facts, &route.key);
            run.invoke(&core, facts, &stage, route).instrument(span).await
        }
        None => None,
    };
    let is_proxy = stage.connect.as_deref().is_some_and(RouteEntry::is_proxy);
    match decide(invoked.as_ref(), is_proxy, facts.id, &run) {
        Err((outcome, response)) => {
            stage.metrics.connect(outcome);
            traces::connect_outcome(&mut run.trace, outcome);
            let ending = Ending {
                status: response.status,
                invoked: invoked.as_ref(),
                error: invoked.as_ref().and_then(Invoked::told),
                authorizer: asked.as_ref(),
                ..Ending::default()
            };
            run.end(facts, &stage, RouteKey::CONNECT, &ending);
            // Not reachable any more, and its place free, before the client knows.
            drop(reachable);
            connection.leave();
            if let Some(socket) = connection.take_socket() {
                refuse(&socket, &mut tls, &response).await;
            }
        }
        Ok(subprotocol) => {
            if !held {
                core.node.store().insert(connection.clone());
            }
            reachable.kept = true;
            stage.metrics.connect(ConnectOutcome::Accepted);
            traces::connect_outcome(&mut run.trace, ConnectOutcome::Accepted);
            let ending = Ending {
                invoked: invoked.as_ref(),
                authorizer: asked.as_ref(),
                ..Ending::default()
            };
            run.end(facts, &stage, RouteKey::CONNECT, &ending);
            connection.mark_open(core.node.metrics.open_connection());
            connection.touch();
            let mut first = switching_protocols(&accept, subprotocol);
            let mut joined = None;
            if let (Some(route), Some(Ok(answer))) =
                (&stage.connect, invoked.as_ref().map(|invoked| &invoked.result))
            {
                let headers = &answer.headers;
                let has_joined = asked_for::change_groups_here(&core, &connection, route, headers);
                joined = has_joined.then_some(route);
                if let Some(greeting) = asked_for::greeting(&connection, route, &answer.headers) {
                    first.extend_from_slice(&greeting);
                }
            }
            if has_disconnect(&core.node.snapshot(), &connection) {
                connection.keep_facts();
            }
            // Before its client knows. One wait for all: also for the groups.
            if let (Err(Unavailable), Some(route)) = (published(&core).await, joined) {
                asked_for::tell_unknown(&connection, route);
            }
            connection.outbox().open(first.into());
            // It may have come after the drain's look at who is there. The phase is set before that
            // look, which passes over whoever is not marked as open yet.
            if core.node.phase() == Phase::Draining {
                connection.order_close(End::going_away(EndCause::Drain));
            }
            // A task of its own, so that an idle connection does not carry this one.
            let task = SessionTask::new(core.clone(), connection.clone(), tls, &early);
            tokio::spawn(task);
        }
    }
    drop(running);
}

/// Answers, and closes.
async fn refuse(socket: &TcpStream, tls: &mut Tls, response: &Response) {
    let encoded = response.encode(false);
    let _ = transport::write_all(socket, tls, &encoded).await;
    transport::shut(socket, tls);
}

/// A connection in the store before it is accepted: removed on every way out but acceptance.
struct Reachable<'c> {
    core: &'c Core,
    id: connection_store::ConnectionId,
    kept: bool,
}

impl Drop for Reachable<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.core.node.store().remove(self.id);
        }
    }
}

/// What the answer of `$connect` means (websocket-api, section 3.2): the subprotocol to accept
/// with, or the refusal.
fn decide<'a>(
    invoked: Option<&'a Invoked>,
    is_proxy: bool,
    connection_id: OpaqueId,
    run: &Run,
) -> Result<Option<&'a str>, (ConnectOutcome, Response)> {
    let frame = |status: u16, error_type: &'static str, message: &str| Response {
        error_type: Some(error_type),
        request_id: Some(run.request_id),
        ..Response::json(status, error_frame(message, connection_id, run.request_id))
    };
    match invoked.map(|invoked| &invoked.result) {
        None => Ok(None),
        Some(Ok(answer)) if (200..300).contains(&answer.status) => Ok(subprotocol(answer)),
        // Informational statuses end no request: a backend that answers 101 has not understood
        // that the gateway does the upgrade.
        Some(Ok(answer)) if answer.status < 200 => {
            let message = ErrorMessage::InternalServerError.as_str();
            let response = frame(502, "InternalServerErrorException", message);
            Err((ConnectOutcome::IntegrationError, response))
        }
        // No backend's answer: without a body of the template's, the gateway says something itself.
        Some(Ok(answer)) if !is_proxy && answer.body.is_empty() => {
            let status = http::StatusCode::from_u16(answer.status).unwrap_or_default();
            let message = status.canonical_reason().unwrap_or("Refused");
            Err((ConnectOutcome::Refused, frame(answer.status, error_type(answer.status), message)))
        }
        // The status was the integration's, and so is the body.
        Some(Ok(answer)) => {
            let text = |name: http::HeaderName| {
                answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let response = Response {
                status: answer.status,
                content_type: text(http::header::CONTENT_TYPE),
                body: answer.body.to_vec(),
                request_id: Some(run.request_id),
                ..Response::default()
            };
            Err((ConnectOutcome::Refused, response))
        }
        Some(Err(err)) => {
            let status = err.status().as_u16();
            let error_type = error_type(status);
            let response = frame(status, error_type, err.error_message().as_str());
            Err((ConnectOutcome::IntegrationError, response))
        }
    }
}

/// `x-amzn-ErrorType` of a refusal with this status.
fn error_type(status: u16) -> &'static str {
    match status {
        401 => "UnauthorizedException",
        403 => "ForbiddenException",
        404 => "NotFoundException",
        415 => "UnsupportedMediaTypeException",
        429 => "TooManyRequestsException",
        400..=499 => "BadRequestException",
        _ => "InternalServerErrorException",
    }
}

/// `Sec-WebSocket-Protocol` of the integration's answer, if it is one that may stand in a header.
fn subprotocol(answer: &Answer) -> Option<&str> {
    let value = answer.headers.get(http::header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?.trim();
    (!value.is_empty()).then_some(value)
}

fn switching_protocols(accept: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    append_date(&mut out);
    out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept.as_bytes());
    if let Some(subprotocol) = subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}
