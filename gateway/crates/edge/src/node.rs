//! One node: what all its cores share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use connection_store::{ConnectionStore, Lease, MemoryStore};
use parking_lot::Mutex;
use tidegate_authorizers::jwt::JwtKeyCache;
use tidegate_integrations::LocalFunctions;
use tidegate_model::{AccessKey, Configuration, Store};
use tidegate_telemetry::Metrics;
use tokio::time::MissedTickBehavior;

use crate::{
    StartError,
    admission::Clients,
    cluster::Cluster,
    snapshot::{CompileError, Compiler, Registry, Snapshot},
    traces::Tracer,
    websocket::Connection,
};

/// What all cores of a node share.
pub(crate) struct Node {
    snapshot: ArcSwap<Snapshot>,
    registry: Registry,
    store: Arc<dyn ConnectionStore<Connection>>,
    /// The same store, where it is shared with other nodes.
    cluster: Option<Cluster>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clients: Arc<Clients>,
    /// The keys that tokens are signed with, by issuer.
    pub(crate) jwt_keys: JwtKeyCache,
    /// What the workers of local functions sign with; nobody else knows it.
    pub(crate) worker_key: AccessKey,
    /// `None` where traces are off.
    pub(crate) tracer: Option<Arc<Tracer>>,
    functions: Mutex<Arc<LocalFunctions>>,
    phase: AtomicU8,
    /// Calls of integrations under way, `$connect` and `$disconnect` included.
    running: AtomicUsize,
    started: Instant,
}

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving = 0,
    Draining = 1,
}

impl Node {
    pub(crate) fn new(
        configuration: &Configuration,
        metrics: Arc<Metrics>,
        functions: Arc<LocalFunctions>,
        worker_key: AccessKey,
        tracer: Option<Arc<Tracer>>,
    ) -> Result<Arc<Self>, StartError> {
        let registry = Registry::default();
        let jwt_keys = JwtKeyCache::new();
        let compiler = Compiler {
            registry: &registry,
            metrics: &metrics,
            functions: &functions,
            jwt_keys: &jwt_keys,
        };
        let snapshot = Snapshot::compile(configuration, None, &compiler)?;
        let cluster = match &configuration.store {
            Store::Memory => None,
            Store::Redis(settings) => Some(Cluster::start(settings)?),
        };
        let store: Arc<dyn ConnectionStore<Connection>> = match &cluster {
            Some(cluster) => cluster.store.clone(),
            // A send to many lets the core's sockets have their turn in between.
            None => Arc::new(MemoryStore::new().pausing_by(|| Box::pin(tokio::task::yield_now()))),
        };
        Ok(Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            registry,
            store,
            cluster,
            metrics,
            clients: Arc::default(),
            jwt_keys,
            worker_key,
            tracer,
            functions: Mutex::new(functions),
            phase: AtomicU8::new(Phase::Serving as u8),
            running: AtomicUsize::new(0),
            started: Instant::now(),
        }))
    }

    /// The configuration of this moment. Not to be held over an await.
    pub(crate) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Compiles a configuration whose local functions are `functions`. Nothing changes yet.
    pub(crate) fn compile(
        &self,
        configuration: &Configuration,
        functions: &Arc<LocalFunctions>,
    ) -> Result<Snapshot, CompileError> {
        let previous = self.snapshot();
        let compiler = Compiler {
            registry: &self.registry,
            metrics: &self.metrics,
            functions,
            jwt_keys: &self.jwt_keys,
        };
        Snapshot::compile(configuration, Some(&previous), &compiler)
    }

    /// Serves `snapshot`, which was compiled with `functions`, from now on.
    pub(crate) fn swap(&self, snapshot: Snapshot, functions: Arc<LocalFunctions>) {
        self.snapshot.store(Arc::new(snapshot));
        *self.functions.lock() = functions;
        self.registry.reopen_access_logs();
    }

    /// The functions whose workers this node runs.
    pub(crate) fn functions(&self) -> Arc<LocalFunctions> {
        self.functions.lock().clone()
    }

    pub(crate) fn store(&self) -> &dyn ConnectionStore<Connection> {
        &*self.store
    }

    /// What this node has to do with others; `None` where it is alone.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Gives back the memory of peaks, for as long as the runtime lives.
    pub(crate) async fn shrink_now_and_then(self: Arc<Self>) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            minutes.tick().await;
            self.store.shrink();
        }
    }

    /// Whether this node should get new connections: it is not draining and may deliver.
    pub(crate) fn readiness(&self) -> Result<(), &'static str> {
        if self.phase() == Phase::Draining {
            return Err("draining");
        }
        match self.store.lease() {
            Lease::Unbounded => Ok(()),
            Lease::Until(end) if end > Instant::now() => match self.store.delivers() {
                true => Ok(()),
                false => Err("the redis does not deliver"),
            },
            Lease::Until(_) | Lease::Lost => Err("the node holds no lease in the redis"),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.phase.load(Ordering::Acquire) == Phase::Serving as u8 {
            Phase::Serving
        } else {
            Phase::Draining
        }
    }

    pub(crate) fn begin_drain(&self) {
        self.phase.store(Phase::Draining as u8, Ordering::Release);
        if let Some(cluster) = &self.cluster {
            // Nodes that die from now on are for those who stay.
            cluster.store.leave_off();
        }
        self.metrics.drain_started();
    }

    /// Nanoseconds since the node started: what token buckets count in.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Integration calls under way.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Counts a call as under way until the guard drops, so that a drain waits for it.
    pub(crate) fn begin_run(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(self.clone())
    }
}

/// One call under way.
#[must_use]
pub(crate) struct Running(Arc<Node>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}
