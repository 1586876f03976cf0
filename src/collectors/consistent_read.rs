//! Opens a database in the way that leaves no trace beside it.
//!
//! The right way depends on the files beside the database, which come and go with its owner: `stat`
//! them, choose, read, and for the ways without locks `stat` them again. If anything moved, the
//! answer is discarded.

use std::io;
use std::path::Path;

use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::os::FileStat;
use crate::os::stat;
use crate::sqlite::Access;
use crate::sqlite::ErrorCode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

/// An owner that opens and closes a WAL database all the time can move the files during every try.
const MAX_TRIES: usize = 3;

/// Bytes of the first region of a wal-index, without which there is none (`WALINDEX_PGSZ` in
/// wal.c).
const WAL_INDEX_REGION: u64 = 32 * 1024;

/// The result of reading one state of a database.
#[derive(Debug)]
pub enum Consistent<T> {
    /// The answer, and the files as they were before it was read.
    Read {
        /// What the query returned.
        answer: T,
        /// Main file and WAL just before.
        stamp: DatabaseFingerprint,
    },
    /// The files moved during every try: the database is in use, and nothing new is known.
    Unstable,
}

/// Why a database could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConsistentReadError<E> {
    /// `stat` was refused.
    #[error("stat: {0}")]
    Stat(#[from] io::Error),
    /// No main file has the name.
    #[error("no such file")]
    Missing,
    /// The query failed.
    #[error(transparent)]
    Query(E),
}

/// Opens a database, runs `query` and closes it again, leaving its directory as it was.
///
/// # Errors
/// See [`ConsistentReadError`].
pub fn read_consistently<T, E: From<SqliteError> + OpenFailure>(
    path: &Path,
    files: &DatabaseFiles,
    limits: &QueryLimits,
    mut query: impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<Consistent<T>, ConsistentReadError<E>> {
    for _ in 0..MAX_TRIES {
        let before = DatabaseFingerprint::read(files)?;
        if before.main.is_none() {
            return Err(ConsistentReadError::Missing);
        }
        let access = access_for(files, before.wal)?;
        let mut answer = open_and_query(path, access, limits, &mut query);
        let mut used = access;
        if access == Access::Shared && before.wal.is_none() && answer.as_ref().is_err_and(E::cannot_open) {
            // The reader may not make the -wal that SQLite wanted: a WAL database at rest.
            used = Access::Immutable;
            answer = open_and_query(path, used, limits, &mut query);
        }
        if access == Access::HeapWalIndex && answer.as_ref().is_err_and(E::is_protocol) {
            // SQLite finds no valid frame: the WAL is as good as empty. It has a header of its own
            // only or none at all, and comparing its salts with those of no header never ends in
            // `walBeginShmUnreliable`.
            used = Access::Immutable;
            answer = open_and_query(path, used, limits, &mut query);
        }
        let moved = || -> io::Result<bool> {
            let after = DatabaseFingerprint::read(files)?;
            Ok(after != before || access_for(files, after.wal)? != access)
        };
        match answer {
            // Under SQLite's locks the answer is one state of the database, whatever moved since.
            Ok(answer) if used == Access::Shared || !moved()? => {
                return Ok(Consistent::Read { answer, stamp: before });
            }
            // The next try finds the -shm as it is now.
            Err(error) if error.lost_shared_memory() => {}
            Err(error) if !moved()? => return Err(ConsistentReadError::Query(error)),
            // A file that moves while its owner opens or closes it explains any answer.
            Ok(_) => {}
            Err(error) if used == Access::Shared && !error.cannot_open() && !error.is_protocol() => {
                return Err(ConsistentReadError::Query(error));
            }
            Err(_) => {}
        }
    }
    Ok(Consistent::Unstable)
}

/// How an error relates to the files that were opened.
pub trait OpenFailure {
    /// SQLite's error, if it is one.
    fn sqlite_error(&self) -> Option<&SqliteError>;

    /// True for `SQLITE_CANTOPEN`, which a missing companion file causes.
    fn cannot_open(&self) -> bool {
        self.sqlite_error().is_some_and(|error| error.code() == Some(ErrorCode::CannotOpen))
    }

    /// True for `SQLITE_PROTOCOL`, with which SQLite's retries for a read lock of a WAL end.
    fn is_protocol(&self) -> bool {
        self.sqlite_error().is_some_and(SqliteError::is_locking_protocol)
    }

    /// True where the `-shm` was truncated while it was mapped.
    fn lost_shared_memory(&self) -> bool {
        self.sqlite_error().is_some_and(SqliteError::is_lost_shared_memory)
    }
}

impl OpenFailure for SqliteError {
    fn sqlite_error(&self) -> Option<&SqliteError> {
        Some(self)
    }
}

fn open_and_query<T, E: From<SqliteError>>(
    path: &Path,
    access: Access,
    limits: &QueryLimits,
    query: &mut impl FnMut(&mut Reader) -> Result<T, E>,
) -> Result<T, E> {
    let mut reader = Reader::open(path, access, limits)?;
    let answer = query(&mut reader);
    // Also of an error: SQLite's check takes pages that could not be read for damage.
    reader.ensure_shared_memory()?;
    answer
}

/// Chooses by the files beside the database.
fn access_for(files: &DatabaseFiles, wal: Option<FileStat>) -> io::Result<Access> {
    Ok(match wal {
        None => Access::Shared,
        // A shorter one was truncated, and holds no index that could be read.
        Some(_) if stat(&files.shm())?.is_some_and(|shm| shm.size >= WAL_INDEX_REGION) => Access::Shared,
        // An empty WAL holds no commit; SQLite leaves one where it is configured to keep the file.
        Some(wal) if wal.size == 0 => Access::Immutable,
        Some(_) => Access::HeapWalIndex,
    })
}
