//! Who else may want the write lock, as far as it decides how it is shared with them.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::database::Database;
use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::Stamp;
use crate::os::count_write_descriptors;
use crate::sqlite::Waiting;
use crate::sqlite::WriteProbe;
use crate::sqlite::Writer;

use super::Observer;
use super::owner_writes::OwnerWrites;
use super::owner_writes::Turn;

/// A job that holds the lock for less, some thousand rows, is not worth a count. Each of its holds is followed by a long pause.
const WORTH_A_COUNT: Duration = Duration::from_millis(5);

/// How often the connections are counted: one that comes meanwhile is seen so late.
const PERIOD: Duration = Duration::from_secs(1);

/// The longest count, some thousands of descriptors; with more on the machine the number stays unknown.
const COUNT_LIMIT: Duration = Duration::from_millis(20);

/// The hold aimed at while several connections may wait: after less than 8 ms, who waits sleeps 5 ms at the most. Measured
/// with two owners that commit a row every 5 ms each (1 million rows, WAL / rollback): the worst commit was 34 / 54 to
/// 180 ms late; with holds of 20 ms that only every eighth time were followed by a whole pause 79 to 330 / 104 to 700 ms.
const AIM_AMONG_SEVERAL: Duration = Duration::from_millis(7);

/// An application that waits for a lock at least as long as this gets its turn by pauses; the shortest one that common
/// drivers have is a second.
const WAITS_FROM: Duration = Duration::from_millis(100);

/// An application that has not written for so long is taken to be idle.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// The connections that other processes have to a database, and their writes.
pub(super) struct LockContention {
    database: DatabaseFiles,
    observer: Arc<dyn Observer>,
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
    pub(super) fn of(database: &Database, observer: &Arc<dyn Observer>) -> Self {
        Self {
            database: database.files.clone(),
            observer: Arc::clone(observer),
            held: Duration::ZERO,
            next_count: Instant::now(),
            connections: None,
            owner_waits: owner_waits(database.settings.owner_busy_timeout),
            owner: None,
            is_careful: false,
            was_careful: false,
        }
    }

    fn waiting(&self) -> Waiting {
        match self.connections {
            Some(0 | 1) => Waiting::AtMostOne,
            // Where the number is not known, it may be any.
            None | Some(_) => Waiting::Any,
        }
    }

    /// How long a hold is to last, where `target` is the user's wish.
    pub(super) fn aim(&self, target: Duration) -> Duration {
        match self.waiting() {
            Waiting::AtMostOne => target,
            Waiting::Any => target.min(AIM_AMONG_SEVERAL),
        }
    }

    /// Waits until a hold may begin, and returns how long it is to last, where `target` is the user's wish. Where the
    /// application may not wait for locks and has written lately, that is between two of its writes. It ends early with the
    /// budget.
    pub(super) fn await_turn(&mut self, writer: &Writer, target: Duration, limits: &QueryLimits) -> Duration {
        if self.owner_waits {
            return self.aim(target);
        }
        if self.owner.is_none() {
            self.count();
            let (probe, last) = (writer.write_probe(), self.last_write());
            let seen = writer.foreign_writes(&probe);
            let owner = OwnerWrites::new(writer.journal_mode(), seen, last, Instant::now());
            self.owner = Some((probe, owner));
            self.is_careful = self.connections != Some(0);
        }
        loop {
            let Some((probe, owner)) = &mut self.owner else { return self.aim(target) };
            let (seen, last) = (writer.foreign_writes(probe), owner.last());
            let now = Instant::now();
            owner.observe(seen, now);
            // Where no connection was open, one that comes shows by its first write.
            self.is_careful |= owner.last() != last;
            let is_idle = owner.last().is_none_or(|last| now.duration_since(last) >= IDLE_AFTER);
            if !self.is_careful || is_idle || limits.is_exceeded() {
                return self.aim(target);
            }
            let (turn, step) = (owner.turn(now), owner.step());
            self.say_careful(writer);
            match turn {
                Turn::Later => std::thread::sleep(step),
                Turn::Now => return self.aim(target),
                Turn::Within(left) => return self.aim(target).min(left),
            }
        }
    }

    /// Says once that holds are placed between the application's writes.
    fn say_careful(&mut self, writer: &Writer) {
        if self.was_careful {
            return;
        }
        self.was_careful = true;
        // A hold is shorter without its sync; where that cannot be set, it is not.
        if let Err(error) = writer.sync_wal_at_checkpoints() {
            tracing::debug!(%error, "commits are synced one by one");
        }
        self.observer.say(
            "the application writes, and whether it waits for locks is not known: holds are short and placed between its \
             writes, which takes longer; where it has a busy timeout, `owner_busy_timeout` says so",
        );
    }

    /// When anybody last wrote, by the files' times.
    fn last_write(&self) -> Option<Instant> {
        let written = Stamp::take(&self.database).ok()?.last_write_seconds()?;
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
        if self.held >= WORTH_A_COUNT && now >= self.next_count {
            self.count();
        }
        writer.pause_for_others(hold, ratio, self.waiting());
        if let Some((probe, owner)) = &mut self.owner {
            owner.observe(writer.foreign_writes(probe), Instant::now());
        }
    }

    fn count(&mut self) {
        self.next_count = Instant::now() + PERIOD;
        self.learn(count_write_descriptors(&self.database.main, COUNT_LIMIT));
    }

    /// Once several were seen, they may come back at any time.
    fn learn(&mut self, connections: Option<usize>) {
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

/// Whether an application with this busy timeout gets its turn by pauses alone; one of which nothing is known may not.
pub(super) fn owner_waits(busy_timeout: Option<Duration>) -> bool {
    busy_timeout.is_some_and(|timeout| timeout >= WAITS_FROM)
}

/// What an application would notice, if it may be one that does not wait for locks.
pub(super) fn words_of_owner(busy_timeout: Option<Duration>) -> Option<String> {
    if owner_waits(busy_timeout) {
        return None;
    }
    let known = if busy_timeout.is_some() { "is short" } else { "is not known" };
    Some(format!(
        "the application's busy timeout {known}: without one, its writes that meet a hold of the write lock are refused (database \
         is locked), all of them while a full VACUUM lasts. Holds of other work are placed between its writes, which takes \
         longer. Give it a busy timeout, and say so with `owner_busy_timeout`"
    ))
}

/// The same of a task that only reads, of a rollback database.
pub(super) fn words_of_owner_beside_reader(
    busy_timeout: Option<Duration>,
    max_hold: Duration,
) -> Option<String> {
    if busy_timeout.is_some_and(|timeout| timeout >= max_hold) {
        return None;
    }
    Some(format!(
        "the database is read without a lock while nobody commits; beside an application that commits all the time one lock is held, for \
         {} ms at the most, and writes that meet it are refused (database is locked) where the application has no busy timeout",
        max_hold.as_millis()
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::Quiet;
    use super::*;

    #[test]
    fn holds_are_short_unless_one_connection_is_there() {
        let target = Duration::from_millis(20);
        let observer: Arc<dyn Observer> = Arc::new(Quiet);
        let mut neighbours = LockContention {
            database: DatabaseFiles::of(Path::new("/nowhere")),
            observer,
            held: Duration::ZERO,
            next_count: Instant::now(),
            connections: None,
            owner_waits: true,
            owner: None,
            is_careful: false,
            was_careful: false,
        };
        assert_eq!(neighbours.aim(target), AIM_AMONG_SEVERAL);
        for (connections, expected) in [
            (Some(0), target),
            (Some(1), target),
            (None, AIM_AMONG_SEVERAL),
            (Some(1), target),
            (Some(2), AIM_AMONG_SEVERAL),
            // They stay in mind.
            (Some(1), AIM_AMONG_SEVERAL),
            (None, AIM_AMONG_SEVERAL),
        ] {
            neighbours.learn(connections);
            assert_eq!(neighbours.aim(target), expected, "{connections:?}");
        }
        // Who wants it shorter gets it shorter.
        assert_eq!(neighbours.aim(Duration::from_millis(2)), Duration::from_millis(2));
    }
}
