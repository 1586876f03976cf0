//! What a person reads at the command line: said once, in whole sentences, and true.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::maintenance::configure;
use crate::maintenance::slow_cleaning;
use crate::maintenance::until_a_batch_is_deleted;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_refusal_is_logged_once", a_refusal_is_logged_once),
        test("a_run_that_is_stopped_says_so", a_run_that_is_stopped_says_so),
        test("what_is_shown_can_be_used", what_is_shown_can_be_used),
        test("one_of_a_thing_is_no_plural", one_of_a_thing_is_no_plural),
        test("commands_about_maintenance_end_as_they_say", commands_about_maintenance_end_as_they_say),
        test(
            "an_unusable_backup_directory_is_reported_beforehand",
            an_unusable_backup_directory_is_reported_beforehand,
        ),
        test_with_tool(
            "a_directory_of_others_takes_no_backup",
            tool("setpriv").filter(|_| rustix::process::geteuid().is_root()),
            a_directory_of_others_takes_no_backup,
        ),
    ]
}

/// Two tables that are not cleaned: the first reason stands in the line of the run, the second at its table.
fn a_refusal_is_logged_once() {
    let fixture = TestDatabase::new("app").sql("CREATE TABLE logs (moment INTEGER)").make();
    let tasks = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}, {table: gone, column: at, retention: 30d}]}}";
    let config = configure(&fixture, tasks);
    let arguments = ["run", "log_cleaning", "--config", &config, "--log.level", "off"];
    let text = Output::of(&arguments).stdout;
    for (reason, line) in
        [("has no column at", "app: log_cleaning failed (config)"), ("no table gone", "    ")]
    {
        assert_eq!(text.matches(reason).count(), 1, "{text}");
        assert!(
            text.lines().any(|reported| reported.starts_with(line) && reported.contains(reason)),
            "{text}"
        );
    }
    // In the JSON each table has its own, as before.
    let json = Output::of(&[&arguments[..], &["--json"]].concat()).stdout;
    assert_eq!(json.matches("has no column at").count(), 2, "{json}");
}

fn a_run_that_is_stopped_says_so() {
    let (fixture, config) = slow_cleaning();
    let child = litekeeper()
        .args(["run", "log_cleaning", "--config", &config, "--log.format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_a_batch_is_deleted(&fixture);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let (text, log) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.starts_with("app: log_cleaning stopped (") && !text.contains("failed"), "{text}");
    assert_eq!(text.matches("stopped on request").count(), 1, "{text}");
    assert!(log.contains("run stopped") && !log.contains("failed"), "{log}");
    let history = Output::of(&["history", "--config", &config]).stdout;
    assert!(history.contains("stopped") && !history.contains("failed"), "{history}");
}

const BACKUP: &str = "{backup: {to: backups, min_free_space: 0}}";

/// The finding on the directory of backups, from a doctor's JSON.
fn impossible(document: &str) -> Option<Value> {
    let document: Value = serde_json::from_str(document).unwrap();
    let findings = document["databases"][0]["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == "backup-impossible").cloned()
}

fn shell(command: &str) {
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
}

fn an_unusable_backup_directory_is_reported_beforehand() {
    let fixture = TestDatabase::new("app").rows(5).make();
    let config = configure(&fixture, BACKUP);
    let backups = fixture.directory().join("backups");
    let check = || Output::of(&["config", "check", &config]);
    let doctor = || Output::of(&["doctor", "--json", "--config", &config]);
    let run = || Output::of(&["run", "backup", "--config", &config, "--log.level", "off"]);
    let refused = |words: &str| {
        let checked = check();
        let place = format!("{config}:5:26: databases[0].tasks.backup.to: warning: ");
        assert_eq!(checked.code, Some(0), "another machine may have it: {checked:?}");
        assert!(checked.stderr.starts_with(&place) && checked.stderr.contains(words), "{checked:?}");
        let (diagnosis, run) = (doctor(), run());
        let finding = impossible(&diagnosis.stdout).unwrap_or_else(|| panic!("{diagnosis:?}"));
        assert!(finding["what"].as_str().unwrap().contains(words), "{finding}");
        assert_eq!((&finding["severity"], diagnosis.code), (&"warning".into(), Some(1)), "{finding}");
        assert!(run.code == Some(3) && run.stdout.contains(words), "{run:?}");
        finding["command"].as_str().unwrap().to_owned()
    };
    let remedy = refused("the directory does not exist");
    std::fs::write(&backups, "").unwrap();
    refused("this is a file, not a directory");
    std::fs::remove_file(&backups).unwrap();
    // As somebody else than root, the command begins with sudo, for which there may be no password.
    shell(remedy.strip_prefix("sudo ").unwrap_or(&remedy));
    assert_eq!((check().stderr, impossible(&doctor().stdout)), (String::new(), None));
    assert_eq!(run().code, Some(0));
}

/// Runs as the user that the finding concerns.
fn a_directory_of_others_takes_no_backup(setpriv: &str) {
    let fixture = TestDatabase::new("app").rows(5).make();
    let config = configure(&fixture, BACKUP);
    let (backups, program) = (fixture.directory().join("backups"), fixture.directory().join("litekeeper"));
    std::fs::create_dir(&backups).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_litekeeper"), &program).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(fixture.directory(), 0o755);
    mode(&backups, 0o755);
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&program).args(arguments);
        Output::from(command)
    };
    let check = || as_nobody(&["config", "check", &config]).stderr;
    let doctor = || as_nobody(&["doctor", "--json", "--config", &config]).stdout;
    assert!(
        check().contains("litekeeper may not create, list or remove files there: Permission denied"),
        "{}",
        check()
    );
    let finding = impossible(&doctor()).unwrap();
    let command = finding["command"].as_str().unwrap().to_owned();
    assert!(command.starts_with("sudo chown 65534 "), "{finding}");
    shell(&command.replace("sudo ", ""));
    assert_eq!((check(), impossible(&doctor())), (String::new(), None));
}

/// What is shown is a configuration of its own, and says the same.
fn what_is_shown_can_be_used() {
    let fixture = TestDatabase::new("app").make();
    let config = configure(&fixture, "{vacuum: {}, backup: {to: .}}");
    let show = |file: &str| {
        let shown = Output::of(&["config", "show", file]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        shown.stdout
    };
    let again = fixture.directory().join("again.yml");
    std::fs::write(&again, show(&config)).unwrap();
    assert_eq!(show(again.to_str().unwrap()), show(&config));
    let run = |file: &str| {
        let run = Output::of(&["run", "all", "--json", "--config", file, "--log.level", "off"]);
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let runs = document["runs"].as_array().unwrap().clone();
        runs.into_iter().map(|run| (run["task"].clone(), run["outcome"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(run(again.to_str().unwrap()), run(&config));
}

fn one_of_a_thing_is_no_plural() {
    let fixture = TestDatabase::new("app").rows(1).make();
    let config = configure(&fixture, "{backup: {to: ., min_free_space: 0}}");
    let reported = Output::of(&["run", "backup", "--config", &config, "--log.level", "off"]).stdout;
    assert!(reported.contains("verified with 1 row, "), "{reported}");
    let backup = std::fs::read_dir(fixture.directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "backup"))
        .unwrap();
    let restored = Output::of(&[Path::new("restore"), &backup, &fixture.directory().join("again.db")]).stdout;
    assert!(restored.contains("verified with 1 row in 1 table\n"), "{restored}");
}

/// As the commands' help has it.
fn commands_about_maintenance_end_as_they_say() {
    let fixture = TestDatabase::new("app").make();
    let config = configure(&fixture, "{vacuum: {}}");
    let commands = ["history", "schedule", "pause", "resume"];
    let code = |command: &str, config: &str| Output::of(&[command, "--config", config]).code;
    for command in commands {
        assert_eq!(code(command, &config), Some(0), "{command}");
        assert_eq!(code(command, "/nowhere.yml"), Some(2), "{command}");
        assert_eq!(Output::of(&[command, "--nonsense"]).code, Some(2), "{command}");
    }
    // What stands in the way of the state file.
    let state = fixture.directory().join("state.sqlite");
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    for command in commands {
        assert_eq!(code(command, &config), Some(3), "{command}");
    }
}
