//! Functions whose workers the gateway runs itself.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::Secret;

/// One local function (`[functions.<name>]`).
#[derive(Debug, Clone)]
pub struct LocalFunction {
    /// The table's name, and the function's: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// A Lambda runtime client and its arguments; never empty.
    pub command: Vec<String>,
    /// Where it is started; absolute.
    pub directory: PathBuf,
    /// Variables of its environment, besides those that every function gets.
    pub environment: BTreeMap<String, Secret>,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Told to the worker, not enforced.
    pub memory_mb: u32,
    /// Workers that run always.
    pub min_workers: u32,
    /// Workers that may run at once: at least 1, and at least `min_workers`.
    pub max_workers: u32,
    /// A worker above `min_workers` that had nothing to do for this long is ended.
    pub idle_worker: Duration,
    /// Whether a changed file in `directory` restarts the workers.
    pub watch: bool,
}
