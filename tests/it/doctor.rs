//! `litekeeper doctor`: each finding made for real once, on real files, modes, links and mounts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::serve;
use crate::support::Agent;
use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    let root = rustix::process::geteuid().is_root();
    let as_root = |program: &str| tool(program).filter(|_| root);
    vec![
        test("findings_of_the_file", findings_of_the_file),
        test("findings_of_the_wal_and_journal", findings_of_the_wal_and_journal),
        test("findings_of_the_tables", findings_of_the_tables),
        test("findings_of_space", findings_of_space),
        test("a_hostile_schema_does_not_mislead_the_doctor", a_hostile_schema_does_not_mislead_the_doctor),
        test("the_doctor_leaves_no_trace", the_doctor_leaves_no_trace),
        test("a_check_that_failed_is_remembered", a_check_that_failed_is_remembered),
        test("a_reader_that_pins_the_wal_is_found", a_reader_that_pins_the_wal_is_found),
        test("exit_codes_tell_findings_from_failures", exit_codes_tell_findings_from_failures),
        test("the_json_of_the_doctor_has_its_shape", the_json_of_the_doctor_has_its_shape),
        test("a_page_and_the_api_show_the_findings", a_page_and_the_api_show_the_findings),
        test("requested_samples_block_no_one", requested_samples_block_no_one),
        test_with_tool("the_commands_fix_the_findings", tool("sqlite3"), the_commands_fix),
        test_with_tool("missing_read_access_is_reported", tool("setpriv"), missing_read_access_is_reported),
        test_with_tool(
            "the_command_restores_access_of_the_owner",
            as_root("chown"),
            the_command_restores_access_of_the_owner,
        ),
        test_with_tool("findings_of_disks", as_root("mount").filter(|_| may_mount()), findings_of_disks),
    ]
}

/// A finding of the JSON, by its name.
fn find<'d>(diagnosis: &'d Value, id: &str) -> Option<&'d Value> {
    diagnosis["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id)
}

fn diagnosis(mut command: Command) -> Value {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("no JSON: {text} {}", String::from_utf8_lossy(&output.stderr)));
    document["databases"][0].clone()
}

fn doctor(path: &Path, more: &[&str]) -> Value {
    let mut command = litekeeper();
    command.arg("doctor").arg("--json").arg(path).args(more);
    diagnosis(command)
}

/// Looks, and wants a finding of this severity in which some words stand.
#[track_caller]
fn expect(diagnosis: &Value, id: &str, severity: &str, words: &str) {
    let finding = find(diagnosis, id).unwrap_or_else(|| panic!("{id} is not in {diagnosis:#}"));
    assert_eq!(finding["severity"], severity, "{finding}");
    assert!(finding.to_string().contains(words), "{words:?} in {finding}");
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn findings_of_the_file() {
    let fixture = TestDatabase::new("file").rows(10).make();
    let path = fixture.path();
    let sound = doctor(&path, &[]);
    assert_eq!(sound["verdict"], "ok", "{sound:#}");
    expect(&sound, "rollback-journal", "info", "PRAGMA journal_mode = WAL;");

    let other = fixture.directory().join("other.db");
    std::fs::hard_link(&path, &other).unwrap();
    expect(&doctor(&path, &[]), "hard-links", "critical", "has 2 names");
    std::fs::remove_file(&other).unwrap();
    std::os::unix::fs::symlink(&path, &other).unwrap();
    let linked = doctor(&other, &[]);
    expect(&linked, "symlink", "info", "other.db is a symbolic link");
    assert_eq!(find(&linked, "hard-links"), None, "a symlink is no hard link");
    assert_eq!(find(&doctor(&path, &[]), "symlink"), None);

    mode(&path, 0o666);
    expect(&doctor(&path, &[]), "world-writable", "warning", "chmod o-w");
    mode(&path, 0o644);

    let size = std::fs::metadata(&path).unwrap().len();
    overwrite(&path, size, b"appended");
    expect(&doctor(&path, &[]), "file-size-mismatch", "info", "SQLITE_FCNTL_CHUNK_SIZE");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();

    fixture.connect().execute_batch("PRAGMA auto_vacuum = FULL; VACUUM").unwrap();
    expect(&doctor(&path, &[]), "auto-vacuum-full", "info", "INCREMENTAL");
    fixture.connect().execute_batch("PRAGMA auto_vacuum = NONE; PRAGMA page_size = 512; VACUUM").unwrap();
    expect(&doctor(&path, &[]), "small-pages", "warning", "512 bytes");

    std::fs::create_dir(fixture.directory().join(".file.db-litestream")).unwrap();
    expect(&doctor(&path, &[]), "replicated", "info", "Litestream");
    let config = fixture.directory().join("lk.yml");
    std::fs::write(&config, "databases: [{path: file.db, tasks: {vacuum: {}}}]").unwrap();
    let configured = doctor(&path, &["--config", &config.display().to_string()]);
    expect(&configured, "replicated", "warning", "the configured vacuum is skipped");

    // The schema's page says that it is something else.
    overwrite(&path, 100, &[77]);
    let damaged = doctor(&path, &[]);
    expect(&damaged, "damaged", "critical", ".recover");
    assert!(damaged["error"].as_str().unwrap().contains("malformed"), "{damaged:#}");
    overwrite(&path, 0, b"no database any more");
    expect(&doctor(&path, &[]), "damaged", "critical", "its first page was overwritten");
}

fn findings_of_the_wal_and_journal() {
    let fixture = TestDatabase::new("wal").wal().rows(10).make();
    let path = fixture.path();
    assert_eq!(doctor(&path, &[])["findings"], serde_json::json!([]), "a WAL database at rest is sound");
    // The version of the last writer stands in the header's bytes 96 to 99.
    overwrite(&path, 96, &3_046_001_u32.to_be_bytes());
    expect(&doctor(&path, &[]), "wal-reset-bug", "warning", "SQLite 3.46.1");
    overwrite(&path, 96, &3_050_007_u32.to_be_bytes());
    assert_eq!(find(&doctor(&path, &[]), "wal-reset-bug"), None);

    let owner = fixture.connect();
    owner
        .execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO items (text) VALUES ('in the WAL')")
        .unwrap();
    assert_eq!(doctor(&path, &[])["findings"], serde_json::json!([]), "a WAL in use is sound");
    let copy = fixture.directory().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(companion(&path, "-wal"), companion(&copy, "-wal")).unwrap();
    expect(&doctor(&copy, &[]), "abandoned-wal", "warning", "without a -shm");

    owner
        .execute_batch(
            "CREATE TABLE wide (body); INSERT INTO wide VALUES (zeroblob(68000000)); DELETE FROM wide",
        )
        .unwrap();
    expect(&doctor(&path, &[]), "large-wal", "warning", "not yet checkpointed");
    drop(owner);

    let rollback = TestDatabase::new("rollback").rows(500).make();
    std::fs::copy(companion(&copy, "-wal"), companion(&rollback.path(), "-wal")).unwrap();
    expect(&doctor(&rollback.path(), &[]), "stray-wal", "critical", "mv --no-clobber");
    std::fs::remove_file(companion(&rollback.path(), "-wal")).unwrap();

    // A writer that is killed in a transaction that has spilled into the file.
    let mut writer = SecondProcess::open(&rollback.path());
    writer.run("PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE items SET text = hex(randomblob(200))");
    let writing = doctor(&rollback.path(), &[]);
    assert_eq!(find(&writing, "hot-journal"), None, "a journal in use is not hot: {writing:#}");
    writer.kill();
    let hot = doctor(&rollback.path(), &[]);
    expect(&hot, "hot-journal", "critical", "Never delete the -journal");
    assert_eq!(hot["verdict"], "critical");
}

fn findings_of_the_tables() {
    let fixture = TestDatabase::new("tables")
        .rows(10_000)
        .sql(
            "CREATE INDEX by_text ON items (text);
             CREATE TABLE child (id INTEGER PRIMARY KEY, \"item's id\" INTEGER REFERENCES items (id), other INTEGER REFERENCES items (id));
             CREATE INDEX by_other ON child (other);
             INSERT INTO child SELECT id, id, id FROM items LIMIT 2000;
             CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at TEXT, words TEXT);
             INSERT INTO audit_log SELECT id, datetime('now'), 'x' FROM items;
             CREATE VIEW logs AS SELECT id, 0 AS created_at FROM items;
             CREATE TABLE notes (text); CREATE VIRTUAL TABLE found USING fts5 (text, content='notes');
             CREATE VIRTUAL TABLE kept USING fts5 (text, content='items', content_rowid='id');",
        )
        .make();
    let path = fixture.path();
    let found = doctor(&path, &[]);
    expect(&found, "stale-statistics", "warning", "never analyzed");
    expect(&found, "foreign-key-without-index", "warning", "item's id");
    assert_eq!(
        found["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["id"] == "foreign-key-without-index")
            .count(),
        1
    );
    expect(&found, "log-without-retention", "info", "a guess from the names");
    expect(&found, "unstable-row-ids", "warning", "found indexes the rows of notes");
    fixture.connect().execute_batch("ANALYZE").unwrap();
    assert_eq!(find(&doctor(&path, &[]), "stale-statistics"), None);
    fixture.connect().execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM items WHERE id > 900").unwrap();
    expect(
        &doctor(&path, &[]),
        "stale-statistics",
        "warning",
        "items has 900 rows, but 10000 according to its statistics",
    );

    let config = fixture.directory().join("lk.yml");
    let write = |table: &str, column: &str| {
        let retention = format!("{{table: {table}, column: {column}, retention: 90d}}");
        let text =
            format!("databases: [{{path: tables.db, tasks: {{log_cleaning: {{tables: [{retention}]}}}}}}]");
        std::fs::write(&config, text).unwrap();
        let mut command = litekeeper();
        command.args(["doctor", "--json", "--config"]).arg(&config);
        diagnosis(command)
    };
    let found = write("audit_log", "created_at");
    expect(&found, "retention-without-index", "warning", "CREATE INDEX");
    assert_eq!(find(&found, "log-without-retention"), None);
    expect(&write("nowhere", "at"), "retention-impossible", "warning", "nowhere");
    expect(&write("audit_log", "at"), "retention-impossible", "warning", "has no column at");
    fixture.connect().execute_batch("CREATE INDEX audit_by_time ON audit_log (created_at)").unwrap();
    assert_eq!(find(&write("audit_log", "created_at"), "retention-without-index"), None);
}

fn findings_of_space() {
    let fixture = TestDatabase::new("space").rows(10).make();
    fixture
        .connect()
        .execute_batch(
            "CREATE TABLE big (body); INSERT INTO big VALUES (zeroblob(12000000)); DELETE FROM big",
        )
        .unwrap();
    expect(&doctor(&fixture.path(), &[]), "bloated", "warning", "VACUUM;");
    // So many pages that no disk has space for a copy: the header says it, and a hole in the file makes it true.
    const PAGES: u32 = 2_000_000_000;
    let huge = TestDatabase::new("huge").rows(10).make();
    overwrite(&huge.path(), 28, &PAGES.to_be_bytes());
    let hole =
        std::fs::OpenOptions::new().write(true).open(huge.path()).unwrap().set_len(u64::from(PAGES) * 4096);
    if hole.is_ok() {
        expect(&doctor(&huge.path(), &[]), "no-room-for-vacuum", "info", "A VACUUM needs");
    }
}

fn a_hostile_schema_does_not_mislead_the_doctor() {
    let tables: String =
        (0..2_000).map(|n| format!("CREATE TABLE t{n} (a REFERENCES items (id));")).collect();
    let fixture = TestDatabase::new("hostile\u{1b}[2J")
        .rows(10)
        .sql(&format!(
            "CREATE VIEW pragma_table_list AS SELECT 1 / 0; CREATE TABLE pragma_foreign_key_list (a);
             CREATE TABLE \"\u{1b}[31m\nred\" (\"a\u{7}\" REFERENCES items (id));
             BEGIN; {tables} COMMIT;"
        ))
        .make();
    let output = Output::of(&["doctor".as_ref(), fixture.path().as_os_str()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!output.stdout.contains(['\u{1b}', '\u{7}']), "no control character reaches the terminal");
    let found = doctor(&fixture.path(), &[]);
    assert_eq!(found["error"], Value::Null, "{found:#}");
    let is_bare = |finding: &&Value| finding["id"] == "foreign-key-without-index";
    assert_eq!(found["findings"].as_array().unwrap().iter().filter(is_bare).count(), 20, "no more are shown");
    let command = find(&found, "foreign-key-without-index").unwrap()["command"].as_str().unwrap();
    assert!(command.contains(r"\033[31m\012red"), "{command}");
}

/// Names, times and modes of everything in a directory.
fn trace(directory: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut lines: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| {
            let found = entry.metadata().unwrap();
            format!("{:?} {} {} {}", entry.file_name(), found.len(), found.mtime_nsec(), found.mode())
        })
        .collect();
    lines.sort();
    lines
}

fn the_doctor_leaves_no_trace() {
    for wal in [false, true] {
        let fixture = TestDatabase::new("traceless");
        let fixture = if wal { fixture.wal() } else { fixture }.rows(10).make();
        let before = trace(fixture.directory());
        doctor(&fixture.path(), &[]);
        assert_eq!(trace(fixture.directory()), before);
        let owner = fixture.connect();
        owner.execute_batch("INSERT INTO items (text) VALUES ('more')").unwrap();
        let before = trace(fixture.directory());
        doctor(&fixture.path(), &[]);
        assert_eq!(trace(fixture.directory()), before);
    }
}

/// The verdict of a check outlives it: in the state file for the command, in memory for the page.
fn a_check_that_failed_is_remembered() {
    let damage = "CREATE TABLE t (a, b); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1, 2);
                  PRAGMA writable_schema = ON;
                  UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (b)' WHERE name = 'i'";
    let fixture = TestDatabase::new("app").sql(damage).make();
    let config = configure(&fixture, "{health_check: {}}");
    let with_config = || doctor(&fixture.path(), &["--config", &config]);
    let before = trace(fixture.directory());
    assert_eq!(find(&with_config(), "check-failed"), None);
    assert_eq!(trace(fixture.directory()), before, "no state file is made");
    let checked = Output::of(&["run", "health_check", "--config", &config, "--log.level", "off"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let before = trace(fixture.directory());
    expect(
        &with_config(),
        "check-failed",
        "critical",
        "The last full check found 1 problem; the first is: row 1",
    );
    assert_eq!(trace(fixture.directory()), before);
    assert_eq!(
        find(&doctor(&fixture.path(), &[]), "check-failed"),
        None,
        "nobody says where it is written down"
    );
    let mut command = litekeeper();
    command.args(["serve", "--config", &config]);
    let agent = Agent::start(command).ready();
    let answer = agent.get("/api/v1/databases/app/doctor");
    expect(&serde_json::from_slice(&answer.body).unwrap(), "check-failed", "critical", "litekeeper check");
    drop(agent);
    // A state file of another program is an error; the other findings are reported.
    std::fs::remove_file(fixture.directory().join("state.sqlite")).unwrap();
    let other = rusqlite::Connection::open(fixture.directory().join("state.sqlite")).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    let reported = Output::of(&["doctor", "--config", &config]);
    assert!(reported.stderr.contains("is not a state file of litekeeper"), "{reported:?}");
    assert!(reported.code == Some(0) && reported.stdout.contains("rollback-journal"), "{reported:?}");
}

fn a_reader_that_pins_the_wal_is_found() {
    let fixture = TestDatabase::new("app").wal().rows(10).make();
    let mut reader = SecondProcess::open(&fixture.path());
    reader.run("BEGIN; SELECT count(*) FROM items");
    let owner = fixture.connect();
    owner.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    let grow = "INSERT INTO items (text) SELECT hex(randomblob(3000)) FROM items, items AS more LIMIT 100";
    owner.execute_batch(grow).unwrap();
    assert_eq!(find(&doctor(&fixture.path(), &[]), "wal-pinned"), None, "a few frames are nothing");
    (0..10).for_each(|_| owner.execute_batch(grow).unwrap());
    expect(&doctor(&fixture.path(), &[]), "wal-pinned", "warning", &format!("pid {} ", reader.pid()));
    let agent = Agent::serve(&[fixture.path()]).ready();
    eventually("the page knows it from its own looks", || {
        let page = agent.get("/db/app?doctor=true").text();
        (page.contains("wal-pinned") && page.contains("frames of the WAL")).then_some(())
    });
    reader.run("COMMIT");
    assert_eq!(find(&doctor(&fixture.path(), &[]), "wal-pinned"), None);
}

fn exit_codes_tell_findings_from_failures() {
    let fixture = TestDatabase::new("codes").rows(10).make();
    let path = fixture.path().display().to_string();
    let text = |arguments: &[&str]| Output::of(&[&["doctor"], arguments].concat());
    let well = text(&[&path]);
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(
        well.stdout.contains("codes.db: 1 note") && well.stdout.contains("  info  rollback-journal\n"),
        "{}",
        well.stdout
    );
    let missing = text(&["/nowhere/at-all.db"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    assert!(
        missing.stdout.contains("could not be examined")
            && missing.stdout.contains("the file does not exist"),
        "{missing:?}"
    );
    for usage in [text(&[]), text(&["--config", "/nowhere.yml"]), text(&["--what"])] {
        assert_eq!(usage.code, Some(2), "{usage:?}");
    }
    mode(&fixture.path(), 0o646);
    assert_eq!(text(&["/nowhere/at-all.db", &path]).code, Some(1), "findings weigh more");
    let empty = fixture.directory().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let empty = text(&[&empty.display().to_string()]);
    assert!(empty.code == Some(3) && empty.stdout.contains("the file is empty"), "{empty:?}");
    let directory = text(&[&fixture.directory().display().to_string()]);
    assert!(
        directory.code == Some(3) && directory.stdout.contains("a directory, not a database"),
        "{directory:?}"
    );
}

fn the_json_of_the_doctor_has_its_shape() {
    let fixture = TestDatabase::new("shape").rows(10).make();
    let output = Output::of(&["doctor".as_ref(), "--json".as_ref(), fixture.path().as_os_str()]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&document["format_version"], &document["verdict"]), (&Value::from(1), &Value::from("ok")));
    let described =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DOCTOR.md")).unwrap();
    let objects = [&document, &document["databases"][0], &document["databases"][0]["findings"][0]];
    for name in objects.into_iter().flat_map(|object| object.as_object().unwrap().keys()) {
        let named =
            [format!("`{name}`"), format!("`.{name}`"), format!("`{name}[]`"), format!("`.{name}[]`")];
        assert!(named.iter().any(|name| described.contains(name)), "docs/DOCTOR.md lacks {name}");
    }
}

/// Runs each suggested command in a shell until no finding is left.
fn the_commands_fix(_sqlite3: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it's $(odd).db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 512; CREATE TABLE \"par'ent\" (id INTEGER PRIMARY KEY);
             CREATE TABLE \"ch\"\"ild\" (id INTEGER PRIMARY KEY, \"par'ent \"\"id\" INTEGER REFERENCES \"par'ent\" (id), text TEXT UNIQUE);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
             INSERT INTO \"ch\"\"ild\" SELECT i, NULL, 'text ' || i FROM n;
             CREATE TABLE big (body); INSERT INTO big VALUES (zeroblob(12000000)); DELETE FROM big;",
        )
        .unwrap();
    drop(connection);
    mode(&path, 0o666);
    let fixed = [
        "world-writable",
        "stale-statistics",
        "foreign-key-without-index",
        "bloated",
        "small-pages",
        "rollback-journal",
    ];
    let before = doctor(&path, &[]);
    for id in fixed {
        let command =
            find(&before, id).unwrap_or_else(|| panic!("{id} is not in {before:#}"))["command"].clone();
        let output = Command::new("bash").arg("-c").arg(command.as_str().unwrap()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
        assert_eq!(find(&doctor(&path, &[]), id), None, "{command}");
    }
    let after = doctor(&path, &[]);
    // Debian's sqlite3 wrote last, which may have a bug of its own.
    let left: Vec<&Value> =
        after["findings"].as_array().unwrap().iter().filter(|f| f["id"] != "wal-reset-bug").collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// The doctor as a user who is neither root nor the owner, where this process may become one.
fn as_nobody(setpriv: &str, program: &Path, path: &Path) -> Value {
    let mut command = Command::new(setpriv);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    } else {
        command.arg("--no-new-privs");
    }
    command.arg(program).args(["doctor", "--json"]).arg(path);
    diagnosis(command)
}

fn missing_read_access_is_reported(setpriv: &str) {
    let fixture = TestDatabase::new("denied").wal().rows(5).make();
    let owner = fixture.connect();
    owner.execute_batch("INSERT INTO items (text) VALUES ('in the WAL')").unwrap();
    let program = fixture.directory().join("litekeeper");
    std::fs::copy(env!("CARGO_BIN_EXE_litekeeper"), &program).unwrap();
    mode(fixture.directory(), 0o755);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        let may_read = as_nobody(setpriv, &program, &fixture.path());
        expect(&may_read, "agent-cannot-maintain", "info", "may not write the main file");
    }
    for suffix in ["-shm", "-wal", ""] {
        let file = companion(&fixture.path(), suffix);
        mode(&file, 0o000);
        let denied = as_nobody(setpriv, &program, &fixture.path());
        expect(&denied, "agent-cannot-read", "critical", &format!("chmod g+r {}", file.display()));
        assert!(denied["error"].as_str().unwrap().contains("may not read"), "{denied:#}");
        mode(&file, 0o644);
    }
}

fn the_command_restores_access_of_the_owner(chown: &str) {
    const NOBODY: &str = "65534:65534";
    let fixture = TestDatabase::new("owned").wal().rows(5).make();
    let owner = fixture.connect();
    owner.execute_batch("INSERT INTO items (text) VALUES ('in the WAL')").unwrap();
    let give = |path: &Path| assert!(Command::new(chown).arg(NOBODY).arg(path).status().unwrap().success());
    give(&fixture.path());
    let found = doctor(&fixture.path(), &[]);
    let locked: Vec<&Value> =
        found["findings"].as_array().unwrap().iter().filter(|f| f["id"] == "owner-locked-out").collect();
    assert_eq!(locked.len(), 2, "-wal and -shm belong to root: {found:#}");
    expect(&found, "owner-cannot-write", "warning", "create files in its directory");
    for finding in found["findings"].as_array().unwrap() {
        let command = finding["command"].as_str().unwrap();
        assert!(Command::new("bash").arg("-c").arg(command).status().unwrap().success(), "{command}");
    }
    assert_eq!(doctor(&fixture.path(), &[])["findings"], serde_json::json!([]), "every finding is fixed");
    mode(&fixture.path(), 0o444);
    expect(&doctor(&fixture.path(), &[]), "owner-cannot-write", "warning", "chmod u+rw");
}

fn may_mount() -> bool {
    Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success())
}

/// In a mount namespace of its own: a full disk, one that is read-only, and a file system of another kind.
fn findings_of_disks(_mount: &str) {
    let directory = tempfile::tempdir().unwrap();
    let source = TestDatabase::new("disk").wal().rows(10).make();
    let at = directory.path().display();
    let script = |prepare: &str| {
        let text = format!(
            "mount -t tmpfs -o size=64m tmpfs {at} && cp {} {at}/disk.db && cd {at} && {prepare} && {} doctor --json {at}/disk.db",
            source.path().display(),
            env!("CARGO_BIN_EXE_litekeeper")
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &text]);
        diagnosis(command)
    };
    assert_eq!(find(&script("true"), "disk-full"), None);
    expect(&script("head -c 50m /dev/zero > ballast"), "disk-full", "critical", "du -xh");
    let read_only = script(&format!("mount -o remount,ro {at}"));
    expect(&read_only, "read-only-mount", "warning", "findmnt");
    assert_eq!(find(&read_only, "disk-full"), None);
}

fn a_page_and_the_api_show_the_findings() {
    let fixture = TestDatabase::new("books").rows(10).make();
    std::fs::hard_link(fixture.path(), fixture.directory().join("two")).unwrap();
    let file = fixture.directory().join("lk.yml");
    std::fs::write(&file, "sample_interval: 1s\ndatabases: [{name: \"bo/o ks<b>\", path: books.db}]\n")
        .unwrap();
    let agent = serve(file.to_str().unwrap()).ready();
    let page = agent.get("/db/bo/o%20ks%3Cb%3E").text();
    assert!(
        page.contains("href=\"../../db/bo/o%20ks%3Cb%3E?doctor=true\"") && !page.contains("hard-links"),
        "{page}"
    );
    let page = agent.get("/db/bo/o%20ks%3Cb%3E?doctor=true").text();
    for words in ["hard-links", "critical", "has 2 names", "<pre tabindex=\"0\">find ", "bo/o ks&lt;b&gt;"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for path in ["/api/v1/databases/bo/o%20ks%3Cb%3E/doctor", "/api/v1/databases/bo%2Fo%20ks%3Cb%3E/doctor"] {
        let answer: Value = serde_json::from_slice(&agent.get(path).body).unwrap();
        expect(&answer, "hard-links", "critical", "has 2 names");
        assert_eq!(answer["verdict"], "critical");
    }
    assert_eq!(agent.get("/api/v1/databases/nobody/doctor").status, 404);
    // One at a time; a locked database keeps the turn for as long as it is waited for, and no longer.
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN EXCLUSIVE");
    let locked = eventually("an answer", || {
        let answer = agent.get("/api/v1/databases/bo/o%20ks%3Cb%3E/doctor");
        (answer.status == 200).then(|| serde_json::from_slice::<Value>(&answer.body).unwrap())
    });
    assert!(locked["error"].as_str().unwrap().contains("holds a lock"), "{locked:#}");
    expect(&locked, "hard-links", "critical", "has 2 names");
}

/// Ends what repeats until it is set.
struct StopOnDrop<'s>(&'s std::sync::atomic::AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn requested_samples_block_no_one() {
    let fixture = TestDatabase::new("books").rows(10).make();
    let agent = Agent::serve(&[fixture.path()]).ready();
    // While one waits for a lock, no other begins, of either kind, and all else is answered.
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN EXCLUSIVE");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                agent.get("/db/books?doctor=true");
            }
        });
        // Dropped also when an assertion below fails, which would wait for the thread otherwise.
        let _stop = StopOnDrop(&stop);
        for path in ["/db/books?debug=true", "/db/books?doctor=true", "/api/v1/databases/books/doctor"] {
            eventually(path, || {
                let answer = agent.get(path);
                assert_eq!(agent.get("/metrics").status, 200);
                (answer.status == 503 && answer.text().contains("another on-demand request is in progress"))
                    .then_some(())
            });
        }
    });
    owner.run("COMMIT");
    // A pipe in its place, from which a read would wait for ever.
    std::fs::remove_file(fixture.path()).unwrap();
    assert!(Command::new("mkfifo").arg(fixture.path()).status().unwrap().success());
    let reported = agent.get("/db/books?doctor=true");
    assert!(reported.status == 200 && reported.text().contains("not a database file"), "{}", reported.text());
    let reported = agent.get("/db/books?debug=true");
    assert!(reported.status == 200 && !reported.text().contains("it hangs"), "{}", reported.text());
    assert_eq!(agent.get("/metrics").status, 200);
}
