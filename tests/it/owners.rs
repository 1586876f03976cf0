//! Applications beside which litekeeper writes: what they notice, with and without a busy timeout.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::maintenance::number;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test_with_tool(
            "an_application_without_a_busy_timeout_is_hardly_ever_refused",
            tool("python3"),
            an_application_without_a_busy_timeout_is_hardly_ever_refused,
        ),
        test("a_full_vacuum_has_a_bound", a_full_vacuum_has_a_bound),
    ]
}

/// Writes a row every 5 ms until a line comes, and then says how many writes were done and how many refused.
const APPLICATION: &str = "
import sqlite3, sys, threading, time
connection = sqlite3.connect(sys.argv[1], timeout=float(sys.argv[2]), isolation_level=None)
done = refused = 0
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
while not stop.is_set():
    try:
        connection.execute('INSERT INTO beat DEFAULT VALUES')
        done += 1
    except sqlite3.OperationalError:
        refused += 1
    if done + refused == 100:
        print('at work', flush=True)
    time.sleep(.005)
print(done, refused, flush=True)
";

fn application(
    python: &str,
    fixture: &TestDatabase,
    timeout: u32,
) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(python)
        .args(["-c", APPLICATION, &fixture.path().display().to_string(), &timeout.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    (child, output)
}

/// Tells the application to stop; its writes that were done, and those refused.
fn counts((mut child, mut output): (Child, BufReader<std::process::ChildStdout>)) -> (f64, f64) {
    drop(child.stdin.take());
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let (done, refused) = text.trim().split_once(' ').unwrap();
    (done.parse().unwrap(), refused.parse().unwrap())
}

fn configure(fixture: &TestDatabase, settings: &str, tasks: &str) -> String {
    let file = fixture.directory().join("litekeeper.yml");
    let text = format!(
        "state: state.sqlite\ndatabases:\n  - path: app.db\n    name: app\n{settings}    tasks: {tasks}\n"
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn run(task: &str, config: &str, more: &[&str]) -> Value {
    let arguments = [&["run", task, "--config", config, "--json", "--log.level", "error"], more].concat();
    let output = Output::of(&arguments);
    let document: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", output.stdout, output.stderr));
    document["runs"][0].clone()
}

fn an_application_without_a_busy_timeout_is_hardly_ever_refused(python: &str) {
    const TASKS: &str = "{vacuum: {min_reclaimable: {bytes: 1, ratio: 0}}, \
        log_cleaning: {tables: [{table: logs, column: at, retention: 90d}]}}";
    for wal in [true, false] {
        for task in ["log_cleaning", "vacuum"] {
            // In rollback mode fewer rows: most of a hold is the disk's, and each is paid for.
            let rows = if wal { 20_000 } else { 3_000 };
            for (timeout, settings, most) in [
                // Less than 0.01 and 0.05 are promised, and 0.4 to 0.7 is what holds cost that come at any time; a busy
                // machine may be late.
                (0, "", if wal { 0.08 } else { 0.2 }),
                (5, "    owner_busy_timeout: 5s\n", 0.0),
                (5, "", 0.0),
            ] {
                // What a machine under load adds does not come three times in a row.
                let tries = if timeout == 0 { 3 } else { 1 };
                let attempt = || {
                    let fixture = TestDatabase::new("app")
                    .sql(&format!(
                        "PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA journal_mode = {};
                         CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER, text TEXT); CREATE INDEX i ON logs (at);
                         CREATE TABLE beat (id INTEGER PRIMARY KEY); CREATE TABLE gone (a);
                         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                         INSERT INTO logs (at, text) SELECT unixepoch() - 100 * 86400 + i, hex(zeroblob(60)) FROM n;
                         INSERT INTO logs (at) VALUES (unixepoch());
                         INSERT INTO gone SELECT zeroblob(1000) FROM logs LIMIT 2000; DROP TABLE gone;",
                        if wal { "WAL" } else { "DELETE" }
                    ))
                    .make();
                    let config = configure(&fixture, settings, TASKS);
                    let application = application(python, &fixture, timeout);
                    let ran = run(task, &config, &[]);
                    let (done, refused) = counts(application);
                    let case =
                        format!("{task}, WAL {wal}, timeout {timeout}, {settings:?}: {done} and {refused}");
                    assert_eq!(ran["outcome"], "success", "{case}: {ran:#}");
                    let connection = fixture.connect();
                    if task == "vacuum" {
                        let left = number(&connection, "PRAGMA freelist_count");
                        assert!(left < 20, "{case}: {left} pages are free: {ran:#}");
                    } else {
                        assert_eq!(number(&connection, "SELECT count(*) FROM logs"), 1, "{case}");
                    }
                    (refused > 2.0 + most * (done + refused)).then(|| format!("{case}: {ran:#}"))
                };
                let refusals: Vec<String> = (0..tries).map_while(|_| attempt()).collect();
                assert!(refusals.len() < tries, "{refusals:#?}");
            }
        }
    }
}

fn a_full_vacuum_has_a_bound() {
    let fixture = TestDatabase::new("app")
        .sql(
            "CREATE TABLE kept (a); CREATE TABLE gone (a);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO kept SELECT zeroblob(1000) FROM n;
             INSERT INTO gone SELECT a FROM kept; DROP TABLE gone;",
        )
        .make();
    let size = || std::fs::metadata(fixture.path()).unwrap().len();
    let before = size();
    for (settings, bound, runs) in [
        ("", "max_lock_hold: 10ms, ", false),
        ("    owner_busy_timeout: 10ms\n", "", false),
        ("    owner_busy_timeout: 10ms\n", "max_lock_hold: 1m, ", true),
    ] {
        let tasks =
            format!("{{vacuum: {{{bound}min_reclaimable: {{bytes: 1, ratio: 0}}, min_free_space: 0}}}}");
        let config = configure(&fixture, settings, &tasks);
        let forecast = run("vacuum", &config, &["--dry-run"])["forecast"].clone();
        let refusal = forecast["would_not_run"].as_str().map(str::to_owned);
        assert_eq!(refusal.is_none(), runs, "{bound}: {forecast:#}");
        let words = forecast["owner"].as_str().unwrap();
        assert!(words.contains("owner_busy_timeout"), "{words}");
        let ran = run("vacuum", &config, &[]);
        if runs {
            assert_eq!(ran["outcome"], "success", "{ran:#}");
            assert!(size() < before);
        } else {
            assert_eq!(
                (&ran["outcome"], &ran["reason"]),
                (&"skipped".into(), &"outside_window".into()),
                "{ran:#}"
            );
            assert_eq!(ran["message"].as_str(), refusal.as_deref(), "the dry run's promise");
            let words = refusal.unwrap();
            assert!(
                ["max_lock_hold", "window", "convert_auto_vacuum"].iter().all(|way| words.contains(way)),
                "{words}"
            );
            assert_eq!(size(), before);
        }
    }
}
