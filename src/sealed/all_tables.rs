//! The comparison of every table of a database with sealed rows.

use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::config::SealedRows;
use crate::database::Database;
use crate::health_report::ImpactLimits;
use crate::limits::QueryLimits;

use super::comparison::compare_sealed_table;
use super::report::SealedTableReport;
use super::report::SealedTableStatus;
use super::request::SealedError;
use super::request::SealedRequest;
use super::request::sealed_status;

/// The longest that a piece may keep writers of a rollback database from committing.
const MAX_WRITER_WAIT: Duration = Duration::from_millis(100);

/// By how many bytes a WAL may grow while a piece is read.
const MAX_WAL_GROWTH: u64 = 64 * 1024 * 1024;

/// Compares every table of a database, one after the other. A table that cannot be compared has its
/// problem in its report. `done` is called after each with the share of tables that are done.
///
/// # Errors
/// The limits ended it.
pub fn compare_sealed(
    database: &Database,
    directory: &Path,
    limits: &QueryLimits,
    accept: bool,
    done: impl Fn(f64),
) -> Result<Vec<SealedTableReport>, SealedError> {
    let owner_busy_timeout = database.settings.owner_busy_timeout;
    let impact_limits =
        ImpactLimits { max_writer_wait: MAX_WRITER_WAIT, max_wal_growth: MAX_WAL_GROWTH, owner_busy_timeout };
    let tables = &database.settings.sealed;
    let mut reports = Vec::new();
    for SealedRows { table, condition } in tables {
        let compared = compare_sealed_table(&SealedRequest {
            path: &database.path,
            files: &database.files,
            table,
            condition,
            directory,
            impact_limits: Some(impact_limits),
            limits,
            accept,
            now: unix_now(),
        });
        reports.push(match compared {
            Ok(report) => report,
            Err(SealedError::Ended) => return Err(SealedError::Ended),
            Err(error) => SealedTableReport {
                table: table.clone(),
                condition: condition.clone(),
                problem: Some(error.to_string()),
                ..SealedTableReport::default()
            },
        });
        done(reports.len() as f64 / tables.len() as f64);
    }
    for report in reports.iter().filter(|report| report.accepted > 0) {
        tracing::warn!(
            db = database.name.as_str(),
            table = report.table,
            rows = report.accepted,
            "changes of sealed rows accepted"
        );
    }
    Ok(reports)
}

/// What is known of every table of a database without a comparison.
#[must_use]
pub fn sealed_statuses(database: &Database, directory: &Path) -> Vec<SealedTableStatus> {
    let status = |SealedRows { table, .. }: &SealedRows| {
        let unknown = || SealedTableStatus { table: table.clone(), ..SealedTableStatus::default() };
        sealed_status(directory, &database.path, table).unwrap_or_else(unknown)
    };
    database.settings.sealed.iter().map(status).collect()
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
