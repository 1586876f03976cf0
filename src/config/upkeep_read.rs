//! Reads the tasks that look after copies, WAL and statistics: `backup`, `checkpoint`, `optimize`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Backup;
use crate::config::Checkpoint;
use crate::config::Optimize;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::paths::resolve_path;
use crate::config::tasks_read::HOUR;
use crate::config::tasks_read::MAX_WAIT;
use crate::config::tasks_read::MIB;
use crate::config::tasks_read::ParseContext;
use crate::config::tasks_read::TaskLayer;
use crate::config::tasks_read::TimingDefaults;
use crate::config::tasks_read::keys;
use crate::config::tasks_read::read;
use crate::config::tasks_read::read_timing;
use crate::config::tasks_read::read_write_limits;
use crate::config::tasks_read::task;

const BACKUP: TimingDefaults =
    TimingDefaults { schedule: "0 2 * * *", timeout: Duration::from_secs(6 * 3600) };
const CHECKPOINT: TimingDefaults = TimingDefaults { schedule: "5m", timeout: Duration::from_secs(600) };
const OPTIMIZE: TimingDefaults = TimingDefaults { schedule: "0 5 * * *", timeout: HOUR };

/// Reads the three tasks into a layer.
pub(super) fn read_upkeep(
    fields: &Fields<'_>,
    context: &ParseContext<'_>,
    decoder: &mut Decoder<'_>,
    layer: &mut TaskLayer,
) {
    if let Some(value) = fields.find("backup") {
        let own = ["to", "keep", "min_free_space", "max_writer_wait", "max_wal_growth"];
        layer.backup = task(&value, decoder, &keys(&own, false))
            .map(|fields| fields.and_then(|fields| read_backup(&fields, context, decoder)));
    }
    if let Some(value) = fields.find("checkpoint") {
        let own = ["truncate_above", "allow_replicated", "allow_network_filesystem"];
        layer.checkpoint = task(&value, decoder, &keys(&own, false))
            .map(|fields| fields.map(|fields| read_checkpoint(&fields, context, decoder)));
    }
    if let Some(value) = fields.find("optimize") {
        layer.optimize = task(&value, decoder, &keys(&["analysis_limit"], true))
            .map(|fields| fields.map(|fields| read_optimize(&fields, context, decoder)));
    }
}

fn read_backup(fields: &Fields<'_>, context: &ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<Backup> {
    const KEEP: RangeInclusive<usize> = 1..=10_000;
    const WAIT: RangeInclusive<Duration> = Duration::from_millis(5)..=HOUR;
    let timing = read_timing(fields, &BACKUP, context, decoder);
    let keep = read(fields, "keep", 7, |value| decoder.number(value, KEEP));
    let min_free_space = read(fields, "min_free_space", 100 * MIB, |value| decoder.bytes(value));
    let max_writer_wait = read(fields, "max_writer_wait", MAX_WAIT, |value| decoder.duration(value, WAIT));
    let max_wal_growth = read(fields, "max_wal_growth", 1024 * MIB, |value| decoder.bytes(value));
    let value = decoder.require(fields, "to", "to: /srv/backups")?;
    let to = resolve_path(context.base, &decoder.text(&value)?);
    decoder.directory(&value, &to);
    Some(Backup { timing, to, keep, min_free_space, max_writer_wait, max_wal_growth })
}

fn read_checkpoint(fields: &Fields<'_>, context: &ParseContext<'_>, decoder: &mut Decoder<'_>) -> Checkpoint {
    Checkpoint {
        timing: read_timing(fields, &CHECKPOINT, context, decoder),
        truncate_above: read(fields, "truncate_above", 64 * MIB, |value| decoder.bytes(value)),
        allow_replicated: read(fields, "allow_replicated", false, |value| decoder.switch(value)),
        allow_network_filesystem: read(fields, "allow_network_filesystem", false, |value| {
            decoder.switch(value)
        }),
    }
}

fn read_optimize(fields: &Fields<'_>, context: &ParseContext<'_>, decoder: &mut Decoder<'_>) -> Optimize {
    /// Below a hundred the statistics are worth little; SQLite itself takes 2000 where it is not told.
    const LIMIT: RangeInclusive<usize> = 100..=1_000_000;
    let limit = read(fields, "analysis_limit", 1000, |value| decoder.number(value, LIMIT));
    Optimize {
        timing: read_timing(fields, &OPTIMIZE, context, decoder),
        analysis_limit: u32::try_from(limit).unwrap_or(u32::MAX),
        write_limits: read_write_limits(fields, decoder),
    }
}
