//! What is known of all databases at one instant: the only thing that a scrape reads.

use std::sync::Arc;
use std::time::SystemTime;

use crate::database::Database;
use crate::locks::Locks;
use crate::os::FileFacts;
use crate::os::FilesystemFacts;
use crate::os::OwnerState;
use crate::sqlite::ErrorCode;
use crate::sqlite::QueryResult;

use super::database::DatabaseFacts;
use super::table_rows::TableReadings;
use super::table_sizes::TableSizes;

/// Whether a database can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseState {
    /// The last look could not read it.
    Down,
    /// Never read yet: new, or locked since it was found.
    Pending,
    /// Opened and page 1 parsed.
    Up,
}

impl DatabaseState {
    /// Every condition, in the order of the exposition.
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

/// Errors met beside one database, by class.
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

/// The answer to one custom query of one database.
#[derive(Debug, Clone)]
pub struct CustomResult {
    /// Which of the database's custom metrics.
    pub index: usize,
    /// Its samples.
    pub answer: Arc<QueryResult>,
}

/// What is known of one database.
#[derive(Debug, Clone)]
pub struct DatabaseSnapshot {
    /// Which.
    pub database: Arc<Database>,
    /// Whether it can be read.
    pub state: DatabaseState,
    /// Why it is down or pending, or what is wrong though it is up.
    pub reason: Option<Arc<str>>,
    /// When its values were last read or found unchanged; `None` before the first time.
    pub confirmed_at: Option<SystemTime>,
    /// What was read; kept while the database is busy, gone when it is down.
    pub facts: Option<Arc<DatabaseFacts>>,
    /// Sizes, also of a database that is busy or damaged.
    pub files: Option<FileFacts>,
    /// The file system under it.
    pub filesystem: Option<Arc<FilesystemFacts>>,
    /// Who holds which lock; `None` where the system does not tell.
    pub locks: Option<Arc<Locks>>,
    /// Processes that lost their locks on it, or write to deleted files of it.
    pub owners: Arc<OwnerState>,
    /// Errors met.
    pub errors: ErrorCounts,
    /// How often another file stood under the name.
    pub replaced: u64,
    /// Rows and ages of tables.
    pub tables: Arc<TableReadings>,
    /// Space of tables and indexes.
    pub space: Arc<TableSizes>,
    /// Answers to custom queries.
    pub custom: Vec<CustomResult>,
}

/// All databases at one instant, by name.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Sorted by name, so that the exposition is stable.
    pub databases: Vec<DatabaseSnapshot>,
    /// Whether every database was looked at at least once since the agent started or the set changed first.
    pub complete: bool,
}

impl Snapshot {
    /// How many databases are in a condition.
    #[must_use]
    pub fn count(&self, state: DatabaseState) -> usize {
        self.databases.iter().filter(|observed| observed.state == state).count()
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
