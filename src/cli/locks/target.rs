//! Samples the locks on one file of `litekeeper locks`. Only `sample_database` opens the file.

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
use crate::database_files::is_companion;
use crate::locks::DecodedLocks;
use crate::locks::LockTracker;
use crate::locks::Locks;
use crate::os::LostLocks;
use crate::os::ProcessFacts;
use crate::os::owner_states;
use crate::sqlite::ErrorCode;
use crate::sqlite::FileFormat;

/// A file of the command line.
pub(super) struct LockTarget {
    path: PathBuf,
    follower: LockTracker,
    /// Processes that had lost their locks, and when this was last determined.
    lost: (Option<Instant>, Vec<LostLocks>),
}

/// One sample of a file.
pub(super) struct LockReport {
    pub path: PathBuf,
    pub observation: Result<Observation, String>,
}

/// The locks on a database, and what could be read from it.
pub(super) struct Observation {
    pub locks: Locks,
    /// Processes that have lost their locks or files.
    pub lost: Vec<LostLocks>,
    /// The content of the header, if it could be read.
    pub facts: Option<Arc<DatabaseFacts>>,
    /// Why the header could not be read.
    pub note: Option<String>,
}

/// A file that was read, before its locks are decoded.
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

    /// Combines the lock tables from before and after reading the database.
    fn combine(
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
        let held_before: Vec<_> = earlier.held.iter().map(|held| (held.lock, held.pid)).collect();
        let lock_sample = after.sample(now, facts_now);
        let (mut locks, _) = self.follower.observe(lock_sample, |pid| processes.process(pid));
        // A read mark belongs to a process only if it held the lock both before and after the mark
        // was read.
        for hold in &mut locks.holds {
            if !held_before.contains(&(hold.lock, hold.owner.pid)) {
                hold.pinned_frames = None;
            }
        }
        Ok(Observation { locks, lost: self.lost.1.clone(), facts, note })
    }
}

/// Caches facts about processes during one sample.
#[derive(Default)]
struct ProcessCache(HashMap<u32, Option<Arc<ProcessFacts>>>);

impl ProcessCache {
    fn process(&mut self, pid: u32) -> Option<Arc<ProcessFacts>> {
        self.0.entry(pid).or_insert_with(|| ProcessFacts::read(pid).map(Arc::new)).clone()
    }
}

/// Samples every file once.
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
        let observation = found.and_then(|found| target.combine(found, &before, &after, &mut processes));
        LockReport { path: target.path.clone(), observation }
    };
    Ok(targets.iter_mut().zip(found).map(report).collect())
}

/// Finds processes that have lost locks in one pass over their file descriptors, at most every few
/// seconds.
fn update_lost_locks(targets: &mut [LockTarget], found: &[Result<OpenedFile, String>]) {
    const INTERVAL: Duration = Duration::from_secs(5);
    if targets.iter().all(|target| target.lost.0.is_some_and(|at| at.elapsed() < INTERVAL)) {
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
    if is_companion(&resolved) {
        return Err("SQLite creates this file beside a database; specify the database itself".to_owned());
    }
    let mut settings = DatabaseSettings::default();
    settings.collectors.schema = false;
    let name = DatabaseName::new(&resolved.to_string_lossy());
    let database = Database::new(name, resolved, Arc::new(settings), 0);
    let collected = sample_database(&database, None);
    let (facts, note) = match collected.outcome {
        CollectOutcome::Up(facts) => (Some(facts), None),
        CollectOutcome::Unchanged => (None, None),
        CollectOutcome::Busy(_) => {
            (None, Some("the header cannot be read now, because the database is locked".to_owned()))
        }
        CollectOutcome::Down(reason) => match cause(&reason) {
            Cause::NoDatabase => return Err(reason.to_string()),
            Cause::Unreadable => (None, Some(reason.to_string())),
        },
    };
    let main =
        collected.stamp.and_then(|stamp| stamp.main).ok_or_else(|| "the file does not exist".to_owned())?;
    Ok(OpenedFile { database, main, facts, note })
}

enum Cause {
    /// The file is not a database, so that its locks have no meaning.
    NoDatabase,
    /// The database cannot be read, but its locks have their usual meaning.
    Unreadable,
}

fn cause(reason: &DownReason) -> Cause {
    match reason {
        DownReason::Missing | DownReason::NotAFile(_) | DownReason::Stat(_) => Cause::NoDatabase,
        DownReason::Sqlite(error) if error.code() == Some(ErrorCode::NotADatabase) => Cause::NoDatabase,
        DownReason::Format(
            FileFormat::Encrypted | FileFormat::NewerVersion(_) | FileFormat::NewerSchema(_),
        ) => Cause::Unreadable,
        DownReason::Format(_) | DownReason::Damaged(_) => Cause::NoDatabase,
        DownReason::Sqlite(_) | DownReason::Denied(..) => Cause::Unreadable,
    }
}
