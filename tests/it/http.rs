//! The web server: forms, refusals, and clients that misbehave.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;

use flate2::read::GzDecoder;
use libtest_mimic::Trial;

use crate::support::Agent;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("metrics_come_in_the_form_that_is_asked_for", metrics_come_in_the_form_that_is_asked_for),
        test("head_is_get_without_a_body", head_is_get_without_a_body),
        test("paths_and_methods_are_refused_rightly", paths_and_methods_are_refused_rightly),
        test("the_page_lists_the_worst_first", the_page_lists_the_worst_first),
        test("clients_that_misbehave_hold_up_nobody", clients_that_misbehave_hold_up_nobody),
        test("reload_replaces_what_is_watched", reload_replaces_what_is_watched),
    ]
}

fn agent() -> (Agent, TestDatabase) {
    let made = TestDatabase::new("books").rows(10).make();
    (Agent::serve(&[made.path()]).ready(), made)
}

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn metrics_come_in_the_form_that_is_asked_for() {
    let (agent, _made) = agent();
    for (accept, content_type) in [
        (None, TEXT),
        (Some("application/json"), TEXT),
        (Some("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"), OPENMETRICS),
    ] {
        let headers: Vec<(&str, &str)> = accept.map(|accept| ("Accept", accept)).into_iter().collect();
        let answer = agent.request("GET", "/metrics", &headers);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{accept:?}");
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(answer.text().ends_with("# EOF\n"), content_type == OPENMETRICS);
    }
    let answer = agent.request("GET", "/metrics", &[("Accept-Encoding", "gzip")]);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("sqlite_up{db=\"books\"} 1.0"), "{text}");
}

fn head_is_get_without_a_body() {
    let (agent, _made) = agent();
    for path in ["/", "/-/healthy", "/-/ready", "/style.css"] {
        let (get, head) = (agent.get(path), agent.request("HEAD", path, &[]));
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(head.header("content-type"), get.header("content-type"));
        // The page tells the time, so its length may differ by a digit.
        if path != "/" {
            assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        }
    }
    let head = agent.request("HEAD", "/metrics", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").unwrap().parse::<u64>().unwrap() > 1_000);
}

fn paths_and_methods_are_refused_rightly() {
    let (agent, _made) = agent();
    for (method, path, status, allow) in [
        ("GET", "/nowhere", 404, None),
        ("GET", "/metrics/", 404, None),
        ("POST", "/metrics", 405, Some("GET, HEAD")),
        ("DELETE", "/", 405, Some("GET, HEAD")),
        ("BREW", "/-/ready", 405, Some("GET, HEAD")),
        ("GET", "/-/reload", 405, Some("POST, PUT")),
        ("POST", "/-/reload", 403, None),
    ] {
        let answer = agent.request(method, path, &[]);
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let scrape = agent.metrics();
    let counted = |handler, code| {
        scrape.value("litekeeper_http_requests_total", &[("handler", handler), ("code", code)])
    };
    assert_eq!(counted("not_found", "404"), Some(2.0));
    assert_eq!(counted("/-/reload", "403"), Some(1.0));
    assert_eq!(counted("/metrics", "405"), Some(1.0));
}

fn the_page_lists_the_worst_first() {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..260 {
        let path = directory.path().join(format!("many{index:03}.db"));
        rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    }
    std::fs::write(directory.path().join("zz.db"), "no database").unwrap();
    let agent = Agent::serve(&[directory.path()]).ready();
    let answer = agent.get("/");
    let page = answer.text();
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    assert!(page.find(">zz<").unwrap() < page.find(">many000<").unwrap(), "the one that is down comes first");
    assert!(page.contains("file is not a database") && page.contains("page 1 of 2"));
    assert!(page.len() < 200_000, "{} bytes", page.len());
    let second = agent.get("/?page=2").text();
    assert!(second.contains(">many259<") && second.contains("page 2 of 2") && !second.contains(">zz<"));
    for query in ["page=0", "page=x", "page=", "page=-1", "nothing"] {
        assert!(agent.get(&format!("/?{query}")).text().contains("page 1 of 2"), "{query}");
    }
    assert!(agent.get("/?page=99999999999999999999").text().contains("page 1 of 2"));
    assert!(agent.get("/?page=77").text().contains("page 2 of 2"));
}

fn clients_that_misbehave_hold_up_nobody() {
    let (agent, _made) = agent();
    // More clients that say nothing than there are connections to be had, but a few.
    let idle: Vec<TcpStream> = (0..250).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    assert_eq!(agent.get("/metrics").status, 200);
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    for bytes in
        [&b"\x16\x03\x01 this is no HTTP\r\n\r\n"[..], huge.as_bytes(), b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(agent.address()).unwrap();
        // The server may hang up before it has read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        assert_eq!(agent.get("/metrics").status, 200);
    }
    // With every place taken, a further client waits until one is free.
    let more: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    drop(idle);
    drop(more);
    eventually("it answers again", || (agent.get("/-/healthy").status == 200).then_some(()));
}

fn reload_replaces_what_is_watched() {
    let made = TestDatabase::new("first").rows(5).make();
    let second = TestDatabase::new("second").rows(5).make();
    let file = made.directory().join("litekeeper.yml");
    let write = |path: &std::path::Path, more: &str| {
        std::fs::write(
            &file,
            format!("sample_interval: 1s\ndatabases: [{{path: {}, {more}}}]", path.display()),
        )
        .unwrap();
    };
    write(&made.path(), "collectors: {schema: off}");
    let mut command = litekeeper();
    command.args(["serve", "--web.enable-lifecycle", "--config"]).arg(&file);
    let agent = Agent::start(command).ready();
    assert_eq!(agent.metrics().count("sqlite_schema_objects", &[("db", "first")]), 0);

    // Other settings for the same database take effect though its file has not moved.
    write(&made.path(), "row_counts: [items]");
    assert_eq!(agent.request("POST", "/-/reload", &[]).status, 200);
    agent.until("sqlite_table_rows", &[("db", "first"), ("table", "items")], 5.0);
    agent.until("sqlite_schema_objects", &[("db", "first"), ("kind", "tables")], 1.0);

    // A bad file changes nothing.
    write(&made.path(), "row_count: [items]");
    let answer = agent.request("POST", "/-/reload", &[]);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("did you mean `row_counts`?"), "{}", answer.text());
    let scrape = agent.until("litekeeper_config_last_reload_successful", &[], 0.0);
    assert_eq!(scrape.value("sqlite_up", &[("db", "first")]), Some(1.0));
    let checked = Output::of(&["config".as_ref(), "check".as_ref(), file.as_os_str()]);
    assert_eq!(checked.code, Some(2));

    write(&second.path(), "");
    agent.signal(rustix::process::Signal::HUP);
    let scrape = agent.until("sqlite_up", &[("db", "second")], 1.0);
    assert_eq!(scrape.value("litekeeper_config_last_reload_successful", &[]), Some(1.0));
    assert_eq!(scrape.count("sqlite_up", &[("db", "first")]), 0);
}
