//! Test cases as data: a change to a sound database, and the findings that are expected.

use std::fmt::Write as _;
use std::time::Duration;
use std::time::SystemTime;

use super::rules::FindingKind;
use super::*;
use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::locks::Hold;
use crate::locks::Lock;
use crate::locks::LockOwner;
use crate::locks::Locks;
use crate::os::CompanionObstacle;
use crate::os::FileKind;
use crate::os::FilesystemFacts;
use crate::os::LockView;
use crate::os::Loss;
use crate::os::LostLocks;
use crate::os::MappedSqlite;
use crate::os::Mount;
use crate::os::Ownership;
use crate::sqlite::AutoVacuum;
use crate::sqlite::Check;
use crate::sqlite::Column;
use crate::sqlite::DatabaseSchema;
use crate::sqlite::Encoding;
use crate::sqlite::ForeignKey;
use crate::sqlite::Header;
use crate::sqlite::Index;
use crate::sqlite::IndexColumn;
use crate::sqlite::JournalMode;
use crate::sqlite::RowCount;
use crate::sqlite::TableSchema;
use crate::sqlite::TableStatistics;
use crate::sqlite::WalFrames;
use crate::state_store::CheckStatus;
use crate::state_store::ScrubStatus;
use crate::task::TaskKind;
use crate::tasks::DirectoryError;
use crate::tasks::ExpectedProblem;
use crate::tasks::ProblemKind;
use crate::tasks::SpaceRequirement;

use super::facts::ConfiguredTasks;
use super::facts::DatabaseFacts;
use crate::tasks::OwnerFormat;

const OWNER: u32 = 1000;
const MIB: u64 = 1024 * 1024;

fn file(mode: u32, size: u64) -> Ownership {
    Ownership { user: OWNER, group: OWNER, mode, links: 1, size }
}

fn table(name: &str, columns: &[&str], rows: i64) -> TableStatistics {
    let column = |name: &&str| Column { name: (*name).to_owned(), declared: "INTEGER".to_owned() };
    TableStatistics {
        schema: TableSchema {
            name: name.to_owned(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![columns[0].to_owned()],
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
        },
        analyzed_rows: None,
        rows: RowCount::Exact(rows),
    }
}

fn index(columns: &[&str]) -> Index {
    let column = |name: &&str| IndexColumn {
        name: Some((*name).to_owned()),
        collation: "BINARY".to_owned(),
        descending: false,
    };
    Index {
        name: "an_index".to_owned(),
        columns: columns.iter().map(column).collect(),
        unique: false,
        partial: false,
        is_primary_key: false,
    }
}

/// The table with indexes on these columns.
fn indexed(mut table: TableStatistics, indexes: &[&[&str]]) -> TableStatistics {
    table.schema.indexes = indexes.iter().map(|columns| index(columns)).collect();
    table
}

/// The facts of a WAL database of 100 MiB without findings.
fn sound() -> Facts {
    let header = Header {
        page_size: 4096,
        reserved_bytes: 0,
        pages: 25_600,
        freelist_pages: 10,
        schema_version: 1,
        user_version: 0,
        application_id: 0,
        journal_mode: JournalMode::Wal,
        auto_vacuum: AutoVacuum::None,
        encoding: Encoding::Utf8,
        writer_version: 3_054_001,
    };
    Facts {
        path: "/srv/it's/books.db".into(),
        link: None,
        mounted_alone: false,
        user: OWNER,
        main: Some(file(0o640, 100 * MIB)),
        directory: Some(file(0o750, 4096)),
        companions: vec![("-wal", file(0o640, MIB)), ("-shm", file(0o640, 32_768))],
        read_denied: None,
        write_denied: None,
        companion_obstacle: None,
        filesystem: Some(FilesystemFacts {
            available_bytes: 1 << 40,
            size_bytes: 1 << 41,
            fstype: Arc::from("ext4"),
            network: false,
        }),
        mount: Some(Mount { block_bytes: 4096, read_only: false }),
        main_file_journal_mode: None,
        inside: Ok(DatabaseFacts {
            header,
            wal: Some(WalFrames { total: 200, checkpointed: 100, read_marks: [None; 5] }),
            file_bytes: Some(100 * MIB),
            schema: Ok(DatabaseSchema {
                tables: vec![table("items", &["id", "text"], 5)],
                table_count: 1,
                has_statistics: true,
                full_text: Vec::new(),
            }),
            owner_format: None,
            replicator: None,
            vacuum_needs: vec![need(100, 1_000)],
        }),
        lost_locks: Vec::new(),
        mapped: Vec::new(),
        configured: ConfiguredTasks::default(),
        known: PriorState::default(),
    }
}

fn need(megabytes: u64, available: u64) -> SpaceRequirement {
    SpaceRequirement {
        purpose: "temporary copy",
        directory: "/var/tmp".to_owned(),
        bytes: megabytes * MIB,
        available_bytes: available * MIB,
    }
}

fn inside(facts: &mut Facts) -> &mut DatabaseFacts {
    facts.inside.as_mut().unwrap()
}

fn tables(facts: &mut Facts, tables: Vec<TableStatistics>) {
    let table_count = tables.len();
    inside(facts).schema =
        Ok(DatabaseSchema { tables, table_count, has_statistics: true, full_text: Vec::new() });
}

fn retention(table: &str, column: &str) -> Retention {
    Retention {
        table: table.to_owned(),
        column: Some(column.to_owned()),
        format: TimestampFormat::Auto,
        retention: Some(Duration::from_secs(90 * 86_400)),
        max_rows: None,
        max_bytes: None,
        allow_short_retention: false,
        condition: None,
        keep_latest: None,
        archive: None,
        cascade: vec![],
        set_null: vec![],
        expires: false,
        max_newest_age: Duration::from_secs(86_400),
    }
}

/// Applies a change to a sound database and compares the findings: kinds, severities, and a part of
/// the text or command.
#[track_caller]
fn check(change: impl FnOnce(&mut Facts), expected: &[(FindingKind, Severity, &str)]) {
    let mut facts = sound();
    change(&mut facts);
    let found = evaluate(&facts);
    let names: Vec<_> = found.iter().map(|finding| (finding.id, finding.severity)).collect();
    let wanted: Vec<_> = expected.iter().map(|(kind, severity, _)| (kind.id(), *severity)).collect();
    assert_eq!(names, wanted, "{found:#?}");
    for (finding, (_, _, words)) in found.iter().zip(expected) {
        let text = format!("{} {}", finding.what, finding.command.as_deref().unwrap_or_default());
        assert!(text.contains(words), "{text:?} does not contain {words:?}");
    }
}

use FindingKind as A;
use Severity::Critical;
use Severity::Info;
use Severity::Warning;

#[test]
fn a_sound_database_has_no_findings() {
    check(|_| {}, &[]);
    assert_eq!(incomplete_reason(&sound()), None);
}

#[test]
fn files() {
    let foreign = |mode| Ownership { user: 0, group: 0, ..file(mode, 9) };
    let shm = move |mode| move |facts: &mut Facts| facts.companions[1].1 = foreign(mode);
    let like_main = "sudo chown --reference='/srv/it'\\''s/books.db' '/srv/it'\\''s/books.db-shm' && sudo chmod --reference=";
    check(shm(0o644), &[(A::OwnerLockedOut, Critical, like_main)]);
    check(shm(0o660), &[(A::OwnerLockedOut, Critical, "user 0 and has mode 0660")]);
    check(shm(0o666), &[(A::WorldWritable, Warning, "sudo chmod o-w '/srv/it'\\''s/books.db-shm'")]);
    // The owner is assumed to be a member of the main file's group.
    check(|facts| facts.companions[1].1 = Ownership { user: 5, ..file(0o660, 9) }, &[]);
    check(|facts| facts.companions[0].1.mode = 0o440, &[(A::OwnerLockedOut, Critical, "-wal file")]);
    // Root is never locked out.
    check(
        |facts| {
            facts.main = Some(foreign(0o640));
            facts.directory = Some(foreign(0o750));
            facts.companions[0].1 = file(0o600, MIB);
        },
        &[],
    );
    check(
        |facts| facts.main = Some(file(0o440, 9)),
        &[(A::OwnerCannotWrite, Warning, "chmod u+rw '/srv/it'\\''s/books.db'")],
    );
    check(
        |facts| facts.directory = Some(foreign(0o755)),
        &[(A::OwnerCannotWrite, Warning, "sudo chown 1000 '/srv/it'\\''s'")],
    );
    check(|facts| facts.directory = Some(foreign(0o1777)), &[]);
    check(
        |facts| facts.directory = Some(foreign(0o777)),
        &[(A::WorldWritable, Warning, "sudo chmod o-w '/srv/it'\\''s'")],
    );
    check(|facts| facts.main = Some(file(0o646, 9)), &[(A::WorldWritable, Warning, "the main file")]);
    check(
        |facts| {
            facts.user = 7;
            facts.read_denied = Some(("-wal file", "Permission denied".to_owned()));
            facts.write_denied = Some("main file");
            facts.inside = Err(ReadFailure::Denied("no".to_owned()));
        },
        &[(A::AgentCannotRead, Critical, "sudo chmod g+r '/srv/it'\\''s/books.db-wal'")],
    );
    check(
        |facts| facts.write_denied = Some("directory"),
        &[(A::AgentCannotMaintain, Info, "may not write the directory")],
    );
    check(
        |facts| {
            (facts.companion_obstacle, facts.configured.writes) = (Some(CompanionObstacle::Mode(0o600)), true)
        },
        &[(A::AgentCannotMaintain, Warning, "could not use")],
    );
    check(
        |facts| facts.main = Some(Ownership { links: 3, ..file(0o640, 9) }),
        &[(A::HardLinks, Critical, "find '/srv/it'\\''s' -xdev -samefile '/srv/it'\\''s/books.db'")],
    );
    check(
        |facts| facts.link = Some("/srv/link.db".into()),
        &[(A::Symlink, Info, "/srv/link.db is a symbolic link")],
    );
    // A missing file has no findings, but an error.
    let mut missing = sound();
    (missing.main, missing.companions) = (None, Vec::new());
    missing.inside = Err(ReadFailure::Other("the file does not exist".to_owned()));
    assert_eq!(
        (evaluate(&missing), incomplete_reason(&missing).unwrap().as_str()),
        (Vec::new(), "the file does not exist")
    );
}

#[test]
fn file_systems_and_space() {
    fn filesystem(facts: &mut Facts) -> &mut FilesystemFacts {
        facts.filesystem.as_mut().unwrap()
    }
    let nfs =
        |facts: &mut Facts| (filesystem(facts).fstype, filesystem(facts).network) = (Arc::from("nfs4"), true);
    check(nfs, &[(A::NetworkFilesystem, Critical, "nfs4, and the database is in WAL mode")]);
    check(
        |facts| {
            nfs(facts);
            facts.companions.clear();
            inside(facts).header.journal_mode = JournalMode::Rollback;
        },
        &[(A::NetworkFilesystem, Warning, "nfs4.")],
    );
    check(
        |facts| {
            facts.mount = Some(Mount { block_bytes: 4096, read_only: true });
            facts.write_denied = Some("main file");
            filesystem(facts).available_bytes = 0;
        },
        &[(A::ReadOnlyMount, Warning, "findmnt --target '/srv/it'\\''s'")],
    );
    check(
        |facts| filesystem(facts).available_bytes = 16 * MIB - 1,
        &[(A::DiskFull, Critical, "16 MiB of 2.0 TiB")],
    );
    check(|facts| filesystem(facts).available_bytes = 16 * MIB, &[]);
    let little_space = |facts: &mut Facts| inside(facts).vacuum_needs = vec![need(10, 20), need(210, 209)];
    check(
        little_space,
        &[(A::NoRoomForVacuum, Info, "needs 210 MiB in /var/tmp (temporary copy), but 209 MiB are free")],
    );
    check(
        |facts| {
            little_space(facts);
            facts.configured.vacuum = Some(false);
        },
        &[(A::NoRoomForVacuum, Warning, "")],
    );
    let bloated = |facts: &mut Facts| inside(facts).header.freelist_pages = 6_400;
    check(
        bloated,
        &[(
            A::Bloated,
            Warning,
            "25 MiB (25 %) of the file are free pages. sqlite3 '/srv/it'\\''s/books.db' 'VACUUM;'",
        )],
    );
    check(|facts| inside(facts).header.freelist_pages = 6_399, &[]);
    check(
        |facts| {
            bloated(facts);
            little_space(facts);
            inside(facts).header.auto_vacuum = AutoVacuum::Incremental;
        },
        &[(A::Bloated, Warning, "incremental_vacuum")],
    );
    let backup = |problem: Option<DirectoryError>| {
        move |facts: &mut Facts| facts.configured.backup = Some(("/srv/my backups".into(), problem))
    };
    check(backup(None), &[]);
    for (problem, words) in [
        (DirectoryError::Missing, "sudo install -d -m 750 -o 1000 '/srv/my backups'"),
        (DirectoryError::NoDirectory(FileKind::Regular), "this is a file, not a directory"),
        (DirectoryError::ReadOnly, "findmnt --target '/srv/my backups'"),
        (
            DirectoryError::Denied("no".to_owned()),
            "sudo chown 1000 '/srv/my backups' && sudo chmod u+rwx '/srv/my backups'",
        ),
        (DirectoryError::Unknown("no".to_owned()), "sudo namei -l '/srv/my backups'"),
    ] {
        check(backup(Some(problem)), &[(A::BackupImpossible, Warning, words)]);
    }
    // A tenth of a mebibyte is not reported, however large its fraction.
    check(
        |facts| {
            (inside(facts).header.pages, inside(facts).header.freelist_pages) = (30, 25);
            facts.companions[0].1.size = 0;
        },
        &[],
    );
}

#[test]
fn format_and_journal() {
    let rollback = |facts: &mut Facts| {
        inside(facts).header.journal_mode = JournalMode::Rollback;
        inside(facts).wal = None;
        facts.companions.clear();
    };
    let format = |format, writes| {
        move |facts: &mut Facts| {
            inside(facts).owner_format = Some(format);
            facts.configured.writes_database = writes;
        }
    };
    let sums = OwnerFormat::PageChecksums { verified: true };
    check(format(sums, false), &[(A::PageChecksums, Info, "Each page ends with a checksum")]);
    check(format(sums, true), &[(A::PageChecksums, Warning, "are skipped")]);
    check(format(OwnerFormat::Turso, true), &[(A::Turso, Warning, "There is a -tshm")]);
    check(|facts| inside(facts).header.reserved_bytes = 32, &[(A::ReservedBytes, Info, "32 reserved bytes")]);
    // A command that writes with another program is not suggested.
    let mut bloated = sound();
    format(sums, false)(&mut bloated);
    inside(&mut bloated).header.freelist_pages = 20_000;
    let found = evaluate(&bloated);
    assert!(found.iter().any(|one| one.id == A::Bloated.id() && one.command.is_none()), "{found:?}");
    let info = (A::RollbackJournal, Info, "journal_mode = WAL");
    check(rollback, &[info]);
    check(
        |facts| {
            rollback(facts);
            inside(facts).file_bytes = Some(100 * MIB + 7);
        },
        &[
            (
                A::FileSizeMismatch,
                Info,
                "104,857,607 bytes, but its 25,600 pages of 4096 bytes have 104,857,600",
            ),
            info,
        ],
    );
    // While a WAL contains pages, the main file may be older.
    check(|facts| inside(facts).file_bytes = Some(7), &[]);
    check(
        |facts| {
            inside(facts).wal = Some(WalFrames { total: 0, checkpointed: 0, read_marks: [None; 5] });
            inside(facts).file_bytes = Some(4096);
        },
        &[(A::FileSizeMismatch, Critical, "litekeeper check")],
    );
    check(
        |facts| facts.inside = Err(ReadFailure::Damaged("malformed".to_owned())),
        &[(A::Damaged, Critical, "malformed")],
    );
    check(
        |facts| inside(facts).schema = Err(ReadFailure::Damaged("malformed schema".to_owned())),
        &[(A::Damaged, Critical, "malformed schema")],
    );
    check(
        |facts| facts.inside = Err(ReadFailure::HotJournal),
        &[(A::HotJournal, Critical, "schema_version")],
    );
    let bug = |facts: &mut Facts| inside(facts).header.writer_version = 3_046_001;
    check(bug, &[(A::WalResetBug, Warning, "SQLite 3.46.1")]);
    check(|facts| inside(facts).header.writer_version = 3_044_006, &[]);
    // The version in a process that has the database open counts as well.
    let mapped = |version| {
        move |facts: &mut Facts| {
            let (process, library) = ("shopd".to_owned(), "/usr/lib/libsqlite3.so.0.8.6".into());
            facts.mapped = vec![MappedSqlite { pid: 7, process, library, version }];
        }
    };
    check(
        mapped(3_046_001),
        &[(A::WalResetBug, Warning, "Process 7 (shopd) has SQLite 3.46.1 (/usr/lib/libsqlite3.so.0.8.6)")],
    );
    check(mapped(3_053_000), &[]);
    let lost = |loss| move |facts: &mut Facts| facts.lost_locks = vec![LostLocks { pid: 7, loss }];
    check(
        lost(Loss::Locks),
        &[(A::OwnerLostLocks, Critical, "process 7 has the database open and holds no lock")],
    );
    check(
        lost(Loss::Name(5, "/srv/books.db-wal".into())),
        &[(A::OwnerLostLocks, Critical, "litekeeper runbook SqliteOwnerLostLocks")],
    );
    check(
        |facts| {
            rollback(facts);
            bug(facts);
        },
        &[info],
    );
    check(
        |facts| inside(facts).header.auto_vacuum = AutoVacuum::Full,
        &[(A::AutoVacuumFull, Info, "auto_vacuum = INCREMENTAL")],
    );
    let pages = |size| {
        move |facts: &mut Facts| {
            inside(facts).header.page_size = size;
            facts.companions[0].1.size = 0;
        }
    };
    check(
        pages(512),
        &[(
            A::SmallPages,
            Warning,
            "journal_mode = DELETE; PRAGMA page_size = 4096; VACUUM; PRAGMA journal_mode = WAL;",
        )],
    );
    check(pages(1024), &[(A::SmallPages, Info, "1024 bytes, but the block size of the file system is 4096")]);
    check(pages(65_536), &[]);
    check(
        |facts| {
            pages(1024)(facts);
            facts.mount = Some(Mount { block_bytes: 512, read_only: false });
        },
        &[],
    );
    let large = |facts: &mut Facts| facts.companions[0].1.size = 65 * MIB;
    check(
        large,
        &[(
            A::LargeWal,
            Warning,
            "100 of the WAL's 200 frames are not yet checkpointed. sqlite3 '/srv/it'\\''s/books.db' 'PRAGMA wal_checkpoint(TRUNCATE);'",
        )],
    );
    check(
        |facts| {
            large(facts);
            bug(facts);
        },
        &[(A::WalResetBug, Warning, ""), (A::LargeWal, Warning, "wal_checkpoint(PASSIVE)")],
    );
    // A large database may have a large WAL.
    check(
        |facts| {
            large(facts);
            inside(facts).header.pages = 1_000_000;
        },
        &[],
    );
    check(
        |facts| facts.companions.truncate(1),
        &[(A::AbandonedWal, Warning, "a -wal of 1.0 MiB without a -shm")],
    );
    check(
        |facts| {
            rollback(facts);
            facts.companions = vec![("-wal", file(0o640, 9_000))];
            facts.main_file_journal_mode = Some(JournalMode::Rollback);
        },
        &[(
            A::StrayWal,
            Critical,
            "sudo mv --no-clobber '/srv/it'\\''s/books.db-wal' '/srv/it'\\''s/books.db-wal.aside'",
        )],
    );
    let litestream = |facts: &mut Facts| inside(facts).replicator = Some("Litestream".to_owned());
    check(litestream, &[(A::Replicated, Info, "Litestream replicates the database.")]);
    for (allowed, severity) in [(false, Warning), (true, Info)] {
        check(
            |facts| {
                litestream(facts);
                facts.configured.vacuum = Some(allowed);
            },
            &[(A::Replicated, severity, "Litestream")],
        );
    }
}

#[test]
fn tables_and_indexes() {
    let logs = |rows: i64, indexes: &[&[&str]]| TableStatistics {
        analyzed_rows: Some(rows),
        ..indexed(table("logs", &["id", "created_at"], rows), indexes)
    };
    let cleaned = |logs: TableStatistics, column: &'static str| {
        move |facts: &mut Facts| {
            tables(facts, vec![logs]);
            facts.configured.retentions = vec![retention("Logs", column)];
        }
    };
    check(cleaned(logs(50_000, &[&["Created_At", "id"]]), "created_at"), &[]);
    // The row id needs no index.
    check(cleaned(logs(50_000, &[]), "id"), &[]);
    let create = r#"'CREATE INDEX "logs_by_created_at" ON "logs" ("created_at");'"#;
    check(
        cleaned(logs(50_000, &[&["id", "created_at"]]), "created_at"),
        &[(A::RetentionWithoutIndex, Warning, create)],
    );
    let foreseen = |task, kind| {
        move |facts: &mut Facts| {
            facts.configured.foreseen =
                vec![ExpectedProblem { task, kind, message: "as it is now".to_owned() }];
        }
    };
    for (kind, expected) in [
        (ProblemKind::CleaningFails, Some((A::RetentionImpossible, Warning, "as it is now."))),
        (ProblemKind::RowsStay, Some((A::RetentionKeepsRows, Info, "as it is now."))),
        (ProblemKind::SlowCleaning, Some((A::RetentionWithoutIndex, Warning, "as it is now."))),
        (ProblemKind::SlowReference, None),
    ] {
        check(foreseen(TaskKind::LogCleaning, kind), expected.as_slice());
    }
    let schema = |found: TableStatistics| move |facts: &mut Facts| tables(facts, vec![found]);
    check(
        schema(logs(10_000, &[])),
        &[(A::LogWithoutRetention, Info, "logs (10,000 rows) may be a log with its time in created_at")],
    );
    check(schema(logs(9_999, &[])), &[]);
    check(schema(table("catalogs", &["id", "created_at"], 50_000)), &[]);
    check(schema(table("audit_log", &["id", "words"], 50_000)), &[]);
    let counted = |rows, analyzed_rows| TableStatistics {
        analyzed_rows,
        rows,
        ..indexed(table("items", &["id", "text"], 0), &[&["text"]])
    };
    let exact = RowCount::Exact;
    check(
        schema(counted(exact(10_000), None)),
        &[(A::StaleStatistics, Warning, "items (10,000 rows) has no statistics")],
    );
    check(schema(counted(exact(9_999), None)), &[]);
    check(schema(counted(exact(100_000), Some(10_001))), &[]);
    check(
        schema(counted(exact(100_000), Some(10_000))),
        &[(A::StaleStatistics, Warning, "but 10000 according to its statistics")],
    );
    check(schema(counted(exact(0), Some(10_000))), &[(A::StaleStatistics, Warning, "ANALYZE")]);
    check(schema(counted(RowCount::Estimate(10_000), Some(10_000))), &[]);
    let child = |rows, indexes: &[&[&str]], key: &[&str]| {
        let mut child = indexed(table("vouchers", &["id", "company", "year"], rows), indexes);
        let columns = key.iter().map(|key| (*key).to_owned()).collect();
        child.schema.foreign_keys = vec![ForeignKey { parent: "companies".to_owned(), columns }];
        child
    };
    let create = r#"'CREATE INDEX "vouchers_by_company" ON "vouchers" ("company");'"#;
    check(schema(child(1_000, &[], &["company"])), &[(A::ForeignKeyWithoutIndex, Warning, create)]);
    check(
        schema(child(999, &[&["year", "company"]], &["company"])),
        &[(A::ForeignKeyWithoutIndex, Info, create)],
    );
    check(schema(child(1_000, &[&["COMPANY"]], &["company"])), &[]);
    check(schema(child(1_000, &[&["year", "company", "id"]], &["company", "year"])), &[]);
    check(schema(child(1_000, &[], &["id"])), &[]);
}

#[test]
fn check_results_and_locks() {
    let status = |ok| CheckStatus {
        ok,
        problems: if ok { 0 } else { 2 },
        first_problem: (!ok).then(|| "row 7 missing from index i".to_owned()),
        completed_at: SystemTime::UNIX_EPOCH,
        whole_at: SystemTime::UNIX_EPOCH,
        notes: crate::tasks::Notes::default(),
    };
    let message = |check_statuses: Vec<(Check, CheckStatus)>| {
        move |facts: &mut Facts| facts.known.check_statuses = check_statuses
    };
    check(message(vec![(Check::Quick, status(true)), (Check::Full, status(true))]), &[]);
    let words =
        "The last full check found 2 problems; the first is: row 7 missing from index i. litekeeper check";
    check(
        message(vec![(Check::Quick, status(true)), (Check::Full, status(false))]),
        &[(A::CheckFailed, Critical, words)],
    );
    check(
        message(vec![(Check::Quick, status(false)), (Check::Full, status(true))]),
        &[(A::CheckFailed, Critical, "quick check")],
    );
    // Violated foreign keys are not damage.
    check(message(vec![(Check::ForeignKey, status(false))]), &[]);
    let scrub = |damaged_since| {
        move |facts: &mut Facts| {
            let result = crate::tasks::ScrubResult {
                mismatches: 1,
                first_problem: Some("page 7 (table vouchers)".to_owned()),
                ..crate::tasks::ScrubResult::default()
            };
            facts.known.scrub =
                Some(ScrubStatus { result, completed_at: SystemTime::UNIX_EPOCH, damaged_since });
        }
    };
    check(scrub(None), &[]);
    let words = "page 7 (table vouchers). litekeeper runbook";
    check(scrub(Some(SystemTime::UNIX_EPOCH)), &[(A::ScrubFailed, Critical, words)]);
    let mut noted = status(true);
    noted.notes.constraints = 1;
    noted.notes.first_constraint = Some("NULL value in t.a".to_owned());
    noted.notes.not_checked = 1;
    noted.notes.first_not_checked = Some("t: its collation unicase".to_owned());
    check(
        message(vec![(Check::Full, noted)]),
        &[
            (A::ConstraintsBroken, Warning, "NULL value in t.a"),
            (A::NotCheckable, Info, "its collation unicase"),
        ],
    );

    let pinned = |frames, seconds| {
        move |facts: &mut Facts| {
            let hold = |pid, frames| Hold {
                lock: Lock::WalRead(1),
                owner: LockOwner { pid: Some(pid), count: 1, process: None },
                first_seen_at: SystemTime::UNIX_EPOCH,
                held: Duration::from_secs(seconds),
                pinned_frames: Some(frames),
            };
            let holds = vec![hold(5, 10), hold(7, frames)];
            facts.known.locks = Some(Arc::new(Locks { view: LockView::Whole, holds, connected: None }));
            inside(facts).wal = Some(WalFrames { total: 4_000, checkpointed: 0, read_marks: [None; 5] });
        }
    };
    check(pinned(999, 60), &[]);
    let words = "pid 7 (not in /proc) pins 1,000 of 4,000 frames of the WAL. litekeeper locks '/srv/it'";
    check(pinned(1_000, 0), &[(A::WalPinned, Warning, words)]);
    check(pinned(1_000, 90), &[(A::WalPinned, Warning, "of the WAL and has done so for at least 1 min.")]);
}

#[test]
fn full_text_indexes() {
    let with_full_text = |found: TableStatistics| {
        move |facts: &mut Facts| {
            let (table_count, full_text) = (1, vec![("found".to_owned(), "Items".to_owned())]);
            inside(facts).schema =
                Ok(DatabaseSchema { tables: vec![found], table_count, has_statistics: true, full_text });
        }
    };
    check(with_full_text(table("items", &["id"], 5)), &[]);
    check(with_full_text(table("others", &["id"], 5)), &[]);
    let mut bare = table("items", &["id"], 5);
    bare.schema.primary_key.clear();
    check(with_full_text(bare.clone()), &[(A::UnstableRowIds, Warning, "found indexes the rows of items")]);
    // A primary key of another type than INTEGER is not the row id.
    bare.schema.primary_key = vec!["id".to_owned()];
    bare.schema.columns[0].declared = "INT".to_owned();
    check(with_full_text(bare), &[(A::UnstableRowIds, Warning, "")]);
}

/// The table in docs/DOCTOR.md as Markdown.
fn reference() -> String {
    let mut text = String::from("| id | severity | when | why it matters |\n|---|---|---|---|\n");
    for kind in FindingKind::ALL {
        let severities: Vec<&str> = kind.severities().iter().map(|severity| severity.label()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            kind.id(),
            severities.join(", "),
            kind.when(),
            kind.why()
        );
    }
    text
}

#[test]
fn the_document_lists_every_kind_of_finding() {
    let document = include_str!("../../docs/DOCTOR.md");
    assert!(document.contains(&reference()), "docs/DOCTOR.md is stale; its table must be\n{}", reference());
    let ids: std::collections::BTreeSet<_> = FindingKind::ALL.iter().map(|kind| kind.id()).collect();
    assert_eq!(ids.len(), FindingKind::ALL.len(), "names are unique");
}
