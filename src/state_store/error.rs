//! Errors of the state file.

use std::path::PathBuf;

use litekeeper_sqlite::rusqlite;

/// An error of the state file.
#[derive(Debug, thiserror::Error)]
pub enum StateStoreError {
    /// Its directory cannot be created.
    #[error("state file {0}: cannot make its directory: {1}")]
    Directory(PathBuf, std::io::Error),
    /// SQLite returns an error.
    #[error("state file {0}: {1}; name another with `state:` in the configuration, or move this one away")]
    Sqlite(PathBuf, rusqlite::Error),
    /// The file belongs to another program.
    #[error(
        "state file {0}: this is not a state file of litekeeper; name another with `state:` in the configuration"
    )]
    NotLitekeeper(PathBuf),
    /// A newer version of litekeeper has written it.
    #[error("state file {0}: written by a later version of litekeeper (format {1}, known is {2})")]
    NewerFormat(PathBuf, i64, i64),
}
