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

use crate::support::Output;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![test_with_tool("an_owner_that_lost_its_locks_keeps_its_commits", tool("python3"), |_: &str| {
        an_owner_that_lost_its_locks_keeps_its_commits()
    })]
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
    const COPIES_MAIN: &str = "open(p, 'rb').close()";
    const COPIES_BOTH: &str = "open(p, 'rb').close(); open(p + '-shm', 'rb').close()";
    const UNLINKED: &str = "o.execute('insert into t values (1)'); os.unlink(p + '-wal')";
    const SOUND: &str = "pass";
    for (name, harm, task, reason) in [
        ("main", COPIES_MAIN, "vacuum", Some("owner_lost_locks")),
        ("main", COPIES_MAIN, "checkpoint", Some("owner_lost_locks")),
        ("main and -shm", COPIES_BOTH, "vacuum", Some("owner_lost_locks")),
        ("main and -shm", COPIES_BOTH, "checkpoint", Some("owner_lost_locks")),
        ("main", COPIES_MAIN, "backup", None),
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
             checkpoint: {{}}, backup: {{to: {}}}}}}}]\n",
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
