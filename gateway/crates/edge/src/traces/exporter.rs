//! Finished spans, to a collector: OTLP over HTTP, by a thread of its own.
//!
//! In:  spans of all cores, in a bounded queue.
//! Out: posts to `/v1/traces`; a count of what became of each span.
//!
//! Holds always: each span is counted once: exported, rejected, failed or dropped; a post, its
//! repetitions and the end are bounded in time; the answer is bounded in bytes; a collector that
//! is away is logged once, and once when it is back.

use std::{io, mem, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tidegate_integrations::{BackendPools, BackendTls, IntegrationError, PoolLimits};
use tidegate_model::{BackendUri, Traces};
use tidegate_telemetry::{
    Metrics, Span, SpanCounters, SpanOutcome, SpanSource, encode_spans, refused_spans,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use super::tracer::{BATCH, MAX_WAITING, Tracer};

/// How long a span waits for others at most, while the collector keeps up.
const GATHERING: Duration = Duration::from_secs(1);

/// One post, its answer included.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// The wait before each repetition of a post; about, so that nodes do not come back together.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The exporter's thread.
pub(crate) struct Exporter {
    /// The deadline, once it shall end.
    end: watch::Sender<Option<Instant>>,
    /// Closed when it has ended.
    ended: watch::Receiver<()>,
}

/// What the thread has.
struct Work {
    endpoint: BackendUri,
    headers: HeaderMap,
    source: SpanSource,
    pools: BackendPools,
    waiting: mpsc::Receiver<Span>,
    batch_waits: Arc<Notify>,
    counters: SpanCounters,
    /// Taken, and not yet counted.
    batch: Vec<Span>,
    /// The last post failed, and that was logged.
    is_failing: bool,
}

/// Why a post did not do.
enum NotTaken {
    /// It may be taken later.
    Later(String),
    /// It would never be.
    Never(String),
}

impl Exporter {
    /// Starts the thread; gives the tracer that feeds it.
    pub(crate) fn start(
        settings: &Traces,
        metrics: &Metrics,
        tls: BackendTls,
    ) -> io::Result<(Arc<Tracer>, Self)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, waiting) = mpsc::channel(MAX_WAITING);
        let batch_waits = Arc::new(Notify::new());
        let counters = metrics.trace_spans();
        let tracer = Tracer::new(settings, sender, batch_waits.clone(), counters.clone());
        let (end, ending) = watch::channel(None);
        let (alive, ended) = watch::channel(());
        let work = Work {
            endpoint: settings.endpoint.clone(),
            headers: headers(settings),
            source: SpanSource {
                service_name: settings.service_name.clone(),
                instance_id: format!("{:032x}", rand::random::<u128>()),
            },
            pools: BackendPools::new(PoolLimits::default(), tls),
            waiting,
            batch_waits,
            counters,
            batch: Vec::with_capacity(BATCH),
            is_failing: false,
        };
        thread::Builder::new().name("traces".to_owned()).spawn(move || {
            runtime.block_on(work.run(ending));
            drop(alive);
        })?;
        Ok((Arc::new(tracer), Self { end, ended }))
    }

    /// Sends what waits, and ends, both by `deadline`; spans that come later are dropped.
    pub(crate) async fn end(&self, deadline: Instant) {
        self.end.send_replace(Some(deadline));
        let mut ended = self.ended.clone();
        // An error is the end that is waited for.
        let _ = timeout_at(deadline, ended.changed()).await;
    }
}

/// The headers of every post.
fn headers(settings: &Traces) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, secret) in &settings.headers {
        let mut value = HeaderValue::from_str(secret.reveal())
            .expect("the configuration's check has tried each value");
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(agent));
    headers
}

impl Work {
    async fn run(mut self, mut ending: watch::Receiver<Option<Instant>>) {
        let deadline = tokio::select! {
            deadline = async { ending.wait_for(Option::is_some).await.ok().and_then(|set| *set) } => {
                deadline
            }
            () = self.export_for_ever() => None,
        };
        // Without a deadline nobody waits: the node did not start, or is stopped without a drain.
        if let Some(deadline) = deadline {
            self.flush(deadline).await;
        }
        self.waiting.close();
        while let Ok(span) = self.waiting.try_recv() {
            self.batch.push(span);
        }
        self.count(SpanOutcome::Dropped, self.batch.len() as u64);
    }

    async fn export_for_ever(&mut self) {
        loop {
            self.gather().await;
            self.deliver().await;
        }
    }

    /// Waits for a batch: one that is full, or what has come a while after the first span.
    async fn gather(&mut self) {
        match self.waiting.recv().await {
            Some(span) => self.batch.push(span),
            // Every sender is gone; whoever holds the exporter ends it.
            None => std::future::pending().await,
        }
        // Nobody waits at the queue meanwhile, so that cores need not wake this thread for each.
        tokio::select! {
            () = sleep(GATHERING) => {}
            () = self.batch_waits.notified() => {}
        }
        self.take();
    }

    fn take(&mut self) {
        while self.batch.len() < BATCH
            && let Ok(span) = self.waiting.try_recv()
        {
            self.batch.push(span);
        }
    }

    /// Posts the batch until it is taken, is refused for good, or was tried often enough.
    async fn deliver(&mut self) {
        let body = Bytes::from(encode_spans(&self.source, &self.batch));
        let mut pauses = PAUSES.into_iter();
        loop {
            let posted = self.post(body.clone()).await;
            if let Err(NotTaken::Later(error)) = &posted {
                self.log_failure(error);
                if let Some(pause) = pauses.next() {
                    sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    continue;
                }
            }
            return self.settle(posted);
        }
    }

    /// One try for each batch that is left.
    async fn flush(&mut self, deadline: Instant) {
        loop {
            self.take();
            if self.batch.is_empty() {
                return;
            }
            let body = Bytes::from(encode_spans(&self.source, &self.batch));
            match timeout_at(deadline, self.post(body)).await {
                Ok(posted) => {
                    let is_away = matches!(posted, Err(NotTaken::Later(_)));
                    self.settle(posted);
                    if is_away {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// How many of the batch were refused.
    async fn post(&self, body: Bytes) -> Result<u64, NotTaken> {
        let posted =
            self.pools.post(&self.endpoint, &self.headers, body, MAX_ANSWER_BYTES, POST_TIMEOUT);
        let answer = posted.await.map_err(|error| NotTaken::Later(with_cause(&error)))?;
        let status = answer.status();
        let told = || format!("the collector answered {status}");
        match status {
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                let (refused, why) = refused_spans(answer.body());
                if refused > 0 {
                    warn!(spans = refused, why, "the collector refused spans");
                }
                Ok(refused)
            }
            // OTLP 1, failures that may be repeated.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(NotTaken::Later(told())),
            _ => Err(NotTaken::Never(told())),
        }
    }

    /// Counts the batch by what became of it, and is done with it.
    fn settle(&mut self, posted: Result<u64, NotTaken>) {
        let spans = mem::take(&mut self.batch).len() as u64;
        match posted {
            Ok(refused) => {
                let refused = refused.min(spans);
                self.count(SpanOutcome::Rejected, refused);
                self.count(SpanOutcome::Exported, spans - refused);
                if mem::take(&mut self.is_failing) {
                    info!("traces are exported again");
                }
            }
            Err(NotTaken::Never(error)) => {
                self.count(SpanOutcome::Rejected, spans);
                self.log_failure(&error);
            }
            Err(NotTaken::Later(error)) => {
                self.count(SpanOutcome::Failed, spans);
                self.log_failure(&error);
            }
        }
    }

    fn count(&self, outcome: SpanOutcome, spans: u64) {
        self.counters.count(outcome, spans);
    }

    fn log_failure(&mut self, error: &str) {
        if !mem::replace(&mut self.is_failing, true) {
            let collector = &self.endpoint.authority;
            warn!(collector, error, "traces cannot be exported");
        }
    }
}

fn with_cause(error: &IntegrationError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
