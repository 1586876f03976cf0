//! Collects the facts with system calls such as `stat`, and in one read through SQLite.
//!
//! The read leaves no file behind. Collecting must not evaluate anything; the rules do that.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_preferably_unlocked;
use crate::database::Database;
use crate::database_files::COMPANIONS;
use crate::limits::QueryLimits;
use crate::os::FileKind;
use crate::os::MountTable;
use crate::os::companion_obstacle;
use crate::os::effective_user_id;
use crate::os::filesystem_facts;
use crate::os::is_mounted_alone;
use crate::os::lock_holders;
use crate::os::lost_locks;
use crate::os::mapped_sqlite;
use crate::os::mount;
use crate::os::nonempty_wal;
use crate::os::ownership;
use crate::os::read_denied;
use crate::os::stat;
use crate::os::write_denied;
use crate::sqlite::Access;
use crate::sqlite::CHECKSUM_BYTES;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::FileFormat;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::sqlite::temporary_directory;
use crate::tasks::DirectoryError;
use crate::tasks::OwnerFormat;
use crate::tasks::directory_error;
use crate::tasks::expected_problems;
use crate::tasks::ledger_directory;
use crate::tasks::replicator;
use crate::tasks::task;
use crate::tasks::vacuum_space;

use super::facts::ConfiguredTasks;
use super::facts::DatabaseFacts;
use super::facts::Facts;
use super::facts::LedgerDirectory;
use super::facts::PriorState;
use super::facts::ReadFailure;
use super::schema::needs_row_count;

/// Time limit for counting one table: a writer of a rollback database waits meanwhile.
const COUNT_LIMIT: Duration = Duration::from_millis(50);

/// Collects the facts about a database; `named` is the path that the user gave.
pub(super) fn collect(named: &Path, database: &Database, known: PriorState, limits: &QueryLimits) -> Facts {
    let files = &database.files;
    let directory = directory_of(&database.path);
    let companions = COMPANIONS.iter().filter_map(|(suffix, _)| {
        let path = [files.main.as_bytes(), suffix.as_bytes()].concat();
        let found = ownership(&CString::new(path).ok()?).ok()??;
        Some((*suffix, found))
    });
    let is_link = std::fs::symlink_metadata(named).is_ok_and(|found| found.file_type().is_symlink());
    let companions: Vec<_> = companions.collect();
    let is_file = stat(&files.main).ok().flatten().is_some_and(|main| main.kind == FileKind::Regular);
    let is_abandoned = companions.iter().any(|(suffix, file)| *suffix == "-wal" && file.size > 0)
        && !companions.iter().any(|(suffix, _)| *suffix == "-shm");
    Facts {
        path: database.path.clone(),
        link: is_link.then(|| named.to_owned()),
        mounted_alone: is_mounted_alone(&files.main),
        user: effective_user_id(),
        main: if is_file { ownership(&files.main).ok().flatten() } else { None },
        directory: ownership(&directory).ok().flatten(),
        companions,
        read_denied: read_denied(files).map(|(what, error)| (what, error.to_string())),
        write_denied: write_denied(files, &directory).map(|(what, _)| what),
        companion_obstacle: companion_obstacle(&files.main, &directory).ok().flatten(),
        filesystem: filesystem_facts(&directory, &MountTable::read()).ok(),
        mount: mount(&directory).ok(),
        main_file_journal_mode: if is_file && is_abandoned {
            main_file_journal_mode(&database.path, limits)
        } else {
            None
        },
        inside: inside(database, limits),
        lost_locks: lost_locks(files),
        mapped: mapped_sqlite(&lock_holders(files)),
        configured: configured(database, known.state_file.as_deref(), limits),
        known,
    }
}

fn directory_of(path: &Path) -> CString {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    CString::new(directory.as_os_str().as_bytes()).expect("a path of the system holds no NUL byte")
}

/// Reads the journal mode from the main file without its `-wal`, because a `-wal` that belongs to
/// another file would replace the header.
fn main_file_journal_mode(path: &Path, limits: &QueryLimits) -> Option<JournalMode> {
    let header = Reader::open(path, Access::Immutable, limits).ok()?.header().ok()?;
    Some(header.journal_mode)
}

fn configured(database: &Database, state_file: Option<&Path>, limits: &QueryLimits) -> ConfiguredTasks {
    let tasks = &database.settings.tasks;
    ConfiguredTasks {
        writes: tasks.timings().any(|(kind, _)| task(kind).writes()),
        writes_database: tasks.vacuum.is_some()
            || tasks.log_cleaning.is_some()
            || tasks.checkpoint.is_some()
            || tasks.optimize.is_some(),
        vacuum: tasks.vacuum.as_ref().map(|vacuum| vacuum.allow_replicated),
        backup: tasks.backup.as_ref().map(|backup| (backup.to.clone(), directory_error(&backup.to))),
        scrub: tasks.scrub.as_ref().map(|_| state_file.map_or(LedgerDirectory::InMemory, ledgers)),
        retentions: tasks.log_cleaning.iter().flat_map(|task| task.tables.clone()).collect(),
        // An error here means that the database cannot be read, which another finding reports.
        foreseen: expected_problems(database, limits).unwrap_or_default(),
    }
}

/// The directory of the ledgers, which the first scrub makes.
fn ledgers(state_file: &Path) -> LedgerDirectory {
    let directory = ledger_directory(state_file);
    let problem = match directory_error(&directory) {
        Some(DirectoryError::Missing) => directory.parent().and_then(directory_error),
        problem => problem,
    };
    LedgerDirectory::Path(directory, problem)
}

fn inside(database: &Database, limits: &QueryLimits) -> Result<DatabaseFacts, ReadFailure> {
    let main = stat(&database.files.main)
        .map_err(|error| ReadFailure::Other(error.to_string()))?
        .ok_or_else(|| ReadFailure::Other("the file does not exist".to_owned()))?;
    // Opening a named pipe would wait for its writer.
    if main.kind != FileKind::Regular {
        return Err(ReadFailure::Other(format!("this is {}, not a database file", main.kind.describe())));
    }
    if let Some((what, error)) = read_denied(&database.files) {
        return Err(ReadFailure::Denied(format!("litekeeper may not read the {what}: {error}")));
    }
    if main.size == 0 {
        return Err(match nonempty_wal(&database.files) {
            Some(words) => ReadFailure::Damaged(words),
            None => ReadFailure::Other(FileFormat::Empty.to_string()),
        });
    }
    let read = read_preferably_unlocked(&database.path, &database.files, limits, |reader| {
        read_database(reader, database)
    });
    match read {
        Ok(Consistent::Read { answer, .. }) => Ok(answer),
        Ok(Consistent::Unstable) => Err(ReadFailure::Other(
            "its files are created and removed while they are read; try again".to_owned(),
        )),
        Err(ConsistentReadError::Query(error)) => {
            Err(match FileFormat::of_refused(&error, &database.path, main.size, limits) {
                Some(format) if format.is_damaged() => ReadFailure::Damaged(format.to_string()),
                Some(format) => ReadFailure::Other(format.to_string()),
                None => failure(&error),
            })
        }
        Err(error @ (ConsistentReadError::Missing | ConsistentReadError::Stat(_))) => {
            Err(ReadFailure::Other(error.to_string()))
        }
    }
}

fn failure(error: &SqliteError) -> ReadFailure {
    match error.kind() {
        // Rolling back a hot journal is the only write that a read-only connection needs.
        ErrorKind::Sqlite(ErrorCode::ReadOnly) => ReadFailure::HotJournal,
        ErrorKind::Sqlite(ErrorCode::Corrupt | ErrorCode::NotADatabase) => {
            ReadFailure::Damaged(error.to_string())
        }
        ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked) => ReadFailure::Other(format!(
            "another process holds a lock that blocks readers ({error}); try again"
        )),
        ErrorKind::Sqlite(ErrorCode::Io | ErrorCode::Full | ErrorCode::CannotOpen | ErrorCode::Other)
        | ErrorKind::DeadlineExceeded
        | ErrorKind::Cancelled => ReadFailure::Other(error.to_string()),
    }
}

fn read_database(reader: &mut Reader, database: &Database) -> Result<DatabaseFacts, SqliteError> {
    let header = reader.header()?;
    let wal = match header.journal_mode {
        JournalMode::Wal => reader.wal_frames(),
        JournalMode::Rollback => None,
    };
    let has_checksums = header.reserved_bytes == CHECKSUM_BYTES && reader.has_page_checksums()?;
    let file_bytes = ownership(&database.files.main).ok().flatten().map(|main| main.size);
    // The transaction ends here because a writer may be waiting for it.
    reader.end_transaction()?;
    let schema = match reader.database_schema(COUNT_LIMIT, needs_row_count) {
        Ok(schema) => Ok(schema),
        Err(error) => match error.kind() {
            ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked) | ErrorKind::Cancelled => {
                return Err(error);
            }
            ErrorKind::Sqlite(_) | ErrorKind::DeadlineExceeded => Err(failure(&error)),
        },
    };
    let tables: Vec<String> =
        schema.iter().flat_map(|found| found.tables.iter().map(|table| table.schema.name.clone())).collect();
    Ok(DatabaseFacts {
        header,
        wal,
        file_bytes,
        schema,
        owner_format: OwnerFormat::detect(database, &header, has_checksums),
        replicator: replicator(database, &tables),
        vacuum_needs: vacuum_space(&database.path, &header, &temporary_directory(), 0).unwrap_or_default(),
    })
}
