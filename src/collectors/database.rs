//! The S-class look: file sizes, header, WAL, and the schema's objects when the schema moved.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::database::Database;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::os::FileFacts;
use crate::os::FileIdentity;
use crate::os::FileKind;
use crate::os::FileSize;
use crate::os::read_denied;
use crate::os::stat;
use crate::sqlite::ChangeCounter;
use crate::sqlite::ENCRYPTED;
use crate::sqlite::ErrorCode;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SchemaObjects;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;
use crate::sqlite::is_of_encrypted_file;

use super::consistent_read::Consistent;
use super::consistent_read::ConsistentReadError;
use super::unlocked::unlocked;

/// The longest that one look may keep SQLite at work; a schema of 5,000 tables takes 8 ms of it.
pub const SAMPLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one look at a rollback database tries to meet it between two commits.
const SAMPLE_RETRY_TIMEOUT: Duration = Duration::from_millis(50);

/// After this long a database is looked at even though its files have not moved, against file
/// systems whose times cannot be trusted.
const MAX_UNCHANGED_AGE: Duration = Duration::from_secs(3600);

/// A commit to a WAL moves the file's time when it writes its frames and is seen only after their fsync. A WAL that was
/// written less than this long before a look is looked at again, whether or not it moved. A longer fsync shows by the
/// write lock that its writer holds, see [`crate::collectors::LockTableSnapshot::has_wal_writer`].
const LONGEST_HIDDEN_FSYNC: Duration = Duration::from_secs(60);

/// What a look reads from an open database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Header and pager.
    pub header: Header,
    /// The WAL; `None` outside WAL mode, and where no wal-index tells.
    pub wal: Option<WalFrames>,
    /// Moves with every commit.
    pub change: Option<ChangeCounter>,
    /// Objects of the schema; `None` when not collected or unreadable.
    pub objects: Option<SchemaObjects>,
    /// Why the schema could not be read. The database is up all the same: page 1 was.
    pub schema_error: Option<SchemaError>,
}

/// A schema that SQLite would not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Its class.
    pub code: Option<ErrorCode>,
    /// SQLite's words.
    pub message: String,
}

/// Why a database is down.
#[derive(Debug, Clone)]
pub enum DownReason {
    /// There is no file under the name.
    Missing,
    /// What stands there is no file.
    NotAFile(FileKind),
    /// The file has no content.
    Empty,
    /// The system refused to look at it.
    Stat(Arc<std::io::Error>),
    /// This process may not read one of its files.
    Denied(&'static str, Arc<std::io::Error>),
    /// The file looks encrypted, and has never been read as a database.
    Encrypted,
    /// SQLite refused or failed.
    Sqlite(SqliteError),
}

impl DownReason {
    /// The class for `sqlite_errors_total`; a timeout is no error of the database. An encrypted file counts as `other`: the
    /// classes of damage page as corruption.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Missing | Self::NotAFile(_) | Self::Stat(_) | Self::Denied(..) => {
                Some(ErrorCode::CannotOpen)
            }
            Self::Empty => Some(ErrorCode::NotADatabase),
            Self::Encrypted => Some(ErrorCode::Other),
            Self::Sqlite(error) => error.code(),
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("no such file"),
            Self::NotAFile(kind) => write!(formatter, "{}, not a database file", kind.describe()),
            Self::Empty => formatter.write_str(
                "the file is empty: its application has not written to it yet, or it was truncated",
            ),
            Self::Stat(error) => write!(formatter, "stat: {error}"),
            Self::Encrypted => formatter.write_str(ENCRYPTED),
            Self::Denied(file, error) => write!(formatter, "litekeeper may not read the {file}: {error}"),
            Self::Sqlite(error) => error.fmt(formatter),
        }
    }
}

/// What came of a look.
#[derive(Debug, Clone)]
pub enum CollectOutcome {
    /// The files have not moved since the last look, so its facts still hold.
    Unchanged,
    /// The facts as they are.
    Up(Arc<DatabaseFacts>),
    /// Somebody holds the lock that reading needs; nothing is known anew. It is no fault.
    Busy(Option<SqliteError>),
    /// The database cannot be read.
    Down(DownReason),
}

/// One look at one database.
#[derive(Debug, Clone)]
pub struct Collected {
    /// When it began.
    pub taken_at: SystemTime,
    /// How long it took.
    pub elapsed: Duration,
    /// Sizes, also of a database that is busy or damaged; `None` when it is not there, or unchanged in WAL mode.
    pub files: Option<FileFacts>,
    /// The evidence for the next look.
    pub stamp: Option<DatabaseFingerprint>,
    /// What came of it.
    pub outcome: CollectOutcome,
}

/// What the look before left behind.
#[derive(Debug, Clone)]
pub struct PreviousCollection {
    /// The files as they were, if that look proved the facts.
    pub stamp: Option<DatabaseFingerprint>,
    /// When that look began.
    pub taken_at: SystemTime,
    /// The same on a clock that nobody sets.
    pub collected_at: Instant,
    /// Which file it read.
    pub file: Option<FileIdentity>,
    /// What it read.
    pub facts: Arc<DatabaseFacts>,
}

/// Looks at a database once. Two `stat` calls when nothing moved since `previous`; otherwise one
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

/// Reads the facts; with them the stamp that they were read under.
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
        return down(DownReason::Empty);
    }
    let schema_wanted = database.settings.collectors.schema;
    let was_database = previous.is_some();
    // Another file under the same name can have the same schema cookie.
    let previous = previous.filter(|previous| previous.file == Some(main.identity()));
    let limits = QueryLimits::with_timeout(SAMPLE_TIMEOUT);
    let read = unlocked(database, &limits, SAMPLE_RETRY_TIMEOUT, |reader| {
        read_facts(reader, schema_wanted, previous.map(|previous| &*previous.facts))
    });
    let read = match read {
        // The schema takes longer to read than this owner rests; the header does not.
        Ok(Consistent::Unstable) if schema_wanted => {
            unlocked(database, &limits, SAMPLE_RETRY_TIMEOUT, |reader| read_facts(reader, false, None))
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
            // What was read as a database before is damaged, however random its bytes look now.
            _ if !was_database && is_of_encrypted_file(&error, &database.path, main.size, &limits) => {
                down(DownReason::Encrypted)
            }
            _ => down(DownReason::Sqlite(error)),
        },
        Err(ConsistentReadError::Missing) => down(DownReason::Missing),
        Err(ConsistentReadError::Stat(error)) => down(DownReason::Stat(Arc::new(error))),
    }
}

fn read_facts(
    reader: &Reader,
    schema_wanted: bool,
    before: Option<&DatabaseFacts>,
) -> Result<DatabaseFacts, SqliteError> {
    let header = reader.header()?;
    let wal = match header.journal_mode {
        JournalMode::Wal => reader.wal_frames(),
        JournalMode::Rollback => None,
    };
    let mut facts =
        DatabaseFacts { header, wal, change: reader.change_counter(), objects: None, schema_error: None };
    if !schema_wanted {
        return Ok(facts);
    }
    // Parsing the schema costs more than all the rest, so it waits for the schema cookie to move.
    if let Some(before) = before
        && before.header.schema_version == header.schema_version
        && before.objects.is_some()
    {
        facts.objects = before.objects;
        return Ok(facts);
    }
    match reader.schema_objects() {
        Ok(objects) => facts.objects = Some(objects),
        Err(error) => {
            facts.schema_error = Some(SchemaError { code: error.code(), message: error.to_string() })
        }
    }
    Ok(facts)
}

/// Sizes of the files of a rollback database that did not move: its journal grows while a transaction is in its owner's
/// page cache. One more `stat` call. `None` in WAL mode, which has no journal.
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

/// Sizes of all files. The sidecars are asked for only now that something moved.
fn file_facts(database: &Database, stamp: &DatabaseFingerprint) -> Option<FileFacts> {
    let main = stamp.main.filter(|main| main.kind == FileKind::Regular)?;
    let sidecar = |path: &std::ffi::CStr| stat(path).ok().flatten().map(FileSize::from);
    Some(FileFacts {
        main: main.into(),
        wal: stamp.wal.map(FileSize::from),
        shm: sidecar(&database.files.shm()),
        journal: sidecar(&database.files.journal()),
        last_write_seconds: stamp.last_write_seconds()?,
    })
}
