//! Owners that lost their POSIX locks, or a file of their database, beside the real binary.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    let with_python = |name: &str, body: fn()| test_with_tool(name, tool("python3"), move |_: &str| body());
    vec![
        with_python(
            "an_owner_that_lost_its_locks_keeps_its_commits",
            an_owner_that_lost_its_locks_keeps_its_commits,
        ),
        with_python("lost_locks_are_shown_everywhere", lost_locks_are_shown_everywhere),
        with_python("the_runbook_rescues_what_was_committed", the_runbook_rescues_what_was_committed),
        with_python("a_mapped_sqlite_with_the_bug_counts", a_mapped_sqlite_with_the_bug_counts),
    ]
}

/// An owner that does what it reads: Python, line by line.
const OWNER: &str = "
import os, sqlite3, sys
p = sys.argv[1]
o = sqlite3.connect(p, isolation_level=None)
o.execute('pragma journal_mode=wal'); o.execute('create table t(x)')
o.execute('create table junk(x)'); o.execute('insert into junk select zeroblob(2000000)'); o.execute('drop table junk')
print('ready', flush=True)
for line in sys.stdin:
    exec(line)
    print('done', flush=True)
";

struct Owner(Child, ChildStdin, BufReader<ChildStdout>);

impl Owner {
    fn begin(path: &std::path::Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", OWNER])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut owner = Self(child, input, output);
        owner.answers("ready\n");
        owner
    }

    fn answers(&mut self, expected: &str) {
        let mut line = String::new();
        self.2.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }

    fn does(&mut self, line: &str) {
        writeln!(self.1, "{line}").unwrap();
        self.answers("done\n");
    }
}

fn an_owner_that_lost_its_locks_keeps_its_commits() {
    const COPIES_BOTH: &str = "open(p, 'rb').close(); open(p + '-shm', 'rb').close()";
    const UNLINKED: &str = "o.execute('insert into t values (1)'); os.unlink(p + '-wal')";
    const SOUND: &str = "pass";
    for (name, harm, task, reason) in [
        ("main", COPIES_MAIN, "vacuum", Some("owner_lost_locks")),
        ("main", COPIES_MAIN, "checkpoint", Some("owner_lost_locks")),
        ("main and -shm", COPIES_BOTH, "vacuum", Some("owner_lost_locks")),
        ("main and -shm", COPIES_BOTH, "checkpoint", Some("owner_lost_locks")),
        ("main", COPIES_MAIN, "backup", None),
        ("main", COPIES_MAIN, "health_check", None),
        ("-wal without a name", UNLINKED, "backup", Some("owner_lost_locks")),
        ("nothing", SOUND, "vacuum", None),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let mut owner = Owner::begin(&path);
        owner.does(harm);
        let config = directory.path().join("lk.yml");
        let backups = directory.path().join("backups");
        std::fs::create_dir(&backups).unwrap();
        let text = format!(
            "state: {}\ndatabases: [{{name: app, path: {}, tasks: {{vacuum: {{min_reclaimable: {{bytes: 1B, ratio: 0}}}}, \
             checkpoint: {{}}, health_check: {{}}, backup: {{to: {}}}}}}}]\n",
            directory.path().join("state.sqlite").display(),
            path.display(),
            backups.display()
        );
        std::fs::write(&config, text).unwrap();
        let output = Output::of(&["run", task, "--config", &config.to_string_lossy(), "--json"]);
        let runs: Value = serde_json::from_str(&output.stdout).unwrap();
        let run = &runs["runs"][0];
        let found = run["reason"].as_str();
        assert_eq!(found, reason, "{name}, {task}: {run:#?}");
        if task == "health_check" {
            let lost = run["details"]["health_check"]["lost_locks"].as_array().unwrap();
            assert!(lost[0].as_str().unwrap().contains(&format!("process {}", owner.0.id())), "{run:#?}");
        }
        if reason.is_some() {
            let message = run["message"].as_str().unwrap();
            assert!(message.contains(&format!("process {}", owner.0.id())), "{message}");
        }
        if harm != UNLINKED {
            owner.does("[o.execute('insert into t values (2)') for _ in range(50)]");
            let other = rusqlite::Connection::open(&path).unwrap();
            let rows: i64 =
                other.query_row("SELECT count(*) FROM t WHERE x = 2", (), |row| row.get(0)).unwrap();
            assert_eq!(rows, 50, "{name}, {task}");
            // Its close would be the one that takes itself for the last.
            other.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        }
        owner.0.kill().unwrap();
        owner.0.wait().unwrap();
    }
}

const COPIES_MAIN: &str = "open(p, 'rb').close()";
const LOSES_WAL: &str = "o.execute('insert into t values (1)'); os.unlink(p + '-wal')";

/// Each state with what is lost, the number of processes by `loss`, and the exit code of a check.
fn lost_locks_are_shown_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut owners = Vec::new();
    let mut paths = Vec::new();
    let cases = [
        ("sound", "pass", [0.0, 0.0], 0),
        // As a program that copies the files of a database at rest does.
        (
            "copied",
            "o.close(); open(p + '-shm', 'w').close(); global_copy = open(p + '-shm', 'rb')",
            [0.0, 0.0],
            0,
        ),
        ("unlocked", COPIES_MAIN, [1.0, 0.0], 0),
        ("deleted", LOSES_WAL, [0.0, 1.0], 3),
    ];
    for (name, harm, ..) in cases {
        let path = directory.path().join(format!("{name}.db"));
        let mut owner = Owner::begin(&path);
        owner.does(harm);
        owners.push(owner);
        paths.push(path);
    }
    let agent = Agent::serve(&paths).ready();
    for (index, (name, _, counts, code)) in cases.into_iter().enumerate() {
        let (pid, path) = (owners[index].0.id(), paths[index].display().to_string());
        let loss = ["main_lock", "deleted_file"];
        for (label, count) in loss.into_iter().zip(counts) {
            agent.until("sqlite_lost_lock_processes", &[("db", name), ("loss", label)], count);
        }
        let is_lost = counts.iter().any(|count| *count > 0.0);
        let shown = |text: &str| {
            assert_eq!(text.contains("SqliteOwnerLostLocks"), is_lost, "{name}: {text}");
            assert_eq!(text.contains(&format!("process {pid} ")), is_lost, "{name}: {text}");
        };
        shown(&agent.get(&format!("/db/{name}")).text());
        let known: Value =
            serde_json::from_str(&agent.get(&format!("/api/v1/databases/{name}")).text()).unwrap();
        let command = Output::of(&["locks", "--json", &path]);
        let listed: Value = serde_json::from_str(&command.stdout).unwrap();
        for lost in [&known["lost_locks"], &listed["databases"][0]["lost_locks"]] {
            let lost = lost.as_array().unwrap();
            assert_eq!(lost.len(), usize::from(is_lost), "{name}: {lost:?}");
            if let Some(lost) = lost.first() {
                assert_eq!(lost["pid"], pid, "{lost:#}");
                let expected = loss[counts.iter().position(|count| *count > 0.0).unwrap()];
                assert_eq!(lost["loss"], expected, "{lost:#}");
            }
        }
        shown(&Output::of(&["locks", &path]).stdout);
        let check = Output::of(&["check", &path]);
        shown(&check.stdout);
        assert_eq!(check.code, Some(code), "{name}: {check:?}");
        let doctor = Output::of(&["doctor", "--json", &path]);
        let found: Value = serde_json::from_str(&doctor.stdout).unwrap();
        let findings = found["databases"][0]["findings"].as_array().unwrap();
        let named = findings.iter().any(|finding| finding["id"] == "owner-lost-locks");
        assert_eq!(named, is_lost, "{name}: {found:#}");
        // No remediation opens the database by another program, whose close would delete the -wal.
        let advised =
            |finding: &Value| finding["command"].as_str().is_some_and(|command| command.contains("sqlite3 "));
        assert!(!is_lost || !findings.iter().any(advised), "{name}: {found:#}");
    }
    for mut owner in owners {
        owner.0.kill().unwrap();
        owner.0.wait().unwrap();
    }
}

/// The steps of the runbook: freeze, copy main file and deleted WAL, look.
fn the_runbook_rescues_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("books.db");
    let mut owner = Owner::begin(&path);
    owner.does(COPIES_MAIN);
    // As any program that opens the database and closes it.
    let closed = Command::new("python3")
        .args([
            "-c",
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('select * from t').fetchall()",
        ])
        .arg(&path)
        .status()
        .unwrap();
    assert!(closed.success());
    owner.does("[o.execute('insert into t values (7)') for _ in range(50)]");
    let others: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM t", (), |row| row.get(0))
        .unwrap();
    assert_eq!(others, 0, "nothing is lost, so there is nothing to rescue");
    let listed: Value =
        serde_json::from_str(&Output::of(&["locks", "--json", &path.to_string_lossy()]).stdout).unwrap();
    let lost = listed["databases"][0]["lost_locks"].as_array().unwrap();
    let wal = lost.iter().find(|lost| lost["path"].as_str().is_some_and(|path| path.ends_with("-wal")));
    let descriptor = wal.unwrap_or_else(|| panic!("{listed:#}"))["descriptor"].as_u64().unwrap();
    let pid = rustix::process::Pid::from_child(&owner.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let rescue = directory.path().join("rescue");
    std::fs::create_dir(&rescue).unwrap();
    std::fs::copy(&path, rescue.join("books.db")).unwrap();
    let source = format!("/proc/{}/fd/{descriptor}", owner.0.id());
    std::fs::copy(source, rescue.join("books.db-wal")).unwrap();
    owner.0.kill().unwrap();
    owner.0.wait().unwrap();
    let rescued = rescue.join("books.db");
    let check = Output::of(&["check", &rescued.to_string_lossy()]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let rows: i64 = rusqlite::Connection::open(&rescued)
        .unwrap()
        .query_row("SELECT count(*) FROM t WHERE x = 7", (), |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 50);
}

/// The last writer has no bug, and a process that has the database open may have one.
fn a_mapped_sqlite_with_the_bug_counts() {
    let version = Command::new("python3")
        .args([
            "-c",
            "import sqlite3; a, b, c = sqlite3.sqlite_version_info; print(a * 1000000 + b * 1000 + c)",
        ])
        .output()
        .unwrap();
    let version: u32 = String::from_utf8(version.stdout).unwrap().trim().parse().unwrap();
    let fixture = TestDatabase::new("app").wal().rows(100).make();
    // Python's module may have SQLite linked into it, which shows nothing.
    let reads = "import sqlite3, sys; o = sqlite3.connect(sys.argv[1]); o.execute('select 1 from items').fetchall(); \
                 print(sum('libsqlite3' in line for line in open('/proc/self/maps')), flush=True); sys.stdin.read()";
    let writer = fixture.connect();
    writer.execute_batch("INSERT INTO items (text) VALUES ('new')").unwrap();
    let mut reader = Command::new("python3")
        .args(["-c", reads])
        .arg(fixture.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut mapped = String::new();
    BufReader::new(reader.stdout.take().unwrap()).read_line(&mut mapped).unwrap();
    let has_bug = mapped.trim() != "0" && litekeeper::internals::tasks::has_wal_reset_bug(version);
    let config = fixture.directory().join("lk.yml");
    let text = format!(
        "state: {}\ndatabases: [{{name: app, path: {}, tasks: {{checkpoint: {{truncate_above: 1B}}}}}}]\n",
        fixture.directory().join("state.sqlite").display(),
        fixture.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let output = Output::of(&["run", "checkpoint", "--config", &config.to_string_lossy(), "--json"]);
    let runs: Value = serde_json::from_str(&output.stdout).unwrap();
    let report = &runs["runs"][0]["details"]["checkpoint"];
    assert_eq!(report["version_unsafe"], has_bug, "{version}: {runs:#}");
    assert_eq!(report["truncated"].is_null(), has_bug, "{version}: {runs:#}");
    let doctor = Output::of(&["doctor", "--json", &fixture.path().to_string_lossy()]).stdout;
    assert_eq!(doctor.contains("wal-reset-bug"), has_bug, "{doctor}");
    drop(reader.stdin.take());
    reader.wait().unwrap();
    drop(writer);
}
