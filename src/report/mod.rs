//! The health report of one database: facts, row counts, and the verdict of SQLite's checks.
//!
//! It is sync and reads only. The shape of its JSON is an interface, documented in docs/CHECK.md.

mod progress;

pub use progress::Observer;

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;

use crate::budget::Budget;
use crate::host::FileKind;
use crate::host::Stamp;
use crate::host::read_denied;
use crate::host::stat;
use crate::sample::CountMethod;
use crate::sample::SettleError;
use crate::sample::Settled;
use crate::sample::settled;
use crate::sidecar::DatabaseFiles;
use crate::sidecar::is_sidecar;
use crate::sqlite::Check;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::RowCount;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;
use crate::sqlite::version_text;

use progress::Progress;

/// The version of the JSON shape; it grows when a field changes its meaning or goes.
pub const SHAPE_VERSION: u32 = 1;

/// A full check looks index entries up in their tables; with this much cache most of them are there.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How long a row count may take before its estimate is given, when a person waits for it.
const COUNT_BUDGET: Duration = Duration::from_secs(30);

/// What the report comes down to, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every check passed.
    Healthy,
    /// Something could not be checked.
    Unknown,
    /// A check found problems.
    Problems,
}

/// The report of one database.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file as it was named.
    pub path: String,
    /// The verdict.
    pub status: Status,
    /// Why something could not be checked.
    pub error: Option<String>,
    /// Sizes of the files in bytes.
    pub files: Option<Files>,
    /// What header and pager say.
    pub facts: Option<FactsReport>,
    /// Row counts of the tables asked for.
    pub rows: Vec<RowsReport>,
    /// The checks that ran, in their order.
    pub checks: Vec<CheckReport>,
    /// How long the report took.
    pub elapsed_seconds: f64,
}

/// Sizes of the files of a database, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Main file.
    pub main_bytes: u64,
    /// Disk space that the main file really uses.
    pub allocated_bytes: u64,
    /// Write-ahead log.
    pub wal_bytes: Option<u64>,
    /// Rollback journal.
    pub journal_bytes: Option<u64>,
}

/// What header and pager say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactsReport {
    /// Pages, those in the WAL counted.
    pub pages: u32,
    /// Bytes a page.
    pub page_size_bytes: u32,
    /// Unused pages.
    pub freelist_pages: u32,
    /// What a vacuum would give back.
    pub reclaimable_bytes: u64,
    /// `wal` or `rollback`.
    pub journal_mode: &'static str,
    /// `none`, `full` or `incremental`.
    pub auto_vacuum: &'static str,
    /// Text encoding.
    pub encoding: &'static str,
    /// `PRAGMA application_id`.
    pub application_id: i32,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA schema_version`.
    pub schema_version: u32,
    /// SQLite's version of the last writer.
    pub writer_version: String,
    /// Frames in the WAL.
    pub wal_frames: Option<u32>,
    /// Those already copied into the main file.
    pub wal_checkpointed_frames: Option<u32>,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowsReport {
    /// The table.
    pub table: String,
    /// How many; absent when unknown.
    pub rows: Option<i64>,
    /// `count` or `estimate`.
    pub method: Option<&'static str>,
    /// Why it is unknown.
    pub error: Option<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// `file_size`, `quick`, `full` or `foreign_key`.
    pub check: &'static str,
    /// Whether it found nothing.
    pub ok: bool,
    /// What it found, 100 lines at most.
    pub problems: Vec<String>,
    /// How long it took.
    pub elapsed_seconds: f64,
}

/// What to report on.
#[derive(Debug, Clone)]
pub struct Request {
    /// The database.
    pub path: PathBuf,
    /// Tables to count.
    pub rows: Vec<String>,
    /// Whether the quick check is enough.
    pub quick: bool,
    /// Limits of the work.
    pub budget: Budget,
}

/// Checks one database. While it runs, a writer of a rollback database cannot commit.
#[must_use]
pub fn report(request: &Request, observer: &impl Observer) -> Report {
    let started = Instant::now();
    let mut report = Report {
        path: request.path.display().to_string(),
        status: Status::Unknown,
        error: None,
        files: None,
        facts: None,
        rows: Vec::new(),
        checks: Vec::new(),
        elapsed_seconds: 0.0,
    };
    match examine(request, observer, &mut report) {
        Ok(()) => {}
        Err(Failure::Damaged { check, problem }) => report.checks.push(CheckReport {
            check,
            ok: false,
            problems: vec![problem],
            elapsed_seconds: started.elapsed().as_secs_f64(),
        }),
        Err(Failure::Unknown(message)) => report.error = Some(message),
    }
    let uncounted = report.rows.iter().any(|rows| rows.error.is_some());
    report.status = if report.checks.iter().any(|check| !check.ok) {
        Status::Problems
    } else if report.error.is_some() || uncounted {
        Status::Unknown
    } else {
        Status::Healthy
    };
    report.elapsed_seconds = started.elapsed().as_secs_f64();
    report
}

/// Why a report ends early.
enum Failure {
    /// The file itself is the problem.
    Damaged { check: &'static str, problem: String },
    /// The checks could not run.
    Unknown(String),
}

impl Failure {
    fn of(error: &SqliteError, check: &'static str) -> Self {
        match error.kind() {
            ErrorKind::Sqlite(ErrorCode::Corrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { check, problem: error.to_string() }
            }
            ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked) => Self::Unknown(format!(
                "{error}; another process holds the lock, a later try or a longer --busy-timeout may help"
            )),
            ErrorKind::Sqlite(
                ErrorCode::Io
                | ErrorCode::Full
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::Other,
            )
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Cancelled => Self::Unknown(error.to_string()),
        }
    }
}

fn examine(request: &Request, observer: &impl Observer, report: &mut Report) -> Result<(), Failure> {
    let path = std::fs::canonicalize(&request.path).map_err(|error| Failure::Unknown(error.to_string()))?;
    if is_sidecar(&path) {
        return Err(Failure::Unknown(
            "this is a file that SQLite keeps beside a database; name the database itself".to_owned(),
        ));
    }
    let files = DatabaseFiles::of(&path);
    let stamp = Stamp::take(&files).map_err(|error| Failure::Unknown(error.to_string()))?;
    let Some(main) = stamp.main else { return Err(Failure::Unknown("no such file".to_owned())) };
    if main.kind != FileKind::Regular {
        return Err(Failure::Unknown(format!("{}, not a database file", main.kind.describe())));
    }
    let journal = stat(&files.journal()).ok().flatten();
    report.files = Some(Files {
        main_bytes: main.size,
        allocated_bytes: main.allocated,
        wal_bytes: stamp.wal.map(|wal| wal.size),
        journal_bytes: journal.map(|journal| journal.size),
    });
    if main.size == 0 {
        return Err(Failure::Damaged { check: "file_size", problem: "the file is empty".to_owned() });
    }
    let blank = report.clone();
    let read = settled(&path, &files, &request.budget, |reader| {
        // A second try, after the files moved, starts afresh.
        *report = blank.clone();
        read_all(reader, request, &files, observer, report)
    });
    match read {
        Ok(Settled::Read { .. }) => Ok(()),
        Ok(Settled::Moving) => Err(Failure::Unknown(
            "the database's files come and go while they are read; try again".to_owned(),
        )),
        Err(SettleError::Question(error)) => match read_denied(&files) {
            Some((file, denied)) => {
                Err(Failure::Unknown(format!("this user may not read the {file}: {denied}")))
            }
            None => Err(Failure::of(&error, "open")),
        },
        Err(error @ (SettleError::Missing | SettleError::Stat(_))) => {
            Err(Failure::Unknown(error.to_string()))
        }
    }
}

fn read_all(
    reader: &mut Reader,
    request: &Request,
    files: &DatabaseFiles,
    observer: &impl Observer,
    report: &mut Report,
) -> Result<(), SqliteError> {
    let started = Instant::now();
    let header = reader.header()?;
    let wal = match header.journal_mode {
        JournalMode::Wal => reader.wal_frames(),
        JournalMode::Rollback => None,
    };
    report.facts = Some(facts(&header, wal));
    if let Some(problems) = size_problems(files, &header, wal) {
        let elapsed_seconds = started.elapsed().as_secs_f64();
        report.checks.push(CheckReport {
            check: "file_size",
            ok: problems.is_empty(),
            problems,
            elapsed_seconds,
        });
    }
    reader.set_cache_bytes(CACHE_BYTES)?;
    for table in &request.rows {
        report.rows.push(rows(reader, table)?);
    }
    let checks: &[Check] = if request.quick { &[Check::Quick] } else { &[Check::Full, Check::ForeignKey] };
    for &check in checks {
        observer.begin(check.label());
        let progress = Progress::expect(reader, check, &header);
        let told = observer.clone();
        reader.on_progress(move |work| told.done(progress.share(work)))?;
        run_check(reader, check, report)?;
    }
    Ok(())
}

/// A check that fails as a whole is a finding when the file is to blame for it.
fn run_check(reader: &Reader, check: Check, report: &mut Report) -> Result<(), SqliteError> {
    let started = Instant::now();
    let problems = match reader.check(check) {
        Ok(problems) => problems,
        Err(error) => match Failure::of(&error, check.label()) {
            Failure::Damaged { problem, .. } => vec![problem],
            Failure::Unknown(_) => return Err(error),
        },
    };
    let elapsed_seconds = started.elapsed().as_secs_f64();
    report.checks.push(CheckReport {
        check: check.label(),
        ok: problems.is_empty(),
        problems,
        elapsed_seconds,
    });
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

/// Compares the file's size with its pages, which none of SQLite's checks does: appended garbage
/// shows here alone. `None` while a WAL holds pages, as the main file is then behind it. The
/// reader's transaction keeps a rollback database from changing between header and stat.
fn size_problems(files: &DatabaseFiles, header: &Header, wal: Option<WalFrames>) -> Option<Vec<String>> {
    let settled = match header.journal_mode {
        JournalMode::Rollback => true,
        JournalMode::Wal => wal.is_some_and(|wal| wal.total == 0),
    };
    if !settled {
        return None;
    }
    let actual = stat(&files.main).ok().flatten()?.size;
    let expected = u64::from(header.pages) * u64::from(header.page_size);
    Some(if actual == expected {
        Vec::new()
    } else {
        vec![format!(
            "the file has {actual} bytes, its {} pages of {} bytes make {expected}",
            header.pages, header.page_size
        )]
    })
}

fn rows(reader: &mut Reader, table: &str) -> Result<RowsReport, SqliteError> {
    let report = |rows, method: Option<CountMethod>, error| RowsReport {
        table: table.to_owned(),
        rows,
        method: method.map(CountMethod::label),
        error,
    };
    Ok(match reader.count_rows(table, COUNT_BUDGET) {
        Ok(RowCount::Exact(rows)) => report(Some(rows), Some(CountMethod::Count), None),
        Ok(RowCount::Estimate(rows)) => report(Some(rows), Some(CountMethod::Estimate), None),
        Ok(RowCount::Unknown) => report(None, None, Some("not counted in time, and no estimate".to_owned())),
        Err(error) => match error.kind() {
            ErrorKind::Cancelled | ErrorKind::DeadlineExceeded => return Err(error),
            ErrorKind::Sqlite(_) => report(None, None, Some(error.to_string())),
        },
    })
}
