//! One file of `litekeeper locks`, and what is seen of it. It is opened by `sample::collected` alone.

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
    pub seen: Result<Seen, String>,
}

/// Who holds what.
pub(super) struct Seen {
    pub locks: Locks,
    /// Processes that have lost their locks or files.
    pub lost: Vec<LostLocks>,
    /// What the database says of itself, where it could be read.
    pub facts: Option<Arc<DatabaseFacts>>,
    /// Why it could not.
    pub note: Option<String>,
}

/// A file as it was found, before its locks are listed.
struct Found {
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
        found: Found,
        before: &LockTableSnapshot,
        after: &LockTableSnapshot,
        known: &mut Known,
    ) -> Result<Seen, String> {
        let Found { database, main, facts, note } = found;
        let hidden = "the kernel does not tell under which device it lists locks on this file system";
        let facts_now = facts.as_deref();
        let decoded = |list: &LockTableSnapshot| {
            let files = list.files_of(&database, main).ok_or_else(|| hidden.to_owned())?;
            Ok::<DecodedLocks, String>(list.decode(files, facts_now))
        };
        let (earlier, now) = (decoded(before)?, decoded(after)?);
        let there_before: Vec<_> = earlier.held.iter().map(|held| (held.lock, held.pid)).collect();
        let lock_sample = after.sample(now, facts_now);
        let (mut locks, _) = self.follower.observe(lock_sample, |pid| known.process(pid));
        // A mark belongs to its holder only if that held the lock before and after the mark was read.
        for hold in &mut locks.holds {
            if !there_before.contains(&(hold.lock, hold.owner.pid)) {
                hold.pinned_frames = None;
            }
        }
        Ok(Seen { locks, lost: self.lost.1.clone(), facts, note })
    }
}

/// Processes that have been asked about in one look.
#[derive(Default)]
struct Known(HashMap<u32, Option<Arc<ProcessFacts>>>);

impl Known {
    fn process(&mut self, pid: u32) -> Option<Arc<ProcessFacts>> {
        self.0.entry(pid).or_insert_with(|| ProcessFacts::read(pid).map(Arc::new)).clone()
    }
}

/// Looks at every file once.
pub(super) fn observe(subjects: &mut [LockTarget]) -> anyhow::Result<Vec<LockReport>> {
    let list = || {
        LockTableSnapshot::read().context("/proc/locks, where the system says who holds locks, cannot be read; it takes Linux with /proc mounted")
    };
    let before = list()?;
    let found: Vec<Result<Found, String>> = subjects.iter().map(|subject| find(&subject.path)).collect();
    let after = list()?;
    look_for_lost_locks(subjects, &found);
    let mut known = Known::default();
    let sight = |(subject, found): (&mut LockTarget, Result<Found, String>)| {
        let seen = found.and_then(|found| subject.see(found, &before, &after, &mut known));
        LockReport { path: subject.path.clone(), seen }
    };
    Ok(subjects.iter_mut().zip(found).map(sight).collect())
}

/// Looks for processes that have lost locks, with one pass over their descriptors, at most every few seconds.
fn look_for_lost_locks(subjects: &mut [LockTarget], found: &[Result<Found, String>]) {
    const EVERY: Duration = Duration::from_secs(5);
    if subjects.iter().all(|subject| subject.lost.0.is_some_and(|at| at.elapsed() < EVERY)) {
        return;
    }
    let databases: Vec<(usize, &DatabaseFiles)> = found
        .iter()
        .enumerate()
        .filter_map(|(index, found)| Some((index, &found.as_ref().ok()?.database.files)))
        .collect();
    let files: Vec<&DatabaseFiles> = databases.iter().map(|(_, files)| *files).collect();
    let states = owner_states(&files).states;
    let now = Instant::now();
    subjects.iter_mut().for_each(|subject| subject.lost = (Some(now), Vec::new()));
    for ((index, _), state) in databases.iter().zip(states) {
        subjects[*index].lost.1 = state.lost;
    }
}

fn find(path: &Path) -> Result<Found, String> {
    let resolved = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
    if is_sidecar(&resolved) {
        return Err("this is a file that SQLite keeps beside a database; name the database itself".to_owned());
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
            (None, Some("locked: what it says of itself cannot be read now".to_owned()))
        }
        CollectOutcome::Down(reason) => match cause(&reason) {
            Cause::NoDatabase => return Err(reason.to_string()),
            Cause::Unreadable => (None, Some(reason.to_string())),
        },
    };
    let main = collected.stamp.and_then(|stamp| stamp.main).ok_or_else(|| "no such file".to_owned())?;
    Ok(Found { database, main, facts, note })
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
