//! Manifests of backups: written with each, compared by `restore`, and read again by later runs.

use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_manifest_describes_its_backup", a_manifest_describes_its_backup),
        test("a_manifest_follows_the_pages_of_every_size", a_manifest_follows_the_pages_of_every_size),
        test("each_kind_of_rot_in_a_backup_is_distinguished", each_kind_of_rot_is_distinguished),
        test("a_backup_without_a_usable_manifest_is_no_damage", a_backup_without_a_usable_manifest),
        test("a_restore_names_the_pages_that_rotted", a_restore_names_the_pages_that_rotted),
        test("kept_backups_are_read_again_when_they_are_due", kept_backups_are_read_again),
        test("a_rotted_backup_makes_no_good_one_go", a_rotted_backup_makes_no_good_one_go),
        test("the_only_backup_rotted_and_stays_beside_new_ones", the_only_backup_rotted),
        test("backups_without_manifests_are_checked_by_sqlite", backups_without_manifests_are_checked),
        test("the_states_of_kept_backups_are_in_the_metrics", the_states_are_in_the_metrics),
    ]
}

struct Made(TestDatabase);

impl Made {
    fn new(database: TestDatabase) -> Self {
        let fixture = Self(database);
        std::fs::create_dir(fixture.0.directory().join("backups")).unwrap();
        fixture
    }

    fn config(&self, backup: &str) -> String {
        let file = self.0.directory().join("litekeeper.yml");
        let text = format!(
            "state: state.sqlite\ndatabases:\n  - path: app.db\n    name: app\n    tasks: {{backup: {{to: backups, min_free_space: 0, {backup}}}}}\n"
        );
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Runs a backup and returns its report.
    fn back_up(&self, settings: &str) -> Value {
        let config = self.config(settings);
        let output = Output::of(&["run", "backup", "--config", &config, "--json", "--log.level", "error"]);
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        let run = document["runs"][0].clone();
        assert_eq!(run["outcome"], "success", "{run:#}");
        run["details"]["backup"].clone()
    }

    /// The backups, the oldest first.
    fn backups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.directory().join("backups")).unwrap();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "backup"));
        found.sort();
        found
    }

    /// Makes the last run one of 40 days ago, so that its backups are due; the state file takes the
    /// backups for unchanged, as after rot, which moves no time of a file.
    fn let_time_pass(&self) {
        const DAYS: f64 = 40.0 * 86_400.0;
        let state = Connection::open(self.0.directory().join("state.sqlite")).unwrap();
        let last = "FROM runs WHERE id = (SELECT max(id) FROM runs)";
        let details: String =
            state.query_row(&format!("SELECT details {last}"), (), |row| row.get(0)).unwrap();
        let mut details: Value = serde_json::from_str(&details).unwrap();
        for kept in details["backup"]["kept"].as_array_mut().unwrap() {
            for key in ["checked_at", "verified_at"] {
                if let Some(time) = kept[key].as_f64() {
                    kept[key] = (time - DAYS).into();
                }
            }
            let file = std::fs::metadata(kept["path"].as_str().unwrap()).unwrap();
            kept["changed_at"] = (file.ctime() * 1_000_000_000 + file.ctime_nsec()).into();
        }
        let sql = "UPDATE runs SET details = ?1 WHERE id = (SELECT max(id) FROM runs)";
        state.execute(sql, [details.to_string()]).unwrap();
    }
}

fn rows(number: u32) -> TestDatabase {
    TestDatabase::new("app").sql(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})
         INSERT INTO items SELECT i, hex(randomblob(200)) FROM n;"
    ))
}

fn manifest_of(backup: &Path) -> PathBuf {
    PathBuf::from(format!("{}.manifest", backup.display()))
}

/// Flips one bit in the middle of a row of text, which no check of SQLite sees.
fn rot(backup: &Path) -> u64 {
    let bytes = std::fs::read(backup).unwrap();
    let hex = |window: &[u8]| window.iter().all(|byte| byte.is_ascii_hexdigit());
    let start = 3 * 4096;
    let at = start + bytes[start..].windows(100).position(hex).unwrap() + 50;
    let file = std::fs::File::options().write(true).open(backup).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
    at as u64 / 4096 + 1
}

/// `restore --verify --json` of one backup: the exit code, the whole entry.
fn verify(backup: &Path) -> (Option<i32>, Value) {
    let output = Output::of(&["restore", "--verify", "--json", backup.to_str().unwrap()]);
    let document: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.code, document["databases"][0].clone())
}

fn a_manifest_describes_its_backup() {
    for wal in [false, true] {
        let fixture = Made::new(if wal { rows(2000).wal().make() } else { rows(2000).make() });
        let report = fixture.back_up("keep: 2");
        let [backup] = fixture.backups().try_into().unwrap();
        let (code, checked) = verify(&backup);
        let manifest = &checked["manifest"];
        assert_eq!((code, &manifest["status"]), (Some(0), &"matches".into()), "{checked:#}");
        assert_eq!(manifest["differing_pages"], 0);
        assert_eq!(manifest["origin"]["database"], "app");
        // Operators compare with what they have.
        let sum = Command::new("sha256sum").arg(&backup).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        for sha256 in [&manifest["sha256"], &report["sha256"]] {
            assert!(sum.starts_with(sha256.as_str().unwrap()), "{sum} and {sha256}");
        }
        let text = std::fs::read(manifest_of(&backup)).unwrap();
        let line = text.split(|byte| *byte == b'\n').nth(1).unwrap();
        let end = line.iter().rposition(|byte| *byte == b'}').unwrap();
        let header: Value = serde_json::from_slice(&line[..=end]).unwrap();
        assert_eq!(header["sha256"], report["sha256"]);
        assert_eq!(header["path"], fixture.0.path().canonicalize().unwrap().to_str().unwrap());
        // The copy is the database byte for byte, page 1 included.
        if wal {
            fixture.0.connect().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
        assert!(std::fs::read(&backup).unwrap() == std::fs::read(fixture.0.path()).unwrap(), "wal {wal}");
    }
}

fn a_manifest_follows_the_pages_of_every_size() {
    for page_size in [512, 1024, 8192, 65_536] {
        for mode in ["DELETE", "WAL"] {
            let fixture = TestDatabase::new("app");
            let sql = format!(
                "PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = FULL; VACUUM; PRAGMA journal_mode = {mode};
                 CREATE TABLE t (a); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                 INSERT INTO t SELECT randomblob(1500) FROM n; DELETE FROM t WHERE rowid % 7 = 0"
            );
            fixture.connect().execute_batch(&sql).unwrap();
            let fixture = Made::new(fixture);
            fixture.back_up("keep: 2");
            let [backup] = fixture.backups().try_into().unwrap();
            let (code, checked) = verify(&backup);
            assert_eq!((code, &checked["manifest"]["status"]), (Some(0), &"matches".into()), "{checked:#}");
            let size = std::fs::metadata(&backup).unwrap().len();
            assert_eq!(checked["manifest"]["pages"], size / page_size, "{page_size} {mode}");
        }
    }
}

fn each_kind_of_rot_is_distinguished() {
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let fixture = Made::new(rows(2000).wal().make());
    fixture.back_up("keep: 2");
    let [backup] = fixture.backups().try_into().unwrap();
    let sound = std::fs::read(&backup).unwrap();
    let pages = sound.len() / 4096;
    let page = |number: usize| (number - 1) * 4096..number * 4096;
    let cases: [(&str, Vec<usize>, Change); 5] = [
        ("a bit", vec![20], Box::new(move |bytes| bytes[page(20).start + 2000] ^= 4)),
        ("a zeroed page", vec![21], Box::new(move |bytes| bytes[page(21)].fill(0))),
        (
            "two swapped pages",
            vec![30, 40],
            Box::new(move |bytes| {
                let (first, second) = (bytes[page(30)].to_vec(), bytes[page(40)].to_vec());
                bytes[page(30)].copy_from_slice(&second);
                bytes[page(40)].copy_from_slice(&first);
            }),
        ),
        ("a lost end", vec![pages - 1, pages], Box::new(move |bytes| bytes.truncate((pages - 2) * 4096 + 1))),
        ("a change counter", vec![1], Box::new(|bytes| bytes[27] ^= 1)),
    ];
    for (name, expected, change) in cases {
        let mut bytes = sound.clone();
        change(&mut bytes);
        std::fs::write(&backup, bytes).unwrap();
        let (code, checked) = verify(&backup);
        let manifest = &checked["manifest"];
        assert_eq!((code, &manifest["status"]), (Some(1), &"differs".into()), "{name}: {checked:#}");
        assert_eq!(manifest["first_differing_pages"], Value::from(expected.clone()), "{name}");
        assert_eq!(manifest["differing_pages"], expected.len());
        assert_eq!(checked["status"], "problems", "{name}: even where SQLite finds nothing");
    }
    let text = Output::of(&["restore", "--verify", backup.to_str().unwrap()]).stdout;
    assert!(text.contains("DAMAGED") && text.contains("page 1 differs"), "{text}");
}

fn a_backup_without_a_usable_manifest() {
    let fixture = Made::new(rows(500).make());
    fixture.back_up("keep: 3");
    fixture.0.connect().execute_batch("UPDATE items SET text = 'x' WHERE id = 7").unwrap();
    fixture.back_up("keep: 3");
    let [first, second] = fixture.backups().try_into().unwrap();
    let manifest = std::fs::read(manifest_of(&second)).unwrap();
    let status = |backup: &Path, bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => std::fs::write(manifest_of(backup), bytes).unwrap(),
            None => std::fs::remove_file(manifest_of(backup)).unwrap(),
        }
        let (code, checked) = verify(backup);
        assert_eq!((code, &checked["status"]), (Some(0), &"healthy".into()), "{checked:#}");
        checked["manifest"].clone()
    };
    let mut rotten = manifest.clone();
    rotten[300] ^= 1;
    assert_eq!(status(&second, Some(&rotten))["status"], "damaged");
    let mut rotten = manifest.clone();
    rotten[4096 + 8] ^= 1;
    let by_file = status(&second, Some(&rotten));
    assert_eq!((&by_file["status"], &by_file["sha256_matches"]), (&"damaged".into(), &true.into()));
    assert!(by_file["detail"].as_str().unwrap().contains("SHA-256 fits"), "{by_file:#}");
    assert_eq!(status(&second, Some(&manifest[..5000]))["status"], "damaged");
    assert_eq!(status(&second, Some(b""))["status"], "damaged");
    let other = std::fs::read(manifest_of(&first)).unwrap();
    let of_another = status(&second, Some(&other));
    assert_eq!(of_another["status"], "other_backup");
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(of_another["detail"].as_str().unwrap().contains(name), "{of_another:#}");
    let missing = status(&second, None);
    assert_eq!((&missing["status"], &missing["sha256"]), (&"missing".into(), &Value::Null));
    // A backup that was renamed with its manifest is still proved.
    let renamed = fixture.0.directory().join("renamed.db");
    std::fs::rename(&first, &renamed).unwrap();
    std::fs::rename(manifest_of(&first), manifest_of(&renamed)).unwrap();
    assert_eq!(verify(&renamed).1["manifest"]["status"], "matches");
}

fn a_restore_names_the_pages_that_rotted() {
    let fixture = Made::new(rows(2000).wal().make());
    fixture.back_up("keep: 2");
    let [backup] = fixture.backups().try_into().unwrap();
    let target = fixture.0.directory().join("restored.db");
    let arguments = ["restore", "--json", backup.to_str().unwrap(), target.to_str().unwrap()];
    let restored = Output::of(&arguments);
    let document: Value = serde_json::from_str(&restored.stdout).unwrap();
    assert_eq!((restored.code, &document["restored"]["manifest"]["status"]), (Some(0), &"matches".into()));
    assert!(std::fs::read(&target).unwrap() == std::fs::read(&backup).unwrap());
    std::fs::remove_file(&target).unwrap();
    let page = rot(&backup);
    let refused = Output::of(&arguments);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&format!("page {page} differs")), "{refused:?}");
    assert!(!target.exists());
}

/// The state of each kept backup, the newest first.
fn states(report: &Value) -> Vec<&str> {
    report["kept"].as_array().unwrap().iter().map(|kept| kept["state"].as_str().unwrap()).collect()
}

fn kept_backups_are_read_again() {
    let fixture = Made::new(rows(1000).wal().make());
    fixture.back_up("keep: 4");
    let second = fixture.back_up("keep: 4");
    assert_eq!((&second["rechecked"], states(&second)), (&0.into(), vec!["verified"; 2]));
    let [oldest, _] = fixture.backups().try_into().unwrap();
    let page = rot(&oldest);
    fixture.let_time_pass();
    let off = fixture.back_up("keep: 4, verify_interval: off");
    assert_eq!((&off["rechecked"], states(&off)), (&0.into(), vec!["verified"; 3]));
    let long = fixture.back_up("keep: 5, verify_interval: 300d");
    assert_eq!((&long["rechecked"], states(&long)), (&0.into(), vec!["verified"; 4]));
    let found = fixture.back_up("keep: 5, verify_interval: 30d");
    assert_eq!(found["rechecked"], 2, "the two of 40 days ago: {found:#}");
    assert_eq!(states(&found), ["verified", "verified", "verified", "verified", "damaged"]);
    let problem = found["kept"][4]["problem"].as_str().unwrap();
    assert!(problem.contains(&format!("page {page} differs")), "{problem}");
    // The result outlives the run, and is not found out again before it is due.
    let next = fixture.back_up("keep: 5");
    assert_eq!((&next["rechecked"], states(&next)[5]), (&0.into(), "damaged"), "{next:#}");
    // A file that somebody wrote is read again at once.
    let bytes = std::fs::read(&oldest).unwrap();
    let mut good = bytes.clone();
    let at = usize::try_from(page - 1).unwrap() * 4096;
    let flipped = fixture.backups()[1].clone();
    good[at..at + 4096].copy_from_slice(&std::fs::read(flipped).unwrap()[at..at + 4096]);
    std::fs::write(&oldest, good).unwrap();
    let healed = fixture.back_up("keep: 9");
    assert_eq!((&healed["rechecked"], states(&healed)), (&1.into(), vec!["verified"; 7]), "{healed:#}");
    let history = Output::of(&["history", "--config", &fixture.config("keep: 5"), "--task", "backup"]).stdout;
    assert!(history.contains("1 older backup DAMAGED"), "{history}");
}

fn a_rotted_backup_makes_no_good_one_go() {
    let fixture = Made::new(rows(500).make());
    for _ in 0..3 {
        fixture.back_up("keep: 3");
    }
    let [first, second, third] = fixture.backups().try_into().unwrap();
    rot(&third);
    fixture.let_time_pass();
    // Without the rot the first would go.
    let report = fixture.back_up("keep: 3");
    assert_eq!(states(&report), ["verified", "damaged", "verified", "verified"], "{report:#}");
    assert_eq!((&report["removed"], &report["files"]), (&Value::Array(Vec::new()), &3.into()));
    let next = fixture.back_up("keep: 3");
    assert_eq!(states(&next), ["verified", "verified", "damaged", "verified"]);
    assert_eq!(next["removed"], Value::from(vec![first.to_str().unwrap()]));
    assert!(!first.exists() && !manifest_of(&first).exists());
    // It goes when the operator removes it.
    std::fs::remove_file(&third).unwrap();
    let last = fixture.back_up("keep: 3");
    assert_eq!(states(&last), ["verified"; 3]);
    assert!(!second.exists() && !manifest_of(&third).exists());
}

fn the_only_backup_rotted() {
    let fixture = Made::new(rows(500).make());
    fixture.back_up("keep: 1");
    let [first] = fixture.backups().try_into().unwrap();
    rot(&first);
    fixture.let_time_pass();
    // It is found as long as it is to be kept beside the new one.
    let report = fixture.back_up("keep: 2");
    assert_eq!(states(&report), ["verified", "damaged"], "{report:#}");
    let report = fixture.back_up("keep: 1");
    assert_eq!((states(&report), fixture.backups().len()), (vec!["verified", "damaged"], 2), "{report:#}");
    assert!(first.exists(), "the one before, which was sound, went instead");
    // No more than `keep` damaged ones stay, so that the disk does not fill up.
    let second = fixture.backups()[1].clone();
    rot(&second);
    fixture.let_time_pass();
    assert_eq!(states(&fixture.back_up("keep: 2")), ["verified", "damaged", "damaged"]);
    let report = fixture.back_up("keep: 1");
    assert_eq!(states(&report), ["verified", "damaged"], "{report:#}");
    assert!(second.exists() && !first.exists());
}

fn backups_without_manifests_are_checked() {
    let fixture = Made::new(rows(500).make());
    fixture.back_up("keep: 4");
    fixture.back_up("keep: 4");
    let [first, second] = fixture.backups().try_into().unwrap();
    // Earlier versions made no manifests. SQLite's check sees a page that is zeroed.
    for backup in [&first, &second] {
        std::fs::remove_file(manifest_of(backup)).unwrap();
    }
    std::fs::File::options().write(true).open(&first).unwrap().write_all_at(&[0; 4096], 8192).unwrap();
    fixture.let_time_pass();
    let report = fixture.back_up("keep: 4");
    assert_eq!(
        (&report["rechecked"], states(&report)),
        (&2.into(), vec!["verified", "unverified", "damaged"])
    );
    let problem = |index: usize| report["kept"][index]["problem"].as_str().unwrap();
    assert!(problem(1).contains("there is no manifest"), "{}", problem(1));
    assert!(problem(2).contains("SQLite's check finds damage"), "{}", problem(2));
}

fn the_states_are_in_the_metrics() {
    let fixture = Made::new(rows(500).make());
    fixture.back_up("keep: 3");
    let [first] = fixture.backups().try_into().unwrap();
    rot(&first);
    fixture.let_time_pass();
    let report = fixture.back_up("keep: 3");
    let mut command = litekeeper();
    command.args(["serve", "--config", &fixture.config("keep: 3")]);
    let agent = Agent::start(command);
    let files = "litekeeper_backup_kept_files";
    let labels = |state| [("db", "app"), ("task", "backup"), ("state", state)];
    let scrape = agent.until(files, &labels("damaged"), 1.0);
    assert_eq!(scrape.value(files, &labels("verified")), Some(1.0));
    assert_eq!(scrape.value(files, &labels("unverified")), Some(0.0));
    for verification in ["newest", "oldest"] {
        let labels = [("db", "app"), ("verification", verification)];
        let time = scrape.value("litekeeper_backup_kept_verified_timestamp_seconds", &labels);
        assert_eq!(time, report["kept"][0]["verified_at"].as_f64(), "{verification}");
    }
    let interval = scrape.value("litekeeper_backup_verify_interval_seconds", &[("db", "app")]);
    assert_eq!(interval, Some(7.0 * 86_400.0));
}
