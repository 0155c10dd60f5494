//! A span under way.
//!
//! Holds always: a recorded span is handed over exactly once, when it ends or is dropped, whatever
//! cut it off; one that is not recorded keeps nothing but its context.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tidegate_flow::trace_context::TraceContext;
use tidegate_telemetry::{AttributeValue, Span, SpanKind};

use super::tracer::Tracer;

/// A span under way; nothing at all where traces are off.
#[derive(Default)]
pub(crate) struct OpenSpan(Option<Box<Open>>);

struct Open {
    tracer: Arc<Tracer>,
    context: TraceContext,
    /// Only where the trace is recorded.
    recorded: Option<Box<Recorded>>,
}

struct Recorded {
    span: Span,
    since: Instant,
}

/// What a span begins with.
pub(super) struct Beginning {
    pub(super) context: TraceContext,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) trace_state: String,
    pub(super) kind: SpanKind,
}

impl OpenSpan {
    /// Begins one; `name` is asked for only where it is recorded.
    pub(super) fn begin(
        tracer: &Arc<Tracer>,
        beginning: Beginning,
        name: impl FnOnce() -> String,
    ) -> Self {
        let Beginning { context, parent, trace_state, kind } = beginning;
        let recorded = context.sampled.then(|| {
            let started_ns = nanoseconds_since_1970();
            let span = Span {
                trace_id: context.trace_id,
                span_id: context.span_id,
                parent,
                trace_state,
                name: name(),
                kind,
                started_ns,
                ended_ns: started_ns,
                attributes: Vec::with_capacity(12),
                link: None,
                failed: false,
            };
            Box::new(Recorded { span, since: Instant::now() })
        });
        Self(Some(Box::new(Open { tracer: tracer.clone(), context, recorded })))
    }

    /// What a backend is told; `None` where traces are off.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.context)
    }

    /// What later traces may point at: nothing, unless it is recorded.
    pub(crate) fn to_link(&self) -> Option<Box<TraceContext>> {
        let open = self.0.as_ref()?;
        open.recorded.as_ref().map(|_| Box::new(open.context))
    }

    /// A span below this one.
    pub(super) fn child(&self, kind: SpanKind, name: impl FnOnce() -> String) -> Self {
        let Some(open) = &self.0 else { return Self::default() };
        let beginning = Beginning {
            context: open.context.child(rand::random()),
            parent: Some(open.context.span_id),
            trace_state: match &open.recorded {
                Some(recorded) => recorded.span.trace_state.clone(),
                None => String::new(),
            },
            kind,
        };
        Self::begin(&open.tracer, beginning, name)
    }

    /// Points at the span of another trace.
    pub(super) fn link(&mut self, to: Option<&TraceContext>) {
        if let (Some(recorded), Some(to)) = (self.recorded(), to) {
            recorded.span.link = Some((to.trace_id, to.span_id));
        }
    }

    /// Says `text` about it. A key is said once.
    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        if let Some(recorded) = self.recorded() {
            recorded.span.attributes.push((key, AttributeValue::Text(text.to_owned())));
        }
    }

    /// Says a figure about it. A key is said once.
    pub(super) fn number(&mut self, key: &'static str, number: impl TryInto<i64>) {
        if let Some(recorded) = self.recorded() {
            let number = number.try_into().unwrap_or(i64::MAX);
            recorded.span.attributes.push((key, AttributeValue::Number(number)));
        }
    }

    /// It failed.
    pub(super) fn fail(&mut self) {
        if let Some(recorded) = self.recorded() {
            recorded.span.failed = true;
        }
    }

    /// Whether what is said about it goes anywhere.
    pub(super) fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.recorded.is_some())
    }

    /// Ends it; there is none any more.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    fn recorded(&mut self) -> Option<&mut Recorded> {
        self.0.as_mut()?.recorded.as_deref_mut()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(recorded) = self.recorded.take() {
            let Recorded { mut span, since } = *recorded;
            // By the clock that does not jump: a span never ends before it began.
            let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            span.ended_ns = span.started_ns.saturating_add(took);
            self.tracer.hand_over(span);
        }
    }
}

fn nanoseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every message carries where traces are off: one word, and nothing behind it.
    #[test]
    fn a_span_of_no_trace_is_one_word_and_says_nothing() {
        assert_eq!(size_of::<OpenSpan>(), size_of::<usize>());
        let mut span = OpenSpan::default();
        span.text("key", "text");
        span.fail();
        let child = span.child(SpanKind::Client, || panic!("nobody asks for the name"));
        assert!(child.context().is_none() && child.to_link().is_none() && !child.is_recorded());
    }
}
