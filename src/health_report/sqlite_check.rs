//! One of SQLite's checks of a whole database, and its report.

use std::time::Instant;

use crate::span::Operation;
use crate::sqlite::Check;
use crate::sqlite::Checked;
use crate::sqlite::Finding;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::failure::Failure;
use super::report::CheckReport;
use super::report::Report;

/// A check that fails as a whole is a finding when the file is to blame for it.
pub(super) fn run_check(reader: &Reader, check: Check, report: &mut Report) -> Result<(), SqliteError> {
    let started = Instant::now();
    let operation = Operation::begin(operation_of(check), None);
    let checked = checked_or_damage(operation.record_result(reader.check(check)), check)?;
    let checked = CheckReport::new(check.label(), checked, started.elapsed().as_secs_f64());
    operation.problems(checked.problems.len());
    report.checks.push(checked);
    Ok(())
}

/// A check as an operation of SQLite.
pub(super) fn operation_of(check: Check) -> &'static str {
    match check {
        Check::Quick => "PRAGMA quick_check",
        Check::Full => "PRAGMA integrity_check",
        Check::ForeignKey => "PRAGMA foreign_key_check",
    }
}

/// What a check found, where damage that ends it is a finding too.
pub(super) fn checked_or_damage(
    checked: Result<Checked, SqliteError>,
    check: Check,
) -> Result<Checked, SqliteError> {
    checked.or_else(|error| match Failure::of(&error, check.label()) {
        Failure::Damaged { problem, .. } => {
            Ok(Checked { findings: vec![Finding::damage(problem)], whole: true, ..Checked::default() })
        }
        Failure::Unknown { .. } => Err(error),
    })
}
