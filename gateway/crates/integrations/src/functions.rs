//! Local functions: unmodified Lambda handlers, in worker processes that the gateway runs itself.
//!
//! In:  the settings of `[functions.<name>]`; one event per invocation, from any core.
//! Out: the function's result, or an [`IntegrationError`] in Lambda's words.
//!
//! ```text
//! any core ── invoke ──► supervisor ──► worker ◄── Runtime API ──► process: a runtime client with
//!    ▲                   (pool: who     │ (its own loopback port)  a handler in it
//!    │                    is next)      │
//!    └────── result ────────────────────┘
//! ```
//!
//! One thread with a runtime of its own has all supervisors and workers: a function's workers are
//! the node's, not a core's. It does not exist before there is a function.
//!
//! Holds always: a worker has one invocation at a time; what waits is bounded; an invocation whose
//! caller has gone while it waited is not handed over; one that was handed over ends within the
//! function's timeout, whether its caller waits or not; no worker outlives the gateway.

mod failure;
mod guardian;
mod invocation;
mod node;
mod output;
mod pool;
mod preload;
mod runtime_api;
mod supervisor;
mod surroundings;
mod watch;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::RwLock;
use tidegate_model::LocalFunction;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

pub use node::FunctionLimits;
pub use surroundings::WorkerSurroundings;

use crate::{
    IntegrationError,
    functions::{
        guardian::Guardian,
        invocation::Invocation,
        node::Node,
        supervisor::{Change, Counters, Inbox, not_found},
    },
};

/// All local functions of a node. Shared by all cores.
///
/// Dropping it ends the workers as [`Self::stop`] does, without waiting for them.
#[derive(Debug)]
pub struct LocalFunctions {
    limits: FunctionLimits,
    surroundings: WorkerSurroundings,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    functions: HashMap<String, Running>,
    /// The lines to supervisors of removed functions, whose last invocations are still in flight.
    leaving: Vec<mpsc::UnboundedSender<Change>>,
    thread: Option<Thread>,
    stopped: bool,
}

/// A function and the lines to its supervisor.
#[derive(Debug)]
struct Running {
    settings: LocalFunction,
    invocations: mpsc::Sender<Invocation>,
    changes: mpsc::UnboundedSender<Change>,
    counters: Arc<Counters>,
}

/// The thread on which workers are seen to.
#[derive(Debug)]
struct Thread {
    runtime: runtime::Handle,
    node: Arc<Node>,
    /// Each supervisor has a clone: the thread ends when the last one is dropped.
    alive: mpsc::Sender<Infallible>,
    ended: oneshot::Receiver<()>,
    join: thread::JoinHandle<()>,
}

/// What the workers of one function did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCounts {
    /// The function's name.
    pub function: String,
    /// Processes that run now.
    pub workers: usize,
    /// Starts of workers since the function was configured, tried ones too.
    pub starts: u64,
    /// Workers that ended otherwise than by being told to: failed starts, exits, timeouts.
    pub crashes: u64,
}

impl LocalFunctions {
    /// Starts the `functions` with their `min_workers`. Without functions it starts nothing.
    ///
    /// # Errors
    /// The system gives no thread, or no runtime.
    pub fn start(
        functions: &[LocalFunction],
        surroundings: WorkerSurroundings,
        limits: FunctionLimits,
    ) -> io::Result<Arc<Self>> {
        let all = Self { limits, surroundings, state: RwLock::default() };
        all.reload(functions)?;
        Ok(Arc::new(all))
    }

    /// Takes new settings. Functions that are as before keep their workers; of those that changed,
    /// each worker is replaced after its invocation in flight; those that are missing end, after
    /// their invocations in flight.
    ///
    /// # Errors
    /// As [`Self::start`], where these are the first functions. Nothing has changed then.
    pub fn reload(&self, functions: &[LocalFunction]) -> io::Result<()> {
        let mut state = self.state.write();
        if state.stopped {
            return Ok(());
        }
        if state.thread.is_none() && !functions.is_empty() {
            state.thread = Some(Thread::start(self.limits, self.surroundings.clone())?);
        }
        let State { functions: running, leaving, thread, .. } = &mut *state;
        leaving.retain(|supervisor| !supervisor.is_closed());
        let wanted: HashSet<&str> = functions.iter().map(|one| one.name.as_str()).collect();
        running.retain(|name, one| {
            let stays = wanted.contains(name.as_str());
            if !stays {
                one.tell(Change::Remove);
                leaving.push(one.changes.clone());
            }
            stays
        });
        let Some(thread) = thread else { return Ok(()) };
        for function in functions {
            match running.get_mut(&function.name) {
                Some(one) if is_same(&one.settings, function) => {}
                Some(one) => {
                    one.tell(Change::Settings(Box::new(function.clone())));
                    one.settings = function.clone();
                }
                None => {
                    let one = thread.run(function.clone(), self.limits.max_waiting);
                    running.insert(function.name.clone(), one);
                }
            }
        }
        Ok(())
    }

    /// Invokes the function `name` with `payload` and waits for its result, at most `timeout`.
    ///
    /// `trace_id` is the value of `X-Amzn-Trace-Id` where the event has one.
    ///
    /// Dropping the future, or its time-out, ends the wait only: an invocation that a worker has
    /// goes on to its end; one that still waited for a worker is not begun.
    ///
    /// # Errors
    /// - [`IntegrationError::TimedOut`]: no result within `timeout`, the wait for a worker included.
    /// - [`IntegrationError::FunctionFailed`]: the handler failed, did not start, took longer than
    ///   the function's own timeout (`Sandbox.Timedout`), or its process ended
    ///   (`Runtime.ExitError`).
    /// - [`IntegrationError::Overloaded`]: as many invocations wait as may.
    /// - [`IntegrationError::NotInvokable`]: there is no such function, or the gateway ends.
    pub async fn invoke(
        &self,
        name: &str,
        payload: Bytes,
        trace_id: Option<String>,
        timeout: Duration,
    ) -> Result<Bytes, IntegrationError> {
        let (invocation, outcome) = Invocation::new(payload, trace_id);
        {
            let state = self.state.read();
            let function = state.functions.get(name).ok_or_else(|| not_found(name))?;
            function.invocations.try_send(invocation).map_err(|unsent| match unsent {
                mpsc::error::TrySendError::Full(_) => IntegrationError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => not_found(name),
            })?;
        }
        match tokio::time::timeout(timeout, outcome).await {
            Ok(Ok(outcome)) => outcome,
            // Dropped unanswered: the function was removed with it in its channel.
            Ok(Err(_)) => Err(not_found(name)),
            Err(_) => Err(IntegrationError::TimedOut(timeout)),
        }
    }

    /// What each function's workers did, by name.
    pub fn counts(&self) -> Vec<FunctionCounts> {
        let state = self.state.read();
        let counts = state.functions.iter().map(|(name, one)| FunctionCounts {
            function: name.clone(),
            workers: one.counters.workers.load(Relaxed),
            starts: one.counters.starts.load(Relaxed),
            crashes: one.counters.crashes.load(Relaxed),
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable_by(|a, b| a.function.cmp(&b.function));
        counts
    }

    /// Ends every worker, with its invocation in flight, and waits until they are gone: at most
    /// twice [`FunctionLimits::end`], and a second for their last output. There are no functions
    /// any more then.
    pub async fn stop(&self) {
        let thread = {
            let mut state = self.state.write();
            state.stopped = true;
            // A supervisor that loses its line stops.
            state.functions.clear();
            state.leaving.clear();
            state.thread.take()
        };
        let Some(Thread { node, alive, ended, join, runtime: _ }) = thread else { return };
        // The thread waits for these.
        drop((node, alive));
        // Ends either way: the sender goes with the thread.
        let _ = ended.await;
        if join.join().is_err() {
            tracing::error!("the thread of the local functions panicked");
        }
    }
}

impl Running {
    fn tell(&self, change: Change) {
        // A supervisor that is gone has ended its workers.
        let _ = self.changes.send(change);
    }
}

impl Thread {
    fn start(limits: FunctionLimits, surroundings: WorkerSurroundings) -> io::Result<Self> {
        let own = runtime::Builder::new_current_thread().enable_all().build()?;
        let runtime = own.handle().clone();
        let (guardian, guarding) = {
            let _context = runtime.enter();
            Guardian::start()
        };
        let node = Arc::new(Node::new(limits, surroundings, guardian));
        let (alive, mut gone) = mpsc::channel::<Infallible>(1);
        let (end, ended) = oneshot::channel();
        let of_thread = Arc::clone(&node);
        let join = thread::Builder::new().name("functions".to_owned()).spawn(move || {
            own.block_on(async move {
                // `None`, when the last sender is dropped.
                let _ = gone.recv().await;
                // The last guardian: its shell ends, and is waited for.
                drop(of_thread);
                let _ = tokio::time::timeout(limits.end, guarding).await;
            });
            drop(own);
            // Nobody may wait.
            let _ = end.send(());
        })?;
        Ok(Self { runtime, node, alive, ended, join })
    }

    fn run(&self, settings: LocalFunction, max_waiting: usize) -> Running {
        // The pool bounds what waits; this holds what it has not looked at yet.
        let (invocations, to_pool) = mpsc::channel(max_waiting.max(16));
        let (changes, changed) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let inbox = Inbox { invocations: to_pool, changes: changed };
        let supervise =
            supervisor::run(Arc::clone(&self.node), settings.clone(), inbox, Arc::clone(&counters));
        let alive = self.alive.clone();
        self.runtime.spawn(async move {
            supervise.await;
            drop(alive);
        });
        Running { settings, invocations, changes, counters }
    }
}

/// Whether workers of the one may stay for the other.
fn is_same(one: &LocalFunction, other: &LocalFunction) -> bool {
    let all = |function: &LocalFunction| {
        let LocalFunction {
            name,
            command,
            directory,
            environment,
            timeout,
            memory_mb,
            min_workers,
            max_workers,
            idle_worker,
            watch,
        } = function.clone();
        (
            (name, command, directory, environment),
            (timeout, memory_mb, min_workers, max_workers, idle_worker, watch),
        )
    };
    all(one) == all(other)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_model::{AwsCredentials, Secret};

    use super::*;

    #[tokio::test]
    async fn without_functions_there_is_no_thread() {
        let surroundings = WorkerSurroundings {
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            credentials: AwsCredentials {
                access_key_id: "ASIAWORKER".to_owned(),
                secret_access_key: Secret::new("secret".to_owned()),
                session_token: None,
            },
            ca_bundle: None,
            gateway_port: None,
            variables: BTreeMap::new(),
        };
        let all = LocalFunctions::start(&[], surroundings, FunctionLimits::default()).unwrap();
        all.reload(&[]).unwrap();
        assert!(all.state.read().thread.is_none());
        all.stop().await;
    }
}
