//! The edge: listeners, the WebSocket edge and the management API.
//!
//! In:  a checked configuration; sockets of clients and backends.
//! Out: answers, frames, calls of integrations.
//!
//! ```text
//! socket ── core's listener ── HTTP head ──┬─ upgrade ── $connect ── 101 ── session task
//!                                          ├─ @connections ── store ── send queue ── socket
//!                                          └─ admin: metrics, health
//! ```
//!
//! Each core is one thread with a single-threaded runtime, its own listener on the shared port,
//! its own backend connections and its own timers. The store is shared: a post for another core's
//! connection is written to the socket by the thread that took the post.

mod admin;
mod admission;
mod adoption;
mod bus_figures;
mod cluster;
mod core_state;
mod development_authority;
mod drain;
mod http;
mod lifecycle_gate;
mod listener;
mod local_workers;
mod management;
mod node;
mod snapshot;
mod tls;
mod traces;
mod transport;
mod websocket;

use std::{io, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread};

use arc_swap::ArcSwap;
use tidegate_flow::session::{End, EndCause};
use tidegate_integrations::BackendTls;
use tidegate_model::{Configuration, Drain, ListenSection, Store, Traces};
use tidegate_telemetry::Metrics;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, timeout_at},
};

pub use cluster::StoreError;
pub use development_authority::{
    AuthorityError, DevelopmentAuthority, development_names, state_folders,
};
pub use drain::{DrainReport, Heir};
pub use local_workers::WorkersError;
pub use snapshot::CompileError;
pub use tls::{TlsError, load_tls};

use crate::{
    core_state::Core, http::exchange::Port, local_workers::LocalWorkers, node::Node, tls::PortTls,
    traces::Exporter,
};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("listen on {address} ({key})")]
    Listen {
        /// `listen.address` or `admin.address`.
        key: &'static str,
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configuration does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Local functions.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// What nodes share.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A core's thread does not start.
    #[error("start a thread")]
    Thread(#[source] io::Error),
}

/// Why a reload was refused; the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// TLS files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configuration does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Local functions.
    #[error(transparent)]
    Workers(#[from] WorkersError),
}

/// A running node.
pub struct Gateway {
    node: Arc<Node>,
    address: SocketAddr,
    admin_address: SocketAddr,
    listen: ListenSection,
    admin: SocketAddr,
    store: Store,
    tls: Arc<ArcSwap<PortTls>>,
    workers: LocalWorkers,
    traces: Option<(Traces, Exporter)>,
    /// Region and account that workers were told.
    aws: (String, String),
    life: watch::Sender<Life>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What the cores are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Accepting,
    Draining,
    Over,
}

impl Gateway {
    /// Starts one core per processor that this process may use.
    pub fn start(configuration: &Configuration, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        let listen = &configuration.listen;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let bind =
            |key: &'static str, address: SocketAddr, count: usize| {
                let sockets = listener::bind(address, count)
                    .map_err(|source| StartError::Listen { key, address, source })?;
                let bound = sockets[0].local_addr().map_err(|source| StartError::Listen {
                    key,
                    address,
                    source,
                })?;
                Ok::<_, StartError>((sockets, bound))
            };
        let (sockets, address) = bind("listen.address", listen.address, cores)?;
        let (mut admin_sockets, admin_address) = bind("admin.address", configuration.admin, 1)?;
        let workers = LocalWorkers::new(address.port());
        let functions = workers.functions(configuration, None)?;
        let development = workers.tls(configuration).map_err(WorkersError::from)?;
        let tls = PortTls::of(listen.tls.as_ref(), development)?;
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let worker_key = workers.key().clone();
        let backend_tls = BackendTls::native();
        let (tracer, traces) = match &configuration.traces {
            None => (None, None),
            Some(settings) => {
                let (tracer, exporter) = Exporter::start(settings, &metrics, backend_tls.clone())
                    .map_err(StartError::Thread)?;
                (Some(tracer), Some((settings.clone(), exporter)))
            }
        };
        let node = Node::new(configuration, metrics, functions.clone(), worker_key, tracer)?;
        let (life, alive) = watch::channel(Life::Accepting);
        let mut threads = Vec::with_capacity(cores);
        for (index, socket) in sockets.into_iter().enumerate() {
            let core = Core::new(node.clone(), backend_tls.clone());
            let ports = CoreListeners {
                public: socket,
                // Scrapes, probes and upkeep are few; one core sees to them.
                admin: admin_sockets.pop(),
                tls: tls.clone(),
            };
            let alive = alive.clone();
            let thread = thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || run_core(Arc::new(core), ports, alive))
                .map_err(StartError::Thread)?;
            threads.push(thread);
        }
        // Last: a worker that is warm at once may call as soon as it runs.
        functions.reload(&configuration.functions).map_err(WorkersError::Thread)?;
        Ok(Self {
            node,
            address,
            admin_address,
            listen: listen.clone(),
            admin: configuration.admin,
            store: configuration.store.clone(),
            tls,
            workers,
            traces,
            aws: aws_of(configuration),
            life,
            threads,
        })
    }

    /// Where clients and backends connect; the port is the one that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Whether the public port speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.listen.tls.is_some()
    }

    /// Swaps the configuration, or keeps the old one. No connection is dropped but those of
    /// stages that are gone. Names what needs a restart to take effect.
    pub fn reload(&self, configuration: &Configuration) -> Result<Vec<&'static str>, ReloadError> {
        let mut needs_restart = Vec::new();
        if configuration.listen.address != self.listen.address {
            needs_restart.push("listen.address");
        }
        if configuration.listen.tls.is_some() != self.listen.tls.is_some() {
            needs_restart.push("listen.tls");
        }
        if configuration.admin != self.admin {
            needs_restart.push("admin.address");
        }
        if configuration.store != self.store {
            needs_restart.push("store");
        }
        if configuration.traces.as_ref() != self.traces.as_ref().map(|(settings, _)| settings) {
            needs_restart.push("tracing");
        }
        let running = self.node.functions();
        if !running.counts().is_empty() && self.aws != aws_of(configuration) {
            needs_restart.push("aws.region and aws.account_id, for local functions");
        }
        let functions = self.workers.functions(configuration, Some(running))?;
        let renewed = if needs_restart.contains(&"listen.tls") {
            None
        } else {
            let development = self.workers.tls(configuration).map_err(WorkersError::from)?;
            Some(PortTls::of(configuration.listen.tls.as_ref(), development)?)
        };
        let snapshot = self.node.compile(configuration, &functions)?;
        // From here on nothing may fail but for want of a thread, and then nothing has changed.
        functions.reload(&configuration.functions).map_err(WorkersError::Thread)?;
        self.node.swap(snapshot, functions);
        if let Some(cluster) = self.node.cluster() {
            cluster.reloaded();
        }
        if let Some(tls) = renewed {
            self.tls.store(Arc::new(tls));
        }
        let snapshot = self.node.snapshot();
        for connection in self.node.store().local() {
            if !snapshot.serves(connection.stage) {
                connection.order_close(End::going_away(EndCause::StageRemoved));
            } else if connection.is_accepted() && websocket::has_disconnect(&snapshot, &connection)
            {
                // Perhaps only since this reload.
                connection.keep_facts();
            }
        }
        Ok(needs_restart)
    }

    /// Stops accepting, closes the clients, waits for what is under way until the deadline.
    pub async fn drain(&self, settings: Drain) -> DrainReport {
        let deadline = Instant::now() + settings.deadline;
        self.node.begin_drain();
        // The receivers are gone only if every core has died, and then there is nothing to stop.
        let _ = self.life.send(Life::Draining);
        let (closed, cut_off) = drain::run(&self.node, settings).await;
        // What was cut off is another node's from now on.
        let leaving = async {
            let Some(cluster) = self.node.cluster() else { return Heir::Nobody };
            let is_there = self.node.store().delivers();
            // A Redis that does not answer would take longer than is left.
            match timeout_at(deadline, cluster.store.leave_cluster()).await {
                Ok(()) if is_there => Heir::OtherNodes,
                _ => Heir::OtherNodesIfTheRedisKeeps,
            }
        };
        let functions = self.node.functions();
        // Their guardian ends the workers that are left after that.
        let stopping = timeout_at(deadline, functions.stop());
        let (heir, _) = tokio::join!(leaving, stopping);
        if let Some((_, exporter)) = &self.traces {
            exporter.end(deadline).await;
        }
        DrainReport { closed, cut_off, heir }
    }

    /// Ends the cores' threads. What is still under way is cut off.
    pub fn stop(self) {
        let _ = self.life.send(Life::Over);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// What the workers of local functions are told.
fn aws_of(configuration: &Configuration) -> (String, String) {
    (configuration.aws.region.clone(), configuration.aws.account_id.clone())
}

/// What one core listens on.
struct CoreListeners {
    public: std::net::TcpListener,
    admin: Option<std::net::TcpListener>,
    tls: Arc<ArcSwap<PortTls>>,
}

/// A core's thread, from start to end.
fn run_core(core: Arc<Core>, listeners: CoreListeners, mut alive: watch::Receiver<Life>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs an epoll and an event descriptor, taken at the start");
    runtime.block_on(async move {
        tokio::spawn(core.clone().turn_wheel());
        if let Some(admin) = listeners.admin {
            tokio::spawn(core.node.clone().shrink_now_and_then());
            tokio::spawn(cluster::tell(core.node.clone()));
            tokio::spawn(adoption::adopt(core.clone()));
            let keeper = core.clone();
            tokio::spawn(async move { keeper.node.jwt_keys.keep_fresh(&keeper.pools).await });
            let plain = Arc::new(ArcSwap::from_pointee(PortTls::Plain));
            match TcpListener::from_std(admin) {
                Ok(listener) => {
                    tokio::spawn(listener::accept(core.clone(), Port::Admin, listener, plain));
                }
                Err(err) => tracing::error!(error = %err, "the admin port does not work"),
            }
        }
        let accepting = match TcpListener::from_std(listeners.public) {
            Ok(listener) => {
                tokio::spawn(listener::accept(core, Port::Public, listener, listeners.tls))
            }
            Err(err) => return tracing::error!(error = %err, "the public port does not work"),
        };
        // The sender lives in `Gateway`; when that is dropped, it is over too.
        if alive.wait_for(|life| *life != Life::Accepting).await.is_ok() {
            accepting.abort();
            let _ = alive.wait_for(|life| *life == Life::Over).await;
        }
    });
    runtime.shutdown_background();
}
