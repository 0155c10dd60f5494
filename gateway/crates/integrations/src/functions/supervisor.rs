//! One function's workers: carries out what its pool decides.
//!
//! In:  invocations of callers, changes of settings and files, reports of workers, time; the end of
//! the line on which changes come, which is the gateway's.
//! Out: workers started, told and waited for; callers told what never reached a worker.
//!
//! Holds always: the task ends when the function is removed or the gateway ends, and then the last
//! worker is gone; every worker's task is waited for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use http::StatusCode;
use tidegate_model::LocalFunction;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::sleep_until,
};
use tracing::{error, info};

use crate::{
    IntegrationError,
    functions::{
        invocation::{Invocation, now_ms},
        node::{FunctionLimits, Node},
        pool::{Exit, Order, Pool, Refusal, Rules, WorkerId},
        watch::watch,
        worker::{self, Report, Reports, Task},
    },
};

/// What the operator, or the function's folder, wants of a function.
#[derive(Debug)]
pub(super) enum Change {
    /// Other settings.
    Settings(Box<LocalFunction>),
    /// Other files.
    Files,
    /// No such function any more: what is in flight ends.
    Remove,
}

/// What a function's workers did.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) workers: AtomicUsize,
    pub(super) starts: AtomicU64,
    pub(super) crashes: AtomicU64,
}

/// Where a supervisor hears from everybody else.
pub(super) struct Inbox {
    pub(super) invocations: mpsc::Receiver<Invocation>,
    /// Closed when the gateway ends: what is in flight is not waited for.
    pub(super) changes: mpsc::UnboundedReceiver<Change>,
}

/// Runs the workers of `function` until it is removed, or the gateway ends.
pub(super) async fn run(
    node: Arc<Node>,
    function: LocalFunction,
    mut inbox: Inbox,
    counters: Arc<Counters>,
) {
    let (reports_to, mut reports) = mpsc::unbounded_channel();
    let pool = Pool::new(rules(&function, &node.limits));
    let mut supervisor = Supervisor {
        pool,
        function: Arc::new(function),
        tasks: HashMap::new(),
        running: JoinSet::new(),
        reports: reports_to,
        watcher: JoinSet::new(),
        counters,
        node,
    };
    let (files_changed, mut files) = mpsc::channel(1);
    supervisor.watch(&files_changed);
    let mut stopping = false;
    let mut orders = Vec::new();
    supervisor.pool.tick(Instant::now(), &mut orders);
    loop {
        for order in orders.drain(..) {
            supervisor.carry_out(order);
        }
        if supervisor.pool.is_ended() && supervisor.running.is_empty() {
            return;
        }
        let wake_at = supervisor.pool.wake_at();
        let woken = async {
            match wake_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Always open: the supervisor holds a sender itself.
            Some((id, report)) = reports.recv() => supervisor.take(id, report, &mut orders),
            change = inbox.changes.recv(), if !stopping => match change {
                Some(change) => supervisor.change(change, &files_changed, &mut orders),
                // Nobody holds the line any more: the gateway ends.
                None => {
                    stopping = true;
                    supervisor.stop(&mut orders);
                }
            },
            Some(()) = files.recv() => {
                supervisor.change(Change::Files, &files_changed, &mut orders);
            }
            Some(invocation) = inbox.invocations.recv() => {
                supervisor.pool.invoke(Instant::now(), invocation, &mut orders);
            }
            Some(ended) = supervisor.running.join_next() => say_panic(ended),
            () = woken => supervisor.pool.tick(Instant::now(), &mut orders),
        }
    }
}

struct Supervisor {
    pool: Pool<Invocation>,
    function: Arc<LocalFunction>,
    /// The lines to the workers.
    tasks: HashMap<WorkerId, mpsc::UnboundedSender<Task>>,
    running: JoinSet<()>,
    reports: mpsc::UnboundedSender<(WorkerId, Report)>,
    /// At most one task, while the function is watched.
    watcher: JoinSet<()>,
    counters: Arc<Counters>,
    node: Arc<Node>,
}

impl Supervisor {
    fn carry_out(&mut self, order: Order<Invocation>) {
        match order {
            Order::Start(id) => {
                let (to, tasks) = mpsc::unbounded_channel();
                self.tasks.insert(id, to);
                self.counters.starts.fetch_add(1, Relaxed);
                let reports = Reports::new(id, self.reports.clone());
                let (node, function) = (Arc::clone(&self.node), Arc::clone(&self.function));
                self.running.spawn(worker::run(node, function, tasks, reports));
            }
            Order::Hand(id, invocation) => self.tell(id, Task::Invoke(invocation)),
            Order::End(id) => self.tell(id, Task::End),
            Order::Fail(invocation, why) => self.refuse(invocation, &why),
        }
        self.counters.workers.store(self.tasks.len(), Relaxed);
    }

    fn tell(&mut self, id: WorkerId, task: Task) {
        let lost = match self.tasks.get(&id) {
            Some(to) => to.send(task).err().map(|unsent| unsent.0),
            None => Some(task),
        };
        // Its task has just ended; the report of that is on its way, and must not be overtaken.
        if let Some(Task::Invoke(invocation)) = lost {
            let _ = self.reports.send((id, Report::Returned(invocation)));
        }
    }

    fn take(&mut self, id: WorkerId, report: Report, orders: &mut Vec<Order<Invocation>>) {
        let now = Instant::now();
        match report {
            Report::Ready => self.pool.ready(now, id, orders),
            Report::Returned(invocation) => self.pool.returned(now, id, invocation, orders),
            Report::Exited(exit) => {
                self.tasks.remove(&id);
                self.counters.workers.store(self.tasks.len(), Relaxed);
                if !matches!(exit, Exit::Asked) {
                    self.counters.crashes.fetch_add(1, Relaxed);
                }
                self.pool.exited(now, id, exit, rand::random(), orders);
            }
        }
    }

    fn change(
        &mut self,
        change: Change,
        files_changed: &mpsc::Sender<()>,
        orders: &mut Vec<Order<Invocation>>,
    ) {
        let now = Instant::now();
        match change {
            Change::Settings(function) => {
                self.function = Arc::new(*function);
                self.watch(files_changed);
                self.pool.replace(now, rules(&self.function, &self.node.limits), orders);
            }
            Change::Files => {
                info!(function = %self.function.name, "files changed: workers are restarted");
                self.pool.replace(now, rules(&self.function, &self.node.limits), orders);
            }
            Change::Remove => {
                self.watcher.abort_all();
                self.pool.remove(now, orders);
            }
        }
    }

    fn stop(&mut self, orders: &mut Vec<Order<Invocation>>) {
        self.watcher.abort_all();
        self.pool.stop(Instant::now(), orders);
    }

    fn watch(&mut self, files_changed: &mpsc::Sender<()>) {
        self.watcher.abort_all();
        if self.function.watch {
            let directory = self.function.directory.clone();
            let to = files_changed.clone();
            // A full channel holds a change that is not carried out yet: one is enough.
            let changed =
                move || !matches!(to.try_send(()), Err(mpsc::error::TrySendError::Closed(())));
            self.watcher.spawn(watch(directory, self.node.limits.watch_interval, changed));
        }
    }

    fn refuse(&self, invocation: Invocation, why: &Refusal) {
        match why {
            Refusal::Overloaded => invocation.finish(Err(IntegrationError::Overloaded)),
            Refusal::Start(why) => {
                let failure = why.describe(&invocation.id, now_ms());
                invocation.fail(failure);
            }
            Refusal::Removed => invocation.finish(Err(not_found(&self.function.name))),
        }
    }
}

/// There is no such local function (any more). Worded as Lambda's answer for a missing one.
pub(super) fn not_found(name: &str) -> IntegrationError {
    IntegrationError::NotInvokable {
        function: name.to_owned(),
        status: StatusCode::NOT_FOUND,
        error_type: "ResourceNotFoundException".to_owned(),
    }
}

fn rules(function: &LocalFunction, limits: &FunctionLimits) -> Rules {
    let workers = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Rules {
        min_workers: workers(function.min_workers),
        max_workers: workers(function.max_workers.max(1)),
        idle_worker: function.idle_worker,
        max_waiting: limits.max_waiting,
        first_backoff: limits.first_backoff,
        max_backoff: limits.max_backoff,
    }
}

fn say_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "the task of a worker panicked");
    }
}
