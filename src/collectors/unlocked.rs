//! Reads a rollback database without a lock.
//!
//! Readers of a WAL database block no writer, so a WAL database is read under SQLite's locks.
//! Without a `-wal` file the main file is read with `immutable=1` between two equal marks, and the
//! result is discarded if anything changed. An owner without a busy timeout gets no error from such
//! a read; a read may get no result, and then the old values stay.

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::database::Database;
use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::os::FileKind;
use crate::os::stat;
use crate::sqlite::Access;
use crate::sqlite::Activity;
use crate::sqlite::ErrorCode;
use crate::sqlite::HeaderSnapshot;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::consistent_read::Consistent;
use super::consistent_read::ConsistentReadError;
use super::consistent_read::OpenFailure;
use super::consistent_read::read_consistently;

/// The pause between two checks for an active writer: a commit takes fractions of a millisecond to
/// some milliseconds.
const POLL: Duration = Duration::from_micros(200);

/// A journal counts as left by a crash when this many checks in a row find its header and no
/// writer.
const HOT_JOURNAL_CHECKS: u32 = 5;

/// A commit undoes what was read of a rollback database, so a collector may take a tenth of the
/// time there that it may take in a WAL database.
pub(super) const ROLLBACK_TIMEOUT_DIVISOR: u32 = 10;

/// How long an interval collector retries to read a rollback database between two commits.
pub(super) const RETRY_TIMEOUT: Duration = Duration::from_millis(300);

/// The result of one attempt.
enum Attempt<T, E> {
    /// The result, proved to be of one state, and the files as they were before.
    Read(Result<T, E>, DatabaseFingerprint),
    /// A writer changed the database.
    Changed,
    /// A writer was active all the time.
    Locked,
    /// There is a WAL, a journal that a crash left, or no header: only SQLite's own locking can
    /// read that.
    NeedsLocks,
}

/// Runs `query` as [`read_consistently`] does, but without a lock where there is no WAL.
/// Retries for at most `try_for`.
///
/// # Errors
/// See [`ConsistentReadError`].
pub(super) fn unlocked<T, E: From<SqliteError> + OpenFailure>(
    database: &Database,
    limits: &QueryLimits,
    try_for: Duration,
    query: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    read_unlocked(&database.path, &database.files, limits, try_for, query)
}

/// `None` for a database that was locked or changed all the time.
pub(super) fn none_if_busy<T, E>(
    read: Result<Consistent<T>, ConsistentReadError<E>>,
    code: impl Fn(&E) -> Option<ErrorCode>,
) -> Result<Option<T>, ConsistentReadError<E>> {
    match read {
        Ok(Consistent::Read { answer, .. }) => Ok(Some(answer)),
        Ok(Consistent::Unstable) => Ok(None),
        Err(ConsistentReadError::Query(error))
            if matches!(code(&error), Some(ErrorCode::Busy | ErrorCode::Locked)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// As [`unlocked`], for a database that is known by its path alone.
///
/// # Errors
/// See [`ConsistentReadError`].
pub fn read_unlocked<T, E: From<SqliteError> + OpenFailure>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    try_for: Duration,
    mut query: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    let started = Instant::now();
    let mut has_moved = false;
    loop {
        match try_read(path, files, limits, started + try_for, &mut query)? {
            Attempt::Read(Ok(answer), stamp) => return Ok(Consistent::Read { answer, stamp }),
            Attempt::Read(Err(error), _) => return Err(ConsistentReadError::Query(error)),
            Attempt::NeedsLocks => return read_consistently(path, files, limits, query),
            Attempt::Changed if started.elapsed() >= try_for || limits.is_exceeded() => {
                return Ok(Consistent::Unstable);
            }
            Attempt::Changed => has_moved = true,
            // The writer of a long transaction, or the next one of many short ones.
            Attempt::Locked if has_moved => return Ok(Consistent::Unstable),
            Attempt::Locked => return Err(ConsistentReadError::Query(SqliteError::writer_at_work().into())),
        }
    }
}

/// Runs `query` without a lock where that is possible, and under SQLite's locks where writers leave
/// no time for it: for a short query of a task, which needs a result.
///
/// # Errors
/// See [`ConsistentReadError`].
pub fn read_preferably_unlocked<T, E: From<SqliteError> + OpenFailure>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    mut query: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    const TRY_FOR: Duration = Duration::from_secs(1);
    let is_busy = |error: &E| {
        error.sqlite_error().and_then(SqliteError::code).is_some_and(|code| code == ErrorCode::Busy)
    };
    match read_unlocked(path, files, limits, TRY_FOR, &mut query) {
        Ok(Consistent::Unstable) => read_consistently(path, files, limits, query),
        Err(ConsistentReadError::Query(error)) if is_busy(&error) => {
            read_consistently(path, files, limits, query)
        }
        other => other,
    }
}

fn try_read<T, E: From<SqliteError>>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    until: Instant,
    query: &mut impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Attempt<T, E>, ConsistentReadError<E>> {
    let (taken_at, stamp) = (SystemTime::now(), DatabaseFingerprint::read(files)?);
    if stamp.main.is_none() {
        return Err(ConsistentReadError::Missing);
    }
    if stamp.wal.is_some() {
        return Ok(Attempt::NeedsLocks);
    }
    let mut reader = match Reader::open(path, Access::Immutable, limits) {
        Ok(reader) => reader,
        Err(error) => return Ok(Attempt::Read(Err(error.into()), stamp)),
    };
    let journal = files.journal();
    let before = match wait_for_quiet(&reader, &journal, until) {
        Ok(Quiescence::Now(before)) => before,
        Ok(Quiescence::Later) => return Ok(Attempt::Changed),
        Ok(Quiescence::Never) => return Ok(Attempt::Locked),
        Err(CannotReadUnlocked) => return Ok(Attempt::NeedsLocks),
    };
    let answer = query(&mut reader);
    // Page 1 alone is one state of the database whatever a writer does to the others, and errors
    // prove nothing.
    let is_page_one = answer.is_ok() && reader.has_read_page_one_alone();
    let Ok(after) = reader.activity(|| nonempty_journal(&journal)) else { return Ok(Attempt::Changed) };
    let is_proved = match after {
        Activity::AtRest(mark) | Activity::Open(mark) => mark == before.mark,
        Activity::Writing | Activity::Hot => {
            is_page_one && reader.mark().is_ok_and(|mark| mark == before.mark)
        }
    };
    let now = DatabaseFingerprint::read(files)?;
    // SQLite compares the header with the size that the file had when it was opened.
    let is_as_long = now.main.map(|main| main.size) == stamp.main.map(|main| main.size);
    let is_whole = !before.is_open || !stamp.is_racy(taken_at);
    let is_still = now == stamp && is_whole || is_page_one && is_as_long && now.wal.is_none();
    Ok(if is_proved && is_still { Attempt::Read(answer, stamp) } else { Attempt::Changed })
}

/// A moment at which nothing changed the main file, to compare with a later one.
pub(super) struct StableState {
    stamp: DatabaseFingerprint,
    before: QuietState,
    is_whole: bool,
}

impl StableState {
    /// Records the moment; `None` while a writer is active.
    pub(super) fn begin(reader: &Reader, files: &DatabaseFiles) -> io::Result<Option<Self>> {
        let (taken_at, stamp) = (SystemTime::now(), DatabaseFingerprint::read(files)?);
        Ok(match wait_for_quiet(reader, &files.journal(), Instant::now()) {
            Ok(Quiescence::Now(before)) => {
                let is_whole = !before.is_open || !stamp.is_racy(taken_at);
                Some(Self { stamp, before, is_whole })
            }
            Ok(Quiescence::Later | Quiescence::Never) | Err(CannotReadUnlocked) => None,
        })
    }

    /// Whether the main file is unchanged since.
    pub(super) fn is_unchanged(&self, reader: &Reader, files: &DatabaseFiles) -> io::Result<bool> {
        let journal = files.journal();
        let Ok(after) = reader.activity(|| nonempty_journal(&journal)) else { return Ok(false) };
        let is_proved = match after {
            Activity::AtRest(mark) | Activity::Open(mark) => mark == self.before.mark,
            Activity::Writing | Activity::Hot => false,
        };
        Ok(is_proved && self.is_whole && DatabaseFingerprint::read(files)? == self.stamp)
    }
}

/// A database that holds its last commit.
struct QuietState {
    mark: HeaderSnapshot,
    /// A transaction is open, whose commits may move nothing but the file's time.
    is_open: bool,
}

/// Whether a database has no active writer.
enum Quiescence {
    /// It had none at the first check.
    Now(QuietState),
    /// It had none after a while, so it must be opened anew.
    Later,
    /// A writer is active all the time.
    Never,
}

/// The database cannot be read without a lock.
struct CannotReadUnlocked;

/// Waits until no writer is active. The size that SQLite read when it opened the file may be old by
/// then.
fn wait_for_quiet(reader: &Reader, journal: &CStr, until: Instant) -> Result<Quiescence, CannotReadUnlocked> {
    let (mut hot_looks, mut has_waited) = (0, false);
    loop {
        match reader.activity(|| nonempty_journal(journal)).map_err(|_| CannotReadUnlocked)? {
            Activity::AtRest(_) | Activity::Open(_) if has_waited => return Ok(Quiescence::Later),
            Activity::AtRest(mark) => return Ok(Quiescence::Now(QuietState { mark, is_open: false })),
            Activity::Open(mark) => return Ok(Quiescence::Now(QuietState { mark, is_open: true })),
            Activity::Writing => hot_looks = 0,
            Activity::Hot => hot_looks += 1,
        }
        if hot_looks >= HOT_JOURNAL_CHECKS {
            return Err(CannotReadUnlocked);
        }
        if Instant::now() >= until {
            return Ok(Quiescence::Never);
        }
        has_waited = true;
        std::thread::sleep(POLL);
    }
}

/// The journal, if it has content. A pipe under its name would make an open wait.
fn nonempty_journal(journal: &CStr) -> Option<&CStr> {
    let stat = stat(journal).ok().flatten()?;
    (stat.kind == FileKind::Regular && stat.size > 0).then_some(journal)
}
