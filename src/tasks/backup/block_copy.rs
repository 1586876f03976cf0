//! Copies a rollback database in blocks, with at most one short lock; see [`consistent_copy`].
//!
//! The hash of each page that was read verifies the copy. The copy therefore equals the database
//! at one moment byte for byte, and the rows of both need not be counted and compared.

use std::path::Path;
use std::time::Instant;

use crate::collectors::CopyOutcome;
use crate::collectors::CopySource;
use crate::collectors::consistent_copy;
use crate::health_report::ImpactLimits;
use crate::humanize::bytes;
use crate::limits::QueryLimits;
use crate::os::PendingFile;
use crate::span::Operation;
use crate::sqlite::Access;
use crate::sqlite::BlockError;
use crate::sqlite::ErrorKind;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use crate::tasks::backup::copy::COPY_SHARE;
use crate::tasks::backup::copy::DatabaseCopy;
use crate::tasks::backup::copy::SYNC_BYTES;
use crate::tasks::backup::copy::Source;
use crate::tasks::backup::copy::TableRowCount;
use crate::tasks::backup::copy::file_failed;
use crate::tasks::backup::target::CopyTarget;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// Copies a rollback database. Returns `None` if it must be copied under SQLite's locks.
pub(super) fn copy_blocks(
    source: &Source<'_>,
    impact_limits: ImpactLimits,
    limits: &QueryLimits,
    pending: &Path,
) -> Result<Option<(PendingFile, DatabaseCopy)>, Stop> {
    let failed = |error: std::io::Error| file_failed(&pending.display().to_string(), &error);
    let begun = Instant::now();
    let operation = Operation::begin("backup", None);
    let file = PendingFile::create(pending).map_err(failed)?;
    let target = CopyTarget::open(&file, source.manifest).map_err(failed)?;
    let write = |at: u64, bytes: &[u8]| target.write(at, bytes);
    let max_hold = impact_limits.max_copy_hold();
    let from = CopySource { path: source.path, files: source.files, max_hold, limits };
    let mut synced = 0;
    let made = consistent_copy(from, &write, |done, share| {
        source.progress.update(share * COPY_SHARE, &format!("{} copied", bytes(done)));
        if done - synced >= SYNC_BYTES {
            synced = done;
            target.sync()?;
        }
        Ok(())
    });
    let made = match made {
        Ok(CopyOutcome::Made(made)) => made,
        Ok(CopyOutcome::NotHere) => return Ok(None),
        Ok(CopyOutcome::TooLong(needed)) => {
            let message = format!(
                "the application commits without a pause: a consistent copy needs a lock that blocks commits for {} ms, and {} ms are \
                 allowed (five times max_writer_wait, or half of owner_busy_timeout); raise one of these settings if the application \
                 can wait, or schedule the backup for a time when it is idle",
                needed.as_millis(),
                max_hold.as_millis()
            );
            return Err(Stop::failed(FailureReason::Busy, message));
        }
        Err(BlockError::Read(error)) => {
            operation.failed(&error);
            return Err(Stop::from(error));
        }
        Err(BlockError::Write(error)) => return Err(failed(error)),
    };
    let (header, tables) = contents(pending, limits)?;
    if source.manifest.is_some_and(|manifest| !manifest.has_page_size(header.page_size)) {
        let message = "the page size of the database changed while it was copied, as VACUUM can do; run the backup again";
        return Err(Stop::failed(FailureReason::Busy, message));
    }
    // Bytes after the last page are not part of the database (`SQLITE_FCNTL_CHUNK_SIZE`).
    let size = u64::from(header.pages) * u64::from(header.page_size);
    if size < made.size_bytes {
        target.set_len(size).map_err(failed)?;
    }
    let copied = DatabaseCopy {
        header,
        tables,
        attempts: made.passes,
        max_hold: made.max_hold,
        elapsed: begun.elapsed(),
        is_block_copy: true,
    };
    Ok(Some((file, copied)))
}

/// Reads the header of the copy and lists the tables that store rows themselves.
fn contents(copy: &Path, limits: &QueryLimits) -> Result<(Header, Vec<TableRowCount>), SqliteError> {
    let reader = Reader::open(copy, Access::Immutable, limits)?;
    let header = reader.header()?;
    // A damaged schema is not an error here: the check that follows reports it.
    let listed = match reader.tables_with_indexes() {
        Err(error) if matches!(error.kind(), ErrorKind::Sqlite(_)) => Vec::new(),
        other => other?,
    };
    let tables = listed.into_iter().map(|(table, _)| TableRowCount { table, rows: None }).collect();
    Ok((header, tables))
}
