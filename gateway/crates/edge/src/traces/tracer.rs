//! Which traces there are, and which of them are recorded.
//!
//! In:  what a caller says of its own trace, and whether that is believed; the configured ratio.
//! Out: open spans; finished ones in the exporter's queue.
//!
//! Holds always: nobody who is not believed can have a trace recorded or join one; a full queue
//! costs spans, which are counted, and never time.

use std::sync::Arc;

use tidegate_flow::trace_context::{SampleRatio, TraceContext, trace_state};
use tidegate_model::Traces;
use tidegate_telemetry::{Span, SpanCounters, SpanKind, SpanOutcome};
use tokio::sync::{Notify, mpsc};

use super::open_span::{Beginning, OpenSpan};
use crate::{http::head::Head, websocket::now_ms};

/// Spans that may wait for the exporter. Each is bounded: its name and its texts are the
/// configuration's, or ids.
pub(super) const MAX_WAITING: usize = 4096;

/// Spans of one post.
pub(super) const BATCH: usize = 512;

/// See the module.
pub(crate) struct Tracer {
    ratio: SampleRatio,
    trusts_clients: bool,
    waiting: mpsc::Sender<Span>,
    /// Rung when a whole batch waits.
    batch_waits: Arc<Notify>,
    counters: SpanCounters,
}

/// The trace of whoever calls, where it is believed.
#[derive(Debug)]
pub(crate) struct Upstream {
    context: TraceContext,
    state: Option<String>,
}

impl Upstream {
    /// What a request says, if it says something valid.
    pub(super) fn of(head: &Head<'_, '_>) -> Option<Self> {
        let mut parents = head.values("traceparent");
        let parent = parents.next().filter(|_| parents.next().is_none())?;
        let context = TraceContext::parse(std::str::from_utf8(parent).ok()?.trim())?;
        Some(Self { context, state: trace_state(head.values("tracestate")) })
    }

    /// Its `tracestate`, to be passed on.
    pub(crate) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl Tracer {
    pub(super) fn new(
        settings: &Traces,
        waiting: mpsc::Sender<Span>,
        batch_waits: Arc<Notify>,
        counters: SpanCounters,
    ) -> Self {
        Self {
            ratio: SampleRatio::new(settings.sample_ratio),
            trusts_clients: settings.trust_client_context,
            waiting,
            batch_waits,
            counters,
        }
    }

    /// The trace that an upgrade request belongs to, where clients are believed.
    pub(crate) fn of_client(&self, head: &Head<'_, '_>) -> Option<Upstream> {
        if self.trusts_clients { Upstream::of(head) } else { None }
    }

    /// The first span here of a trace: the caller's, or a new one.
    pub(super) fn begin(
        self: &Arc<Self>,
        kind: SpanKind,
        upstream: Option<&Upstream>,
        name: impl FnOnce() -> String,
    ) -> OpenSpan {
        let beginning = match upstream {
            Some(Upstream { context, state }) => Beginning {
                context: context.child(rand::random()),
                parent: Some(context.span_id),
                trace_state: state.clone().unwrap_or_default(),
                kind,
            },
            None => {
                // The low half of the seconds until 2106, as Amazon's ids have it.
                let now_s = u32::try_from(now_ms() / 1000).unwrap_or(u32::MAX);
                Beginning {
                    context: TraceContext::root(now_s, rand::random(), self.ratio),
                    parent: None,
                    trace_state: String::new(),
                    kind,
                }
            }
        };
        OpenSpan::begin(self, beginning, name)
    }

    /// Takes a finished span, or counts it as dropped. Never waits.
    pub(super) fn hand_over(&self, span: Span) {
        if self.waiting.try_send(span).is_err() {
            self.counters.count(SpanOutcome::Dropped, 1);
        } else if self.waiting.capacity() <= MAX_WAITING - BATCH {
            self.batch_waits.notify_one();
        }
    }
}
