//! What is running, counted as the limits count it. It must never forget a run before its end,
//! whatever becomes of its key meanwhile.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use chrono::DateTime;
use chrono::Utc;

use crate::database::DatabaseName;

use super::entry_state::DueRun;
use super::target::TaskKey;

#[derive(Debug)]
struct StartedRun {
    /// Where it was when it began; its key may have moved since.
    filesystem: u64,
    /// To be tried again, should the runner not be able to start it.
    retry: Option<DueRun>,
}

/// The runs that have begun and not ended.
#[derive(Debug, Default)]
pub struct Running {
    runs: BTreeMap<TaskKey, StartedRun>,
    databases: BTreeSet<DatabaseName>,
    filesystems: BTreeMap<u64, usize>,
}

impl Running {
    pub fn begin(&mut self, key: TaskKey, filesystem: u64, run: DueRun) {
        self.databases.insert(key.database.clone());
        *self.filesystems.entry(filesystem).or_default() += 1;
        self.runs.insert(key, StartedRun { filesystem, retry: Some(run) });
    }

    /// It has ended; the run, when it may be tried again.
    pub fn end(&mut self, key: &TaskKey) -> Option<DueRun> {
        let StartedRun { filesystem, retry } = self.runs.remove(key)?;
        self.databases.remove(&key.database);
        if let Some(count) = self.filesystems.get_mut(&filesystem) {
            *count -= 1;
            if *count == 0 {
                self.filesystems.remove(&filesystem);
            }
        }
        retry
    }

    /// Its occurrence is of a schedule that is gone.
    pub fn drop_retry(&mut self, key: &TaskKey) {
        if let Some(started) = self.runs.get_mut(key) {
            started.retry = None;
        }
    }

    /// Their occurrences will come again, as the clock was set back.
    pub fn drop_retries_after(&mut self, now: DateTime<Utc>) {
        for started in self.runs.values_mut() {
            started.retry = started.retry.filter(|run| run.since <= now && run.due_at <= now);
        }
    }

    pub fn count(&self) -> usize {
        self.runs.len()
    }

    pub fn on(&self, filesystem: u64) -> usize {
        self.filesystems.get(&filesystem).copied().unwrap_or(0)
    }

    pub fn has(&self, database: &DatabaseName) -> bool {
        self.databases.contains(database)
    }
}
