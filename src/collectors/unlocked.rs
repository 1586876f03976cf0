//! Watching without a lock on a rollback database.
//!
//! A WAL database's readers keep nobody from writing, so it is read under SQLite's locks as ever. Without a `-wal` the main
//! file is read with `immutable=1` between two equal marks, and thrown away if anything moved. An owner without a
//! busy timeout gets no error from a look, and a look may get no answer: then the values from before stay.

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::database::Database;
use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::FileKind;
use crate::os::Stamp;
use crate::os::stat;
use crate::sqlite::Access;
use crate::sqlite::Activity;
use crate::sqlite::ErrorCode;
use crate::sqlite::Mark;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::consistent_read::Consistent;
use super::consistent_read::ConsistentReadError;
use super::consistent_read::OpenFailure;
use super::consistent_read::settled;

/// The pause before a writer at work is asked for again: commits are over in fractions of a millisecond to some.
const POLL: Duration = Duration::from_micros(200);

/// A journal counts as left by a crash when this many looks in a row find its header and no writer.
const HOT_LOOKS: u32 = 5;

/// What one try gave.
enum Try<T, E> {
    /// The answer, proved, and the files as they were before.
    Answer(Result<T, E>, Stamp),
    /// Somebody wrote.
    Moved,
    /// Somebody was writing all the time.
    Locked,
    /// There is a WAL, a journal that was left, or no header: SQLite itself has to say what that means.
    NotHere,
}

/// Asks an open database `question` as [`settled`] does, but without a lock where it is no WAL database with a WAL.
/// Tries for `try_for` at the most, and once in any case.
///
/// # Errors
/// See [`ConsistentReadError`].
pub(super) fn unlocked<T, E: From<SqliteError> + OpenFailure>(
    database: &Database,
    limits: &QueryLimits,
    try_for: Duration,
    question: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    read_unlocked(&database.path, &database.files, limits, try_for, question)
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
    mut question: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    let started = Instant::now();
    let mut has_moved = false;
    loop {
        match attempt(path, files, limits, started + try_for, &mut question)? {
            Try::Answer(Ok(answer), stamp) => return Ok(Consistent::Read { answer, stamp }),
            Try::Answer(Err(error), _) => return Err(ConsistentReadError::Query(error)),
            Try::NotHere => return settled(path, files, limits, question),
            Try::Moved if started.elapsed() >= try_for || limits.is_exceeded() => {
                return Ok(Consistent::Moving);
            }
            Try::Moved => has_moved = true,
            // The writer of a long transaction, or the next one of many short ones.
            Try::Locked if has_moved => return Ok(Consistent::Moving),
            Try::Locked => return Err(ConsistentReadError::Query(SqliteError::writer_at_work().into())),
        }
    }
}

/// Asks `question` without a lock where that is possible, and under SQLite's locks where writers leave no time for it. It is
/// for a short question of a task, which needs its answer.
///
/// # Errors
/// See [`ConsistentReadError`].
pub fn read_preferably_unlocked<T, E: From<SqliteError> + OpenFailure>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    mut question: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    const TRY_FOR: Duration = Duration::from_secs(1);
    let is_busy = |error: &E| {
        error.sqlite_error().and_then(SqliteError::code).is_some_and(|code| code == ErrorCode::Busy)
    };
    match read_unlocked(path, files, limits, TRY_FOR, &mut question) {
        Ok(Consistent::Moving) => settled(path, files, limits, question),
        Err(ConsistentReadError::Query(error)) if is_busy(&error) => settled(path, files, limits, question),
        other => other,
    }
}

fn attempt<T, E: From<SqliteError>>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    until: Instant,
    question: &mut impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Try<T, E>, ConsistentReadError<E>> {
    let (taken_at, stamp) = (SystemTime::now(), Stamp::take(files)?);
    if stamp.main.is_none() {
        return Err(ConsistentReadError::Missing);
    }
    if stamp.wal.is_some() {
        return Ok(Try::NotHere);
    }
    let mut reader = match Reader::open(path, Access::AtRest, limits) {
        Ok(reader) => reader,
        Err(error) => return Ok(Try::Answer(Err(error.into()), stamp)),
    };
    let journal = files.journal();
    let before = match rest(&reader, &journal, until) {
        Ok(Resting::Now(before)) => before,
        Ok(Resting::Since) => return Ok(Try::Moved),
        Ok(Resting::Never) => return Ok(Try::Locked),
        Err(NoRest) => return Ok(Try::NotHere),
    };
    let answer = question(&mut reader);
    // Page 1 alone is one state of the database whatever a writer does to the others, and errors prove nothing.
    let is_page_one = answer.is_ok() && reader.has_read_page_one_alone();
    let Ok(after) = reader.activity(|| content(&journal)) else { return Ok(Try::Moved) };
    let is_proved = match after {
        Activity::AtRest(mark) | Activity::Open(mark) => mark == before.mark,
        Activity::Writing | Activity::Hot => {
            is_page_one && reader.mark().is_ok_and(|mark| mark == before.mark)
        }
    };
    let now = Stamp::take(files)?;
    // SQLite compares the header with the size that the file had when it was opened.
    let is_as_long = now.main.map(|main| main.size) == stamp.main.map(|main| main.size);
    let is_whole = !before.is_open || !stamp.is_racy(taken_at);
    let is_still = now == stamp && is_whole || is_page_one && is_as_long && now.wal.is_none();
    Ok(if is_proved && is_still { Try::Answer(answer, stamp) } else { Try::Moved })
}

/// A moment at which nobody changed the main file, to be held against a later one.
pub(super) struct Still {
    stamp: Stamp,
    before: Rest,
    is_whole: bool,
}

impl Still {
    /// Notes the moment; `None` while somebody writes.
    pub(super) fn begin(reader: &Reader, files: &DatabaseFiles) -> io::Result<Option<Self>> {
        let (taken_at, stamp) = (SystemTime::now(), Stamp::take(files)?);
        Ok(match rest(reader, &files.journal(), Instant::now()) {
            Ok(Resting::Now(before)) => {
                let is_whole = !before.is_open || !stamp.is_racy(taken_at);
                Some(Self { stamp, before, is_whole })
            }
            Ok(Resting::Since | Resting::Never) | Err(NoRest) => None,
        })
    }

    /// Whether nobody has changed the main file since.
    pub(super) fn is_unchanged(&self, reader: &Reader, files: &DatabaseFiles) -> io::Result<bool> {
        let journal = files.journal();
        let Ok(after) = reader.activity(|| content(&journal)) else { return Ok(false) };
        let is_proved = match after {
            Activity::AtRest(mark) | Activity::Open(mark) => mark == self.before.mark,
            Activity::Writing | Activity::Hot => false,
        };
        Ok(is_proved && self.is_whole && Stamp::take(files)? == self.stamp)
    }
}

/// A database that holds its last commit.
struct Rest {
    mark: Mark,
    /// A transaction is open, whose commits may move nothing but the file's time.
    is_open: bool,
}

/// Whether a database is at rest.
enum Resting {
    /// It is, and was when it was asked for.
    Now(Rest),
    /// It is after a while, so that it has to be opened anew.
    Since,
    /// A writer is at work all the time.
    Never,
}

/// Nothing that could be read without a lock.
struct NoRest;

/// Waits until nobody writes. What SQLite knew of the file when it was opened, its size, may be old by then.
fn rest(reader: &Reader, journal: &CStr, until: Instant) -> Result<Resting, NoRest> {
    let (mut hot_looks, mut has_waited) = (0, false);
    loop {
        match reader.activity(|| content(journal)).map_err(|_| NoRest)? {
            Activity::AtRest(_) | Activity::Open(_) if has_waited => return Ok(Resting::Since),
            Activity::AtRest(mark) => return Ok(Resting::Now(Rest { mark, is_open: false })),
            Activity::Open(mark) => return Ok(Resting::Now(Rest { mark, is_open: true })),
            Activity::Writing => hot_looks = 0,
            Activity::Hot => hot_looks += 1,
        }
        if hot_looks >= HOT_LOOKS {
            return Err(NoRest);
        }
        if Instant::now() >= until {
            return Ok(Resting::Never);
        }
        has_waited = true;
        std::thread::sleep(POLL);
    }
}

/// The journal, if it has content. A pipe under its name would make an open wait.
fn content(journal: &CStr) -> Option<&CStr> {
    let stat = stat(journal).ok().flatten()?;
    (stat.kind == FileKind::Regular && stat.size > 0).then_some(journal)
}
