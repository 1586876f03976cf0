//! What is scheduled: keys, their schedules, and the limits on what runs at the same time.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use crate::database::DatabaseName;
use crate::schedule::Schedule;
use crate::schedule::Window;
use crate::task::TaskKind;

/// What must be left of a window for a run to start: less is not worth opening a database for.
pub const MIN_WINDOW_LEFT: TimeDelta = TimeDelta::minutes(1);

/// One task of one database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The database.
    pub database: DatabaseName,
    /// The task.
    pub task: TaskKind,
}

/// When and where a key is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleTarget {
    /// When it is due.
    pub schedule: Schedule,
    /// When it may run; None is always.
    pub window: Option<Window>,
    /// A due run that could not start for so long is given up.
    pub start_deadline: Duration,
    /// The number of the file system that it reads.
    pub filesystem: u64,
    /// The last due time that was handled, by a run or a skip, as the state file knows it. None
    /// when it was never seen.
    pub last_scheduled: Option<DateTime<Utc>>,
}

/// How much may go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimits {
    /// Runs in all.
    pub jobs: usize,
    /// Runs that read one file system.
    pub jobs_per_filesystem: usize,
    /// How long after a restart the earliest catch-up starts; the latest, twice as long.
    pub catch_up_delay: Duration,
}
