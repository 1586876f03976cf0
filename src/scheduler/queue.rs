//! All keys, and the ordered sets in which the next one is found without looking at the others. A
//! key is in the sets exactly as its phase says: nothing but `insert` and `remove` may touch them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use chrono::DateTime;
use chrono::Utc;

use super::entry_state::EntryState;
use super::running::Running;
use super::target::ConcurrencyLimits;
use super::target::ScheduleTarget;
use super::target::TaskKey;

type QueueOrder = BTreeSet<(DateTime<Utc>, TaskKey)>;

/// A key's target and where it stands.
#[derive(Debug)]
pub struct Entry {
    pub target: ScheduleTarget,
    pub state: EntryState,
}

/// The keys that do not run.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<TaskKey, Entry>,
    /// By the time for which they wait.
    waiting: QueueOrder,
    /// By the time since which they are due, for each file system: thousands may wait for a slow
    /// one.
    ready: BTreeMap<u64, QueueOrder>,
    /// By the time at which they are given up.
    deadlines: QueueOrder,
}

impl Queue {
    pub fn keys(&self) -> impl Iterator<Item = &TaskKey> {
        self.entries.keys()
    }

    pub fn entry(&self, key: &TaskKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn insert(&mut self, key: TaskKey, entry: Entry) {
        if let Some(at) = entry.state.waits_until() {
            self.waiting.insert((at, key.clone()));
        }
        if let Some(run) = entry.state.due() {
            self.deadlines.insert((run.expires_at, key.clone()));
            if entry.state.waits_until().is_none() {
                let ready = self.ready.entry(entry.target.filesystem).or_default();
                ready.insert((run.since, key.clone()));
            }
        }
        self.entries.insert(key, entry);
    }

    pub fn remove(&mut self, key: &TaskKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(at) = entry.state.waits_until() {
            self.waiting.remove(&(at, key.clone()));
        }
        if let Some(run) = entry.state.due() {
            self.deadlines.remove(&(run.expires_at, key.clone()));
            if let Some(ready) = self.ready.get_mut(&entry.target.filesystem) {
                ready.remove(&(run.since, key.clone()));
                if ready.is_empty() {
                    self.ready.remove(&entry.target.filesystem);
                }
            }
        }
        Some(entry)
    }

    /// Moves a key to another phase; nothing happens when it is gone.
    pub fn change(&mut self, key: &TaskKey, change: impl FnOnce(&ScheduleTarget, EntryState) -> EntryState) {
        if let Some(Entry { target, state }) = self.remove(key) {
            let state = change(&target, state);
            self.insert(key.clone(), Entry { target, state });
        }
    }

    pub fn change_all(&mut self, mut change: impl FnMut(&ScheduleTarget, EntryState) -> EntryState) {
        for (key, Entry { target, state }) in std::mem::take(self).entries {
            let state = change(&target, state);
            self.insert(key, Entry { target, state });
        }
    }

    pub fn first_waiting(&self) -> Option<(DateTime<Utc>, TaskKey)> {
        self.waiting.first().cloned()
    }

    pub fn first_deadline(&self) -> Option<(DateTime<Utc>, TaskKey)> {
        self.deadlines.first().cloned()
    }

    /// The one that is due the longest among those that may start beside what is running.
    pub fn first_startable(&self, running: &Running, limits: ConcurrencyLimits) -> Option<TaskKey> {
        if running.count() >= limits.jobs {
            return None;
        }
        let free =
            self.ready.iter().filter(|(filesystem, _)| running.on(**filesystem) < limits.jobs_per_filesystem);
        let firsts = free.filter_map(|(_, ready)| ready.iter().find(|(_, key)| !running.has(&key.database)));
        firsts.min().map(|(_, key)| key.clone())
    }
}
