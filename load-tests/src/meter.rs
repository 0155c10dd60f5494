//! The measured part of a run: when it begins and ends, and what is counted meanwhile.
//!
//! ```text
//! warming --warm-up and warm units over--> measuring --seconds over--> draining
//! ```
//!
//! In:  the time, and each unit of work that ended; whose CPU time is taken. Out: [`Measured`].
//!
//! Holds always: a unit counts only if it ended while the server's CPU time was being taken.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{histogram::Histogram, proc_stats};

/// Long enough for pools to be filled, buffers grown and the processor awake.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long what is under way at the end may take to come in.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose CPU time is taken, by process id.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    /// The servers under test, added up.
    pub(crate) servers: Vec<u32>,
    /// The Redis between them.
    pub(crate) redis: Option<u32>,
}

impl Processes {
    fn cpu_time(&self) -> io::Result<(Duration, Duration)> {
        let servers =
            self.servers.iter().map(|id| proc_stats::cpu_time(*id)).sum::<io::Result<_>>();
        let redis = self.redis.map_or(Ok(Duration::ZERO), proc_stats::cpu_time);
        Ok((servers?, redis?))
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Load runs, nothing counts.
    Warming,
    /// Load runs and counts.
    Measuring,
    /// No new load; what is under way may end.
    Draining,
    /// [`DRAIN_TIMEOUT`] is over as well.
    OutOfTime,
}

/// The figures of one measured part.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Units of work that ended in it.
    pub(crate) units: u64,
    /// How long it was.
    pub(crate) wall: Duration,
    /// The servers' user and system time in it.
    pub(crate) cpu: Duration,
    /// The same of the Redis between them.
    pub(crate) redis_cpu: Duration,
    /// How long each unit took.
    pub(crate) latency: Histogram,
}

/// Takes the figures of one run.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Processes,
    started: Instant,
    length: Duration,
    /// Units that still have to end before anything counts.
    warm_units_left: u64,
    phase: Phase,
    begun_at: Duration,
    begun_cpu: (Duration, Duration),
    measured: Measured,
}

impl Meter {
    /// Begins to warm up; measures for `length` after that.
    pub(crate) fn start(processes: Processes, length: Duration) -> Self {
        let zero = Duration::ZERO;
        let latency = Histogram::default();
        Self {
            processes,
            started: Instant::now(),
            length,
            warm_units_left: 0,
            phase: Phase::Warming,
            begun_at: zero,
            begun_cpu: (zero, zero),
            measured: Measured { units: 0, wall: zero, cpu: zero, redis_cpu: zero, latency },
        }
    }

    /// Warms up for at least so many units, too.
    #[must_use]
    pub(crate) fn after_units(self, units: u64) -> Self {
        Self { warm_units_left: units, ..self }
    }

    /// The run's clock.
    pub(crate) fn now_ns(&self) -> u64 {
        // A run of 584 years would not fit.
        self.started.elapsed().as_nanos() as u64
    }

    /// Moves on with the time. Called between batches of events.
    pub(crate) fn tick(&mut self) -> io::Result<Phase> {
        let now = self.started.elapsed();
        match self.phase {
            Phase::Warming if now >= WARM_UP && self.warm_units_left == 0 => {
                self.begun_cpu = self.processes.cpu_time()?;
                self.begun_at = now;
                self.phase = Phase::Measuring;
            }
            Phase::Measuring if now >= self.begun_at + self.length => {
                let (servers, redis) = self.processes.cpu_time()?;
                self.measured.cpu = servers - self.begun_cpu.0;
                self.measured.redis_cpu = redis - self.begun_cpu.1;
                self.measured.wall = now - self.begun_at;
                self.phase = Phase::Draining;
            }
            Phase::Draining if now >= self.begun_at + self.measured.wall + DRAIN_TIMEOUT => {
                self.phase = Phase::OutOfTime;
            }
            _ => {}
        }
        Ok(self.phase)
    }

    /// Whether new load may be made.
    pub(crate) fn loading(&self) -> bool {
        matches!(self.phase, Phase::Warming | Phase::Measuring)
    }

    /// Whether what ends now counts.
    pub(crate) fn measuring(&self) -> bool {
        self.phase == Phase::Measuring
    }

    /// One unit of work has ended, `latency_ns` after it began.
    pub(crate) fn unit(&mut self, latency_ns: u64) {
        self.warm_units_left = self.warm_units_left.saturating_sub(1);
        if self.measuring() {
            self.measured.units += 1;
            self.measured.latency.record(latency_ns);
        }
    }

    /// The figures, once the phase is [`Phase::Draining`] or later.
    pub(crate) fn finish(self) -> Measured {
        self.measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_before_the_warm_up_and_its_units_are_over() -> io::Result<()> {
        let us = Processes { servers: vec![std::process::id()], redis: None };
        let mut meter = Meter::start(us, Duration::from_secs(60)).after_units(2);
        meter.started -= WARM_UP;
        for _ in 0..2 {
            assert_eq!(meter.tick()?, Phase::Warming);
            meter.unit(1);
        }
        assert_eq!(meter.tick()?, Phase::Measuring);
        meter.unit(1);
        assert_eq!(meter.finish().units, 1);
        Ok(())
    }
}
