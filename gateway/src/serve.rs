//! A node from its start to its end: signals, reload, drain.

use std::{io, process::ExitCode, sync::Arc};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tidegate_edge::{DrainReport, Gateway, Heir, StartError};
use tidegate_model::{Configuration, Drain};
use tidegate_telemetry::Metrics;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{debug, error, info, warn};

use crate::{
    config::{Loaded, Source},
    exit,
};

/// A started node and what it is told by.
pub(crate) struct Served {
    gateway: Gateway,
    metrics: Arc<Metrics>,
    drain: Drain,
    runtime: Runtime,
    signals: Signals,
}

impl Served {
    /// Starts a node and says where it listens.
    pub(crate) fn start(configuration: &Configuration) -> Result<Self, StartError> {
        raise_open_files();
        // Only signals and the drain run here; each core has a thread and a runtime of its own.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        // Before anybody is told that the node is there: an early signal must not end it half-way.
        let signals = {
            let _context = runtime.enter();
            Signals::listen().map_err(StartError::Thread)?
        };
        let metrics = Metrics::new();
        let gateway = Gateway::start(configuration, metrics.clone())?;
        info!(address = %gateway.admin_address(), "admin listening");
        info!(address = %gateway.address(), tls = gateway.is_tls(), "listening");
        Ok(Self { gateway, metrics, drain: configuration.drain, runtime, signals })
    }

    /// Where clients connect.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Serves until a signal ends it. `source` is read again on SIGHUP.
    pub(crate) fn until_signalled(mut self, source: Option<&Source>) -> ExitCode {
        while let Asked::Reload = self.runtime.block_on(self.signals.next()) {
            self.reload(source);
        }
        let drained = self.runtime.block_on(async {
            tokio::select! {
                report = self.gateway.drain(self.drain) => Some(report),
                () = self.signals.end() => None,
            }
        });
        match drained {
            Some(report) => {
                info!(closed = report.closed, cut_off = report.cut_off, "drained");
                tell_what_was_cut_off(&report);
                self.gateway.stop();
                ExitCode::SUCCESS
            }
            None => {
                warn!("ended by a second signal");
                ExitCode::FAILURE
            }
        }
    }

    /// Takes the file's new text, or says why the old one stays.
    fn reload(&mut self, source: Option<&Source>) {
        let Some(source) = source else {
            info!("nothing to reload: this node runs on embedded defaults");
            return;
        };
        let loaded = match source.load() {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.metrics.reloaded(false);
                for problem in problems.iter() {
                    error!(%problem, "configuration refused, the old one stays");
                }
                return;
            }
        };
        match self.gateway.reload(&loaded.configuration) {
            Err(err) => {
                self.metrics.reloaded(false);
                let problem = exit::with_causes(&err);
                error!(problem, "configuration refused, the old one stays");
            }
            Ok(needs_restart) => {
                self.metrics.reloaded(true);
                self.drain = loaded.configuration.drain;
                for key in needs_restart {
                    warn!(key, "this change takes effect at the next start");
                }
                for warning in &loaded.warnings {
                    warn!(warning, "configuration");
                }
                info!(file = %source.path.display(), "configuration reloaded");
            }
        }
    }
}

/// What becomes of that which the drain's deadline cut off.
fn tell_what_was_cut_off(report: &DrainReport) {
    let cut_off = report.cut_off;
    match report.heir {
        _ if cut_off == 0 => {}
        Heir::Nobody => warn!(
            cut_off,
            "the drain's deadline cut off connections and calls: the $disconnects that are missing \
             are not run"
        ),
        Heir::OtherNodes => warn!(
            cut_off,
            "the drain's deadline cut off connections and calls: another node runs the \
             $disconnects that are missing, with 1006"
        ),
        Heir::OtherNodesIfTheRedisKeeps => warn!(
            cut_off,
            "the drain's deadline cut off connections and calls while the redis was away: if it \
             keeps its data, another node runs the $disconnects that are missing, with 1006; else \
             nobody does"
        ),
    }
}

/// Takes as many descriptors as the system allows: each connection needs one, and a shell's usual
/// soft limit is 1,024.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(open_files) => debug!(open_files, "limit of open files"),
        Err(err) => warn!(error = %err, "the limit of open files stays as it is"),
    }
}

/// `tidegate run`.
pub(crate) fn run_file(source: &Source, loaded: &Loaded) -> ExitCode {
    for warning in &loaded.warnings {
        warn!(warning, "configuration");
    }
    match Served::start(&loaded.configuration) {
        Ok(served) => served.until_signalled(Some(source)),
        Err(StartError::Tls(err)) => exit::refuse(&format!("{}: {err}", source.path.display())),
        Err(err) => exit::fail(&err),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

enum Asked {
    Reload,
    End,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
