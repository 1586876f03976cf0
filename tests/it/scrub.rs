//! `litekeeper scrub`: what it finds, what it must not report, and how it is stopped.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::flip_bit;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_scrub_that_is_stopped_continues", a_scrub_that_is_stopped_continues),
        test("a_damaged_ledger_raises_no_alarm", a_damaged_ledger_raises_no_alarm),
        test("a_live_wal_is_verified_except_for_written_pages", a_live_wal_is_verified),
        test("damage_that_the_wal_proves_is_found_by_the_first_scrub", damage_that_the_wal_proves),
        test("what_is_no_database_is_not_scrubbed", what_is_no_database_is_not_scrubbed),
        test_with_tool("scrubs_beside_every_kind_of_writer_raise_no_alarm", tool("python3"), |python| {
            soak(python, &["alarms", "--scrubs", "48", "--databases", "8"]);
        }),
        test_with_tool("flips_at_rest_are_found_and_named", loop_devices(), |python| {
            soak(python, &["flips", "--flips", "20"]);
        }),
        test_with_tool("flips_beside_a_wal_are_found_and_named", loop_devices(), |python| {
            soak(python, &["wal", "--databases", "4"]);
        }),
    ]
}

/// Python, where this user may mount an image.
fn loop_devices() -> Option<String> {
    tool("mkfs.ext4")
        .or_else(|| Some("/sbin/mkfs.ext4".to_owned()).filter(|path| Path::new(path).exists()))?;
    tool("filefrag")
        .or_else(|| Some("/usr/sbin/filefrag".to_owned()).filter(|path| Path::new(path).exists()))?;
    let directory = tempfile::tempdir().ok()?;
    let image = directory.path().join("image");
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    std::fs::File::create(&image).ok()?.set_len(8 << 20).ok()?;
    let is_mounted = quiet(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
        && quiet(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(directory.path()))
        && quiet(Command::new("umount").arg(directory.path()));
    is_mounted.then(|| tool("python3")).flatten()
}

/// The short form of the soak test.
fn soak(python: &str, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scrub_soak.py");
    let output = Command::new(python)
        .args([script, "--litekeeper", env!("CARGO_BIN_EXE_litekeeper"), "--seed", "7"])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

struct Scrubbed {
    code: Option<i32>,
    result: Value,
}

fn scrub(ledgers: &Path, database: &Path) -> Scrubbed {
    let output =
        litekeeper().args(["scrub", "--json", "--ledger-dir"]).args([ledgers, database]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Scrubbed { code: output.status.code(), result: document["databases"][0].clone() }
}

fn a_scrub_that_is_stopped_continues() {
    let database = TestDatabase::new("books").rows(30_000).make();
    let ledgers = database.directory().join("ledgers");
    let size = std::fs::metadata(database.path()).unwrap().len();
    // The rate ends no test by itself: at this one, the scrub would take minutes.
    let scrub_slowly = || {
        litekeeper()
            .args(["scrub", "--json", "--rate", "4K", "--ledger-dir"])
            .args([ledgers.as_path(), &database.path()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let process = scrub_slowly();
    crate::support::eventually("the scrub has its ledger", || {
        std::fs::read_dir(&ledgers).ok()?.next().map(|_| ())
    });
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stopped = &document["databases"][0];
    assert_eq!(stopped["status"], "stopped", "{stopped}");
    assert!(stopped["bytes_done"].as_u64().unwrap() <= size);
    let whole = scrub(&ledgers, &database.path());
    assert_eq!((whole.code, &whole.result["report"]["mode"]), (Some(0), &Value::from("first")));
    assert_eq!(whole.result["report"]["bytes"].as_u64(), Some(size));
    let again = scrub(&ledgers, &database.path());
    assert_eq!(again.result["report"]["mode"], "at_rest");
    assert_eq!(again.result["report"]["verified_pages"], again.result["report"]["pages"]);
}

fn a_damaged_ledger_raises_no_alarm() {
    let database = TestDatabase::new("books").rows(30_000).make();
    let ledgers = database.directory().join("ledgers");
    scrub(&ledgers, &database.path());
    let ledger = std::fs::read_dir(&ledgers).unwrap().next().unwrap().unwrap().path();
    let length = std::fs::metadata(&ledger).unwrap().len();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&ledger).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, length - 100).unwrap();
    file.write_all_at(&[byte[0] ^ 4], length - 100).unwrap();
    let damaged = scrub(&ledgers, &database.path());
    assert_eq!(damaged.code, Some(0), "{}", damaged.result);
    assert!(damaged.result["report"]["unverified_pages"]["ledger"].as_u64() > Some(0));
    let healed = scrub(&ledgers, &database.path());
    assert_eq!(healed.result["report"]["verified_pages"], healed.result["report"]["pages"]);
    // A head that is damaged makes it the first scrub again.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&ledger).unwrap();
    file.write_all_at(b"xx", 100).unwrap();
    assert_eq!(scrub(&ledgers, &database.path()).result["report"]["mode"], "first");
}

fn a_live_wal_is_verified() {
    let database = TestDatabase::new("books").wal().rows(2_000).make();
    let ledgers = database.directory().join("ledgers");
    let owner = database.connect();
    owner.execute_batch("CREATE TABLE final (a); INSERT INTO final VALUES (1)").unwrap();
    let checkpoint = || owner.query_row("PRAGMA wal_checkpoint", (), |_| Ok(())).unwrap();
    checkpoint();
    scrub(&ledgers, &database.path());
    owner.execute_batch("UPDATE final SET a = 2").unwrap();
    checkpoint();
    let report = scrub(&ledgers, &database.path()).result["report"].clone();
    assert_eq!(report["mode"], "live_wal", "{report}");
    assert_eq!(report["unverified_pages"], serde_json::json!({"written": 1}));
    // Two restarts that nobody saw: equal pages are verified, and nothing is reported.
    for value in 3..6 {
        owner.execute("UPDATE final SET a = ?1", [value]).unwrap();
        checkpoint();
    }
    let after = scrub(&ledgers, &database.path());
    assert_eq!((after.code, &after.result["report"]["mode"]), (Some(0), &Value::from("rewritten")));
    assert_eq!(after.result["report"]["unverified_pages"], serde_json::json!({"wal_incomplete": 1}));
}

/// A flipped bit in a committed frame, and one in a page that a checkpoint has copied.
fn damage_that_the_wal_proves() {
    for (file, setup, kind) in
        [("-wal", "", "wal_frame"), ("", "PRAGMA wal_checkpoint", "lost_checkpoint_write")]
    {
        let database = TestDatabase::new("books").wal().make();
        let mut owner = SecondProcess::open(&database.path());
        owner.run("PRAGMA wal_autocheckpoint = 0");
        owner.run(
            "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
             INSERT INTO vouchers SELECT i, 'voucher number ' || i FROM n",
        );
        if !setup.is_empty() {
            owner.run(setup);
        }
        let ledgers = database.directory().join("ledgers");
        let sound = scrub(&ledgers, &database.path());
        assert_eq!(sound.code, Some(0), "{}", sound.result);
        let path = PathBuf::from(format!("{}{file}", database.path().display()));
        flip_bit(&path, b"voucher number 777");
        let damaged = scrub(&database.directory().join("others"), &database.path());
        let found = &damaged.result["mismatches"][0];
        assert_eq!((damaged.code, &found["kind"]), (Some(1), &Value::from(kind)), "{}", damaged.result);
        assert!(found["page"].as_u64() > Some(1), "{found}");
    }
}

fn what_is_no_database_is_not_scrubbed() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database").unwrap();
    let ledgers = directory.path().join("ledgers");
    for (path, error) in [(text, "not_a_database"), (directory.path().join("none"), "not_found")] {
        let refused = scrub(&ledgers, &path);
        assert_eq!((refused.code, &refused.result["error"]), (Some(3), &Value::from(error)));
    }
}
