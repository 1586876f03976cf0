//! Log cleaning: deletes rows older than their retention, a short transaction at a time.
//!
//! Procedure: for each table work out which rows have expired, or refuse; then walk them in the order of the time column's
//! index, or of the row ids where there is none, and delete as many at once as fit the target of a hold.
//! Price: a transaction of about 20 ms (see `neighbours`), then a pause in which others commit; the WAL grows by a checkpoint's
//! worth. Why not one DELETE: it held the write lock 1.15 s for 500,000 rows, and all who write would wait for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::budget::Budget;
use crate::config::LogCleaning;
use crate::config::Manners;
use crate::config::Retention;
use crate::database::Database;
use crate::host::Stamp;
use crate::span::Operation;
use crate::span::Transactions;
use crate::sqlite::Archive;
use crate::sqlite::BatchSize;
use crate::sqlite::Cursor;
use crate::sqlite::JournalMode;
use crate::sqlite::SqliteError;
use crate::sqlite::Waiting;
use crate::sqlite::Writer;
use crate::sqlite::took_too_long;
use crate::units::count;
use crate::units::counted;

use super::Context;
use super::Observer;
use super::clock;
use super::coexist;
use super::neighbours::Neighbours;
use super::outcome::Details;
use super::outcome::FailureReason;
use super::outcome::Outcome;
use super::outcome::Report;
use super::pace::Pace;
use super::retention::Plan;
use super::retention::PlanError;
use super::retention::iso;
use super::retention::plan;
use super::survey;

/// Rows of the first batch; what a row costs is not known yet.
const FIRST_BATCH: u32 = 200;

/// What was done to one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Rows deleted, those of triggers and foreign keys not counted.
    pub deleted_rows: u64,
    /// Transactions.
    pub batches: u64,
    /// Whether every expired row is gone.
    pub complete: bool,
    /// The configured retention in seconds.
    pub retention_seconds: u64,
    /// The moment before which rows had expired.
    pub cutoff: Option<String>,
    /// How the column writes a time.
    pub format: Option<String>,
    /// Where the rows went.
    pub archive: Option<PathBuf>,
    /// Why it was not cleaned, or what would make it cheaper.
    pub note: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogCleaningReport {
    /// All rows deleted.
    pub deleted_rows: u64,
    /// Each table.
    pub tables: Vec<TableReport>,
}

/// How often a table is looked at anew because its schema changed between two batches.
const PLANS: u32 = 5;

/// How far a walk came.
enum Drained {
    /// To its end, or to the end of the time.
    Done,
    /// To a change of the schema, after which the table may have other columns, indexes or triggers.
    SchemaChanged,
}

/// Why a table's cleaning ended early.
enum Failure {
    Refused(FailureReason, String),
    Sqlite(SqliteError),
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        Self::Sqlite(error)
    }
}

/// Cleans every configured table. One that is refused does not keep the others from being cleaned.
pub(super) fn run(task: &LogCleaning, context: &Context<'_>) -> Outcome {
    if let Some(problem) =
        context.past.clock.as_ref().and_then(|earlier| clock::jumped(earlier, &context.clock))
    {
        let message = format!(
            "{problem}; nothing is deleted by a clock that was just set. If it is right now, the next run goes on"
        );
        return Outcome::failed(FailureReason::Other, message);
    }
    let mut writer = match open(task.manners, context) {
        Ok(writer) => writer,
        Err(outcome) => return outcome,
    };
    if let Err(error) = writer.enforce_foreign_keys(task.foreign_keys.unwrap_or(false)) {
        return Outcome::of(&error, None);
    }
    let mut run = Run {
        writer: &mut writer,
        manners: task.manners,
        database: context.database,
        budget: context.budget,
        observer: &context.observer,
        identity: identity(context.database),
        neighbours: Neighbours::of(context.database, &context.observer),
        max_hold: Duration::ZERO,
        now: context.now,
    };
    let mut report = LogCleaningReport::default();
    let mut failure = None;
    for retention in &task.tables {
        let mut table = TableReport {
            table: retention.table.clone(),
            retention_seconds: retention.retention.as_secs(),
            ..TableReport::default()
        };
        let result = run.clean(retention, task.foreign_keys, &mut table);
        report.deleted_rows += table.deleted_rows;
        let stop = match result {
            Ok(()) => false,
            Err(Failure::Refused(reason, message)) => {
                table.note = Some(message.clone());
                failure.get_or_insert((reason, message));
                false
            }
            Err(Failure::Sqlite(error)) => {
                table.note = Some(error.to_string());
                failure = Some((FailureReason::of(&error), format!("{}: {error}", retention.table)));
                true
            }
        };
        report.tables.push(table);
        if stop {
            break;
        }
    }
    let report = Report { max_hold: run.max_hold, details: Details::LogCleaning(report) };
    match failure {
        None => Outcome::Success(report),
        Some((reason, message)) => Outcome::Failed { reason, message, report: Some(report) },
    }
}

/// Opens the database for writing, if that may be.
fn open(manners: Manners, context: &Context<'_>) -> Result<Writer, Outcome> {
    let journal_mode = survey(context)?.header.journal_mode;
    coexist::refuse_unless_writable(context.database, journal_mode, manners.allow_network)?;
    Writer::open(&context.database.path, manners.lock_wait, context.budget)
        .map_err(|error| Outcome::of(&error, None))
}

fn one_row_takes_too_long(table: &str, limit: Duration) -> Failure {
    let message = format!(
        "{table}: deleting a single row takes longer than {} ms, mostly the work of a trigger or of foreign keys without an \
         index; raise target_hold if the application can bear it",
        limit.as_millis()
    );
    Failure::Refused(FailureReason::Timeout, message)
}

/// Which file stands under the database's name.
fn identity(database: &Database) -> Option<(u64, u64)> {
    let main = Stamp::take(&database.files).ok()?.main?;
    Some((main.device, main.inode))
}

/// What all tables of a run share.
struct Run<'r> {
    writer: &'r mut Writer,
    manners: Manners,
    database: &'r Database,
    budget: &'r Budget,
    observer: &'r Arc<dyn Observer>,
    identity: Option<(u64, u64)>,
    neighbours: Neighbours,
    max_hold: Duration,
    now: SystemTime,
}

impl Run<'_> {
    fn clean(
        &mut self,
        retention: &Retention,
        foreign_keys: Option<bool>,
        table: &mut TableReport,
    ) -> Result<(), Failure> {
        self.observer.begin(&format!("cleaning {}", retention.table));
        for _ in 0..PLANS {
            let Some(plan) = self.plan(retention, foreign_keys)? else {
                table.complete = true;
                return Ok(());
            };
            table.cutoff = Some(iso(plan.cutoff));
            table.format = Some(plan.format.clone());
            table.note = self.missing_index(retention, &plan);
            let mut archive = retention.archive.as_ref().map(|directory| self.archive(directory, &plan));
            let operation = Operation::begin("DELETE", Some(&retention.table));
            let mut transactions = Transactions::default();
            let before = table.deleted_rows;
            let drained = self.drain(&plan, archive.as_mut(), table, &mut transactions);
            operation.rows(table.deleted_rows - before);
            transactions.tell(&operation);
            if let Err(Failure::Sqlite(error)) = &drained {
                operation.failed(error);
            }
            drop(operation);
            if let Some(archive) = archive.filter(|archive| archive.rows() > 0) {
                table.archive = Some(archive.path().to_owned());
                archive.verify(&Budget::impatient(self.manners.lock_wait))?;
            }
            match drained? {
                Drained::Done => return Ok(()),
                Drained::SchemaChanged => {}
            }
        }
        let message =
            format!("{}: the schema changes again and again; the next run goes on", retention.table);
        Err(Failure::Refused(FailureReason::Other, message))
    }

    /// What to delete; `None` where nothing can have expired.
    fn plan(&mut self, retention: &Retention, foreign_keys: Option<bool>) -> Result<Option<Plan>, Failure> {
        let now = self.now;
        let planned = self.writer.retry_while_busy(self.manners.lock_wait, |writer| {
            match plan(writer, retention, foreign_keys, now) {
                Err(PlanError::Sqlite(error)) => Err(error),
                other => Ok(other),
            }
        })?;
        planned.map_err(|error| match error {
            PlanError::Config(message) => Failure::Refused(FailureReason::Config, message),
            PlanError::Clock(message) => Failure::Refused(FailureReason::Other, message),
            PlanError::Sqlite(error) => error.into(),
        })
    }

    /// Says what would make the walk cheaper, if anything would.
    fn missing_index(&self, retention: &Retention, plan: &Plan) -> Option<String> {
        if plan.walk.is_by_time() {
            return None;
        }
        let statement = plan.shape.create_index(&retention.column);
        let note = format!(
            "no index on {}.{}: every row is looked at; the application should have {statement}",
            retention.table, retention.column
        );
        self.observer.say(&note);
        Some(note)
    }

    /// A file of its own for each run and shape of the table, so that none can spoil what another has put away.
    fn archive(&self, directory: &std::path::Path, plan: &Plan) -> Archive {
        let time = iso(self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        let time: String = time.chars().filter(char::is_ascii_digit).collect();
        let safe = |name: &str| name.replace(['/', '\0'], "_");
        let (database, table) = (safe(self.database.name.as_str()), safe(&plan.shape.name));
        let path = directory.join(format!(
            "{database}-{table}-{time}-{}-{}.db",
            std::process::id(),
            plan.shape.schema_version
        ));
        Archive::new(&path, &plan.shape)
    }

    /// Deletes batch after batch until nothing has expired any more or the time is over.
    fn drain(
        &mut self,
        plan: &Plan,
        mut archive: Option<&mut Archive>,
        table: &mut TableReport,
        transactions: &mut Transactions,
    ) -> Result<Drained, Failure> {
        let mut pace = Pace::new(FIRST_BATCH, self.manners.target_hold);
        let mut cursor: Option<Cursor> = None;
        let begun = Instant::now();
        loop {
            if self.budget.is_spent() && !self.budget.cancel.is_cancelled() {
                self.observer.say(&format!(
                    "{}: the time was used up before every expired row was deleted",
                    table.table
                ));
                return Ok(Drained::Done);
            }
            self.refuse_another_file()?;
            pace.aim_at(self.neighbours.await_turn(self.writer, self.manners.target_hold, self.budget));
            let size = BatchSize { rows: pace.units(), work: pace.work(), limit: pace.limit() };
            let batch = self.writer.retry_while_busy(self.manners.lock_wait, |writer| {
                writer.delete_batch(&plan.walk, cursor.as_ref(), size, archive.as_deref_mut())
            });
            let held = match batch {
                Ok(Some(held)) => held,
                Ok(None) => return Ok(Drained::SchemaChanged),
                Err(error) if took_too_long(&error, self.budget) => {
                    self.max_hold = self.max_hold.max(size.limit);
                    self.neighbours.pause(self.writer, size.limit, Duration::ZERO, self.manners.pause_ratio);
                    if pace.too_long() {
                        continue;
                    }
                    return Err(one_row_takes_too_long(&table.table, size.limit));
                }
                // The end of the time within a batch is seen above.
                Err(_) if self.budget.is_spent() && !self.budget.cancel.is_cancelled() => continue,
                Err(error) => return Err(error.into()),
            };
            self.max_hold = self.max_hold.max(held.hold);
            table.deleted_rows += held.value.deleted;
            if !held.hold.is_zero() {
                table.batches += 1;
                transactions.add(held.value.deleted, held.hold);
            }
            let share = held.value.next.as_ref().map_or(1.0, |next| plan.share(next.first().as_ref()));
            let rate = (table.deleted_rows as f64 / begun.elapsed().as_secs_f64().max(0.001)) as u64;
            let words = format!("{} deleted, {} a second", counted(table.deleted_rows, "row"), count(rate));
            self.observer.done(share, &words);
            pace.held(held.value.rows, held.value.looked + held.hold, held.commit);
            cursor = held.value.next;
            if cursor.is_none() {
                table.complete = true;
                return Ok(Drained::Done);
            }
            // A reader of a rollback database keeps writers from committing.
            let looks_hold = self.writer.journal_mode() == JournalMode::Rollback;
            if held.hold.is_zero() && !looks_hold {
                // Rows that were only looked at kept nobody waiting, but the disk at work.
                self.writer.pause_for_others(held.value.looked, self.manners.pause_ratio, Waiting::AtMostOne);
            } else {
                let looked = if looks_hold { held.value.looked } else { Duration::ZERO };
                self.neighbours.pause(self.writer, looked + held.hold, held.commit, self.manners.pause_ratio);
            }
        }
    }

    /// A database that was replaced under its name is not the one that the run was started for.
    fn refuse_another_file(&self) -> Result<(), Failure> {
        if identity(self.database) == self.identity {
            return Ok(());
        }
        let message =
            "the database file was replaced or removed during the run; the next run cleans the new one";
        Err(Failure::Refused(FailureReason::Io, message.to_owned()))
    }
}
