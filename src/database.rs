//! A monitored database: its name in the metrics, its files and its settings.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::DatabaseSettings;
use crate::database_files::DatabaseFiles;

/// The label `db`: valid UTF-8, unique among the databases watched, the same after a restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseName(Arc<str>);

impl DatabaseName {
    /// A name from text that discovery has made unique.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A database that other programs own.
#[derive(Debug, PartialEq)]
pub struct Database {
    /// Its name in every metric.
    pub name: DatabaseName,
    /// The main file, symlinks resolved: SQLite puts the companion files beside that one.
    pub path: PathBuf,
    /// The main file and its WAL, ready for the system calls of every sweep.
    pub files: DatabaseFiles,
    /// How it is watched.
    pub settings: Arc<DatabaseSettings>,
    /// The most series that its table and custom collectors may publish.
    pub series_limit: usize,
}

impl Database {
    /// A database at a resolved path.
    #[must_use]
    pub fn new(
        name: DatabaseName,
        path: PathBuf,
        settings: Arc<DatabaseSettings>,
        series_limit: usize,
    ) -> Self {
        let files = DatabaseFiles::of(&path);
        Self { name, path, files, settings, series_limit }
    }
}
