//! Rules on what is known without reading the database: results of checks, and locks.

use crate::humanize::counted;
use crate::humanize::counted_of;
use crate::humanize::span;
use crate::locks::Hold;
use crate::locks::MANY_FRAMES;
use crate::sqlite::Check;
use crate::state_store::CheckStatus;
use crate::state_store::ScrubStatus;

use super::facts::Facts;
use super::finding::Finding;
use super::rules::FindingKind;
use super::rules::Severity;
use super::shell_quote;

/// Adds the findings of these rules.
pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    found.extend(owner_lost_locks(facts));
    found.extend(check_failed(facts));
    found.extend(scrub_failed(facts));
    found.extend(constraints_broken(facts));
    found.extend(not_checkable(facts));
    found.extend(wal_pinned(facts));
}

fn owner_lost_locks(facts: &Facts) -> Option<Finding> {
    if facts.lost_locks.is_empty() {
        return None;
    }
    let lost: Vec<String> = facts.lost_locks.iter().map(ToString::to_string).collect();
    let what = format!("Unprotected commits: {}.", lost.join("; "));
    let finding = Finding::new(FindingKind::OwnerLostLocks, Severity::Critical, what).remediation(
        "Do not stop the process, and do not open the database with another program, until its data is saved: the runbook explains how.",
    );
    Some(finding.command("litekeeper runbook SqliteOwnerLostLocks".to_owned()))
}

fn check_failed(facts: &Facts) -> Option<Finding> {
    // Violated foreign keys are not damage, and do not stop any task.
    let failed = |(check, status): &&(Check, CheckStatus)| !status.ok && *check != Check::ForeignKey;
    let (check, status) = facts.known.check_statuses.iter().find(failed)?;
    let problems = counted(u64::from(status.problems), "problem");
    let first =
        status.first_problem.as_ref().map(|first| format!("; the first is: {first}")).unwrap_or_default();
    let what = format!("The last {} check found {problems}{first}.", check.label().replace('_', " "));
    let finding = Finding::new(FindingKind::CheckFailed, Severity::Critical, what);
    let finding = finding.remediation(
        "First copy all files of the database, then follow `litekeeper runbook SqliteIntegrityCheckFailed`. This finding disappears \
         when a full health check passes.",
    );
    Some(finding.command(format!("litekeeper check {}", shell_quote::path(&facts.path))))
}

fn scrub_failed(facts: &Facts) -> Option<Finding> {
    let problem = facts.known.scrub.as_ref().and_then(ScrubStatus::problem)?;
    let what = format!("The last scrub found damage: {problem}.");
    let finding = Finding::new(FindingKind::ScrubFailed, Severity::Critical, what).remediation(
        "Keep a copy of all its files and of its backups first; the runbook says which backup has the good page, and what then.",
    );
    Some(finding.command("litekeeper runbook SqliteScrubFoundDamage".to_owned()))
}

fn constraints_broken(facts: &Facts) -> Option<Finding> {
    let broken =
        |(check, status): &&(Check, CheckStatus)| status.notes.constraints > 0 && *check != Check::ForeignKey;
    let (check, CheckStatus { notes, .. }) = facts.known.check_statuses.iter().find(broken)?;
    let number = counted(u64::from(notes.constraints), "violated constraint");
    let first = notes.first_constraint.as_deref().unwrap_or_default();
    let what =
        format!("The last {} check found {number}; the first is: {first}.", check.label().replace('_', " "));
    let finding = Finding::new(FindingKind::ConstraintsBroken, Severity::Warning, what).remediation(
        "The file is not damaged, so do not restore a backup. The people responsible for the application decide which rows to \
         correct; `litekeeper runbook SqliteConstraintViolations` shows how to find them.",
    );
    Some(finding.command(format!("litekeeper check {}", shell_quote::path(&facts.path))))
}

fn not_checkable(facts: &Facts) -> Option<Finding> {
    let left_out = |(_, status): &&(Check, CheckStatus)| status.notes.not_checked > 0;
    let (check, CheckStatus { notes, .. }) = facts.known.check_statuses.iter().find(left_out)?;
    let number = counted(u64::from(notes.not_checked), "item");
    let first = notes.first_not_checked.as_deref().unwrap_or_default();
    let check = check.label().replace('_', " ");
    let what = format!("The last {check} check could not check {number}; the first is: {first}.");
    let finding = Finding::new(FindingKind::NotCheckable, Severity::Info, what);
    Some(finding.remediation(
        "Only the application can check these, for example with `PRAGMA integrity_check` on one of its own connections.",
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
        seconds => format!(" and has done so for at least {}", span(seconds)),
    };
    let frames = counted_of(frames.into(), all.map(u64::from), "frame");
    let what = format!("{} pins {frames} of the WAL{held}.", hold.owner);
    let finding = Finding::new(FindingKind::WalPinned, Severity::Warning, what);
    let finding = finding.remediation(
        "Watch whether this lasts. The cause is an open read transaction, or a statement that was not reset; only its program can end it.",
    );
    Some(finding.command(format!("litekeeper locks {} --watch", shell_quote::path(&facts.path))))
}
