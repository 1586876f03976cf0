//! POLICY: when a piece of maintenance is worth it, when it must not be done, what it reports.
//!
//! Sync, one file a job. A job holds no SQL, which is `sqlite`'s; it touches neither metrics nor the log of its outcome,
//! which is `record`'s.

mod backup;
mod backup_set;
mod batch_sizer;
mod block_copy;
mod by_time;
mod checkpoint;
mod cleaning_report;
mod clock_check;
mod confirmation;
mod dry_run;
mod dry_run_cleaning;
mod health_check;
mod lock_contention;
mod log_cleaning;
mod optimize;
mod outcome;
mod owner_format;
mod owner_writes;
mod preflight;
mod references;
mod restore;
mod retention;
mod run;
mod time_bounds;
mod time_tally;
mod vacuum;
mod vacuum_hold;
mod verified_copy;

pub use backup::BackupReport;
pub use backup::DirectoryError;
pub use backup::directory_error;
pub use backup_set::BackupIdentity;
pub use backup_set::BackupOwner;
pub use backup_set::backup_id;
pub use checkpoint::CheckpointReport;
pub use cleaning_report::LogCleaningReport;
pub use cleaning_report::TableReport;
pub use dry_run::DryRun;
pub use dry_run::TableDryRun;
pub use dry_run::dry_run;
pub use dry_run_cleaning::ExpectedProblem;
pub use dry_run_cleaning::ProblemKind;
pub use dry_run_cleaning::expected_problems;
pub use health_check::HealthReport;
pub use health_check::Notes;
pub use health_check::Verdict;
pub use health_check::checks;
pub use optimize::OptimizeReport;
pub use outcome::Details;
pub use outcome::FailureReason;
pub use outcome::Outcome;
pub use outcome::Report;
pub use outcome::SkipReason;
pub use owner_format::OwnerFormat;
pub use preflight::has_wal_reset_bug;
pub use preflight::replicator;
pub use references::KeptBy;
pub use references::KeptRows;
pub use references::OtherRows;
pub use restore::RestoreReport;
pub use restore::restore;
pub use retention::ExpiredBy;
pub use run::Run;
pub use run::Summary;
pub use run::Trigger;
pub use run::Verdicts;
pub use time_tally::TimeValues;
pub use vacuum::SpaceRequirement;
pub use vacuum::VacuumReport;
pub use vacuum::space_requirements as vacuum_space;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_preferably_unlocked;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::os::ClockReading;
use crate::span::Operation;
use crate::sqlite::CHECKSUM_BYTES;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::RowIdIndexes as _;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;
use crate::sqlite::own_version;
use crate::task::TaskKind;

/// How long a first look waits for a writer that is just committing.
pub const READ_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Told how a job goes on.
pub trait Progress: Send + Sync {
    /// A part of the job begins.
    fn begin(&self, part: &str);
    /// This share of the part is done, from 0 to 1, with what to say of it.
    fn update(&self, share: f64, detail: &str);
    /// Something that a person who waits wants to know at once.
    fn message(&self, text: &str);
}

/// What is known of a database from earlier runs.
#[derive(Debug, Clone, Default)]
pub struct TaskHistory {
    /// What the last failed integrity check found, until a full one passes.
    pub unhealthy: Option<String>,
    /// How fast the task's last run went: bytes a second for a vacuum or check, rows for a cleaning.
    pub rate: Option<f64>,
    /// The clocks at the last run of any job.
    pub clock: Option<ClockReading>,
    /// The version of SQLite with which another program wrote last; 0 while unknown. A look at the database renews it.
    pub foreign_writer: Arc<AtomicU32>,
    /// Of which database its backups are; `None` outside a run of a backup.
    pub backup_identity: Option<BackupIdentity>,
    /// The temporary directory that SQLite uses.
    pub temporary_directory: std::path::PathBuf,
}

/// One run's surroundings.
pub struct TaskContext<'a> {
    /// The database.
    pub database: &'a Database,
    /// The time by which rows are old.
    pub now: SystemTime,
    /// The machine's clocks, to be held against those at the last run.
    pub clock: ClockReading,
    /// When the task's window closes.
    pub must_end_by: Option<SystemTime>,
    /// Time limit and stop.
    pub limits: &'a QueryLimits,
    /// What is known from before.
    pub history: &'a TaskHistory,
    /// Who is told how it goes on.
    pub progress: Arc<dyn Progress>,
}

/// What every job looks at first.
struct Inspection {
    header: Header,
    tables: Vec<String>,
    /// Tables whose row ids a VACUUM changes, and what finds rows by them.
    broken_by_vacuum: Vec<(String, String)>,
    /// Unknown outside WAL mode, and where the WAL's last owner died.
    wal: Option<WalFrames>,
    /// What keeps all but the owner from writing.
    owner_format: Option<OwnerFormat>,
}

/// Looks at the database without writing.
fn inspect(context: &TaskContext<'_>) -> Result<Inspection, Outcome> {
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
            let message = "the database's files come and go while they are read";
            Err(Outcome::failed(FailureReason::Busy, message))
        }
        Err(ConsistentReadError::Query(error)) => {
            operation.failed(&error);
            Err(Outcome::of(&error, None))
        }
        Err(error @ (ConsistentReadError::Missing | ConsistentReadError::Stat(_))) => {
            Err(Outcome::failed(FailureReason::Io, format!("{}: {error}", database.path.display())))
        }
    }
}

/// The same for a task that will write the database, if that may be.
fn inspect_for_write(task: TaskKind, context: &TaskContext<'_>) -> Result<Inspection, Outcome> {
    let found = inspect(context)?;
    owner_format::check_owner_format(task, found.owner_format)?;
    Ok(found)
}

/// The version of the last writer of a database that was not litekeeper, as far as it is known: the header tells
/// that of the last writer, which is litekeeper itself after a task that wrote.
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

/// Runs a task on a database that is locked for maintenance by the caller.
#[must_use]
pub fn run(task: TaskKind, context: &TaskContext<'_>) -> Outcome {
    let tasks = &context.database.settings.tasks;
    if task.writes()
        && let Some(problem) = &context.history.unhealthy
    {
        let detail =
            format!("an integrity check failed ({problem}); nothing is written until a full one passes");
        return Outcome::skipped(SkipReason::Unhealthy, detail);
    }
    if let Err(refused) = preflight::check_locks(task, context.database) {
        return refused;
    }
    let missing =
        || Outcome::failed(FailureReason::Config, format!("{task} is not configured for this database"));
    let outcome = match task {
        TaskKind::HealthCheck => tasks.health_check.as_ref().map(|t| health_check::run(t, false, context)),
        TaskKind::QuickCheck => tasks.health_check.as_ref().map(|t| health_check::run(t, true, context)),
        TaskKind::Vacuum => tasks.vacuum.as_ref().map(|t| vacuum::run(t, context)),
        TaskKind::LogCleaning => tasks.log_cleaning.as_ref().map(|t| log_cleaning::run(t, context)),
        TaskKind::Backup => tasks.backup.as_ref().map(|t| backup::run(t, context)),
        TaskKind::Checkpoint => tasks.checkpoint.as_ref().map(|t| checkpoint::run(t, context)),
        TaskKind::Optimize => tasks.optimize.as_ref().map(|t| optimize::run(t, context)),
    }
    .unwrap_or_else(missing);
    confirmation::confirmed(task, outcome, context)
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

    /// Tells nobody.
    pub(super) struct Quiet;

    impl Progress for Quiet {
        fn begin(&self, _part: &str) {}
        fn update(&self, _share: f64, _detail: &str) {}
        fn message(&self, _text: &str) {}
    }

    /// Runs SQL as the application that owns a database.
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
    pub(super) fn owner_runs(path: &std::path::Path, sql: &str) {
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }
}
