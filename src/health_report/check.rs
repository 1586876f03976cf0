//! The examination of one database, from its files to SQLite's checks.

use std::cmp::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::CountMethod;
use crate::collectors::is_pattern;
use crate::collectors::matching_tables;
use crate::database_files::DatabaseFiles;
use crate::database_files::is_companion;
use crate::os::DatabaseFingerprint;
use crate::os::FileKind;
use crate::os::is_mounted_alone;
use crate::os::nonempty_wal;
use crate::os::read_denied;
use crate::os::stat;
use crate::span::Operation;
use crate::sqlite::Checked;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::FileFormat;
use crate::sqlite::Finding;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::RowCount;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;
use crate::sqlite::version_text;

use super::by_table::check_by_table;
use super::failure::Failure;
use super::full_text;
use super::impact_limits::ImpactLimits;
use super::impact_limits::ImpactMonitor;
use super::impact_limits::yield_to_writers;
use super::progress::CheckProgress;
use super::progress::ProgressEstimate;
use super::reading::Source;
use super::reading::read_beside_owner;
use super::report::CheckReport;
use super::report::FactsReport;
use super::report::Files;
use super::report::Report;
use super::report::Request;
use super::report::RowCountReport;
use super::sqlite_check::run_check;

/// How long a row count may take before its estimate is given, when a person waits for it.
const COUNT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn check_database(
    request: &Request,
    progress: &impl CheckProgress,
    report: &mut Report,
) -> Result<(), Failure> {
    let path = std::fs::canonicalize(&request.path).map_err(Failure::unknown)?;
    if is_companion(&path) {
        return Err(Failure::unknown(
            "this is a file that SQLite keeps beside a database; name the database itself",
        ));
    }
    let files = DatabaseFiles::of(&path);
    let stamp = DatabaseFingerprint::read(&files).map_err(Failure::unknown)?;
    let Some(main) = stamp.main else { return Err(Failure::unknown("no such file")) };
    if main.kind != FileKind::Regular {
        return Err(Failure::unknown(format!("{}, not a database file", main.kind.describe())));
    }
    let journal = stat(&files.journal()).ok().flatten();
    report.files = Some(Files {
        main_bytes: main.size,
        allocated_bytes: main.allocated,
        wal_bytes: stamp.wal.map(|wal| wal.size),
        journal_bytes: journal.map(|journal| journal.size),
    });
    if is_mounted_alone(&files.main) {
        return Err(Failure::unknown(
            "the file is mounted by itself, so its -wal and -journal are not visible here and no verdict can be given; mount the \
             directory that holds it, or run the check where the whole directory is visible",
        ));
    }
    if main.size == 0 {
        return Err(match nonempty_wal(&files) {
            Some(problem) => Failure::Damaged { check: "file_size", problem },
            None => format_failure(FileFormat::Empty, report),
        });
    }
    let read = read_beside_owner(request, &path, &files, report, |reader, source, inexact, report| {
        read_all(reader, source, inexact, request, &files, progress, report)
    });
    match read {
        Ok(Consistent::Read { .. }) => Ok(()),
        Ok(Consistent::Unstable) => Err(Failure::unknown(
            "the files of the database are created and removed while they are read; try again",
        )),
        Err(ConsistentReadError::Query(error)) => match read_denied(&files) {
            Some((file, denied)) => {
                Err(Failure::unknown(format!("this user may not read the {file}: {denied}")))
            }
            None => Err(match FileFormat::of_refused(&error, &path, main.size, &request.limits) {
                Some(format) => format_failure(format, report),
                None => Failure::of(&error, "open"),
            }),
        },
        Err(error @ (ConsistentReadError::Missing | ConsistentReadError::Stat(_))) => {
            Err(Failure::unknown(error))
        }
    }
}

/// What the report says of a file that SQLite cannot open as a database.
fn format_failure(format: FileFormat, report: &mut Report) -> Failure {
    report.file_format = Some(format.label());
    match format {
        FileFormat::Damaged(_) => Failure::Damaged { check: "open", problem: format.to_string() },
        FileFormat::Empty
        | FileFormat::Encrypted
        | FileFormat::NewerVersion(_)
        | FileFormat::NewerSchema(_)
        | FileFormat::Sqlite2
        | FileFormat::OtherFile(_)
        | FileFormat::Unrecognised => {
            Failure::Unknown { message: format.to_string(), kind: Some(ErrorKind::Sqlite(ErrorCode::Other)) }
        }
    }
}

fn read_all(
    reader: &mut Reader,
    source: Source,
    mut inexact: Option<&mut Reader>,
    request: &Request,
    files: &DatabaseFiles,
    progress: &impl CheckProgress,
    report: &mut Report,
) -> Result<(), SqliteError> {
    let started = Instant::now();
    let header = reader.header()?;
    let wal = match header.journal_mode {
        JournalMode::Wal => reader.wal_frames(),
        JournalMode::Rollback => None,
    };
    report.facts = Some(facts(&header, wal));
    if let Some(findings) = main_bytes(source, files).and_then(|size| size_findings(size, &header, wal)) {
        let checked = Checked { findings, whole: true, ..Checked::default() };
        report.checks.push(CheckReport::new("file_size", checked, started.elapsed().as_secs_f64()));
    }
    // Under a lock on the database itself all is done in short transactions.
    let is_rollback = header.journal_mode == JournalMode::Rollback;
    let must_be_short = source == Source::Database && reader.takes_locks() && is_rollback;
    let short = request.impact_limits.filter(|_| must_be_short);
    let limit = short.map_or(COUNT_TIMEOUT, |impact_limits| impact_limits.max_writer_wait.min(COUNT_TIMEOUT));
    for &check in &request.checks {
        progress.begin(check.label());
        reader.prepare_check(check, &header)?;
        if request.by_table {
            check_by_table(reader, inexact.as_deref_mut(), check, request, &header, progress, report)?;
            continue;
        }
        begin_short(reader, short, request)?;
        let monitor = watch(source, request, &header, reader);
        let estimate = ProgressEstimate::expect(reader, check, &header);
        let (reported, watched) = (progress.clone(), monitor.clone());
        reader.on_progress(move |work| {
            reported.done(estimate.share(work));
            watched.should_continue(work)
        })?;
        let whole = run_check(reader, check, report);
        report.max_hold = report.max_hold.max(monitor.hold());
        let is_of_no_use = monitor.limit_exceeded() && is_rollback && !must_be_short;
        if !monitor.limit_exceeded() || is_of_no_use {
            whole?;
            continue;
        }
        // The owner needs its turn: the rest goes table by table, with pauses.
        check_by_table(reader, inexact.as_deref_mut(), check, request, &header, progress, report)?;
    }
    reader.end_progress()?;
    begin_short(reader, short, request)?;
    if header.journal_mode == JournalMode::Wal {
        // A WAL can start anew in between.
        reader.end_transaction()?;
        reader.header()?;
    }
    full_text::compare(reader, &header, &watch(source, request, &header, reader), report);
    // After the checks, which see at once that somebody commits, as a count does not.
    for table in tables_to_count(reader, &request.rows)? {
        begin_short(reader, short, request)?;
        let begun = Instant::now();
        report.rows.push(rows(reader, &table, limit)?);
        if must_be_short {
            report.max_hold = report.max_hold.max(begun.elapsed());
        }
    }
    Ok(())
}

/// The size of the database's main file.
fn main_bytes(source: Source, files: &DatabaseFiles) -> Option<u64> {
    match source {
        Source::Database => stat(&files.main).ok().flatten().map(|main| main.size),
        Source::Copy { main_bytes } => Some(main_bytes),
    }
}

/// Watches what the reading does to others; nobody else has a copy.
fn watch(source: Source, request: &Request, header: &Header, reader: &Reader) -> ImpactMonitor {
    match source {
        Source::Database => ImpactMonitor::watch(request.impact_limits, header, reader),
        Source::Copy { .. } => ImpactMonitor::none(),
    }
}

/// Lets writers do their work, and begins anew.
fn begin_short(
    reader: &mut Reader,
    short: Option<ImpactLimits>,
    request: &Request,
) -> Result<(), SqliteError> {
    if short.is_some() {
        yield_to_writers(reader, &request.limits)?;
        reader.end_progress()?;
        reader.header()?;
    }
    Ok(())
}

fn facts(header: &Header, wal: Option<WalFrames>) -> FactsReport {
    FactsReport {
        pages: header.pages,
        page_size_bytes: header.page_size,
        freelist_pages: header.freelist_pages,
        reclaimable_bytes: u64::from(header.freelist_pages) * u64::from(header.page_size),
        journal_mode: header.journal_mode.label(),
        auto_vacuum: header.auto_vacuum.label(),
        encoding: header.encoding.label(),
        application_id: header.application_id,
        user_version: header.user_version,
        schema_version: header.schema_version,
        writer_version: version_text(header.writer_version),
        wal_frames: wal.map(|wal| wal.total),
        wal_checkpointed_frames: wal.map(|wal| wal.checkpointed),
    }
}

/// Compares the file's size with its pages, which none of SQLite's checks does. `None` while a WAL
/// holds pages, as the main file is then behind it. Neither the file's size nor the header changes
/// while it is read.
///
/// A file that is too short has lost pages. A longer one is legal: with SQLITE_FCNTL_CHUNK_SIZE
/// SQLite lets it grow ahead of its pages, and SQLite never reads what is behind them.
fn size_findings(actual: u64, header: &Header, wal: Option<WalFrames>) -> Option<Vec<Finding>> {
    let read_consistently = match header.journal_mode {
        JournalMode::Rollback => true,
        JournalMode::Wal => wal.is_some_and(|wal| wal.total == 0),
    };
    if !read_consistently {
        return None;
    }
    let expected = u64::from(header.pages) * u64::from(header.page_size);
    let words = format!(
        "the file has {actual} bytes, its {} pages of {} bytes make {expected}",
        header.pages, header.page_size
    );
    Some(match actual.cmp(&expected) {
        Ordering::Equal => Vec::new(),
        Ordering::Less => vec![Finding::damage(words)],
        Ordering::Greater => vec![Finding::odd(format!(
            "{words}: SQLite never reads the rest; applications that set a chunk size (SQLITE_FCNTL_CHUNK_SIZE) make such files"
        ))],
    })
}

/// The tables that names and patterns stand for.
fn tables_to_count(reader: &Reader, patterns: &[String]) -> Result<Vec<String>, SqliteError> {
    if !patterns.iter().any(|pattern| is_pattern(pattern)) {
        return Ok(patterns.to_vec());
    }
    let mut unknown = Vec::new();
    let mut tables = matching_tables(patterns, &reader.tables()?, &mut unknown);
    // What is not there is reported by the count.
    tables.extend(
        patterns
            .iter()
            .filter(|name| !is_pattern(name) && !tables.contains(name))
            .cloned()
            .collect::<Vec<_>>(),
    );
    Ok(tables)
}

fn rows(reader: &mut Reader, table: &str, limit: Duration) -> Result<RowCountReport, SqliteError> {
    let report = |rows, method: Option<CountMethod>, error| RowCountReport {
        table: table.to_owned(),
        rows,
        method: method.map(CountMethod::label),
        error,
    };
    let operation = Operation::begin("SELECT", Some(table));
    let counted = operation.record_result(reader.count_rows(table, limit));
    if let Ok(RowCount::Exact(rows) | RowCount::Estimate(rows)) = counted {
        operation.rows(rows.unsigned_abs());
    }
    Ok(match counted {
        Ok(RowCount::Exact(rows)) => report(Some(rows), Some(CountMethod::Count), None),
        Ok(RowCount::Estimate(rows)) => report(Some(rows), Some(CountMethod::Estimate), None),
        Ok(RowCount::Unknown) => report(None, None, Some("not counted in time, and no estimate".to_owned())),
        Err(error) => match error.kind() {
            ErrorKind::Cancelled | ErrorKind::DeadlineExceeded => return Err(error),
            ErrorKind::Sqlite(_) => report(None, None, Some(error.to_string())),
        },
    })
}
