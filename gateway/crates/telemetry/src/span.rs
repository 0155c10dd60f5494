//! One finished span of a trace.
//!
//! Holds always: an attribute's key is a constant of the gateway's, and its value comes from the
//! configuration, from an id, or is a figure: never of a payload, a token or a query.

/// What was done, when, within what, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Names the trace.
    pub trace_id: [u8; 16],
    /// Names the span.
    pub span_id: [u8; 8],
    /// The span above; `None` for a trace's first.
    pub parent: Option<[u8; 8]>,
    /// The `tracestate` of whoever began the trace; empty without one.
    pub trace_state: String,
    /// What was done, of few values: `message join`.
    pub name: String,
    /// Whose side of a call it is.
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub started_ns: u64,
    /// Nanoseconds since 1970, not before the start.
    pub ended_ns: u64,
    /// Keys are unique.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// A span of another trace that this one belongs to: trace and span id.
    pub link: Option<([u8; 16], [u8; 8])>,
    /// Whether it failed, as OpenTelemetry counts it: a client's own fault does not fail what
    /// serves it.
    pub failed: bool,
}

/// Whose side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// No call.
    Internal,
    /// Somebody called the gateway.
    Server,
    /// The gateway called somebody.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// A figure.
    Number(i64),
}
