//! Whether a checkpoint is needed, and what it would copy.

use std::time::Duration;

use crate::config::Checkpoint;
use crate::humanize::bytes;
use crate::os::stat;
use crate::sqlite::JournalMode;
use crate::sqlite::WalFrames;
use crate::sqlite::version_text;

use crate::tasks::context::TaskContext;
use crate::tasks::inspection::Inspection;

use crate::tasks::preflight;
use crate::tasks::reason::SkipReason;
use crate::tasks::report::Report;
use crate::tasks::stop::Stop;

use super::report::CheckpointReport;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) frames: Option<WalFrames>,
    pub(super) wal_bytes: u64,
    pub(super) truncate: bool,
    pub(super) version_unsafe: bool,
}

impl Plan {
    /// What would be done, in words.
    pub(super) fn summary(&self) -> String {
        let copy = match self.frames {
            Some(frames) => {
                format!("{} of {} frames would be copied", frames.total - frames.checkpointed, frames.total)
            }
            None => "the WAL that a killed application left would be copied".to_owned(),
        };
        let empty = if self.truncate { ", and the file emptied if nobody uses it" } else { "" };
        format!("{copy}{empty}; the WAL has {}", bytes(self.wal_bytes))
    }
}

/// Works out what is to be done.
pub(super) fn plan(task: &Checkpoint, context: &TaskContext<'_>, found: &Inspection) -> Result<Plan, Stop> {
    let skipped = |reason, detail: String| Err(Stop::skipped(reason, detail));
    let header = &found.header;
    if header.journal_mode == JournalMode::Rollback {
        return skipped(SkipReason::BelowThreshold, "the database is not in WAL mode".to_owned());
    }
    let wal_bytes = wal_bytes(context);
    let is_large = wal_bytes >= task.truncate_above && wal_bytes > 0;
    let is_copied = found.wal.is_some_and(|frames| frames.total == frames.checkpointed);
    if is_copied && !is_large {
        let detail = format!("all frames are copied, and the WAL has {}", bytes(wal_bytes));
        return skipped(SkipReason::BelowThreshold, detail);
    }
    if let Some(replicator) =
        preflight::replicator(context.database, &found.tables).filter(|_| !task.allow_replicated)
    {
        let detail = format!(
            "{replicator} replicates the database and makes its own checkpoints; `allow_replicated: on` permits others"
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
        let report = Report::new(Duration::ZERO, report);
        return Err(Stop::skipped(SkipReason::VersionUnsafe, detail).with_report(report));
    }
    preflight::check_writable(context.database, header.journal_mode, task.allow_network_filesystem)?;
    Ok(Plan {
        frames: found.wal,
        wal_bytes,
        truncate: is_large && !unsafe_version,
        version_unsafe: is_large && unsafe_version,
    })
}

pub(super) fn wal_bytes(context: &TaskContext<'_>) -> u64 {
    stat(&context.database.files.wal).ok().flatten().map_or(0, |stat| stat.size)
}
