//! Everything that the doctor can find: its stable name, how bad it can be, when it is found and why it matters.
//!
//! The table in docs/DOCTOR.md is made from here, and a test says when it is stale.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad a finding is, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// It will cost time, space or a night some day.
    Warning,
    /// Data or the application's work is in danger now.
    Critical,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! ailments {
    ($($(#[$words:meta])* $variant:ident, $id:literal, [$($severity:ident),+], $when:literal, $why:literal;)+) => {
        /// A kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FindingKind { $($(#[$words])* $variant,)+ }

        impl FindingKind {
            /// Every kind, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// How bad it can be.
            #[must_use]
            pub fn severities(self) -> &'static [Severity] {
                match self { $(Self::$variant => &[$(Severity::$severity),+],)+ }
            }

            /// When it is found.
            #[must_use]
            pub fn when(self) -> &'static str {
                match self { $(Self::$variant => $when,)+ }
            }

            /// Why it matters.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)+ }
            }
        }
    };
}

ailments! {
    /// A file that this process may not read.
    AgentCannotRead, "agent-cannot-read", [Critical],
        "the user who runs litekeeper may not read the main file, `-wal` or `-shm`",
        "What cannot be read cannot be watched: the database is shown as down.";
    /// A sidecar that the owner cannot use.
    OwnerLockedOut, "owner-locked-out", [Critical],
        "the owner of the main file could not read and write a `-wal`, `-shm` or `-journal` that is there, by its owner, group and mode",
        "Whoever made that file (a copy, a restore, sqlite3 as another user) locked the application out: it gets \"unable to open database file\" or \"attempt to write a readonly database\".";
    /// A main file or directory that the owner cannot write.
    OwnerCannotWrite, "owner-cannot-write", [Warning],
        "the owner of the main file may not write it, or may not make files in its directory",
        "SQLite makes its journal or WAL beside the database, so without the right to write there every write fails.";
    /// Anybody may write.
    WorldWritable, "world-writable", [Warning],
        "everybody may write the main file, a sidecar, or (without the sticky bit) the directory",
        "Any program of any user can change or replace the database.";
    /// Jobs would be refused.
    AgentCannotMaintain, "agent-cannot-maintain", [Info, Warning],
        "litekeeper's user may not write the database, or would leave sidecars that the owner cannot use; a warning when a task that writes is configured",
        "Every vacuum and log cleaning of this database is skipped as read-only.";
    /// Several names of one file.
    HardLinks, "hard-links", [Critical],
        "the main file has more than one name",
        "SQLite names journal and WAL after the path: programs that use two names do not see each other's, and corrupt the database (https://www.sqlite.org/howtocorrupt.html, 2.5).";
    /// A file that is mounted without its directory.
    MountedAlone, "mounted-alone", [Critical],
        "the main file is a mount by itself, as `docker run -v app.db:/app.db` makes one",
        "The `-wal`, `-shm` and `-journal` are in another directory, which is not visible here: commits that are in the `-wal` are missing from what is read, and a program that writes through this mount corrupts the database (https://www.sqlite.org/howtocorrupt.html, 2.4).";
    /// Another name that leads there.
    Symlink, "symlink", [Info],
        "the name that was given is a symbolic link",
        "SQLite follows it, so that the `-wal` stands beside the target: a copy that takes the link's directory alone lacks it.";
    /// A file system whose locks do not reach everybody.
    NetworkFilesystem, "network-filesystem", [Warning, Critical],
        "the file system is a network or virtual one (nfs, cifs, 9p, virtiofs, fuse, ...); critical in WAL mode",
        "Locks are doubtful there, and the shared memory of a WAL is not shared between machines: two of them corrupt the database (https://www.sqlite.org/wal.html).";
    /// A mount without writing.
    ReadOnlyMount, "read-only-mount", [Warning],
        "the file system is mounted read-only",
        "Nothing can be written; a file system that the kernel made read-only after an error looks the same.";
    /// No room for another transaction.
    DiskFull, "disk-full", [Critical],
        "less than 16 MiB are free on the file system",
        "A write that finds no room fails with SQLITE_FULL, and so does a checkpoint: the WAL then grows on.";
    /// No room for a full vacuum.
    NoRoomForVacuum, "no-room-for-vacuum", [Info, Warning],
        "a full VACUUM would need more room than there is; a warning when one is configured, or worth it",
        "A VACUUM writes the database anew, and as much again to WAL or journal; it fails half way without the room.";
    /// Many free pages.
    Bloated, "bloated", [Warning],
        "a quarter of the pages or more are free, and 10 MiB at least",
        "Space that was once used and is not given back to the file system, and that backups carry along.";
    /// A length that does not fit the pages.
    FileSizeMismatch, "file-size-mismatch", [Info, Critical],
        "the main file is not as long as its pages; critical where it is shorter; looked at only while no WAL holds pages",
        "A shorter file has lost pages. A longer one is legal: applications that set SQLITE_FCNTL_CHUNK_SIZE make such files, and SQLite never reads the rest.";
    /// Not readable as a database.
    Damaged, "damaged", [Critical],
        "SQLite cannot read the first page or the schema",
        "The file is no database, is encrypted, or is damaged where everything else begins.";
    /// A process without the locks that protect its commits.
    OwnerLostLocks, "owner-lost-locks", [Critical],
        "a process has the database open in WAL mode and holds no lock on the main file, or writes to a main file or `-wal` that is deleted (Linux)",
        "It opened and closed a file of the database beside SQLite, which drops its locks: the next program that closes the database deletes the `-wal` under it, and what it commits then is lost when it ends.";
    /// A verdict of a check that stands.
    CheckFailed, "check-failed", [Critical],
        "the last integrity check of a health check failed, by the state file of the configuration, and none that clears it has passed since",
        "Pages or indexes are damaged: reads may give wrong rows or errors, each further write can make it worse, and no task that writes runs.";
    /// Rows that break rules of their table.
    ConstraintsBroken, "constraints-broken", [Warning],
        "the last health check found rows that break NOT NULL, the type of a column, CHECK or UNIQUE, by the state file of the configuration",
        "The file is sound and maintenance goes on, but the application may not expect such rows, and may not be able to write them again.";
    /// Something that only the application can check.
    NotCheckable, "not-checkable", [Info],
        "the last health check could not check something, by the state file of the configuration",
        "A collation, tokenizer, function or virtual table that only the application has: everything else was checked.";
    /// A SQLite that can corrupt a WAL.
    WalResetBug, "wal-reset-bug", [Warning],
        "the database is in WAL mode, and its last writer, or a process that has it open (where its library can be seen), has SQLite 3.7.0 to 3.51.2 without the fix",
        "With a second process that writes or checkpoints at the wrong moment, this version can lose commits and corrupt the database (https://www.sqlite.org/wal.html#walresetbug).";
    /// Readers and writers that wait for each other.
    RollbackJournal, "rollback-journal", [Info],
        "the database is not in WAL mode, on a local file system",
        "A writer waits until every reader is done, and readers wait while it commits; in WAL mode neither does.";
    /// Pages that move at every commit.
    AutoVacuumFull, "auto-vacuum-full", [Info],
        "`auto_vacuum` is FULL",
        "Every commit that frees pages moves others, which costs writes and scatters tables; INCREMENTAL does it when it is asked to.";
    /// Pages below a block of the disk.
    SmallPages, "small-pages", [Info, Warning],
        "the page size is below the block size of the file system and 4096; a warning at 512 bytes",
        "Each page that is written makes the file system read and write a whole block, and trees are deeper; 4096 is SQLite's default since 2016.";
    /// A WAL that has grown.
    LargeWal, "large-wal", [Warning],
        "the WAL is larger than 64 MiB, and than a quarter of the database",
        "Reads get slower with its length, a restart must read all of it, and it never shrinks by itself while it is in use.";
    /// A reader that keeps a WAL from being checkpointed.
    WalPinned, "wal-pinned", [Warning],
        "a reader keeps 1,000 frames or more in the WAL that no checkpoint can copy, by its locks (Linux)",
        "The WAL can only grow until that read ends, and reads get slower with its length.";
    /// A WAL without an owner.
    AbandonedWal, "abandoned-wal", [Warning],
        "a `-wal` with content, and no `-shm`",
        "Its owner was killed, or the files were copied. The WAL is part of the database: without it commits are lost.";
    /// A WAL that does not belong.
    StrayWal, "stray-wal", [Critical],
        "a `-wal` with content, and no `-shm`, beside a database that is not in WAL mode",
        "It is left over from another file, as after a restore over the main file alone; SQLite may replay it into this one and corrupt it.";
    /// A transaction that was not rolled back.
    HotJournal, "hot-journal", [Critical],
        "a rollback journal of a transaction that its writer did not end, and nobody who ends it",
        "The main file is half written until a program that may write opens it and rolls back. Without the journal it is corrupt.";
    /// Replication beside it.
    Replicated, "replicated", [Info, Warning],
        "Litestream or LiteFS is at work on it; a warning when a vacuum is configured that is skipped for that",
        "A VACUUM or a checkpoint by another process makes it send the whole database again.";
    /// Checksums that only the owner can write.
    PageChecksums, "page-checksums", [Info, Warning],
        "the pages have 8 reserved bytes, as SQLite's checksum VFS (cksumvfs) makes them; a warning when a task that writes is configured",
        "A program that writes without this VFS leaves wrong checksums, and the application gets errors for these pages. Every task that writes is skipped; backups are as good as the original.";
    /// Another engine that does not see SQLite's locks.
    Turso, "turso", [Info, Warning],
        "there is a `-tshm` beside the database; a warning when a task that writes is configured",
        "Processes that use Turso coordinate by that file; a checkpoint or write of SQLite beside them corrupts the database. Every task that writes is skipped.";
    /// Bytes that SQLite leaves alone.
    ReservedBytes, "reserved-bytes", [Info],
        "the pages have reserved bytes, and not 8",
        "They belong to a VFS or extension of the application, such as encryption; SQLite leaves them alone, and litekeeper cannot check what is in them.";
    /// A directory in which no backup can be kept.
    BackupImpossible, "backup-impossible", [Warning],
        "the configuration keeps backups in a directory that is not there, is none, or cannot be written by litekeeper's user",
        "Every backup fails, and there is none on the day that it is needed.";
    /// A retention of something that is not there.
    RetentionImpossible, "retention-impossible", [Warning],
        "the configured log cleaning would be refused as the database is now: a table or column that is not there, times in a format that is unknown or ambiguous, undecided `foreign_keys`, an archive directory that is missing or full",
        "The log cleaning fails every time, and the log grows.";
    /// Rows that a cleaning leaves.
    RetentionKeepsRows, "retention-keeps-rows", [Info],
        "expired rows would stay: the table is quiet for longer than `max_newest_age`, no row has a time, or rows of other tables refer to them",
        "The cleaning succeeds, and the table does not become smaller.";
    /// A retention that looks at all rows.
    RetentionWithoutIndex, "retention-without-index", [Warning],
        "the configuration cleans a table by a column of which no index finds a range: there is none, it has another collation, or only some of the rows",
        "Every cleaning looks at every row.";
    /// What looks like a log.
    LogWithoutRetention, "log-without-retention", [Info],
        "a guess by names: a table of 10,000 rows or more that is called like a log and has a column that is called like a time, and no retention is configured",
        "A log without retention grows until the disk is full.";
    /// Statistics that are missing or old.
    StaleStatistics, "stale-statistics", [Warning],
        "an indexed table of 10,000 rows or more without statistics, or with a row count in them that is ten times off",
        "The query planner guesses, and may choose the wrong index.";
    /// Row ids that a vacuum changes under an index.
    UnstableRowIds, "unstable-row-ids", [Warning],
        "a full-text index (FTS with `content=`) of a table without an INTEGER PRIMARY KEY",
        "A VACUUM may number the rows of such a table anew, and the index then finds the wrong ones (https://www.sqlite.org/lang_vacuum.html).";
    /// A foreign key that looks at all rows.
    ForeignKeyWithoutIndex, "foreign-key-without-index", [Info, Warning],
        "no index or key begins with the columns of a foreign key; a warning from 1,000 rows on",
        "Each delete or change of a key in the parent table looks at every row of the child table.";
}

/// The table of the reference, docs/DOCTOR.md, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from("| id | severity | when | why it matters |\n|---|---|---|---|\n");
    for ailment in FindingKind::ALL {
        let severities: Vec<&str> = ailment.severities().iter().map(|severity| severity.label()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            ailment.id(),
            severities.join(", "),
            ailment.when(),
            ailment.why()
        );
    }
    text
}
