//! Backups, checkpoints and statistics through the real binary, beside owners in processes of their own.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use libtest_mimic::Trial;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::mount::can_mount;
use crate::support::mount::mount;
use crate::support::mount::unmount;
use crate::support::test;
use crate::support::test_with_tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_backup_beside_a_writer_is_one_state", a_backup_beside_a_writer_is_one_state),
        test("a_backup_leaves_no_trace_and_is_no_wider", a_backup_leaves_no_trace_and_is_no_wider),
        test("a_backup_killed_at_any_moment_is_none", a_backup_killed_at_any_moment_is_none),
        test("a_backup_that_is_stopped_leaves_nothing", a_backup_that_is_stopped_leaves_nothing),
        test("a_damaged_database_rotates_no_backup_out", a_damaged_database_rotates_no_backup_out),
        test_with_tool(
            "a_backup_without_space_is_skipped",
            can_mount().then(|| "mount".to_owned()),
            a_backup_without_space_is_skipped,
        ),
        test("a_backup_is_made_beside_an_open_transaction", a_backup_is_made_beside_an_open_transaction),
        test("a_backup_ends_when_the_wal_grows", a_backup_ends_when_the_wal_grows),
        test("a_backup_is_restored_and_a_damaged_one_found", a_backup_is_restored_and_a_damaged_one_found),
        test("a_backup_is_in_the_metrics_from_the_start", a_backup_is_in_the_metrics_from_the_start),
        test("a_checkpoint_beside_a_reader_disturbs_nobody", a_checkpoint_beside_a_reader_disturbs_nobody),
        test("an_unsafe_version_gets_passive_checkpoints", an_unsafe_version_gets_passive_checkpoints),
        test("a_checkpoint_knows_when_to_stay_away", a_checkpoint_knows_when_to_stay_away),
        test("statistics_are_made_once_and_when_stale", statistics_are_made_once_and_when_stale),
    ]
}

/// Writes a configuration beside a database, with a state file and a directory for backups, and gives its path.
fn configure(fixture: &TestDatabase, tasks: &str) -> String {
    let _ = std::fs::create_dir(fixture.directory().join("backups"));
    let file = fixture.directory().join("litekeeper.yml");
    let text =
        format!("state: state.sqlite\ndatabases:\n  - path: app.db\n    name: app\n    tasks: {tasks}\n");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// `litekeeper run … --json` of one task: the exit code and the run.
fn run(task: &str, config: &str) -> (Option<i32>, Value) {
    let output = Output::of(&["run", task, "--config", config, "--json", "--log.level", "error"]);
    let document: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", output.stdout, output.stderr));
    (output.code, document["runs"][0].clone())
}

/// Everything in the directory of backups but manifests, sorted.
fn backup_files(fixture: &TestDatabase) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(fixture.directory().join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "manifest"))
        .collect();
    found.sort();
    found
}

/// The manifest of a backup.
fn manifest_of(backup: &Path) -> PathBuf {
    PathBuf::from(format!("{}.manifest", backup.display()))
}

/// Opens a file that nobody else has open, without a companion file.
fn open_still(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{}?immutable=1", path.display()), flags).unwrap()
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, (), |row| row.get(0)).unwrap()
}

fn assert_sound(path: &Path) {
    let verdict: String = open_still(path).query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok", "{}", path.display());
}

/// So many megabytes, about, in `items`.
fn large(wal: bool, megabytes: u32) -> TestDatabase {
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO items SELECT i, hex(zeroblob(500)) FROM n;",
        megabytes * 950
    );
    let fixture = TestDatabase::new("app").sql(&sql);
    if wal { fixture.wal().make() } else { fixture.make() }
}

const BACKUP: &str = "{backup: {to: backups, keep: 2, min_free_space: 0}}";

fn a_backup_beside_a_writer_is_one_state() {
    for wal in [false, true] {
        let fixture = large(wal, 4);
        fixture.connect().execute_batch("CREATE TABLE one (id); CREATE TABLE two (id)").unwrap();
        let config = configure(&fixture, BACKUP);
        let over = AtomicBool::new(false);
        let mut owner = SecondProcess::open(&fixture.path());
        let mut pair = || {
            owner.run("BEGIN IMMEDIATE; INSERT INTO one VALUES (1); INSERT INTO two VALUES (1); COMMIT");
        };
        pair();
        let runs: Vec<_> = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    pair();
                }
            });
            let runs = (0..3).map(|_| run("backup", &config)).collect();
            over.store(true, Ordering::Relaxed);
            writer.join().unwrap();
            runs
        });
        for (code, run) in &runs {
            assert_eq!(*code, Some(0), "wal {wal}: {run:#?}");
        }
        let kept = backup_files(&fixture);
        assert_eq!(kept.len(), 2, "two stay: {kept:?}");
        for (path, (_, run)) in kept.iter().zip(&runs[1..]) {
            let backup = &run["details"]["backup"];
            assert_eq!(Path::new(backup["path"].as_str().unwrap()), path);
            assert_sound(path);
            let copy = open_still(path);
            // What one transaction wrote is in it whole or not at all, and what it says was counted is there.
            let (one, two) =
                (number(&copy, "SELECT count(*) FROM one"), number(&copy, "SELECT count(*) FROM two"));
            assert!(one == two && one > 0, "{one} and {two}");
            let items = number(&copy, "SELECT count(*) FROM items");
            assert_eq!(backup["rows"], one + two + items, "{backup:#?}");
            assert_eq!((&backup["tables"], &backup["not_compared"]), (&3.into(), &Value::Array(Vec::new())));
            assert_eq!(backup["size_bytes"], std::fs::metadata(path).unwrap().len());
        }
    }
}

fn a_backup_leaves_no_trace_and_is_no_wider() {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    for (wal, mode) in [(true, 0o640), (false, 0o600), (true, 0o664)] {
        let fixture = large(wal, 1);
        std::fs::set_permissions(fixture.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        // Only root can give a file away; elsewhere the mode alone is tried.
        let _ = std::os::unix::fs::chown(fixture.path(), Some(1234), Some(1234));
        let config = configure(&fixture, BACKUP);
        let before = std::fs::read(fixture.path()).unwrap();
        let (code, run) = run("backup", &config);
        assert_eq!(code, Some(0), "{run:#?}");
        assert_eq!(std::fs::read(fixture.path()).unwrap(), before);
        for suffix in ["-wal", "-shm", "-journal"] {
            assert!(!fixture.directory().join(format!("app.db{suffix}")).exists(), "{suffix}");
        }
        let [backup] = backup_files(&fixture).try_into().unwrap();
        let (copy, source) =
            (std::fs::metadata(&backup).unwrap(), std::fs::metadata(fixture.path()).unwrap());
        assert_eq!((copy.mode(), copy.uid(), copy.gid()), (source.mode(), source.uid(), source.gid()));
        // The same pages, and so the same journal mode, when it is put back.
        assert!(std::fs::read(&backup).unwrap() == before);
        let manifest = std::fs::metadata(manifest_of(&backup)).unwrap();
        assert_eq!(
            (manifest.mode(), manifest.uid(), manifest.gid()),
            (source.mode(), source.uid(), source.gid())
        );
    }
    as_another_user_the_group_may_not_read();
    let fixture = TestDatabase::new("app").make();
    let config = configure(&fixture, "{backup: {to: not/mounted}}");
    let dry = Output::of(&["run", "backup", "--dry-run", "--config", &config]);
    assert!(
        dry.stdout.contains("would not run") && dry.stdout.contains("the directory does not exist"),
        "{}",
        dry.stdout
    );
    let (code, run) = run("backup", &config);
    assert_eq!((code, &run["reason"]), (Some(3), &"io".into()), "{run:#?}");
    assert!(!fixture.directory().join("not").exists());
}

/// Who may not give a copy to the owner's group does not let another group read what that one may.
fn as_another_user_the_group_may_not_read() {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let fixture = TestDatabase::new("app").make();
    let config = configure(&fixture, BACKUP);
    std::fs::set_permissions(fixture.path(), std::fs::Permissions::from_mode(0o664)).unwrap();
    for path in [fixture.directory().to_owned(), fixture.directory().join("backups")] {
        if std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).is_err() {
            return;
        }
    }
    std::os::unix::fs::chown(fixture.path(), Some(1234), Some(1234)).unwrap();
    let mut command = litekeeper();
    command.args(["run", "backup", "--config", &config, "--log.level", "error"]);
    let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let copy = std::fs::metadata(&backup_files(&fixture)[0]).unwrap();
    assert_eq!((copy.uid(), copy.gid(), copy.mode() & 0o777), (NOBODY, NOBODY, 0o604));
}

fn start_backup(config: &str) -> std::process::Child {
    litekeeper()
        .args(["run", "backup", "--json", "--config", config, "--log.level", "off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn is_incomplete(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "incomplete")
}

fn a_backup_killed_at_any_moment_is_none() {
    const KILLS: u32 = 24;
    let fixture = large(true, 8);
    let config = configure(&fixture, BACKUP);
    let mut owner = SecondProcess::open(&fixture.path());
    let mut left = 0;
    for kill in 0..10 * KILLS {
        // More than planned only where none met a copy yet.
        if kill >= KILLS && left > 0 {
            break;
        }
        let mut child = start_backup(&config);
        // The moment: after so many commits of the owner, which is at work meanwhile.
        if kill % 2 == 1 {
            eventually("the copy has begun, or the run is over", || {
                let begun = backup_files(&fixture).iter().any(|path| is_incomplete(path));
                (begun || child.try_wait().unwrap().is_some()).then_some(())
            });
        }
        for _ in 0..kill % KILLS * 6 {
            owner.run("UPDATE items SET text = hex(randomblob(500)) WHERE id = 7");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for path in backup_files(&fixture) {
            if is_incomplete(&path) {
                left += 1;
            } else {
                assert_sound(&path);
                assert!(manifest_of(&path).exists(), "{} has no manifest", path.display());
            }
        }
    }
    assert!(left > 0, "no kill met a copy");
    let orphan = manifest_of(
        &backup_files(&fixture)[0].with_file_name("app-20200102T030405.678Z-000000000000.backup"),
    );
    std::fs::write(&orphan, "of a backup of another database").unwrap();
    let other = fixture.directory().join("backups/.other-20260102T030405.678Z.backup.incomplete");
    std::fs::write(&other, "of another database").unwrap();
    assert_eq!(run("backup", &config).0, Some(0));
    let incomplete: Vec<PathBuf> =
        backup_files(&fixture).into_iter().filter(|path| is_incomplete(path)).collect();
    assert_eq!(incomplete, [other], "the next run tidies up what is its own");
    let directory = std::fs::read_dir(fixture.directory().join("backups")).unwrap();
    let mut manifests: Vec<PathBuf> = directory.map(|entry| entry.unwrap().path()).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "manifest"));
    let mut expected: Vec<PathBuf> = backup_files(&fixture)
        .iter()
        .filter(|path| !is_incomplete(path))
        .map(|path| manifest_of(path))
        .collect();
    expected.push(orphan);
    manifests.sort();
    expected.sort();
    assert_eq!(manifests, expected, "each backup has a manifest, and no manifest of its own lacks a backup");
}

fn a_backup_that_is_stopped_leaves_nothing() {
    let fixture = large(true, 60);
    let config = configure(&fixture, BACKUP);
    // The signal may come too late on a busy machine; then there is a whole backup, and another try.
    let document = (0..20).find_map(|_| {
        let child = start_backup(&config);
        eventually("the copy has begun", || (!backup_files(&fixture).is_empty()).then_some(()));
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        let output = child.wait_with_output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        if document["runs"][0]["outcome"] != "success" {
            return Some(document);
        }
        backup_files(&fixture).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        None
    });
    let document = document.expect("a signal came before the end of a run");
    assert_eq!(document["runs"][0]["reason"], "canceled", "{document:#?}");
    assert!(backup_files(&fixture).is_empty(), "{:?}", backup_files(&fixture));
}

/// Makes the index disagree with its table, as a lost write would: SQLite's quick check calls that sound.
fn damage_index(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE INDEX by_text ON items (id)' WHERE name = 'by_text';",
        )
        .unwrap();
}

fn a_damaged_database_rotates_no_backup_out() {
    let fixture = TestDatabase::new("app").rows(500).sql("CREATE INDEX by_text ON items (text);").make();
    let config = configure(&fixture, "{backup: {to: backups, keep: 1, min_free_space: 0}}");
    assert_eq!(run("backup", &config).0, Some(0));
    let good = backup_files(&fixture);
    damage_index(&fixture.path());
    let (code, failed) = run("backup", &config);
    assert_eq!((code, &failed["reason"]), (Some(3), &"corrupt".into()), "{failed:#?}");
    assert!(failed["message"].as_str().unwrap().contains("earlier backups are kept"), "{failed:#?}");
    assert_eq!(backup_files(&fixture), good);
    // It counts as a failed check: nothing is written until a full one passes.
    let (code, skipped) = run("backup", &config);
    assert_eq!((code, &skipped["reason"]), (Some(4), &"unhealthy".into()), "{skipped:#?}");
    assert_eq!(backup_files(&fixture), good);
    assert_sound(&good[0]);
}

fn a_backup_without_space_is_skipped(_mount: &str) {
    let fixture = large(false, 3);
    let config = configure(&fixture, "{backup: {to: backups, keep: 1, min_free_space: 1MiB}}");
    let directory = fixture.directory().join("backups");
    assert!(mount(&directory, "8m"));
    let result = std::panic::catch_unwind(|| {
        assert_eq!(run("backup", &config).0, Some(0));
        let good = backup_files(&fixture);
        let filler = directory.join("filler");
        std::fs::write(&filler, vec![1; 2 << 20]).unwrap();
        let (code, skipped) = run("backup", &config);
        assert_eq!((code, &skipped["reason"]), (Some(4), &"no_space".into()), "{skipped:#?}");
        std::fs::remove_file(&filler).unwrap();
        assert_eq!(backup_files(&fixture), good, "the one that is there stays until there is a better one");
        assert_eq!(run("backup", &config).0, Some(0));
        assert!(backup_files(&fixture).len() == 1 && backup_files(&fixture) != good);
    });
    unmount(&directory);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn a_backup_is_made_beside_an_open_transaction() {
    let fixture = large(false, 20);
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN IMMEDIATE; INSERT INTO items VALUES (0, 'zero')");
    let config = configure(&fixture, "{backup: {to: backups, min_free_space: 0, max_writer_wait: 5ms}}");
    let (code, done) = run("backup", &config);
    assert_eq!(code, Some(0), "{done:#?}");
    assert_eq!(done["details"]["max_write_hold_seconds"], 0.0, "no lock was needed: {done:#?}");
    owner.run("COMMIT");
    assert_eq!(number(&open_still(&backup_files(&fixture)[0]), "SELECT count(*) FROM items WHERE id = 0"), 0);
}

fn a_backup_ends_when_the_wal_grows() {
    let fixture = large(true, 20);
    let config = configure(&fixture, "{backup: {to: backups, min_free_space: 0, max_wal_growth: 0}}");
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("PRAGMA wal_autocheckpoint = 0; INSERT INTO items VALUES (0, 'zero')");
    // On a busy machine the owner may get no turn while the copy is made; then there is another try.
    let output = (0..20).find_map(|_| {
        let mut child = start_backup(&config);
        while child.try_wait().unwrap().is_none() {
            owner.run("UPDATE items SET text = hex(randomblob(4)) WHERE id = 0");
        }
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            return Some(output);
        }
        backup_files(&fixture).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        None
    });
    let output = output.expect("the WAL grew during a copy");
    assert_eq!(output.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &document["runs"][0];
    assert!(
        run["reason"] == "busy" && run["message"].as_str().unwrap().contains("max_wal_growth"),
        "{run:#?}"
    );
    assert!(backup_files(&fixture).is_empty(), "{:?}", backup_files(&fixture));
}

fn a_backup_is_restored_and_a_damaged_one_found() {
    use std::io::Seek as _;
    use std::io::Write as _;
    let fixture = TestDatabase::new("app").wal().rows(2000).make();
    let config = configure(&fixture, BACKUP);
    run("backup", &config);
    run("backup", &config);
    let [bad, good] = backup_files(&fixture).try_into().unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&bad).unwrap();
    file.seek(std::io::SeekFrom::Start(2 * 4096)).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    let (bad, good) = (bad.to_str().unwrap(), good.to_str().unwrap());
    let verified = Output::of(&["restore", "--verify", good]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.stdout.contains("rows of items") && verified.stdout.contains("2,000"), "{verified:?}");
    let both = Output::of(&["restore", "--verify", "--json", good, bad]);
    let document: Value = serde_json::from_str(&both.stdout).unwrap();
    let statuses: Vec<&Value> =
        document["databases"].as_array().unwrap().iter().map(|report| &report["status"]).collect();
    assert_eq!((both.code, statuses), (Some(1), vec![&Value::from("healthy"), &"problems".into()]));
    assert_eq!(document["databases"][0]["rows"][0]["rows"], 2000);
    let target = fixture.directory().join("restored.db");
    let to = target.to_str().unwrap();
    let refused = Output::of(&["restore", bad, to]);
    assert!(refused.code == Some(1) && refused.stderr.contains("the backup is damaged"), "{refused:?}");
    std::fs::write(fixture.directory().join("restored.db-wal"), "of another").unwrap();
    let refused = Output::of(&["restore", good, to]);
    assert!(refused.code == Some(2) && refused.stderr.contains("restored.db-wal"), "{refused:?}");
    std::fs::remove_file(fixture.directory().join("restored.db-wal")).unwrap();
    let restored = Output::of(&["restore", good, to]);
    assert!(restored.code == Some(0) && restored.stdout.contains("Stop the application"), "{restored:?}");
    let connection = Connection::open(&target).unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM items"), 2000);
    let mode: String = connection.query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let before = std::fs::read(&target).unwrap();
    let refused = Output::of(&["restore", "--json", good, to]);
    assert!(refused.code == Some(2) && refused.stdout.contains("already exists"), "{refused:?}");
    assert_eq!(std::fs::read(&target).unwrap(), before);
    assert_eq!(Output::of(&["restore", good]).code, Some(2));
}

fn a_backup_is_in_the_metrics_from_the_start() {
    const VERIFIED: &str = "litekeeper_backup_last_verified_timestamp_seconds";
    let fixture = TestDatabase::new("app").wal().rows(100).make();
    let tasks = "{backup: {to: backups, min_free_space: 0}, checkpoint: {}, optimize: {}}";
    let config = configure(&fixture, tasks);
    let serve = || {
        let mut command = litekeeper();
        command.args(["serve", "--config", &config]);
        Agent::start(command)
    };
    let agent = serve();
    let labels = [("db", "app"), ("task", "backup")];
    let scrape = agent.until(VERIFIED, &labels, 0.0);
    for task in ["backup", "checkpoint", "optimize"] {
        for counter in ["litekeeper_job_runs_total", "litekeeper_job_missed_runs_total"] {
            assert_eq!(scrape.value(counter, &[("task", task)]), Some(0.0), "{counter} {task}");
        }
        let unsafe_skips = [("task", task), ("reason", "version_unsafe")];
        assert_eq!(scrape.value("litekeeper_job_skips_total", &unsafe_skips), Some(0.0));
    }
    // The runner publishes it after the families of the tasks are there.
    eventually("the next checkpoint is planned", || {
        let next = "litekeeper_job_next_run_timestamp_seconds";
        agent.metrics().value(next, &[("task", "checkpoint")]).filter(|next| *next > 0.0)
    });
    assert_eq!(run("backup", &config).0, Some(0));
    let seen = |agent: &Agent| {
        agent.until("litekeeper_backup_files", &labels, 1.0);
        let scrape = agent.metrics();
        let size = std::fs::metadata(&backup_files(&fixture)[0]).unwrap().len() as f64;
        assert_eq!(scrape.value("litekeeper_backup_size_bytes", &labels), Some(size));
        scrape.value(VERIFIED, &labels).unwrap()
    };
    let verified = seen(&agent);
    assert!(verified > 1e9, "{verified}");
    drop(agent);
    // A failure after it, and a restart, take nothing of that away.
    std::fs::rename(fixture.directory().join("backups"), fixture.directory().join("gone")).unwrap();
    assert_eq!(run("backup", &config).0, Some(3));
    std::fs::rename(fixture.directory().join("gone"), fixture.directory().join("backups")).unwrap();
    assert_eq!(seen(&serve()), verified);
    let schedule = Output::of(&["schedule", "--config", &config]).stdout;
    let history = Output::of(&["history", "--config", &config, "--task", "backup"]).stdout;
    assert!(["backup", "checkpoint", "optimize"].iter().all(|task| schedule.contains(task)), "{schedule}");
    assert!(history.contains("verified with 100 rows"), "{history}");
}

fn wal_size(fixture: &TestDatabase) -> u64 {
    std::fs::metadata(fixture.directory().join("app.db-wal")).unwrap().len()
}

fn a_checkpoint_beside_a_reader_disturbs_nobody() {
    let fixture = TestDatabase::new("app").wal().rows(10).make();
    let config = configure(&fixture, "{checkpoint: {truncate_above: 1KiB}}");
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("PRAGMA wal_autocheckpoint = 0; INSERT INTO items VALUES (100, 'before')");
    let mut reader = SecondProcess::open(&fixture.path());
    reader.run("BEGIN; SELECT count(*) FROM items");
    owner.run("INSERT INTO items VALUES (101, 'after')");
    let dry = Output::of(&["run", "checkpoint", "--dry-run", "--config", &config]).stdout;
    assert!(dry.contains("frames would be copied, and the file emptied if nobody uses it"), "{dry}");
    let size = wal_size(&fixture);
    let (code, first) = run("checkpoint", &config);
    let report = &first["details"]["checkpoint"];
    assert_eq!((code, &report["reader_in_the_way"]), (Some(0), &true.into()), "{first:#?}");
    assert_eq!((&report["truncated"], wal_size(&fixture)), (&false.into(), size));
    let (all, done) =
        (report["frames_after"].as_u64().unwrap(), report["checkpointed_after"].as_u64().unwrap());
    assert!(done > 0 && done < all, "what the reader does not need is copied: {first:#?}");
    assert_eq!(report["frames_before"], all);
    // The writer has a turn at once: nothing holds its lock.
    owner.run("PRAGMA busy_timeout = 0; INSERT INTO items VALUES (102, 'beside')");
    // A reader of the newest state lets all be copied, and keeps the file from being emptied.
    reader.run("COMMIT").run("BEGIN; SELECT count(*) FROM items");
    let (code, second) = run("checkpoint", &config);
    let report = &second["details"]["checkpoint"];
    assert_eq!(report["frames_after"], report["checkpointed_after"], "{second:#?}");
    assert_eq!(
        (code, &report["truncated"], &report["reader_in_the_way"]),
        (Some(0), &false.into(), &true.into())
    );
    owner.run("INSERT INTO items VALUES (103, 'beside')");
    reader.run("COMMIT");
    let (code, third) = run("checkpoint", &config);
    assert_eq!((code, &third["details"]["checkpoint"]["truncated"]), (Some(0), &true.into()), "{third:#?}");
    assert_eq!(wal_size(&fixture), 0);
    owner.run("INSERT INTO items VALUES (104, 'later')");
    drop((owner, reader));
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM items"), 15);
}

fn an_unsafe_version_gets_passive_checkpoints() {
    use std::io::Seek as _;
    use std::io::Write as _;
    let fixture = TestDatabase::new("app").wal().rows(10).make();
    let config = configure(&fixture, "{checkpoint: {truncate_above: 1KiB}}");
    // The version of the last writer, in the main file; no page that it changes later is the first.
    let mut file = std::fs::OpenOptions::new().write(true).open(fixture.path()).unwrap();
    file.seek(std::io::SeekFrom::Start(96)).unwrap();
    file.write_all(&3_050_000_u32.to_be_bytes()).unwrap();
    drop(file);
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("PRAGMA wal_autocheckpoint = 0; UPDATE items SET text = 'other' WHERE id = 1");
    let size = wal_size(&fixture);
    let (code, first) = run("checkpoint", &config);
    let report = &first["details"]["checkpoint"];
    assert_eq!(code, Some(0), "{first:#?}");
    assert_eq!((&report["version_unsafe"], &report["truncated"]), (&true.into(), &Value::Null), "{first:#?}");
    assert_eq!(report["frames_after"], report["checkpointed_after"]);
    let (code, second) = run("checkpoint", &config);
    assert_eq!((code, &second["reason"]), (Some(4), &"version_unsafe".into()), "{second:#?}");
    assert!(second["message"].as_str().unwrap().contains("3.50.0"), "{second:#?}");
    assert_eq!(wal_size(&fixture), size);
    owner.run("UPDATE items SET text = 'third' WHERE id = 1");
}

fn a_checkpoint_knows_when_to_stay_away() {
    let rollback = TestDatabase::new("app").rows(10).make();
    let (code, skipped) = run("checkpoint", &configure(&rollback, "{checkpoint: {}}"));
    assert_eq!((code, &skipped["reason"]), (Some(0), &"below_threshold".into()), "{skipped:#?}");
    let fixture = TestDatabase::new("app").wal().rows(10).make();
    let config = configure(&fixture, "{checkpoint: {}}");
    let (code, skipped) = run("checkpoint", &config);
    assert_eq!((code, &skipped["reason"]), (Some(0), &"below_threshold".into()), "{skipped:#?}");
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("INSERT INTO items VALUES (100, 'new')");
    std::fs::create_dir(fixture.directory().join(".app.db-litestream")).unwrap();
    let (code, skipped) = run("checkpoint", &config);
    assert_eq!((code, &skipped["reason"]), (Some(4), &"replicated".into()), "{skipped:#?}");
    let forced = configure(&fixture, "{checkpoint: {allow_replicated: true}}");
    let (code, done) = run("checkpoint", &forced);
    assert_eq!((code, &done["details"]["checkpoint"]["truncated"]), (Some(0), &Value::Null), "{done:#?}");
    let (_, skipped) = run("checkpoint", &forced);
    assert_eq!(skipped["reason"], "below_threshold", "{skipped:#?}");
    // A WAL that a killed owner left is brought in, and is gone with the last connection.
    owner.run("INSERT INTO items VALUES (101, 'newer')");
    owner.kill();
    std::fs::remove_file(fixture.directory().join("app.db-shm")).unwrap();
    let (code, done) = run("checkpoint", &forced);
    assert_eq!((code, &done["details"]["checkpoint"]["frames_before"]), (Some(0), &Value::Null), "{done:#?}");
    assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM items WHERE id > 99"), 2);
}

fn statistics_are_made_once_and_when_stale() {
    for wal in [false, true] {
        let fixture = TestDatabase::new("app").rows(200).sql("CREATE INDEX by_text ON items (text);");
        let fixture = if wal { fixture.wal().make() } else { fixture.make() };
        let config = configure(&fixture, "{optimize: {}}");
        let dry = || Output::of(&["run", "optimize", "--dry-run", "--config", &config]).stdout;
        assert!(dry().contains("would analyze: items"), "{}", dry());
        let mut owner = SecondProcess::open(&fixture.path());
        owner.run("INSERT INTO items VALUES (1000, 'beside')");
        let (code, first) = run("optimize", &config);
        let analyzed = serde_json::json!(["items"]);
        assert_eq!((code, &first["details"]["optimize"]["analyzed"]), (Some(0), &analyzed), "{first:#?}");
        assert!(first["details"]["max_write_hold_seconds"].as_f64() > Some(0.0), "{first:#?}");
        assert_eq!(number(&fixture.connect(), "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'items'"), 1);
        let (code, second) = run("optimize", &config);
        assert_eq!((code, &second["reason"]), (Some(0), &"below_threshold".into()), "{second:#?}");
        assert!(dry().contains("would not run: the statistics of every table are up to date"), "{}", dry());
        owner.run(
            "WITH RECURSIVE n (i) AS (SELECT 2000 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
             INSERT INTO items SELECT i, 'item ' || i FROM n",
        );
        assert!(dry().contains("would analyze: items"), "{}", dry());
        assert_eq!(run("optimize", &config).0, Some(0));
        // A lock that another holds is waited for, and not for ever.
        owner.run("DELETE FROM items WHERE id > 20; BEGIN IMMEDIATE");
        let (code, busy) = run("optimize", &configure(&fixture, "{optimize: {lock_timeout: 1s}}"));
        assert_eq!((code, &busy["reason"]), (Some(3), &"busy".into()), "{busy:#?}");
        owner.run("COMMIT");
    }
}
