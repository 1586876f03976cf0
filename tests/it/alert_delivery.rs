//! From a damaged page to somebody's pager and back: litekeeper, a real Prometheus with the shipped rules, a real
//! Alertmanager with the shipped routes, and a webhook.

use std::path::Path;
use std::time::Instant;

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::alerts::alerts_directory;
use crate::alerts::files;
use crate::support::Agent;
use crate::support::Alertmanager;
use crate::support::Output;
use crate::support::Pages;
use crate::support::Prometheus;
use crate::support::litekeeper;
use crate::support::test_with_tool;
use crate::support::tool;

/// What goes wrong with a database, who hears of it, and how it is put right.
struct Case {
    database: &'static str,
    alert: &'static str,
    receiver: &'static str,
    /// Labels beside those that every alert of a database has.
    labels: &'static [(&'static str, &'static str)],
    harm: fn(&Path),
    remedy: fn(&Path),
    /// What makes litekeeper notice either; empty where it does so by itself.
    notice: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case {
        database: "books",
        alert: "SqliteIntegrityCheckFailed",
        receiver: "pager",
        labels: &[("check", "full"), ("severity", "critical")],
        harm: damage_a_page,
        remedy: restore_the_backup,
        notice: &["run", "health_check"],
    },
    Case {
        database: "orders",
        alert: "SqliteForeignKeyViolations",
        receiver: "ticket",
        labels: &[("check", "foreign_key"), ("severity", "warning")],
        harm: |path| execute(path, "PRAGMA foreign_keys = OFF; INSERT INTO rows VALUES (1000, 7777)"),
        remedy: |path| execute(path, "DELETE FROM rows WHERE id = 1000"),
        notice: &["run", "health_check"],
    },
];

pub fn trials() -> Vec<Trial> {
    let alertmanager = tool("prometheus-alertmanager").or_else(|| tool("alertmanager"));
    let alone = alertmanager.clone();
    let both = tool("prometheus").zip(alertmanager).map(|(one, other)| format!("{one}\n{other}"));
    vec![
        test_with_tool("damage_pages_and_a_restore_resolves", both, damage_pages_and_a_restore_resolves),
        test_with_tool(
            "one_trouble_silences_what_follows_from_it",
            alone,
            one_trouble_silences_what_follows_from_it,
        ),
    ]
}

fn execute(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn make(path: &Path) {
    execute(
        path,
        "CREATE TABLE parents (id INTEGER PRIMARY KEY, text TEXT);
         CREATE TABLE rows (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id));
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO parents SELECT i, hex(randomblob(200)) FROM n;
         INSERT INTO rows VALUES (1, 1)",
    );
}

/// As a disk does it: in the middle of the file, behind SQLite's back.
fn damage_a_page(path: &Path) {
    std::fs::copy(path, path.with_extension("backup")).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let page = 4096 * 20;
    bytes[page..page + 4096].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

/// As an operator does it: beside the database, then renamed into its place.
fn restore_the_backup(path: &Path) {
    std::fs::rename(path.with_extension("backup"), path).unwrap();
}

/// The shipped routes, with the receiver of the test and without waiting times.
fn routes(pages: &Pages) -> String {
    let mut text = std::fs::read_to_string(alerts_directory().join("alertmanager.yml")).unwrap();
    for (receiver, url) in [
        ("pager", "http://pager.example/litekeeper"),
        ("ticket", "http://tickets.example/litekeeper"),
        ("dead_mans_switch", "http://dead-mans-switch.example/litekeeper"),
    ] {
        assert!(text.contains(url), "{url}");
        text = text.replace(url, &pages.url(receiver));
    }
    let lines = text.lines().map(|line| {
        match line.split_once("group_wait:").or(line.split_once("group_interval:")) {
            Some((indent, _)) if line.contains("group_wait") => format!("{indent}group_wait: 0s\n"),
            Some((indent, _)) => format!("{indent}group_interval: 1s\n"),
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// Alerts that are given to a real Alertmanager together, each with its database, and whether it is silenced.
const TOGETHER: [(&str, Option<&str>, bool); 21] = [
    ("SqliteDown", Some("gone"), false),
    ("SqliteWalTooLarge", Some("gone"), true),
    ("LitekeeperJobOverdue", Some("gone"), true),
    ("SqliteOwnerLostLocks", Some("gone"), false),
    ("SqliteWalTooLarge", Some("books"), false),
    ("SqliteIntegrityCheckFailed", Some("books"), false),
    ("SqliteIntegrityCheckOverdue", Some("books"), true),
    ("LitekeeperJobFailing", Some("books"), true),
    ("LitekeeperRetentionBehind", Some("books"), true),
    ("SqliteVacuumCannotRun", Some("books"), true),
    ("LitekeeperBackupUnverified", Some("books"), false),
    ("LitekeeperJobOverdue", Some("orders"), false),
    ("SqliteLongReader", Some("orders"), false),
    ("SqliteBusyErrors", Some("orders"), false),
    ("SqliteWriterLockHeld", Some("shop"), false),
    ("SqliteLongReader", Some("shop"), true),
    ("SqliteBusyErrors", Some("shop"), true),
    // By a reader that is silenced itself.
    ("SqliteCheckpointStarved", Some("shop"), true),
    ("LitekeeperDown", None, false),
    ("LitekeeperAbsent", None, true),
    ("LitekeeperConfigReloadFailed", None, false),
];

fn one_trouble_silences_what_follows_from_it(program: &str) {
    let directory = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(program, &routes(&Pages::listen()), directory.path());
    let given = TOGETHER.map(|(alert, db, _)| {
        let mut labels = serde_json::json!({"alertname": alert, "job": "litekeeper", "instance": "a:1"});
        if let Some(db) = db {
            labels["db"] = db.into();
        }
        serde_json::json!({ "labels": labels })
    });
    let taken = alertmanager.request("POST", "alerts", &serde_json::json!(given).to_string());
    assert!(taken.starts_with("HTTP/1.0 200"), "{taken}");
    for (alert, db, silenced) in TOGETHER {
        let expected = if silenced { "suppressed" } else { "active" };
        crate::support::eventually(&format!("{alert} of {db:?} is {expected}"), || {
            let answer = alertmanager.request("GET", "alerts", "");
            let alerts: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
            let found = alerts.as_array()?.iter().find(|found| {
                found["labels"]["alertname"] == alert && found["labels"]["db"].as_str() == db
            })?;
            (found["status"]["state"] == expected).then_some(())
        });
    }
}

fn damage_pages_and_a_restore_resolves(programs: &str) {
    let (prometheus, alertmanager) = programs.split_once('\n').unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("litekeeper.yml");
    let at = |name: &str| directory.path().join(format!("{name}.db"));
    let mut text = "sample_interval: 1s\ndiscovery_interval: 1s\nstate: state.db\ndatabases:\n".to_owned();
    for case in &CASES {
        make(&at(case.database));
        text.push_str(&format!("  - {{path: {}.db, tasks: {{health_check: {{}}}}}}\n", case.database));
    }
    std::fs::write(&file, text).unwrap();
    let mut command = litekeeper();
    command.arg("serve").arg("--config").arg(&file);
    let agent = Agent::start(command).ready();
    let pages = Pages::listen();
    let alertmanager = Alertmanager::start(alertmanager, &routes(&pages), directory.path());
    let rules =
        files("rules").iter().map(|file| format!("'{}'", file.display())).collect::<Vec<_>>().join(", ");
    let settings = format!(
        "rule_files: [{rules}]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n",
        alertmanager.address
    );
    let prometheus = Prometheus::scraping_with(prometheus, agent.address(), directory.path(), &settings);

    // The way is open, and says nothing without a reason.
    pages.until("dead_mans_switch", "firing", "Watchdog", None);
    prometheus.until("count(sqlite_up == 1)", CASES.len() as f64);
    for case in &CASES {
        let notice = || {
            let mut words: Vec<&std::ffi::OsStr> = case.notice.iter().map(std::ffi::OsStr::new).collect();
            words.extend(["--config".as_ref(), file.as_os_str(), "--db".as_ref(), case.database.as_ref()]);
            (!case.notice.is_empty()).then(|| Output::of(&words))
        };
        notice();
        prometheus.until(&format!("count(ALERTS{{db=\"{}\"}}) or vector(0)", case.database), 0.0);
        assert!(!pages.heard(case.receiver).iter().any(|name| name == case.alert), "{}", case.alert);

        (case.harm)(&at(case.database));
        let before = notice();
        let checked = Instant::now();
        let page = pages.until(case.receiver, "firing", case.alert, Some(case.database));
        println!(
            "{}: {:.1} s from the check to the {}",
            case.alert,
            checked.elapsed().as_secs_f64(),
            case.receiver
        );
        assert!(before.is_none_or(|output| output.code == Some(1)), "the check finds it");
        let instance = agent.address().to_string();
        let always = [("db", case.database), ("job", "litekeeper"), ("instance", instance.as_str())];
        for (label, value) in always.iter().chain(case.labels) {
            assert_eq!(page["labels"][label], *value, "{label} of {page}");
        }
        let link = page["annotations"]["runbook_url"].as_str().unwrap();
        let path = link.strip_prefix(&format!("http://{instance}")).unwrap_or_else(|| panic!("{link}"));
        assert!(agent.get(path).text().starts_with(&format!("# {}\n", case.alert)), "{link}");
        let link = page["annotations"]["dashboard_url"].as_str().unwrap();
        assert_eq!(
            agent.get(link.strip_prefix(&format!("http://{instance}")).unwrap()).status,
            200,
            "{link}"
        );

        let place = instance.replace(':', "%3A");
        let expected = format!(
            "/d/litekeeper-database?var-job=litekeeper&var-instance={place}&var-db={}",
            case.database
        );
        assert_eq!(page["annotations"]["grafana_path"], expected.as_str());

        (case.remedy)(&at(case.database));
        let after = notice();
        let fixed = Instant::now();
        pages.until(case.receiver, "resolved", case.alert, Some(case.database));
        println!("{}: {:.1} s from the check to \"resolved\"", case.alert, fixed.elapsed().as_secs_f64());
        assert!(after.is_none_or(|output| output.code == Some(0)), "the check passes");
    }
    assert!(
        !pages.heard("pager").iter().any(|name| name == "SqliteForeignKeyViolations"),
        "a ticket pages nobody"
    );
    let failed = prometheus.query("prometheus_rule_evaluation_failures_total > 0");
    assert!(failed.is_empty(), "rules that could not be evaluated: {failed:?}");
    let groups = prometheus.api("rules").unwrap();
    for rule in groups["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert!(rule["lastError"].is_null(), "{rule}");
    }
}
