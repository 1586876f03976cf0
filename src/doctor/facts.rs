//! What the rules look at: plain values, however they were come by.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Retention;
use crate::locks::Locks;
use crate::os::FilesystemFacts;
use crate::os::LostLocks;
use crate::os::MappedSqlite;
use crate::os::Mount;
use crate::os::Ownership;
use crate::os::SidecarObstacle;
use crate::sqlite::Check;
use crate::sqlite::DatabaseSchema;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::WalFrames;
use crate::state_store::CheckStatus;
use crate::tasks::DirectoryError;
use crate::tasks::ExpectedProblem;
use crate::tasks::OwnerFormat;
use crate::tasks::SpaceRequirement;

/// Everything that is known of a database and its surroundings.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The main file, symlinks resolved.
    pub path: PathBuf,
    /// The symbolic link by which it was named.
    pub link: Option<PathBuf>,
    /// Whether the file is a mount by itself, so that its sidecars are not visible here.
    pub mounted_alone: bool,
    /// The user who runs litekeeper.
    pub user: u32,
    /// The main file; `None` when it is not there.
    pub main: Option<Ownership>,
    /// Its directory.
    pub directory: Option<Ownership>,
    /// The sidecars that are there, by their suffix.
    pub sidecars: Vec<(&'static str, Ownership)>,
    /// What litekeeper's user may not read, and the system's words.
    pub read_denied: Option<(&'static str, String)>,
    /// What litekeeper's user may not write.
    pub write_denied: Option<&'static str>,
    /// Why the owner could not use sidecars that litekeeper makes.
    pub sidecar_obstacle: Option<SidecarObstacle>,
    /// The file system.
    pub filesystem: Option<FilesystemFacts>,
    /// Its mount.
    pub mount: Option<Mount>,
    /// What the main file itself says of its journal mode, where a `-wal` without `-shm` could say
    /// otherwise.
    pub main_file_journal_mode: Option<JournalMode>,
    /// What SQLite read.
    pub inside: Result<DatabaseFacts, ReadFailure>,
    /// Processes that lost their locks, or write to deleted files.
    pub lost_locks: Vec<LostLocks>,
    /// Versions of SQLite that processes have mapped which have the database open.
    pub mapped: Vec<MappedSqlite>,
    /// What the configuration wants done.
    pub configured: ConfiguredTasks,
    /// What was known before the look.
    pub known: PriorState,
}

/// What the caller knows before the database is read.
#[derive(Debug, Clone, Default)]
pub struct PriorState {
    /// The last result of each check, from the state file.
    pub check_statuses: Vec<(Check, CheckStatus)>,
    /// The locks that processes hold; `None` where the kernel does not list them.
    pub locks: Option<Arc<Locks>>,
}

/// What kept the database from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// A hot journal must be rolled back first.
    HotJournal,
    /// The content cannot be read.
    Damaged(String),
    /// Litekeeper's user may not.
    Denied(String),
    /// Everything else, such as a lock, a missing file or an end of the time.
    Other(String),
}

/// What SQLite read.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFacts {
    /// The header.
    pub header: Header,
    /// Frames of the WAL, where that is known.
    pub wal: Option<WalFrames>,
    /// Bytes of the main file in the same transaction.
    pub file_bytes: Option<u64>,
    /// The tables, or what kept the schema from being read.
    pub schema: Result<DatabaseSchema, ReadFailure>,
    /// What keeps all but the owner from writing.
    pub owner_format: Option<OwnerFormat>,
    /// The program that replicates the database.
    pub replicator: Option<String>,
    /// Disk space that a full vacuum needs.
    pub vacuum_needs: Vec<SpaceRequirement>,
}

/// What the configuration wants done to the database.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfiguredTasks {
    /// Whether a task that writes is configured.
    pub writes: bool,
    /// Whether one of them writes the database itself, as a backup does not.
    pub writes_database: bool,
    /// Whether a vacuum is configured, and whether it runs beside a replicator.
    pub vacuum: Option<bool>,
    /// Where backups are kept, and what keeps them from being kept there.
    pub backup: Option<(PathBuf, Option<DirectoryError>)>,
    /// What is cleaned.
    pub retentions: Vec<Retention>,
    /// What the tasks will meet when they run.
    pub foreseen: Vec<ExpectedProblem>,
}

impl Facts {
    pub(super) fn sidecar(&self, suffix: &str) -> Option<&Ownership> {
        self.sidecars.iter().find(|(name, _)| *name == suffix).map(|(_, file)| file)
    }

    /// The path of a sidecar.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}
