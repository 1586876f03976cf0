//! Makes a verified copy of a database, for backups and restores.
//!
//! In one read transaction, every page is copied and the rows of every table are counted. The copy
//! is then synced, checked completely and counted again. The transaction lasts as long as the copy
//! and up to the same time again for the counts. It keeps the WAL from being reset, and is aborted
//! when the WAL has grown by `max_wal_growth`. A rollback database, whose writers could not commit
//! during the transaction, is copied by `block_copy`. `VACUUM INTO` is not used: it reads for
//! longer, omits what is damaged in an index, changes row ids, and permits no query on the same
//! state of the database.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use litekeeper_scrub::manifest::Blocks;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::OpenFailure;
use crate::collectors::read_consistently;
use crate::collectors::unix_seconds;
use crate::health_report::ImpactMonitor;
use crate::health_report::yield_to_writers;
use crate::humanize::bytes;
use crate::limits::QueryLimits;
use crate::os::DiskReader;
use crate::os::PendingFile;
use crate::os::stat;
use crate::span::Operation;
use crate::sqlite::Access;
use crate::sqlite::BlockError;
use crate::sqlite::Check;
use crate::sqlite::ErrorKind;
use crate::sqlite::FindingCategory;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use crate::tasks::backup::block_copy::copy_blocks;
use crate::tasks::backup::compare::CompareError;
use crate::tasks::backup::compare::PageHashes;
use crate::tasks::backup::compare::compare;
use crate::tasks::backup::copy::COPY_SHARE;
use crate::tasks::backup::copy::DatabaseCopy;
use crate::tasks::backup::copy::SYNC_BYTES;
use crate::tasks::backup::copy::Source;
use crate::tasks::backup::copy::TableRowCount;
use crate::tasks::backup::copy::VerifyError;
use crate::tasks::backup::copy::file_failed;
use crate::tasks::backup::page_list::page_list;
use crate::tasks::backup::target::CopyTarget;
use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::progress::Progress;
use crate::tasks::reason::FailureReason;
use crate::tasks::stop::Stop;

/// How many times the copy of a rollback database is started, as a waiting writer aborts it.
const MAX_ATTEMPTS: u32 = 5;

/// Minimum time limit for counting all rows; the limit is longer if the copy took longer.
const MIN_COUNT_TIME: Duration = Duration::from_secs(1);

/// Why the copy failed.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    #[error("{0}")]
    TooMuch(String),
    #[error("the copy cannot be written: {0}")]
    File(#[from] io::Error),
}

impl OpenFailure for CopyError {
    fn sqlite_error(&self) -> Option<&SqliteError> {
        if let Self::Sqlite(error) = self { Some(error) } else { None }
    }
}

/// Copies a database into a file under a temporary name, and brings it to the disk.
pub(super) fn copy(source: &Source<'_>, pending: &Path) -> Result<(PendingFile, DatabaseCopy), Stop> {
    source.progress.begin("copy");
    let limits = QueryLimits { busy_timeout: READ_BUSY_TIMEOUT, ..source.limits.clone() };
    if let Some(impact_limits) = source.impact_limits
        && let Some((file, copied)) = copy_blocks(source, impact_limits, &limits, pending)?
    {
        return on_disk(file, source, pending).map(|file| (file, copied));
    }
    let mut file = None;
    let read = read_consistently(source.path, source.files, &limits, |reader| {
        // The file of an earlier attempt is removed before another gets the same name.
        file = None;
        attempts(reader, source, pending).map(|(made, copied)| {
            file = Some(made);
            copied
        })
    });
    let copied = match read {
        Ok(Consistent::Read { answer, .. }) => answer,
        Ok(Consistent::Unstable) => {
            let message = "the files of the database are created and removed while they are read";
            return Err(Stop::failed(FailureReason::Busy, message));
        }
        Err(ConsistentReadError::Query(CopyError::Sqlite(error))) => return Err(Stop::from(error)),
        Err(ConsistentReadError::Query(CopyError::TooMuch(words))) => {
            return Err(Stop::failed(FailureReason::Busy, words));
        }
        Err(ConsistentReadError::Query(CopyError::File(error))) => {
            return Err(file_failed(&pending.display().to_string(), &error));
        }
        Err(error @ (ConsistentReadError::Missing | ConsistentReadError::Stat(_))) => {
            let place = source.files.main.to_string_lossy();
            return Err(Stop::failed(FailureReason::Io, format!("{place}: {error}")));
        }
    };
    let file = file.expect("what was read has made its file");
    on_disk(file, source, pending).map(|file| (file, copied))
}

/// Syncs a copy, so that verification reads it from the disk.
fn on_disk(file: PendingFile, source: &Source<'_>, pending: &Path) -> Result<PendingFile, Stop> {
    let synced = file.restrict_permissions_like(&source.files.main).and_then(|()| file.sync());
    synced.map_err(|error| file_failed(&pending.display().to_string(), &error))?;
    Ok(file)
}

/// Repeats the copy until no writer had to wait for too long.
fn attempts(
    reader: &mut Reader,
    source: &Source<'_>,
    pending: &Path,
) -> Result<(PendingFile, DatabaseCopy), CopyError> {
    let mut max_hold = Duration::ZERO;
    for attempt in 1..=MAX_ATTEMPTS {
        let header = reader.header()?;
        let monitor = ImpactMonitor::watch(source.impact_limits, &header, reader);
        let file = PendingFile::create(pending)?;
        let begun = Instant::now();
        let go = copy_once(reader, &file, &header, source, &monitor)?;
        max_hold = max_hold.max(monitor.hold());
        match (go, header.journal_mode) {
            (ControlFlow::Continue(()), _) => {
                let limit = begun.elapsed().max(MIN_COUNT_TIME);
                let tables = count(reader, source, &monitor, &header, limit)?;
                let max_hold = max_hold.max(monitor.hold());
                let (attempts, elapsed) = (attempt, begun.elapsed());
                return Ok((
                    file,
                    DatabaseCopy { header, tables, attempts, max_hold, elapsed, is_block_copy: false },
                ));
            }
            (ControlFlow::Break(()), JournalMode::Wal) => {
                let growth = source.impact_limits.map_or(0, |impact_limits| impact_limits.max_wal_growth);
                return Err(CopyError::TooMuch(format!(
                    "the WAL grew by {} (max_wal_growth) during the copy, which prevents it from being reset; raise max_wal_growth, or \
                     schedule the backup for a time when the application is idle",
                    bytes(growth)
                )));
            }
            (ControlFlow::Break(()), JournalMode::Rollback) => yield_to_writers(reader, source.limits)?,
        }
    }
    let message = "the copy takes longer than max_writer_wait, and a database in rollback mode cannot be written meanwhile; raise \
                   max_writer_wait, or schedule the backup for a time when the application is idle";
    Err(CopyError::TooMuch(message.to_owned()))
}

fn copy_once(
    reader: &Reader,
    file: &PendingFile,
    header: &Header,
    source: &Source<'_>,
    monitor: &ImpactMonitor,
) -> Result<ControlFlow<()>, CopyError> {
    let mut synced = 0;
    let mut failed = None;
    let operation = Operation::begin("backup", None);
    let target = CopyTarget::open(file, source.manifest)?;
    let write = |at: u64, bytes: &[u8]| target.write(at, bytes);
    let copied = reader.copy_pages(header, write, |done, share, work| {
        source.progress.update(share * COPY_SHARE, &format!("{} copied", bytes(done)));
        if header.journal_mode == JournalMode::Wal && done - synced >= SYNC_BYTES {
            synced = done;
            if let Err(error) = file.sync() {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        monitor.should_continue(work)
    });
    let copied = match copied {
        Err(BlockError::Write(error)) => return Err(error.into()),
        Err(BlockError::Read(error)) => Err(error),
        Ok(go) => Ok(go),
    };
    let go = operation.record_result(copied)?;
    failed.map_or(Ok(go), |error| Err(error.into()))
}

/// Counts the rows of tables in the transaction of the copy, until the time limit or until a writer
/// waits.
fn count(
    reader: &mut Reader,
    source: &Source<'_>,
    monitor: &ImpactMonitor,
    header: &Header,
    limit: Duration,
) -> Result<Vec<TableRowCount>, SqliteError> {
    // A damaged schema is not an error here: the check that follows reports it.
    let listed = match reader.tables_with_indexes() {
        Err(error) if matches!(error.kind(), ErrorKind::Sqlite(_)) => Vec::new(),
        other => other?,
    };
    // A table is counted by its smallest index, whose order does not matter.
    reader.stand_in_collations()?;
    let until = Instant::now() + limit;
    let mut may_count = true;
    let mut tables = Vec::new();
    for (table, _) in listed {
        may_count = may_count && monitor.should_continue(reader.work_done()).is_continue();
        let left = until.saturating_duration_since(Instant::now());
        // A running count does not notice a waiting writer, so it may not exceed the longest wait.
        let most = match (source.impact_limits, header.journal_mode) {
            (Some(impact_limits), JournalMode::Rollback) => left.min(impact_limits.max_writer_wait),
            (Some(_), JournalMode::Wal) | (None, _) => left,
        };
        let rows = if may_count && !most.is_zero() { counted(reader, &table, most)? } else { None };
        tables.push(TableRowCount { table, rows });
    }
    Ok(tables)
}

/// Counts the rows of a table. Returns `None` if damage or the time limit prevents it.
fn counted(reader: &mut Reader, table: &str, limit: Duration) -> Result<Option<u64>, SqliteError> {
    match reader.count_rows_exactly(table, limit) {
        Err(error) if matches!(error.kind(), ErrorKind::Sqlite(_)) => Ok(None),
        other => other,
    }
}

/// The result of a successful verification.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Verification {
    pub size_bytes: u64,
    pub page_size: u32,
    pub pages: u32,
    /// SHA-256 of the copy; empty where it was not compared with hashes.
    pub sha256: String,
    /// When the verification ended, in seconds since 1970.
    pub verified_at: f64,
    /// Tables with the same number of rows in the copy and in the source.
    pub tables: u64,
    /// Rows of these tables.
    pub rows: u64,
    /// Tables that could not be counted in both.
    pub not_compared: Vec<String>,
    /// What only the application can check, with the reason.
    pub not_checked: Vec<String>,
    /// Constraints that rows of the copy violate, as those of the source do.
    pub broken_constraints: Vec<String>,
    pub elapsed: Duration,
}

/// Checks a copy completely and compares it with what was read from the source. `blocks` are the
/// hashes of the pages that were read.
pub(super) fn verify(
    copy: &Path,
    copied: &DatabaseCopy,
    blocks: Option<&Blocks<'_>>,
    limits: &QueryLimits,
    progress: &Arc<dyn Progress>,
) -> Result<Verification, VerifyError> {
    progress.begin("check of the copy");
    let begun = Instant::now();
    let header = &copied.header;
    let expected = u64::from(header.pages) * u64::from(header.page_size);
    let size_bytes = stat(&crate::tasks::space::c_path(copy)).ok().flatten().map_or(0, |stat| stat.size);
    if size_bytes != expected {
        return Err(VerifyError::Differs(format!("the copy has {size_bytes} bytes instead of {expected}")));
    }
    let sha256 = match blocks {
        Some(blocks) => ensure_as_read(copy, header, blocks, limits)?,
        None => String::new(),
    };
    // No other process has the file open, so neither a lock nor a -wal or -shm file is needed, even
    // in WAL mode.
    let mut reader = Reader::open(copy, Access::Immutable, limits)?;
    reader.prepare_check(Check::Full, header)?;
    let (reporter, pages) = (Arc::clone(progress), f64::from(header.pages.max(1)));
    reader.on_progress(move |work| {
        let share = (work.pages_read as f64 / pages).min(0.99);
        reporter.update(COPY_SHARE + share * (1.0 - COPY_SHARE), "");
        ControlFlow::Continue(())
    })?;
    let operation = Operation::begin("PRAGMA integrity_check", None);
    let checked = operation.record_result(reader.check(Check::Full))?;
    let texts = |kind: FindingCategory| -> Vec<String> {
        checked.findings.iter().filter(|one| one.kind == kind).map(|one| one.text.clone()).collect()
    };
    let damage = texts(FindingCategory::Damage);
    operation.problems(damage.len());
    drop(operation);
    match damage.as_slice() {
        [] => {}
        [one] => return Err(VerifyError::Damaged(one.clone())),
        [first, ..] => {
            return Err(VerifyError::Damaged(format!("{} problems, the first: {first}", damage.len())));
        }
    }
    let mut verification = Verification {
        size_bytes,
        page_size: header.page_size,
        pages: header.pages,
        sha256,
        not_checked: texts(FindingCategory::NotCheckable),
        ..Verification::default()
    };
    verification.broken_constraints = texts(FindingCategory::Constraint);
    compare_rows(&mut reader, copied, &mut verification)?;
    verification.elapsed = begun.elapsed();
    verification.verified_at = unix_seconds(SystemTime::now());
    Ok(verification)
}

/// Reads a copy from the disk, and compares its pages with the hashes of what was read from the
/// source. Returns the SHA-256 of the copy.
fn ensure_as_read(
    copy: &Path,
    header: &Header,
    blocks: &Blocks<'_>,
    limits: &QueryLimits,
) -> Result<String, VerifyError> {
    let unread =
        |error: io::Error| VerifyError::Differs(format!("the copy or its manifest cannot be read: {error}"));
    let mut reader = DiskReader::open(copy).map_err(unread)?;
    let hashes = PageHashes { blocks, page_size: header.page_size, pages: header.pages };
    let compared = compare(&mut reader, &hashes, None, limits, |_| ()).map_err(|error| match error {
        CompareError::Read(error) => unread(error),
        CompareError::Stopped => VerifyError::Unread(SqliteError::limit_error("verify the copy", limits)),
    })?;
    if let Some(error) = compared.unknown_because {
        return Err(VerifyError::Differs(error));
    }
    if compared.different > 0 {
        let pages = page_list(&compared.first_different, compared.different);
        return Err(VerifyError::Differs(format!(
            "the disk returned other bytes than were written: {pages}"
        )));
    }
    Ok(compared.sha256)
}

/// Counts the rows of the copy and compares them with the counts from the source.
fn compare_rows(
    reader: &mut Reader,
    copied: &DatabaseCopy,
    verification: &mut Verification,
) -> Result<(), VerifyError> {
    /// Only the time limit of the run ends the counts.
    const UNLIMITED: Duration = Duration::from_secs(366 * 86_400);
    for TableRowCount { table, rows: expected } in &copied.tables {
        let expected = *expected;
        // Equal blocks contain equal rows.
        if expected.is_none() && !copied.is_block_copy {
            verification.not_compared.push(table.clone());
            continue;
        }
        let rows = match reader.count_rows_exactly(table, UNLIMITED) {
            Err(error) if error.is_not_checkable() => {
                verification.not_compared.push(table.clone());
                continue;
            }
            counted => counted?.unwrap_or(0),
        };
        if let Some(expected) = expected
            && rows != expected
        {
            return Err(VerifyError::Differs(format!(
                "{table} has {rows} rows in the copy instead of {expected}"
            )));
        }
        verification.tables += 1;
        verification.rows += rows;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;
    use std::io::Write as _;

    use super::*;
    use crate::database_files::DatabaseFiles;
    use crate::health_report::ImpactLimits;
    use litekeeper_scrub::manifest::Origin;

    use crate::tasks::backup::copy::pending_path;
    use crate::tasks::backup::new_manifest::NewManifest;
    use crate::tasks::progress::NoProgress;
    use crate::tasks::tests::owner_runs;

    /// Copies are modified in various ways between copy and verification.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test simulates a failing disk")]
    fn verification_finds_every_modification_of_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        owner_runs(
            &path,
            "CREATE TABLE t (a, b UNIQUE); CREATE INDEX i ON t (a); CREATE TABLE u (a);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, i FROM n;",
        );
        let files = DatabaseFiles::of(&path);
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let progress: Arc<dyn Progress> = Arc::new(NoProgress);
        let max_writer_wait = Duration::from_secs(60);
        let impact_limits =
            Some(ImpactLimits { max_writer_wait, max_wal_growth: 0, owner_busy_timeout: None });
        let source = |impact_limits| Source {
            path: &path,
            files: &files,
            impact_limits,
            limits: &limits,
            manifest: None,
            progress: &progress,
        };
        let overwrite = |path: &Path, at: u64| {
            let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.seek(io::SeekFrom::Start(at)).unwrap();
            file.write_all(&[0; 512]).unwrap();
        };
        let check_with = |impact_limits, spoil: &dyn Fn(&Path, &mut DatabaseCopy)| {
            let (pending, mut copied) =
                copy(&source(impact_limits), &pending_path(&directory.path().join("b"))).unwrap();
            spoil(pending.path(), &mut copied);
            verify(pending.path(), &copied, None, &limits, &progress)
        };
        let check = |spoil: &dyn Fn(&Path, &mut DatabaseCopy)| check_with(None, spoil);
        let verification = check(&|_, _| {}).unwrap();
        assert_eq!((verification.tables, verification.rows, verification.not_compared.len()), (2, 3000, 0));
        assert!(matches!(check(&|path, _| overwrite(path, 3 * 4096)), Err(VerifyError::Damaged(_))));
        assert!(matches!(check(&|path, _| overwrite(path, 0)), Err(VerifyError::Damaged(_))));
        // Another database, sound in itself, of the same size or not.
        let fewer = check(&|path, _| owner_runs(path, "DELETE FROM t WHERE a = 7"));
        assert!(matches!(fewer, Err(VerifyError::Differs(words)) if words.contains("t has 2999 rows")));
        let longer = check(&|path, _| owner_runs(path, "CREATE TABLE more (a)"));
        assert!(matches!(longer, Err(VerifyError::Differs(words)) if words.contains("bytes instead of")));
        let uncounted = check(&|_, copied| copied.tables[0].rows = None).unwrap();
        assert_eq!(uncounted.not_compared.len(), 1);
        // A copy in blocks, each of which is compared with what was read.
        let verification = check_with(impact_limits, &|_, copied| assert!(copied.is_block_copy)).unwrap();
        assert_eq!((verification.tables, verification.rows, verification.not_compared.len()), (2, 3000, 0));
        // With a manifest, both ways to copy compare each page with what was read.
        let with_manifest = |impact_limits, spoil: &dyn Fn(&Path)| {
            let place = directory.path().join("b");
            let manifest = NewManifest::create(&place, Origin::default(), SystemTime::now()).unwrap();
            let source = Source {
                path: &path,
                files: &files,
                impact_limits,
                limits: &limits,
                manifest: Some(manifest.writer()),
                progress: &progress,
            };
            let (pending, copied) = copy(&source, &pending_path(&place)).unwrap();
            spoil(pending.path());
            let blocks = |number: u64| Ok(manifest.writer().block(number)?);
            verify(pending.path(), &copied, Some(&blocks), &limits, &progress)
        };
        for limits in [None, impact_limits] {
            let verification = with_manifest(limits, &|_| ()).unwrap();
            let expected = std::fs::metadata(&path).unwrap().len();
            assert_eq!((verification.size_bytes, verification.sha256.len()), (expected, 64));
            for (at, page) in [(0, 1), (3 * 4096, 4), (100_000, 25)] {
                let spoiled = with_manifest(limits, &|path| overwrite(path, at));
                let found = matches!(&spoiled, Err(VerifyError::Differs(words)) if words.ends_with(&format!("page {page}")));
                assert!(found, "{at}: {spoiled:?}");
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "only the database is left");
    }
}
