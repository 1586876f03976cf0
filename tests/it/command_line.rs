//! What a person reads at the command line: said once, in whole sentences, and true.

use std::process::Stdio;

use libtest_mimic::Trial;

use crate::maintenance::configure;
use crate::maintenance::number;
use crate::maintenance::slow_cleaning;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("a_refusal_is_told_once", a_refusal_is_told_once),
        test("a_run_that_is_stopped_says_so", a_run_that_is_stopped_says_so),
    ]
}

/// Two tables that are not cleaned: the first reason stands in the line of the run, the second at its table.
fn a_refusal_is_told_once() {
    let made = TestDatabase::new("app").sql("CREATE TABLE logs (moment INTEGER)").make();
    let tasks = "{log_cleaning: {tables: [{table: logs, column: at, retention: 30d}, {table: gone, column: at, retention: 30d}]}}";
    let config = configure(&made, tasks);
    let arguments = ["run", "log_cleaning", "--config", &config, "--log.level", "off"];
    let text = Output::of(&arguments).stdout;
    for (reason, line) in
        [("has no column at", "app: log_cleaning failed (config)"), ("no table gone", "    ")]
    {
        assert_eq!(text.matches(reason).count(), 1, "{text}");
        assert!(text.lines().any(|told| told.starts_with(line) && told.contains(reason)), "{text}");
    }
    // In the JSON each table has its own, as before.
    let json = Output::of(&[&arguments[..], &["--json"]].concat()).stdout;
    assert_eq!(json.matches("has no column at").count(), 2, "{json}");
}

fn a_run_that_is_stopped_says_so() {
    let (made, config) = slow_cleaning();
    let child = litekeeper()
        .args(["run", "log_cleaning", "--config", &config, "--log.format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let connection = made.connect();
    eventually("a batch is deleted", || {
        (number(&connection, "SELECT count(*) FROM logs") < 100_001).then_some(())
    });
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
