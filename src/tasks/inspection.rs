//! What every task reads of a database before it does anything.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_preferably_unlocked;
use crate::limits::QueryLimits;
use crate::span::Operation;
use crate::sqlite::CHECKSUM_BYTES;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::RowIdIndexes as _;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;
use crate::sqlite::own_version;

use crate::tasks::access::Access;
use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::context::TaskContext;
use crate::tasks::owner_format::OwnerFormat;
use crate::tasks::owner_format::check_owner_format;
use crate::tasks::preflight;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// What every task reads first.
pub struct Inspection {
    pub(super) header: Header,
    pub(super) tables: Vec<String>,
    /// Tables whose row ids a VACUUM changes, and what finds rows by them.
    pub(super) broken_by_vacuum: Vec<(String, String)>,
    /// Unknown outside WAL mode, and where the WAL's last owner died.
    pub(super) wal: Option<WalFrames>,
    /// What keeps all but the owner from writing.
    pub(super) owner_format: Option<OwnerFormat>,
}

/// Reads a database without writing.
///
/// # Errors
/// Why it could not be read.
pub(super) fn inspect(context: &TaskContext<'_>) -> Result<Inspection, Stop> {
    let database = context.database;
    let limits = QueryLimits { busy_timeout: READ_BUSY_TIMEOUT, ..context.limits.clone() };
    let operation = Operation::begin("survey", None);
    let read = read_preferably_unlocked(&database.path, &database.files, &limits, |reader| {
        let header = reader.header()?;
        let wal = match header.journal_mode {
            JournalMode::Wal => reader.wal_frames(),
            JournalMode::Rollback => None,
        };
        let tables = reader.tables()?.into_keys().collect();
        let broken_by_vacuum = reader.broken_by_vacuum()?;
        let has_checksums = header.reserved_bytes == CHECKSUM_BYTES && reader.has_page_checksums()?;
        let owner_format = OwnerFormat::detect(database, &header, has_checksums);
        Ok::<_, SqliteError>(Inspection { header, tables, broken_by_vacuum, wal, owner_format })
    });
    match read {
        Ok(Consistent::Read { mut answer, .. }) => {
            let writer = writer_of(answer.header.writer_version, &context.history.foreign_writer);
            answer.header.writer_version = match answer.header.journal_mode {
                JournalMode::Wal => preflight::checkpointer_version(&database.files, writer),
                JournalMode::Rollback => writer,
            };
            Ok(answer)
        }
        Ok(Consistent::Unstable) => {
            let message = "the files of the database are created and removed while they are read";
            Err(Stop::failed(FailureReason::Busy, message))
        }
        Err(ConsistentReadError::Query(error)) => {
            operation.failed(&error);
            Err(error.into())
        }
        Err(error @ (ConsistentReadError::Missing | ConsistentReadError::Stat(_))) => {
            Err(Stop::failed(FailureReason::Io, format!("{}: {error}", database.path.display())))
        }
    }
}

/// The same for a task that will write the database.
///
/// # Errors
/// Why it may not write, too.
pub(super) fn inspect_for_write(context: &TaskContext<'_>) -> Result<Inspection, Stop> {
    let found = inspect(context)?;
    check_owner_format(Access::Writes, found.owner_format)?;
    Ok(found)
}

/// The version of the last writer of a database that was not litekeeper, as far as it is known: the
/// header tells that of the last writer, which is litekeeper itself after a task that wrote.
fn writer_of(header: u32, foreign: &AtomicU32) -> u32 {
    if header != own_version() {
        foreign.store(header, Ordering::Relaxed);
        return header;
    }
    match foreign.load(Ordering::Relaxed) {
        0 => header,
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_write_does_not_change_what_is_known_of_the_owner() {
        let (own, foreign) = (own_version(), AtomicU32::new(0));
        for (header, expected) in
            [(own, own), (3_046_001, 3_046_001), (own, 3_046_001), (3_051_003, 3_051_003), (own, 3_051_003)]
        {
            assert_eq!(writer_of(header, &foreign), expected);
        }
    }
}
