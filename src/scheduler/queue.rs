//! All keys, and the ordered sets in which the next one is found without looking at the others. A key is in the sets
//! exactly as its phase says: nothing but `insert` and `remove` may touch them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use chrono::DateTime;
use chrono::Utc;

use super::Key;
use super::Limits;
use super::Target;
use super::entry_state::EntryState;
use super::running::Running;

type QueueOrder = BTreeSet<(DateTime<Utc>, Key)>;

/// A key's target and where it stands.
#[derive(Debug)]
pub struct Entry {
    pub target: Target,
    pub phase: EntryState,
}

/// The keys that do not run.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Key, Entry>,
    /// By the time for which they wait.
    waiting: QueueOrder,
    /// By the time since which they are due, for each file system: thousands may wait for a slow one.
    ready: BTreeMap<u64, QueueOrder>,
    /// By the time at which they are given up.
    deadlines: QueueOrder,
}

impl Queue {
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.keys()
    }

    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn insert(&mut self, key: Key, entry: Entry) {
        if let Some(at) = entry.phase.waits_until() {
            self.waiting.insert((at, key.clone()));
        }
        if let Some(run) = entry.phase.due() {
            self.deadlines.insert((run.give_up_at, key.clone()));
            if entry.phase.waits_until().is_none() {
                let ready = self.ready.entry(entry.target.filesystem).or_default();
                ready.insert((run.since, key.clone()));
            }
        }
        self.entries.insert(key, entry);
    }

    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(at) = entry.phase.waits_until() {
            self.waiting.remove(&(at, key.clone()));
        }
        if let Some(run) = entry.phase.due() {
            self.deadlines.remove(&(run.give_up_at, key.clone()));
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
    pub fn change(&mut self, key: &Key, change: impl FnOnce(&Target, EntryState) -> EntryState) {
        if let Some(Entry { target, phase }) = self.remove(key) {
            let phase = change(&target, phase);
            self.insert(key.clone(), Entry { target, phase });
        }
    }

    pub fn change_all(&mut self, mut change: impl FnMut(&Target, EntryState) -> EntryState) {
        for (key, Entry { target, phase }) in std::mem::take(self).entries {
            let phase = change(&target, phase);
            self.insert(key, Entry { target, phase });
        }
    }

    pub fn first_waiting(&self) -> Option<(DateTime<Utc>, Key)> {
        self.waiting.first().cloned()
    }

    pub fn first_deadline(&self) -> Option<(DateTime<Utc>, Key)> {
        self.deadlines.first().cloned()
    }

    /// The one that is due the longest among those that may start beside what is running.
    pub fn first_startable(&self, running: &Running, limits: Limits) -> Option<Key> {
        if running.count() >= limits.jobs {
            return None;
        }
        let free =
            self.ready.iter().filter(|(filesystem, _)| running.on(**filesystem) < limits.jobs_per_filesystem);
        let firsts = free.filter_map(|(_, ready)| ready.iter().find(|(_, key)| !running.has(&key.database)));
        firsts.min().map(|(_, key)| key.clone())
    }
}
