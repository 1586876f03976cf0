//! The verdicts of a health report, and the failure that they amount to.

use crate::health_report;
use crate::sqlite::Check;
use crate::sqlite::ErrorCode;
use crate::sqlite::ErrorKind;
use crate::sqlite::FindingCategory;
use crate::sqlite::MAX_FINDINGS;
use crate::tasks::reason::FailureReason;
use crate::tasks::verdict::Notes;
use crate::tasks::verdict::Verdict;

/// What the report says for one check. What the file's size or the opening tells belongs to the
/// `main` check.
pub(super) fn verdict(report: &health_report::Report, check: Check, main: Check) -> Option<Verdict> {
    let belongs =
        |label: &str| label == check.label() || check == main && ["file_size", "open"].contains(&label);
    let reports: Vec<_> = report.checks.iter().filter(|report| belongs(report.check)).collect();
    let texts = |kind: FindingCategory| -> Vec<&str> {
        reports.iter().flat_map(|report| report.texts(kind)).collect()
    };
    let (damage, constraints) = (texts(FindingCategory::Damage), texts(FindingCategory::Constraint));
    let not_checked = texts(FindingCategory::NotCheckable);
    let found = !damage.is_empty() || !constraints.is_empty();
    // Without a word of the check itself it did not end; a problem is one all the same.
    if !found && !reports.iter().any(|report| report.check == check.label()) {
        return None;
    }
    // Slices that left a table out are no verdict.
    let unfinished = report.error.is_some() && !found && reports.iter().any(|report| !report.whole);
    let problems = if check == Check::ForeignKey { &constraints } else { &damage };
    let count = |found: &[&str]| u32::try_from(found.len().min(MAX_FINDINGS)).unwrap_or(u32::MAX);
    let first = |found: &[&str]| found.first().map(|first| (*first).to_owned());
    (!unfinished).then(|| Verdict {
        check,
        ok: problems.is_empty(),
        whole: reports.iter().all(|report| report.whole),
        problems: count(problems),
        first_problem: first(problems),
        notes: Notes {
            constraints: count(&constraints),
            first_constraint: first(&constraints),
            not_checked: count(&not_checked),
            first_not_checked: first(&not_checked),
            btrees: reports.iter().map(|report| report.btrees).sum(),
            btrees_checked: reports.iter().map(|report| report.btrees_checked).sum(),
        },
    })
}

/// Summarizes failed checks. A row that violates a constraint is not damage.
pub(super) fn findings(verdicts: &[Verdict]) -> Option<(FailureReason, String)> {
    let damaged = |verdict: &Verdict| !verdict.ok && verdict.check != Check::ForeignKey;
    let words = |check: Check, number: u32, what: &str, first: Option<&String>| {
        let first = first.map_or("", String::as_str);
        let check = check.label();
        match number {
            1 => format!("{check}: {first}"),
            more => format!("{check}: {more} {what}; the first is: {first}"),
        }
    };
    let mut said = Vec::new();
    for verdict in verdicts.iter().filter(|verdict| damaged(verdict)) {
        said.push(words(verdict.check, verdict.problems, "problems", verdict.first_problem.as_ref()));
    }
    let reason = if said.is_empty() { FailureReason::Constraint } else { FailureReason::Corrupt };
    for verdict in verdicts.iter().filter(|verdict| verdict.notes.constraints > 0) {
        let first = verdict.notes.first_constraint.as_ref();
        said.push(words(verdict.check, verdict.notes.constraints, "violated constraints", first));
    }
    let sound = if reason == FailureReason::Constraint {
        "; the file is not damaged, and maintenance continues: correct the rows in the application"
    } else {
        ""
    };
    (!said.is_empty()).then(|| (reason, format!("{}{sound}", said.join("; "))))
}

/// The reason behind a check that could not be finished.
pub(super) fn reason_of(kind: Option<ErrorKind>) -> FailureReason {
    match kind {
        Some(ErrorKind::Cancelled) => FailureReason::Canceled,
        Some(ErrorKind::DeadlineExceeded) => FailureReason::Timeout,
        Some(ErrorKind::Sqlite(ErrorCode::Busy | ErrorCode::Locked)) => FailureReason::Busy,
        Some(ErrorKind::Sqlite(ErrorCode::Other)) => FailureReason::Other,
        Some(ErrorKind::Sqlite(
            ErrorCode::Corrupt
            | ErrorCode::NotADatabase
            | ErrorCode::Io
            | ErrorCode::Full
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen,
        ))
        | None => FailureReason::Io,
    }
}
