//! The metric contract: golden texts, independent readers, and the reference.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use libtest_mimic::Trial;
use litekeeper::internals::collectors::CountMethod;
use litekeeper::internals::collectors::DatabaseFacts;
use litekeeper::internals::collectors::DatabaseSnapshot;
use litekeeper::internals::collectors::DatabaseState;
use litekeeper::internals::collectors::ErrorCounts;
use litekeeper::internals::collectors::IndexSize;
use litekeeper::internals::collectors::Readings;
use litekeeper::internals::collectors::Snapshot;
use litekeeper::internals::collectors::TableAge;
use litekeeper::internals::collectors::TableReadings;
use litekeeper::internals::collectors::TableRows;
use litekeeper::internals::collectors::TableSize;
use litekeeper::internals::collectors::TableSizes;
use litekeeper::internals::config::CustomKind;
use litekeeper::internals::config::CustomMetric;
use litekeeper::internals::config::DatabaseSettings;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use litekeeper::internals::locks::Hold;
use litekeeper::internals::locks::Lock;
use litekeeper::internals::locks::LockOwner;
use litekeeper::internals::locks::Locks;
use litekeeper::internals::metrics::AgentMetrics;
use litekeeper::internals::metrics::Exposition;
use litekeeper::internals::metrics::Format;
use litekeeper::internals::metrics::JobMetrics;
use litekeeper::internals::metrics::JobTarget;
use litekeeper::internals::os::FileFacts;
use litekeeper::internals::os::FileSize;
use litekeeper::internals::os::FilesystemFacts;
use litekeeper::internals::os::LockView;
use litekeeper::internals::os::Loss;
use litekeeper::internals::os::LostLocks;
use litekeeper::internals::os::OwnerState;
use litekeeper::internals::sealed::FindingCounts;
use litekeeper::internals::sealed::SealedTableStatus;
use litekeeper::internals::sqlite::AutoVacuum;
use litekeeper::internals::sqlite::BTreeSize;
use litekeeper::internals::sqlite::Check;
use litekeeper::internals::sqlite::Encoding;
use litekeeper::internals::sqlite::ErrorCode;
use litekeeper::internals::sqlite::Header;
use litekeeper::internals::sqlite::JournalMode;
use litekeeper::internals::sqlite::QueryResult;
use litekeeper::internals::sqlite::SchemaObjects;
use litekeeper::internals::sqlite::WalFrames;
use litekeeper::internals::state_store::CheckStatus;
use litekeeper::internals::state_store::ScrubStatus;
use litekeeper::internals::task::TaskKind;
use litekeeper::internals::tasks::Run;
use litekeeper::internals::tasks::RunStatus;
use litekeeper::internals::tasks::ScrubResult;
use litekeeper::internals::tasks::Trigger;
use litekeeper::internals::tasks::parse_report;

use crate::support::Agent;
use crate::support::TestDatabase;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    let python = std::env::var("LITEKEEPER_TEST_PYTHON").ok();
    vec![
        test("the_exposition_is_the_golden_one", the_exposition_is_the_golden_one),
        test("the_reference_is_fresh", the_reference_is_fresh),
        test("the_contract_is_kept", the_contract_is_kept),
        test_with_tool("promtool_finds_nothing", tool("promtool"), promtool_finds_nothing),
        test_with_tool(
            "an_independent_parser_reads_both_forms",
            python,
            an_independent_parser_reads_both_forms,
        ),
    ]
}

fn observed(name: &str, settings: DatabaseSettings) -> DatabaseSnapshot {
    let path = Path::new("/srv").join(format!("{name}.db"));
    DatabaseSnapshot {
        database: Arc::new(Database::new(DatabaseName::new(name), path, Arc::new(settings), 500)),
        state: DatabaseState::Pending,
        reason: None,
        down: None,
        confirmed_at: None,
        facts: None,
        files: None,
        filesystem: None,
        locks: None,
        owners: Arc::default(),
        errors: ErrorCounts::default(),
        replaced: 0,
        readings: Readings::default(),
    }
}

/// A database of which everything is known.
fn full() -> DatabaseSnapshot {
    let metric = |name: &str, kind| CustomMetric {
        name: name.to_owned(),
        kind,
        help: "Orders by state, \"open\" or not\nand more \\ less".to_owned(),
        sql: String::new(),
        value: "value".to_owned(),
        labels: vec!["state".to_owned()],
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(1),
        max_rows: 10,
    };
    let settings = DatabaseSettings {
        profile: "tenant".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "a \"quoted\" label".to_owned())]),
        custom_metrics: vec![metric("orders", CustomKind::Gauge), metric("sold", CustomKind::Counter)],
        ..DatabaseSettings::default()
    };
    let mut errors = ErrorCounts::default();
    errors.count(ErrorCode::Busy);
    let mut schema = Readings::default();
    schema.set("schema", 0, Some(Arc::new(SchemaObjects { tables: 3, indexes: 2, views: 1, triggers: 0 })));
    let size = |size| FileSize { size, allocated: size + 512 };
    DatabaseSnapshot {
        owners: Arc::new(OwnerState {
            lost: vec![LostLocks { pid: 7, loss: Loss::Locks }],
            locks_seen: true,
            files_seen: true,
        }),
        state: DatabaseState::Up,
        confirmed_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_482_123_250)),
        facts: Some(Arc::new(DatabaseFacts {
            header: Header {
                reserved_bytes: 0,
                page_size: 4096,
                pages: 1000,
                freelist_pages: 250,
                schema_version: 7,
                user_version: -3,
                application_id: 252_006_673,
                journal_mode: JournalMode::Wal,
                auto_vacuum: AutoVacuum::Incremental,
                encoding: Encoding::Utf8,
                writer_version: 3_046_001,
            },
            wal: Some(WalFrames { total: 40, checkpointed: 30, read_marks: [None; 5] }),
            change: None,
            readings: schema,
            failures: Vec::new(),
        })),
        files: Some(FileFacts {
            main: size(4_096_000),
            wal: Some(size(164_832)),
            shm: Some(size(32_768)),
            journal: None,
            last_write_seconds: 1_795_482_100.5,
        }),
        filesystem: Some(Arc::new(FilesystemFacts {
            available_bytes: 1 << 40,
            size_bytes: u64::MAX,
            fstype: Arc::from("nfs4"),
            network: true,
        })),
        locks: Some(Arc::new(locks())),
        errors,
        replaced: 2,
        readings: readings(),
        ..observed("books", settings)
    }
}

/// Values of every interval collector.
fn readings() -> Readings {
    let answer = |pairs: &[(&str, f64)]| {
        let rows = pairs.iter().map(|(label, value)| (vec![(*label).to_owned()], *value)).collect();
        Arc::new(QueryResult { rows, dropped: 0 })
    };
    let tables = TableReadings {
        rows: vec![
            TableRows { table: "logs".to_owned(), rows: 12, method: CountMethod::Count },
            TableRows {
                table: "odd\"table\n".to_owned(),
                rows: 5_000_000_000,
                method: CountMethod::Estimate,
            },
        ],
        ages: vec![TableAge { table: "logs".to_owned(), oldest: 1_778_207_426.0, newest: 1_795_486_994.0 }],
    };
    let sizes = TableSizes {
        tables: vec![
            TableSize {
                table: "logs".to_owned(),
                own: Some(BTreeSize { bytes: 2_048_000, unused: 4_096 }),
                indexes: vec![IndexSize { index: "logs \"by\" time".to_owned(), bytes: 409_600 }],
            },
            TableSize { table: "not measured in time".to_owned(), own: None, indexes: Vec::new() },
        ],
        others: 3,
        others_bytes: 12_288,
        timed_out: vec!["not measured in time".to_owned()],
    };
    let mut readings = Readings::default();
    readings.set("row_counts", 0, Some(Arc::new(tables)));
    readings.set("table_sizes", 0, Some(Arc::new(sizes)));
    readings.set("custom_metrics", 0, Some(answer(&[("open", 3.0), ("back\\slash", -0.5)])));
    readings.set("custom_metrics", 1, Some(answer(&[("", 9.0)])));
    readings
}

/// Two readers, one of them under two read locks, and a writer.
fn locks() -> Locks {
    let hold = |lock, pid, seconds| Hold {
        lock,
        owner: LockOwner { pid: Some(pid), count: 1, process: None },
        first_seen_at: SystemTime::UNIX_EPOCH,
        held: Duration::from_secs_f64(seconds),
        pinned_frames: None,
    };
    let holds = vec![
        hold(Lock::WalRead(1), 7, 61.5),
        hold(Lock::WalRead(2), 7, 15.0),
        hold(Lock::WalRead(2), 8, 0.0),
        hold(Lock::WalWrite, 8, 0.0),
    ];
    let owner = |pid, count| LockOwner { pid, count, process: None };
    Locks { view: LockView::Whole, holds, connected: Some(vec![owner(None, 2), owner(Some(7), 1)]) }
}

/// Every kind of job with a run behind it, so that each family has a sample.
fn jobs() -> Arc<JobMetrics> {
    let jobs = JobMetrics::default();
    let database = DatabaseName::new("books");
    let target = |task, checks: &[Check]| JobTarget {
        database: database.clone(),
        task,
        expected_interval: Duration::from_secs(86_400),
        timeout: Duration::from_secs(3_600),
        retentions: match task {
            TaskKind::LogCleaning => vec![("logs".to_owned(), Some(Duration::from_secs(7_776_000)))],
            TaskKind::HealthCheck
            | TaskKind::QuickCheck
            | TaskKind::Vacuum
            | TaskKind::Backup
            | TaskKind::Checkpoint
            | TaskKind::Optimize
            | TaskKind::Scrub => Vec::new(),
        },
        checks: checks.to_vec(),
        verify_interval: (task == TaskKind::Backup).then_some(Duration::from_secs(604_800)),
    };
    let targets = [
        target(TaskKind::HealthCheck, &[Check::Full, Check::ForeignKey]),
        target(TaskKind::LogCleaning, &[]),
        target(TaskKind::Vacuum, &[]),
        target(TaskKind::Backup, &[]),
        target(TaskKind::Scrub, &[]),
    ];
    jobs.set_targets(&targets);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let run = |task, outcome: &str, reason: Option<&str>, details: serde_json::Value| Run {
        database: database.clone(),
        path: "/srv/books.db".into(),
        task,
        trigger: Trigger::Schedule,
        due_at: Some(at(1_795_000_000)),
        started_at: at(1_795_000_000),
        elapsed: Duration::from_secs(2),
        status: RunStatus::from_labels(outcome, reason).unwrap(),
        message: None,
        report: parse_report(task, &details),
        details,
        trace: None,
    };
    let vacuum = serde_json::json!({ "max_write_hold_seconds": 0.5, "vacuum": {
        "method": "full", "size_before_bytes": 3000, "size_after_bytes": 1000, "saved_bytes": 2000,
        "saved_percent": 66.7, "complete": true, "wal_truncated": null } });
    let cleaning = serde_json::json!({ "max_write_hold_seconds": 0.02, "log_cleaning": { "deleted_rows": 7, "tables": [
        { "table": "logs", "deleted_rows": 7, "batches": 2, "complete": true, "retention_seconds": 7776000,
          "cutoff": null, "format": null, "archive": null, "note": null } ] } });
    let backup = serde_json::json!({ "max_write_hold_seconds": 0.0, "backup": {
        "path": "/srv/backups/books.backup", "size_bytes": 4096, "tables": 1, "rows": 7, "not_compared": [], "attempts": 1,
        "copy_seconds": 0.5, "verify_seconds": 0.5, "verified_at": 1795000001.5, "files": 2, "removed": [],
        "kept": [
            { "path": "/srv/backups/3.backup", "size_bytes": 4096, "state": "verified", "verified_at": 1795000001.5, "checked_at": 1795000001.5, "problem": null, "changed_at": 3 },
            { "path": "/srv/backups/2.backup", "size_bytes": 4096, "state": "verified", "verified_at": 1794000001.5, "checked_at": 1794000001.5, "problem": null, "changed_at": 2 },
            { "path": "/srv/backups/1.backup", "size_bytes": 4096, "state": "damaged", "verified_at": 1793000001.5, "checked_at": 1794000002.5, "problem": "page 7 differs", "changed_at": 1 }
        ] } });
    jobs.observe(&run(TaskKind::Backup, "success", None, backup));
    jobs.observe(&run(TaskKind::Vacuum, "success", None, vacuum));
    jobs.observe(&run(TaskKind::LogCleaning, "success", None, cleaning));
    jobs.observe(&run(TaskKind::HealthCheck, "failed", Some("corrupt"), serde_json::Value::Null));
    jobs.observe(&run(TaskKind::Vacuum, "skipped", Some("below_threshold"), serde_json::Value::Null));
    jobs.started(&database, TaskKind::Vacuum, at(1_795_000_100));
    jobs.progressed(&database, TaskKind::Vacuum, 0.25);
    jobs.set_next_run(&database, TaskKind::Vacuum, Some(at(1_795_600_000)));
    jobs.missed(&database, TaskKind::LogCleaning, 3);
    let standing = CheckStatus {
        ok: false,
        problems: 2,
        first_problem: None,
        completed_at: at(1_795_000_002),
        whole_at: at(1_795_000_002),
        notes: litekeeper::internals::tasks::Notes {
            constraints: 1,
            btrees: 7,
            btrees_checked: 6,
            ..Default::default()
        },
    };
    jobs.set_standings(&database, [(Check::Full, standing)].into());
    jobs.set_scrub(&database, Some(scrub(at(1_795_000_003))));
    let vouchers = SealedTableStatus {
        table: "vouchers \"closed\"".to_owned(),
        rows: 18_206,
        found: FindingCounts { changed: 1, deleted: 2, unsealed: 3 },
        baseline_at: 1_794_000_000,
        compared_at: 1_795_000_004,
    };
    let never_compared = SealedTableStatus { table: "audit_log".to_owned(), ..SealedTableStatus::default() };
    jobs.set_sealed(&database, vec![vouchers, never_compared]);
    Arc::new(jobs)
}

/// A scrub that found a page that nobody wrote.
fn scrub(completed_at: SystemTime) -> ScrubStatus {
    let result = ScrubResult {
        verified: 90,
        rebased: 6,
        unverified: 3,
        reasons: vec![("written".to_owned(), 6), ("freelist".to_owned(), 3)],
        verified_ratio: Some(0.9),
        is_first: false,
        mismatches: 1,
        first_problem: Some("page 7".to_owned()),
    };
    ScrubStatus { result, completed_at, damaged_since: Some(completed_at) }
}

fn encoded(format: Format) -> String {
    let down = DatabaseSnapshot {
        state: DatabaseState::Down,
        down: Some("damaged"),
        ..observed("down \"quoted\"\nname\\", DatabaseSettings::default())
    };
    let databases = vec![full(), down, observed("pending", DatabaseSettings::default())];
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot { databases, complete: true }));
    let agent = Arc::new(AgentMetrics::default());
    litekeeper::internals::http::declare_requests(&agent);
    Exposition::new(snapshot, &jobs(), &agent).encode(format).unwrap()
}

/// Leaves out the values that differ between machines and builds, but not their names.
fn steady(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(['{', ' ']) {
            Some((name, _)) if name.starts_with("process_") => format!("{name} …\n"),
            Some((name, _)) if name == "litekeeper_build_info" => format!("{name}{{…}} 1\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

fn the_exposition_is_the_golden_one() {
    for (format, file) in [(Format::OpenMetrics, "openmetrics.txt"), (Format::Text, "text.txt")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(file);
        let now = steady(&encoded(format));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let first = golden.lines().zip(now.lines()).find(|(golden, now)| golden != now);
        assert!(
            golden == now,
            "{file}: names, types, labels and HELP are an interface; the first difference is {first:?}.\n\
             If the change is meant, UPDATE_GOLDEN=1 cargo test --test it, and say so in CHANGELOG.md"
        );
    }
}

fn the_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    assert!(
        std::fs::read_to_string(path).unwrap() == litekeeper::internals::metrics::reference(),
        "docs/METRICS.md is stale; write it anew: cargo run -- metrics > docs/METRICS.md"
    );
}

/// The metrics of the contract that a watching agent has.
const CONTRACT: [&str; 103] = [
    "litekeeper_alert_threshold",
    "litekeeper_backup_files",
    "litekeeper_backup_kept_files",
    "litekeeper_backup_kept_verified_timestamp_seconds",
    "litekeeper_backup_last_verified_timestamp_seconds",
    "litekeeper_backup_size_bytes",
    "litekeeper_backup_verify_interval_seconds",
    "litekeeper_build_info",
    "litekeeper_config_last_reload_success_timestamp_seconds",
    "litekeeper_config_last_reload_successful",
    "litekeeper_databases",
    "litekeeper_discovery_errors_total",
    "litekeeper_http_requests_total",
    "litekeeper_job_duration_seconds",
    "litekeeper_job_expected_interval_seconds",
    "litekeeper_job_failures_total",
    "litekeeper_job_last_completion_timestamp_seconds",
    "litekeeper_job_last_duration_seconds",
    "litekeeper_job_last_run_success",
    "litekeeper_job_last_start_timestamp_seconds",
    "litekeeper_job_last_success_timestamp_seconds",
    "litekeeper_job_max_write_hold_seconds",
    "litekeeper_job_missed_runs_total",
    "litekeeper_job_next_run_timestamp_seconds",
    "litekeeper_job_progress_ratio",
    "litekeeper_job_running",
    "litekeeper_job_runs_total",
    "litekeeper_job_skips_total",
    "litekeeper_job_timeout_seconds",
    "litekeeper_maintenance_paused",
    "litekeeper_retention_batches_total",
    "litekeeper_retention_cascaded_rows_total",
    "litekeeper_retention_complete",
    "litekeeper_retention_deleted_rows_total",
    "litekeeper_retention_kept_rows",
    "litekeeper_retention_window_seconds",
    "litekeeper_sample_duration_seconds",
    "litekeeper_sample_interval_seconds",
    "litekeeper_samples_skipped_total",
    "litekeeper_series_dropped_total",
    "litekeeper_series_limit",
    "litekeeper_sweep_duration_seconds",
    "litekeeper_trace_spans_dropped_total",
    "litekeeper_trace_spans_exported_total",
    "litekeeper_vacuum_last_size_after_bytes",
    "litekeeper_vacuum_last_size_before_bytes",
    "litekeeper_vacuum_reclaimed_bytes_total",
    "litekeeper_web_config_last_reload_successful",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "sqlite_connected_processes",
    "sqlite_db_info",
    "sqlite_down_reason",
    "sqlite_errors_total",
    "sqlite_file_allocated_bytes",
    "sqlite_file_replaced_total",
    "sqlite_file_size_bytes",
    "sqlite_filesystem_avail_bytes",
    "sqlite_filesystem_info",
    "sqlite_filesystem_size_bytes",
    "sqlite_freelist_pages",
    "sqlite_index_size_bytes",
    "sqlite_integrity_btrees",
    "sqlite_integrity_btrees_checked",
    "sqlite_integrity_check_interval_seconds",
    "sqlite_integrity_constraint_violations",
    "sqlite_integrity_last_completed_timestamp_seconds",
    "sqlite_integrity_last_whole_timestamp_seconds",
    "sqlite_integrity_ok",
    "sqlite_integrity_problems",
    "sqlite_last_write_timestamp_seconds",
    "sqlite_lock_held_seconds",
    "sqlite_lock_holders",
    "sqlite_lost_lock_processes",
    "sqlite_page_size_bytes",
    "sqlite_pages",
    "sqlite_sample_timestamp_seconds",
    "sqlite_schema_objects",
    "sqlite_schema_version",
    "sqlite_scrub_interval_seconds",
    "sqlite_scrub_last_completed_timestamp_seconds",
    "sqlite_scrub_mismatches",
    "sqlite_scrub_ok",
    "sqlite_scrub_pages",
    "sqlite_scrub_unverified_pages",
    "sqlite_scrub_verified_ratio",
    "sqlite_sealed_findings",
    "sqlite_sealed_last_compared_timestamp_seconds",
    "sqlite_sealed_rows",
    "sqlite_table_newest_row_timestamp_seconds",
    "sqlite_table_oldest_row_timestamp_seconds",
    "sqlite_table_rows",
    "sqlite_table_size_bytes",
    "sqlite_table_unused_bytes",
    "sqlite_up",
    "sqlite_user_version",
    "sqlite_wal_checkpointed_frames",
    "sqlite_wal_frames",
    "sqlite_writer_version",
];

fn the_contract_is_kept() {
    let reference = litekeeper::internals::metrics::reference();
    let mut named: Vec<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    named.sort_unstable();
    assert_eq!(named, CONTRACT);
    // No label that Prometheus gives itself.
    let text = encoded(Format::Text);
    for label in ["job=", "instance="] {
        assert!(!text.contains(&format!("{{{label}")) && !text.contains(&format!(",{label}")), "{label}");
    }
    // Counters are there before the first event.
    for line in ["code=\"SQLITE_CORRUPT\"} 0", "reason=\"stuck\"} 0", "handler=\"/metrics\",code=\"200\"} 0"]
    {
        assert!(text.contains(line), "{line}");
    }
}

fn piped(command: &mut Command, input: &str) -> (bool, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn live() -> (Agent, TestDatabase) {
    let fixture = TestDatabase::new("live").wal().rows(20).make();
    (Agent::serve(&[fixture.path()]).ready(), fixture)
}

fn promtool_finds_nothing(promtool: &str) {
    let (agent, _made) = live();
    for text in [encoded(Format::Text), agent.metrics().text] {
        let (good, words) = piped(Command::new(promtool).args(["check", "metrics"]), &text);
        assert!(good && words.trim().is_empty(), "{words}");
    }
}

fn an_independent_parser_reads_both_forms(python: &str) {
    let (agent, _made) = live();
    let accept = ("Accept", "application/openmetrics-text;version=1.0.0");
    let openmetrics = agent.request("GET", "/metrics", &[accept]).text();
    for (form, text) in [
        ("openmetrics", encoded(Format::OpenMetrics)),
        ("text", encoded(Format::Text)),
        ("openmetrics", openmetrics),
        ("text", agent.metrics().text),
    ] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openmetrics.py");
        let (good, words) = piped(Command::new(python).arg(script).arg(form), &text);
        assert!(good, "{form}: {words}");
    }
}
