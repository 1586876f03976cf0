//! The command line: exit codes, signals, messages, the demo.

use std::process::Stdio;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::Agent;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("signals_end_the_agent", signals_end_the_agent),
        test("exit_codes_distinguish_mistakes", exit_codes_distinguish_mistakes),
        test("a_taken_port_is_named", a_taken_port_is_named),
        test("help_version_and_completions_are_there", help_version_and_completions_are_there),
        test("a_reader_that_leaves_is_no_failure", a_reader_that_leaves_is_no_failure),
        test("the_demo_shows_its_databases_and_cleans_up", the_demo_shows_its_databases_and_cleans_up),
        test("the_demo_can_be_kept", the_demo_can_be_kept),
    ]
}

fn signals_end_the_agent() {
    for signal in [Signal::TERM, Signal::INT] {
        let fixture = TestDatabase::new("ended").make();
        let agent = Agent::serve(&[fixture.path()]).ready();
        agent.signal(signal);
        assert_eq!(agent.wait(), Some(0), "{signal:?}");
    }
}

fn exit_codes_distinguish_mistakes() {
    for (arguments, code, words) in [
        (&["serve"][..], 2, "required arguments"),
        (&["nonsense"], 2, "unrecognized subcommand"),
        (&["serve", "a.db", "--log.level=nonsense=x"], 2, "--log.level"),
        (&["serve", "a.db", "--log.level=debu"], 2, "`debu` is not a level"),
        (&["serve", "a.db", "--log.level=warn,litekeeper::collection"], 2, "is not a level"),
        (&["serve", "a.db", "--web.listen-address=nowhere"], 2, "is not an address with a port"),
        (&["serve", "--config", "/nowhere.yml"], 2, "/nowhere.yml: cannot be read: No such file"),
        (&["serve", "a.db", "--web.listen-address=203.0.113.1:1"], 3, "cannot listen on 203.0.113.1:1"),
        (&["config", "check", "/nowhere.yml"], 2, "cannot be read"),
        (&["check"], 2, "required arguments"),
        (&["check", "--busy-timeout=x", "a.db"], 2, "number of seconds"),
        (
            &["demo", "--keep", "/", "--web.listen-address=127.0.0.1:0"],
            3,
            "a directory that does not exist yet",
        ),
    ] {
        let output = Output::of(arguments);
        assert_eq!(output.code, Some(code), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
    }
}

fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = Output::of(&["serve", "a.db", &format!("--web.listen-address={address}")]);
    assert_eq!(output.code, Some(3));
    assert!(output.stderr.contains(&format!("cannot listen on {address}")), "{}", output.stderr);
}

fn help_version_and_completions_are_there() {
    for subcommand in ["serve", "check", "config", "demo", "metrics", "completions"] {
        let output = Output::of(&[subcommand, "--help"]);
        assert_eq!(output.code, Some(0), "{subcommand}");
        assert!(output.stdout.contains("Usage: litekeeper"), "{subcommand}: {}", output.stdout);
    }
    let version = Output::of(&["--version"]).stdout;
    assert!(version.contains(env!("CARGO_PKG_VERSION")) && version.contains("SQLite 3."), "{version}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(Output::of(&["completions", shell]).stdout.contains("litekeeper"), "{shell}");
    }
}

fn a_reader_that_leaves_is_no_failure() {
    let mut child =
        litekeeper().arg("metrics").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn the_demo_shows_its_databases_and_cleans_up() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = litekeeper();
    command.arg("demo").env("TMPDIR", temporary.path());
    let agent = Agent::start(command).ready();
    let scrape = agent.until("sqlite_table_rows", &[("db", "books"), ("table", "logs")], 40_000.0);
    let value = |name, db| scrape.value(name, &[("db", db)]);
    for db in ["books", "queue", "pinned", "bloated", "damaged", "flipped"] {
        assert_eq!(value("sqlite_up", db), Some(1.0), "{db}");
    }
    let (free, pages) = (value("sqlite_freelist_pages", "bloated"), value("sqlite_pages", "bloated"));
    assert!(free.unwrap() > 0.8 * pages.unwrap(), "{free:?} of {pages:?}");
    let oldest = value("sqlite_table_oldest_row_timestamp_seconds", "books").unwrap();
    let newest = value("sqlite_table_newest_row_timestamp_seconds", "books").unwrap();
    assert_eq!(((newest - oldest) / 86_400.0).round(), 200.0, "days of log");
    let written = value("sqlite_last_write_timestamp_seconds", "queue");
    eventually("the writer goes on", || {
        (agent.metrics().value("sqlite_last_write_timestamp_seconds", &[("db", "queue")]) > written)
            .then_some(())
    });
    eventually("the long read pins what the writer wrote since", || {
        let scrape = agent.metrics();
        let value =
            |name, labels: &[(&str, &str)]| scrape.value(name, &[&[("db", "pinned")], labels].concat());
        let readers = value("sqlite_lock_holders", &[("lock", "reader")])?;
        let backlog = value("sqlite_wal_frames", &[])? - value("sqlite_wal_checkpointed_frames", &[])?;
        (readers >= 1.0 && backlog > 0.0 && value("sqlite_connected_processes", &[])? == 2.0).then_some(())
    });
    let directory = std::fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    let damaged = Output::of(&["check".as_ref(), directory.join("damaged.db").as_os_str()]);
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    let flipped = Output::of(&["check".as_ref(), directory.join("flipped.db").as_os_str()]);
    assert_eq!(flipped.code, Some(0), "every check of SQLite calls it ok: {flipped:?}");
    agent.signal(Signal::INT);
    assert_eq!(agent.wait(), Some(0));
    assert!(!directory.exists(), "the demo removes its databases");
    let path = directory.display().to_string();
    assert!(!is_running_with(&path), "the demo ends its writer");
}

fn is_running_with(argument: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(argument)
    })
}

fn the_demo_can_be_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = temporary.path().join("kept");
    let mut command = litekeeper();
    command.arg("demo").arg("--keep").arg(&kept);
    let agent = Agent::start(command).ready();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait(), Some(0));
    for file in
        ["books.db", "queue.db", "pinned.db", "bloated.db", "damaged.db", "flipped.db", "litekeeper.yml"]
    {
        assert!(kept.join(file).exists(), "{file}");
    }
    let checked = Output::of(&["config".as_ref(), "check".as_ref(), kept.join("litekeeper.yml").as_os_str()]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
