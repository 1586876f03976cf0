//! Databases that real applications made (`tests/zoo/build.py`): litekeeper says the right thing about each, does its tasks,
//! and leaves no trace where it only looks.
//!
//! A database of the zoo that no row of `EXPECTED` names is to be healthy. Where the zoo or a part of it could not be made, the
//! tests are reported as ignored, with the reason in their names.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Agent;
use crate::support::Output;
use crate::support::litekeeper;
use crate::support::test_with_tool;

/// What differs from a database that is healthy and has nothing to clean.
struct Expected {
    /// The path in the zoo.
    file: &'static str,
    /// What the full check reports.
    findings: &'static [Finding],
    /// A table of a log, as the configuration has it.
    log: Option<&'static str>,
    /// Tasks that do not run, each with a part of the reason.
    refused: &'static [(&'static str, &'static str)],
}

/// A finding of the full check: its kind, and a part of its text that at least one has.
type Finding = (&'static str, &'static str);

const PLAIN: Expected = Expected { file: "", findings: &[], log: None, refused: &[] };

const UNICASE: &str = "its collation unicase is the application's own";

const EXPECTED: &[Expected] = &[
    Expected {
        file: "anki/collection.anki2",
        findings: &[("not_checkable", UNICASE)],
        log: Some("{table: revlog, column: id, format: unix_milliseconds, retention: 30d}"),
        refused: &[("vacuum", "no such collation sequence: unicase")],
    },
    Expected {
        file: "celery/results.db",
        log: Some("{table: celery_taskmeta, column: date_done, retention: 30d}"),
        ..PLAIN
    },
    Expected {
        file: "chromium/History",
        log: Some("{table: urls, column: last_visit_time, format: webkit_microseconds, retention: 90d}"),
        ..PLAIN
    },
    Expected {
        file: "diskcache/cache.db",
        log: Some("{table: Cache, column: expire_time, expires: true}"),
        ..PLAIN
    },
    Expected {
        file: "django/db.sqlite3",
        log: Some("{table: django_session, column: expire_date, expires: true}"),
        ..PLAIN
    },
    // Fossil declares references to a table of another of its databases.
    Expected {
        file: "fossil/checkout.db",
        findings: &[("constraint", "refers to a missing row of blob")],
        ..PLAIN
    },
    // Here tags refer to the artifact -1 for "no source".
    Expected {
        file: "fossil/zoo.fossil",
        findings: &[
            ("constraint", "refers to a missing row of blob"),
            (
                "not_checkable",
                "full-text index ftsidx: it was not compared with its table ftscontent: no such function",
            ),
        ],
        ..PLAIN
    },
    Expected {
        file: "geopackage/places.sqlite",
        findings: &[("not_checkable", "its module VirtualSpatialIndex is not a part of litekeeper")],
        ..PLAIN
    },
    Expected {
        file: "requests_cache/http_cache.sqlite",
        log: Some("{table: responses, column: expires, expires: true}"),
        ..PLAIN
    },
    Expected {
        file: "roundcube/roundcube.db",
        log: Some("{table: session, column: changed, retention: 90d}"),
        ..PLAIN
    },
    Expected {
        file: "spatialite/places.sqlite",
        findings: &[("not_checkable", "its module VirtualSpatialIndex is not a part of litekeeper")],
        ..PLAIN
    },
    Expected {
        file: "sqlite_utils/documents.db",
        refused: &[("vacuum", "finds the rows of documents by their row ids")],
        ..PLAIN
    },
];

/// Reasons for which a task of a sound database may have nothing to do.
const NOTHING_TO_DO: &[&str] = &[
    "the database has no free page",
    "the database is not in WAL mode",
    "all frames are copied, and the WAL has",
    "the statistics of every table are up to date",
];

pub fn trials() -> Vec<Trial> {
    let Some(zoo) = std::env::var_os("LITEKEEPER_TEST_ZOO_DIRECTORY").map(PathBuf::from) else {
        let name = "zoo (not built: LITEKEEPER_TEST_ZOO=yes tests/run builds it)";
        return vec![test_with_tool(name, None, |_| ())];
    };
    let mut trials: Vec<Trial> = left_out(&zoo)
        .into_iter()
        .map(|(name, why)| test_with_tool(&format!("zoo_{name} (not made: {why})"), None, |_| ()))
        .collect();
    let files = databases(&zoo.join("databases"));
    for file in &files {
        let name = format!("zoo_{}", file.display()).replace(['/', '.', ' '], "_");
        let (zoo, file) = (zoo.clone(), file.clone());
        trials.push(test_with_tool(&name, Some(String::new()), move |_| Specimen::of(&zoo, &file).examine()));
    }
    let sweep = move |_: &str| a_sweep_reads_all(&zoo, &files);
    trials.push(test_with_tool("zoo_a_sweep_reads_all", Some(String::new()), sweep));
    trials
}

/// The sets of databases that could not be made, with the reason in one line.
fn left_out(zoo: &Path) -> BTreeMap<String, String> {
    let report = std::fs::read(zoo.join("report.json")).expect("build.py writes a report");
    let report: BTreeMap<String, Value> = serde_json::from_slice(&report).unwrap();
    // The names of tests stand in columns.
    let reason = |one: &Value| Some(one["left_out"].as_str()?.replace('\n', " ").chars().take(80).collect());
    report.into_iter().filter_map(|(name, one)| Some((name, reason(&one)?))).collect()
}

/// Every database below a directory, as paths relative to it. The files beside them have no header of their own.
fn databases(directory: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if std::fs::read(&path).unwrap().starts_with(b"SQLite format 3\0") {
                found.insert(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    found.into_iter().collect()
}

/// A copy of one database, with the files beside it.
struct Specimen {
    directory: TempDir,
    path: PathBuf,
    expected: &'static Expected,
}

impl Specimen {
    fn of(zoo: &Path, file: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let from = zoo.join("databases").join(file);
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::create_dir(directory.path().join("database")).unwrap();
        for ending in ["", "-wal", "-shm", "-journal"] {
            let from = from.with_file_name(format!("{name}{ending}"));
            if from.exists() {
                std::fs::copy(from, directory.path().join("database").join(format!("{name}{ending}")))
                    .unwrap();
            }
        }
        let path = directory.path().join("database").join(name);
        let expected = EXPECTED.iter().find(|expected| Path::new(expected.file) == file).unwrap_or(&PLAIN);
        Self { directory, path, expected }
    }

    fn examine(&self) {
        let before = self.files();
        self.checks_say_the_right_thing();
        self.doctor_reads_all();
        let tasks = self.tasks(&["--dry-run"]);
        for run in &tasks {
            let why = run["forecast"]["would_not_run"].as_str();
            self.is_right(run["task"].as_str().unwrap(), why);
        }
        assert_eq!(tasks.len(), if self.expected.log.is_some() { 6 } else { 5 });
        assert_eq!(self.files(), before, "looking left a trace");
        for (dry, run) in tasks.iter().zip(self.tasks(&[])) {
            self.went_as_announced(dry, &run);
        }
        self.the_backup_is_whole();
        self.checks_say_the_right_thing();
    }

    fn litekeeper(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = litekeeper();
        command.args(arguments).env("LITEKEEPER_LOG", "off");
        let output = Output::from(command);
        let json = serde_json::from_str(&output.stdout);
        (output.code, json.unwrap_or_else(|_| panic!("{arguments:?}: {output:?}")))
    }

    /// The full check, the quick one and the one by table.
    fn checks_say_the_right_thing(&self) {
        let path = self.path.to_str().unwrap();
        for how in [
            &["check", "--json", path][..],
            &["check", "--json", "--quick", path],
            &["check", "--json", "--by-table", path],
        ] {
            let (code, report) = self.litekeeper(how);
            let database = &report["databases"][0];
            assert_eq!(database["error"], Value::Null, "{how:?}");
            let findings: Vec<(String, String)> = database["checks"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|check| check["findings"].as_array().unwrap())
                .map(|finding| (text(&finding["kind"]), text(&finding["text"])))
                .collect();
            for (kind, found) in &findings {
                // Odd is what many applications do, such as Firefox with its chunks; it is no fault.
                let known =
                    kind == "odd" || self.expected.findings.iter().any(|(expected, _)| expected == kind);
                assert!(known, "{how:?} reports {kind}: {found}");
            }
            if how.len() == 3 {
                for (kind, part) in self.expected.findings {
                    let found = findings.iter().any(|(found, text)| found == kind && text.contains(part));
                    assert!(found, "{how:?} reports no {kind} with {part:?}: {findings:#?}");
                }
            }
            let kinds: BTreeSet<&str> = findings.iter().map(|(kind, _)| kind.as_str()).collect();
            let (status, exit) = match (kinds.contains("constraint"), kinds.contains("not_checkable")) {
                (true, _) => ("problems", 1),
                (false, true) => ("unknown", 3),
                (false, false) => ("healthy", 0),
            };
            assert_eq!(
                (database["status"].as_str(), code),
                (Some(status), Some(exit)),
                "{how:?}: {database:#}"
            );
        }
    }

    fn doctor_reads_all(&self) {
        let path = self.path.to_str().unwrap();
        let (_, report) = self.litekeeper(&["doctor", "--json", path]);
        let database = &report["databases"][0];
        assert_eq!(database["error"], Value::Null, "doctor");
        for finding in database["findings"].as_array().unwrap() {
            assert_ne!(finding["severity"], "critical", "doctor: {finding:#}");
        }
        let prose = Output::of(&["doctor", path]).stdout;
        assert!(!prose.contains("ould not"), "doctor could not look at all of it: {prose}");
    }

    /// Every task, as a dry run or for real.
    fn tasks(&self, more: &[&str]) -> Vec<Value> {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        let log =
            self.expected.log.map_or_else(String::new, |log| format!(", log_cleaning: {{tables: [{log}]}}"));
        std::fs::create_dir_all(at("backups")).unwrap();
        let configuration = format!(
            "state: off\ndatabases:\n  - path: {path:?}\n    name: specimen\n    row_counts: all\n    owner_busy_timeout: 10s\n    \
             tasks: {{health_check: {{}}, optimize: {{}}, checkpoint: {{}}, backup: {{to: {backups:?}}}, vacuum: \
             {{min_reclaimable: {{bytes: 0, ratio: 0}}}}{log}}}\n",
            path = self.path,
            backups = at("backups"),
        );
        std::fs::write(at("litekeeper.yml"), configuration).unwrap();
        let file = at("litekeeper.yml");
        let arguments = [&["run", "all", "--json", "--config", &file][..], more].concat();
        self.litekeeper(&arguments).1["runs"].as_array().unwrap().clone()
    }

    /// Whether a task has a good reason not to run, or none and is to run.
    fn is_right(&self, task: &str, why: Option<&str>) {
        let refusal = self.expected.refused.iter().find(|(refused, _)| *refused == task);
        match (refusal, why) {
            (None, None) => {}
            (None, Some(why)) => {
                assert!(NOTHING_TO_DO.iter().any(|reason| why.contains(reason)), "{task} is refused: {why}");
            }
            // With no free page a vacuum has nothing to do in any case.
            (Some((_, part)), why) => {
                let why = why.unwrap_or_else(|| panic!("{task} is not refused for {part:?}"));
                assert!(why.contains(part) || why.contains(NOTHING_TO_DO[0]), "{task}: {why}");
            }
        }
    }

    /// A run does what its dry run announced.
    fn went_as_announced(&self, dry: &Value, run: &Value) {
        assert_eq!(dry["task"], run["task"]);
        let task = text(&run["task"]);
        let message = run["message"].as_str();
        match run["outcome"].as_str().unwrap() {
            "success" => {}
            "skipped" => self.is_right(&task, Some(message.unwrap())),
            _ => {
                let broken = self.expected.findings.iter().any(|(kind, _)| *kind == "constraint");
                assert!(broken && task == "health_check" && run["reason"] == "constraint", "{task}: {run:#}");
            }
        }
        if task == "optimize" && message.is_none() {
            let analyzed = &run["details"]["optimize"]["analyzed"];
            assert_eq!(names(&dry["forecast"]["analyze"]), names(analyzed), "{dry:#} {run:#}");
        }
        if task == "log_cleaning" {
            let announced: i64 = sum(&dry["forecast"]["tables"], "rows");
            let deleted = run["details"]["log_cleaning"]["deleted_rows"].as_i64();
            assert_eq!(
                Some(announced),
                deleted.or_else(|| message.is_some().then_some(0)),
                "{dry:#} {run:#}"
            );
        }
    }

    fn the_backup_is_whole(&self) {
        let backups: Vec<PathBuf> = std::fs::read_dir(self.directory.path().join("backups"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "backup"))
            .collect();
        assert_eq!(backups.len(), 1, "{backups:?}");
        let verified = Output::of(&["restore".as_ref(), "--verify".as_ref(), backups[0].as_os_str()]);
        let partly = self.expected.findings.iter().any(|(kind, _)| *kind == "not_checkable");
        assert_eq!(verified.code, Some(if partly { 3 } else { 0 }), "{verified:?}");
    }

    /// What the database's directory holds: names, contents, times.
    fn files(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let entries = std::fs::read_dir(self.path.parent().unwrap()).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let changed = entry.metadata().unwrap().modified().unwrap();
                let name = entry.file_name().into_string().unwrap();
                // Readers of a WAL take locks in its index, and note how far they read there.
                let content =
                    if name.ends_with("-shm") { Vec::new() } else { std::fs::read(entry.path()).unwrap() };
                (name, (content, changed))
            })
            .collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

fn sum(tables: &Value, key: &str) -> i64 {
    tables.as_array().unwrap().iter().filter_map(|table| table[key].as_i64()).sum()
}

/// Every database at once, with every collector on.
fn a_sweep_reads_all(zoo: &Path, files: &[PathBuf]) {
    assert!(!files.is_empty());
    let directory = tempfile::tempdir().unwrap();
    let specimens: Vec<Specimen> = files.iter().map(|file| Specimen::of(zoo, file)).collect();
    let before: Vec<_> = specimens.iter().map(Specimen::files).collect();
    let mut configuration = "state: off\ndatabases:\n".to_owned();
    for (number, specimen) in specimens.iter().enumerate() {
        let path = &specimen.path;
        let database = format!(
            "  - {{path: {path:?}, name: d{number}, row_counts: all, collectors: {{table_sizes: on}}, count_timeout: 20s, \
                                table_sizes_timeout: 20s}}\n"
        );
        configuration.push_str(&database);
    }
    let file = directory.path().join("litekeeper.yml");
    std::fs::write(&file, configuration).unwrap();
    let mut command = litekeeper();
    command.arg("serve").arg("--config").arg(&file);
    let agent = Agent::start(command).ready();
    for (number, file) in files.iter().enumerate() {
        let name = format!("d{number}");
        let scrape = agent.until("sqlite_up", &[("db", &name)], 1.0);
        let errors: f64 = scrape
            .text
            .lines()
            .filter(|line| line.starts_with(&format!("sqlite_errors_total{{db=\"d{number}\"")))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum();
        assert!(errors.abs() < f64::EPSILON, "{}: {:#?}", file.display(), agent.log());
    }
    let warnings: Vec<String> =
        agent.log().into_iter().filter(|line| line.contains("could not be")).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
    drop(agent);
    for ((specimen, file), before) in specimens.iter().zip(files).zip(before) {
        assert_eq!(specimen.files(), before, "watching {} left a trace", file.display());
    }
}
