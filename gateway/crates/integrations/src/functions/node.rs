//! What all local functions of a node share.

use std::{io, path::PathBuf, time::Duration};

use crate::functions::{guardian::Guardian, preload::Preload, surroundings::WorkerSurroundings};

/// Bounds that hold for every local function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionLimits {
    /// How long a worker may take from its start to its first question for an invocation, and from
    /// one invocation's result to the next question. Default 10 s, as Lambda's init phase.
    pub start: Duration,
    /// How long a worker that was told to end may take before it is killed. Default 2 s.
    pub end: Duration,
    /// How long after a failed start the next one is made; each further one doubles it, less up to
    /// a half at random. Default 100 ms.
    pub first_backoff: Duration,
    /// The longest wait after failed starts. Default 10 s.
    pub max_backoff: Duration,
    /// Invocations of one function that wait for a worker. Default 1000.
    pub max_waiting: usize,
    /// The largest result. Default 6291556 bytes, Lambda's 6 MB.
    pub max_result_bytes: usize,
    /// How often the files of a function with `watch = true` are looked at. Default 500 ms.
    pub watch_interval: Duration,
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(10),
            end: Duration::from_secs(2),
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            max_waiting: 1000,
            max_result_bytes: 6_291_556,
            watch_interval: Duration::from_millis(500),
        }
    }
}

/// What workers of all functions are started with.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) limits: FunctionLimits,
    pub(super) surroundings: WorkerSurroundings,
    pub(super) guardian: Guardian,
    preload: Preload,
}

impl Node {
    pub(super) fn new(
        limits: FunctionLimits,
        surroundings: WorkerSurroundings,
        guardian: Guardian,
    ) -> Self {
        Self { limits, surroundings, guardian, preload: Preload::new() }
    }

    /// The folder of the preloads; none where nothing is to be led anywhere.
    pub(super) fn preload_folder(&self) -> io::Result<Option<PathBuf>> {
        self.surroundings.gateway_port.map(|_| self.preload.folder()).transpose()
    }
}
