//! One database over time: what is known of it, and how each sample changes that.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Instant;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::collectors::CollectOutcome;
use crate::collectors::Collected;
use crate::collectors::CollectedValue;
use crate::collectors::DatabaseFacts;
use crate::collectors::DatabaseSnapshot;
use crate::collectors::DatabaseState;
use crate::collectors::ErrorCounts;
use crate::collectors::LockFiles;
use crate::collectors::PreviousCollection;
use crate::collectors::Readings;
use crate::database::Database;
use crate::locks::LockTracker;
use crate::locks::Locks;
use crate::os::DatabaseFingerprint;
use crate::os::FileFacts;
use crate::os::FileIdentity;
use crate::os::OwnerState;
use crate::sqlite::ErrorCode;

use super::directory::Directory;
use super::due::Content;
use super::due::LastRuns;
use super::hung_devices::HungDevices;

/// Shown for a database whose file system does not answer.
const HUNG_MESSAGE: &str = "reading the database hangs in the file system; the values shown are old";

/// A database under watch. No lock in here is held while a file is touched.
#[derive(Debug)]
pub(super) struct MonitoredDatabase {
    pub(super) database: Arc<Database>,
    pub(super) directory: Arc<Directory>,
    is_collecting: AtomicBool,
    state: Mutex<State>,
    /// How long its locks have been held.
    pub(super) tracker: Mutex<LockTracker>,
    /// When the parts of interval collectors were last collected.
    pub(super) last_runs: Mutex<LastRuns>,
}

#[derive(Debug, Clone, Default)]
struct State {
    database_state: Option<DatabaseState>,
    /// The reason that was logged last, so that it is logged once.
    reason: Option<Arc<str>>,
    device: Option<u64>,
    hung_on: Option<u64>,
    is_hung: bool,
    /// Why it is down, for its metric.
    down: Option<&'static str>,
    /// It was read as a database since the agent watches it.
    was_database: bool,
    identity: Option<FileIdentity>,
    stamp: Option<DatabaseFingerprint>,
    taken_at: Option<(SystemTime, Instant)>,
    confirmed_at: Option<SystemTime>,
    /// The file that the facts were read from.
    read_file: Option<FileIdentity>,
    facts: Option<Arc<DatabaseFacts>>,
    files: Option<FileFacts>,
    lock_files: Option<LockFiles>,
    /// A process had the WAL's write lock at the last sweep, so a commit may have become visible
    /// since.
    has_writer: bool,
    locks: Option<Arc<Locks>>,
    owners: Arc<OwnerState>,
    errors: ErrorCounts,
    replaced: u64,
    /// The values of interval collectors.
    readings: Readings,
}

/// Held by the thread that samples a database; released even when the sample panics.
pub(super) struct CollectGuard<'a> {
    monitored: &'a MonitoredDatabase,
    hung: Arc<HungDevices>,
}

impl Drop for CollectGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.monitored.state.lock();
        if std::mem::take(&mut state.is_hung) {
            tracing::info!(db = self.monitored.database.name.as_str(), "the file system responds again");
        }
        if let Some(device) = state.hung_on.take() {
            self.hung.remove(device);
        }
        self.monitored.is_collecting.store(false, Ordering::SeqCst);
    }
}

impl MonitoredDatabase {
    pub(super) fn new(database: Arc<Database>, directory: Arc<Directory>) -> Self {
        Self::with_state(database, directory, State::default(), LockTracker::default())
    }

    /// The same name with other settings or at another path: the counters go on.
    pub(super) fn with_target(&self, database: Arc<Database>, directory: Arc<Directory>) -> Self {
        let before = self.state.lock().clone();
        let mut tracker = LockTracker::default();
        let state = if database.path == self.database.path {
            std::mem::swap(&mut tracker, &mut self.tracker.lock());
            // Other settings may name other tables and queries, and other facts: without a stamp
            // the next sample reads them.
            State { readings: Readings::default(), hung_on: None, is_hung: false, stamp: None, ..before }
        } else {
            State {
                errors: before.errors,
                replaced: before.replaced,
                identity: before.identity,
                ..State::default()
            }
        };
        Self::with_state(database, directory, state, tracker)
    }

    fn with_state(
        database: Arc<Database>,
        directory: Arc<Directory>,
        state: State,
        tracker: LockTracker,
    ) -> Self {
        Self {
            database,
            directory,
            is_collecting: AtomicBool::new(false),
            state: Mutex::new(state),
            tracker: Mutex::new(tracker),
            last_runs: Mutex::default(),
        }
    }

    /// Begins a sample; `None` while an earlier sample hangs, or other databases on the same device
    /// do.
    pub(super) fn begin(&self, hung: &Arc<HungDevices>) -> Option<CollectGuard<'_>> {
        if hung.holds(self.state.lock().device) {
            self.set_is_hung();
            return None;
        }
        if self.is_collecting.swap(true, Ordering::SeqCst) {
            return None;
        }
        Some(CollectGuard { monitored: self, hung: Arc::clone(hung) })
    }

    /// The sample of this database hangs. Unless it has returned just now, its device counts as
    /// hung.
    pub(super) fn set_hung(&self, hung: &HungDevices) {
        let mut state = self.state.lock();
        // The guard is dropped under the same lock, which removes what is added here.
        if !self.is_collecting.load(Ordering::SeqCst) {
            return;
        }
        if let Some(device) = state.device
            && state.hung_on.is_none()
        {
            hung.add(device);
            state.hung_on = Some(device);
        }
        self.mark_hung(&mut state);
    }

    /// The values stay and grow old, visibly.
    pub(super) fn set_is_hung(&self) {
        self.mark_hung(&mut self.state.lock());
    }

    /// Logs once that the file system does not respond.
    fn mark_hung(&self, state: &mut State) {
        if !state.is_hung {
            state.is_hung = true;
            tracing::warn!(
                db = self.database.name.as_str(),
                path = &*self.database.path.to_string_lossy(),
                "reading the database hangs in the file system; its values grow old until the file system responds"
            );
        }
    }

    /// The evidence for the next sample; `None` unless the last one read the database.
    pub(super) fn previous(&self) -> Option<PreviousCollection> {
        let state = self.state.lock();
        let (taken_at, collected_at) = state.taken_at?;
        let stamp = state.stamp.filter(|_| !state.has_writer);
        Some(PreviousCollection {
            stamp,
            taken_at,
            collected_at,
            file: state.read_file,
            facts: Arc::clone(state.facts.as_ref()?),
        })
    }

    /// Applies the result of a sample, and logs a change.
    pub(super) fn apply(&self, sample: Collected) {
        let mut state = self.state.lock();
        if let Some(main) = sample.stamp.and_then(|stamp| stamp.main) {
            let identity = main.identity();
            if state.identity.replace(identity).is_some_and(|before| before != identity) {
                state.replaced += 1;
                tracing::warn!(
                    db = self.database.name.as_str(),
                    "database file replaced (device, inode or birth time changed)"
                );
            }
            state.device = Some(main.device);
        }
        if sample.files.is_some() || !matches!(sample.outcome, CollectOutcome::Unchanged) {
            state.files = sample.files;
        }
        let before = (state.database_state, state.reason.clone());
        match sample.outcome {
            CollectOutcome::Unchanged => state.confirmed_at = Some(sample.taken_at),
            CollectOutcome::Up(facts) => {
                for code in facts.failures.iter().filter_map(|failure| failure.code) {
                    state.errors.count(code);
                }
                state.database_state = Some(DatabaseState::Up);
                state.was_database = true;
                state.down = None;
                state.reason = facts.failures.first().map(|failure| Arc::from(failure.message.as_str()));
                state.confirmed_at = Some(sample.taken_at);
                state.stamp = sample.stamp;
                state.read_file = sample.stamp.and_then(|stamp| stamp.main).map(|main| main.identity());
                state.taken_at = Some((sample.taken_at, Instant::now()));
                state.facts = Some(facts);
            }
            CollectOutcome::Busy(error) => {
                if let Some(code) = error.and_then(|error| error.code()) {
                    state.errors.count(code);
                }
                // The next sample must not take the old facts for proven.
                state.stamp = None;
                if state.database_state != Some(DatabaseState::Up) {
                    state.database_state = Some(DatabaseState::Pending);
                    state.down = None;
                    state.reason = Some(Arc::from("locked by another process since it was found"));
                }
            }
            CollectOutcome::Down(reason) => {
                let reason = if state.was_database { reason.of_former_database() } else { reason };
                state.down = Some(reason.label());
                if let Some(code) = reason.code() {
                    state.errors.count(code);
                }
                state.database_state = Some(DatabaseState::Down);
                state.reason = Some(Arc::from(reason.to_string()));
                state.facts = None;
                state.stamp = None;
                state.readings = Readings::default();
                // When it comes back, everything is collected anew even if its files are the same.
                self.last_runs.lock().clear();
            }
        }
        self.log_change(before, &state);
    }

    fn log_change(&self, before: (Option<DatabaseState>, Option<Arc<str>>), state: &State) {
        if before == (state.database_state, state.reason.clone()) {
            return;
        }
        // Passed as text, a value is quoted in the log's text form and plain in its JSON.
        let (db, path) = (self.database.name.as_str(), &*self.database.path.to_string_lossy());
        match (state.database_state, &state.reason) {
            (Some(DatabaseState::Down), Some(reason)) => {
                tracing::error!(db, path, reason = &**reason, "database is down");
            }
            (Some(DatabaseState::Up), Some(reason)) => {
                tracing::warn!(db, path, reason = &**reason, "database is up, but its schema cannot be read");
            }
            (Some(DatabaseState::Pending), Some(reason)) => {
                tracing::info!(db, path, reason = &**reason, "database is pending");
            }
            (Some(DatabaseState::Up), None) if before.0 == Some(DatabaseState::Down) => {
                tracing::info!(db, path, "database is up again");
            }
            (Some(DatabaseState::Up | DatabaseState::Down | DatabaseState::Pending) | None, _) => {
                tracing::debug!(db, path, "database is up");
            }
        }
    }

    /// The files as the kernel's list of locks names them, and what the last sample read of them.
    pub(super) fn lock_files(&self) -> Option<(LockFiles, Option<Arc<DatabaseFacts>>)> {
        let state = self.state.lock();
        Some((state.lock_files?, state.facts.clone()))
    }

    pub(super) fn set_lock_files(&self, files: Option<LockFiles>, has_writer: bool) {
        let mut state = self.state.lock();
        state.lock_files = files;
        state.has_writer = has_writer;
    }

    pub(super) fn locks(&self) -> Option<Arc<Locks>> {
        self.state.lock().locks.clone()
    }

    pub(super) fn owners(&self) -> Arc<OwnerState> {
        Arc::clone(&self.state.lock().owners)
    }

    pub(super) fn set_owners(&self, owners: Arc<OwnerState>) {
        self.state.lock().owners = owners;
    }

    pub(super) fn set_locks(&self, locks: Option<Arc<Locks>>) {
        self.state.lock().locks = locks;
    }

    /// Counts errors that a collector met.
    pub(super) fn count_errors(&self, codes: &[ErrorCode]) {
        let mut state = self.state.lock();
        codes.iter().for_each(|code| state.errors.count(*code));
    }

    /// The content as the last successful sample found it, if the database is up.
    pub(super) fn up_content(&self) -> Option<Content> {
        let state = self.state.lock();
        if state.database_state != Some(DatabaseState::Up) || state.is_hung {
            return None;
        }
        let change = state.facts.as_ref().and_then(|facts| facts.change);
        Some(Content { stamp: state.stamp?, change })
    }

    pub(super) fn readings(&self) -> Readings {
        self.state.lock().readings.clone()
    }

    /// Sets the value of a part of an interval collector, or removes it.
    pub(super) fn set_reading(
        &self,
        collector: &'static str,
        part: usize,
        value: Option<Arc<dyn CollectedValue>>,
    ) {
        self.state.lock().readings.set(collector, part, value);
    }

    pub(super) fn snapshot(&self) -> DatabaseSnapshot {
        let state = self.state.lock();
        DatabaseSnapshot {
            database: Arc::clone(&self.database),
            state: state.database_state.unwrap_or(DatabaseState::Pending),
            reason: if state.is_hung { Some(Arc::from(HUNG_MESSAGE)) } else { state.reason.clone() },
            down: state.down,
            confirmed_at: state.confirmed_at,
            facts: state.facts.clone(),
            files: state.files,
            filesystem: self.directory.facts(),
            locks: state.locks.clone(),
            owners: Arc::clone(&state.owners),
            errors: state.errors,
            replaced: state.replaced,
            readings: state.readings.clone(),
        }
    }
}

/// Logs a panic, which is a defect of litekeeper, with what is needed to report it.
pub(super) fn report_panic(database: &Database) {
    tracing::error!(
        db = database.name.as_str(),
        path = &*database.path.to_string_lossy(),
        "litekeeper panicked while reading this database; please report it with the panic message above"
    );
}
