//! What the gateway logs of functions' output, for the whole test process.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// One line that a worker printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub(crate) function: String,
    pub(crate) worker: String,
    pub(crate) text: String,
    pub(crate) level: &'static str,
}

/// The lines so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// The lines of `function`.
    pub(crate) fn of(&self, function: &str) -> Vec<Line> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.function == function).cloned().collect()
    }
}

/// Captures from now on; workers have threads of their own, so it is for all threads.
pub(crate) fn start() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        tracing::subscriber::set_global_default(Capture(log.clone())).unwrap();
        log
    })
    .clone()
}

struct Capture(Log);

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "function"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { level: event.metadata().level().as_str(), ..Line::default() };
        event.record(&mut line);
        self.0.0.lock().unwrap().push(line);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "function" => self.function = value.trim_matches('"').to_owned(),
            "worker" => self.worker = value,
            "line" => self.text = value,
            _ => {}
        }
    }
}
