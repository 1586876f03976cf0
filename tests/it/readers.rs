//! Tasks that only read, beside applications that write all the time: what these notice, and that there is a verdict.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::number;
use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test_with_tool(
            "applications_commit_beside_tasks_that_read",
            tool("python3"),
            applications_commit_beside_tasks_that_read,
        ),
        test_with_tool(
            "without_space_for_a_copy_a_check_goes_table_by_table",
            tool("python3"),
            without_space_for_a_copy_a_check_goes_table_by_table,
        ),
        test_with_tool("a_large_table_gets_its_verdict", tool("python3"), a_large_table_gets_its_verdict),
        test("tasks_that_read_take_no_lock_beside_an_owner_at_rest", no_lock_beside_an_owner_at_rest),
        test("damage_is_found_beside_a_writer", damage_is_found_beside_a_writer),
    ]
}

/// Writes a pair of rows in each transaction, one every 5 ms, until its input ends; then says how many were done and refused.
const APPLICATION: &str = "
import sqlite3, sys, threading, time
path, timeout, journal, synchronous = sys.argv[1:]
connection = sqlite3.connect(path, timeout=float(timeout), isolation_level=None)
connection.execute(f'PRAGMA journal_mode = {journal}')
connection.execute(f'PRAGMA synchronous = {synchronous}')
done = refused = 0
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
while not stop.is_set():
    try:
        connection.execute('BEGIN')
        connection.execute('INSERT INTO one DEFAULT VALUES')
        connection.execute('INSERT INTO two SELECT max(id), hex(randomblob(20)) FROM one')
        connection.execute('UPDATE near SET n = n + 1')
        connection.execute('UPDATE far SET n = n + 1')
        connection.execute('COMMIT')
        done += 1
    except sqlite3.OperationalError:
        refused += 1
        if connection.in_transaction:
            connection.execute('ROLLBACK')
    if done == 10:
        print('at work', flush=True)
    time.sleep(.005)
print(done, refused, flush=True)
";

/// How an application uses its database.
struct Application {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Application {
    fn start(python: &str, fixture: &TestDatabase, kind: &[&str; 3]) -> Self {
        let mut child = Command::new(python)
            .args(["-c", APPLICATION, &fixture.path().display().to_string()])
            .args(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        Self { child, output }
    }

    /// The transactions that were done, and those refused.
    fn end(mut self) -> (f64, f64) {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        let (done, refused) = text.lines().last().unwrap().split_once(' ').unwrap();
        (done.parse().unwrap(), refused.parse().unwrap())
    }
}

/// One table that takes longer to be read than an application of 5 ms leaves time for.
fn large() -> TestDatabase {
    TestDatabase::new("app")
        .sql(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX logs_at ON logs (at);
             CREATE TABLE one (id INTEGER PRIMARY KEY); CREATE TABLE two (id INTEGER PRIMARY KEY, text TEXT UNIQUE);
             CREATE TABLE near (n); INSERT INTO near VALUES (0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
             INSERT INTO logs SELECT i, abs(random()), hex(randomblob(30)) FROM n;
             CREATE TABLE far (n); INSERT INTO far VALUES (0);",
        )
        .make()
}

fn run_with(task: &str, config: &str, environment: &[(&str, &str)]) -> Value {
    let mut command = litekeeper();
    command.args(["run", task, "--config", config, "--json", "--log.level", "error"]);
    command.envs(environment.iter().copied());
    let output = Output::from(command);
    let document: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", output.stdout, output.stderr));
    document["runs"][0].clone()
}

fn hold(run: &Value) -> f64 {
    run["details"]["max_write_hold_seconds"].as_f64().unwrap()
}

/// The backups without their manifests.
fn backups(fixture: &TestDatabase) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixture.directory().join("backups")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_none_or(|extension| extension != "manifest")).collect()
}

fn applications_commit_beside_tasks_that_read(python: &str) {
    // A debug build hashes slowly, on a busy machine.
    const TASKS: &str = "{health_check: {max_writer_wait: 3s}, backup: {to: backups, min_free_space: 0, max_writer_wait: 3s}}";
    let mut was_held = false;
    for journal in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL"] {
        for (timeout, synchronous) in [("0", "FULL"), ("0", "OFF"), ("30", "FULL")] {
            for task in ["health_check", "backup"] {
                let attempt = || {
                    let fixture = large();
                    std::fs::create_dir(fixture.directory().join("backups")).unwrap();
                    let config = configure(&fixture, TASKS);
                    let application = Application::start(python, &fixture, &[timeout, journal, synchronous]);
                    let ran = run_with(task, &config, &[]);
                    let (done, refused) = application.end();
                    let case =
                        format!("{task}, {journal}, timeout {timeout}, {synchronous}: {done} and {refused}");
                    assert_eq!(ran["outcome"], "success", "{case}: {ran:#}");
                    (fixture, ran, done, refused, case)
                };
                // A lock for the length of the task refuses nearly all of them, each time; what a machine under load
                // adds does not come three times in a row.
                let may_refuse = timeout == "0" && journal != "WAL";
                let is_refused = |done: f64, refused: f64| {
                    refused > if may_refuse { 2.0 + 0.3 * (done + refused) } else { 0.0 }
                };
                let mut attempted = attempt();
                for _ in 0..2 {
                    if may_refuse && is_refused(attempted.2, attempted.3) {
                        attempted = attempt();
                    }
                }
                let (fixture, ran, done, refused, case) = attempted;
                assert!(!is_refused(done, refused), "{case}: {ran:#}");
                assert!(journal != "WAL" || hold(&ran) == 0.0, "{case}: {ran:#}");
                was_held |= hold(&ran) > 0.0;
                if task == "health_check" {
                    let verdict = &ran["details"]["health_check"]["verdicts"][0];
                    assert!(verdict["ok"] == true && verdict["whole"] == true, "{case}: {ran:#}");
                    continue;
                }
                let [backup] = backups(&fixture).try_into().unwrap();
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                let copy =
                    Connection::open_with_flags(format!("file:{}?immutable=1", backup.display()), flags)
                        .unwrap();
                let (one, two) =
                    (number(&copy, "SELECT count(*) FROM one"), number(&copy, "SELECT count(*) FROM two"));
                assert!(
                    one == two && one > 0,
                    "a transaction is in it whole or not at all: {case}: {one}, {two}"
                );
                // They are at both ends of the file.
                let (near, far) = (number(&copy, "SELECT n FROM near"), number(&copy, "SELECT n FROM far"));
                assert!(near == far && near > 0, "the copy is of several moments: {case}: {near}, {far}");
                assert_eq!(number(&copy, "SELECT count(*) FROM logs"), 60_000, "{case}");
                assert_eq!(ran["details"]["backup"]["not_compared"].as_array().unwrap().len(), 0, "{case}");
            }
        }
    }
    assert!(was_held, "a lock that is held is published");
}

/// The last resort holds SQLite's lock for no longer than it may, whether or not somebody is seen to wait.
fn without_space_for_a_copy_a_check_goes_table_by_table(python: &str) {
    const NO_SPACE: [(&str, &str); 1] = [("SQLITE_TMPDIR", "/proc")];
    for (max_writer_wait, timeout, ends) in [("2s", "0", true), ("2s", "30", true), ("5ms", "30", false)] {
        let fixture = large();
        let config =
            configure(&fixture, &format!("{{health_check: {{max_writer_wait: {max_writer_wait}}}}}"));
        let application = Application::start(python, &fixture, &[timeout, "DELETE", "FULL"]);
        let ran = run_with("health_check", &config, &NO_SPACE);
        let (_, refused) = application.end();
        if timeout != "0" {
            assert_eq!(refused, 0.0, "{ran:#}");
        }
        if ends {
            assert_eq!(ran["outcome"], "success", "{ran:#}");
            assert!(hold(&ran) > 0.0, "{ran:#}");
        } else {
            // Not a timeout: it says which table is too large, and why there was no copy.
            assert_eq!(ran["reason"], "busy", "{ran:#}");
            let words = ran["message"].as_str().unwrap();
            assert!(["logs", "max_writer_wait", "/proc"].iter().all(|word| words.contains(word)), "{words}");
        }
    }
}

/// A table that is too large for the lock of a copy, and for a lock of its own, gets its verdict all the same.
fn a_large_table_gets_its_verdict(python: &str) {
    for timeout in ["0", "30"] {
        let fixture = large();
        // A debug build needs longer than five times this for the lock of a copy.
        let config = configure(&fixture, "{health_check: {max_writer_wait: 10ms}}");
        let application = Application::start(python, &fixture, &[timeout, "DELETE", "FULL"]);
        let ran = run_with("health_check", &config, &[]);
        let (_, refused) = application.end();
        assert!(timeout == "0" || refused == 0.0, "{ran:#}");
        let verdicts = ran["details"]["health_check"]["verdicts"].as_array().unwrap();
        assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict["ok"] == true), "{ran:#}");
        let tables_left = ran["message"].as_str().unwrap_or_default();
        assert!(!tables_left.contains("logs"), "{ran:#}");
    }
}

/// What the alert on long holds must not see: a task that read for long while nobody wrote.
fn no_lock_beside_an_owner_at_rest() {
    const TASKS: &str = "{health_check: {max_writer_wait: 5ms}, backup: {to: backups, min_free_space: 0, max_writer_wait: 5ms}}";
    let fixture = large();
    std::fs::create_dir(fixture.directory().join("backups")).unwrap();
    let config = configure(&fixture, TASKS);
    let mut owner = SecondProcess::open(&fixture.path());
    for (state, sql) in [
        ("connected", "INSERT INTO one DEFAULT VALUES"),
        ("in a read transaction", "BEGIN; SELECT count(*) FROM one"),
        (
            "in a write transaction that nobody has committed",
            "COMMIT; BEGIN IMMEDIATE; INSERT INTO one VALUES (99)",
        ),
    ] {
        owner.run(sql);
        for task in ["health_check", "backup"] {
            let ran = run_with(task, &config, &[]);
            assert_eq!(ran["outcome"], "success", "{task}, {state}: {ran:#}");
            assert_eq!(hold(&ran), 0.0, "{task}, {state}: {ran:#}");
            if task == "health_check" {
                assert_eq!(ran["details"]["health_check"]["verdicts"][0]["whole"], true, "{state}: {ran:#}");
            }
        }
    }
    owner.run("COMMIT");
    for backup in backups(&fixture) {
        let copy = Connection::open(backup).unwrap();
        assert_eq!(number(&copy, "SELECT count(*) FROM one WHERE id = 99"), 0, "it was not committed");
    }
}

/// A verdict on the private copy is one on the database.
fn damage_is_found_beside_a_writer() {
    let fixture = large();
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX logs_at ON logs (id)' WHERE name = 'logs_at'; \
         PRAGMA writable_schema = RESET",
    );
    let config = configure(&fixture, "{health_check: {max_writer_wait: 1s}}");
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().display().to_string();
    let over = std::sync::atomic::AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                owner.run("INSERT INTO one DEFAULT VALUES");
            }
        });
        let ran = run_with("health_check", &config, &[("SQLITE_TMPDIR", &directory)]);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        ran
    });
    assert_eq!(ran["reason"], "corrupt", "{ran:#}");
    assert!(ran["message"].as_str().unwrap().contains("logs_at"), "{ran:#}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is left of the copy");
}
