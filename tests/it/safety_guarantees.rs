//! The promises of *first, do no harm*: nothing beside a database changes, and no lock is lost.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use libtest_mimic::Trial;
use litekeeper::internals::collectors::CollectOutcome;
use litekeeper::internals::collectors::collect_tables;
use litekeeper::internals::collectors::sample_database;
use litekeeper::internals::config::DatabaseSettings;
use litekeeper::internals::config::TimestampColumn;
use litekeeper::internals::config::TimestampFormat;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use litekeeper::internals::health_report::CheckProgress;
use litekeeper::internals::health_report::Report;
use litekeeper::internals::health_report::Request;
use litekeeper::internals::health_report::report;
use litekeeper::internals::limits::QueryLimits;
use rusqlite::Connection;

use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("looking_drops_no_lock_of_this_process", looking_drops_no_lock_of_this_process),
        test("looking_drops_no_lock_of_another_process", looking_drops_no_lock_of_another_process),
        test("nothing_beside_a_database_changes", nothing_beside_a_database_changes),
        test("owners_and_modes_of_companion_files_stay", owners_and_modes_of_companion_files_stay),
        test("an_owner_that_comes_and_goes_is_not_disturbed", an_owner_that_comes_and_goes_is_not_disturbed),
        test("wal_frames_are_what_sqlite_says", wal_frames_are_what_sqlite_says),
        test("a_huge_schema_is_parsed_once", a_huge_schema_is_parsed_once),
    ]
}

/// Nobody watches the progress.
#[derive(Clone)]
pub struct Silent;

impl CheckProgress for Silent {
    fn begin(&self, _check: &'static str) {}
    fn done(&self, _share: f64) {}
}

pub fn database(path: &Path) -> Database {
    let settings = DatabaseSettings {
        row_counts: vec!["*".to_owned()],
        timestamps: vec![TimestampColumn {
            table: "items".to_owned(),
            column: "text".to_owned(),
            format: TimestampFormat::Auto,
        }],
        ..DatabaseSettings::default()
    };
    Database::new(DatabaseName::new("db"), path.to_path_buf(), Arc::new(settings), 500)
}

pub fn checked(path: &Path) -> Report {
    let limits = QueryLimits {
        busy_timeout: std::time::Duration::ZERO,
        ..QueryLimits::with_timeout(std::time::Duration::from_secs(60))
    };
    report(
        &Request {
            path: path.to_path_buf(),
            rows: vec!["items".to_owned()],
            checks: vec![litekeeper::internals::sqlite::Check::Full],
            by_table: false,
            impact_limits: None,
            limits,
        },
        &Silent,
    )
}

/// Everything that litekeeper does with a database.
fn look_in_every_way(path: &Path) {
    let database = database(path);
    let _ = sample_database(&database, None);
    let _ = collect_tables(&database);
    let _ = checked(path);
}

/// Locks on a file as the kernel lists them: kind, pid, range.
fn locks_on(path: &Path) -> Vec<String> {
    let inode = std::fs::metadata(path).unwrap().ino();
    std::fs::read_to_string("/proc/locks")
        .unwrap()
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let file = words.get(5)?;
            (file.rsplit(':').next()? == inode.to_string())
                .then(|| format!("{} {} {}-{}", words[3], words[4], words[6], words[7]))
        })
        .collect()
}

fn looking_drops_no_lock_of_this_process() {
    // One open() and close() of the file by this process would drop these; see the control below.
    let fixture = TestDatabase::new("own").rows(10).make();
    let connection = fixture.connect();
    connection.execute_batch("BEGIN IMMEDIATE; UPDATE items SET text = 'x' WHERE id = 1").unwrap();
    // The kernel may leave a line out of a list that changes while it is read. A lock that was dropped does not come back.
    let before = eventually("two lists agree", || {
        let list = locks_on(&fixture.path());
        (!list.is_empty() && list == locks_on(&fixture.path())).then_some(list)
    });
    for _ in 0..50 {
        look_in_every_way(&fixture.path());
    }
    eventually("the same locks", || (locks_on(&fixture.path()) == before).then_some(()));
    drop(std::fs::File::open(fixture.path()).unwrap());
    assert!(locks_on(&fixture.path()).is_empty(), "the control: a plain open and close drops them");
}

fn looking_drops_no_lock_of_another_process() {
    for (wal, sql) in [
        (false, "BEGIN IMMEDIATE"),
        (false, "BEGIN; SELECT * FROM items"),
        (false, "BEGIN EXCLUSIVE"),
        (true, "BEGIN IMMEDIATE; INSERT INTO items VALUES (900, 'x')"),
        (true, "BEGIN; SELECT * FROM items"),
    ] {
        let fixture = TestDatabase::new("other").rows(10);
        let fixture = if wal { fixture.wal().make() } else { fixture.make() };
        let mut other = SecondProcess::open(&fixture.path());
        other.run("SELECT count(*) FROM items").run(sql);
        let shm = PathBuf::from(format!("{}-shm", fixture.path().display()));
        let locks = || {
            let mut locks = locks_on(&fixture.path());
            if wal {
                locks.extend(locks_on(&shm));
            }
            locks
        };
        // The kernel may leave a line out of a list that changes while it is read.
        let before = eventually("two lists agree", || {
            let list = locks();
            (!list.is_empty() && list == locks()).then_some(list)
        });
        assert!(before.iter().any(|lock| lock.contains(&other.pid().to_string())), "{sql}: {before:?}");
        for _ in 0..20 {
            look_in_every_way(&fixture.path());
        }
        eventually(&format!("wal {wal}, {sql}: the same locks"), || (locks() == before).then_some(()));
        other.run("COMMIT");
    }
}

/// All that can be seen of a directory's files from outside.
fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let describe = |path: &Path| {
        let file = std::fs::symlink_metadata(path).unwrap();
        format!(
            "inode {} size {} mode {:o} owner {}:{} mtime {}.{}",
            file.ino(),
            file.size(),
            file.mode(),
            file.uid(),
            file.gid(),
            file.mtime(),
            file.mtime_nsec()
        )
    };
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), describe(&path))).collect()
}

/// What a state of a database's files is called, how it is made, and the rows that a look must see.
type State = (&'static str, fn(&Path) -> Option<SecondProcess>, Option<i64>);

fn wal_writer(path: &Path) -> SecondProcess {
    let mut owner = SecondProcess::open(path);
    owner.run("PRAGMA journal_mode = WAL").run("PRAGMA wal_autocheckpoint = 0");
    owner.run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)");
    owner.run("INSERT INTO items VALUES (1, '2026-11-24'), (2, '2026-11-25')");
    owner
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

const STATES: [State; 10] = [
    ("WAL with a live owner", |path| Some(wal_writer(path)), Some(2)),
    (
        "WAL left by a killed owner",
        |path| {
            wal_writer(path).kill();
            None
        },
        Some(2),
    ),
    (
        "WAL without its shared memory",
        |path| {
            wal_writer(path).kill();
            std::fs::remove_file(companion(path, "-shm")).unwrap();
            None
        },
        Some(2),
    ),
    (
        "WAL at rest",
        |path| {
            drop(wal_writer(path));
            assert!(!companion(path, "-wal").exists());
            None
        },
        Some(2),
    ),
    (
        "WAL at rest with an empty WAL",
        |path| {
            drop(wal_writer(path));
            std::fs::write(companion(path, "-wal"), "").unwrap();
            None
        },
        Some(2),
    ),
    (
        "empty main file beside a WAL, which SQLite would delete",
        |path| {
            wal_writer(path).kill();
            std::fs::remove_file(companion(path, "-shm")).unwrap();
            std::fs::write(path, "").unwrap();
            None
        },
        None,
    ),
    (
        "empty main file beside a journal, which SQLite would delete",
        |path| {
            std::fs::write(path, "").unwrap();
            std::fs::write(companion(path, "-journal"), "something").unwrap();
            None
        },
        None,
    ),
    (
        "rollback at rest",
        |path| {
            Connection::open(path).unwrap().execute_batch("CREATE TABLE items (id, text)").unwrap();
            None
        },
        Some(0),
    ),
    (
        "hot journal of a killed writer",
        |path| {
            spilling_writer(path).kill();
            assert!(companion(path, "-journal").exists());
            None
        },
        None,
    ),
    ("rollback writer at work", |path| Some(spilling_writer(path)), None),
];

/// A writer whose open transaction has reached the file.
fn spilling_writer(path: &Path) -> SecondProcess {
    let mut writer = SecondProcess::open(path);
    writer
        .run("PRAGMA cache_size = 5")
        .run("CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)")
        .run("BEGIN");
    writer.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
         INSERT INTO items SELECT i, hex(randomblob(200)) FROM n",
    );
    writer
}

fn nothing_beside_a_database_changes() {
    for (state, make, rows) in STATES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let owner = make(&path);
        let before = listing(directory.path());
        for _ in 0..3 {
            look_in_every_way(&path);
        }
        assert_eq!(listing(directory.path()), before, "{state}");
        let counted = checked(&path).rows.first().and_then(|rows| rows.rows);
        assert_eq!(counted, rows, "{state}: {:?}", checked(&path));
        let open: Vec<PathBuf> = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.starts_with(directory.path()))
            .collect();
        assert_eq!(open, Vec::<PathBuf>::new(), "{state}: no descriptor is kept");
        drop(owner);
    }
}

/// As root, SQLite gives a `-shm` to the main file's owner and may change an empty one's mode; we must not.
fn owners_and_modes_of_companion_files_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("owned.db");
    wal_writer(&path).kill();
    let shm = companion(&path, "-shm");
    std::fs::write(&shm, "").unwrap();
    std::fs::set_permissions(&shm, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Only root can give a file away; elsewhere the mode alone is tried.
    let _ = std::os::unix::fs::chown(&shm, Some(1234), Some(1234));
    let before = listing(directory.path());
    look_in_every_way(&path);
    assert_eq!(listing(directory.path()), before);
}

fn an_owner_that_comes_and_goes_is_not_disturbed() {
    const TURNS: i64 = 300;
    let fixture = TestDatabase::new("visited").wal().rows(10).make();
    let mut owner = SecondProcess::open(&fixture.path());
    let owner = std::thread::spawn(move || {
        for _ in 0..TURNS {
            owner.run("INSERT INTO items (text) VALUES ('one more')").reopen();
        }
    });
    let database = database(&fixture.path());
    while !owner.is_finished() {
        if let CollectOutcome::Down(reason) = sample_database(&database, None).outcome {
            panic!("a database in use is not down: {reason}");
        }
    }
    owner.join().unwrap();
    let connection = fixture.connect();
    let verdict: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM items", (), |row| row.get(0)).unwrap();
    assert_eq!((verdict.as_str(), rows), ("ok", 10 + TURNS));
    drop(connection);
    let left = std::fs::read_dir(fixture.directory()).unwrap().count();
    assert_eq!(left, 1, "the owner's last close left the file alone");
}

fn wal_frames_are_what_sqlite_says() {
    let fixture = TestDatabase::new("wal").wal().make();
    let owner = fixture.connect();
    owner.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    for round in 0..3 {
        owner.execute_batch("INSERT INTO items (text) VALUES (hex(randomblob(3000))), ('x')").unwrap();
        if round == 1 {
            owner.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        }
        let noop =
            owner.query_row("PRAGMA wal_checkpoint(NOOP)", (), |row| Ok((row.get(1)?, row.get(2)?))).unwrap();
        let CollectOutcome::Up(facts) = sample_database(&database(&fixture.path()), None).outcome else {
            panic!("not up")
        };
        let wal = facts.wal.expect("a WAL database has frames");
        assert_eq!((wal.total, wal.checkpointed), noop, "round {round}");
        let pages: u32 = owner.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
        assert_eq!(facts.header.pages, pages);
    }
}

fn a_huge_schema_is_parsed_once() {
    use litekeeper::internals::collectors::DatabaseFacts;
    use litekeeper::internals::collectors::PreviousCollection;
    use litekeeper::internals::sqlite::SchemaObjects;
    let tables_of = |facts: &DatabaseFacts| facts.readings.get::<SchemaObjects>().unwrap().tables;
    let tables: String = (0..2_000).map(|index| format!("CREATE TABLE t{index} (a, b);")).collect();
    let fixture = TestDatabase::new("schema").sql(&format!("BEGIN; {tables} COMMIT;")).make();
    let database = database(&fixture.path());
    let first = sample_database(&database, None);
    let CollectOutcome::Up(facts) = first.outcome else { panic!("not up") };
    assert_eq!(tables_of(&facts), 2_001);
    // The second look takes the first's count for the same schema cookie: planted, so that a new count would show.
    let mut planted = (*facts).clone();
    let objects = SchemaObjects { tables: 7, ..*planted.readings.get().unwrap() };
    planted.readings.set("schema", 0, Some(Arc::new(objects)));
    let previous = PreviousCollection {
        stamp: None,
        taken_at: first.taken_at,
        collected_at: std::time::Instant::now(),
        file: first.stamp.and_then(|stamp| stamp.main).map(|main| main.identity()),
        facts: Arc::new(planted),
    };
    let CollectOutcome::Up(again) = sample_database(&database, Some(&previous)).outcome else {
        panic!("not up")
    };
    assert_eq!(tables_of(&again), 7);
    fixture.connect().execute_batch("CREATE TABLE one_more (a)").unwrap();
    let CollectOutcome::Up(changed) = sample_database(&database, Some(&previous)).outcome else {
        panic!("not up")
    };
    assert_eq!(tables_of(&changed), 2_002);
    // Another file that is renamed over this one has the same cookie, and is read anew.
    let cookie: u32 = fixture.connect().query_row("PRAGMA schema_version", (), |row| row.get(0)).unwrap();
    let sql = format!("CREATE TABLE t (a); PRAGMA schema_version = {cookie}");
    let other = TestDatabase::new("schema").sql(&sql).make();
    std::fs::rename(other.path(), fixture.path()).unwrap();
    let previous = PreviousCollection { facts: Arc::new((*facts).clone()), ..previous };
    let CollectOutcome::Up(replaced) = sample_database(&database, Some(&previous)).outcome else {
        panic!("not up")
    };
    assert_eq!(tables_of(&replaced), 2);
}
