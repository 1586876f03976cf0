//! What is known of all databases at one instant: the only thing that a scrape reads.

use std::sync::Arc;
use std::time::SystemTime;

use crate::database::Database;
use crate::locks::Locks;
use crate::os::FileFacts;
use crate::os::FilesystemFacts;
use crate::os::OwnerState;
use crate::sqlite::ErrorCode;

use super::facts::DatabaseFacts;
use super::readings::Readings;

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Whether a database can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseState {
    /// The last sample could not read it.
    Down,
    /// Never read yet: new, or locked since it was found.
    Pending,
    /// Opened and page 1 parsed.
    Up,
}

impl DatabaseState {
    /// Every state, in the order of the exposition.
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::Pending];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Pending => "pending",
        }
    }
}

/// Errors met with one database, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorCounts([u64; ErrorCode::ALL.len()]);

impl ErrorCounts {
    /// Counts one.
    pub fn count(&mut self, code: ErrorCode) {
        // The discriminants follow the order of ALL, as the test below holds.
        self.0[code as usize] += 1;
    }

    /// Every class with its count.
    pub fn iter(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        ErrorCode::ALL.into_iter().zip(self.0)
    }
}

/// What is known of one database.
#[derive(Debug, Clone)]
pub struct DatabaseSnapshot {
    /// Name, path and settings.
    pub database: Arc<Database>,
    /// Whether it can be read.
    pub state: DatabaseState,
    /// Why it is down or pending, or what is wrong though it is up.
    pub reason: Option<Arc<str>>,
    /// The label of the reason for which it is down.
    pub down: Option<&'static str>,
    /// When its values were last read or found unchanged; `None` before the first time.
    pub confirmed_at: Option<SystemTime>,
    /// What was read; kept while the database is busy, gone when it is down.
    pub facts: Option<Arc<DatabaseFacts>>,
    /// Sizes, also of a database that is busy or damaged.
    pub files: Option<FileFacts>,
    /// The file system under it.
    pub filesystem: Option<Arc<FilesystemFacts>>,
    /// The locks that processes hold; `None` where the system does not show them.
    pub locks: Option<Arc<Locks>>,
    /// Processes that lost their locks on it, or write to deleted files of it.
    pub owners: Arc<OwnerState>,
    /// Errors met since the agent started.
    pub errors: ErrorCounts,
    /// How often another file was found under the name.
    pub replaced: u64,
    /// The values of the collectors with an interval of their own.
    pub readings: Readings,
}

/// All databases at one instant, by name.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Sorted by name, so that the exposition is stable.
    pub databases: Vec<DatabaseSnapshot>,
    /// Whether every database was sampled at least once since the agent started or the set first
    /// changed.
    pub complete: bool,
}

impl Snapshot {
    /// How many databases are in a state.
    #[must_use]
    pub fn count(&self, state: DatabaseState) -> usize {
        self.databases.iter().filter(|database| database.state == state).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_class_has_its_own_count() {
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            let mut counts = ErrorCounts::default();
            counts.count(code);
            let counted: Vec<u64> = counts.iter().map(|(_, count)| count).collect();
            assert_eq!(counted.iter().position(|count| *count == 1), Some(index), "{code:?}");
            assert_eq!(counted.iter().sum::<u64>(), 1);
        }
    }
}
