//! Runs a checkpoint.

use std::time::Duration;

use crate::config::Checkpoint;
use crate::sqlite;

use crate::tasks::context::TaskContext;
use crate::tasks::inspection::inspect_for_write;
use crate::tasks::lock_contention::LockContention;

use crate::tasks::preflight;
use crate::tasks::report::Report;
use crate::tasks::stop::Stop;

use super::plan::plan;
use super::plan::wal_bytes;
use super::report::CheckpointReport;

/// How long the opening waits; the next run is minutes away.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Checkpoints the database if there is anything to copy.
pub(super) fn run(task: &Checkpoint, context: &TaskContext<'_>) -> Result<Report, Stop> {
    let found = inspect_for_write(context)?;
    let plan = plan(task, context, &found)?;
    context.progress.begin("checkpoint");
    let mut writer = preflight::open_writer(context, OPEN_TIMEOUT)?;
    let copied = writer.checkpoint(sqlite::Checkpoint::Passive)?.value;
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
    let mut max_hold = Duration::ZERO;
    if plan.truncate {
        report.truncated = Some(false);
        // With frames left it would fail, after it had taken the write lock for nothing.
        if copied.is_complete() {
            let mut contention = LockContention::new(context.database, &context.progress);
            contention.await_turn(&writer, Duration::MAX, context.limits);
            let emptied = writer.checkpoint(sqlite::Checkpoint::Truncate)?;
            max_hold = emptied.hold;
            report.truncated = Some(!emptied.value.busy);
            report.reader_in_the_way = emptied.value.busy;
            if !emptied.value.busy {
                (report.frames_after, report.checkpointed_after) = (0, 0);
            }
        }
    }
    report.wal_size_after_bytes = wal_bytes(context);
    Ok(Report::new(max_hold, report))
}
