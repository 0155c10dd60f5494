//! What outlives a reload.
//!
//! In:  names, as configurations have them.
//! Out: the index, the places, the file that a name has had since it was first seen.

use std::{collections::HashMap, num::NonZeroU32, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tidegate_telemetry::AccessLog;
use tokio::sync::Semaphore;

use super::StageIndex;

/// What outlives a reload: indexes, access log files.
#[derive(Default)]
pub(crate) struct Registry {
    /// By api, integration and limit.
    lifecycle_places: Mutex<HashMap<(String, String, u32), Arc<Semaphore>>>,
    pub(super) stages: Mutex<HashMap<(String, String), StageIndex>>,
    pub(super) access_logs: Mutex<HashMap<PathBuf, AccessLog>>,
}

impl Registry {
    pub(super) fn stage(&self, api: &str, stage: &str) -> StageIndex {
        let mut stages = self.stages.lock();
        let next = u32::try_from(stages.len()).expect("stages are fewer than 4 billion");
        *stages.entry((api.to_owned(), stage.to_owned())).or_insert(StageIndex(next))
    }

    pub(super) fn lifecycle_places(
        &self,
        api: &str,
        integration: &str,
        limit: NonZeroU32,
    ) -> Arc<Semaphore> {
        let key = (api.to_owned(), integration.to_owned(), limit.get());
        let places = usize::try_from(limit.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let mut known = self.lifecycle_places.lock();
        known.entry(key).or_insert_with(|| Arc::new(Semaphore::new(places))).clone()
    }

    /// Opens every access log file anew (`logrotate`).
    pub(crate) fn reopen_access_logs(&self) {
        for log in self.access_logs.lock().values() {
            log.reopen();
        }
    }
}
