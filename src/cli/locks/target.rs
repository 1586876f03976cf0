//! One file of `litekeeper locks`, and what is seen of it. It is opened by `sample::collected`
//! alone.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;

use crate::collectors::CollectOutcome;
use crate::collectors::DatabaseFacts;
use crate::collectors::DownReason;
use crate::collectors::LockTableSnapshot;
use crate::collectors::sample_database;
use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::database::DatabaseName;
use crate::database_files::DatabaseFiles;
use crate::database_files::is_sidecar;
use crate::locks::DecodedLocks;
use crate::locks::LockTracker;
use crate::locks::Locks;
use crate::os::LostLocks;
use crate::os::ProcessFacts;
use crate::os::owner_states;
use crate::sqlite::ErrorCode;

/// A file that is asked about.
pub(super) struct LockTarget {
    path: PathBuf,
    follower: LockTracker,
    /// What processes had lost at the last look for that, and when it was.
    lost: (Option<Instant>, Vec<LostLocks>),
}

/// What one look saw of a file.
pub(super) struct LockReport {
    pub path: PathBuf,
    pub observation: Result<Observation, String>,
}

/// Who holds what.
pub(super) struct Observation {
    pub locks: Locks,
    /// Processes that have lost their locks or files.
    pub lost: Vec<LostLocks>,
    /// What the database says of itself, where it could be read.
    pub facts: Option<Arc<DatabaseFacts>>,
    /// Why it could not.
    pub note: Option<String>,
}

/// A file as it was found, before its locks are listed.
struct OpenedFile {
    database: Database,
    main: crate::os::FileStat,
    facts: Option<Arc<DatabaseFacts>>,
    note: Option<String>,
}

impl LockTarget {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, follower: LockTracker::default(), lost: (None, Vec::new()) }
    }

    /// Joins two lists, from before and after the look into the database.
    fn see(
        &mut self,
        found: OpenedFile,
        before: &LockTableSnapshot,
        after: &LockTableSnapshot,
        processes: &mut ProcessCache,
    ) -> Result<Observation, String> {
        let OpenedFile { database, main, facts, note } = found;
        let hidden = "the kernel does not report the device under which it lists locks on this file system";
        let facts_now = facts.as_deref();
        let decoded = |read_locks: &LockTableSnapshot| {
            let files = read_locks.files_of(&database, main).ok_or_else(|| hidden.to_owned())?;
            Ok::<DecodedLocks, String>(read_locks.decode(files, facts_now))
        };
        let (earlier, now) = (decoded(before)?, decoded(after)?);
        let there_before: Vec<_> = earlier.held.iter().map(|held| (held.lock, held.pid)).collect();
        let lock_sample = after.sample(now, facts_now);
        let (mut locks, _) = self.follower.observe(lock_sample, |pid| processes.process(pid));
        // A mark belongs to its holder only if that held the lock before and after the mark was
        // read.
        for hold in &mut locks.holds {
            if !there_before.contains(&(hold.lock, hold.owner.pid)) {
                hold.pinned_frames = None;
            }
        }
        Ok(Observation { locks, lost: self.lost.1.clone(), facts, note })
    }
}

/// Processes that have been asked about in one look.
#[derive(Default)]
struct ProcessCache(HashMap<u32, Option<Arc<ProcessFacts>>>);

impl ProcessCache {
    fn process(&mut self, pid: u32) -> Option<Arc<ProcessFacts>> {
        self.0.entry(pid).or_insert_with(|| ProcessFacts::read(pid).map(Arc::new)).clone()
    }
}

/// Looks at every file once.
pub(super) fn observe(targets: &mut [LockTarget]) -> anyhow::Result<Vec<LockReport>> {
    let read_locks = || {
        LockTableSnapshot::read().context("/proc/locks cannot be read; this needs Linux with /proc mounted")
    };
    let before = read_locks()?;
    let found: Vec<Result<OpenedFile, String>> = targets.iter().map(|target| find(&target.path)).collect();
    let after = read_locks()?;
    update_lost_locks(targets, &found);
    let mut processes = ProcessCache::default();
    let report = |(target, found): (&mut LockTarget, Result<OpenedFile, String>)| {
        let observation = found.and_then(|found| target.see(found, &before, &after, &mut processes));
        LockReport { path: target.path.clone(), observation }
    };
    Ok(targets.iter_mut().zip(found).map(report).collect())
}

/// Looks for processes that have lost locks, with one pass over their descriptors, at most every
/// few seconds.
fn update_lost_locks(targets: &mut [LockTarget], found: &[Result<OpenedFile, String>]) {
    const EVERY: Duration = Duration::from_secs(5);
    if targets.iter().all(|target| target.lost.0.is_some_and(|at| at.elapsed() < EVERY)) {
        return;
    }
    let databases: Vec<(usize, &DatabaseFiles)> = found
        .iter()
        .enumerate()
        .filter_map(|(index, found)| Some((index, &found.as_ref().ok()?.database.files)))
        .collect();
    let files: Vec<&DatabaseFiles> = databases.iter().map(|(_, files)| *files).collect();
    let states = owner_states(&files);
    let now = Instant::now();
    targets.iter_mut().for_each(|target| target.lost = (Some(now), Vec::new()));
    for ((index, _), state) in databases.iter().zip(states) {
        targets[*index].lost.1 = state.lost;
    }
}

fn find(path: &Path) -> Result<OpenedFile, String> {
    let resolved = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
    if is_sidecar(&resolved) {
        return Err(
            "this is a file that SQLite creates beside a database; specify the database itself".to_owned()
        );
    }
    let mut settings = DatabaseSettings::default();
    settings.collectors.schema = false;
    let name = DatabaseName::new(&resolved.to_string_lossy());
    let database = Database::new(name, resolved, Arc::new(settings), 0);
    let collected = sample_database(&database, None);
    let (facts, note) = match collected.outcome {
        CollectOutcome::Up(facts) => (Some(facts), None),
        CollectOutcome::Unchanged => (None, None),
        CollectOutcome::Busy(_) => (None, Some("locked: its header cannot be read now".to_owned())),
        CollectOutcome::Down(reason) => match cause(&reason) {
            Cause::NoDatabase => return Err(reason.to_string()),
            Cause::Unreadable => (None, Some(reason.to_string())),
        },
    };
    let main = collected.stamp.and_then(|stamp| stamp.main).ok_or_else(|| "no such file".to_owned())?;
    Ok(OpenedFile { database, main, facts, note })
}

enum Cause {
    /// There is nothing whose locks could mean anything.
    NoDatabase,
    /// Its locks mean what they mean, though it cannot be read.
    Unreadable,
}

fn cause(reason: &DownReason) -> Cause {
    match reason {
        DownReason::Missing | DownReason::NotAFile(_) | DownReason::Empty | DownReason::Stat(_) => {
            Cause::NoDatabase
        }
        DownReason::Sqlite(error) if error.code() == Some(ErrorCode::NotADatabase) => Cause::NoDatabase,
        DownReason::Sqlite(_) | DownReason::Denied(..) | DownReason::Encrypted => Cause::Unreadable,
    }
}
