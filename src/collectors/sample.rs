//! One sample of one database: file sizes, header, WAL, and the collectors that read in the same
//! transaction. Collected at every `sample_interval`.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::os::FileFacts;
use crate::os::FileIdentity;
use crate::os::FileKind;
use crate::os::FileSize;
use crate::os::nonempty_wal;
use crate::os::read_denied;
use crate::os::stat;
use crate::sqlite::ErrorCode;
use crate::sqlite::FileFormat;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::consistent_read::Consistent;
use super::consistent_read::ConsistentReadError;
use super::facts::DatabaseFacts;
use super::facts::DownReason;
use super::facts::SampleFailure;
use super::readings::Readings;
use super::registry::sample_collectors;
use super::unlocked::unlocked;

/// The longest that one sample may keep SQLite at work; a schema of 5,000 tables takes 8 ms of it.
pub const SAMPLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a sample retries to read a rollback database between two commits.
const SAMPLE_RETRY_TIMEOUT: Duration = Duration::from_millis(50);

/// After this long a database is read even though its files have not moved, because the times of
/// some file systems cannot be trusted.
const MAX_UNCHANGED_AGE: Duration = Duration::from_secs(3600);

/// A commit to a WAL moves the file's time when it writes its frames and is seen only after their
/// fsync. A WAL that was written less than this long before a sample is read again, whether or not
/// it moved. A longer fsync shows by the write lock that its writer holds, see
/// [`crate::collectors::LockTableSnapshot::has_wal_writer`].
const LONGEST_HIDDEN_FSYNC: Duration = Duration::from_secs(60);

/// The result of a sample.
#[derive(Debug, Clone)]
pub enum CollectOutcome {
    /// The files have not moved since the previous sample, so its facts still hold.
    Unchanged,
    /// The database was read.
    Up(Arc<DatabaseFacts>),
    /// Another process holds the lock that reading needs, which is no fault: nothing new is known.
    Busy(Option<SqliteError>),
    /// The database cannot be read.
    Down(DownReason),
}

/// One sample of one database.
#[derive(Debug, Clone)]
pub struct Collected {
    /// When the sample began.
    pub taken_at: SystemTime,
    /// How long the sample took.
    pub elapsed: Duration,
    /// Sizes, also of a database that is busy or damaged; `None` when it is not there, or unchanged
    /// in WAL mode.
    pub files: Option<FileFacts>,
    /// The evidence for the next sample.
    pub stamp: Option<DatabaseFingerprint>,
    /// The result.
    pub outcome: CollectOutcome,
}

/// What the previous sample left for the next.
#[derive(Debug, Clone)]
pub struct PreviousCollection {
    /// The files as they were, if that sample proved the facts.
    pub stamp: Option<DatabaseFingerprint>,
    /// When that sample began.
    pub taken_at: SystemTime,
    /// The same on a clock that nobody sets.
    pub collected_at: Instant,
    /// The file that was read.
    pub file: Option<FileIdentity>,
    /// What was read.
    pub facts: Arc<DatabaseFacts>,
}

/// Samples a database once. Two `stat` calls when nothing moved since `previous`; otherwise one
/// open, a read transaction of some 10 µs, and a close.
#[must_use]
pub fn sample_database(database: &Database, previous: Option<&PreviousCollection>) -> Collected {
    let taken_at = SystemTime::now();
    let started = Instant::now();
    let stamp = DatabaseFingerprint::read(&database.files);
    let (files, outcome, stamp) = match stamp {
        Ok(stamp) if previous.is_some_and(|previous| still_holds(previous, &stamp)) => {
            (journal_facts(database, &stamp, previous), CollectOutcome::Unchanged, Some(stamp))
        }
        Ok(stamp) => {
            let (outcome, read_from) = read_database(database, &stamp, previous);
            (file_facts(database, &stamp), outcome, Some(read_from.unwrap_or(stamp)))
        }
        Err(error) => (None, CollectOutcome::Down(DownReason::Stat(Arc::new(error))), None),
    };
    Collected { taken_at, elapsed: started.elapsed(), files, stamp, outcome }
}

fn still_holds(previous: &PreviousCollection, stamp: &DatabaseFingerprint) -> bool {
    previous.stamp == Some(*stamp)
        && !stamp.is_racy(previous.taken_at)
        && !stamp.may_hide_a_commit(previous.taken_at, LONGEST_HIDDEN_FSYNC)
        && previous.collected_at.elapsed() < MAX_UNCHANGED_AGE
}

/// Reads the facts, and returns with them the stamp under which they were read.
fn read_database(
    database: &Database,
    stamp: &DatabaseFingerprint,
    previous: Option<&PreviousCollection>,
) -> (CollectOutcome, Option<DatabaseFingerprint>) {
    let down = |reason| (CollectOutcome::Down(reason), None);
    let Some(main) = stamp.main else { return down(DownReason::Missing) };
    // Opening a named pipe would wait for its writer, so the kind is known first.
    if main.kind != FileKind::Regular {
        return down(DownReason::NotAFile(main.kind));
    }
    if main.size == 0 {
        return down(match nonempty_wal(&database.files) {
            Some(words) => DownReason::Damaged(words),
            None => DownReason::Format(FileFormat::Empty),
        });
    }
    let settings = &database.settings;
    let reads_more = sample_collectors().any(|collector| collector.is_enabled(settings));
    // Another file under the same name can have the same schema cookie.
    let previous = previous.filter(|previous| previous.file == Some(main.identity()));
    let limits = QueryLimits::with_timeout(SAMPLE_TIMEOUT);
    let read = unlocked(database, &limits, SAMPLE_RETRY_TIMEOUT, |reader| {
        read_facts(reader, Some(settings), previous.map(|previous| &*previous.facts))
    });
    let read = match read {
        // The collectors take longer than this owner rests between two commits; the header alone
        // does not.
        Ok(Consistent::Unstable) if reads_more => {
            unlocked(database, &limits, SAMPLE_RETRY_TIMEOUT, |reader| read_facts(reader, None, None))
        }
        read => read,
    };
    match read {
        Ok(Consistent::Read { answer, stamp }) => (CollectOutcome::Up(Arc::new(answer)), Some(stamp)),
        Ok(Consistent::Unstable) => (CollectOutcome::Busy(None), None),
        Err(ConsistentReadError::Query(error)) => match error.code() {
            Some(ErrorCode::Busy | ErrorCode::Locked) => (CollectOutcome::Busy(Some(error)), None),
            Some(ErrorCode::CannotOpen) => down(match read_denied(&database.files) {
                Some((file, error)) => DownReason::Denied(file, Arc::new(error)),
                None => DownReason::Sqlite(error),
            }),
            _ => down(match FileFormat::of_refused(&error, &database.path, main.size, &limits) {
                Some(format) if format.is_damaged() => DownReason::Damaged(format.to_string()),
                Some(format) => DownReason::Format(format),
                None => DownReason::Sqlite(error),
            }),
        },
        Err(ConsistentReadError::Missing) => down(DownReason::Missing),
        Err(ConsistentReadError::Stat(error)) => down(DownReason::Stat(Arc::new(error))),
    }
}

/// Reads the header, and with `settings` the values of the sample collectors. Those of `before`
/// stay where they are current.
fn read_facts(
    reader: &Reader,
    settings: Option<&DatabaseSettings>,
    before: Option<&DatabaseFacts>,
) -> Result<DatabaseFacts, SqliteError> {
    let header = reader.header()?;
    let wal = match header.journal_mode {
        JournalMode::Wal => reader.wal_frames(),
        JournalMode::Rollback => None,
    };
    let readings = Readings::default();
    let mut facts =
        DatabaseFacts { header, wal, change: reader.change_counter(), readings, failures: Vec::new() };
    let Some(settings) = settings else { return Ok(facts) };
    facts.readings = before.map(|before| before.readings.clone()).unwrap_or_default();
    for collector in sample_collectors() {
        let name = collector.name();
        if !collector.is_enabled(settings) {
            facts.readings.set(name, 0, None);
            continue;
        }
        let is_current = before.is_some_and(|before| collector.is_current(&before.header, &header));
        if is_current && facts.readings.has(name) {
            continue;
        }
        match collector.collect(reader) {
            Ok(value) => facts.readings.set(name, 0, Some(value)),
            Err(error) => {
                facts.readings.set(name, 0, None);
                facts.failures.push(SampleFailure { code: error.code(), message: error.to_string() });
            }
        }
    }
    Ok(facts)
}

/// Sizes of the files of a rollback database that did not move: its journal grows while a
/// transaction is in its owner's page cache. One more `stat` call. `None` in WAL mode, which has no
/// journal.
fn journal_facts(
    database: &Database,
    stamp: &DatabaseFingerprint,
    previous: Option<&PreviousCollection>,
) -> Option<FileFacts> {
    if previous?.facts.header.journal_mode == JournalMode::Wal {
        return None;
    }
    let journal = stat(&database.files.journal()).ok().flatten().map(FileSize::from);
    let (main, wal) = (stamp.main?.into(), stamp.wal.map(FileSize::from));
    Some(FileFacts { main, wal, shm: None, journal, last_write_seconds: stamp.last_write_seconds()? })
}

/// Sizes of all files. The -shm and -journal files cost two `stat` calls, which are made only when
/// something moved.
fn file_facts(database: &Database, stamp: &DatabaseFingerprint) -> Option<FileFacts> {
    let main = stamp.main.filter(|main| main.kind == FileKind::Regular)?;
    let companion = |path: &std::ffi::CStr| stat(path).ok().flatten().map(FileSize::from);
    Some(FileFacts {
        main: main.into(),
        wal: stamp.wal.map(FileSize::from),
        shm: companion(&database.files.shm()),
        journal: companion(&database.files.journal()),
        last_write_seconds: stamp.last_write_seconds()?,
    })
}
