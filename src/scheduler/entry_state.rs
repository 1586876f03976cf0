//! Where one key stands between two runs, and the rules that need to know nothing of the other
//! keys. It must never look at what is running.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use crate::schedule::Window;
use crate::schedule::stable_hash;

use super::target::MIN_WINDOW_LEFT;
use super::target::ScheduleTarget;
use super::target::TaskKey;

/// An occurrence that is looked at so much later, because the machine slept, has its start deadline
/// from then on.
const LATE_START: TimeDelta = TimeDelta::minutes(1);

/// How often `next_run` leaps from an occurrence to an opening and back.
const MAX_STEPS: u32 = 64;

/// Where a key stands.
#[derive(Clone, Debug)]
pub enum EntryState {
    /// It has no further occurrence.
    Never,
    /// It waits for an occurrence.
    Regular { at: DateTime<Utc> },
    /// It waits for the time planned for making up for the occurrence `due_at`.
    CatchUp { at: DateTime<Utc>, due_at: DateTime<Utc> },
    /// It is due: it waits for others to finish, or for the time to try again.
    Due { run: DueRun, retry: Option<DateTime<Utc>> },
}

/// A run that is due.
#[derive(Clone, Copy, Debug)]
pub struct DueRun {
    /// Since when, for its turn.
    pub since: DateTime<Utc>,
    /// The latest occurrence that it stands for.
    pub due_at: DateTime<Utc>,
    pub catch_up: bool,
    /// The last moment at which it may start.
    pub expires_at: DateTime<Utc>,
    pub expiry: Expiry,
}

/// What ends the time in which a run may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Deadline,
    WindowEnds,
    /// The next occurrence takes the place of a catch-up.
    NextOccurrence,
}

impl DueRun {
    pub fn new(
        target: &ScheduleTarget,
        since: DateTime<Utc>,
        due_at: DateTime<Utc>,
        catch_up: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let from = if now - since > LATE_START { now } else { since };
        let ends = target.window.as_ref().and_then(|window| window.closes(now));
        let next = target.schedule.next_after(due_at).filter(|_| catch_up);
        let (expires_at, expiry) = [
            Some((later(from, target.start_deadline), Expiry::Deadline)),
            ends.map(|ends| (ends - MIN_WINDOW_LEFT, Expiry::WindowEnds)),
            next.map(|next| (next - TimeDelta::nanoseconds(1), Expiry::NextOccurrence)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
        .expect("there always is a deadline");
        Self { since, due_at, catch_up, expires_at, expiry }
    }
}

impl EntryState {
    /// Waits for the next occurrence.
    pub fn regular(target: &ScheduleTarget, now: DateTime<Utc>) -> Self {
        target.schedule.next_after(now).map_or(Self::Never, |at| Self::Regular { at })
    }

    /// Makes up for an occurrence as early as the window allows, unless the next one comes before.
    pub fn catch_up(target: &ScheduleTarget, due_at: DateTime<Utc>, earliest: DateTime<Utc>) -> Self {
        let at = match &target.window {
            None => Some(earliest),
            Some(window) if has_time_left(window, earliest) => Some(earliest),
            Some(window) => window.next_opening(earliest),
        };
        let next = target.schedule.next_after(due_at);
        match at.filter(|at| next.is_none_or(|next| *at < next)) {
            Some(at) => Self::CatchUp { at, due_at },
            None => next.map_or(Self::Never, |at| Self::Regular { at }),
        }
    }

    /// What becomes of it when the clock is set back to `now`.
    pub fn rewound(self, target: &ScheduleTarget, now: DateTime<Utc>) -> Self {
        match self {
            Self::CatchUp { at: _, due_at } if due_at <= now => Self::catch_up(target, due_at, now),
            Self::Due { run, retry: _ } if run.since <= now && run.due_at <= now && is_open(target, now) => {
                Self::Due { run: DueRun::new(target, run.since, run.due_at, run.catch_up, now), retry: None }
            }
            Self::Never | Self::Regular { .. } | Self::CatchUp { .. } | Self::Due { .. } => {
                Self::regular(target, now)
            }
        }
    }

    /// When it is in the set of those that wait.
    pub fn waits_until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Regular { at } | Self::CatchUp { at, .. } => Some(*at),
            Self::Due { retry, .. } => *retry,
            Self::Never => None,
        }
    }

    /// The run, when it is due.
    pub fn due(&self) -> Option<&DueRun> {
        match self {
            Self::Due { run, .. } => Some(run),
            Self::Never | Self::Regular { .. } | Self::CatchUp { .. } => None,
        }
    }

    /// The next time at which it may start.
    pub fn next_run(&self, target: &ScheduleTarget) -> Option<DateTime<Utc>> {
        match self {
            Self::Never => None,
            Self::CatchUp { at, .. } => Some(*at),
            Self::Due { run, retry } => Some(retry.unwrap_or(run.since)),
            Self::Regular { at } => {
                let mut at = *at;
                for _ in 0..MAX_STEPS {
                    let Some(window) = target.window.as_ref().filter(|window| !has_time_left(window, at))
                    else {
                        return Some(at);
                    };
                    let opening = window.next_opening(at)?;
                    at = target.schedule.next_after(opening - TimeDelta::nanoseconds(1))?;
                }
                None
            }
        }
    }
}

/// Whether a run may start now, as far as its window goes.
pub fn is_open(target: &ScheduleTarget, now: DateTime<Utc>) -> bool {
    target.window.as_ref().is_none_or(|window| has_time_left(window, now))
}

fn has_time_left(window: &Window, at: DateTime<Utc>) -> bool {
    window.contains(at) && window.closes(at).is_none_or(|closes| closes - at >= MIN_WINDOW_LEFT)
}

/// The delay of a catch-up after a restart: once, and a part of once more that is the key's own, so
/// that a thousand databases do not begin together.
pub fn catch_up_delay(delay: Duration, key: &TaskKey) -> TimeDelta {
    let hash = stable_hash(&["catch-up", key.database.as_str(), &key.task.to_string()]);
    let part = delay.mul_f64(hash as f64 / u64::MAX as f64 / (1.0 + f64::EPSILON));
    TimeDelta::from_std(delay.saturating_add(part)).unwrap_or(TimeDelta::MAX).min(TimeDelta::days(366))
}

/// A time so much later, as far as times go.
fn later(at: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(duration).ok();
    delta.and_then(|delta| at.checked_add_signed(delta)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
