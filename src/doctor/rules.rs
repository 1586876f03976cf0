//! All kinds of findings with their stable id, severities, condition and reason.
//!
//! The table in docs/DOCTOR.md is compared with this file by a test.

use serde::Serialize;
use utoipa::ToSchema;

/// Severity of a finding, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is wrong.
    Info,
    /// Will cost time, disk space or an outage eventually.
    Warning,
    /// Data or the work of the application is in danger now.
    Critical,
}

impl Severity {
    /// The name in the JSON and on the page.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! finding_kinds {
    ($($(#[$words:meta])* $variant:ident, $id:literal, [$($severity:ident),+], $when:literal, $why:literal;)+) => {
        /// A kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FindingKind { $($(#[$words])* $variant,)+ }

        impl FindingKind {
            /// Every kind, in the order of the reference.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The severities that it can have.
            #[must_use]
            pub fn severities(self) -> &'static [Severity] {
                match self { $(Self::$variant => &[$(Severity::$severity),+],)+ }
            }

            /// The condition, for the reference.
            #[cfg(test)]
            pub fn when(self) -> &'static str {
                match self { $(Self::$variant => $when,)+ }
            }

            /// The reason, for users.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)+ }
            }
        }
    };
}

finding_kinds! {
    /// litekeeper has no read access.
    AgentCannotRead, "agent-cannot-read", [Critical],
        "the user that runs litekeeper may not read the main file, `-wal` or `-shm`",
        "An unreadable database cannot be monitored: it is shown as down.";
    /// A `-wal`, `-shm` or `-journal` that the owner cannot use.
    OwnerLockedOut, "owner-locked-out", [Critical],
        "the owner of the main file cannot read and write an existing `-wal`, `-shm` or `-journal`, by its owner, group and mode",
        "The program that created this file (a copy, a restore, sqlite3 as another user) locked the application out: it gets \"unable to open database file\" or \"attempt to write a readonly database\".";
    /// The owner has no write access.
    OwnerCannotWrite, "owner-cannot-write", [Warning],
        "the owner of the main file may not write it, or may not create files in its directory",
        "SQLite creates its journal or WAL beside the database; without write access there, every write fails.";
    /// All users may write.
    WorldWritable, "world-writable", [Warning],
        "all users may write the main file, a `-wal`, `-shm` or `-journal`, or (without the sticky bit) the directory",
        "Any program of any user can change or replace the database.";
    /// litekeeper has no write access.
    AgentCannotMaintain, "agent-cannot-maintain", [Info, Warning],
        "the user that runs litekeeper may not write the database, or would leave a `-wal` or `-shm` that the owner cannot use; a warning if a task that writes is configured",
        "Every vacuum and log cleaning of this database is skipped as read-only.";
    /// Several names of one file.
    HardLinks, "hard-links", [Critical],
        "the main file has more than one name",
        "SQLite derives the names of journal and WAL from the path: programs that use different names do not see each other's journal or WAL, and corrupt the database (https://www.sqlite.org/howtocorrupt.html, 2.5).";
    /// A file that is mounted without its directory.
    MountedAlone, "mounted-alone", [Critical],
        "the main file is a mount point by itself, as after `docker run -v app.db:/app.db`",
        "The `-wal`, `-shm` and `-journal` are in another directory, which is not visible here: commits in the `-wal` are missing from what is read, and a program that writes through this mount corrupts the database (https://www.sqlite.org/howtocorrupt.html, 2.4).";
    /// A path through a symbolic link.
    Symlink, "symlink", [Info],
        "the given path is a symbolic link",
        "SQLite follows the link, so the `-wal` is beside its target: a copy of the directory of the link lacks it.";
    /// A file system whose locks may not reach other machines.
    NetworkFilesystem, "network-filesystem", [Warning, Critical],
        "the file system is a network or virtual one (nfs, cifs, 9p, virtiofs, fuse, ...); critical in WAL mode",
        "Locks are unreliable there, and machines do not share the shared memory of a WAL: two of them corrupt the database (https://www.sqlite.org/wal.html).";
    /// A mount without write access.
    ReadOnlyMount, "read-only-mount", [Warning],
        "the file system is mounted read-only",
        "Nothing can be written. The kernel also makes a file system read-only after an I/O error.";
    /// No space for another transaction.
    DiskFull, "disk-full", [Critical],
        "less than 16 MiB are free on the file system",
        "A write that finds no space fails with SQLITE_FULL, and so does a checkpoint, so that the WAL grows.";
    /// No space for a full vacuum.
    NoRoomForVacuum, "no-room-for-vacuum", [Info, Warning],
        "a full VACUUM would need more space than there is; a warning if one is configured or worthwhile",
        "A VACUUM writes the database anew, and the same amount to WAL or journal; without the space it fails half way.";
    /// Many free pages.
    Bloated, "bloated", [Warning],
        "at least a quarter of the pages are free, and at least 10 MiB",
        "Free pages are not returned to the file system, and every backup copies them.";
    /// A length that does not match the pages.
    FileSizeMismatch, "file-size-mismatch", [Info, Critical],
        "the length of the main file differs from that of its pages; critical if it is shorter; examined only while no WAL contains pages",
        "A shorter file has lost pages. A longer one is legal: applications that set SQLITE_FCNTL_CHUNK_SIZE create such files, and SQLite never reads the rest.";
    /// Not readable as a database.
    Damaged, "damaged", [Critical],
        "SQLite cannot read the first page or the schema",
        "The file is damaged in its header, its first page or its schema.";
    /// A process without the locks that protect its commits.
    OwnerLostLocks, "owner-lost-locks", [Critical],
        "a process has the database open in WAL mode and holds no lock on the main file, or writes to a deleted main file or `-wal` (Linux)",
        "The process opened and closed a file of the database without SQLite, which releases its locks: the next program that closes the database deletes the `-wal`, and what the process commits afterwards is lost when it ends.";
    /// A failed check whose result is in force.
    CheckFailed, "check-failed", [Critical],
        "according to the state file, the last integrity check of a health check failed, and no check that clears it has passed since",
        "Pages or indexes are damaged: reads may return wrong rows or errors, each further write can increase the damage, and no task that writes runs.";
    /// A scrub whose finding is in force.
    ScrubFailed, "scrub-failed", [Critical],
        "according to the state file, the last scrub found bytes on the disk that nobody wrote, and nothing has cleared that since",
        "The disk, a controller or memory changed the database: values may be wrong although every check of SQLite passes. No task that writes runs, and no backup is removed.";
    /// Rows that violate rules of their table.
    ConstraintsBroken, "constraints-broken", [Warning],
        "according to the state file, the last health check found rows that violate NOT NULL, the type of a column, CHECK or UNIQUE",
        "The file is sound and maintenance continues, but the application may not expect such rows, and may be unable to write them again.";
    /// Content that only the application can check.
    NotCheckable, "not-checkable", [Info],
        "according to the state file, the last health check could not check some content",
        "The content needs a collation, tokenizer, function or virtual table that only the application has; everything else was checked.";
    /// A SQLite version that can corrupt a WAL.
    WalResetBug, "wal-reset-bug", [Warning],
        "the database is in WAL mode, and its last writer, or a process that has it open (if its library is visible), uses SQLite 3.7.0 to 3.51.2 without the fix",
        "If a second process writes or checkpoints at the wrong moment, this version can lose commits and corrupt the database (https://www.sqlite.org/wal.html#walresetbug).";
    /// Readers and writers that block each other.
    RollbackJournal, "rollback-journal", [Info],
        "the database is not in WAL mode, on a local file system",
        "A writer waits for all readers, and readers wait while it commits; in WAL mode neither waits.";
    /// Pages that move at every commit.
    AutoVacuumFull, "auto-vacuum-full", [Info],
        "`auto_vacuum` is FULL",
        "Every commit that frees pages moves others, which costs writes and fragments tables; INCREMENTAL does so on request only.";
    /// Pages below a block of the file system.
    SmallPages, "small-pages", [Info, Warning],
        "the page size is below 4096 and below the block size of the file system; a warning at 512 bytes",
        "The file system reads and writes a whole block for each page, and b-trees are deeper; 4096 is SQLite's default since 2016.";
    /// A WAL that has grown.
    LargeWal, "large-wal", [Warning],
        "the WAL is larger than 64 MiB and than a quarter of the database",
        "Reads become slower with its length, a restart has to read all of it, and it does not shrink by itself while it is in use.";
    /// A reader that keeps a WAL from being checkpointed.
    WalPinned, "wal-pinned", [Warning],
        "a reader's lock keeps at least 1,000 frames in the WAL from being checkpointed (Linux)",
        "The WAL grows until that read ends, and reads become slower with its length.";
    /// A WAL without an owner.
    AbandonedWal, "abandoned-wal", [Warning],
        "a `-wal` with content, and no `-shm`",
        "Its owner was killed, or the files were copied. The WAL is part of the database: without it commits are lost.";
    /// A WAL of another file.
    StrayWal, "stray-wal", [Critical],
        "a `-wal` with content, and no `-shm`, beside a database that is not in WAL mode",
        "It belongs to another file, as after a restore that replaced only the main file; SQLite may apply it to this one and corrupt it.";
    /// A transaction that was not rolled back.
    HotJournal, "hot-journal", [Critical],
        "a rollback journal of a transaction that its writer did not finish, and no process that finishes it",
        "The main file is half written until a program with write access opens it and rolls back. Without the journal it is corrupt.";
    /// Replication by another program.
    Replicated, "replicated", [Info, Warning],
        "Litestream or LiteFS replicates the database; a warning if a configured vacuum is skipped for that reason",
        "After a VACUUM or a checkpoint by another process it transfers the whole database again.";
    /// Checksums that only the owner can write.
    PageChecksums, "page-checksums", [Info, Warning],
        "the pages have 8 reserved bytes, as SQLite's checksum VFS (cksumvfs) creates them; a warning if a task that writes is configured",
        "A program that writes without this VFS leaves wrong checksums, and the application gets errors for these pages. Every task that writes is skipped; backups keep the checksums.";
    /// Another engine that does not see SQLite's locks.
    Turso, "turso", [Info, Warning],
        "there is a `-tshm` beside the database; a warning if a task that writes is configured",
        "Processes that use Turso coordinate through this file; a checkpoint or write by SQLite at the same time corrupts the database. Every task that writes is skipped.";
    /// Bytes that SQLite does not use.
    ReservedBytes, "reserved-bytes", [Info],
        "the pages have reserved bytes, but not 8",
        "They belong to a VFS or extension of the application, such as encryption; SQLite does not use them, and litekeeper cannot check their content.";
    /// A directory that cannot contain backups.
    BackupImpossible, "backup-impossible", [Warning],
        "the configured directory of the backups does not exist, is not a directory, or cannot be written by the user that runs litekeeper",
        "Every backup fails, and there is none when it is needed.";
    /// A ledger that cannot be kept.
    ScrubImpossible, "scrub-impossible", [Warning],
        "a scrub is configured, and the state is in memory only, or the directory `scrub` beside the state file cannot be written by the user that runs litekeeper",
        "A scrub compares with the hashes of the last one. Every scrub fails, and silent damage is not found.";
    /// A file system on which no scrub can verify anything.
    ScrubBlind, "scrub-blind", [Warning],
        "a scrub is configured for a database on a network or virtual file system (nfs, cifs, 9p, virtiofs, fuse, ...)",
        "The times of a file do not prove there that nobody wrote it, so a scrub verifies no page and never reports damage.";
    /// A retention that does not fit the database.
    RetentionImpossible, "retention-impossible", [Warning],
        "the configured log cleaning would be refused: a missing table or column, times in an unknown or ambiguous format, undecided `foreign_keys`, an archive directory that is missing or full",
        "The log cleaning fails every time, and the log grows.";
    /// Rows that a cleaning does not delete.
    RetentionKeepsRows, "retention-keeps-rows", [Info],
        "expired rows would stay: the newest row is older than `max_newest_age`, no row has a time, or rows of other tables refer to them",
        "The cleaning succeeds, but the table does not become smaller.";
    /// A retention that scans all rows.
    RetentionWithoutIndex, "retention-without-index", [Warning],
        "no index finds a range of the column by which the configuration cleans a table: there is none, it has another collation, or contains only some of the rows",
        "Every cleaning scans every row.";
    /// A table that resembles a log.
    LogWithoutRetention, "log-without-retention", [Info],
        "a guess by names: a table of at least 10,000 rows that is named like a log and has a column that is named like a time, and no retention is configured",
        "A log without retention grows until the disk is full.";
    /// Missing or old statistics.
    StaleStatistics, "stale-statistics", [Warning],
        "an indexed table of at least 10,000 rows without statistics, or with statistics whose row count is wrong by a factor of ten",
        "The query planner guesses, and may choose the wrong index.";
    /// Row ids that a vacuum changes under an index.
    UnstableRowIds, "unstable-row-ids", [Warning],
        "a full-text index (FTS with `content=`) of a table without an INTEGER PRIMARY KEY",
        "A VACUUM may renumber the rows of such a table, and the index then finds the wrong ones (https://www.sqlite.org/lang_vacuum.html).";
    /// A foreign key that scans all rows.
    ForeignKeyWithoutIndex, "foreign-key-without-index", [Info, Warning],
        "no index or key begins with the columns of a foreign key; a warning from 1,000 rows on",
        "Each delete or change of a key in the parent table scans every row of the child table.";
}
