//! What is known of a database beside the look at it: the verdicts of its checks, and its locks.

use crate::humanize::counted;
use crate::humanize::counted_of;
use crate::humanize::span;
use crate::locks::Hold;
use crate::locks::MANY_FRAMES;
use crate::sqlite::Check;
use crate::state_store::CheckStatus;

use super::facts::Facts;
use super::finding::Finding;
use super::rules::FindingKind;
use super::rules::Severity;
use super::shell_quote;

/// What that gives rise to.
pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    found.extend(owner_lost_locks(facts));
    found.extend(check_failed(facts));
    found.extend(constraints_broken(facts));
    found.extend(not_checkable(facts));
    found.extend(wal_pinned(facts));
}

fn owner_lost_locks(facts: &Facts) -> Option<Finding> {
    if facts.lost_locks.is_empty() {
        return None;
    }
    let lost: Vec<String> = facts.lost_locks.iter().map(ToString::to_string).collect();
    let what = format!("Now {}.", lost.join("; "));
    let finding = Finding::new(FindingKind::OwnerLostLocks, Severity::Critical, what).remediation(
        "Do not end the process and let no other program close the database before its data is kept: the runbook says how.",
    );
    Some(finding.command("litekeeper runbook SqliteOwnerLostLocks".to_owned()))
}

fn check_failed(facts: &Facts) -> Option<Finding> {
    // Foreign keys are the application's, and keep no task from running.
    let failed = |(check, standing): &&(Check, CheckStatus)| !standing.ok && *check != Check::ForeignKey;
    let (check, standing) = facts.known.check_statuses.iter().find(failed)?;
    let problems = counted(u64::from(standing.problems), "problem");
    let first =
        standing.first_problem.as_ref().map(|first| format!(", the first: {first}")).unwrap_or_default();
    let what = format!("The last {} check found {problems}{first}.", check.label().replace('_', " "));
    let finding = Finding::new(FindingKind::CheckFailed, Severity::Critical, what);
    let finding = finding.remediation(
        "Keep a copy of all its files first; `litekeeper runbook SqliteIntegrityCheckFailed` says what then. The verdict goes with a \
         full health check that passes.",
    );
    Some(finding.command(format!("litekeeper check {}", shell_quote::path(&facts.path))))
}

fn constraints_broken(facts: &Facts) -> Option<Finding> {
    let broken = |(check, standing): &&(Check, CheckStatus)| {
        standing.notes.constraints > 0 && *check != Check::ForeignKey
    };
    let (check, CheckStatus { notes, .. }) = facts.known.check_statuses.iter().find(broken)?;
    let number = counted(u64::from(notes.constraints), "broken constraint");
    let first = notes.first_constraint.as_deref().unwrap_or_default();
    let what =
        format!("The last {} check found {number}, the first: {first}.", check.label().replace('_', " "));
    let finding = Finding::new(FindingKind::ConstraintsBroken, Severity::Warning, what).remediation(
        "The file is sound: restore nothing. Which rows to correct is a decision of the application's owner; `litekeeper runbook \
         SqliteConstraintViolations` shows how to find them.",
    );
    Some(finding.command(format!("litekeeper check {}", shell_quote::path(&facts.path))))
}

fn not_checkable(facts: &Facts) -> Option<Finding> {
    let left_out = |(_, standing): &&(Check, CheckStatus)| standing.notes.not_checked > 0;
    let (check, CheckStatus { notes, .. }) = facts.known.check_statuses.iter().find(left_out)?;
    let number = counted(u64::from(notes.not_checked), "thing");
    let first = notes.first_not_checked.as_deref().unwrap_or_default();
    let check = check.label().replace('_', " ");
    let what = format!("The last {check} check could not check {number}, the first: {first}.");
    let finding = Finding::new(FindingKind::NotCheckable, Severity::Info, what);
    Some(finding.remediation(
        "Have the application check these itself, as with `PRAGMA integrity_check` on its own connection.",
    ))
}

fn wal_pinned(facts: &Facts) -> Option<Finding> {
    let pins = facts.known.locks.as_ref()?.pins();
    let hold: &Hold = pins.first()?;
    let frames = hold.pinned_frames.filter(|frames| *frames >= MANY_FRAMES)?;
    let wal = facts.inside.as_ref().ok().and_then(|inside| inside.wal);
    let all = wal.map(|wal| wal.total).filter(|all| *all >= frames);
    let held = match hold.held.as_secs() {
        0 => String::new(),
        seconds => format!(", seen for at least {}", span(seconds)),
    };
    let frames = counted_of(frames.into(), all.map(u64::from), "frame");
    let what = format!("{} pins {frames} of the WAL{held}.", hold.owner);
    let finding = Finding::new(FindingKind::WalPinned, Severity::Warning, what);
    let finding = finding.remediation(
        "See whether it stays. It is a read transaction, or a statement that was never reset: its program has to end it.",
    );
    Some(finding.command(format!("litekeeper locks {} --watch", shell_quote::path(&facts.path))))
}
