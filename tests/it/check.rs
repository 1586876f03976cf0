//! `litekeeper check`: each kind of damage is found and named, and exit codes tell kinds apart.

use std::io::Seek as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::Output;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("each_kind_of_damage_is_found", each_kind_of_damage_is_found),
        test("page_sizes_do_not_get_in_each_others_way", page_sizes_do_not_get_in_each_others_way),
        test("what_cannot_be_checked_is_told_apart", what_cannot_be_checked_is_told_apart),
        test_with_tool("what_may_not_be_read_is_named", tool("setpriv"), what_may_not_be_read_is_named),
        test("the_json_has_its_shape", the_json_has_its_shape),
        test("an_interrupt_ends_a_check", an_interrupt_ends_a_check),
        test("a_count_out_of_time_is_an_estimate", a_count_out_of_time_is_an_estimate),
    ]
}

fn database() -> TestDatabase {
    TestDatabase::new("checked")
        .rows(2000)
        .sql("CREATE INDEX by_text ON items (text); CREATE TABLE child (item INTEGER REFERENCES items (id));")
        .make()
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(std::io::SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn root_page(connection: &Connection, name: &str) -> u64 {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    u64::try_from(connection.query_row(sql, [name], |row| row.get::<_, i64>(0)).unwrap()).unwrap()
}

/// Makes SQLite believe that the index covers something else, so that what is written next does not fit it.
fn redefine_index(made: &TestDatabase, covers: &str) {
    let sql = format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX by_text ON items ({covers})' WHERE name = 'by_text';"
    );
    made.connect().execute_batch(&sql).unwrap();
}

/// Kind of damage, how it is done, the check that finds it, a part of the finding, and whether the quick check sees it.
type Damage = (&'static str, fn(&TestDatabase), &'static str, &'static str, bool);

const DAMAGES: [Damage; 9] = [
    (
        "zeroed page",
        |made| {
            let page = root_page(&made.connect(), "items") - 1;
            overwrite(&made.path(), page * 4096, &[0; 4096]);
        },
        "full",
        "btreeInitPage() returns error code 11",
        true,
    ),
    (
        "row missing in an index",
        |made| {
            redefine_index(made, "text) WHERE (0");
            made.connect().execute_batch("INSERT INTO items VALUES (9000, 'unseen')").unwrap();
            redefine_index(made, "text");
        },
        "full",
        "missing from index by_text",
        true,
    ),
    (
        "index entry with another value",
        |made| {
            redefine_index(made, "upper(text)");
            made.connect().execute_batch("INSERT INTO items VALUES (9000, 'lower')").unwrap();
            redefine_index(made, "text");
        },
        "full",
        "missing from index by_text",
        false,
    ),
    ("wrong freelist count", |made| overwrite(&made.path(), 36, &[0, 0, 0, 9]), "full", "reelist", true),
    (
        "appended garbage",
        |made| {
            let size = std::fs::metadata(made.path()).unwrap().len();
            overwrite(&made.path(), size, b"garbage");
        },
        "file_size",
        "bytes, its",
        true,
    ),
    (
        "truncated file",
        |made| {
            std::fs::OpenOptions::new().write(true).open(made.path()).unwrap().set_len(4 * 4096).unwrap();
        },
        "open",
        "malformed",
        true,
    ),
    ("no database", |made| std::fs::write(made.path(), "words").unwrap(), "open", "not a database", true),
    ("empty file", |made| std::fs::write(made.path(), "").unwrap(), "file_size", "empty", true),
    (
        "foreign-key violation",
        |made| {
            made.connect()
                .execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO child VALUES (77777)")
                .unwrap()
        },
        "foreign_key",
        "row 1 of child refers to a missing row of items",
        false,
    ),
];

fn each_kind_of_damage_is_found() {
    let sound = database();
    let output = Output::of(&["check".as_ref(), sound.path().as_os_str()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    for (kind, damage, check, words, quick_sees_it) in DAMAGES {
        let made = database();
        damage(&made);
        let output = Output::of(&["check".as_ref(), "--json".as_ref(), made.path().as_os_str()]);
        assert_eq!(output.code, Some(1), "{kind}: {output:?}");
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        let found = document["databases"][0]["checks"].as_array().unwrap().iter().any(|entry| {
            let problems = entry["problems"].as_array().unwrap();
            entry["check"] == check
                && problems.iter().any(|problem| problem.as_str().unwrap().contains(words))
        });
        assert!(found, "{kind}: {check} says {words:?}: {}", output.stdout);
        let quick = Output::of(&["check".as_ref(), "--quick".as_ref(), made.path().as_os_str()]);
        assert_eq!(quick.code, Some(i32::from(quick_sees_it)), "{kind}, quick: {quick:?}");
    }
}

/// One thread looks at all of them, one after the other.
fn page_sizes_do_not_get_in_each_others_way() {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for size in [4096, 512, 65_536, 1024, 4096, 512] {
        let path = directory.path().join(format!("{}-{size}.db", paths.len()));
        let sql = format!("PRAGMA page_size = {size}; CREATE TABLE t (a)");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        paths.push(path);
    }
    let mut command = litekeeper();
    let output = command.arg("check").args(&paths).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

fn what_cannot_be_checked_is_told_apart() {
    let made = database();
    let check = |arguments: &[&str]| {
        let path = made.path().display().to_string();
        let arguments: Vec<&str> =
            ["check"].into_iter().chain(arguments.iter().copied()).chain([path.as_str()]).collect();
        Output::of(&arguments)
    };
    let output = check(&["--rows", "items,nowhere"]);
    assert_eq!(output.code, Some(3));
    assert!(
        output.stdout.contains("checked in part") && output.stdout.contains("no such table"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("2,000"), "the other table is counted: {}", output.stdout);
    let mut owner = SecondProcess::open(&made.path());
    owner.run("BEGIN EXCLUSIVE");
    let output = check(&["--busy-timeout=0"]);
    assert_eq!(output.code, Some(3));
    assert!(output.stdout.contains("another process holds the lock"), "{}", output.stdout);
    owner.run("COMMIT");
    // The worst of several counts; problems weigh more than what could not be checked.
    let noise = made.directory().join("noise.db");
    std::fs::write(&noise, "noise").unwrap();
    let output = check(&["/nowhere.db", &noise.display().to_string()]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("No such file") && output.stdout.contains("healthy"), "{}", output.stdout);
    let sidecar = made.directory().join("checked.db-wal");
    std::fs::write(&sidecar, "").unwrap();
    let output = Output::of(&["check".as_ref(), sidecar.as_os_str()]);
    assert!(output.stdout.contains("name the database itself"), "{}", output.stdout);
}

/// As root everything may be read, so the check runs as somebody else then.
fn what_may_not_be_read_is_named(setpriv: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let made = TestDatabase::new("denied").wal().rows(5).make();
    let owner = made.connect();
    owner.execute_batch("INSERT INTO items (text) VALUES ('in the WAL')").unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let program = made.directory().join("litekeeper");
    std::fs::copy(env!("CARGO_BIN_EXE_litekeeper"), &program).unwrap();
    let sidecar = |suffix: &str| made.directory().join(format!("denied.db{suffix}"));
    let check = || {
        let mut command = std::process::Command::new(setpriv);
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        } else {
            command.arg("--no-new-privs");
        }
        let output = command.arg(&program).arg("check").arg(made.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    // A directory that may not be written to is no hindrance.
    mode(made.directory(), 0o555);
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    for (suffix, name) in [("-shm", "-shm file"), ("-wal", "-wal file"), ("", "main file")] {
        mode(&sidecar(suffix), 0o000);
        let (code, text) = check();
        assert!(
            code == Some(3) && text.contains(&format!("may not read the {name}: Permission denied")),
            "{text}"
        );
        mode(&sidecar(suffix), 0o644);
    }
    mode(made.directory(), 0o755);
}

fn the_json_has_its_shape() {
    let made = TestDatabase::new("shape").wal().rows(30).make();
    let owner = made.connect();
    owner.execute_batch("INSERT INTO items (text) VALUES ('in the WAL')").unwrap();
    let output =
        Output::of(&["check".as_ref(), "--json".as_ref(), "--rows=items".as_ref(), made.path().as_os_str()]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let report = &document["databases"][0];
    assert_eq!((&document["shape_version"], &document["status"]), (&Value::from(1), &Value::from("healthy")));
    assert_eq!(
        report["rows"][0],
        serde_json::json!({"table": "items", "rows": 31, "method": "count", "error": null})
    );
    assert_eq!(report["facts"]["journal_mode"], "wal");
    assert!(report["facts"]["wal_frames"].as_u64().unwrap() > 0, "{report}");
    // Every field is in the document that describes them.
    let described =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CHECK.md")).unwrap();
    let mut names = Vec::new();
    collect_names(&document, &mut names);
    for name in names {
        assert!(
            described.contains(&format!("`{name}")) || described.contains(&format!("`.{name}")),
            "docs/CHECK.md lacks {name}"
        );
    }
}

fn collect_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            names.push(name.clone());
            collect_names(value, names);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn an_interrupt_ends_a_check() {
    let made = database();
    let mut owner = SecondProcess::open(&made.path());
    owner.run("BEGIN EXCLUSIVE");
    // It waits for the lock, as long as an hour; standard error is piped, so there is no bar to be drawn.
    let child = litekeeper()
        .args(["check", "--busy-timeout=3600"])
        .arg(made.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    crate::support::eventually("it waits for the lock", || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", child.id())).ok()?;
        let open = descriptors
            .flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == made.path()));
        open.then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    owner.run("COMMIT");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("stopped on request"), "{text}");
}

fn a_count_out_of_time_is_an_estimate() {
    use litekeeper::budget::Budget;
    use litekeeper::sqlite::Access;
    use litekeeper::sqlite::Reader;
    use litekeeper::sqlite::RowCount;
    use std::time::Duration;
    let made = TestDatabase::new("slow")
        .rows(5_000)
        .sql(
            "CREATE TABLE keyed (name TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO keyed SELECT text FROM items;
             CREATE TABLE known (name TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO known SELECT text FROM items LIMIT 7;
             ANALYZE known; INSERT INTO known SELECT text || 'more' FROM items; DELETE FROM items WHERE id <= 1000;",
        )
        .make();
    let budget = Budget::impatient(Duration::from_secs(60));
    let mut reader = Reader::open(&made.path(), Access::Shared, &budget).unwrap();
    for (table, counted, out_of_time) in [
        ("items", RowCount::Exact(4_000), RowCount::Estimate(4_000)),
        ("keyed", RowCount::Exact(5_000), RowCount::Unknown),
        ("known", RowCount::Exact(5_007), RowCount::Estimate(7)),
    ] {
        assert_eq!(reader.count_rows(table, Duration::from_secs(60)).unwrap(), counted, "{table}");
        assert_eq!(reader.count_rows(table, Duration::ZERO).unwrap(), out_of_time, "{table}");
    }
}
