//! Traces end to end: what a collector reads from the wire, what becomes of litekeeper when the collector is not well, and how
//! traces, exemplars and log lines point at each other.

use std::process::Command;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::maintenance::until_a_batch_is_deleted;
use crate::support::Agent;
use crate::support::Authority;
use crate::support::Collector;
use crate::support::Prometheus;
use crate::support::ReservedPort;
use crate::support::SecondProcess;
use crate::support::Span;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::otlp_python;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;
use crate::web::TestSite;
use crate::web::basic;

pub fn trials() -> Vec<Trial> {
    let python = otlp_python();
    let with_collector = |name, body: fn(&str)| test_with_tool(name, python.clone(), body);
    let both = tool("prometheus").and(python.clone());
    vec![
        with_collector("a_run_that_succeeds_is_a_trace", a_run_that_succeeds_is_a_trace),
        with_collector("a_skip_and_a_failure_are_traces", a_skip_and_a_failure_are_traces),
        with_collector("a_run_that_is_stopped_is_a_trace", a_run_that_is_stopped_is_a_trace),
        with_collector("the_environment_is_honoured", the_environment_is_honoured),
        with_collector(
            "a_trace_goes_on_from_a_request_to_its_run",
            a_trace_goes_on_from_a_request_to_its_run,
        ),
        with_collector("sweeps_are_spans_and_scrapes_are_not", sweeps_are_spans_and_scrapes_are_not),
        with_collector(
            "a_collector_by_https_must_prove_who_it_is",
            a_collector_by_https_must_prove_who_it_is,
        ),
        with_collector("a_collector_that_hangs_holds_up_nothing", a_collector_that_hangs_holds_up_nothing),
        with_collector("a_failing_receiver_is_logged_once", a_failing_receiver_is_logged_once),
        test(
            "a_collector_that_is_not_there_holds_up_nothing",
            a_collector_that_is_not_there_holds_up_nothing,
        ),
        test_with_tool("a_real_prometheus_takes_exemplars", both, a_real_prometheus_takes_exemplars),
        test("the_log_is_for_people_or_machines", the_log_is_for_people_or_machines),
        test("without_a_collector_there_are_no_traces", without_a_collector_there_are_no_traces),
        test("what_cannot_be_done_is_refused", what_cannot_be_done_is_refused),
    ]
}

/// A database `books` with log rows of which so many have expired, and a configuration of it.
fn books(expired: u32, tasks: &str) -> (TestDatabase, String) {
    let fixture = TestDatabase::new("books")
        .wal()
        .sql(&format!(
            "CREATE TABLE logs (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX logs_at ON logs (at);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {expired})
             INSERT INTO logs (at) SELECT unixepoch() - 100 * 86400 + i FROM n;
             INSERT INTO logs (at) VALUES (unixepoch());"
        ))
        .make();
    let text = format!("state: state.sqlite\ndatabases:\n  - path: books.db\n    tasks: {tasks}\n");
    let file = fixture.directory().join("lk.yml");
    std::fs::write(&file, text).unwrap();
    (fixture, file.display().to_string())
}

const CLEANING: &str = "log_cleaning: {lock_timeout: 1s, target_lock_hold: 1ms, tables: [{table: logs, column: at, retention: 30d}]}";

/// `litekeeper run` with a collector, to its end: the exit code, and the lines of its log.
fn run(task: &str, config: &str, variables: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
    let mut command = litekeeper();
    command.args(["run", task, "--config", config, "--log.format=json"]).envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
    (output.status.code(), log)
}

fn exported(task: &str, config: &str, collector: &Collector) -> (Option<i32>, Vec<String>) {
    run(task, config, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())])
}

/// The one line of the log with this message.
fn line(log: &[String], message: &str) -> Value {
    let lines: Vec<Value> = log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let found: Vec<&Value> = lines.iter().filter(|line: &&Value| line["message"] == message).collect();
    assert_eq!(found.len(), 1, "{message}: {log:#?}");
    found[0].clone()
}

fn children<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s Span> {
    let of = |span: &&Span| {
        span.text("trace") == parent.text("trace") && span.text("parent") == parent.text("span")
    };
    spans.iter().filter(of).collect()
}

fn a_run_that_succeeds_is_a_trace(python: &str) {
    // So many that a fast machine needs more than four transactions of a millisecond too.
    const ROWS: u32 = 5_000;
    let collector = Collector::start(python);
    let tasks =
        format!("{{{CLEANING}, health_check: {{}}, vacuum: {{min_reclaimable: {{bytes: 1, ratio: 0}}}}}}");
    let (fixture, config) = books(ROWS, &tasks);
    let (code, log) = exported("all", &config, &collector);
    assert_eq!(code, Some(0), "{log:#?}");
    // The last one that was sent.
    collector.span("job health_check");
    let spans = collector.spans();
    let roots: Vec<&Span> = spans.iter().filter(|span| span.text("parent").is_empty()).collect();
    let names: Vec<&str> = roots.iter().map(|root| root.text("name")).collect();
    assert_eq!(names, ["job log_cleaning", "job vacuum", "job health_check"]);
    let traces: std::collections::BTreeSet<&str> = roots.iter().map(|root| root.text("trace")).collect();
    assert_eq!(traces.len(), 3, "each run is a trace of its own");
    for root in &roots {
        let path = fixture.path().display().to_string();
        for (key, value) in [
            ("db.system.name", "sqlite"),
            ("db.namespace", "books"),
            ("litekeeper.trigger", "manual"),
            ("litekeeper.outcome", "success"),
            ("litekeeper.db.path", &path),
        ] {
            assert_eq!(root.attribute(key), value, "{key} of {root:?}");
        }
        assert_eq!((&root.0["status"], &root.0["kind"]), (&0.into(), &1.into()), "{root:?}");
        let children = children(&spans, root);
        assert!(!children.is_empty(), "{root:?}");
        for child in children {
            assert_eq!(child.attribute("db.system.name"), "sqlite", "{child:?}");
            assert_eq!(child.attribute("db.namespace"), "books", "{child:?}");
            let begins_with = child.attribute("db.operation.name").as_str().unwrap();
            assert!(child.text("name").starts_with(begins_with), "{child:?}");
            assert_eq!(child.0["kind"], 3, "a client's, as the conventions have it: {child:?}");
            assert!(child.0["start"].as_u64() >= root.0["start"].as_u64(), "{child:?}");
            assert!(child.0["end"].as_u64() <= root.0["end"].as_u64(), "{child:?}");
        }
    }
    let of = |root: usize| -> Vec<&str> {
        children(&spans, roots[root]).iter().map(|span| span.text("name")).collect()
    };
    assert_eq!(of(0), ["survey", "open", "DELETE logs"]);
    assert_eq!(
        of(1),
        ["survey", "open", "VACUUM", "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"]
    );
    assert_eq!(of(2), ["PRAGMA integrity_check", "PRAGMA foreign_key_check"]);
    // Thousands of transactions are one span, with the events that say something.
    let delete = collector.span("DELETE logs");
    assert_eq!(delete.attribute("db.collection.name"), "logs");
    assert_eq!(delete.attribute("litekeeper.rows"), ROWS);
    let transactions = delete.attribute("litekeeper.transactions").as_u64().unwrap();
    let events = delete.0["events"].as_array().unwrap();
    assert!(transactions > 4 && events.len() >= 3 && events.len() < 100, "{transactions}: {events:?}");
    let longest = delete.attribute("litekeeper.max_write_hold_seconds").as_f64().unwrap();
    assert!(longest > 0.0 && Some(longest) <= delete.attribute("litekeeper.write_hold_seconds").as_f64());
    assert_eq!(roots[0].attribute("litekeeper.deleted_rows"), ROWS);
    assert_eq!(roots[0].attribute("litekeeper.max_write_hold_seconds"), longest);
    assert!(roots[1].attribute("litekeeper.saved_bytes").as_i64() > Some(0), "{:?}", roots[1]);
    assert!(roots[2].attribute("litekeeper.checked_bytes").as_i64() > Some(0), "{:?}", roots[2]);
    // A run's line leads to its trace.
    for root in roots {
        let lines: Vec<Value> = log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let task = root.attribute("litekeeper.task");
        let of_run = |line: &&Value| line["message"] == "run succeeded" && line["task"] == *task;
        let of_run: Vec<&Value> = lines.iter().filter(of_run).collect();
        assert_eq!(of_run.len(), 1, "{log:#?}");
        assert_eq!((&of_run[0]["db"], &of_run[0]["trace_id"]), (&"books".into(), &root.0["trace"]));
    }
}

fn a_skip_and_a_failure_are_traces(python: &str) {
    let collector = Collector::start(python);
    let tasks = format!("{{{CLEANING}, vacuum: {{}}}}");
    let (fixture, config) = books(100, &tasks);
    let (code, log) = exported("vacuum", &config, &collector);
    assert_eq!(code, Some(0), "{log:#?}");
    let skip = collector.span("job vacuum");
    assert_eq!(skip.attribute("litekeeper.outcome"), "skipped");
    assert_eq!(skip.attribute("litekeeper.reason"), "below_threshold");
    assert_eq!(
        (&skip.0["status"], skip.attribute("error.type")),
        (&0.into(), &Value::Null),
        "no error: {skip:?}"
    );
    assert_eq!(line(&log, "run skipped")["trace_id"], skip.0["trace"]);

    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN IMMEDIATE; INSERT INTO items VALUES (1, NULL)");
    let (code, log) = exported("log_cleaning", &config, &collector);
    assert_eq!(code, Some(3), "{log:#?}");
    let failure = collector.span("job log_cleaning");
    assert_eq!(failure.attribute("litekeeper.outcome"), "failed");
    assert_eq!(failure.attribute("litekeeper.reason"), "busy");
    assert_eq!(failure.attribute("error.type"), "busy");
    assert_eq!(failure.0["status"], 2, "{failure:?}");
    let delete = collector.span("DELETE logs");
    assert_eq!(delete.text("parent"), failure.text("span"));
    assert_eq!(delete.attribute("db.response.status_code"), "SQLITE_BUSY");
    assert_eq!(delete.attribute("error.type"), "SQLITE_BUSY");
    assert_eq!(delete.0["status"], 2, "{delete:?}");
    assert!(!delete.text("message").is_empty());
    assert_eq!(line(&log, "run failed")["trace_id"], failure.0["trace"]);
}

fn a_run_that_is_stopped_is_a_trace(python: &str) {
    let collector = Collector::start(python);
    let slow = CLEANING.replace("target_lock_hold: 1ms", "target_lock_hold: 1ms, pause_ratio: 100");
    let (fixture, config) = books(100_000, &format!("{{{slow}}}"));
    let child = litekeeper()
        .args(["run", "log_cleaning", "--config", &config, "--log.format=json"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_a_batch_is_deleted(&fixture);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    // It was sent on the way out.
    let stopped = collector.span("job log_cleaning");
    assert_eq!(stopped.attribute("litekeeper.reason"), "canceled");
    assert_eq!(stopped.0["status"], 0, "asked for, so no error: {stopped:?}");
    let delete = collector.span("DELETE logs");
    assert!(delete.attribute("litekeeper.rows").as_u64() > Some(0), "{delete:?}");
    let log: Vec<String> = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(line(&log, "run stopped")["trace_id"], stopped.0["trace"]);
}

fn the_environment_is_honoured(python: &str) {
    let collector = Collector::start(python);
    let (_made, config) = books(1, "{health_check: {}}");
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let endpoint = format!("{}/v1/traces", collector.url());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "keeper"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod"),
        ("TRACEPARENT", &format!("00-{trace}-{span}-01")),
    ];
    assert_eq!(run("health_check", &config, &variables).0, Some(0));
    let root = collector.span("job health_check");
    assert_eq!(
        (root.text("trace"), root.text("parent")),
        (trace, span),
        "the calling program's trace goes on"
    );
    let resource = &root.0["resource"];
    assert_eq!(resource["service.name"], "keeper");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(resource["deployment.environment.name"], "prod");
    assert!(resource["host.name"].as_str().is_some_and(|name| !name.is_empty()), "{resource}");
    let headers = &collector.requests()[0]["headers"];
    assert_eq!((&headers["x-tenant"], &headers["content-encoding"]), (&"a b".into(), &"gzip".into()));
    // What is not sampled is not sent, and what is switched off neither.
    let before = collector.requests().len();
    for off in [("TRACEPARENT", format!("00-{trace}-{span}-00")), ("OTEL_SDK_DISABLED", "true".to_owned())] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), off];
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(run("health_check", &config, &variables).0, Some(0));
    }
    let sampler =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_TRACES_SAMPLER", "always_off".to_owned())];
    let sampler: Vec<(&str, &str)> = sampler.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(run("health_check", &config, &sampler).0, Some(0));
    assert_eq!(collector.requests().len(), before);
}

/// An office whose traces go to a collector at once.
fn traced_office(collector: &Collector) -> TestSite {
    let endpoint = collector.url();
    TestSite::start("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "10")])
}

const WISH: &str = r#"{"kind": "run", "database": "books", "task": "health_check"}"#;

fn a_trace_goes_on_from_a_request_to_its_run(python: &str) {
    let collector = Collector::start(python);
    let site = traced_office(&collector);
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let parent = format!("00-{trace}-{span}-01");
    let answer = site.ask("anna", WISH, &[("Traceparent", &parent)]);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = collector.span("job health_check");
    let request = collector.span("POST /api/v1");
    assert_eq!((request.text("trace"), request.text("parent")), (trace, span));
    assert_eq!(request.0["kind"], 2, "a server's: {request:?}");
    assert_eq!(request.attribute("http.response.status_code"), 202);
    assert_eq!(request.attribute("url.path"), "/api/v1/actions");
    assert_eq!((job.text("trace"), job.text("parent")), (trace, request.text("span")));
    // A reading request is a span when it belongs to a trace that is taken; nobody who was not let in makes one.
    let (other, unsampled) = ("1bf7651916cd43dd8448eb211c80319c", "2cf7651916cd43dd8448eb211c80319c");
    for (id, flags) in [(unsampled, "00"), (other, "01")] {
        let parent = format!("00-{id}-{span}-{flags}");
        site.agent.request("GET", "/api/v1/databases", &[("Traceparent", &parent)]);
        let headers = [("Authorization", basic("rudi")), ("Traceparent", parent)];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(site.agent.request("GET", "/metrics", &headers).status, 200);
    }
    assert_eq!(collector.span("GET /metrics").text("trace"), other);
    let names: Vec<String> = collector.spans().iter().map(|span| span.text("name").to_owned()).collect();
    assert!(!names.contains(&"GET /api/v1".to_owned()), "{names:?}");
    assert!(collector.spans().iter().all(|span| span.text("trace") != unsampled));
    // The log of the run leads to the caller's trace.
    eventually("the run's line", || {
        let line = site.agent.log().into_iter().find(|line| line.contains("\"run succeeded\""))?;
        assert!(line.contains(&format!("\"trace_id\":\"{trace}\"")), "{line}");
        Some(())
    });
}

/// An agent that sweeps every second and traces each sweep.
fn sweeping(endpoint: &str, more: &[(&str, &str)]) -> (TestDatabase, Agent) {
    let (fixture, config) = books(10, "{health_check: {}}");
    let text = std::fs::read_to_string(&config).unwrap();
    let tracing = format!("tracing: {{endpoint: \"{endpoint}\", sweep_sampling_fraction: 1}}");
    std::fs::write(&config, format!("{tracing}\nsample_interval: 1s\n{text}")).unwrap();
    let mut command = litekeeper();
    command
        .args(["serve", "--config", &config])
        .env("OTEL_BSP_SCHEDULE_DELAY", "10")
        .envs(more.iter().copied());
    (fixture, Agent::start(command).ready())
}

fn sweeps_are_spans_and_scrapes_are_not(python: &str) {
    let collector = Collector::start(python);
    let (_made, agent) = sweeping(&collector.url(), &[]);
    let sweep = eventually("a sweep that opens the database", || {
        collector.spans().into_iter().find(|span| span.attribute("litekeeper.databases") == 1)
    });
    assert_eq!(sweep.text("name"), "sweep");
    let count = |key: &str| sweep.attribute(key).as_i64().unwrap();
    let (opened, unchanged, stuck) =
        (count("litekeeper.opened"), count("litekeeper.unchanged"), count("litekeeper.stuck"));
    assert_eq!(opened + unchanged + stuck, 1, "{sweep:?}");
    let before = collector.spans().iter().filter(|span| span.text("name") == "sweep").count();
    agent.metrics();
    eventually("another sweep", || {
        (collector.spans().iter().filter(|span| span.text("name") == "sweep").count() > before).then_some(())
    });
    assert!(collector.spans().iter().all(|span| span.text("name") == "sweep"), "a scrape makes none");
    eventually("spans are counted", || {
        (agent.metrics().value("litekeeper_trace_spans_exported_total", &[]) > Some(0.0)).then_some(())
    });
}

fn a_collector_by_https_must_prove_who_it_is(python: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.write_server(directory.path(), "server");
    let write = |name: &str, authority: &Authority| {
        let path = directory.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path.display().to_string()
    };
    let (known, unknown) = (write("ca.pem", &authority), write("stranger.pem", &stranger));
    let collector = Collector::start_tls(python, directory.path(), "server");
    let endpoint = format!("https://127.0.0.1:{}", collector.port);
    let (_made, config) = books(1, "{health_check: {}}");
    let (code, log) = run(
        "health_check",
        &config,
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_CERTIFICATE", &unknown)],
    );
    assert_eq!(code, Some(0));
    let said = line(&log, "trace export failed; litekeeper_trace_spans_dropped_total counts the lost spans");
    assert!(said["reason"].as_str().unwrap().starts_with("TLS: "), "{said}");
    assert!(collector.requests().is_empty());
    // The same by the file's own keys.
    let text = std::fs::read_to_string(&config).unwrap();
    let tracing = format!("tracing: {{endpoint: \"{endpoint}\", tls_config: {{ca_file: \"{known}\"}}}}");
    std::fs::write(&config, format!("{tracing}\n{text}")).unwrap();
    assert_eq!(run("health_check", &config, &[]).0, Some(0));
    collector.span("job health_check");
}

fn a_collector_that_hangs_holds_up_nothing(python: &str) {
    let mut collector = Collector::start(python);
    collector.become_("hang");
    // A run by hand ends while the collector still hangs.
    let (_made, config) = books(100, &format!("{{{CLEANING}}}"));
    let (code, log) = exported("log_cleaning", &config, &collector);
    assert_eq!(code, Some(0));
    line(&log, "run succeeded");
    line(&log, "the last spans were not exported in time and are lost");
    // So do sweeps and scrapes, with a queue for a single span.
    let (_made, agent) = sweeping(&collector.url(), &[("OTEL_BSP_MAX_QUEUE_SIZE", "1")]);
    let dropped = [("reason", "queue_full")];
    eventually("spans are dropped, and counted", || {
        (agent.metrics().value("litekeeper_trace_spans_dropped_total", &dropped) > Some(1.0)).then_some(())
    });
    let seen = |agent: &Agent| agent.metrics().value("sqlite_sample_timestamp_seconds", &[]).unwrap();
    let before = seen(&agent);
    eventually("sweeps go on", || (seen(&agent) > before).then_some(()));
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(agent.wait(), Some(0));
    assert!(collector.requests().iter().all(|request| request["mode"] == "hang"), "it hung all the time");
    assert!(collector.spans().is_empty());
}

fn a_failing_receiver_is_logged_once(python: &str) {
    let mut collector = Collector::start(python);
    for (mode, reason, words) in [
        ("garbage", "rejected", "the response is not OTLP"),
        (
            "page",
            "rejected",
            "the response has content type text/html, which is not OTLP; is this a collector?",
        ),
        ("reject", "rejected", "the collector rejected 1 of 1 spans: no spans are wanted"),
        ("refuse", "", "response status 503 Service Unavailable"),
    ] {
        collector.become_(mode);
        let (_made, agent) = sweeping(&collector.url(), &[]);
        collector.asked_while(mode);
        if !reason.is_empty() {
            eventually("what is lost is counted", || {
                let lost =
                    agent.metrics().value("litekeeper_trace_spans_dropped_total", &[("reason", reason)]);
                (lost > Some(1.0)).then_some(())
            });
        }
        let logged = || {
            agent
                .log()
                .iter()
                .filter(|line| {
                    line.contains("trace export failed; litekeeper_trace_spans_dropped_total counts")
                })
                .count()
        };
        eventually("it is logged", || (logged() > 0).then_some(()));
        assert!(agent.log().iter().any(|line| line.contains(words)), "{mode}: {:#?}", agent.log());
        collector.become_("take");
        eventually("it is well again", || {
            agent.log().iter().any(|line| line.contains("trace export recovered")).then_some(())
        });
        assert_eq!(logged(), 1, "{mode}: {:#?}", agent.log());
        // What was refused for now was sent again.
        eventually("spans are taken", || {
            (agent.metrics().value("litekeeper_trace_spans_exported_total", &[]) > Some(0.0)).then_some(())
        });
        agent.signal(rustix::process::Signal::TERM);
        assert_eq!(agent.wait(), Some(0), "{mode}");
    }
}

fn a_collector_that_is_not_there_holds_up_nothing() {
    let port = ReservedPort::new();
    let (_made, config) = books(100, &format!("{{{CLEANING}}}"));
    let endpoint = format!("http://{}", port.address);
    let (code, log) = run("log_cleaning", &config, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    assert_eq!(code, Some(0));
    line(&log, "run succeeded");
    let said = line(&log, "trace export failed; litekeeper_trace_spans_dropped_total counts the lost spans");
    assert!(said["reason"].as_str().unwrap().contains("refused"), "{said}");
}

fn exemplars(agent: &Agent) -> Vec<String> {
    let accept =
        [("Accept", "application/openmetrics-text;version=1.0.0"), ("Authorization", &basic("rudi"))];
    let text = agent.request("GET", "/metrics", &accept).text();
    let of_runs =
        |line: &&str| line.starts_with("litekeeper_job_duration_seconds_bucket") && line.contains(" # {");
    text.lines().filter(of_runs).map(str::to_owned).collect()
}

fn a_real_prometheus_takes_exemplars(python: &str) {
    let prometheus = tool("prometheus").unwrap();
    let collector = Collector::start(python);
    let site = traced_office(&collector);
    assert_eq!(site.ask("anna", WISH, &[]).status, 202);
    let trace = collector.span("job health_check").text("trace").to_owned();
    let label = format!("# {{trace_id=\"{trace}\"}} ");
    let found = exemplars(&site.agent);
    assert!(
        found.len() == 1 && found[0].contains(&label) && found[0].contains("task=\"health_check\""),
        "{found:?}"
    );
    // The older form has none.
    let text = site.get("rudi", "/metrics").text();
    assert!(text.contains("litekeeper_job_duration_seconds_bucket") && !text.contains("trace_id"));
    // A run that is not sampled leaves none.
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert_eq!(site.ask("anna", WISH, &[("Traceparent", unsampled)]).status, 202);
    site.last_action();
    let count = |text: &str| {
        text.lines().any(|line| line == "litekeeper_job_duration_seconds_count{task=\"health_check\"} 2")
    };
    eventually("the second run is counted", || count(&site.get("rudi", "/metrics").text()).then_some(()));
    let exemplar = |found: &[String]| found[0].split(" # ").nth(1).map(str::to_owned);
    assert_eq!(exemplar(&exemplars(&site.agent)), exemplar(&found));

    let directory = tempfile::tempdir().unwrap();
    let sign_in = "  basic_auth: {username: rudi, password: reads}\n";
    let flag = ["--enable-feature=exemplar-storage"];
    let prometheus =
        Prometheus::scraping_by(&prometheus, site.agent.address(), directory.path(), sign_in, &flag);
    let taken = eventually("Prometheus has the exemplar", || {
        let path = "query_exemplars?query=litekeeper_job_duration_seconds_bucket&start=0&end=4000000000";
        let answer = prometheus.api(path)?;
        answer["data"].as_array()?.first().cloned()
    });
    assert_eq!(taken["seriesLabels"]["task"], "health_check", "{taken}");
    assert_eq!(taken["exemplars"][0]["labels"]["trace_id"], trace.as_str(), "{taken}");
}

fn the_log_is_for_people_or_machines() {
    let (_made, config) = books(1, "{health_check: {}}");
    // A trace has its number whether or not somebody takes it.
    let port = ReservedPort::new();
    let nobody = port.address;
    let log = |arguments: &[&str]| {
        let mut command = litekeeper();
        command.args(["run", "health_check", "--config", &config]).args(arguments);
        let output = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{nobody}")).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let is_id = |id: &str| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    let text = log(&["--log.format=text"]);
    let of_run: Vec<&str> = text.lines().filter(|line| line.contains("run succeeded")).collect();
    assert!(of_run.len() == 1 && of_run[0].contains(" db=\"books\" task=\"health_check\""), "{text}");
    assert!(of_run[0].split("trace_id=").nth(1).is_some_and(is_id), "{text}");
    // Nobody looks at a terminal here, so that it is JSON without being asked.
    let text = log(&[]);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(is_id(line(&lines, "run succeeded")["trace_id"].as_str().unwrap()), "{text}");
    // Spans and their events are not for the log, and each module can be heard by itself.
    assert!(!log(&["--log.level=trace"]).contains("litekeeper.transaction"));
    let text = log(&["--log.level=off,litekeeper::record=info"]);
    assert!(text.lines().count() == 1 && text.contains("run succeeded"), "{text}");
    assert_eq!(log(&["--log.level=error"]), "");
}

fn without_a_collector_there_are_no_traces() {
    let site = TestSite::open("");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(site.ask("anna", WISH, &[("Traceparent", parent)]).status, 202);
    site.last_action();
    let line = eventually("the run's line", || {
        site.agent.log().into_iter().find(|line| line.contains("\"run succeeded\""))
    });
    assert!(line.contains("\"db\":\"books\"") && !line.contains("trace_id"), "{line}");
    assert!(exemplars(&site.agent).is_empty());
    let metrics = site.get("rudi", "/metrics").text();
    for reason in ["queue_full", "failed", "rejected"] {
        assert!(
            metrics.contains(&format!("litekeeper_trace_spans_dropped_total{{reason=\"{reason}\"}} 0")),
            "{metrics}"
        );
    }
}

fn what_cannot_be_done_is_refused() {
    let (_made, config) = books(1, "{health_check: {}}");
    let refused = |variables: &[(&str, &str)]| {
        let mut command: Command = litekeeper();
        command.args(["run", "health_check", "--config", &config]).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    let words = refused(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert!(words.contains("litekeeper supports only http/protobuf"), "{words}");
    let words = refused(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]);
    assert!(words.contains("must be a URL"), "{words}");
    let secure = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1");
    let words = refused(&[secure, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem")]);
    assert!(words.contains("ca_file /nowhere.pem"), "{words}");
}
