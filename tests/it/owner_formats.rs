//! Databases that only their owner may write: page checksums (SQLite's cksumvfs), and Turso's `-tshm`.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Output;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("tasks_that_would_spoil_an_owners_format_are_refused", tasks_are_refused),
        test("backup_and_restore_keep_page_checksums", backup_and_restore_keep_page_checksums),
        test("page_checksums_are_verified", page_checksums_are_verified),
    ]
}

const PAGE: usize = 4096;

/// A database as an application with so many reserved bytes makes it.
struct Made {
    directory: TempDir,
}

impl Made {
    fn new(reserved: u8) -> Self {
        let fixture = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(fixture.backups()).unwrap();
        let path = fixture.path();
        // Page 1 with an empty schema; its b-tree header says where cells end, which is where the reserved bytes begin.
        Connection::open(&path)
            .unwrap()
            .execute_batch("PRAGMA page_size = 4096; PRAGMA user_version = 7")
            .unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[reserved], 20).unwrap();
        let end = u16::try_from(PAGE - usize::from(reserved)).unwrap();
        file.write_all_at(&end.to_be_bytes(), 105).unwrap();
        let owner = Connection::open(&path).unwrap();
        owner
            .execute_batch(
                "CREATE TABLE logs (id INTEGER PRIMARY KEY, at TEXT, text TEXT);
                 CREATE INDEX logs_at ON logs (at);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                 INSERT INTO logs SELECT i, datetime('now', -i || ' hours'), 'row ' || i FROM n;
                 INSERT INTO logs VALUES (10000, datetime('now'), hex(zeroblob(20000)));
                 CREATE TABLE junk (x); INSERT INTO junk SELECT zeroblob(400000); DROP TABLE junk",
            )
            .unwrap();
        fixture
    }

    /// With the checksum of each page at its end.
    fn summed() -> Self {
        let fixture = Self::new(8);
        let mut bytes = std::fs::read(fixture.path()).unwrap();
        for page in bytes.chunks_exact_mut(PAGE) {
            let (content, sum) = page.split_at_mut(PAGE - 8);
            sum.copy_from_slice(&checksum(content));
        }
        std::fs::write(fixture.path(), bytes).unwrap();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("app.db")
    }

    fn backups(&self) -> PathBuf {
        self.directory.path().join("backups")
    }

    fn config(&self) -> PathBuf {
        let config = self.directory.path().join("lk.yml");
        let text = format!(
            "state: {}\ndatabases: [{{name: app, path: {}, tasks: {{vacuum: {{min_reclaimable: {{bytes: 1B, ratio: 0}}}}, \
             checkpoint: {{}}, optimize: {{}}, backup: {{to: {}}}, log_cleaning: {{tables: [{{table: logs, column: at, retention: \
             30d}}]}}}}}}]\n",
            self.directory.path().join("state.sqlite").display(),
            self.path().display(),
            self.backups().display()
        );
        std::fs::write(&config, text).unwrap();
        config
    }

    fn run(&self, task: &str) -> Value {
        let output = Output::of(&["run", task, "--config", &self.config().to_string_lossy(), "--json"]);
        let runs: Value = serde_json::from_str(&output.stdout).unwrap();
        runs["runs"][0].clone()
    }

    fn backup(&self) -> PathBuf {
        let run = self.run("backup");
        assert_eq!(run["outcome"], "success", "{run:#}");
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.backups())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "backup"))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

/// As <https://sqlite.org/cksumvfs.html> and its source have it.
fn checksum(content: &[u8]) -> [u8; 8] {
    let words: Vec<u32> =
        content.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    let (mut one, mut two) = (0_u32, 0_u32);
    for pair in words.chunks_exact(2) {
        one = one.wrapping_add(pair[0].wrapping_add(two));
        two = two.wrapping_add(pair[1].wrapping_add(one));
    }
    let mut sum = [0; 8];
    sum[..4].copy_from_slice(&one.to_le_bytes());
    sum[4..].copy_from_slice(&two.to_le_bytes());
    sum
}

fn differing_pages(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(PAGE).filter(|page| checksum(&page[..PAGE - 8]) != page[PAGE - 8..]).count()
}

fn doctor(path: &Path) -> Vec<String> {
    let output = Output::of(&["doctor", "--json", &path.to_string_lossy()]);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    let findings = found["databases"][0]["findings"].as_array().unwrap();
    for finding in findings {
        let command = finding["command"].as_str().unwrap_or_default();
        assert!(!command.contains("sqlite3 "), "{finding:#}");
    }
    findings.iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
}

fn tasks_are_refused() {
    let turso = Made::new(0);
    std::fs::write(turso.directory.path().join("app.db-tshm"), "").unwrap();
    for (name, fixture, finding, words) in [
        ("page checksums", Made::summed(), "page-checksums", "ends with a checksum"),
        ("8 reserved bytes", Made::new(8), "page-checksums", "8 reserved bytes"),
        ("Turso", turso, "turso", "-tshm"),
    ] {
        let before = std::fs::read(fixture.path()).unwrap();
        for task in ["vacuum", "log_cleaning", "optimize"] {
            let run = fixture.run(task);
            assert_eq!(run["reason"], "owner_format", "{name}, {task}: {run:#}");
            let message = run["message"].as_str().unwrap();
            assert!(message.contains(words), "{name}: {message}");
        }
        let dry =
            Output::of(&["run", "vacuum", "--dry-run", "--config", &fixture.config().to_string_lossy()]);
        assert!(dry.stdout.contains(words), "{name}: {}", dry.stdout);
        assert!(doctor(&fixture.path()).iter().any(|id| id == finding), "{name}");
        assert_eq!(std::fs::read(fixture.path()).unwrap(), before, "{name}");
    }
    // In WAL mode a checkpoint would write, too.
    let fixture = Made::new(8);
    let owner = Connection::open(fixture.path()).unwrap();
    owner.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO logs (text) VALUES ('new')").unwrap();
    assert_eq!(fixture.run("checkpoint")["reason"], "owner_format");
    drop(owner);
    // Other reserved bytes are SQLite's business, which leaves them alone.
    let fixture = Made::new(12);
    let run = fixture.run("vacuum");
    assert_eq!(run["outcome"], "success", "{run:#}");
    let check = Output::of(&["check", &fixture.path().to_string_lossy()]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains("12 reserved bytes"), "{}", check.stdout);
}

/// The backup API renews counters in page 1, whose checksum is then wrong.
fn backup_and_restore_keep_page_checksums() {
    let fixture = Made::summed();
    assert_eq!(differing_pages(&fixture.path()), 0);
    let backup = fixture.backup();
    let original = std::fs::read(fixture.path()).unwrap();
    assert!(std::fs::read(&backup).unwrap() == original, "the backup differs");
    let target = fixture.directory.path().join("restored.db");
    let output = Output::of(&["restore", &backup.to_string_lossy(), &target.to_string_lossy()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(std::fs::read(&target).unwrap() == original, "the restored file differs");
}

fn page_checksums_are_verified() {
    let fixture = Made::summed();
    let check = |arguments: &[&str]| {
        let path = fixture.path();
        let mut all = vec!["check"];
        all.extend(arguments);
        let path = path.to_string_lossy();
        all.push(&path);
        Output::of(&all)
    };
    for arguments in [&[][..], &["--quick"], &["--by-table"]] {
        let output = check(arguments);
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        assert!(output.stdout.contains("ends with a checksum"), "{arguments:?}: {}", output.stdout);
    }
    // A bit of a text, which no check of SQLite sees, in an overflow page.
    let bytes = std::fs::read(fixture.path()).unwrap();
    let digits = [b'0'; 2000];
    let at = bytes.windows(digits.len()).position(|window| window == digits).unwrap() + 100;
    let file = std::fs::OpenOptions::new().write(true).open(fixture.path()).unwrap();
    file.write_all_at(b"1", at as u64).unwrap();
    let page = at / PAGE + 1;
    for arguments in [&[][..], &["--quick"], &["--by-table"]] {
        let output = check(arguments);
        assert_eq!(output.code, Some(1), "{arguments:?}: {output:?}");
        assert!(output.stdout.contains(&format!("page {page} does not fit its checksum")), "{output:?}");
    }
    let run = fixture.run("backup");
    assert_eq!((&run["outcome"], &run["reason"]), (&"failed".into(), &"corrupt".into()), "{run:#}");
}
