//! A collector of traces: OTLP over HTTP in binary Protobuf.
//!
//! In:  posts to `/v1/traces`, over a real socket.
//! Out: the spans in them, decoded by OpenTelemetry's own message types.
//!
//! Holds always: what is no valid post of spans fails the test that looks at the spans.

use std::{collections::BTreeMap, fmt::Write as _, future::Future};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;

use crate::{Answer, DEADLINE, HttpBackend, RecordedRequest, wait_until};

/// The collector. Dropping it closes its port.
#[derive(Debug)]
pub struct OtlpReceiver {
    http: HttpBackend,
}

/// One span, as a person reads it: ids in hex, figures as text.
#[derive(Debug, Clone)]
pub struct ReceivedSpan {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; empty for a trace's first span.
    pub parent: String,
    /// `tracestate`.
    pub trace_state: String,
    /// What was done.
    pub name: String,
    /// Whose side of a call.
    pub kind: SpanKind,
    /// How long it took, nanoseconds.
    pub took_ns: u64,
    /// By key.
    pub attributes: BTreeMap<String, String>,
    /// Trace and span id of each link.
    pub links: Vec<(String, String)>,
    /// Whether its status is an error.
    pub failed: bool,
    /// The attributes of what made it.
    pub source: BTreeMap<String, String>,
}

impl ReceivedSpan {
    /// An attribute; empty where there is none.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// The `traceparent` that a backend gets from within this span.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

impl OtlpReceiver {
    /// One that takes every span.
    pub async fn start() -> Self {
        Self::start_with(|_| std::future::ready(Self::taken())).await
    }

    /// One that answers posts as `handler` says.
    pub async fn start_with<H, F>(handler: H) -> Self
    where
        H: Fn(RecordedRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self { http: HttpBackend::start(handler).await }
    }

    /// The answer of a collector that has taken everything.
    pub fn taken() -> Answer {
        answer(&ExportTraceServiceResponse::default())
    }

    /// The answer of a collector that refuses so many of the spans.
    pub fn refusing(spans: i64, why: &str) -> Answer {
        let partial =
            ExportTracePartialSuccess { rejected_spans: spans, error_message: why.to_owned() };
        answer(&ExportTraceServiceResponse { partial_success: Some(partial) })
    }

    /// What stands in `otlp_endpoint`.
    pub fn url(&self) -> String {
        self.http.url()
    }

    /// The server underneath.
    pub fn http(&self) -> &HttpBackend {
        &self.http
    }

    /// Every span so far.
    ///
    /// # Panics
    /// When a post is not what a collector takes.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.http.requests().iter().flat_map(spans_of).collect()
    }

    /// The spans called `name`, once there are `count` of them.
    ///
    /// # Panics
    /// When they do not come within [`DEADLINE`].
    pub async fn wait_for(&self, name: &str, count: usize) -> Vec<ReceivedSpan> {
        let named = || self.spans().into_iter().filter(|span| span.name == name);
        let what = format!("{count} spans {name:?}");
        wait_until(DEADLINE, &what, async || named().count() >= count).await;
        named().collect()
    }

    /// The first span called `name`, waited for.
    ///
    /// # Panics
    /// As [`Self::wait_for`].
    pub async fn span(&self, name: &str) -> ReceivedSpan {
        self.wait_for(name, 1).await.remove(0)
    }
}

fn answer(response: &ExportTraceServiceResponse) -> Answer {
    Answer::body_of(response.encode_to_vec()).header("content-type", "application/x-protobuf")
}

fn spans_of(request: &RecordedRequest) -> Vec<ReceivedSpan> {
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    let export = ExportTraceServiceRequest::decode(&request.body[..]).expect("spans in Protobuf");
    let mut spans = Vec::new();
    for of_resource in export.resource_spans {
        let source = attributes(of_resource.resource.expect("a resource").attributes);
        for of_scope in of_resource.scope_spans {
            spans.extend(of_scope.spans.into_iter().map(|span| received(span, source.clone())));
        }
    }
    spans
}

fn received(span: Span, source: BTreeMap<String, String>) -> ReceivedSpan {
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "{span:?}");
    let took = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano);
    ReceivedSpan {
        kind: span.kind(),
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        trace_state: span.trace_state,
        name: span.name,
        took_ns: took.expect("a span ends after its start"),
        attributes: attributes(span.attributes),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
        source,
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let count = pairs.len();
    let text = |value: Option<AnyValue>| match value.and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("a text or a figure, not {other:?}"),
    };
    let all: BTreeMap<_, _> = pairs.into_iter().map(|pair| (pair.key, text(pair.value))).collect();
    assert_eq!(all.len(), count, "each attribute comes once: {all:?}");
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
