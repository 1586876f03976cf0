//! Who holds which lock, seen from outside: real processes under each kind of lock, in both journal modes.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Output;
use crate::support::Scrape;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;
use crate::web::mismatch;

pub fn trials() -> Vec<Trial> {
    let if_root = |name: &str| tool(name).filter(|_| rustix::process::geteuid().is_root());
    let both = |one: &str, other: &str| if_root(one).and_then(|_| if_root(other));
    vec![
        test("locks_of_a_rollback_database_are_seen", locks_of_a_rollback_database_are_seen),
        test("locks_of_a_wal_database_are_seen", locks_of_a_wal_database_are_seen),
        test("a_hold_ages_until_a_commit", a_hold_ages_until_a_commit),
        test("who_starves_the_checkpoint_is_named", who_starves_the_checkpoint_is_named),
        test("a_killed_holder_is_gone", a_killed_holder_is_gone),
        test("a_long_hold_is_logged_once", a_long_hold_is_logged_once),
        test("the_command_shows_locks_once", the_command_shows_locks_once),
        test("the_command_says_what_it_cannot_show", the_command_says_what_it_cannot_show),
        test("the_command_tells_changes_to_a_pipe", the_command_tells_changes_to_a_pipe),
        test("the_command_ends_with_its_reader", the_command_ends_with_its_reader),
        test_with_tool("the_command_redraws_a_terminal", tool("script"), the_command_redraws_a_terminal),
        test_with_tool("hidden_processes_are_said", if_root("unshare"), hidden_processes_are_said),
        test_with_tool("without_proc_nothing_is_said", if_root("unshare"), without_proc_nothing_is_said),
        test_with_tool(
            "locks_on_an_overlay_are_found",
            both("sqlite3", "unshare"),
            locks_on_an_overlay_are_found,
        ),
        test_with_tool(
            "locks_on_a_btrfs_subvolume_are_found",
            both("mkfs.btrfs", "sqlite3").filter(|_| has_loop_devices()),
            locks_on_a_btrfs_subvolume_are_found,
        ),
    ]
}

/// An agent that looks every second at one database.
fn watch(fixture: &TestDatabase) -> Agent {
    let file = fixture.directory().join("litekeeper.yml");
    std::fs::write(
        &file,
        format!("sample_interval: 1s\ndatabases: [{{name: it, path: {}}}]", fixture.path().display()),
    )
    .unwrap();
    let mut command = litekeeper();
    command.arg("serve").arg("--config").arg(&file);
    Agent::start(command).ready()
}

const KINDS: [&str; 4] = ["writer", "reader", "checkpointer", "exclusive"];

/// Waits until as many processes as expected hold each kind of lock; `None` for a kind without a sample.
fn until_held(agent: &Agent, expected: [Option<f64>; 4]) -> Scrape {
    let mut last = [None; 4];
    eventually(&format!("{KINDS:?} are held by {expected:?}"), || {
        let scrape = agent.metrics();
        last = KINDS.map(|kind| scrape.value("sqlite_lock_holders", &[("db", "it"), ("lock", kind)]));
        (last == expected).then_some(scrape)
    })
}

fn api(agent: &Agent) -> Value {
    serde_json::from_slice(&agent.get("/api/v1/databases/it").body).unwrap()
}

/// What the API lists: SQLite's name of the lock, and the process.
fn holds(answer: &Value) -> Vec<(String, u64)> {
    let of = |hold: &Value| (hold["sqlite_lock"].as_str().unwrap().to_owned(), hold["pid"].as_u64().unwrap());
    let mut holds: Vec<_> = answer["locks"]["holds"].as_array().unwrap().iter().map(of).collect();
    holds.sort();
    holds
}

fn locks_of_a_rollback_database_are_seen() {
    let fixture = TestDatabase::new("it").rows(10).make();
    let agent = watch(&fixture);
    until_held(&agent, [Some(0.0), Some(0.0), None, Some(0.0)]);
    assert_eq!(agent.metrics().count("sqlite_connected_processes", &[]), 0);
    assert_eq!(agent.metrics().count("sqlite_lock_held_seconds", &[]), 0);
    let (mut reader, mut writer) =
        (SecondProcess::open(&fixture.path()), SecondProcess::open(&fixture.path()));
    let (reads, writes) = (u64::from(reader.pid()), u64::from(writer.pid()));

    reader.run("BEGIN; SELECT * FROM items");
    until_held(&agent, [Some(0.0), Some(1.0), None, Some(0.0)]);
    writer.run("BEGIN IMMEDIATE; UPDATE items SET text = 'x'");
    until_held(&agent, [Some(1.0), Some(2.0), None, Some(0.0)]);
    let mut expected =
        vec![("RESERVED".to_owned(), writes), ("SHARED".to_owned(), reads), ("SHARED".to_owned(), writes)];
    expected.sort();
    assert_eq!(holds(&api(&agent)), expected);

    // The commit waits for the reader, under PENDING; then nobody holds anything.
    writer.begin("COMMIT");
    eventually("the writer waits under PENDING", || {
        holds(&api(&agent)).contains(&("PENDING".to_owned(), writes)).then_some(())
    });
    assert_eq!(agent.metrics().value("sqlite_lock_holders", &[("lock", "writer")]), Some(1.0));
    reader.run("COMMIT");
    writer.finish();
    until_held(&agent, [Some(0.0), Some(0.0), None, Some(0.0)]);

    // Nothing can be read now, and all the same it is seen who is there.
    writer.run("BEGIN EXCLUSIVE");
    until_held(&agent, [Some(1.0), Some(0.0), None, Some(1.0)]);
    assert_eq!(holds(&api(&agent)), [("EXCLUSIVE".to_owned(), writes), ("PENDING".to_owned(), writes)]);
}

fn locks_of_a_wal_database_are_seen() {
    let fixture = TestDatabase::new("it").wal().rows(10).make();
    let agent = watch(&fixture);
    let connected = |number| agent.until("sqlite_connected_processes", &[("db", "it")], number);
    connected(0.0);
    let (mut reader, mut writer) =
        (SecondProcess::open(&fixture.path()), SecondProcess::open(&fixture.path()));
    writer.run("INSERT INTO items (text) VALUES ('x')");
    connected(1.0);
    until_held(&agent, [Some(0.0); 4]);
    reader.run("BEGIN; SELECT * FROM items");
    connected(2.0);
    until_held(&agent, [Some(0.0), Some(1.0), Some(0.0), Some(0.0)]);
    writer.run("BEGIN IMMEDIATE; INSERT INTO items (text) VALUES ('y')");
    until_held(&agent, [Some(1.0), Some(2.0), Some(0.0), Some(0.0)]);
    let found = holds(&api(&agent));
    assert!(found.contains(&("WAL write".to_owned(), u64::from(writer.pid()))), "{found:?}");
    assert!(
        found.iter().any(|(lock, pid)| lock.starts_with("WAL read") && *pid == u64::from(reader.pid())),
        "{found:?}"
    );
    // A checkpoint that waits for the reader holds its own lock. The writer lets go first, as it waits for that too.
    writer.run("COMMIT");
    writer.begin("PRAGMA wal_checkpoint(TRUNCATE)");
    until_held(&agent, [Some(1.0), Some(1.0), Some(1.0), Some(0.0)]);
    reader.run("COMMIT");
    writer.finish();
    until_held(&agent, [Some(0.0); 4]);

    // What the API says is what it describes.
    let document: Value = serde_json::from_slice(&agent.get("/api/v1/openapi.json").body).unwrap();
    reader.run("BEGIN IMMEDIATE");
    let answer =
        eventually("a hold is listed", || Some(api(&agent)).filter(|answer| !holds(answer).is_empty()));
    assert_eq!(mismatch(&answer, &document["components"]["schemas"]["Database"], &document), None);
    let hold = &answer["locks"]["holds"][0];
    assert!(hold["command"].as_str().unwrap().contains(&*program()), "{hold:#}");
    assert!(hold["user"].is_string() && hold["process_started_at"].is_string(), "{hold:#}");
    // The kernel may leave a line out of a long list, so that a single look says less than is so.
    let words = [
        format!("pid {}", reader.pid()),
        "2 processes have the database open".to_owned(),
        "WAL write".to_owned(),
    ];
    eventually("the page says it", || {
        let page = agent.get("/db/it").text();
        words.iter().all(|words| page.contains(words)).then_some(())
    });
    // A number of a process is no label.
    assert!(!agent.metrics().text.contains(&reader.pid().to_string()));
}

/// The file name of this test's program, which is every second process's too.
fn program() -> String {
    std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

fn a_hold_ages_until_a_commit() {
    for wal in [false, true] {
        let fixture = TestDatabase::new("it").rows(10);
        let fixture = if wal { fixture.wal().make() } else { fixture.make() };
        let agent = watch(&fixture);
        let mut writer = SecondProcess::open(&fixture.path());
        writer.run("BEGIN IMMEDIATE; INSERT INTO items (text) VALUES ('x')");
        let held = || agent.metrics().value("sqlite_lock_held_seconds", &[("db", "it"), ("lock", "writer")]);
        eventually("the hold is two sweeps old", || held().filter(|seconds| *seconds >= 2.0));
        // It writes again at once, and every look finds the lock held; but it is another hold.
        let before = std::time::Instant::now();
        writer.run("COMMIT; BEGIN IMMEDIATE; INSERT INTO items (text) VALUES ('y')");
        // The new hold is never older than that; the old one was two seconds old already.
        eventually("the new hold is a new one", || {
            held().filter(|seconds| *seconds <= before.elapsed().as_secs_f64())
        });
        eventually("it ages too", || held().filter(|seconds| *seconds >= 2.0));
        writer.run("COMMIT");
        eventually("nobody holds it", || held().is_none().then_some(()));
    }
}

fn who_starves_the_checkpoint_is_named() {
    let fixture = TestDatabase::new("it").wal().rows(10).make();
    let agent = watch(&fixture);
    let (mut reader, mut writer) =
        (SecondProcess::open(&fixture.path()), SecondProcess::open(&fixture.path()));
    writer.run("PRAGMA wal_autocheckpoint = 0").run("INSERT INTO items (text) VALUES ('x')");
    reader.run("BEGIN; SELECT * FROM items");
    writer.run("INSERT INTO items (text) SELECT hex(randomblob(4000)) FROM items");
    writer.run("PRAGMA wal_checkpoint(PASSIVE)");
    let pin = |answer: &Value| {
        let holds = answer["locks"]["holds"].as_array()?.clone();
        holds.into_iter().find(|hold| hold["pinned_frames"].as_u64().is_some_and(|frames| frames > 0))
    };
    let (answer, found) = eventually("the reader is found", || {
        Some(api(&agent)).and_then(|answer| Some((answer.clone(), pin(&answer)?)))
    });
    assert_eq!(found["pid"], reader.pid(), "{answer:#}");
    let locks = &answer["locks"];
    let (total, done) =
        (&locks["wal_frames"].as_u64().unwrap(), locks["wal_checkpointed_frames"].as_u64().unwrap());
    assert!(done > 0 && done < *total, "the checkpoint stopped at the reader: {answer:#}");
    assert_eq!(
        found["pinned_frames"],
        total - done,
        "exactly what the checkpoint could not copy: {answer:#}"
    );
    let scrape = agent.metrics();
    let metric = |name| scrape.value(name, &[("db", "it")]).unwrap();
    let backlog = metric("sqlite_wal_frames") - metric("sqlite_wal_checkpointed_frames");
    assert_eq!(Some(backlog), found["pinned_frames"].as_f64());
    let sentence = format!(
        "pid {} {} pins {backlog} of {total} frames",
        reader.pid(),
        found["process"].as_str().unwrap()
    );
    let page = agent.get("/db/it").text();
    assert!(page.contains(&sentence), "{sentence}: {page}");
    let output = Output::of(&["locks".as_ref(), fixture.path().as_os_str()]);
    assert!(output.stdout.contains(&sentence), "{sentence}: {output:?}");

    // The next reader takes over the first one's read lock and moves no file; the old mark would make it a false culprit.
    reader.run("COMMIT");
    eventually("nobody pins it", || pin(&api(&agent)).is_none().then_some(()));
    let mut second = SecondProcess::open(&fixture.path());
    second.run("BEGIN; SELECT * FROM items");
    let hold = eventually("the second reader is listed", || {
        let answer = api(&agent);
        answer["locks"]["holds"].as_array()?.iter().find(|hold| hold["pid"] == second.pid()).cloned()
    });
    assert_eq!(hold["pinned_frames"], 0, "it sees the whole WAL: {hold:#}");
    writer.run("INSERT INTO items (text) VALUES ('later')");
    let found = eventually("the second reader is found", || pin(&api(&agent)));
    assert_eq!(found["pid"], second.pid(), "{found:#}");
}

fn a_killed_holder_is_gone() {
    for wal in [false, true] {
        let fixture = TestDatabase::new("it").rows(10);
        let fixture = if wal { fixture.wal().make() } else { fixture.make() };
        let agent = watch(&fixture);
        let mut writer = SecondProcess::open(&fixture.path());
        writer.run("BEGIN IMMEDIATE; INSERT INTO items (text) VALUES ('x')");
        agent.until("sqlite_lock_holders", &[("lock", "writer")], 1.0);
        writer.kill();
        agent.until("sqlite_lock_holders", &[("lock", "writer")], 0.0);
        assert_eq!(holds(&api(&agent)), []);
        if wal {
            agent.until("sqlite_connected_processes", &[], 0.0);
        }
    }
}

fn a_long_hold_is_logged_once() {
    let fixture = TestDatabase::new("it").rows(10).make();
    let agent = watch(&fixture);
    let mut writer = SecondProcess::open(&fixture.path());
    writer.run("BEGIN IMMEDIATE");
    let lines = |words: &str| -> Vec<String> {
        agent.log().into_iter().filter(|line| line.contains(words)).collect()
    };
    let reported =
        eventually("the log tells of the hold", || lines("has held a write lock for a long time").pop());
    assert!(
        reported.contains(&format!("\"pid\":{}", writer.pid())) && reported.contains("RESERVED"),
        "{reported}"
    );
    let held = || agent.metrics().value("sqlite_lock_held_seconds", &[("lock", "writer")]);
    let now = held().unwrap();
    eventually("two more sweeps", || held().filter(|seconds| *seconds >= now + 2.0));
    writer.run("COMMIT");
    eventually("the log tells that it is over", || lines("is free again").pop());
    assert_eq!(lines("has held a write lock for a long time").len(), 1, "{:#?}", agent.log());
}

fn the_command_shows_locks_once() {
    for (wal, sql, names) in [
        (false, "BEGIN EXCLUSIVE", &["EXCLUSIVE", "PENDING"][..]),
        (false, "BEGIN; SELECT * FROM items", &["SHARED"]),
        (true, "BEGIN IMMEDIATE", &["WAL write", "WAL read"]),
    ] {
        let fixture = TestDatabase::new("it").rows(10);
        let fixture = if wal { fixture.wal().make() } else { fixture.make() };
        let idle = Output::of(&["locks".as_ref(), fixture.path().as_os_str()]);
        assert_eq!(idle.code, Some(0), "{idle:?}");
        assert!(idle.stdout.contains("no locks held"), "{idle:?}");
        let mut other = SecondProcess::open(&fixture.path());
        other.run(sql);
        let pid = other.pid().to_string();
        // The kernel may leave a line out of a long list, so that a single look says less than is so.
        for name in names {
            eventually(&format!("{name} of {pid}"), || {
                let output = Output::of(&["locks".as_ref(), fixture.path().as_os_str()]);
                assert_eq!(output.code, Some(0), "{output:?}");
                output
                    .stdout
                    .lines()
                    .any(|line| line.contains(name) && line.contains(&pid) && line.contains(&program()))
                    .then_some(())
            });
        }
        let document = eventually("the holder as JSON", || {
            let output = Output::of(&["locks".as_ref(), "--json".as_ref(), fixture.path().as_os_str()]);
            let document: Value = serde_json::from_str(&output.stdout).unwrap();
            let locks = &document["databases"][0]["locks"];
            (locks["holds"][0]["pid"] == other.pid()
                && locks["connected_processes"].as_u64() == wal.then_some(1))
            .then_some(document)
        });
        let locks = &document["databases"][0]["locks"];
        assert_eq!(locks["whole"], true, "{document:#}");
    }
}

fn the_command_says_what_it_cannot_show() {
    let fixture = TestDatabase::new("it").wal().rows(10).make();
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = fixture.directory().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let owner = SecondProcess::open(&fixture.path());
    for (path, code, words) in [
        (fixture.directory().join("none.db"), 3, "No such file"),
        (file("text.db", &[b'x'; 4096]), 3, "a text file, not an SQLite database"),
        (file("empty.db", b""), 3, "the file is empty"),
        (fixture.directory().to_owned(), 3, "a directory, not a database file"),
        (file("a.db-wal", b""), 3, "specify the database itself"),
        (fixture.path(), 0, "no locks held"),
    ] {
        // One that can be looked at is, whatever becomes of the other.
        let output = Output::of(&["locks".as_ref(), fixture.path().as_os_str(), path.as_os_str()]);
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(
            output.stdout.contains(words) && output.stdout.contains("no locks held"),
            "{words}: {output:?}"
        );
        let output = Output::of(&["locks".as_ref(), "--json".as_ref(), path.as_os_str()]);
        assert_eq!(output.code, Some(code), "{output:?}");
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(document["databases"][0]["error"].is_string(), code != 0, "{document:#}");
    }
    drop(owner);
    for arguments in [&["locks"][..], &["locks", "--watch", "x.db"], &["locks", "x.db", "--watch", "0"]] {
        assert_eq!(Output::of(arguments).code, Some(2), "{arguments:?}");
    }
}

/// `litekeeper locks FILE --watch 0.1`, its output in a file, until a condition holds of it; then Ctrl-C.
fn watched(mut command: Command, output: &Path, mut enough: impl FnMut(&str) -> bool) -> String {
    let file = std::fs::File::create(output).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(file).spawn().unwrap();
    let text = eventually("the command says so", || {
        let text = String::from_utf8_lossy(&std::fs::read(output).unwrap()).into_owned();
        enough(&text).then_some(text)
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    text
}

fn the_command_tells_changes_to_a_pipe() {
    let fixture = TestDatabase::new("it").rows(10).make();
    let mut other = SecondProcess::open(&fixture.path());
    other.run("BEGIN IMMEDIATE");
    let pid = other.pid();
    let mut command = litekeeper();
    command.arg("locks").arg(fixture.path()).args(["--watch", "0.1"]);
    let mut reader = SecondProcess::open(&fixture.path());
    let mut step = 0;
    let text = watched(command, &fixture.directory().join("out"), |text| {
        if step == 0 && text.contains("holds RESERVED") {
            reader.run("BEGIN; SELECT * FROM items");
            step = 1;
        }
        // Seen at a later look, at which the writer was still there.
        if step == 1 && text.contains(&format!("pid {} ", reader.pid())) {
            other.run("ROLLBACK");
            step = 2;
        }
        text.contains("released RESERVED")
    });
    assert!(text.contains(&format!("pid {pid}")) && !text.contains('\x1b'), "{text}");
    assert_eq!(text.matches("holds RESERVED").count(), 1, "a hold is reported once: {text}");
    reader.run("COMMIT");
    let mut command = litekeeper();
    command.arg("locks").arg(fixture.path()).args(["--watch=0.1", "--json"]);
    let text = watched(command, &fixture.directory().join("json"), |text| text.lines().count() >= 3);
    text.lines().take(3).for_each(|line| {
        let document: Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["databases"][0]["locks"]["holds"], serde_json::json!([]));
    });
}

/// `litekeeper locks FILE --watch | head -1`: nothing changes after the first line, and nobody reads.
fn the_command_ends_with_its_reader() {
    let fixture = TestDatabase::new("it").rows(10).make();
    let mut other = SecondProcess::open(&fixture.path());
    other.run("BEGIN IMMEDIATE");
    // The next look is an hour away.
    let mut child = litekeeper()
        .arg("locks")
        .arg(fixture.path())
        .args(["--watch", "3600"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.contains("holds RESERVED"), "{line}");
    let status = eventually("it ends by itself", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

fn the_command_redraws_a_terminal(script: &str) {
    let fixture = TestDatabase::new("it").rows(10).make();
    let mut other = SecondProcess::open(&fixture.path());
    other.run("BEGIN IMMEDIATE");
    // Without `exec` a dash stays between, and ends by the same Ctrl-C with a code of its own.
    let line =
        format!("exec {} locks {} --watch 0.1", env!("CARGO_BIN_EXE_litekeeper"), fixture.path().display());
    let output = fixture.directory().join("out");
    let file = std::fs::File::create(&output).unwrap();
    let mut child = Command::new(script)
        .args(["-q", "-e", "-f", "-c", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(file)
        .spawn()
        .unwrap();
    eventually("it draws, and draws again over it", || {
        let text = std::fs::read_to_string(&output).unwrap();
        (text.contains("\x1b[2J") && text.matches("\x1b[H").count() >= 3 && text.contains("HELD AT LEAST"))
            .then_some(())
    });
    // What Ctrl-C on the terminal sends.
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// Runs a script of the shell to its end, with the binary as `$0` and a file as `$1`.
fn shell(program: &str, arguments: &[&str], script: &str, file: &Path) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_litekeeper")])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn hidden_processes_are_said(unshare: &str) {
    let fixture = TestDatabase::new("it").rows(10).make();
    let mut other = SecondProcess::open(&fixture.path());
    other.run("BEGIN IMMEDIATE");
    // With a journal, by which a look without a lock sees that nothing has reached the main file.
    other.run("CREATE TABLE more (a)");
    let arguments = ["--pid", "--fork", "--mount-proc"];
    let output = shell(unshare, &arguments, "exec \"$0\" locks \"$1\"", &fixture.path());
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("the kernel does not show locks of processes outside"), "{output:?}");
    // The agent says it once, and that it sees nobody is no zero.
    let script = "\"$0\" serve \"$1\" --web.listen-address=127.0.0.1:0 --log.format=json & \
                  read -r line < \"$1.fifo\"; kill $!; wait";
    let fifo = format!("{}.fifo", fixture.path().display());
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = Command::new(unshare);
    command.args(arguments).args(["sh", "-c", script, env!("CARGO_BIN_EXE_litekeeper")]).arg(fixture.path());
    let log = fixture.directory().join("log");
    let mut child =
        command.stdin(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let address = eventually("the agent listens", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.split("\"address\":\"").nth(1)?.split('"').next()?.parse::<std::net::SocketAddr>().ok()
    });
    let get = |path: &str| {
        use std::io::Read as _;
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    eventually("the first sweep", || get("/-/ready").starts_with("HTTP/1.1 200").then_some(()));
    let (metrics, page) = (get("/metrics"), get("/db/it"));
    std::fs::write(&fifo, "end\n").unwrap();
    eventually("the agent ends", || child.try_wait().unwrap());
    assert!(metrics.contains("sqlite_up{db=\"it\"} 1"), "{metrics}");
    assert!(!metrics.contains("sqlite_lock_holders{"), "{metrics}");
    assert!(page.contains("locks of processes outside it are hidden"), "{page}");
    assert!(std::fs::read_to_string(&log).unwrap().contains("runs in its own PID namespace"));
}

fn without_proc_nothing_is_said(unshare: &str) {
    let fixture = TestDatabase::new("it").rows(10).make();
    let script = "mount -t tmpfs none /proc && exec \"$0\" locks \"$1\"";
    let output = shell(unshare, &["--mount"], script, &fixture.path());
    assert_eq!(output.code, Some(3), "{output:?}");
    assert!(output.stderr.contains("this needs Linux with /proc mounted"), "{output:?}");
}

/// Holds both kinds of lock with the sqlite3 shell, which runs the command meanwhile.
const HELD_BY_SHELL: &str = "sqlite3 \"$D/it.db\" 'PRAGMA journal_mode = WAL; CREATE TABLE t (a); BEGIN IMMEDIATE; INSERT INTO t VALUES (1);' \
     \".shell '$0' locks '$D/it.db'\"";

fn assert_found_under_another_device(output: &Output) {
    assert_eq!(output.code, Some(0), "{output:?}");
    for words in ["WAL write", "WAL read", "sqlite3", "open in: pid"] {
        assert!(output.stdout.contains(words), "{words}: {output:?}");
    }
    // The control: stat tells another device than the list of locks does.
    let device = |mark: &str| {
        output.stdout.lines().find_map(|line| line.strip_prefix(mark)).map(str::trim).map(str::to_owned)
    };
    assert!(device("stat ").is_some() && device("stat ") != device("mount "), "{output:?}");
}

fn locks_on_an_overlay_are_found(unshare: &str) {
    let fixture = TestDatabase::new("it").make();
    // Layers on two file systems: then stat gives a file a device that is no mount's.
    let script = format!(
        "set -e; cd \"$(dirname \"$1\")\"; mkdir low up work over; mount -t tmpfs none low; mkdir up/u work/w 2>/dev/null || true
         mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work,xino=off over; D=$PWD/over
         {HELD_BY_SHELL}
         echo stat $(stat -c %Hd:%Ld over/it.db); echo mount $(awk '$5 ~ /\\/over$/ {{print $3}}' /proc/self/mountinfo)"
    );
    assert_found_under_another_device(&shell(unshare, &["--mount"], &script, &fixture.path()));
}

fn has_loop_devices() -> bool {
    Path::new("/dev/loop-control").exists()
        && std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("btrfs"))
}

fn locks_on_a_btrfs_subvolume_are_found(_mkfs: &str) {
    let fixture = TestDatabase::new("it").make();
    let script = format!(
        "set -e; cd \"$(dirname \"$1\")\"; truncate -s 128M image; mkfs.btrfs -q image; mkdir disk; mount -o loop image disk
         btrfs -q subvolume create disk/sub; D=$PWD/disk/sub
         {HELD_BY_SHELL}
         echo stat $(stat -c %Hd:%Ld disk/sub/it.db); echo mount $(awk '$5 ~ /\\/disk$/ {{print $3}}' /proc/self/mountinfo)"
    );
    let unshare = tool("unshare").expect("util-linux is there where file systems are made");
    assert_found_under_another_device(&shell(&unshare, &["--mount"], &script, &fixture.path()));
}
