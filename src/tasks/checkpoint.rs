//! Checkpoint: copies the WAL into the main file, often, so that it stays short.
//!
//! Procedure: skip when nothing is left to copy and the file is not too large; copy what can be copied (passive, beside
//! writers and readers); empty the file when it is large, all of it is copied and nobody uses it. Price: the WAL's pages
//! are written once more and both files synced; the write lock, and that for the emptying alone. Why not always empty it:
//! it would take that lock each time, and a WAL that stays as large as it was once needed is written faster.

use serde::Deserialize;
use serde::Serialize;

use crate::config::Checkpoint;
use crate::humanize::bytes;
use crate::os::stat;
use crate::sqlite;
use crate::sqlite::JournalMode;
use crate::sqlite::SqliteError;
use crate::sqlite::WalFrames;
use crate::sqlite::version_text;
use crate::task::TaskKind;

use super::Inspection;
use super::TaskContext;
use super::inspect_for_write;
use super::lock_contention::LockContention;
use super::outcome::Details;
use super::outcome::Outcome;
use super::outcome::Report;
use super::outcome::SkipReason;
use super::preflight;

/// How long the opening waits; the next run is minutes away.
const OPEN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// What a checkpoint came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Frames in the WAL before; unknown when its last owner died.
    pub frames_before: Option<u32>,
    /// Those that were in the main file already.
    pub checkpointed_before: Option<u32>,
    /// Frames in the WAL after.
    pub frames_after: u32,
    /// Those that are in the main file now.
    pub checkpointed_after: u32,
    /// The size of the WAL file before.
    pub wal_size_before_bytes: u64,
    /// The same after.
    pub wal_size_after_bytes: u64,
    /// Whether the file was emptied; `None` where it was not large enough.
    pub truncated: Option<bool>,
    /// Whether a reader kept frames from being copied, or the file from being emptied.
    pub reader_in_the_way: bool,
    /// Whether more was left undone because the application's SQLite has the WAL-reset bug.
    pub version_unsafe: bool,
}

impl CheckpointReport {
    /// What was done, in a few words.
    pub(super) fn words(&self) -> String {
        let mut words = format!("{} of {} frames are copied", self.checkpointed_after, self.frames_after);
        match self.truncated {
            Some(true) => {
                words = format!(
                    "everything copied and the WAL emptied, which had {}",
                    bytes(self.wal_size_before_bytes)
                );
            }
            Some(false) => words.push_str(", the WAL could not be emptied"),
            None => {}
        }
        if self.reader_in_the_way {
            words.push_str(", a reader is in the way");
        }
        let left_undone = self.version_unsafe;
        if left_undone {
            words.push_str(", and not emptied for the application's version of SQLite");
        }
        words
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    frames: Option<WalFrames>,
    wal_bytes: u64,
    truncate: bool,
    version_unsafe: bool,
}

impl Plan {
    /// What would be done, in words.
    pub(super) fn words(&self) -> String {
        let copy = match self.frames {
            Some(frames) => {
                format!("{} of {} frames would be copied", frames.total - frames.checkpointed, frames.total)
            }
            None => "the WAL that a dead owner left would be copied".to_owned(),
        };
        let empty = if self.truncate { ", and the file emptied if nobody uses it" } else { "" };
        format!("{copy}{empty}; the WAL has {}", bytes(self.wal_bytes))
    }
}

/// Works out what is to be done.
pub(super) fn plan(
    task: &Checkpoint,
    context: &TaskContext<'_>,
    found: &Inspection,
) -> Result<Plan, Outcome> {
    let skipped = |reason, detail: String| Err(Outcome::skipped(reason, detail));
    let header = &found.header;
    if header.journal_mode == JournalMode::Rollback {
        return skipped(SkipReason::BelowThreshold, "the database is not in WAL mode".to_owned());
    }
    let wal_bytes = wal_bytes(context);
    let is_large = wal_bytes >= task.truncate_above && wal_bytes > 0;
    let is_copied = found.wal.is_some_and(|frames| frames.total == frames.checkpointed);
    if is_copied && !is_large {
        let detail = format!("everything is copied, and the WAL has {}", bytes(wal_bytes));
        return skipped(SkipReason::BelowThreshold, detail);
    }
    if let Some(replicator) =
        preflight::replicator(context.database, &found.tables).filter(|_| !task.allow_replicated)
    {
        let detail = format!(
            "{replicator} replicates the database and does its checkpoints itself; `allow_replicated: on` does them all the same"
        );
        return skipped(SkipReason::Replicated, detail);
    }
    let unsafe_version = preflight::has_wal_reset_bug(header.writer_version);
    if is_copied && unsafe_version {
        let detail = format!(
            "the WAL has {} and would be emptied, but the application's SQLite {} has the WAL-reset bug; it is fixed in 3.51.3, \
             3.50.7 and 3.44.6",
            bytes(wal_bytes),
            version_text(header.writer_version)
        );
        let frames = found.wal.map_or((0, 0), |frames| (frames.total, frames.checkpointed));
        let report = CheckpointReport {
            frames_before: Some(frames.0),
            checkpointed_before: Some(frames.1),
            frames_after: frames.0,
            checkpointed_after: frames.1,
            wal_size_before_bytes: wal_bytes,
            wal_size_after_bytes: wal_bytes,
            version_unsafe: true,
            ..CheckpointReport::default()
        };
        let report = Report { max_hold: std::time::Duration::ZERO, details: Details::Checkpoint(report) };
        return Err(Outcome::Skipped { reason: SkipReason::VersionUnsafe, detail, report: Some(report) });
    }
    preflight::check_writable(context.database, header.journal_mode, task.allow_network_filesystem)?;
    Ok(Plan {
        frames: found.wal,
        wal_bytes,
        truncate: is_large && !unsafe_version,
        version_unsafe: is_large && unsafe_version,
    })
}

fn wal_bytes(context: &TaskContext<'_>) -> u64 {
    stat(&context.database.files.wal).ok().flatten().map_or(0, |stat| stat.size)
}

/// Checkpoints the database if there is anything to copy.
pub(super) fn run(task: &Checkpoint, context: &TaskContext<'_>) -> Outcome {
    run_inner(task, context).unwrap_or_else(|outcome| outcome)
}

fn run_inner(task: &Checkpoint, context: &TaskContext<'_>) -> Result<Outcome, Outcome> {
    let found = inspect_for_write(TaskKind::Checkpoint, context)?;
    let plan = plan(task, context, &found)?;
    let failed = |error: SqliteError| Outcome::of(&error, None);
    context.progress.begin("checkpoint");
    let mut writer = preflight::open_writer(context, OPEN_TIMEOUT).map_err(failed)?;
    let copied = writer.checkpoint(sqlite::Checkpoint::Passive).map_err(failed)?.value;
    let mut report = CheckpointReport {
        frames_before: plan.frames.map(|frames| frames.total),
        checkpointed_before: plan.frames.map(|frames| frames.checkpointed),
        frames_after: copied.frames.total,
        checkpointed_after: copied.frames.checkpointed,
        wal_size_before_bytes: plan.wal_bytes,
        reader_in_the_way: !copied.is_complete(),
        version_unsafe: plan.version_unsafe,
        ..CheckpointReport::default()
    };
    let mut max_hold = std::time::Duration::ZERO;
    if plan.truncate {
        report.truncated = Some(false);
        // With frames left it would fail, after it had taken the write lock for nothing.
        if copied.is_complete() {
            let mut contention = LockContention::new(context.database, &context.progress);
            contention.await_turn(&writer, std::time::Duration::MAX, context.limits);
            let emptied = writer.checkpoint(sqlite::Checkpoint::Truncate).map_err(failed)?;
            max_hold = emptied.hold;
            report.truncated = Some(!emptied.value.busy);
            report.reader_in_the_way = emptied.value.busy;
            if !emptied.value.busy {
                (report.frames_after, report.checkpointed_after) = (0, 0);
            }
        }
    }
    report.wal_size_after_bytes = wal_bytes(context);
    Ok(Outcome::Success(Report { max_hold, details: Details::Checkpoint(report) }))
}
