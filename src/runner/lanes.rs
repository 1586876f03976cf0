//! Two schedulers, so that a background task of a database neither waits for its other tasks nor
//! makes them wait.

use std::collections::BTreeMap;

use chrono::DateTime;
use chrono::Utc;

use crate::scheduler::ConcurrencyLimits;
use crate::scheduler::Decision;
use crate::scheduler::ScheduleTarget;
use crate::scheduler::Scheduler;
use crate::scheduler::Start;
use crate::scheduler::TaskKey;
use crate::tasks;

/// The schedulers of the tasks that need a database for themselves, and of background tasks.
#[derive(Debug)]
pub(super) struct Lanes {
    exclusive: Scheduler,
    background: Scheduler,
}

/// Background tasks are limited by the rate at which they read a disk, so one of each file system
/// runs at a time, however many other tasks may.
fn background(limits: ConcurrencyLimits) -> ConcurrencyLimits {
    ConcurrencyLimits { jobs_per_filesystem: 1, ..limits }
}

fn is_background(key: &TaskKey) -> bool {
    tasks::task(key.task).is_background()
}

impl Lanes {
    pub fn new(limits: ConcurrencyLimits) -> Self {
        Self { exclusive: Scheduler::new(limits), background: Scheduler::new(background(limits)) }
    }

    pub fn set_limits(&mut self, limits: ConcurrencyLimits) {
        self.exclusive.set_limits(limits);
        self.background.set_limits(background(limits));
    }

    pub fn set_targets(&mut self, targets: BTreeMap<TaskKey, ScheduleTarget>, now: DateTime<Utc>) {
        let (background, exclusive) = targets.into_iter().partition(|(key, _)| is_background(key));
        self.exclusive.set_targets(exclusive, now);
        self.background.set_targets(background, now);
    }

    pub fn start_due(&mut self, now: DateTime<Utc>) -> Vec<Decision> {
        let mut decisions = self.exclusive.start_due(now);
        decisions.extend(self.background.start_due(now));
        decisions
    }

    pub fn next_wakeup(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        [&self.exclusive, &self.background].into_iter().filter_map(|lane| lane.next_wakeup(now)).min()
    }

    pub fn next_run(&self, key: &TaskKey) -> Option<DateTime<Utc>> {
        if is_background(key) { self.background.next_run(key) } else { self.exclusive.next_run(key) }
    }

    pub fn postpone(&mut self, start: &Start, until: DateTime<Utc>) {
        self.of(&start.key).postpone(start, until);
    }

    pub fn finish(&mut self, key: &TaskKey) {
        self.of(key).finish(key);
    }

    pub fn was_rewound(&mut self) -> bool {
        let exclusive = self.exclusive.was_rewound();
        self.background.was_rewound() || exclusive
    }

    fn of(&mut self, key: &TaskKey) -> &mut Scheduler {
        if is_background(key) { &mut self.background } else { &mut self.exclusive }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::database::DatabaseName;
    use crate::schedule::Schedule;
    use crate::task::TaskKind;

    fn started(lanes: &mut Lanes, now: DateTime<Utc>) -> Vec<TaskKind> {
        let starts = lanes.start_due(now).into_iter().filter_map(|decision| match decision {
            Decision::Start(start) => Some(start.key.task),
            Decision::Skip { .. } | Decision::Missed { .. } => None,
        });
        starts.collect()
    }

    /// A scrub and a vacuum of one database run at the same time, two scrubs of one disk do not.
    #[test]
    fn background_tasks_have_a_lane_of_their_own() {
        let now = Utc::now();
        let hour = Duration::from_secs(3600);
        let limits = ConcurrencyLimits { jobs: 1, jobs_per_filesystem: 1, catch_up_delay: hour };
        let target = ScheduleTarget {
            schedule: Schedule::every(hour),
            window: None,
            start_deadline: hour,
            filesystem: 1,
            last_scheduled: None,
        };
        let key = |database: &str, task| TaskKey { database: DatabaseName::new(database), task };
        let keys = [key("a", TaskKind::Vacuum), key("a", TaskKind::Scrub), key("b", TaskKind::Scrub)];
        let mut lanes = Lanes::new(limits);
        lanes.set_targets(keys.iter().map(|key| (key.clone(), target.clone())).collect(), now);
        let due = now + chrono::TimeDelta::hours(1);
        assert_eq!(started(&mut lanes, due), [TaskKind::Vacuum, TaskKind::Scrub]);
        lanes.finish(&keys[1]);
        assert_eq!(started(&mut lanes, due), [TaskKind::Scrub], "the one of the other database");
    }
}
