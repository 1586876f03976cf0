use std::collections::BTreeMap;
use std::time::Duration;

use super::check_status::apply_verdict;
use super::*;
use crate::database::DatabaseName;
use crate::sqlite::Check;
use crate::tasks::Notes;
use crate::tasks::Run;
use crate::tasks::RunStatus;
use crate::tasks::Trigger;
use crate::tasks::Verdict;
use crate::tasks::parse_report;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn run(started_at: u64, outcome: &str, details: serde_json::Value) -> Run {
    let reason = (outcome == "failed").then_some("corrupt");
    Run {
        database: DatabaseName::new("books"),
        path: PathBuf::from("/srv/books.db"),
        task: TaskKind::HealthCheck,
        trigger: Trigger::Manual,
        due_at: None,
        started_at: at(started_at),
        elapsed: Duration::from_secs(2),
        status: RunStatus::from_labels(outcome, reason).unwrap(),
        message: None,
        report: parse_report(TaskKind::HealthCheck, &details),
        details,
        trace: None,
    }
}

/// Checks in their order, each with what it found, and what stands in the end for quick and full.
#[test]
fn a_failure_stays_until_a_check_that_could_see_it_passes() {
    let (quick, full, sliced) = ((Check::Quick, true), (Check::Full, true), (Check::Full, false));
    for (checks, quick_ok, full_ok) in [
        (vec![(full, true)], None, Some(true)),
        (vec![(full, false), (quick, true)], Some(true), Some(false)),
        (vec![(full, false), (sliced, true)], None, Some(false)),
        (vec![(full, false), (full, true)], None, Some(true)),
        (vec![(quick, false), (quick, true)], Some(false), None),
        (vec![(quick, false), (sliced, true)], Some(false), Some(true)),
        (vec![(quick, false), (full, true)], Some(true), Some(true)),
        (vec![(sliced, false), (full, true), (quick, false)], Some(false), Some(true)),
    ] {
        let mut check_statuses = BTreeMap::new();
        for (time, ((check, whole), ok)) in checks.iter().enumerate() {
            let verdict = Verdict {
                check: *check,
                ok: *ok,
                whole: *whole,
                problems: u32::from(!ok),
                first_problem: None,
                notes: Notes::default(),
            };
            apply_verdict(&mut check_statuses, &verdict, at(time as u64));
        }
        let ok = |check| check_statuses.get(&check).map(|standing| standing.ok);
        assert_eq!((ok(Check::Quick), ok(Check::Full)), (quick_ok, full_ok), "{checks:?}");
    }
}

#[test]
fn what_a_scrub_found_stays_until_a_scrub_finds_it_gone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let path = Path::new("/srv/books.db");
    let scrub = |started_at, outcome: &str, mismatches: u64, is_first: bool| {
        let report = serde_json::json!({"scrub": {"mode": "at_rest", "pages": 9, "wal_frames": 0, "healed_pages": 0,
            "read_bytes": 9, "source": "disk", "findings": [], "mismatches": mismatches, "is_first": is_first,
            "first_problem": (mismatches > 0).then_some("page 7")}});
        let report_of = parse_report(TaskKind::Scrub, &report);
        assert!(report_of.is_some(), "{report}");
        Run { task: TaskKind::Scrub, report: report_of, ..run(started_at, outcome, report) }
    };
    let store = StateStore::open(Some(&file)).unwrap();
    let damage = |store: &StateStore| store.known_damage(path).unwrap().map(|damage| damage.to_string());
    store.record(&scrub(10, "success", 0, true)).unwrap();
    assert_eq!(damage(&store), None);
    store.record(&scrub(20, "failed", 1, false)).unwrap();
    let problem = damage(&store).unwrap();
    assert!(problem.contains("page 7") && problem.contains("--accept"), "{problem}");
    // A check of SQLite does not see it, and a scrub is no check of SQLite.
    let details = serde_json::json!({"health_check": {"checked_bytes": 1, "verdicts": [
        {"check": "full", "ok": true, "whole": true, "problems": 0, "first_problem": null}]}});
    store.record(&run(30, "success", details)).unwrap();
    assert!(store.check_statuses(path).unwrap()[&Check::Full].ok);
    drop(store);
    let store = StateStore::open(Some(&file)).unwrap();
    assert!(damage(&store).is_some(), "kept across a restart");
    // The ledger was lost.
    store.record(&scrub(40, "success", 0, true)).unwrap();
    assert!(damage(&store).unwrap().contains("page 7"));
    let status = store.scrub_status(path).unwrap().unwrap();
    assert_eq!((status.completed_at, status.damaged_since), (at(42), Some(at(22))));
    // A run that did not reach the end says nothing.
    let partial = Run { report: None, task: TaskKind::Scrub, ..run(50, "failed", serde_json::Value::Null) };
    let partial = Run { status: RunStatus::Failed(crate::tasks::FailureReason::Canceled), ..partial };
    store.record(&partial).unwrap();
    assert!(damage(&store).is_some());
    store.record(&scrub(60, "success", 0, false)).unwrap();
    assert_eq!(damage(&store), None);
}

#[test]
fn verdicts_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deep/state.db");
    let details = serde_json::json!({"health_check": {"checked_bytes": 1, "verdicts": [
        {"check": "full", "ok": false, "whole": true, "problems": 3, "first_problem": "row 1 missing"}]}});
    StateStore::open(Some(&file)).unwrap().record(&run(10, "failed", details)).unwrap();
    let again = StateStore::open(Some(&file)).unwrap();
    assert_eq!(again.unhealthy(Path::new("/srv/books.db")).unwrap().as_deref(), Some("row 1 missing"));
    let standing = &again.check_statuses(Path::new("/srv/books.db")).unwrap()[&Check::Full];
    assert_eq!((standing.ok, standing.problems, standing.completed_at), (false, 3, at(12)));
    assert_eq!(again.unhealthy(Path::new("/srv/other.db")).unwrap(), None);
}

#[test]
fn another_process_sees_the_runs_that_are_not_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let one = StateStore::open(Some(&file)).unwrap();
    let mut other = StateStore::open(Some(&file)).unwrap();
    other.process = "another".to_owned();
    one.record(&run(1, "success", serde_json::Value::Null)).unwrap();
    other.record(&run(2, "success", serde_json::Value::Null)).unwrap();
    let seen = one.by_other_processes_since(0).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].run.started_at, one.last_id().unwrap()), (at(2), seen[0].id));
}

#[test]
fn old_runs_are_forgotten_but_not_the_last_success() {
    let store = StateStore::open(None).unwrap();
    for started_at in [1, 2] {
        store.record(&run(started_at, "success", serde_json::Value::Null)).unwrap();
    }
    store.record(&run(3, "failed", serde_json::Value::Null)).unwrap();
    assert_eq!(store.prune_runs(at(100)).unwrap(), 2);
    let left = store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).unwrap();
    assert_eq!(left.iter().map(|past| past.run.started_at).collect::<Vec<_>>(), [at(2)]);
}

#[test]
fn pauses_are_kept_for_all_and_for_one() {
    let store = StateStore::open(None).unwrap();
    store.pause(None, at(1)).unwrap();
    store.pause(Some("books"), at(1)).unwrap();
    assert_eq!(store.pauses().unwrap(), (true, ["books".to_owned()].into()));
    store.resume(Some("books")).unwrap();
    assert_eq!(store.pauses().unwrap(), (true, [].into()));
    store.resume(None).unwrap();
    assert_eq!(store.pauses().unwrap(), (false, [].into()));
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.db");
    #[allow(clippy::disallowed_methods)]
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(StateStore::open(Some(&file)), Err(StateStoreError::NotLitekeeper(_))));
    #[allow(clippy::disallowed_methods)]
    let connection = Connection::open(&file).unwrap();
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
    assert_eq!(objects, 1);
}

/// A task that runs every few minutes leaves a row where something changed, and the last of each
/// stretch.
#[test]
fn a_light_task_does_not_flood_the_history() {
    use Recorded::{Added, Nothing, Repeated};
    use Trigger::{Manual, Schedule};
    let store = StateStore::open(None).unwrap();
    let runs = [
        (1, Schedule, "success", None, Added),
        (2, Schedule, "success", None, Repeated),
        (3, Schedule, "skipped", Some("below_threshold"), Nothing),
        (4, Schedule, "success", None, Repeated),
        (5, Schedule, "skipped", Some("replicated"), Added),
        (6, Schedule, "skipped", Some("replicated"), Repeated),
        (7, Manual, "skipped", Some("below_threshold"), Added),
        (8, Schedule, "success", None, Added),
        (9, Manual, "success", None, Added),
        (10, Schedule, "success", None, Added),
    ];
    for (at, trigger, outcome, reason, kept) in runs {
        let base = run(at, "success", serde_json::Value::Null);
        let status = RunStatus::from_labels(outcome, reason).unwrap();
        let light = Run { task: TaskKind::Checkpoint, trigger, status, ..base };
        assert_eq!(store.record(&light).unwrap(), kept, "run {at}");
    }
    let left = store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).unwrap();
    let left: Vec<f64> = left.iter().rev().map(|past| seconds(past.run.started_at)).collect();
    assert_eq!(left, [4.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
}
