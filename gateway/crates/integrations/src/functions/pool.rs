//! Which workers of one function run and which invocation each gets, without a process and without
//! a clock.
//!
//! In:  invocations, and what became of the workers, each with its time.
//! Out: [`Order`]s, in order, for the supervisor to carry out.
//!
//! ```text
//! Start ──► Starting ──asks for work──► Idle ◄──asks again──┐
//!               │                        │ └──── Hand ────► Busy
//!               └──────────── exits ─────┴───── exits ───────┘ ──► gone
//! ```
//!
//! Holds always: a worker has one invocation at a time; at most `max_workers` of the present
//! settings run; an invocation is handed over once, or failed once, or its caller has gone; who
//! waits never waits for a worker that nobody starts.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::functions::failure::StartFailure;

/// Numbers the workers of one function from 1, in the order of their starts.
pub(super) type WorkerId = u64;

/// What waits for a worker.
pub(super) trait Job {
    /// Nobody waits for the outcome any more: it need not be handed over.
    fn is_abandoned(&self) -> bool;
}

/// The settings that the pool goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) min_workers: usize,
    pub(super) max_workers: usize,
    pub(super) idle_worker: Duration,
    pub(super) max_waiting: usize,
    /// After the first failed start; each further one doubles it.
    pub(super) first_backoff: Duration,
    pub(super) max_backoff: Duration,
}

/// What the supervisor is to do.
#[derive(Debug)]
pub(super) enum Order<J> {
    /// Start a worker of the present settings.
    Start(WorkerId),
    /// Give the worker, which has asked for it, this invocation.
    Hand(WorkerId, J),
    /// End the worker now.
    End(WorkerId),
    /// Tell the caller that there will be no result.
    Fail(J, Refusal),
}

/// Why an invocation was never handed over.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    /// As many wait as may.
    Overloaded,
    /// No worker comes up.
    Start(StartFailure),
    /// The function was removed, or the gateway ends.
    Removed,
}

/// How a worker ended.
#[derive(Debug)]
pub(super) enum Exit {
    /// Before it asked for its first invocation.
    Start(StartFailure),
    /// Without having an invocation and without being told to.
    Unasked,
    /// With its invocation, which is failed already.
    WithInvocation,
    /// As it was told to.
    Asked,
}

#[derive(Debug)]
struct Worker {
    phase: Phase,
    /// Started under settings, or from files, that are no longer the present ones.
    outdated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Idle { since: Instant },
    Busy,
    Ending,
}

/// The workers of one function and the invocations that wait for them.
#[derive(Debug)]
pub(super) struct Pool<J> {
    rules: Rules,
    waiting: VecDeque<J>,
    workers: BTreeMap<WorkerId, Worker>,
    last_id: WorkerId,
    /// Failed starts since the last invocation that a worker finished.
    failed_starts: u32,
    /// No worker is started before.
    not_before: Option<Instant>,
    closing: bool,
}

impl<J: Job> Pool<J> {
    /// No worker yet: [`Self::tick`] orders the first `min_workers`.
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            waiting: VecDeque::new(),
            workers: BTreeMap::new(),
            last_id: 0,
            failed_starts: 0,
            not_before: None,
            closing: false,
        }
    }

    /// A caller wants an invocation.
    pub(super) fn invoke(&mut self, now: Instant, job: J, out: &mut Vec<Order<J>>) {
        if self.closing {
            out.push(Order::Fail(job, Refusal::Removed));
            return;
        }
        if self.waiting.len() >= self.rules.max_waiting {
            self.waiting.retain(|job| !job.is_abandoned());
            if self.waiting.len() >= self.rules.max_waiting {
                out.push(Order::Fail(job, Refusal::Overloaded));
                return;
            }
        }
        self.waiting.push_back(job);
        self.settle(now, out);
    }

    /// The worker asks for an invocation: its first, or the one before is finished.
    pub(super) fn ready(&mut self, now: Instant, id: WorkerId, out: &mut Vec<Order<J>>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.phase {
            Phase::Busy => {
                self.failed_starts = 0;
                self.not_before = None;
                worker.phase = Phase::Idle { since: now };
            }
            Phase::Starting => worker.phase = Phase::Idle { since: now },
            // Asked twice, or told to end while it asked.
            Phase::Idle { .. } | Phase::Ending => {}
        }
        self.settle(now, out);
    }

    /// The worker broke off its question before `job` reached it. It may ask again, or exit.
    pub(super) fn returned(&mut self, now: Instant, id: WorkerId, job: J, out: &mut Vec<Order<J>>) {
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.phase == Phase::Busy
        {
            worker.phase = Phase::Starting;
        }
        if self.closing {
            out.push(Order::Fail(job, Refusal::Removed));
        } else {
            self.waiting.push_front(job);
        }
        self.settle(now, out);
    }

    /// The worker's process is gone. `jitter`, 0 to 1, spreads the next start after a failed one.
    pub(super) fn exited(
        &mut self,
        now: Instant,
        id: WorkerId,
        exit: Exit,
        jitter: f64,
        out: &mut Vec<Order<J>>,
    ) {
        let Some(worker) = self.workers.remove(&id) else { return };
        match exit {
            // What the present settings or files do is not known from this.
            _ if worker.outdated => {}
            Exit::Start(failure) => {
                self.back_off(now, jitter);
                self.fail_waiting(&failure, out);
            }
            Exit::Unasked => {
                if let Phase::Idle { since } = worker.phase
                    && now.saturating_duration_since(since) >= self.rules.max_backoff
                {
                    self.failed_starts = 0;
                }
                self.back_off(now, jitter);
            }
            Exit::WithInvocation | Exit::Asked => {}
        }
        self.settle(now, out);
    }

    /// New settings, or changed files: every worker is replaced, after its invocation in flight.
    pub(super) fn replace(&mut self, now: Instant, rules: Rules, out: &mut Vec<Order<J>>) {
        self.rules = rules;
        self.failed_starts = 0;
        self.not_before = None;
        for worker in self.workers.values_mut() {
            worker.outdated = true;
        }
        self.settle(now, out);
    }

    /// The function is removed: nothing new, and each worker ends after its invocation in flight.
    pub(super) fn remove(&mut self, now: Instant, out: &mut Vec<Order<J>>) {
        self.closing = true;
        out.extend(self.waiting.drain(..).map(|job| Order::Fail(job, Refusal::Removed)));
        for worker in self.workers.values_mut() {
            worker.outdated = true;
        }
        self.settle(now, out);
    }

    /// The gateway ends: as [`Self::remove`], but invocations in flight are not waited for.
    pub(super) fn stop(&mut self, now: Instant, out: &mut Vec<Order<J>>) {
        self.remove(now, out);
        for (id, worker) in &mut self.workers {
            if worker.phase != Phase::Ending {
                worker.phase = Phase::Ending;
                out.push(Order::End(*id));
            }
        }
    }

    /// Time has passed, see [`Self::wake_at`].
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Order<J>>) {
        self.settle(now, out);
    }

    /// When [`Self::tick`] will have something to do, if nothing else happens before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let start = self.not_before.filter(|_| self.wanted() > 0);
        let surplus = self.present().count() > self.rules.min_workers;
        let idle = self.present().filter_map(|worker| match worker.phase {
            Phase::Idle { since } if surplus => Some(since + self.rules.idle_worker),
            _ => None,
        });
        idle.chain(start).min()
    }

    /// The function was removed or the gateway ends, and the last worker is gone.
    pub(super) fn is_ended(&self) -> bool {
        self.closing && self.workers.is_empty()
    }

    /// Brings the workers to what the invocations and the settings ask for.
    fn settle(&mut self, now: Instant, out: &mut Vec<Order<J>>) {
        for (id, worker) in &mut self.workers {
            if worker.outdated && matches!(worker.phase, Phase::Idle { .. } | Phase::Starting) {
                worker.phase = Phase::Ending;
                out.push(Order::End(*id));
            }
        }
        self.hand_over(out);
        self.end_idle(now, out);
        if self.not_before.is_none_or(|at| at <= now) {
            for _ in 0..self.wanted() {
                self.last_id += 1;
                let worker = Worker { phase: Phase::Starting, outdated: false };
                self.workers.insert(self.last_id, worker);
                out.push(Order::Start(self.last_id));
            }
        }
    }

    /// The worker that was busy last comes first: the others may then grow old, and end.
    fn hand_over(&mut self, out: &mut Vec<Order<J>>) {
        while let Some((since, id)) = self.idle().max() {
            debug_assert!(self.workers[&id].phase == Phase::Idle { since }, "just listed");
            let Some(job) = self.waiting.pop_front() else { return };
            if job.is_abandoned() {
                continue;
            }
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.phase = Phase::Busy;
            }
            out.push(Order::Hand(id, job));
        }
    }

    fn end_idle(&mut self, now: Instant, out: &mut Vec<Order<J>>) {
        let surplus = self.present().count().saturating_sub(self.rules.min_workers);
        let mut old: Vec<_> =
            self.idle().filter(|(since, _)| *since + self.rules.idle_worker <= now).collect();
        old.sort_unstable();
        for (_, id) in old.into_iter().take(surplus) {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.phase = Phase::Ending;
            }
            out.push(Order::End(id));
        }
    }

    /// How many workers are missing, whether or not they may be started already.
    fn wanted(&self) -> usize {
        if self.closing {
            return 0;
        }
        let present = self.present().count();
        let starting = self.present().filter(|worker| worker.phase == Phase::Starting).count();
        let for_waiting = self.waiting.len().saturating_sub(starting);
        let for_minimum = self.rules.min_workers.saturating_sub(present);
        let wanted =
            for_waiting.max(for_minimum).min(self.rules.max_workers.saturating_sub(present));
        // After a failed start one worker tries, not a crowd.
        if self.failed_starts > 0 { wanted.min(1_usize.saturating_sub(starting)) } else { wanted }
    }

    /// The workers that count: neither outdated nor ending.
    fn present(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(|worker| !worker.outdated && worker.phase != Phase::Ending)
    }

    fn idle(&self) -> impl Iterator<Item = (Instant, WorkerId)> {
        self.workers.iter().filter_map(|(id, worker)| match worker.phase {
            Phase::Idle { since } if !worker.outdated => Some((since, *id)),
            _ => None,
        })
    }

    fn back_off(&mut self, now: Instant, jitter: f64) {
        let doubled = 1_u32.checked_shl(self.failed_starts).unwrap_or(u32::MAX);
        let full = self.rules.first_backoff.saturating_mul(doubled).min(self.rules.max_backoff);
        self.failed_starts = self.failed_starts.saturating_add(1);
        self.not_before = Some(now + full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0));
    }

    /// A worker did not come up. Where others serve, who waits still waits for those; where others
    /// are only starting, the failure goes to one caller, as each has one; else to all.
    fn fail_waiting(&mut self, failure: &StartFailure, out: &mut Vec<Order<J>>) {
        let phases = || self.present().map(|worker| worker.phase);
        let failed = if phases().any(|phase| phase != Phase::Starting) {
            0
        } else if phases().next().is_some() {
            self.waiting.len().min(1)
        } else {
            self.waiting.len()
        };
        let refused = self.waiting.drain(..failed);
        out.extend(refused.map(|job| Order::Fail(job, Refusal::Start(failure.clone()))));
    }
}

#[cfg(test)]
mod tests;
