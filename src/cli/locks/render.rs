//! Formats the output of `litekeeper locks` as text.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::cli::common::table;
use crate::cli::escape::one_line;
use crate::humanize::count;
use crate::humanize::counted;
use crate::humanize::counted_of;
use crate::humanize::rfc3339;
use crate::humanize::span;
use crate::locks::Hold;
use crate::locks::LockOwner;
use crate::os::LockView;
use crate::os::LostLocks;

use super::target::LockReport;
use super::target::Observation;

/// Clears a terminal.
pub(super) const CLEAR_SCREEN: &str = "\x1b[2J";

/// Draws a text over the previous one without flicker: each line is cleared to its end, and then
/// everything below.
pub(super) fn redrawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

fn path_of(report: &LockReport) -> String {
    one_line(&report.path.to_string_lossy()).into_owned()
}

/// Formats one sample of all files.
pub(super) fn page(reports: &[LockReport], watched: bool) -> String {
    let mut text = String::new();
    let mut hidden = false;
    for (index, report) in reports.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = match &report.observation {
            Ok(observation) => write!(text, "{}", database(report, observation, watched)),
            Err(error) => writeln!(text, "{}: {}", path_of(report), one_line(error)),
        };
        hidden |= report
            .observation
            .as_ref()
            .is_ok_and(|observation| observation.locks.view == LockView::OwnNamespace);
    }
    if hidden {
        text.push_str(
            "\nlitekeeper runs in a PID namespace of its own (a container): the kernel does not show locks of processes outside it.\n",
        );
    }
    text
}

fn database(report: &LockReport, observation: &Observation, watched: bool) -> String {
    let mut text = format!("{}: {}\n", path_of(report), one_line(&state(observation)));
    for lost in &observation.lost {
        let _ = writeln!(text, "  URGENT: {}", one_line(&lost_text(lost)));
    }
    for hold in observation.locks.pins() {
        let _ = writeln!(text, "  {}", one_line(&pin(hold, observation)));
    }
    if observation.locks.holds.is_empty() {
        text.push_str("  no locks held\n");
    } else {
        let since = if watched { "HELD AT LEAST" } else { "SEEN" };
        let mut rows = table(["LOCK", "SQLITE", "PID", "PROCESS", "USER", since, "PROCESS AGE", "COMMAND"]);
        for hold in &observation.locks.holds {
            rows.add_row(row(hold, watched));
        }
        for line in rows.lines() {
            let _ = writeln!(text, "  {}", line.trim_end());
        }
    }
    if let Some(owners) = &observation.locks.connected
        && !owners.is_empty()
    {
        let names: Vec<String> = owners.iter().map(LockOwner::to_string).collect();
        let _ = writeln!(text, "  open in: {}", one_line(&names.join(", ")));
    }
    text
}

fn state(observation: &Observation) -> String {
    let mut parts = Vec::new();
    if let Some(facts) = &observation.facts {
        parts.push(format!("journal mode {}", facts.header.journal_mode.label()));
        if let Some(wal) = facts.wal {
            let (total, done) = (counted(u64::from(wal.total), "frame"), count(u64::from(wal.checkpointed)));
            parts.push(format!("{total} in the WAL, {done} checkpointed"));
        }
    }
    parts.extend(observation.note.clone());
    parts.join(", ")
}

/// Formats a pin, as in `pid 123 python3 pins 4,200 of 9,000 frames of the WAL`.
fn pin(hold: &Hold, observation: &Observation) -> String {
    let total = observation.facts.as_ref().and_then(|facts| facts.wal).map_or(0, |wal| wal.total);
    let frames = counted_of(hold.pinned_frames.unwrap_or(0).into(), Some(total.into()), "frame");
    format!("{} pins {frames} of the WAL", hold.owner)
}

fn row(hold: &Hold, watched: bool) -> [String; 8] {
    let process = hold.owner.process.as_deref();
    let unnamed = || if hold.owner.count > 1 { format!("? ({})", hold.owner.count) } else { "?".to_owned() };
    let age = process.and_then(|process| SystemTime::now().duration_since(process.started_at?).ok());
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    [
        hold.lock.kind().label().to_owned(),
        hold.lock.to_string(),
        hold.owner.pid.map_or_else(unnamed, |pid| pid.to_string()),
        or_unknown(process.map(|process| one_line(&process.name).into_owned())),
        or_unknown(process.and_then(|process| process.user.clone())),
        if watched { span(hold.held.as_secs()) } else { "now".to_owned() },
        or_unknown(age.map(|age| span(age.as_secs()))),
        process.map(|process| one_line(&process.command).into_owned()).unwrap_or_default(),
    ]
}

/// Formats one line for each lock that was acquired or released since the previous sample.
pub(super) fn changes(before: &[LockReport], now: &[LockReport]) -> String {
    let mut text = String::new();
    let time = rfc3339(SystemTime::now());
    for (index, report) in now.iter().enumerate() {
        let earlier = before.get(index).map(|report| &report.observation);
        let path = path_of(report);
        let mut line = |words: String| {
            let _ = writeln!(text, "{time} {path}: {}", one_line(&words));
        };
        let holds_then: &[Hold] = match earlier {
            Some(Ok(observation)) => &observation.locks.holds,
            Some(Err(_)) | None => &[],
        };
        let observation = match &report.observation {
            Ok(observation) => observation,
            Err(error) => {
                if earlier.is_none_or(|earlier| earlier.as_ref().err() != Some(error)) {
                    line(error.clone());
                }
                continue;
            }
        };
        let same = |one: &Hold, other: &Hold| {
            one.lock == other.lock
                && one.owner.pid == other.owner.pid
                && one.first_seen_at == other.first_seen_at
        };
        let lost_then = match earlier {
            Some(Ok(observation)) => observation.lost.as_slice(),
            Some(Err(_)) | None => &[],
        };
        for lost in observation.lost.iter().filter(|lost| !lost_then.contains(lost)) {
            line(lost_text(lost));
        }
        for gone in
            holds_then.iter().filter(|then| !observation.locks.holds.iter().any(|hold| same(then, hold)))
        {
            line(format!(
                "{} released {}, held for at least {:.1} s",
                gone.owner,
                gone.lock,
                gone.held.as_secs_f64()
            ));
        }
        for hold in &observation.locks.holds {
            let then = holds_then.iter().find(|then| same(then, hold));
            if then.is_none() {
                line(held(hold));
            }
            let pins = |hold: &Hold| hold.pinned_frames.is_some_and(|frames| frames > 0);
            if pins(hold) && !then.is_some_and(pins) {
                line(pin(hold, observation));
            }
        }
    }
    text
}

/// Describes a process that lost its locks, and what to do.
fn lost_text(lost: &LostLocks) -> String {
    format!("{lost}; its commits are or will be lost: follow `litekeeper runbook SqliteOwnerLostLocks`")
}

fn held(hold: &Hold) -> String {
    let process = hold.owner.process.as_deref();
    let user = process.and_then(|process| process.user.as_deref()).unwrap_or("?");
    let command = process.map_or("", |process| process.command.as_str());
    format!("{} holds {} ({}), user {user}: {command}", hold.owner, hold.lock, hold.lock.kind().label())
}
