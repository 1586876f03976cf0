//! The input of the rules: plain values, independent of how they were collected.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Retention;
use crate::locks::Locks;
use crate::os::CompanionObstacle;
use crate::os::FilesystemFacts;
use crate::os::LostLocks;
use crate::os::MappedSqlite;
use crate::os::Mount;
use crate::os::Ownership;
use crate::sqlite::Check;
use crate::sqlite::DatabaseSchema;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::WalFrames;
use crate::state_store::CheckStatus;
use crate::state_store::ScrubStatus;
use crate::tasks::DirectoryError;
use crate::tasks::ExpectedProblem;
use crate::tasks::OwnerFormat;
use crate::tasks::SpaceRequirement;

/// Everything that is known about a database and its environment.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The main file, with symbolic links resolved.
    pub path: PathBuf,
    /// The path that the user gave, if it is a symbolic link.
    pub link: Option<PathBuf>,
    /// Whether the file is a mount point itself, so that its `-wal` and `-shm` are not visible.
    pub mounted_alone: bool,
    /// The user id of litekeeper.
    pub user: u32,
    /// Owner and mode of the main file; `None` if it does not exist.
    pub main: Option<Ownership>,
    /// Owner and mode of the directory.
    pub directory: Option<Ownership>,
    /// The existing `-wal`, `-shm` and `-journal` files, with their suffix.
    pub companions: Vec<(&'static str, Ownership)>,
    /// The file that litekeeper's user may not read, and the system's message.
    pub read_denied: Option<(&'static str, String)>,
    /// The file or directory that litekeeper's user may not write.
    pub write_denied: Option<&'static str>,
    /// Why the owner could not use a `-wal` or `-shm` that litekeeper creates.
    pub companion_obstacle: Option<CompanionObstacle>,
    pub filesystem: Option<FilesystemFacts>,
    pub mount: Option<Mount>,
    /// The journal mode in the header of the main file, if there is a `-wal` without a `-shm`: the
    /// `-wal` could contain a different header.
    pub main_file_journal_mode: Option<JournalMode>,
    /// The content that was read through SQLite.
    pub inside: Result<DatabaseFacts, ReadFailure>,
    /// Processes that lost their locks, or write to deleted files.
    pub lost_locks: Vec<LostLocks>,
    /// SQLite libraries mapped by processes that have the database open.
    pub mapped: Vec<MappedSqlite>,
    /// The tasks that the configuration names.
    pub configured: ConfiguredTasks,
    /// What the caller knew already.
    pub known: PriorState,
}

/// What the caller knows before the database is read.
#[derive(Debug, Clone, Default)]
pub struct PriorState {
    /// The last result of each check, from the state file.
    pub check_statuses: Vec<(Check, CheckStatus)>,
    /// The last completed scrub, from the state file.
    pub scrub: Option<ScrubStatus>,
    /// The state file; `None` while the state is in memory.
    pub state_file: Option<PathBuf>,
    /// The locks that processes hold; `None` if the kernel does not list them.
    pub locks: Option<Arc<Locks>>,
}

/// Why the database could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// A hot journal must be rolled back first.
    HotJournal,
    /// The content cannot be read.
    Damaged(String),
    /// litekeeper's user has no permission.
    Denied(String),
    /// Any other reason, such as a lock, a missing file or a timeout.
    Other(String),
}

/// The content of the database, as read through SQLite.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFacts {
    pub header: Header,
    /// Frames of the WAL, if known.
    pub wal: Option<WalFrames>,
    /// Size of the main file in the same transaction.
    pub file_bytes: Option<u64>,
    /// The tables, or why the schema could not be read.
    pub schema: Result<DatabaseSchema, ReadFailure>,
    /// The format that only the owner can write.
    pub owner_format: Option<OwnerFormat>,
    /// The program that replicates the database.
    pub replicator: Option<String>,
    /// Disk space that a full vacuum needs.
    pub vacuum_needs: Vec<SpaceRequirement>,
}

/// The tasks that the configuration names for the database.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfiguredTasks {
    /// Whether a task that writes is configured.
    pub writes: bool,
    /// Whether one of them writes to the database itself, unlike a backup.
    pub writes_database: bool,
    /// `allow_replicated` of the vacuum, if one is configured.
    pub vacuum: Option<bool>,
    /// The directory of the backups, and why it cannot be used.
    pub backup: Option<(PathBuf, Option<DirectoryError>)>,
    /// Where a configured scrub keeps its ledgers.
    pub scrub: Option<LedgerDirectory>,
    /// The tables that log_cleaning cleans.
    pub retentions: Vec<Retention>,
    /// Problems that the next runs will have.
    pub foreseen: Vec<ExpectedProblem>,
}

/// The directory of the ledgers of scrubs.
#[derive(Debug, Clone)]
pub(super) enum LedgerDirectory {
    /// The state is in memory, so there is none.
    InMemory,
    /// Its path, and what keeps ledgers from being kept there.
    Path(PathBuf, Option<DirectoryError>),
}

impl Facts {
    pub(super) fn companion(&self, suffix: &str) -> Option<&Ownership> {
        self.companions.iter().find(|(name, _)| *name == suffix).map(|(_, file)| file)
    }

    /// The path of a companion file.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}
