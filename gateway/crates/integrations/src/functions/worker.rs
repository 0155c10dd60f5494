//! One worker: its process, its Runtime API, and the invocation that it has.
//!
//! In:  the supervisor's [`Task`]s, what the runtime client asks, the process's end, time.
//! Out: [`Report`]s to the supervisor; the invocation's outcome to its caller; output to the log.
//!
//! ```text
//! Starting ──next──► Asking ──Task::Invoke──► Busy ──result──► Between ──next──► Asking
//!     │                 │                       │                 │
//!     └── too long, told to end, start failed, timed out ─────────┴──► Ending ──► gone
//! ```
//!
//! Holds always: exactly one [`Report::Exited`], the last one; an invocation that was taken gets
//! exactly one outcome; the process and its group are gone when the task ends, unless the system
//! does not let them go.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io, mem,
    net::{Ipv4Addr, SocketAddr},
    ops::ControlFlow,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tidegate_model::LocalFunction;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use crate::{
    FunctionFailure,
    functions::{
        failure::{self, StartFailure},
        guardian::Guarded,
        invocation::{Invocation, now_ms},
        node::Node,
        output::{self, Pipe},
        pool::{Exit, WorkerId},
        runtime_api::{self, Answer, Call, Event, Finish, Question},
        surroundings,
    },
};

/// How long output is read on after the process has ended: what it started may hold the pipes.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// What the supervisor tells a worker.
#[derive(Debug)]
pub(super) enum Task {
    /// Take this invocation: the worker has asked for it.
    Invoke(Invocation),
    /// End now.
    End,
}

/// What a worker tells the supervisor.
#[derive(Debug)]
pub(super) enum Report {
    /// It asks for an invocation.
    Ready,
    /// It asks no more, and did not get this invocation.
    Returned(Invocation),
    /// Its process is gone.
    Exited(Exit),
}

/// The line to the supervisor. Dropped, also in a panic, it says that the worker is gone.
pub(super) struct Reports {
    id: WorkerId,
    to: mpsc::UnboundedSender<(WorkerId, Report)>,
    exit: Option<Exit>,
}

impl Reports {
    pub(super) fn new(id: WorkerId, to: mpsc::UnboundedSender<(WorkerId, Report)>) -> Self {
        Self { id, to, exit: None }
    }

    fn say(&self, report: Report) {
        // A supervisor that is gone has nothing to learn.
        let _ = self.to.send((self.id, report));
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let exit = self.exit.take().unwrap_or(Exit::Unasked);
        self.say(Report::Exited(exit));
    }
}

/// Where a worker stands.
enum Phase {
    /// It has not asked for its first invocation yet.
    Starting { until: Instant },
    /// It waits for an invocation.
    Asking { next: oneshot::Sender<Answer> },
    /// It has one.
    Busy { invocation: Invocation, until: Instant },
    /// It has finished the invocation `last`, or lost its question, and has not asked again.
    Between { last: Option<String>, until: Instant },
    /// It is to be gone.
    Ending { killed: bool, until: Instant, exit: Exit },
}

impl Phase {
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Asking { .. } => None,
            Self::Starting { until }
            | Self::Busy { until, .. }
            | Self::Between { until, .. }
            | Self::Ending { until, .. } => Some(*until),
        }
    }
}

/// Starts a worker of `function` and sees to it until it is gone.
pub(super) async fn run(
    node: Arc<Node>,
    function: Arc<LocalFunction>,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    mut reports: Reports,
) {
    let mut process = match Process::start(&node, &function, reports.id).await {
        Ok(process) => process,
        Err(error) => {
            warn!(function = %function.name, %error, "a worker cannot be started");
            let why = format!("{} cannot be started: {error}", function.command[0]);
            reports.exit = Some(Exit::Start(StartFailure::NotStarted(why.into())));
            return;
        }
    };
    debug!(function = %function.name, worker = reports.id, "worker started");
    let mut worker = Worker {
        phase: Phase::Starting { until: Instant::now() + node.limits.start },
        group: process.group,
        node: &node,
        function: &function,
        reports: &reports,
    };
    let status = loop {
        let until = worker.phase.until();
        let times_up = async {
            match until {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Before the exit: what was asked is answered first.
            Some(call) = process.calls.recv() => worker.answer(call),
            task = tasks.recv() => match task {
                Some(Task::Invoke(invocation)) => worker.invoke(invocation),
                // A supervisor that is gone needs no worker.
                Some(Task::End) | None => worker.end(),
            },
            status = process.child.wait() => break status.ok(),
            () = times_up => if worker.time_is_up().is_break() { break None },
        }
    };
    let exit = worker.exited(status);
    reports.exit = Some(exit);
    // Reported before the last output is read: that may take a while.
    drop(reports);
    process.clear_away().await;
}

struct Worker<'a> {
    phase: Phase,
    group: Pid,
    node: &'a Node,
    function: &'a LocalFunction,
    reports: &'a Reports,
}

impl Worker<'_> {
    fn answer(&mut self, call: Call) {
        let answer = match call.question {
            Question::Next => return self.ask(call.answer),
            Question::Finish(id, finish) => self.finish(&id, finish),
            Question::StartFailed(why) => self.start_failed(why),
        };
        // A client that has gone meanwhile will be seen to exit.
        let _ = call.answer.send(answer);
    }

    fn ask(&mut self, next: oneshot::Sender<Answer>) {
        match self.phase {
            Phase::Starting { .. } | Phase::Between { .. } => {
                self.phase = Phase::Asking { next };
                self.reports.say(Report::Ready);
            }
            // It has lost its first question: a client waits for one answer at a time.
            Phase::Asking { .. } => self.phase = Phase::Asking { next },
            Phase::Busy { .. } => {
                let _ = next.send(Answer::OutOfTurn);
            }
            // Left without an answer: it ends.
            Phase::Ending { .. } => {}
        }
    }

    fn invoke(&mut self, invocation: Invocation) {
        if !matches!(self.phase, Phase::Asking { .. }) {
            return self.reports.say(Report::Returned(invocation));
        }
        let between = self.between(None);
        let Phase::Asking { next } = mem::replace(&mut self.phase, between) else { return };
        let limit = self.function.timeout;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let event = Event {
            request_id: invocation.id.clone(),
            deadline_ms: now_ms().saturating_add(limit_ms),
            function_arn: self.node.surroundings.function_arn(&self.function.name),
            trace_id: invocation.trace_id.clone(),
            payload: invocation.payload.clone(),
        };
        match next.send(Answer::Event(event)) {
            Ok(()) => self.phase = Phase::Busy { invocation, until: Instant::now() + limit },
            Err(_) => self.reports.say(Report::Returned(invocation)),
        }
    }

    fn between(&self, last: Option<String>) -> Phase {
        Phase::Between { last, until: Instant::now() + self.node.limits.start }
    }

    fn finish(&mut self, id: &str, finish: Finish) -> Answer {
        match &self.phase {
            Phase::Busy { invocation, .. } if invocation.id == id => {}
            // It has posted an outcome for this one already.
            Phase::Between { last: Some(last), .. } if last == id => return Answer::OutOfTurn,
            _ => return Answer::UnknownId,
        }
        let between = self.between(Some(id.to_owned()));
        let Phase::Busy { invocation, .. } = mem::replace(&mut self.phase, between) else {
            return Answer::UnknownId;
        };
        let limit = self.node.limits.max_result_bytes;
        match finish {
            Finish::Result(result) => invocation.finish(Ok(result)),
            Finish::Failure(failure) => invocation.fail(failure),
            Finish::TooLarge => {
                invocation.fail(failure::result_too_large(limit));
                return Answer::TooLarge(limit);
            }
        }
        Answer::Accepted
    }

    fn start_failed(&mut self, why: FunctionFailure) -> Answer {
        if !matches!(self.phase, Phase::Starting { .. }) {
            return Answer::OutOfTurn;
        }
        // It ends by itself, as runtime clients do after this; if not, it is made to.
        self.phase = Phase::Ending {
            killed: false,
            until: Instant::now() + self.node.limits.end,
            exit: Exit::Start(StartFailure::Reported(why)),
        };
        Answer::Accepted
    }

    /// Asks the process to end.
    fn end(&mut self) {
        if matches!(self.phase, Phase::Ending { .. }) {
            return;
        }
        self.signal(Signal::SIGTERM);
        self.ending(false, Exit::Asked);
    }

    /// What this worker was about is over: an invocation in flight fails.
    fn ending(&mut self, killed: bool, exit: Exit) {
        let until = Instant::now() + self.node.limits.end;
        let before = mem::replace(&mut self.phase, Phase::Ending { killed, until, exit });
        if let Phase::Busy { invocation, .. } = before {
            let failure = failure::ended(&invocation.id);
            invocation.fail(failure);
        }
    }

    /// The phase has lasted as long as it may. Breaks off where even a killed process stays.
    fn time_is_up(&mut self) -> ControlFlow<()> {
        let name = &self.function.name;
        let worker = self.reports.id;
        match &mut self.phase {
            Phase::Asking { .. } => return ControlFlow::Continue(()),
            Phase::Ending { killed: true, .. } => {
                warn!(function = %name, worker, "a killed worker does not go away");
                return ControlFlow::Break(());
            }
            Phase::Ending { killed, until, .. } => {
                *killed = true;
                *until = Instant::now() + self.node.limits.end;
            }
            Phase::Starting { .. } => {
                let limit = self.node.limits.start;
                warn!(function = %name, worker, ?limit, "worker killed: it asks for no invocation");
                self.ending(true, Exit::Start(StartFailure::TimedOut(limit)));
            }
            Phase::Between { .. } => {
                warn!(function = %name, worker, "worker killed: it does not ask again");
                self.ending(true, Exit::Unasked);
            }
            Phase::Busy { .. } => {
                let limit = self.function.timeout;
                warn!(function = %name, worker, ?limit, "worker killed: its invocation timed out");
                let until = Instant::now() + self.node.limits.end;
                let ending = Phase::Ending { killed: true, until, exit: Exit::WithInvocation };
                if let Phase::Busy { invocation, .. } = mem::replace(&mut self.phase, ending) {
                    let why = failure::task_timed_out(&invocation.id, now_ms(), limit);
                    invocation.fail(why);
                }
            }
        }
        self.signal(Signal::SIGKILL);
        ControlFlow::Continue(())
    }

    /// The process is gone, or `None`: it cannot be waited for.
    fn exited(mut self, status: Option<ExitStatus>) -> Exit {
        // What it has started goes with it.
        self.signal(Signal::SIGKILL);
        let name = &self.function.name;
        let worker = self.reports.id;
        let status = status.unwrap_or_default();
        let nothing = Phase::Ending { killed: true, until: Instant::now(), exit: Exit::Asked };
        let exit = match mem::replace(&mut self.phase, nothing) {
            Phase::Starting { .. } => Exit::Start(StartFailure::Exited(status)),
            Phase::Asking { .. } | Phase::Between { .. } => {
                warn!(function = %name, worker, %status, "worker exited");
                Exit::Unasked
            }
            Phase::Busy { invocation, .. } => {
                warn!(function = %name, worker, %status, "worker exited with its invocation");
                let why = failure::exited(&invocation.id, status);
                invocation.fail(why);
                Exit::WithInvocation
            }
            Phase::Ending { exit, .. } => exit,
        };
        if let Exit::Start(why) = &exit {
            warn!(function = %name, worker, %why, "worker failed at its start");
        }
        exit
    }

    fn signal(&self, signal: Signal) {
        // The group may be gone already, which is what is wanted.
        let _ = killpg(self.group, signal);
    }
}

/// The process with what belongs to it.
struct Process {
    child: Child,
    group: Pid,
    calls: mpsc::Receiver<Call>,
    api: JoinSet<Infallible>,
    output: JoinSet<()>,
    _guarded: Guarded,
}

impl Process {
    async fn start(node: &Node, function: &LocalFunction, id: WorkerId) -> io::Result<Self> {
        // Its own port: the address is all that tells workers apart.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let preload = node.preload_folder()?;
        let mut child = command(node, function, preload.as_deref(), address)?.spawn()?;
        let pid = child.id().expect("a process that was not waited for has its id");
        let guarded = node.guardian.watch(pid);
        let group = i32::try_from(pid).map(Pid::from_raw).map_err(io::Error::other)?;

        let mut output = JoinSet::new();
        let name: Arc<str> = function.name.as_str().into();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(output::forward(stdout, Pipe::Stdout, Arc::clone(&name), id));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(output::forward(stderr, Pipe::Stderr, name, id));
        }
        let (asked, calls) = mpsc::channel(1);
        let mut api = JoinSet::new();
        api.spawn(runtime_api::serve(listener, asked, node.limits.max_result_bytes));
        Ok(Self { child, group, calls, api, output, _guarded: guarded })
    }

    /// After the process: closes its api and reads its last output.
    async fn clear_away(mut self) {
        self.api.shutdown().await;
        let read = async { while self.output.join_next().await.is_some() {} };
        // Elapsed: dropping the set ends the reading.
        let _ = timeout(LAST_OUTPUT, read).await;
    }
}

fn command(
    node: &Node,
    function: &LocalFunction,
    preload: Option<&Path>,
    api: SocketAddr,
) -> io::Result<Command> {
    let own = |name: &str| std::env::var_os(name);
    let around = &node.surroundings;
    let variables = surroundings::variables(function, around, own, preload, api, now_ms());
    let path = variables.get(OsStr::new("PATH")).map(OsString::as_os_str);
    let (program, arguments) =
        function.command.split_first().ok_or_else(|| io::Error::other("its command is empty"))?;
    let program = surroundings::find_program(program, &function.directory, path)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(&function.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // So that what it starts ends with it, and a terminal's ^C, which is for the gateway to
        // take, does not end it in the midst of a drain.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}
