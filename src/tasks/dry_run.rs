//! What a run would do, without doing it: the dry run.

use serde::Serialize;

use crate::collectors::Consistent;
use crate::collectors::read_preferably_unlocked;
use crate::config::Backup;
use crate::config::Optimize;
use crate::config::Vacuum;
use crate::health_report::ImpactLimits;
use crate::sqlite::JournalMode;
use crate::task::TaskKind;

use super::Inspection;
use super::TaskContext;
use super::backup;
use super::checkpoint;
use super::dry_run_cleaning;
use super::health_check;
use super::inspect;
use super::lock_contention;
use super::optimize::UP_TO_DATE;
use super::outcome::Outcome;
use super::owner_format;
use super::preflight;
use super::references::KeptRows;
use super::references::OtherRows;
use super::retention::ExpiredBy;
use super::time_tally::TimeValues;
use super::vacuum;
use super::vacuum::Method;
use super::vacuum::SpaceRequirement;
use super::vacuum_hold;

/// What a run would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DryRun {
    /// Why it would do nothing.
    pub would_not_run: Option<String>,
    /// How long it would take, where an earlier run tells.
    pub expected_seconds: Option<f64>,
    /// Bytes of the database.
    pub size_bytes: Option<u64>,
    /// The checks of a health check.
    pub checks: Vec<&'static str>,
    /// How a vacuum would be done.
    pub method: Option<Method>,
    /// The longest that a full vacuum may hold the write lock, in seconds.
    pub max_lock_hold_seconds: Option<f64>,
    /// What an application would notice that does not wait for locks.
    pub owner: Option<String>,
    /// Bytes that a vacuum would give back.
    pub reclaimable_bytes: Option<u64>,
    /// Room that it needs.
    pub needs: Vec<SpaceRequirement>,
    /// What a log cleaning would delete.
    pub tables: Vec<TableDryRun>,
    /// What a checkpoint would copy, in words.
    pub checkpoint: Option<String>,
    /// Tables whose statistics would be made anew.
    pub analyze: Vec<String>,
}

/// What would be deleted from one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TableDryRun {
    /// The table.
    pub table: String,
    /// Why the cleaning of this table would fail; nothing would be deleted then.
    pub would_fail: Option<String>,
    /// Why rows stay, or what would make it cheaper.
    pub note: Option<String>,
    /// What decides which rows go.
    pub expired_by: ExpiredBy,
    /// Rows; unknown when they could not be counted in time.
    pub rows: Option<u64>,
    /// Bytes of their values, about.
    pub bytes: Option<u64>,
    /// The moment before which rows have expired.
    pub cutoff: Option<String>,
    /// The oldest of these rows.
    pub oldest: Option<String>,
    /// The newest of these rows.
    pub newest: Option<String>,
    /// Expired rows that would stay, by what keeps them.
    pub kept: Vec<KeptRows>,
    /// Rows that would be changed along with the deleted ones.
    pub others: Vec<OtherRows>,
    /// How the column writes a time.
    pub format: Option<String>,
    /// What the column's values were taken for.
    pub times: Option<TimeValues>,
    /// The index by which they are found.
    pub index: Option<String>,
    /// How long it would take, where an earlier run tells.
    pub expected_seconds: Option<f64>,
    /// Why every row is looked at; a part of the note in the end.
    #[serde(skip)]
    pub(super) slow: Option<String>,
    /// Why each deletion looks at every row of another table; likewise.
    #[serde(skip)]
    pub(super) slow_references: Option<String>,
}

/// Says what a run would do now.
///
/// # Errors
/// The outcome of a run that could not even look.
pub fn dry_run(task: TaskKind, context: &TaskContext<'_>) -> Result<DryRun, Outcome> {
    let tasks = &context.database.settings.tasks;
    let found = inspect(context)?;
    let header = found.header;
    let size = u64::from(header.pages) * u64::from(header.page_size);
    let mut dry_run = DryRun { size_bytes: Some(size), ..DryRun::default() };
    if task.writes()
        && let Some(problem) = &context.history.unhealthy
    {
        dry_run.would_not_run = Some(format!("an integrity check failed: {problem}"));
    }
    if let Err(refused) = preflight::check_locks(task, context.database) {
        note(&mut dry_run, refused.message());
    }
    if let Err(refused) = owner_format::check_owner_format(task, found.owner_format) {
        note(&mut dry_run, refused.message());
    }
    if task.writes() && task != TaskKind::Checkpoint {
        dry_run.owner = lock_contention::owner_notice(context.database.settings.owner_busy_timeout);
    }
    let max_writer_wait = match task {
        TaskKind::HealthCheck | TaskKind::QuickCheck => {
            tasks.health_check.as_ref().map(|task| task.max_writer_wait)
        }
        TaskKind::Backup => tasks.backup.as_ref().map(|task| task.max_writer_wait),
        TaskKind::Vacuum | TaskKind::LogCleaning | TaskKind::Checkpoint | TaskKind::Optimize => None,
    };
    if let Some(max_writer_wait) = max_writer_wait.filter(|_| header.journal_mode == JournalMode::Rollback) {
        let owner_busy_timeout = context.database.settings.owner_busy_timeout;
        let max_hold =
            ImpactLimits { max_writer_wait, max_wal_growth: 0, owner_busy_timeout }.max_copy_hold();
        dry_run.owner = lock_contention::owner_notice_for_reader(owner_busy_timeout, max_hold);
    }
    match task {
        TaskKind::HealthCheck | TaskKind::QuickCheck => {
            if let Some(health_check) = &tasks.health_check {
                let checks = health_check::checks(health_check, task == TaskKind::QuickCheck);
                dry_run.checks = checks.iter().map(|check| check.label()).collect();
                dry_run.expected_seconds = context.history.rate.map(|rate| size as f64 / rate.max(1.0));
            }
        }
        TaskKind::Vacuum => {
            if let Some(task) = &tasks.vacuum {
                of_vacuum(task, context, &found, &mut dry_run)?;
            }
        }
        TaskKind::LogCleaning => {
            if let Some(task) = &tasks.log_cleaning {
                dry_run_cleaning::add(task, context, &found, &mut dry_run);
            }
        }
        TaskKind::Backup => {
            if let Some(task) = &tasks.backup {
                of_backup(task, context, &found, &mut dry_run);
            }
        }
        TaskKind::Checkpoint => {
            if let Some(task) = &tasks.checkpoint {
                match checkpoint::plan(task, context, &found) {
                    Ok(plan) => dry_run.checkpoint = Some(plan.words()),
                    Err(outcome) => note(&mut dry_run, outcome.message()),
                }
            }
        }
        TaskKind::Optimize => {
            if let Some(task) = &tasks.optimize {
                of_optimize(task, context, &found, &mut dry_run);
            }
        }
    }
    Ok(dry_run)
}

fn of_vacuum(
    task: &Vacuum,
    context: &TaskContext<'_>,
    found: &Inspection,
    dry_run: &mut DryRun,
) -> Result<(), Outcome> {
    let header = &found.header;
    let method = vacuum::method(task, header);
    dry_run.method = Some(method);
    dry_run.reclaimable_bytes = Some(u64::from(header.freelist_pages) * u64::from(header.page_size));
    let refused = vacuum::check_threshold(task, header)
        .and_then(|()| vacuum::check_replication(task, context, &found.tables))
        .and_then(|()| {
            preflight::check_writable(
                context.database,
                header.journal_mode,
                task.write_limits.allow_network_filesystem,
            )
        });
    if let Err(outcome) = refused {
        note(dry_run, outcome.message());
    }
    if method == Method::Incremental {
        return Ok(());
    }
    let refused = vacuum::check_row_ids(&found.broken_by_vacuum).and_then(|()| vacuum::check_schema(context));
    if let Err(outcome) = refused {
        note(dry_run, outcome.message());
    }
    dry_run.expected_seconds = Some(vacuum_hold::expected(header, context.history.rate).as_secs_f64());
    dry_run.max_lock_hold_seconds = Some(vacuum_hold::max_lock_hold(task, context).as_secs_f64());
    if let Err(outcome) = vacuum_hold::check_max_hold(task, context, header) {
        note(dry_run, outcome.message());
    }
    let temporary = &context.history.temporary_directory;
    dry_run.needs =
        vacuum::space_requirements(&context.database.path, header, temporary, task.min_free_space)?;
    if dry_run.needs.iter().any(|need| need.available_bytes < need.bytes) {
        note(dry_run, Some("a disk has not enough room"));
    }
    Ok(())
}

fn of_backup(task: &Backup, context: &TaskContext<'_>, found: &Inspection, dry_run: &mut DryRun) {
    dry_run.expected_seconds =
        dry_run.size_bytes.zip(context.history.rate).map(|(size, rate)| size as f64 / rate.max(1.0));
    match backup::check_directory(task).and_then(|()| backup::required_space(task, &found.header)) {
        Err(outcome) => note(dry_run, outcome.message()),
        Ok(need) => {
            if need.available_bytes < need.bytes {
                note(dry_run, Some("the disk of the backups has not enough room"));
            }
            dry_run.needs = vec![need];
        }
    }
}

fn of_optimize(task: &Optimize, context: &TaskContext<'_>, found: &Inspection, dry_run: &mut DryRun) {
    let journal_mode = found.header.journal_mode;
    if let Err(outcome) =
        preflight::check_writable(context.database, journal_mode, task.write_limits.allow_network_filesystem)
    {
        note(dry_run, outcome.message());
    }
    let database = context.database;
    // A writer of a rollback database waits for a count.
    let limit = match journal_mode {
        JournalMode::Wal => database.settings.count_timeout,
        JournalMode::Rollback => database.settings.count_timeout / 10,
    };
    let read = read_preferably_unlocked(&database.path, &database.files, context.limits, |reader| {
        reader.stale_statistics(limit)
    });
    match read {
        Ok(Consistent::Read { answer, .. }) if answer.is_empty() => note(dry_run, Some(UP_TO_DATE)),
        Ok(Consistent::Read { answer, .. }) => {
            dry_run.analyze = answer.into_iter().map(|analysis| analysis.table).collect();
        }
        Ok(Consistent::Unstable) => {
            note(dry_run, Some("the database's files come and go while they are read"))
        }
        Err(error) => note(dry_run, Some(&error.to_string())),
    }
}

pub(super) fn note(dry_run: &mut DryRun, reason: Option<&str>) {
    if dry_run.would_not_run.is_none() {
        dry_run.would_not_run = reason.map(str::to_owned);
    }
}
