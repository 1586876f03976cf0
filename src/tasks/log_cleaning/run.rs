//! Runs a log cleaning: one table after the other.

use crate::config::LogCleaning;
use crate::config::WriteLimits;
use crate::sqlite::Writer;

use crate::tasks::context::TaskContext;
use crate::tasks::inspection::inspect_for_write;
use crate::tasks::log_cleaning::clock_check;
use crate::tasks::log_cleaning::report::LogCleaningReport;
use crate::tasks::log_cleaning::report::TableReport;

use crate::tasks::preflight;
use crate::tasks::reason::FailureReason;
use crate::tasks::report::Report;
use crate::tasks::stop::Stop;

use super::clean::Cleaner;
use super::clean::CleaningError;

/// Cleans every configured table. One that is refused does not keep the others from being cleaned.
pub(super) fn run(task: &LogCleaning, context: &TaskContext<'_>) -> Result<Report, Stop> {
    if let Some(problem) =
        context.history.clock.as_ref().and_then(|earlier| clock_check::clock_jump(earlier, &context.clock))
    {
        let message = format!(
            "{problem}; nothing is deleted right after such a change. If the clock is correct now, the next run deletes as usual"
        );
        return Err(Stop::failed(FailureReason::Other, message));
    }
    let mut writer = open(task.write_limits, context)?;
    writer.enforce_foreign_keys(task.foreign_keys.unwrap_or(false))?;
    let mut cleaner = Cleaner::new(&mut writer, task.write_limits, context);
    let mut report = LogCleaningReport::default();
    let mut failure = None;
    for retention in &task.tables {
        let mut table = TableReport {
            table: retention.table.clone(),
            retention_seconds: retention.retention.map(|age| age.as_secs()),
            ..TableReport::default()
        };
        let result = cleaner.clean(retention, task.foreign_keys, &mut table);
        table.set_complete();
        report.deleted_rows += table.deleted_rows;
        let stop = match result {
            Ok(()) => false,
            Err(CleaningError::Refused(reason, message)) => {
                table.note = Some(message.clone());
                failure.get_or_insert((reason, message));
                false
            }
            Err(CleaningError::Sqlite(error)) => {
                table.note = Some(error.to_string());
                failure = Some((FailureReason::from_error(&error), format!("{}: {error}", retention.table)));
                !error.is_constraint()
            }
        };
        report.tables.push(table);
        if stop {
            break;
        }
    }
    let max_hold = cleaner.longest_hold();
    let report = Report::new(max_hold, report);
    match failure {
        None => Ok(report),
        Some((reason, message)) => Err(Stop::failed(reason, message).with_report(report)),
    }
}

/// Opens the database for writing, if that may be.
fn open(write_limits: WriteLimits, context: &TaskContext<'_>) -> Result<Writer, Stop> {
    let journal_mode = inspect_for_write(context)?.header.journal_mode;
    preflight::check_writable(context.database, journal_mode, write_limits.allow_network_filesystem)?;
    preflight::open_writer(context, write_limits.lock_timeout).map_err(Stop::from)
}
