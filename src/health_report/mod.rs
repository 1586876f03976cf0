//! The health report of one database: facts, row counts, and the verdict of SQLite's checks.
//!
//! It is sync and reads only. The shape of its JSON is an interface, documented in docs/CHECK.md.

mod by_table;
mod check;
mod failure;
mod full_text;
mod impact_limits;
mod progress;
mod reading;
mod report;
mod sqlite_check;

pub use impact_limits::ImpactLimits;
pub use impact_limits::ImpactMonitor;
pub use impact_limits::yield_to_writers;
pub use progress::CheckProgress;
pub use report::CheckReport;
pub use report::FORMAT_VERSION;
pub use report::FactsReport;
pub use report::Report;
pub use report::Request;
pub use report::RowCountReport;
pub use report::Status;

use std::time::Duration;
use std::time::Instant;

use crate::sqlite::Checked;
use crate::sqlite::Finding;
use crate::sqlite::FindingCategory;

use check::check_database;
use failure::Failure;

/// Checks one database. Beside a writer of a rollback database it reads a private copy; where there
/// can be none, the writer cannot commit while the check runs, for as long as the limits allow, and
/// without limits until it ends.
#[must_use]
pub fn report(request: &Request, progress: &impl CheckProgress) -> Report {
    let started = Instant::now();
    let mut report = Report {
        path: request.path.display().to_string(),
        status: Status::Unknown,
        error: None,
        file_format: None,
        files: None,
        facts: None,
        rows: Vec::new(),
        checks: Vec::new(),
        lost_locks: Vec::new(),
        max_hold: Duration::ZERO,
        no_copy: None,
        error_kind: None,
        elapsed_seconds: 0.0,
    };
    match check_database(request, progress, &mut report) {
        Ok(()) => {}
        Err(Failure::Damaged { check, problem }) => {
            let found =
                Checked { findings: vec![Finding::damage(problem)], whole: true, ..Checked::default() };
            report.checks.push(CheckReport::new(check, found, started.elapsed().as_secs_f64()));
        }
        Err(Failure::Unknown { message, kind }) => {
            report.error = Some(message);
            report.error_kind = kind;
        }
    }
    let uncounted = report.rows.iter().any(|rows| rows.error.is_some());
    report.status = if report.checks.iter().any(|check| !check.ok) {
        Status::Problems
    } else if report.error.is_some() || uncounted || report.has(FindingCategory::NotCheckable) {
        Status::Unknown
    } else {
        Status::Healthy
    };
    report.elapsed_seconds = started.elapsed().as_secs_f64();
    report
}
