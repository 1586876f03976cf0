//! Files that are no healthy database: each gives its error, its metric and its log line, once.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::support::Agent;
use crate::support::SecondProcess;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("odd_files_are_down_with_their_reason", odd_files_are_down_with_their_reason),
        test("odd_names_are_watched", odd_names_are_watched),
        test("hostile_schemas_do_no_harm", hostile_schemas_do_no_harm),
        test("a_locked_database_keeps_its_values", a_locked_database_keeps_its_values),
        test("no_command_lets_a_name_act_on_the_terminal", no_command_lets_a_name_act_on_the_terminal),
        test("files_that_come_and_go_are_followed", files_that_come_and_go_are_followed),
        test_with_tool("a_hung_database_goes_stale_alone", tool("python3"), a_hung_database_goes_stale_alone),
    ]
}

/// An agent that sweeps and scans every second.
pub fn quick_agent(directory: &Path, databases: &str) -> Agent {
    let file = directory.join("quick.yml");
    let text = format!("sample_interval: 1s\ndiscovery_interval: 1s\ndatabases:\n{databases}");
    std::fs::write(&file, text).unwrap();
    let mut command = litekeeper();
    command.arg("serve").arg("--config").arg(file);
    Agent::start(command).ready()
}

fn healthy(path: &Path) {
    Connection::open(path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO items SELECT i, hex(randomblob(100)) FROM n",
        )
        .unwrap();
}

fn damage(path: &Path, at: u64, bytes: &[u8]) {
    use std::io::Seek as _;
    healthy(path);
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(std::io::SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Name, how it is made, the class of its error, and a part of its log line.
type Odd = (&'static str, fn(&Path), &'static str, &'static str);

const ODD: [Odd; 14] = [
    ("missing", |_| (), "SQLITE_CANTOPEN", "no such file"),
    (
        "directory",
        |path| std::fs::create_dir(path).unwrap(),
        "SQLITE_CANTOPEN",
        "a directory, not a database",
    ),
    (
        "pipe",
        |path| {
            let fixture = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(fixture.success());
        },
        "SQLITE_CANTOPEN",
        "a named pipe, not a database",
    ),
    (
        "dangling",
        |path| std::os::unix::fs::symlink("/nowhere", path).unwrap(),
        "SQLITE_CANTOPEN",
        "no such file",
    ),
    ("loop", |path| std::os::unix::fs::symlink(path, path).unwrap(), "SQLITE_CANTOPEN", "symbolic link"),
    ("empty", |path| std::fs::write(path, "").unwrap(), "other", "the file is empty"),
    ("text", |path| std::fs::write(path, "words ".repeat(999)).unwrap(), "other", "a text file"),
    (
        "sqlite2",
        |path| {
            let header = b"** This file contains an SQLite 2.1 database **";
            std::fs::write(path, [header as &[u8], &[0; 2000]].concat()).unwrap();
        },
        "other",
        "a database of SQLite 2",
    ),
    ("newer", |path| damage(path, 19, &[3]), "other", "needs version 3"),
    ("noise", |path| std::fs::write(path, noise()).unwrap(), "other", "looks encrypted"),
    ("magic", |path| damage(path, 0, b"SQLite format 2"), "SQLITE_NOTADB", "first 16 bytes"),
    ("pagesize", |path| damage(path, 16, &[0, 3]), "SQLITE_NOTADB", "pages of 3 bytes"),
    (
        "truncated",
        |path| {
            healthy(path);
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(3 * 4096).unwrap();
        },
        "SQLITE_CORRUPT",
        "malformed",
    ),
    (
        "header",
        |path| {
            healthy(path);
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
        },
        "SQLITE_",
        "cut off after 100 bytes",
    ),
];

fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..50_000).map(|_| next()).collect()
}

fn odd_files_are_down_with_their_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut databases = String::new();
    for (name, make, _, _) in ODD {
        let path = directory.path().join(format!("{name}.db"));
        make(&path);
        databases.push_str(&format!("  - path: {}\n", path.display()));
    }
    healthy(&directory.path().join("good.db"));
    databases.push_str("  - path: good.db\n");
    let agent = quick_agent(directory.path(), &databases);
    // Three sweeps later, each error was met three times and logged once.
    for (name, _, code, _) in ODD {
        eventually(&format!("{name}: three errors"), || {
            let scrape = agent.metrics();
            assert_eq!(scrape.value("sqlite_up", &[("db", name)]), Some(0.0), "{name}");
            let met: f64 = ["SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_IOERR", "other"]
                .into_iter()
                .filter(|label| label.starts_with(code))
                .filter_map(|label| scrape.value("sqlite_errors_total", &[("db", name), ("code", label)]))
                .sum();
            (met >= 3.0).then_some(())
        });
    }
    let scrape = agent.metrics();
    assert_eq!(scrape.value("sqlite_up", &[("db", "good")]), Some(1.0));
    assert_eq!(scrape.value("litekeeper_databases", &[("state", "down")]), Some(ODD.len() as f64));
    let log = agent.log();
    for (name, _, _, words) in ODD {
        let lines: Vec<&String> =
            log.iter().filter(|line| line.contains(&format!("\"db\":\"{name}\""))).collect();
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        assert!(lines[0].contains(words), "{name}: {}", lines[0]);
    }
    let page = agent.get("/").text();
    assert!(page.contains("a named pipe, not a database file"), "the page gives the reason");
}

fn odd_names_are_watched() {
    let directory = tempfile::tempdir().unwrap();
    let names: [&[u8]; 9] = [
        b"quote\"s.db",
        b"back\\slash.db",
        b"new\nline.db",
        b"bad\xff\xfeutf8.db",
        b"per%20cent.db",
        b"quest?ion#.db",
        b"space d.db",
        "snow\u{2603}.db".as_bytes(),
        b"<script>.db",
    ];
    for name in names {
        healthy(&directory.path().join(PathBuf::from(OsString::from_vec(name.to_vec()))));
    }
    let agent = Agent::serve(&[directory.path()]).ready();
    let scrape = agent.metrics();
    assert_eq!(scrape.count("sqlite_up", &[]), names.len());
    for name in
        ["quote\"s", "back\\slash", "new\nline", "per%20cent", "quest?ion#", "space d", "snow\u{2603}"]
    {
        assert_eq!(scrape.value("sqlite_up", &[("db", name)]), Some(1.0), "{name}");
    }
    assert_eq!(scrape.value("sqlite_up", &[("db", "bad\u{fffd}\u{fffd}utf8")]), Some(1.0));
    assert!(!agent.get("/").text().contains("<script>"), "the page escapes names");
}

/// Databases that are designed to harm a program that reads them.
const HOSTILE: [(&str, &str); 8] = [
    (
        "recursive_view",
        "CREATE VIEW items2 AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    ),
    ("view_of_itself", "CREATE VIEW a AS SELECT * FROM b; CREATE VIEW b AS SELECT * FROM a"),
    (
        "trigger",
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; INSERT INTO items SELECT NULL, 'x' FROM items; END",
    ),
    (
        "unknown_module",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nosuch(x)')",
    ),
    (
        "garbage_sql",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'g', 'g', 2, 'CREATE TABLE g (((((')",
    ),
    (
        "huge_sql",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'h', 'h', 2, 'CREATE TABLE h (a) --' || hex(zeroblob(15000000)))",
    ),
    ("huge_row", "INSERT INTO items VALUES (1000, zeroblob(100000000))"),
    (
        "slow_index",
        "CREATE TABLE s (a, b GENERATED ALWAYS AS (hex(zeroblob(1000000)) || hex(zeroblob(1000000))) VIRTUAL); INSERT INTO s (a) SELECT id FROM items",
    ),
];

fn hostile_schemas_do_no_harm() {
    const MEMORY_LIMIT_KIB: u64 = 400 * 1024;
    let directory = tempfile::tempdir().unwrap();
    for (name, sql) in HOSTILE {
        let path = directory.path().join(format!("{name}.db"));
        healthy(&path);
        let connection = Connection::open(&path).unwrap();
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
        connection.execute_batch(sql).unwrap();
    }
    healthy(&directory.path().join("good.db"));
    let agent = quick_agent(
        directory.path(),
        "  - directory: .\n    row_counts: all\n    table_interval: 1s\n    timestamps: [{table: items, column: text}]\n",
    );
    agent.until("sqlite_table_rows", &[("db", "good"), ("table", "items")], 500.0);
    agent.until("sqlite_table_rows", &[("db", "huge_row"), ("table", "items")], 501.0);
    let scrape = agent.metrics();
    for (name, _) in HOSTILE {
        assert_eq!(scrape.value("sqlite_up", &[("db", name)]), Some(1.0), "{name}: its first page is good");
        assert!(scrape.value("sqlite_pages", &[("db", name)]).is_some(), "{name}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok())
        .unwrap();
    assert!(peak < MEMORY_LIMIT_KIB, "the agent took {peak} KiB");
}

fn a_locked_database_keeps_its_values() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["locked", "early", "free"] {
        healthy(&directory.path().join(format!("{name}.db")));
    }
    let mut early = SecondProcess::open(&directory.path().join("early.db"));
    early.run("BEGIN EXCLUSIVE");
    let agent = quick_agent(directory.path(), "  - directory: .\n");
    let pages = agent.metrics().value("sqlite_pages", &[("db", "locked")]);
    assert!(pages.is_some());
    let mut owner = SecondProcess::open(&directory.path().join("locked.db"));
    // The pages of its transaction have reached the main file; before that, the last commit is still read without a lock.
    owner.run("PRAGMA cache_size = 1").run("BEGIN EXCLUSIVE");
    owner.run("INSERT INTO items (text) VALUES (hex(zeroblob(100000)))");
    let busy = |db: &'static str| {
        // A write from outside moves the file, so that the lock is met.
        let path = directory.path().join(format!("{db}.db"));
        let (agent, before) =
            (&agent, agent.metrics().value("sqlite_errors_total", &[("db", db), ("code", "SQLITE_BUSY")]));
        eventually("the lock is met", move || {
            std::fs::File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(std::time::SystemTime::now())
                .unwrap();
            let scrape = agent.metrics();
            (scrape.value("sqlite_errors_total", &[("db", db), ("code", "SQLITE_BUSY")]) > before)
                .then_some(scrape)
        })
    };
    let scrape = busy("locked");
    assert_eq!(scrape.value("sqlite_up", &[("db", "locked")]), Some(1.0));
    assert_eq!(scrape.value("sqlite_pages", &[("db", "locked")]), pages);
    assert_eq!(scrape.value("sqlite_up", &[("db", "free")]), Some(1.0));
    // Never read since it was found: neither up nor down.
    assert_eq!(scrape.value("sqlite_up", &[("db", "early")]), None);
    assert_eq!(scrape.value("litekeeper_databases", &[("state", "pending")]), Some(1.0));
    owner.run("COMMIT");
    early.run("ROLLBACK");
    agent.until("sqlite_up", &[("db", "early")], 1.0);
    eventually("the new pages are seen", || {
        (agent.metrics().value("sqlite_pages", &[("db", "locked")]) > pages).then_some(())
    });
}

fn files_that_come_and_go_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    healthy(&at("first.db"));
    let agent = quick_agent(directory.path(), "  - glob: '*.db'\n");
    assert_eq!(agent.metrics().count("sqlite_up", &[]), 1);
    healthy(&at("second.db"));
    agent.until("sqlite_up", &[("db", "second")], 1.0);
    healthy(&at("replacement"));
    std::fs::rename(at("replacement"), at("first.db")).unwrap();
    agent.until("sqlite_file_replaced_total", &[("db", "first")], 1.0);
    std::fs::remove_file(at("second.db")).unwrap();
    eventually("its series are gone", || (!agent.metrics().text.contains("db=\"second\"")).then_some(()));
    // Damaged in place, it is down and only its size remains; repaired, it is up again.
    let sound = std::fs::read(at("first.db")).unwrap();
    std::fs::write(at("first.db"), noise()).unwrap();
    let scrape = agent.until("sqlite_up", &[("db", "first")], 0.0);
    assert_eq!(scrape.value("sqlite_pages", &[("db", "first")]), None);
    assert_eq!(scrape.value("sqlite_file_size_bytes", &[("db", "first"), ("file", "main")]), Some(50_000.0));
    std::fs::write(at("first.db"), sound).unwrap();
    let scrape = agent.until("sqlite_up", &[("db", "first")], 1.0);
    assert!(scrape.value("sqlite_pages", &[("db", "first")]).is_some());
    eventually("the log tells that it is up", || {
        agent.log().iter().any(|line| line.contains("database is up again")).then_some(())
    });
}

/// A lease makes `open()` wait, for 45 s on most systems: as real a hang as a dead server's.
const LEASE: &str = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('leased', flush=True)
sys.stdin.read()
";

fn a_hung_database_goes_stale_alone(python: &str) {
    use std::io::BufRead as _;
    let directory = tempfile::tempdir().unwrap();
    for name in ["hung", "other"] {
        healthy(&directory.path().join(format!("{name}.db")));
    }
    let agent = quick_agent(directory.path(), "  - directory: .\n");
    let hung = directory.path().join("hung.db");
    let mut holder = std::process::Command::new(python)
        .args(["-c", LEASE])
        .arg(&hung)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 holds the lease");
    let mut line = String::new();
    std::io::BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "leased\n");
    // The files must have moved, or the look would not come to the open.
    rustix::fs::utimensat(
        rustix::fs::CWD,
        &hung,
        &rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 1 },
            last_modification: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 1 },
        },
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    eventually("the look is given up", || {
        let skipped = agent.metrics().value("litekeeper_samples_skipped_total", &[("reason", "stuck")]);
        (skipped >= Some(2.0)).then_some(())
    });
    let stale = agent.metrics().value("sqlite_sample_timestamp_seconds", &[("db", "hung")]);
    let fresh = agent.metrics().value("sqlite_sample_timestamp_seconds", &[("db", "other")]);
    eventually("the other is looked at meanwhile", || {
        let scrape = agent.metrics();
        assert_eq!(scrape.value("sqlite_sample_timestamp_seconds", &[("db", "hung")]), stale);
        (scrape.value("sqlite_sample_timestamp_seconds", &[("db", "other")]) > fresh).then_some(())
    });
    assert!(agent.get("/").text().contains("hangs in the file system"));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    eventually("it answers again", || {
        (agent.metrics().value("sqlite_sample_timestamp_seconds", &[("db", "hung")]) > stale).then_some(())
    });
}

/// Erases lines, prints a verdict of its own, and a second line.
const HIDING_NAME: &str = "\u{1b}[2K\u{1b}[1A\u{9b}0J\u{202e}x: healthy\n  full check  ok";

fn no_command_lets_a_name_act_on_the_terminal() {
    let fixture = crate::support::TestDatabase::new("evil").make();
    let name = HIDING_NAME;
    let schema = format!(
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, b); INSERT INTO logs (at, b) VALUES (1, 2);
         CREATE TABLE \"{name}\" (at INTEGER, b); CREATE INDEX \"i{name}\" ON logs (at); INSERT INTO logs (at) VALUES (3);
         CREATE TABLE \"p{name}\" (a PRIMARY KEY); CREATE TABLE \"c{name}\" (a REFERENCES \"p{name}\" (a));
         PRAGMA foreign_keys = OFF; INSERT INTO \"c{name}\" VALUES (7);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX \"i{name}\" ON logs (b)' WHERE type = 'index' AND name LIKE 'i%';"
    );
    fixture.connect().execute_batch(&schema).unwrap();
    let directory = fixture.directory();
    let backups = directory.join("backups");
    std::fs::create_dir(&backups).unwrap();
    let configuration = directory.join("evil.yml");
    let text = format!(
        "state: {}/state.db\ndatabases:\n  - path: {}\n    name: \"a\\e[2Jb\"\n    tasks:\n      health_check: {{}}\n      optimize: {{}}\n\
         \x20     backup: {{to: {}}}\n      log_cleaning: {{tables: [{{table: logs, column: at, retention: 1d}}]}}\n",
        directory.display(),
        fixture.path().display(),
        backups.display()
    );
    std::fs::write(&configuration, text).unwrap();
    let file = fixture.path().display().to_string();
    let configured = ["--config", configuration.to_str().unwrap()];
    let commands: [(&[&str], bool); 11] = [
        (&["check", &file], false),
        (&["check", "--by-table", &file], false),
        (&["check", "--json", &file], false),
        (&["doctor", &file], false),
        (&["locks", &file], false),
        (&["run", "health_check", "--dry-run"], true),
        (&["run", "health_check"], true),
        (&["run", "log_cleaning"], true),
        (&["run", "backup"], true),
        (&["schedule"], true),
        (&["history"], true),
    ];
    for (arguments, is_configured) in commands {
        let mut command = litekeeper();
        command.args(arguments);
        if is_configured {
            command.args(configured);
        }
        let output = command.output().unwrap();
        let shown = format!(
            "{}{}",
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap()
        );
        assert!(!shown.trim().is_empty(), "{arguments:?} printed nothing");
        for character in ['\u{1b}', '\u{9b}', '\u{202e}'] {
            assert!(!shown.contains(character), "{arguments:?} let {character:?} pass:\n{shown:?}");
        }
        assert!(!shown.lines().any(|line| line.starts_with("  full check  ok")), "{arguments:?}:\n{shown}");
    }
}
