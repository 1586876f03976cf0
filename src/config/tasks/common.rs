//! What tasks have in common: when they run, and how long they hold the write lock.

use std::time::Duration;

use chrono_tz::Tz;
use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::messages::quoted;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::Section;
use crate::config::section::assign;
use crate::config::section::section;
use crate::config::units::DAY;
use crate::config::units::HOUR;
use crate::config::units::MILLISECOND;
use crate::config::units::MINUTE;
use crate::config::units::SECOND;
use crate::config::units::parse_duration;
use crate::config::values::Between;
use crate::config::values::Plain;
use crate::config::values::Switch;
use crate::config::values::TimeZone;
use crate::schedule::Schedule;
use crate::schedule::Window;

/// How long a check or a backup may keep a writer waiting by default.
pub(super) const MAX_WRITER_WAIT: Duration = Duration::from_millis(100);

section! {
    /// When a task runs and how long it may take.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Timing {
        /// When it falls due, with its time zone.
        pub schedule: Schedule = Schedule::every(HOUR) => DueTimes,
        /// The zone of schedule and window.
        pub zone as "timezone": Tz = Tz::UTC => Zone,
        /// How far the runs of a fleet are spread after the schedule's times.
        pub spread: Duration = Duration::ZERO => Between(Duration::ZERO, 7 * DAY),
        /// When it may run at all.
        pub window: Option<Window> = None => Hours,
        /// How late a run may begin; later it is left out.
        pub start_deadline: Duration = 2 * HOUR => Between(MINUTE, 7 * DAY),
        /// How long a run may take.
        pub timeout: Duration = HOUR => Between(SECOND, 7 * DAY),
    }
}

section! {
    /// How long a task holds the write lock at once, and how long it waits for it.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct WriteLimits {
        /// The longest that the write lock is to be held at once.
        pub target_lock_hold: Duration = 20 * MILLISECOND => Between(MILLISECOND, 10 * SECOND),
        /// The pause after a hold, as a part of the hold. It is never shorter than what a waiting
        /// writer needs.
        pub pause_ratio: f64 = 0.0 => Between(0.0, 100.0),
        /// How long the task waits for a lock that another process holds.
        pub lock_timeout: Duration = 5 * MINUTE => Between(SECOND, DAY),
        /// Whether a WAL is written on a network or virtual file system too.
        pub allow_network_filesystem: bool = false => Switch,
    }
}

impl Timing {
    /// The defaults of a task: its schedule and its timeout.
    pub(super) fn new(schedule: &str, timeout: Duration) -> Self {
        let schedule = parse_schedule(schedule, Tz::UTC).expect("the defaults are schedules");
        Self { schedule, timeout, ..Self::defaults() }
    }
}

/// Reads a schedule; without the key, the default is moved to the task's time zone.
struct DueTimes;

impl Kind<Schedule> for DueTimes {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Schedule>> {
        let zone = decoder.without_notes(|decoder| read_zone(fields, context, decoder));
        match fields.find(key) {
            Some(value) => read_schedule(&value, zone, decoder).map(assign),
            None => Some(Box::new(move |schedule| {
                if let Ok(moved) = parse_schedule(&schedule.to_string(), zone) {
                    *schedule = moved;
                }
            })),
        }
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Schedule,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, &value.to_string())
    }
}

/// The time zone of a task; without the key, that of the whole file.
struct Zone;

impl Kind<Tz> for Zone {
    fn read(
        &self,
        _: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Tz>> {
        Some(assign(read_zone(fields, context, decoder)))
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Tz,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, value.name())
    }
}

/// The window of a task, in its time zone.
struct Hours;

impl Kind<Option<Window>> for Hours {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Option<Window>>> {
        let value = fields.given(key)?;
        let zone = decoder.without_notes(|decoder| read_zone(fields, context, decoder));
        let text = decoder.text(&value)?;
        match Window::parse(&text, zone) {
            Ok(window) => Some(assign(Some(window))),
            Err(error) => {
                decoder.refuse_value(&value, error.to_string());
                None
            }
        }
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Option<Window>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, &value.as_ref().map(ToString::to_string))
    }
}

/// The key `timezone` among fields; without it, the zone of the context.
pub(in crate::config) fn read_zone(
    fields: &Fields<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Tz {
    let zone = fields.find("timezone").and_then(|value| TimeZone.parse(&value, context, decoder));
    zone.unwrap_or(context.timezone)
}

/// Reads the text of a schedule in a time zone.
pub(super) fn read_schedule(value: &Value<'_>, zone: Tz, decoder: &mut Decoder<'_>) -> Option<Schedule> {
    let text = decoder.text(value)?;
    parse_schedule(&text, zone).map_err(|message| decoder.refuse_value(value, message)).ok()
}

/// Parses a cron expression, or a duration as in `6h` or `every 6h`.
fn parse_schedule(text: &str, zone: Tz) -> Result<Schedule, String> {
    let interval = text.trim().strip_prefix("every ").unwrap_or(text.trim());
    match parse_duration(interval) {
        Ok(interval) if (MINUTE..=366 * DAY).contains(&interval) => Ok(Schedule::every(interval)),
        Ok(_) => Err(format!("an interval must be from 1m to 366d, not {}", quoted(text))),
        Err(_) => Schedule::cron(text, zone).map_err(|error| error.to_string()),
    }
}
