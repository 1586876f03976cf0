//! Reads the tasks of a profile or an entry.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use chrono_tz::Tz;

use crate::config::Backup;
use crate::config::Checkpoint;
use crate::config::HealthCheck;
use crate::config::LogCleaning;
use crate::config::Optimize;
use crate::config::Retention;
use crate::config::Timing;
use crate::config::Vacuum;
use crate::config::WriteLimits;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::decode::quoted;
use crate::config::retention_read::read_retention;
use crate::config::tree::Node;
use crate::config::units::parse_duration;
use crate::config::upkeep_read::read_upkeep;
use crate::schedule::Schedule;
use crate::schedule::Window;

/// What every task takes.
const TIMING_KEYS: [&str; 6] = ["schedule", "timezone", "spread", "window", "start_deadline", "timeout"];

/// What every task that writes takes.
const WRITE_LIMIT_KEYS: [&str; 4] =
    ["target_lock_hold", "pause_ratio", "lock_timeout", "allow_network_filesystem"];

pub(super) const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const MIB: u64 = 1024 * 1024;

/// How late a run may begin.
const START_DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// How long a check or backup may keep a writer waiting: a tenth of a second is felt by nobody.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(100);

/// How far a WAL may grow under a check.
const MAX_WAL_GROWTH: u64 = 64 * MIB;

/// What the tasks of a file have in common.
pub(super) struct ParseContext<'s> {
    /// The file's directory, for relative paths.
    pub base: &'s Path,
    /// The zone of schedules that name none.
    pub timezone: Tz,
}

/// The tasks that a profile or an entry names; a task inside is `None` when it is switched off there.
#[derive(Debug, Clone, Default)]
pub(super) struct TaskLayer {
    pub health_check: Option<Option<HealthCheck>>,
    pub vacuum: Option<Option<Vacuum>>,
    pub log_cleaning: Option<Option<LogCleaning>>,
    pub backup: Option<Option<Backup>>,
    pub checkpoint: Option<Option<Checkpoint>>,
    pub optimize: Option<Option<Optimize>>,
}

/// What a task's timing is where the file does not say.
pub(super) struct TimingDefaults {
    pub schedule: &'static str,
    pub timeout: Duration,
}

const HEALTH_CHECK: TimingDefaults =
    TimingDefaults { schedule: "0 4 * * *", timeout: Duration::from_secs(6 * 3600) };
const QUICK_CHECK: TimingDefaults = TimingDefaults { schedule: "1h", timeout: HOUR };
const VACUUM: TimingDefaults =
    TimingDefaults { schedule: "0 3 * * SUN", timeout: Duration::from_secs(4 * 3600) };
const LOG_CLEANING: TimingDefaults = TimingDefaults { schedule: "0 1 * * *", timeout: HOUR };

/// Reads `tasks`.
pub(super) fn read_tasks(
    value: &Value<'_>,
    context: &ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> TaskLayer {
    let mut layer = TaskLayer::default();
    let known = ["health_check", "vacuum", "log_cleaning", "backup", "checkpoint", "optimize"];
    let Some(fields) = decoder.fields(value, &known) else {
        return layer;
    };
    read_upkeep(&fields, context, decoder, &mut layer);
    if let Some(value) = fields.find("health_check") {
        layer.health_check = task(
            &value,
            decoder,
            &keys(&["foreign_keys", "quick", "max_writer_wait", "max_wal_growth"], false),
        )
        .map(|fields| fields.and_then(|fields| read_health_check(&fields, context, decoder)));
    }
    if let Some(value) = fields.find("vacuum") {
        let own =
            ["min_reclaimable", "convert_auto_vacuum", "max_lock_hold", "min_free_space", "allow_replicated"];
        layer.vacuum = task(&value, decoder, &keys(&own, true))
            .map(|fields| fields.and_then(|fields| read_vacuum(&fields, context, decoder)));
    }
    if let Some(value) = fields.find("log_cleaning") {
        layer.log_cleaning = task(&value, decoder, &keys(&["tables", "foreign_keys"], true))
            .map(|fields| fields.and_then(|fields| read_log_cleaning(&fields, context, decoder)));
    }
    layer
}

pub(super) fn keys(own: &[&'static str], writes: bool) -> Vec<&'static str> {
    let write_limits: &[&'static str] = if writes { &WRITE_LIMIT_KEYS } else { &[] };
    [&TIMING_KEYS, own, write_limits].concat()
}

/// The fields of a task; `Some(None)` for one that is off. A task may be named with nothing behind it.
pub(super) fn task<'t>(
    value: &Value<'t>,
    decoder: &mut Decoder<'_>,
    known: &[&'static str],
) -> Option<Option<Fields<'t>>> {
    match &value.tree.node {
        Node::Null => Some(Some(Fields::empty(value))),
        Node::Scalar(_) => match decoder.switch(value)? {
            true => Some(Some(Fields::empty(value))),
            false => Some(None),
        },
        Node::Sequence(_) | Node::Mapping(_) => decoder.fields(value, known).map(Some),
    }
}

/// A field that may be left out: the default without it, or when it is wrong, which is noted then.
pub(super) fn read<'t, T>(
    fields: &Fields<'t>,
    name: &str,
    default: T,
    read: impl FnOnce(&Value<'t>) -> Option<T>,
) -> T {
    fields.find(name).and_then(|value| read(&value)).unwrap_or(default)
}

pub(super) fn read_timing(
    fields: &Fields<'_>,
    defaults: &TimingDefaults,
    context: &ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Timing {
    let zone = read(fields, "timezone", context.timezone, |value| read_timezone(value, decoder));
    let default = parse_schedule(defaults.schedule, zone).expect("the defaults are schedules");
    let schedule = read(fields, "schedule", default, |value| read_schedule(value, zone, decoder));
    let window = fields.given("window").and_then(|value| {
        let text = decoder.text(&value)?;
        Window::parse(&text, zone).map_err(|error| decoder.refuse_value(&value, error.to_string())).ok()
    });
    let mut duration = |name, default, bounds: RangeInclusive<Duration>| {
        read(fields, name, default, |value| decoder.duration(value, bounds))
    };
    Timing {
        schedule,
        zone,
        window,
        spread: duration("spread", Duration::ZERO, Duration::ZERO..=7 * DAY),
        start_deadline: duration("start_deadline", START_DEADLINE, MINUTE..=7 * DAY),
        timeout: duration("timeout", defaults.timeout, SECOND..=7 * DAY),
    }
}

/// Reads a time zone by its name in the IANA database.
pub(super) fn read_timezone(value: &Value<'_>, decoder: &mut Decoder<'_>) -> Option<Tz> {
    let text = decoder.text(value)?;
    let zone = text.parse().ok();
    if zone.is_none() {
        let message = format!("{} is no time zone; write it as in `Europe/Berlin` or `UTC`", quoted(&text));
        decoder.refuse_value(value, message);
    }
    zone
}

fn read_schedule(value: &Value<'_>, zone: Tz, decoder: &mut Decoder<'_>) -> Option<Schedule> {
    let text = decoder.text(value)?;
    parse_schedule(&text, zone).map_err(|message| decoder.refuse_value(value, message)).ok()
}

/// A cron expression, or a duration for every so often.
fn parse_schedule(text: &str, zone: Tz) -> Result<Schedule, String> {
    let often = text.trim().strip_prefix("every ").unwrap_or(text.trim());
    match parse_duration(often) {
        Ok(interval) if (MINUTE..=366 * DAY).contains(&interval) => Ok(Schedule::every(interval)),
        Ok(_) => Err(format!("an interval must be from 1m to 366d, not {}", quoted(text))),
        Err(_) => Schedule::cron(text, zone).map_err(|error| error.to_string()),
    }
}

pub(super) fn read_write_limits(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> WriteLimits {
    const HOLD: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
    WriteLimits {
        target_lock_hold: read(fields, "target_lock_hold", Duration::from_millis(20), |value| {
            decoder.duration(value, HOLD)
        }),
        pause_ratio: read(fields, "pause_ratio", 0.0, |value| decoder.fraction(value, 0.0..=100.0)),
        lock_timeout: read(fields, "lock_timeout", 5 * MINUTE, |value| decoder.duration(value, SECOND..=DAY)),
        allow_network_filesystem: read(fields, "allow_network_filesystem", false, |value| {
            decoder.switch(value)
        }),
    }
}

fn read_health_check(
    fields: &Fields<'_>,
    context: &ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<HealthCheck> {
    const WAIT: RangeInclusive<Duration> = Duration::from_millis(5)..=HOUR;
    let quick = fields.find("quick").and_then(|value| read_quick(&value, context, decoder));
    Some(HealthCheck {
        timing: read_timing(fields, &HEALTH_CHECK, context, decoder),
        quick,
        foreign_keys: read(fields, "foreign_keys", true, |value| decoder.switch(value)),
        max_writer_wait: read(fields, "max_writer_wait", MAX_WAIT, |value| decoder.duration(value, WAIT)),
        max_wal_growth: read(fields, "max_wal_growth", MAX_WAL_GROWTH, |value| decoder.bytes(value)),
    })
}

/// `quick: on`, `quick: 1h`, or a mapping as a task has it.
fn read_quick(value: &Value<'_>, context: &ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<Timing> {
    let is_switch = |text: &str| ["on", "off", "true", "false"].contains(&text);
    if let Node::Scalar(text) = &value.tree.node
        && !is_switch(text)
    {
        let schedule = read_schedule(value, context.timezone, decoder)?;
        let timing = read_timing(&Fields::empty(value), &QUICK_CHECK, context, decoder);
        return Some(Timing { schedule, ..timing });
    }
    let fields = task(value, decoder, &TIMING_KEYS)??;
    Some(read_timing(&fields, &QUICK_CHECK, context, decoder))
}

/// The health check of databases that are named on the command line.
pub(super) fn default_health_check() -> HealthCheck {
    let zone = Tz::UTC;
    HealthCheck {
        timing: Timing {
            schedule: parse_schedule(HEALTH_CHECK.schedule, zone).expect("the defaults are schedules"),
            zone,
            window: None,
            spread: Duration::ZERO,
            start_deadline: START_DEADLINE,
            timeout: HEALTH_CHECK.timeout,
        },
        quick: None,
        foreign_keys: true,
        max_writer_wait: MAX_WAIT,
        max_wal_growth: MAX_WAL_GROWTH,
    }
}

fn read_vacuum(fields: &Fields<'_>, context: &ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<Vacuum> {
    let (mut min_bytes, mut min_ratio) = (10 * MIB, 0.1);
    if let Some(value) = fields.find("min_reclaimable")
        && let Some(least) = decoder.fields(&value, &["bytes", "ratio"])
    {
        min_bytes = read(&least, "bytes", min_bytes, |value| decoder.bytes(value));
        min_ratio = read(&least, "ratio", min_ratio, |value| decoder.fraction(value, 0.0..=1.0));
    }
    Some(Vacuum {
        timing: read_timing(fields, &VACUUM, context, decoder),
        min_bytes,
        min_ratio,
        convert_auto_vacuum: read(fields, "convert_auto_vacuum", false, |value| {
            decoder.choice(value, &[("incremental", true), ("off", false)])
        }),
        max_lock_hold: fields
            .given("max_lock_hold")
            .and_then(|value| decoder.duration(&value, Duration::from_millis(1)..=DAY)),
        min_free_space: read(fields, "min_free_space", 100 * MIB, |value| decoder.bytes(value)),
        allow_replicated: read(fields, "allow_replicated", false, |value| decoder.switch(value)),
        write_limits: read_write_limits(fields, decoder),
    })
}

fn read_log_cleaning(
    fields: &Fields<'_>,
    context: &ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<LogCleaning> {
    let timing = read_timing(fields, &LOG_CLEANING, context, decoder);
    let foreign_keys = fields.given("foreign_keys").and_then(|value| decoder.switch(&value));
    let write_limits = read_write_limits(fields, decoder);
    let value = decoder.require(fields, "tables", "tables: [{table: logs, column: created_at}]")?;
    let items = decoder.items(&value)?;
    if items.is_empty() {
        decoder.refuse_value(
            &value,
            "must name at least one table, as in `- {table: logs, column: created_at}`",
        );
    }
    let mut tables: Vec<Retention> = Vec::new();
    for item in items {
        let Some(retention) = read_retention(&item, context.base, decoder) else { continue };
        // Two retentions for one table are one too many, and the metrics have one series a table.
        if tables.iter().any(|other| other.table.eq_ignore_ascii_case(&retention.table)) {
            decoder.refuse_value(&item, format!("{} is listed already", quoted(&retention.table)));
        }
        tables.push(retention);
    }
    Some(LogCleaning { timing, tables, foreign_keys, write_limits })
}
