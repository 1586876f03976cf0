//! Alerts proven on their real causes: locks that second processes hold, a checkpoint that a reader starves, a backup whose
//! source is damaged, files that are cut and replaced. One agent, one Prometheus, and the shipped rules, in which nothing
//! but waiting times is shortened.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::alerts::files;
use crate::support::Agent;
use crate::support::Output;
use crate::support::Prometheus;
use crate::support::SecondProcess;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test_with_tool;
use crate::support::tool;

/// Each alert, the database whose trouble it tells, and its severity.
const PROVEN: [(&str, &str, &str); 10] = [
    ("SqliteWriterLockHeld", "written", "critical"),
    ("SqliteWriterLockHeld", "locked", "critical"),
    ("SqliteBusyErrors", "locked", "warning"),
    ("SqliteLongReader", "read", "warning"),
    // Who waits with BEGIN IMMEDIATE holds the lock of a reader too.
    ("SqliteLongReader", "written", "warning"),
    ("SqliteCheckpointStarved", "read", "warning"),
    ("SqliteWalTooLarge", "read", "warning"),
    ("LitekeeperBackupUnverified", "copied", "critical"),
    ("SqliteDatabaseFileReplaced", "replaced", "warning"),
    ("SqliteDown", "cut", "critical"),
];

/// All come to harm but the last, which has the same thresholds, and of which nobody hears.
const DATABASES: [&str; 7] = ["written", "locked", "read", "copied", "replaced", "cut", "healthy"];

/// How long the rules wait or look back, and how long here. All else of them is as shipped.
const WAITS: [(&str, &str); 5] = [
    (r#"{code=~"SQLITE_BUSY|SQLITE_LOCKED"}[15m]"#, r#"{code=~"SQLITE_BUSY|SQLITE_LOCKED"}[10s]"#),
    ("sqlite_file_replaced_total[1h]", "sqlite_file_replaced_total[10s]"),
    (
        "min_over_time(instance_db:sqlite_wal_backlog_bytes:product[30m])",
        "min_over_time(instance_db:sqlite_wal_backlog_bytes:product[5s])",
    ),
    (
        "instance_db:sqlite_wal_backlog_bytes:product[10m] offset 30m",
        "instance_db:sqlite_wal_backlog_bytes:product[10m] offset 5s",
    ),
    (
        r#"2 * max without (task) (litekeeper_job_expected_interval_seconds{task="backup"}) + 3600"#,
        r#"0 * max without (task) (litekeeper_job_expected_interval_seconds{task="backup"}) + 15"#,
    ),
];

pub fn trials() -> Vec<Trial> {
    vec![test_with_tool("alerts_fire_on_real_causes", tool("prometheus"), alerts_fire_on_real_causes)]
}

/// Copies the shipped rules with shorter waits, and gives the setting that loads them.
fn rules_in_a_hurry(directory: &Path) -> String {
    let mut shortened = 0;
    let copies = files("rules").into_iter().map(|file| {
        let mut text = std::fs::read_to_string(&file).unwrap();
        for (shipped, here) in WAITS {
            shortened += text.matches(shipped).count();
            text = text.replace(shipped, here);
        }
        let text: String = text
            .lines()
            .map(|line| match line.split_once("for: ") {
                Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let copy = directory.join(file.file_name().unwrap());
        std::fs::write(&copy, text).unwrap();
        format!("'{}'", copy.display())
    });
    let setting = format!("rule_files: [{}]\n", copies.collect::<Vec<_>>().join(", "));
    assert_eq!(shortened, WAITS.len(), "each wait stands in the rules once");
    setting
}

fn configuration() -> String {
    let mut text = "sample_interval: 1s\ndiscovery_interval: 1s\nstate: state.db\nprofiles:\n  proven:\n    alerts:\n      \
         {SqliteWriterLockHeld: 2s, SqliteLongReader: 2s, SqliteWalTooLarge: 256KiB, SqliteCheckpointStarved: 256KiB, \
         SqliteBusyErrors: 1}\ndatabases:\n"
        .to_owned();
    for database in DATABASES {
        let tasks = if database == "copied" {
            ", tasks: {health_check: {}, backup: {to: backups, min_free_space: 0}}"
        } else {
            ""
        };
        text.push_str(&format!("  - {{path: {database}.db, profile: proven{tasks}}}\n"));
    }
    text
}

fn make(path: &Path, journal_mode: &str) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {journal_mode};
             CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO rows SELECT i, hex(randomblob(200)) FROM n"
        ))
        .unwrap();
}

/// Which alerts fire for which database, of those that are proven here.
fn firing(prometheus: &Prometheus) -> BTreeSet<(String, String, String)> {
    let names: BTreeSet<&str> = PROVEN.iter().map(|(alert, ..)| *alert).collect();
    let answer = prometheus.api("alerts").unwrap_or_default();
    let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    alerts
        .iter()
        .filter(|alert| alert["state"] == "firing")
        .map(|alert| &alert["labels"])
        .filter(|labels| names.contains(labels["alertname"].as_str().unwrap_or_default()))
        .map(|labels| (text(&labels["alertname"]), text(&labels["db"]), text(&labels["severity"])))
        .collect()
}

/// What second processes hold until it is dropped or ended.
struct Harm {
    writer: SecondProcess,
    owner: SecondProcess,
    reader: SecondProcess,
}

impl Harm {
    fn of(directory: &Path) -> Self {
        let at = |name: &str| directory.join(format!("{name}.db"));
        let mut writer = SecondProcess::open(&at("written"));
        writer.run("BEGIN IMMEDIATE");
        let mut owner = SecondProcess::open(&at("locked"));
        owner.run("PRAGMA cache_size = 1").run("BEGIN EXCLUSIVE");
        let mut reader = SecondProcess::open(&at("read"));
        reader.run("BEGIN").run("SELECT count(*) FROM rows");
        // The application checkpoints, and gets nowhere: the reader may still need what is there.
        Connection::open(at("read"))
            .unwrap()
            .execute_batch(
                "INSERT INTO rows (text) SELECT hex(randomblob(1000)) FROM rows; PRAGMA wal_checkpoint(PASSIVE)",
            )
            .unwrap();
        for name in ["copied", "cut", "replaced"] {
            std::fs::copy(at(name), at(name).with_extension("good")).unwrap();
        }
        let mut bytes = std::fs::read(at("copied")).unwrap();
        bytes[4096 * 20..4096 * 21].fill(0xa5);
        std::fs::write(at("copied"), bytes).unwrap();
        std::fs::rename(at("replaced").with_extension("good"), at("replaced")).unwrap();
        std::fs::File::options().write(true).open(at("cut")).unwrap().set_len(50).unwrap();
        Self { writer, owner, reader }
    }

    /// The owner writes more than its cache holds, so that the file changes and litekeeper comes to look, in vain.
    fn go_on(&mut self) {
        self.owner.run("INSERT INTO rows (text) VALUES (hex(randomblob(10000)))");
    }

    fn end(mut self, directory: &Path) {
        let at = |name: &str| directory.join(format!("{name}.db"));
        self.writer.run("ROLLBACK");
        self.owner.run("ROLLBACK");
        self.reader.run("COMMIT").run("PRAGMA wal_checkpoint(TRUNCATE)");
        for name in ["copied", "cut"] {
            std::fs::rename(at(name).with_extension("good"), at(name)).unwrap();
        }
    }
}

fn alerts_fire_on_real_causes(program: &str) {
    let directory = tempfile::tempdir().unwrap();
    for database in DATABASES {
        let journal_mode = if database == "read" { "wal" } else { "delete" };
        make(&directory.path().join(format!("{database}.db")), journal_mode);
    }
    let file = directory.path().join("litekeeper.yml");
    std::fs::write(&file, configuration()).unwrap();
    std::fs::create_dir(directory.path().join("backups")).unwrap();
    let run = |task: &str| {
        let words = ["run", task, "--db", "copied", "--config"].map(std::ffi::OsStr::new);
        Output::of(&[&words[..], &[file.as_os_str()]].concat())
    };
    let mut command = litekeeper();
    command.arg("serve").arg("--config").arg(&file);
    let agent = Agent::start(command).ready();
    let prometheus = Prometheus::scraping_with(
        program,
        agent.address(),
        directory.path(),
        &rules_in_a_hurry(directory.path()),
    );
    prometheus.until("count(sqlite_up == 1)", DATABASES.len() as f64);
    assert_eq!(run("backup").code, Some(0), "the source is sound");
    prometheus.until("count(litekeeper_backup_last_verified_timestamp_seconds > 0)", 1.0);
    eventually("nothing fires without a cause", || firing(&prometheus).is_empty().then_some(()));

    let began = Instant::now();
    let mut harm = Harm::of(directory.path());
    let failed = run("backup");
    assert_eq!(failed.code, Some(3), "the source is damaged: {}", failed.stdout);
    let expected: BTreeSet<_> = PROVEN
        .iter()
        .map(|(alert, db, severity)| (alert.to_string(), db.to_string(), severity.to_string()))
        .collect();
    // Another file is news only for a while: what fired is kept.
    let mut fired = BTreeSet::new();
    eventually("each alert fires", || {
        harm.go_on();
        for alert in firing(&prometheus) {
            if fired.insert(alert.clone()) {
                println!("{} of {}: {:.1} s from its cause", alert.0, alert.1, began.elapsed().as_secs_f64());
            }
        }
        expected.is_subset(&fired).then_some(())
    });
    assert_eq!(fired, expected, "and none for another database");

    harm.end(directory.path());
    // What is damaged is not copied again until a full check has passed.
    for task in ["health_check", "backup"] {
        let passed = run(task);
        assert_eq!(passed.code, Some(0), "the source is sound again: {}", passed.stdout);
    }
    let mut left = expected;
    eventually("each alert ends", || {
        let now = firing(&prometheus);
        left.retain(|alert| now.contains(alert));
        left.is_empty().then_some(())
    });
    let failed = prometheus.query("prometheus_rule_evaluation_failures_total > 0");
    assert!(failed.is_empty(), "rules that could not be evaluated: {failed:?}");
}
