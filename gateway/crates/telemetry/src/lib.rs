//! What can be seen from outside: metrics, logs, access logs, spans of traces.
//!
//! In:  counts, durations and finished lines from the rest of the gateway.
//! Out: the text of `/metrics`, log events on stderr, lines in access log files, spans as a
//!      collector takes them.
//!
//! Holds always: label values come from the configuration or from lists in the code, never from a
//! payload, a path or an id; a slow disk never holds a connection.

mod access_log;
mod bus;
mod function_workers;
mod logging;
mod metrics;
mod otlp;
mod process;
mod span;

pub use access_log::{AccessLog, AccessLogError};
pub use bus::BusFigures;
pub use function_workers::FunctionWorkers;
pub use logging::{LogFormat, LoggingError, start_logging};
pub use metrics::{
    ClientErrorKind, ConnectOutcome, DisconnectCause, DroppedCause, ManagementOperation, Metrics,
    OpenConnection, RouteMetrics, SpanCounters, SpanOutcome, StageMetrics,
};
pub use otlp::{SpanSource, encode_spans, refused_spans};
pub use span::{AttributeValue, Span, SpanKind};
