//! The task `scrub` through the real binary: what it finds, what that stops, and what ends it.

use std::path::Path;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::serve;
use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::flip_bit;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_second_scrub_of_a_database_at_rest_verifies_it", a_second_scrub_verifies),
        test("damage_of_a_scrub_stops_every_job_that_writes", damage_stops_every_job_that_writes),
        test("a_scrub_runs_beside_other_jobs_and_goes_on_after_a_pause", a_scrub_runs_beside_other_jobs),
    ]
}

/// Runs a task; its exit code and its run.
fn run(task: &str, config: &str) -> (Option<i32>, Value) {
    let output = Output::of(&["run", task, "--config", config, "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    assert!(document["runs"][0].is_object(), "{} {}", output.stdout, output.stderr);
    (output.code, document["runs"][0].clone())
}

fn a_second_scrub_verifies() {
    let made = TestDatabase::new("app").rows(2_000).make();
    let config = configure(&made, "{scrub: {rate: 1GiB}}");
    let (code, first) = run("scrub", &config);
    let details = &first["details"]["scrub"];
    assert_eq!((code, &details["mode"]), (Some(0), &"first".into()), "{first:#}");
    assert_eq!(details["verified"], 0, "{first:#}");
    // The times of the file have to be older than the first look for the second one to count.
    let second = eventually("the database is at rest", || {
        let (code, second) = run("scrub", &config);
        assert_eq!(code, Some(0), "{second:#}");
        (second["details"]["scrub"]["mode"] == "at_rest").then_some(second)
    });
    let details = &second["details"]["scrub"];
    assert_eq!(details["verified"], details["pages"], "{second:#}");
    let dry_run = Output::of(&["run", "scrub", "--config", &config, "--dry-run"]);
    assert_eq!(dry_run.code, Some(0), "{}", dry_run.stderr);
    for words in ["would read: ", "could verify: ", "100.0 %", "mode at_rest"] {
        assert!(dry_run.stdout.contains(words), "{}", dry_run.stdout);
    }
}

fn damage_stops_every_job_that_writes() {
    let made = TestDatabase::new("app").wal().make();
    let mut owner = SecondProcess::open(&made.path());
    owner.run("PRAGMA wal_autocheckpoint = 0");
    owner.run(
        "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, text TEXT);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
         INSERT INTO vouchers SELECT i, 'voucher number ' || i FROM n",
    );
    owner.run("PRAGMA wal_checkpoint(PASSIVE)");
    let backups = made.directory().join("backups");
    std::fs::create_dir(&backups).unwrap();
    let config = configure(
        &made,
        &format!(
            "{{scrub: {{rate: 1GiB}}, health_check: {{}}, vacuum: {{min_reclaimable: {{bytes: 0, ratio: 0}}}},
              backup: {{to: {}}}}}",
            backups.display()
        ),
    );
    assert_eq!(run("backup", &config).0, Some(0));
    flip_bit(&made.path(), b"voucher number 777");
    let (code, checked) = run("health_check", &config);
    assert_eq!(code, Some(0), "every check of SQLite calls it ok: {checked:#}");
    let (code, scrubbed) = run("scrub", &config);
    assert_eq!((code, &scrubbed["reason"]), (Some(1), &"corrupt".into()), "{scrubbed:#}");
    let finding = &scrubbed["details"]["scrub"]["findings"][0];
    assert_eq!(finding["place"], "leaf of table vouchers", "{scrubbed:#}");
    let backup = finding["backup"].as_str().unwrap_or_default();
    assert!(backup.starts_with(backups.to_str().unwrap()) && backup.ends_with(".backup"), "{scrubbed:#}");
    // A backup whose page is damaged too is not named, whatever its manifest says.
    flip_bit(Path::new(backup), b"voucher number 777");
    let (_, again) = run("scrub", &config);
    assert!(again["details"]["scrub"]["findings"][0]["backup"].is_null(), "{again:#}");
    let refused = |config: &str| {
        let (code, vacuum) = run("vacuum", config);
        assert_eq!((code, &vacuum["reason"]), (Some(4), &"unhealthy".into()), "{vacuum:#}");
        let message = vacuum["message"].as_str().unwrap().to_owned();
        assert!(message.contains("vouchers") && message.contains("scrub --accept"), "{message}");
    };
    refused(&config);
    // A full check that passes does not clear it, and neither does a restart.
    assert_eq!(run("health_check", &config).0, Some(0));
    refused(&config);
    let agent = serve(&config).ready();
    agent.until("sqlite_scrub_ok", &[("db", "app")], 0.0);
    agent.until("sqlite_scrub_mismatches", &[("db", "app")], 1.0);
    agent.until("sqlite_integrity_ok", &[("db", "app"), ("check", "full")], 1.0);
    let page = agent.get("/db/app").text();
    assert!(page.contains("no check of SQLite sees") && page.contains("vouchers"), "{page}");
    let database: Value = serde_json::from_str(&agent.get("/api/v1/databases/app").text()).unwrap();
    assert_eq!(database["scrub"]["ok"], false, "{database:#}");
}

fn a_scrub_runs_beside_other_jobs() {
    let made = TestDatabase::new("app").rows(200_000).make();
    let config = configure(&made, "{scrub: {schedule: 1d, rate: 64KiB}, health_check: {}}");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("catch_up_delay: 0s\n{text}")).unwrap();
    assert_eq!(Output::of(&["history", "--config", &config]).code, Some(0));
    let state = Connection::open(made.directory().join("state.sqlite")).unwrap();
    let path = std::fs::canonicalize(made.path()).unwrap().display().to_string();
    state.execute("INSERT INTO slots VALUES (?1, 'scrub', unixepoch() - 2 * 86400)", [path]).unwrap();
    let agent = serve(&config).ready();
    let scrub = [("db", "app"), ("task", "scrub")];
    agent.until("litekeeper_job_running", &scrub, 1.0);
    let (code, checked) = run("health_check", &config);
    assert_eq!(code, Some(0), "{checked:#}");
    assert_eq!(agent.metrics().value("litekeeper_job_running", &scrub), Some(1.0), "it is still at work");
    let command = |name: &str| Output::of(&[name, "--db", "app", "--config", &config]).code;
    assert_eq!(command("pause"), Some(0));
    agent.until("litekeeper_job_running", &scrub, 0.0);
    let history = Output::of(&["history", "--task", "scrub", "--config", &config, "--json"]).stdout;
    assert!(history.contains("canceled") && history.contains("the next run continues there"), "{history}");
    assert_eq!(command("resume"), Some(0));
    agent.until("litekeeper_job_running", &scrub, 1.0);
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(agent.wait(), Some(0));
}
