//! Deletes the expired rows of one table, a short transaction at a time.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::config::Retention;
use crate::config::WriteLimits;
use crate::database::Database;
use crate::humanize::count;
use crate::humanize::counted;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::span::Operation;
use crate::span::Transactions;
use crate::sqlite::Archive;
use crate::sqlite::BatchSize;
use crate::sqlite::Contention;
use crate::sqlite::Cursor;
use crate::sqlite::JournalMode;
use crate::sqlite::SqliteError;
use crate::sqlite::TimeColumn as _;
use crate::sqlite::Writer;
use crate::sqlite::is_own_timeout;

use crate::tasks::batch_sizer::BatchSizer;
use crate::tasks::context::TaskContext;
use crate::tasks::lock_contention::LockContention;
use crate::tasks::log_cleaning::report::TableReport;
use crate::tasks::progress::Progress;

use crate::collectors::Consistent;
use crate::collectors::date;
use crate::collectors::read_unlocked;
use crate::tasks::log_cleaning::kept;
use crate::tasks::log_cleaning::plan::Plan;
use crate::tasks::log_cleaning::plan::PlanError;
use crate::tasks::log_cleaning::plan::PlanInputs;
use crate::tasks::log_cleaning::plan::PlanNotes;
use crate::tasks::log_cleaning::planning::plan;
use crate::tasks::log_cleaning::references;
use crate::tasks::log_cleaning::time_bounds::scan_timeout;
use crate::tasks::reason::FailureReason;

/// Rows of the first batch; what a row costs is not known yet.
const FIRST_BATCH: u32 = 200;

/// How often a table is looked at anew because its schema changed between two batches.
const MAX_REPLANS: u32 = 5;

/// How far a walk came.
enum DeleteProgress {
    /// To its end, or to the end of the time.
    Done,
    /// To a change of the schema, after which the table may have other columns, indexes or
    /// triggers.
    SchemaChanged,
}

/// Why a table's cleaning ended early.
pub(super) enum CleaningError {
    Refused(FailureReason, String),
    Sqlite(SqliteError),
}

impl From<SqliteError> for CleaningError {
    fn from(error: SqliteError) -> Self {
        Self::Sqlite(error)
    }
}

/// Which file stands under the database's name.
fn identity(database: &Database) -> Option<(u64, u64)> {
    let main = DatabaseFingerprint::read(&database.files).ok()?.main?;
    Some((main.device, main.inode))
}

/// What all tables of a run share.
pub(super) struct Cleaner<'r> {
    writer: &'r mut Writer,
    write_limits: WriteLimits,
    database: &'r Database,
    limits: &'r QueryLimits,
    progress: &'r Arc<dyn Progress>,
    identity: Option<(u64, u64)>,
    contention: LockContention,
    max_hold: Duration,
    now: SystemTime,
}

impl<'r> Cleaner<'r> {
    pub(super) fn new(
        writer: &'r mut Writer,
        write_limits: WriteLimits,
        context: &'r TaskContext<'_>,
    ) -> Self {
        Self {
            writer,
            write_limits,
            database: context.database,
            limits: context.limits,
            progress: &context.progress,
            identity: identity(context.database),
            contention: LockContention::new(context.database, &context.progress),
            max_hold: Duration::ZERO,
            now: context.now,
        }
    }

    /// The longest that the owner was kept from writing, by a transaction or, in a rollback database,
    /// by a read.
    pub(super) fn longest_hold(&self) -> Duration {
        self.max_hold.max(self.writer.longest_read())
    }

    /// Deletes the expired rows of a table.
    pub(super) fn clean(
        &mut self,
        retention: &Retention,
        foreign_keys: Option<bool>,
        table: &mut TableReport,
    ) -> Result<(), CleaningError> {
        self.progress.begin(&format!("cleaning {}", retention.table));
        for _ in 0..MAX_REPLANS {
            let mut notes = PlanNotes::default();
            let planned = self.plan(retention, foreign_keys, &mut notes);
            table.times = notes.times.or(table.times.take());
            table.kept = notes.kept;
            let Some(mut plan) = planned? else {
                if let Some(note) = &notes.note {
                    self.progress.message(&format!("{}: {note}", retention.table));
                }
                table.note = notes.note;
                references::note(&mut table.note, references::words(&retention.table, &table.kept, None));
                table.finished = !notes.is_doubtful;
                return Ok(());
            };
            describe(&plan, retention, table);
            table.note.iter().for_each(|note| self.progress.message(note));
            let mut archive = retention
                .archive
                .as_ref()
                .map(|directory| references::archive_file(self.database, directory, &plan.shape, self.now));
            let operation = Operation::begin("DELETE", Some(&retention.table));
            let mut transactions = Transactions::default();
            let before = table.deleted_rows;
            let mut refusal = None;
            let drained =
                self.drain_all(&mut plan, archive.as_mut(), table, (&mut transactions, &mut refusal));
            operation.rows(table.deleted_rows - before);
            transactions.record_on(&operation);
            if let Err(CleaningError::Sqlite(error)) = &drained {
                operation.failed(error);
            }
            drop(operation);
            let drained = match (drained, archive) {
                (Err(CleaningError::Sqlite(error)), Some(archive)) if archive.has_failed() => {
                    let message = format!("{}: {error}", retention.table);
                    Err(CleaningError::Refused(FailureReason::from_error(&error), message))
                }
                (drained, Some(archive)) if archive.rows() > 0 => {
                    table.archive = Some(archive.path().to_owned());
                    archive.verify(&QueryLimits::with_timeout(self.write_limits.lock_timeout))?;
                    drained
                }
                (drained, _) => drained,
            };
            match drained? {
                DeleteProgress::Done => {
                    // A walk by key reads the whole table again, for which a writer of a rollback
                    // database waits.
                    let limit = scan_timeout(self.database, self.writer.journal_mode());
                    let (writer, times) = (&mut *self.writer, (self.write_limits.lock_timeout, limit));
                    let words =
                        references::note_remaining_rows(writer, times, &plan, table, refusal.as_deref());
                    words.iter().for_each(|words| self.progress.message(words));
                    references::note_unarchived_rows(table);
                    return Ok(());
                }
                DeleteProgress::SchemaChanged => {}
            }
        }
        let message = format!("{}: the schema changes repeatedly; the next run continues", retention.table);
        Err(CleaningError::Refused(FailureReason::Other, message))
    }

    /// What to delete; `None` where nothing can have expired.
    fn plan(
        &mut self,
        retention: &Retention,
        foreign_keys: Option<bool>,
        notes: &mut PlanNotes,
    ) -> Result<Option<Plan>, CleaningError> {
        let scan_time = scan_timeout(self.database, self.writer.journal_mode());
        let inputs = PlanInputs { foreign_keys, now: self.now, scan_time };
        let planned = match self.plan_unlocked(retention, inputs, notes) {
            Some(planned) => {
                notes.row_test.take().map_or(Ok(()), |test| self.writer.test_rows(test))?;
                planned
            }
            None => self.writer.retry_while_busy(self.write_limits.lock_timeout, |writer| {
                *notes = PlanNotes::default();
                match plan(writer, retention, inputs, notes) {
                    Err(PlanError::Sqlite(error)) => Err(error),
                    other => Ok(other),
                }
            })?,
        };
        planned.map_err(|error| match error {
            PlanError::Config(message) => CleaningError::Refused(FailureReason::Config, message),
            PlanError::Archive(message) => CleaningError::Refused(FailureReason::Io, message),
            PlanError::Clock(message) | PlanError::TimedOut(message) => {
                CleaningError::Refused(FailureReason::Other, message)
            }
            PlanError::Sqlite(error) => error.into(),
        })
    }

    /// The plan of a rollback database, read without a lock, as a reader's lock keeps its owner from
    /// committing; `None` where writers leave no time for that, and in WAL mode, whose readers block
    /// nobody.
    fn plan_unlocked(
        &self,
        retention: &Retention,
        inputs: PlanInputs,
        notes: &mut PlanNotes,
    ) -> Option<Result<Option<Plan>, PlanError>> {
        const TRY_FOR: Duration = Duration::from_secs(1);
        if self.writer.journal_mode() != JournalMode::Rollback {
            return None;
        }
        let Database { path, files, .. } = self.database;
        let read = read_unlocked(path, files, self.limits, TRY_FOR, |reader| {
            *notes = PlanNotes::default();
            match plan(reader, retention, inputs, notes) {
                Err(PlanError::Sqlite(error)) => Err(error),
                other => Ok(other),
            }
        });
        match read {
            Ok(Consistent::Read { answer, .. }) => Some(answer),
            Ok(Consistent::Unstable) | Err(_) => None,
        }
    }

    /// Goes over the table; over one whose rows refer to each other again, the other way round,
    /// until no row goes any more.
    fn drain_all(
        &mut self,
        plan: &mut Plan,
        mut archive: Option<&mut Archive>,
        table: &mut TableReport,
        (transactions, refusal): (&mut Transactions, &mut Option<String>),
    ) -> Result<DeleteProgress, CleaningError> {
        let mut may_turn = plan.walk.references().reaches_itself();
        loop {
            let before = table.deleted_rows;
            table.finished = false;
            let drained = match self.drain(plan, archive.as_deref_mut(), table, (transactions, refusal)) {
                // From this end, the deletion of one row takes a chain of rows along that is too
                // long for SQLite or for a hold.
                Err(_) if may_turn && !self.limits.is_exceeded() => {
                    may_turn = false;
                    plan.walk = plan.walk.clone().reversed();
                    continue;
                }
                other => other?,
            };
            let again = plan.walk.references().is_self_referencing()
                && table.finished
                && table.deleted_rows > before
                && !self.limits.is_exceeded();
            if !again {
                return Ok(drained);
            }
            plan.walk = plan.walk.clone().reversed();
        }
    }

    /// Deletes batch after batch until nothing has expired any more or the time is over.
    fn drain(
        &mut self,
        plan: &Plan,
        mut archive: Option<&mut Archive>,
        table: &mut TableReport,
        (transactions, refusal): (&mut Transactions, &mut Option<String>),
    ) -> Result<DeleteProgress, CleaningError> {
        let WriteLimits { target_lock_hold, pause_ratio, lock_timeout, .. } = self.write_limits;
        let mut sizer = BatchSizer::new(FIRST_BATCH, target_lock_hold);
        let mut cursor: Option<Cursor> = None;
        let begun = Instant::now();
        loop {
            if self.limits.is_exceeded() && !self.limits.cancel.is_cancelled() {
                let ended = "the timeout ended before every expired row was deleted";
                self.progress.message(&format!("{}: {ended}; the next run continues", table.table));
                return Ok(DeleteProgress::Done);
            }
            self.check_same_file()?;
            sizer.set_target(self.contention.await_turn(self.writer, target_lock_hold, self.limits));
            let size = BatchSize { rows: sizer.units(), work: sizer.work(), limit: sizer.limit() };
            let batch = self.writer.retry_while_busy(lock_timeout, |writer| {
                writer.delete_batch(&plan.walk, cursor.as_ref(), size, archive.as_deref_mut())
            });
            let held = match batch {
                Ok(Some(held)) => held,
                Ok(None) => return Ok(DeleteProgress::SchemaChanged),
                Err(error) if is_own_timeout(&error, self.limits) => {
                    self.max_hold = self.max_hold.max(size.limit);
                    self.contention.pause(self.writer, size.limit, Duration::ZERO, pause_ratio);
                    if sizer.shrink() {
                        continue;
                    }
                    let message = references::row_exceeds_limit(&table.table, size.limit);
                    return Err(CleaningError::Refused(FailureReason::Timeout, message));
                }
                // The end of the time within a batch is seen above.
                Err(_) if self.limits.is_exceeded() && !self.limits.cancel.is_cancelled() => continue,
                Err(error) => return Err(error.into()),
            };
            self.max_hold = self.max_hold.max(held.hold);
            let removed = held.value.removed;
            table.deleted_rows += removed.deleted;
            kept::add(&mut table.others, &removed.others);
            if let Some(words) = removed.refusal {
                refusal.get_or_insert(words);
            }
            if !held.hold.is_zero() {
                table.batches += 1;
                transactions.add(removed.deleted, held.hold);
            }
            let share = held.value.next.as_ref().map_or(1.0, |next| plan.share(next.first().as_ref()));
            self.progress.update(share, &deletion_progress(table.deleted_rows, begun.elapsed()));
            sizer.record(held.value.rows, held.value.scan_time + held.hold, held.commit);
            cursor = held.value.next;
            // A reader of a rollback database keeps writers from committing.
            let looks_hold = self.writer.journal_mode() == JournalMode::Rollback;
            let kept = held.hold + if looks_hold { held.value.scan_time } else { Duration::ZERO };
            if kept.is_zero() {
                // Rows that were only looked at kept nobody waiting, but the disk at work.
                self.writer.yield_lock(held.value.scan_time, pause_ratio, Contention::Single);
            } else {
                self.contention.pause(self.writer, kept, held.commit, pause_ratio);
            }
            // The pause also notes our last commit: for the next table, it is no foreign write.
            if cursor.is_none() {
                table.finished = true;
                return Ok(DeleteProgress::Done);
            }
        }
    }

    /// A database that was replaced under its name is not the one that the run was started for.
    fn check_same_file(&self) -> Result<(), CleaningError> {
        if identity(self.database) == self.identity {
            return Ok(());
        }
        let message =
            "the database file was replaced or removed during the run; the next run cleans the new one";
        Err(CleaningError::Refused(FailureReason::Io, message.to_owned()))
    }
}

/// What is said while rows are deleted.
fn deletion_progress(rows: u64, elapsed: Duration) -> String {
    let rate = (rows as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    format!("{} deleted, {} a second", counted(rows, "row"), count(rate))
}

/// Says how a table will be cleaned, and what would make it cheaper.
fn describe(plan: &Plan, retention: &Retention, table: &mut TableReport) {
    table.cutoff = plan.cutoff.map(date);
    table.expired_by = plan.expired_by;
    table.format = plan.format.clone();
    table.note = references::slow_references(plan);
    references::note(&mut table.note, references::slow_walk(plan, retention.column.as_deref()));
}
