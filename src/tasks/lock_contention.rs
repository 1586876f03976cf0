//! Decides how the write lock is shared with the other processes that may want it.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::database::Database;
use crate::database_files::DatabaseFiles;
use crate::health_report::ImpactLimits;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::os::count_write_descriptors;
use crate::sqlite::Contention;
use crate::sqlite::WriteProbe;
use crate::sqlite::Writer;

use crate::tasks::context::TaskContext;
use crate::tasks::owner_writes::HoldDecision;
use crate::tasks::owner_writes::OwnerWrites;
use crate::tasks::progress::Progress;

/// A job that holds the lock for less, some thousand rows, is not worth a count. Each of its holds
/// is followed by a long pause.
const MIN_HOLD_TO_COUNT: Duration = Duration::from_millis(5);

/// How often the connections are counted: one that comes meanwhile is seen so late.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// The longest count, some thousands of descriptors; with more on the machine the number stays
/// unknown.
const COUNT_LIMIT: Duration = Duration::from_millis(20);

/// The longest count before the first hold. It is made once and decides how careful the whole run
/// is, so that it may take longer: on a busy machine some milliseconds of work take ten times as
/// long.
const FIRST_COUNT_LIMIT: Duration = Duration::from_millis(250);

/// The hold aimed at while several connections may wait: after less than 8 ms, who waits sleeps 5
/// ms at the most. Measured with two owners that commit a row every 5 ms each (1 million rows, WAL
/// / rollback): the worst commit was 34 / 54 to 180 ms late; with holds of 20 ms that only every
/// eighth time were followed by a whole pause 79 to 330 / 104 to 700 ms.
const CONTENDED_TARGET_HOLD: Duration = Duration::from_millis(7);

/// An application that waits for a lock at least as long as this gets its turn by pauses; the
/// shortest one that common drivers have is a second.
const MIN_BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// An application that has not written for so long is taken to be idle.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// The connections that other processes have to a database, and their writes.
pub(super) struct LockContention {
    database: DatabaseFiles,
    progress: Arc<dyn Progress>,
    held: Duration,
    next_count: Instant,
    connections: Option<usize>,
    /// Whether the application is known to wait for a lock.
    owner_waits: bool,
    owner: Option<(WriteProbe, OwnerWrites)>,
    is_careful: bool,
    was_careful: bool,
}

impl LockContention {
    /// Those of a database, not counted yet.
    pub(super) fn new(database: &Database, progress: &Arc<dyn Progress>) -> Self {
        Self {
            database: database.files.clone(),
            progress: Arc::clone(progress),
            held: Duration::ZERO,
            next_count: Instant::now(),
            connections: None,
            owner_waits: owner_waits(database.settings.owner_busy_timeout),
            owner: None,
            is_careful: false,
            was_careful: false,
        }
    }

    fn waiting(&self) -> Contention {
        match self.connections {
            Some(0 | 1) => Contention::Single,
            // Where the number is not known, it may be any.
            None | Some(_) => Contention::Many,
        }
    }

    /// How long a hold is to last, where `target` is the user's wish.
    pub(super) fn target_hold(&self, target: Duration) -> Duration {
        match self.waiting() {
            Contention::Single => target,
            Contention::Many => target.min(CONTENDED_TARGET_HOLD),
        }
    }

    /// Waits until a hold may begin, and returns how long it is to last, where `target` is the
    /// user's wish. Where the application may not wait for locks and has written lately, that is
    /// between two of its writes. It ends early with the time limit.
    pub(super) fn await_turn(&mut self, writer: &Writer, target: Duration, limits: &QueryLimits) -> Duration {
        if self.owner_waits {
            return self.target_hold(target);
        }
        if self.owner.is_none() {
            self.count(FIRST_COUNT_LIMIT);
            let (probe, last) = (writer.write_probe(), self.last_write());
            let seen = writer.foreign_writes(&probe);
            let owner = OwnerWrites::new(writer.journal_mode(), seen, last, Instant::now());
            self.owner = Some((probe, owner));
            self.is_careful = self.connections != Some(0);
        }
        loop {
            let Some((probe, owner)) = &mut self.owner else { return self.target_hold(target) };
            let (seen, last) = (writer.foreign_writes(probe), owner.last());
            let now = Instant::now();
            owner.observe(seen, now);
            // Where no connection was open, one that comes shows by its first write.
            self.is_careful |= owner.last() != last;
            let is_idle = owner.last().is_none_or(|last| now.duration_since(last) >= IDLE_AFTER);
            if !self.is_careful || is_idle || limits.is_exceeded() {
                return self.target_hold(target);
            }
            let (decide, step) = (owner.decide(now), owner.step());
            self.report_careful(writer);
            match decide {
                HoldDecision::Wait => std::thread::sleep(step),
                HoldDecision::Start => return self.target_hold(target),
                HoldDecision::StartWithin(left) => return self.target_hold(target).min(left),
            }
        }
    }

    /// Says once that holds are placed between the application's writes.
    fn report_careful(&mut self, writer: &Writer) {
        if self.was_careful {
            return;
        }
        self.was_careful = true;
        // A hold is shorter without its sync; where that cannot be set, it is not.
        if let Err(error) = writer.sync_wal_at_checkpoints() {
            tracing::debug!(%error, "commits are synced one by one");
        }
        self.progress.message(
            "the application writes, and it is not known whether it waits for locks: holds are short and placed between its \
             writes, which takes longer; if it has a busy timeout, set `owner_busy_timeout`",
        );
    }

    /// When anybody last wrote, by the files' times.
    fn last_write(&self) -> Option<Instant> {
        let written = DatabaseFingerprint::read(&self.database).ok()?.last_write_seconds()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
        Instant::now().checked_sub(Duration::try_from_secs_f64((now - written).max(0.0)).ok()?)
    }

    /// Lets others have their turn after a hold, of which the commit took a part.
    pub(super) fn pause(&mut self, writer: &mut Writer, hold: Duration, commit: Duration, ratio: f64) {
        let now = Instant::now();
        self.held += hold;
        if let Some((probe, owner)) = &mut self.owner {
            owner.held(hold, commit, ratio, writer.foreign_writes(probe), now);
            if self.is_careful && owner.last().is_some_and(|last| now.duration_since(last) < IDLE_AFTER) {
                writer.checkpoint_if_due();
                return;
            }
        }
        if self.held >= MIN_HOLD_TO_COUNT && now >= self.next_count {
            self.count(COUNT_LIMIT);
        }
        writer.yield_lock(hold, ratio, self.waiting());
        if let Some((probe, owner)) = &mut self.owner {
            owner.observe(writer.foreign_writes(probe), Instant::now());
        }
    }

    fn count(&mut self, limit: Duration) {
        self.next_count = Instant::now() + COUNT_INTERVAL;
        self.record_connections(count_write_descriptors(&self.database.main, limit));
    }

    /// Once several were seen, they may come back at any time.
    fn record_connections(&mut self, connections: Option<usize>) {
        if self.connections.is_some_and(|known| known > 1) || connections == self.connections {
            return;
        }
        tracing::debug!(
            ?connections,
            "how the lock is shared depends on the connections that may wait for it"
        );
        self.connections = connections;
    }
}

/// Whether an application with this busy timeout gets its turn by pauses alone; one of which
/// nothing is known may not.
pub(super) fn owner_waits(busy_timeout: Option<Duration>) -> bool {
    busy_timeout.is_some_and(|timeout| timeout >= MIN_BUSY_TIMEOUT)
}

/// Says what the application would notice of a task that writes, if it may be one that does not
/// wait for locks.
pub(super) fn owner_notice(context: &TaskContext<'_>) -> Option<String> {
    let busy_timeout = context.database.settings.owner_busy_timeout;
    if owner_waits(busy_timeout) {
        return None;
    }
    let known = if busy_timeout.is_some() { "is short" } else { "is not known" };
    Some(format!(
        "the application's busy timeout {known}: without one, its writes fail with \"database is locked\" while litekeeper holds the \
         write lock, which is the whole duration of a full VACUUM. Other holds are placed between its writes, which takes longer. Set \
         a busy timeout in the application, and `owner_busy_timeout` in the configuration"
    ))
}

/// Says the same of a task that only reads, for a database in rollback mode.
pub(super) fn owner_notice_for_reader(
    context: &TaskContext<'_>,
    max_writer_wait: Duration,
) -> Option<String> {
    let owner_busy_timeout = context.database.settings.owner_busy_timeout;
    let max_hold = ImpactLimits { max_writer_wait, max_wal_growth: 0, owner_busy_timeout }.max_copy_hold();
    if owner_busy_timeout.is_some_and(|timeout| timeout >= max_hold) {
        return None;
    }
    Some(format!(
        "the database is read without a lock while nobody commits. If an application commits without a pause, one lock is held for at \
         most {} ms; without a busy timeout, the application's writes fail with \"database is locked\" meanwhile",
        max_hold.as_millis()
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tasks::progress::NoProgress;

    #[test]
    fn holds_are_short_unless_one_connection_is_there() {
        let target = Duration::from_millis(20);
        let progress: Arc<dyn Progress> = Arc::new(NoProgress);
        let mut contention = LockContention {
            database: DatabaseFiles::of(Path::new("/nowhere")),
            progress,
            held: Duration::ZERO,
            next_count: Instant::now(),
            connections: None,
            owner_waits: true,
            owner: None,
            is_careful: false,
            was_careful: false,
        };
        assert_eq!(contention.target_hold(target), CONTENDED_TARGET_HOLD);
        for (connections, expected) in [
            (Some(0), target),
            (Some(1), target),
            (None, CONTENDED_TARGET_HOLD),
            (Some(1), target),
            (Some(2), CONTENDED_TARGET_HOLD),
            // They stay in mind.
            (Some(1), CONTENDED_TARGET_HOLD),
            (None, CONTENDED_TARGET_HOLD),
        ] {
            contention.record_connections(connections);
            assert_eq!(contention.target_hold(target), expected, "{connections:?}");
        }
        // Who wants it shorter gets it shorter.
        assert_eq!(contention.target_hold(Duration::from_millis(2)), Duration::from_millis(2));
    }
}
