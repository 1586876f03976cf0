//! Which maintenance starts when: over all databases, within the limits, within the windows.
//!
//! Pure: the time is an argument, and what is decided is returned. It must never let two runs of
//! one database go at once, never start outside a window, and never answer to a pause or a clock
//! that jumped with more than one run a key.

mod entry_state;
mod queue;
mod running;
mod target;

#[cfg(test)]
mod tests;

pub use self::target::ConcurrencyLimits;
pub use self::target::ScheduleTarget;
pub use self::target::TaskKey;

use std::collections::BTreeMap;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use self::entry_state::DueRun;
use self::entry_state::EntryState;
use self::entry_state::Expiry;
use self::queue::Entry;
use self::queue::Queue;
use self::running::Running;

/// The clock is corrected by seconds all the time; by more, backwards, every due time is computed
/// anew.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// Missed occurrences are counted up to here, so that a year's absence does not hold up a start.
const MAX_MISSED: u32 = 1000;

/// A run that is to start now.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// What runs.
    pub key: TaskKey,
    /// The latest occurrence that this run stands for: once it is handled, so is every one before.
    pub due_at: DateTime<Utc>,
    /// Whether it makes up for occurrences at which litekeeper did not run.
    pub catch_up: bool,
    /// When its window closes; None without a window, or with one that never closes.
    pub must_end_by: Option<DateTime<Utc>>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// To be run; the planner counts it as running.
    Start(Start),
    /// Not run, and not tried again before its next occurrence.
    Skip {
        /// What is not run.
        key: TaskKey,
        /// The latest occurrence that is given up with this.
        due_at: DateTime<Utc>,
        /// Why.
        cause: SkipCause,
    },
    /// Occurrences that had no run and no skip of their own, counted up to 1000.
    ///
    /// Those that passed while a run waited, ran or the machine slept are counted without the one
    /// that the run or the skip then names. Those that passed while litekeeper did not run are all
    /// counted, and a catch-up is on top.
    Missed {
        /// What was missed.
        key: TaskKey,
        /// How often.
        count: u32,
    },
}

/// Why a run was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipCause {
    /// It was due outside its window, or could not start before the window's last minute.
    OutsideWindow,
    /// It could not start within its start deadline.
    Overlap,
}

/// Decides what starts when.
#[derive(Debug)]
pub struct Scheduler {
    limits: ConcurrencyLimits,
    queue: Queue,
    running: Running,
    /// What was found between two calls of `start_due`.
    unreported: Vec<Decision>,
    /// The latest time seen, but for a clock that was set back.
    clock: DateTime<Utc>,
    rewound: bool,
}

impl Scheduler {
    /// A planner that knows no key yet.
    #[must_use]
    pub fn new(limits: ConcurrencyLimits) -> Self {
        Self {
            limits,
            queue: Queue::default(),
            running: Running::default(),
            unreported: Vec::new(),
            clock: DateTime::<Utc>::MIN_UTC,
            rewound: false,
        }
    }

    /// Replaces the limits. What runs beyond lower ones goes on.
    pub fn set_limits(&mut self, limits: ConcurrencyLimits) {
        self.limits = limits;
    }

    /// Replaces what is to be run.
    ///
    /// A key whose schedule and window are what they were keeps its place. One with another
    /// schedule or window waits for its next occurrence. A new one catches up when an occurrence
    /// fell after its `last_scheduled`. What is running stays so until it finishes, also when its
    /// key is gone.
    pub fn set_targets(&mut self, targets: BTreeMap<TaskKey, ScheduleTarget>, now: DateTime<Utc>) {
        self.observe(now);
        let gone: Vec<TaskKey> =
            self.queue.keys().filter(|key| !targets.contains_key(*key)).cloned().collect();
        for key in gone {
            self.queue.remove(&key);
            self.running.drop_retry(&key);
        }
        for (key, target) in targets {
            let state = match self.queue.remove(&key) {
                Some(Entry { target: old, state })
                    if old.schedule == target.schedule && old.window == target.window =>
                {
                    state
                }
                Some(_) => {
                    self.running.drop_retry(&key);
                    EntryState::regular(&target, now)
                }
                None => self.initial_state(&key, &target, now),
            };
            self.queue.insert(key, Entry { target, state });
        }
    }

    fn initial_state(&mut self, key: &TaskKey, target: &ScheduleTarget, now: DateTime<Utc>) -> EntryState {
        let Some(handled) = target.last_scheduled else { return EntryState::regular(target, now) };
        let count = target.schedule.occurrences(handled, now, MAX_MISSED);
        let latest = target.schedule.last_until(now);
        let Some(due_at) = latest.filter(|_| count > 0) else { return EntryState::regular(target, now) };
        self.unreported.push(Decision::Missed { key: key.clone(), count });
        EntryState::catch_up(
            target,
            due_at,
            now + entry_state::catch_up_delay(self.limits.catch_up_delay, key),
        )
    }

    /// What is to be started, skipped and reported as missed now; what is started counts as
    /// running.
    ///
    /// The starts are in order of the time since which they are due, then of their keys.
    pub fn start_due(&mut self, now: DateTime<Utc>) -> Vec<Decision> {
        self.observe(now);
        let mut decisions = std::mem::take(&mut self.unreported);
        // Before the starts go those whose time is past, after them those that may try at this
        // moment for the last time.
        while let Some(key) = self.queue.first_deadline().filter(|(at, _)| *at < now).map(|(_, key)| key) {
            self.expire(&key, &mut decisions);
        }
        while let Some(key) = self.queue.first_waiting().filter(|(at, _)| *at <= now).map(|(_, key)| key) {
            self.make_due(&key, now, &mut decisions);
        }
        while let Some(key) = self.queue.first_startable(&self.running, self.limits) {
            self.start(key, now, &mut decisions);
        }
        while let Some(key) = self.queue.first_deadline().filter(|(at, _)| *at <= now).map(|(_, key)| key) {
            self.expire(&key, &mut decisions);
        }
        decisions
    }

    /// Its time has come: it becomes due, unless its window says otherwise.
    fn make_due(&mut self, key: &TaskKey, now: DateTime<Utc>, decisions: &mut Vec<Decision>) {
        self.queue.change(key, |target, state| match state {
            EntryState::Never => EntryState::Never,
            EntryState::Regular { at } => {
                let missed = target.schedule.occurrences(at, now, MAX_MISSED);
                let due_at = target.schedule.last_until(now).filter(|_| missed > 0).unwrap_or(at);
                if missed > 0 {
                    decisions.push(Decision::Missed { key: key.clone(), count: missed });
                }
                let inside = target.window.as_ref().is_none_or(|window| window.contains(due_at));
                if !inside || !entry_state::is_open(target, now) {
                    decisions.push(Decision::Skip {
                        key: key.clone(),
                        due_at,
                        cause: SkipCause::OutsideWindow,
                    });
                    return EntryState::regular(target, now);
                }
                EntryState::Due { run: DueRun::new(target, due_at, due_at, false, now), retry: None }
            }
            EntryState::CatchUp { at, due_at } => match target.schedule.next_after(due_at) {
                Some(next) if next <= now => EntryState::Regular { at: next },
                Some(_) | None if !entry_state::is_open(target, now) => {
                    EntryState::catch_up(target, due_at, now)
                }
                Some(_) | None => {
                    EntryState::Due { run: DueRun::new(target, at, due_at, true, now), retry: None }
                }
            },
            EntryState::Due { run, retry: _ } => EntryState::Due { run, retry: None },
        });
    }

    fn start(&mut self, key: TaskKey, now: DateTime<Utc>, decisions: &mut Vec<Decision>) {
        let mut started = None;
        self.queue.change(&key, |target, state| {
            let EntryState::Due { mut run, retry: None } = state else { return state };
            if !entry_state::is_open(target, now) {
                // The clock was set back a little, to before the window's opening.
                let retry = target.window.as_ref().and_then(|window| window.next_opening(now));
                return EntryState::Due { run, retry: Some(retry.unwrap_or(run.expires_at)) };
            }
            let missed = target.schedule.occurrences(run.due_at, now, MAX_MISSED);
            if let Some(latest) = target.schedule.last_until(now).filter(|_| missed > 0) {
                decisions.push(Decision::Missed { key: key.clone(), count: missed });
                run.due_at = latest;
            }
            decisions.push(Decision::Start(Start {
                key: key.clone(),
                due_at: run.due_at,
                catch_up: run.catch_up,
                must_end_by: target.window.as_ref().and_then(|window| window.closes(now)),
            }));
            started = Some((target.filesystem, run));
            EntryState::regular(target, now)
        });
        if let Some((filesystem, run)) = started {
            self.running.begin(key, filesystem, run);
        }
    }

    /// Its time to start is over, and what came due up to then goes with it.
    fn expire(&mut self, key: &TaskKey, decisions: &mut Vec<Decision>) {
        self.queue.change(key, |target, state| {
            let EntryState::Due { run, .. } = state else { return state };
            let next = EntryState::regular(target, run.expires_at);
            let cause = match run.expiry {
                Expiry::Deadline => SkipCause::Overlap,
                Expiry::WindowEnds => SkipCause::OutsideWindow,
                Expiry::NextOccurrence => return next,
            };
            let missed = target.schedule.occurrences(run.due_at, run.expires_at, MAX_MISSED);
            let latest = target.schedule.last_until(run.expires_at).filter(|_| missed > 0);
            if missed > 0 {
                decisions.push(Decision::Missed { key: key.clone(), count: missed });
            }
            let due_at = latest.unwrap_or(run.due_at);
            decisions.push(Decision::Skip { key: key.clone(), due_at, cause });
            next
        });
    }

    /// The runner could not start it, as another process has the database: it is not running, and
    /// is started again at `until` unless its start deadline comes first.
    pub fn postpone(&mut self, start: &Start, until: DateTime<Utc>) {
        let Some(mut run) = self.running.end(&start.key) else { return };
        let mut merged = false;
        self.queue.change(&start.key, |_, state| {
            if let EntryState::Due { run: newer, .. } = state {
                // It came due again meanwhile, and the two are one run from now on.
                if run.catch_up {
                    run = newer;
                } else {
                    run.due_at = newer.due_at;
                    merged = true;
                }
            }
            EntryState::Due { run, retry: Some(until) }
        });
        if merged {
            self.unreported.push(Decision::Missed { key: start.key.clone(), count: 1 });
        }
    }

    /// It is not running any more, however it ended. `start_due` should be called next.
    pub fn finish(&mut self, key: &TaskKey) {
        self.running.end(key);
    }

    /// When `start_due` should be called next. None when only a finish can change something.
    #[must_use]
    pub fn next_wakeup(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.unreported.is_empty() || self.queue.first_startable(&self.running, self.limits).is_some() {
            return Some(now);
        }
        let next = [self.queue.first_waiting(), self.queue.first_deadline()].into_iter().flatten().min()?;
        Some(next.0.max(now))
    }

    /// When a key is to run next, as far as can be foreseen: in the past when it waits for others.
    #[must_use]
    pub fn next_run(&self, key: &TaskKey) -> Option<DateTime<Utc>> {
        let entry = self.queue.entry(key)?;
        entry.state.next_run(&entry.target)
    }

    /// Whether the clock was set back since this was asked last, and with it the next runs of all.
    pub fn was_rewound(&mut self) -> bool {
        std::mem::take(&mut self.rewound)
    }

    fn observe(&mut self, now: DateTime<Utc>) {
        if now < self.clock && self.clock - now > CLOCK_TOLERANCE {
            self.running.drop_retries_after(now);
            self.queue.change_all(|target, state| state.rewound(target, now));
            self.clock = now;
            self.rewound = true;
        }
        self.clock = self.clock.max(now);
    }
}
