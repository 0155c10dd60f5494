//! The Lambda Runtime API as HTTP: what a runtime client asks, and how it is answered.
//!
//! In:  connections of one worker's runtime client, on a loopback port of that worker's own.
//! Out: [`Call`]s for the worker's task, whose [`Answer`]s go back.
//!
//! Holds always: a result is held in memory up to its limit, and read to its end beyond it, so that
//! the client gets to read the answer; an answer leaves in one segment, for a delayed
//! acknowledgement would cost 40 ms a call.

use std::{convert::Infallible, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{FunctionFailure, functions::failure};

const VERSION: &str = "/2018-06-01/runtime/";

/// Connections of one worker at once; a runtime client has one or two.
const MAX_CONNECTIONS: usize = 32;

/// Set by runtime clients on failures, and in the trailers of a stream that broke.
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");

/// What a runtime client asks, with where the answer goes.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) question: Question,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What a runtime client asks.
#[derive(Debug)]
pub(super) enum Question {
    /// For the next invocation.
    Next,
    /// To take the outcome of the invocation of this id.
    Finish(String, Finish),
    /// To take that it cannot start.
    StartFailed(FunctionFailure),
}

/// How an invocation ended.
#[derive(Debug)]
pub(super) enum Finish {
    Result(Bytes),
    TooLarge,
    Failure(FunctionFailure),
}

/// What a runtime client is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The next invocation.
    Event(Event),
    /// The outcome is taken.
    Accepted,
    /// The outcome is taken, but is over the limit.
    TooLarge(usize),
    /// There is no invocation of that id.
    UnknownId,
    /// Not now: asked for the next invocation while one is in flight, or the like.
    OutOfTurn,
}

/// An invocation, as a runtime client sees it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) request_id: String,
    /// Since the epoch.
    pub(super) deadline_ms: u64,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    pub(super) payload: Bytes,
}

/// Serves every connection until it is dropped. `max_result_bytes` bounds what is held of a result.
pub(super) async fn serve(
    listener: TcpListener,
    calls: mpsc::Sender<Call>,
    max_result_bytes: usize,
) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, calls.clone(), max_result_bytes));
                }
                // Out of descriptors, mostly: there is nothing to do but to try again.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, calls: mpsc::Sender<Call>, max_result_bytes: usize) {
    // Without it the answers still arrive, only later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let calls = calls.clone();
        async move { respond(request, &calls, max_result_bytes).await }
    });
    // A client that goes away, or speaks no HTTP, is the worker's affair: its task sees the process
    // exit, or its time run out.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection broke, or the worker's task has ended: there is nothing to answer.
#[derive(Debug, thiserror::Error)]
#[error("the worker is gone")]
struct Gone;

async fn respond(
    mut request: Request<Incoming>,
    calls: &mpsc::Sender<Call>,
    max_result_bytes: usize,
) -> Result<Response<Full<Bytes>>, Gone> {
    let Some(path) = Path::of(request.method(), request.uri().path()) else {
        let why = "there is no such call in the runtime api";
        return Ok(refuse(StatusCode::NOT_FOUND, "InvalidRequest", why));
    };
    let error_type = error_type(request.headers());
    let question = match path {
        Path::Next => Question::Next,
        Path::Result(id) => {
            let body = read(request.body_mut(), max_result_bytes).await.ok_or(Gone)?;
            let finish = match (body.kept, body.broken_stream) {
                (_, Some(class)) => {
                    let why = "the response stream broke off".to_owned();
                    Finish::Failure(FunctionFailure::new(&class, why))
                }
                (Some(result), None) => Finish::Result(result),
                (None, None) => Finish::TooLarge,
            };
            Question::Finish(id, finish)
        }
        Path::Failure(id) => {
            let body = read(request.body_mut(), max_result_bytes).await.ok_or(Gone)?;
            Question::Finish(id, Finish::Failure(body.into_failure(error_type)))
        }
        Path::StartFailed => {
            let body = read(request.body_mut(), max_result_bytes).await.ok_or(Gone)?;
            Question::StartFailed(body.into_failure(error_type))
        }
    };
    let (answer, answered) = oneshot::channel();
    calls.send(Call { question, answer }).await.map_err(|_| Gone)?;
    answered.await.map(respond_with).map_err(|_| Gone)
}

enum Path {
    Next,
    Result(String),
    Failure(String),
    StartFailed,
}

impl Path {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(VERSION)?.split('/');
        let parts = (parts.next()?, parts.next()?, parts.next(), parts.next());
        match (method, parts) {
            (&Method::GET, ("invocation", "next", None, None)) => Some(Self::Next),
            (&Method::POST, ("init", "error", None, None)) => Some(Self::StartFailed),
            (&Method::POST, ("invocation", id, Some("response"), None)) => {
                Some(Self::Result(id.to_owned()))
            }
            (&Method::POST, ("invocation", id, Some("error"), None)) => {
                Some(Self::Failure(id.to_owned()))
            }
            _ => None,
        }
    }
}

struct Body {
    /// The whole body; `None` where it is over the limit.
    kept: Option<Bytes>,
    /// A streamed response that failed on its way says so in its trailers.
    broken_stream: Option<String>,
}

impl Body {
    fn into_failure(self, error_type: Option<String>) -> FunctionFailure {
        let mut failure = FunctionFailure::from_payload(self.kept.unwrap_or_default());
        failure.error_type = failure.error_type.or(error_type);
        failure
    }
}

/// Reads to the end, however much that is: the worker's time is limited. `None`: it broke off.
async fn read(body: &mut Incoming, limit: usize) -> Option<Body> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    let mut size = 0_usize;
    let mut broken_stream = None;
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => {
                size = size.saturating_add(data.len());
                if size > limit {
                    (first, more) = (Bytes::new(), BytesMut::new());
                } else if first.is_empty() {
                    // Most results come in one piece, which is passed on as it is.
                    first = data;
                } else {
                    more.extend_from_slice(&data);
                }
            }
            Err(frame) => broken_stream = frame.trailers_ref().and_then(error_type),
        }
    }
    let kept = (size <= limit).then(|| {
        if more.is_empty() {
            return first;
        }
        let mut whole = BytesMut::with_capacity(size);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&more);
        whole.freeze()
    });
    Some(Body { kept, broken_stream })
}

fn error_type(headers: &HeaderMap) -> Option<String> {
    headers.get(ERROR_TYPE)?.to_str().ok().map(str::to_owned)
}

fn respond_with(answer: Answer) -> Response<Full<Bytes>> {
    match answer {
        Answer::Event(event) => event.into_response(),
        Answer::Accepted => json(StatusCode::ACCEPTED, Bytes::from_static(br#"{"status":"OK"}"#)),
        Answer::TooLarge(limit) => {
            let failure = failure::result_too_large(limit);
            json(StatusCode::PAYLOAD_TOO_LARGE, failure.payload)
        }
        Answer::UnknownId => {
            refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "no invocation has this id")
        }
        Answer::OutOfTurn => refuse(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            "this call is not possible in the worker's present state",
        ),
    }
}

impl Event {
    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = json(StatusCode::OK, self.payload);
        let headers = response.headers_mut();
        let mut put = |name, value: &str| {
            // A region or a trace id that cannot stand in a header is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("lambda-runtime-aws-request-id", &self.request_id);
        put("lambda-runtime-deadline-ms", &self.deadline_ms.to_string());
        put("lambda-runtime-invoked-function-arn", &self.function_arn);
        put("lambda-runtime-trace-id", &self.trace_id);
        response
    }
}

fn refuse(status: StatusCode, error_type: &str, why: &str) -> Response<Full<Bytes>> {
    json(status, FunctionFailure::new(error_type, why.to_owned()).payload)
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
