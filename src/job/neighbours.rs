//! Who else may want the write lock, as far as it decides how it is shared with them.

use std::ffi::CString;
use std::time::Duration;
use std::time::Instant;

use crate::database::Database;
use crate::host::count_write_descriptors;
use crate::sqlite::Waiting;
use crate::sqlite::Writer;

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

/// The connections that other processes have to a database.
#[derive(Debug)]
pub(super) struct Neighbours {
    file: CString,
    held: Duration,
    next_count: Instant,
    connections: Option<usize>,
}

impl Neighbours {
    /// Those of a database, not counted yet.
    pub(super) fn of(database: &Database) -> Self {
        let file = database.files.main.clone();
        Self { file, held: Duration::ZERO, next_count: Instant::now(), connections: None }
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

    /// Lets them have their turn after a hold.
    pub(super) fn pause(&mut self, writer: &mut Writer, hold: Duration, ratio: f64) {
        self.held += hold;
        if self.held >= WORTH_A_COUNT && Instant::now() >= self.next_count {
            self.next_count = Instant::now() + PERIOD;
            self.learn(count_write_descriptors(&self.file, COUNT_LIMIT));
        }
        writer.pause_for_others(hold, ratio, self.waiting());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_short_unless_one_connection_is_there() {
        let target = Duration::from_millis(20);
        let (file, next_count) = (CString::default(), Instant::now());
        let mut neighbours = Neighbours { file, held: Duration::ZERO, next_count, connections: None };
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
