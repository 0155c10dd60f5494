//! Spans in the OpenTelemetry protocol, version 1: what a collector's `/v1/traces` takes.
//!
//! In:  finished spans, and who made them.
//! Out: an `ExportTraceServiceRequest` in binary Protobuf; of the answer, how many it refused.
//!
//! The messages are those of opentelemetry-proto 1, with the fields that the gateway fills. Field
//! numbers there are stable; docs/adr/0018-traces.md says why these stand here.

use prost::Message;

use crate::{AttributeValue, Span, SpanKind};

/// What made the spans: the attributes of their resource.
#[derive(Debug, Clone)]
pub struct SpanSource {
    /// `service.name`.
    pub service_name: String,
    /// `service.instance.id`: another one for each run of a process.
    pub instance_id: String,
}

/// The body of a post to `/v1/traces`.
pub fn encode_spans(source: &SpanSource, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource {
        attributes: vec![
            text("service.name", source.service_name.clone()),
            text("service.version", version.to_owned()),
            text("service.instance.id", source.instance_id.clone()),
        ],
    };
    let scope = Scope { name: "tidegate".to_owned(), version: version.to_owned() };
    let spans = spans.iter().map(OtlpSpan::from).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans }];
    ExportRequest { resource_spans }.encode_to_vec()
}

/// How many spans the collector says that it refused, and why, in the body of a 200.
///
/// What is no such answer counts as one that refuses nothing: the status has said that it was
/// taken.
pub fn refused_spans(answer: &[u8]) -> (u64, String) {
    let partial = ExportResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    let PartialSuccess { rejected_spans, error_message } = partial.unwrap_or_default();
    (u64::try_from(rejected_spans).unwrap_or(0), error_message)
}

#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `STATUS_CODE_ERROR`.
const FAILED: i32 = 2;

/// The W3C flag "sampled", which every span that is exported has.
const SAMPLED: u32 = 1;

impl From<&Span> for OtlpSpan {
    fn from(span: &Span) -> Self {
        let kind = match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        };
        let link = |(trace_id, span_id): &([u8; 16], [u8; 8])| Link {
            trace_id: trace_id.to_vec(),
            span_id: span_id.to_vec(),
        };
        Self {
            trace_id: span.trace_id.to_vec(),
            span_id: span.span_id.to_vec(),
            trace_state: span.trace_state.clone(),
            parent_span_id: span.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name: span.name.clone(),
            kind,
            start_time_unix_nano: span.started_ns,
            end_time_unix_nano: span.ended_ns,
            attributes: span
                .attributes
                .iter()
                .map(|(key, value)| match value {
                    AttributeValue::Text(value) => text(key, value.clone()),
                    AttributeValue::Number(value) => pair(key, Value::Number(*value)),
                })
                .collect(),
            links: span.link.iter().map(link).collect(),
            status: span.failed.then_some(Status { code: FAILED }),
            flags: SAMPLED,
        }
    }
}

fn text(key: &str, value: String) -> KeyValue {
    pair(key, Value::Text(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_names_what_was_refused_and_anything_else_refuses_nothing() {
        let partial = PartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
        let answer = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(refused_spans(&answer), (3, "too old".to_owned()));
        for other in [&b""[..], b"{}", b"\xff\xff\xff"] {
            assert_eq!(refused_spans(other), (0, String::new()), "{other:?}");
        }
    }
}
