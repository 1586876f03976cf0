//! The web server: forms, refusals, and clients that misbehave.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;

use flate2::read::GzDecoder;
use libtest_mimic::Trial;

use crate::maintenance::serve;
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
        test("metrics_are_where_they_are_wanted", metrics_are_where_they_are_wanted),
        test("routes_have_the_prefix_of_a_proxy", routes_have_the_prefix_of_a_proxy),
        test("the_page_lists_the_worst_first", the_page_lists_the_worst_first),
        test(
            "each_database_is_counted_once_by_its_worst_state",
            each_database_is_counted_once_by_its_worst_state,
        ),
        test("a_database_has_a_page_of_its_own", a_database_has_a_page_of_its_own),
        test(
            "pages_stay_small_with_all_that_can_be_configured",
            pages_stay_small_with_all_that_can_be_configured,
        ),
        test("clients_that_misbehave_hold_up_nobody", clients_that_misbehave_hold_up_nobody),
        test("reload_replaces_what_is_watched", reload_replaces_what_is_watched),
    ]
}

fn agent() -> (Agent, TestDatabase) {
    let fixture = TestDatabase::new("books").rows(10).make();
    (Agent::serve(&[fixture.path()]).ready(), fixture)
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
    for path in ["/", "/tasks", "/-/healthy", "/-/ready", "/style.css", "/icon.svg"] {
        let (get, head) = (agent.get(path), agent.request("HEAD", path, &[]));
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty());
        assert_eq!(head.header("content-type"), get.header("content-type"));
        // The page tells the time, so its length may differ by a digit.
        if path != "/" && path != "/tasks" {
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

fn metrics_are_where_they_are_wanted() {
    let fixture = TestDatabase::new("books").rows(3).make();
    let file = fixture.directory().join("lk.yml");
    let write = |path: &str| {
        let text = format!(
            "state: state.db\nweb: {{telemetry_path: {path}}}\ndatabases: [{{path: books.db, tasks: {{health_check: {{}}}}}}]\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("/from/the/file");
    for (flag, path) in [(None, "/from/the/file"), (Some("/from-the-flag"), "/from-the-flag")] {
        let mut command = litekeeper();
        command.args(["serve", "--web.enable-lifecycle", "--config"]).arg(&file);
        command.args(flag.map(|path| format!("--web.telemetry-path={path}")));
        let agent = Agent::start(command).ready();
        let answer = agent.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(TEXT)));
        let counted = "litekeeper_http_requests_total{handler=\"/metrics\",code=\"200\"} 1";
        assert!(agent.get(path).text().contains(counted), "the part keeps its name in its counter");
        let nowhere = agent.get("/metrics");
        assert_eq!(nowhere.status, 404);
        assert!(nowhere.text().contains(&format!(", {path}, /-/healthy")), "{}", nowhere.text());
        for page in ["/", "/tasks", "/db/books", "/db/books?doctor=true"] {
            let page = agent.get(page).text();
            let link = format!("{path}\">Metrics</a>");
            assert!(page.contains(&link) && !page.contains("\"/metrics\""), "{page}");
        }
        write("/later");
        assert_eq!(agent.request("POST", "/-/reload", &[]).status, 200);
        let said = |line: &String| line.contains("all of `web` except `operators` change only at a restart");
        if flag.is_none() {
            eventually("the log says so", || agent.log().iter().any(said).then_some(()));
        }
        // What the flag names stays what is in force, whatever the file says.
        assert_eq!((agent.get(path).status, flag.is_some() && agent.log().iter().any(said)), (200, false));
    }
    let output =
        Output::of(&["serve".as_ref(), fixture.path().as_os_str(), "--web.telemetry-path=/db/x".as_ref()]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("`/db/x` is taken: `/`, `/tasks`"), "{}", output.stderr);
    write("metrics");
    let output = Output::of(&["config".as_ref(), "check".as_ref(), file.as_os_str()]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("web.telemetry_path: `metrics` must begin with `/`"), "{}", output.stderr);
}

/// The targets of the links of a page.
fn links(page: &str) -> Vec<&str> {
    let of =
        |attribute: &'static str| page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
    [" href=\"", " src=\"", " action=\""].into_iter().flat_map(of).collect()
}

/// Where a link leads that is on the page of a path.
fn resolved(path: &str, link: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    segments.pop();
    for segment in link.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop().expect("a link leads above the root")),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn routes_have_the_prefix_of_a_proxy() {
    let fixture = TestDatabase::new("books").rows(3).make();
    let file = fixture.directory().join("lk.yml");
    let text = "state: state.db\nweb: {external_url: \"https://monitoring.example.org/ops/lk/\"}\ndatabases: [{path: books.db}]\n";
    std::fs::write(&file, text).unwrap();
    for (flag, prefix) in
        [(None, "/ops/lk"), (Some("--web.route-prefix=/lk/"), "/lk"), (Some("--web.route-prefix=/"), "")]
    {
        let mut command = litekeeper();
        command.args(["serve", "--config"]).arg(&file).args(flag);
        let agent = Agent::start(command);
        let ready = format!("{prefix}/-/ready");
        eventually("the first sweep", || (agent.get(&ready).status == 200).then_some(()));
        for path in ["/", "/tasks", "/db/books", "/db/books?doctor=true"] {
            let path = format!("{prefix}{path}");
            let page = agent.get(&path);
            assert_eq!(page.status, 200, "{path}");
            let text = page.text();
            for link in links(&text).into_iter().filter(|link| !link.starts_with('#')) {
                let leads_to = resolved(&path, link);
                assert!(leads_to.starts_with(&format!("{prefix}/")), "{path}: {link}");
                assert_eq!(agent.get(&leads_to).status, 200, "{path}: {link} leads to {leads_to}");
            }
        }
        let scrape = agent.get(&format!("{prefix}/metrics"));
        assert!(scrape.text().contains("sqlite_up{"), "{prefix}");
        let description = agent.get(&format!("{prefix}/api/v1/openapi.json")).body;
        let description: serde_json::Value = serde_json::from_slice(&description).unwrap();
        assert_eq!(description["servers"][0]["url"], format!("{prefix}/api/v1"), "{prefix}");
        let mut healthcheck =
            vec!["healthcheck".to_owned(), "--config".to_owned(), file.display().to_string()];
        healthcheck.push(format!("--web.listen-address={}", agent.address()));
        healthcheck.extend(flag.map(str::to_owned));
        assert_eq!(Output::of(&healthcheck).code, Some(0), "{prefix}");
        if prefix.is_empty() {
            continue;
        }
        for path in ["/", prefix] {
            let answer = agent.get(path);
            let location = answer.header("location").map(|location| resolved(path, location));
            assert_eq!((answer.status, location), (302, Some(format!("{prefix}/"))), "{path}");
        }
        for path in ["/metrics", "/-/healthy", "/lkx/", "/db/books"] {
            let answer = agent.get(path);
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.text().contains(&format!(" {prefix}/-/healthy ")), "{}", answer.text());
        }
    }
    let output = Output::of(&["serve", "a.db", "--web.external-url=monitoring.example.org"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("must be an http or https URL"), "{}", output.stderr);
}

fn the_page_lists_the_worst_first() {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..130 {
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
    assert!(page.contains("a text file, not an SQLite database") && page.contains("page 1 of 3"));
    assert!(page.len() < 100_000, "{} bytes", page.len());
    let third = agent.get("/?page=3").text();
    assert!(third.contains(">many129<") && third.contains("page 3 of 3") && !third.contains(">zz<"));
    for query in ["page=0", "page=x", "page=", "page=-1", "nothing", "page=99999999999999999999"] {
        assert!(agent.get(&format!("/?{query}")).text().contains("page 1 of 3"), "{query}");
    }
    assert!(agent.get("/?page=77").text().contains("page 3 of 3"));
    let first = |query: &str| {
        let page = agent.get(&format!("/?{query}")).text();
        let row =
            page.split("<th scope=\"row\">").nth(1).map(|row| row.split("\">").nth(1).unwrap().to_owned());
        row.map(|row| row.split('<').next().unwrap().to_owned())
    };
    for (query, expected) in [
        ("sort=name", Some("many000")),
        ("sort=name&order=desc", Some("zz")),
        ("sort=size&order=asc", Some("zz")),
        ("sort=nonsense", Some("zz")),
        ("q=MANY01", Some("many010")),
        ("q=many%3A", None),
        ("state=down", Some("zz")),
        ("state=up", Some("many000")),
        ("state=pending", None),
        ("label=app%3Dx", None),
    ] {
        assert_eq!(first(query).as_deref(), expected, "{query}");
    }
    // What a user types is shown as text, and kept by the links.
    let page = agent.get("/?q=%22%3E%3Cscript%3E&sort=name").text();
    assert!(page.contains("&quot;&gt;&lt;script&gt;") && !page.contains("<script"), "{page}");
}

fn a_database_has_a_page_of_its_own() {
    let fixture = TestDatabase::new("books").rows(3).make();
    let file = fixture.directory().join("lk.yml");
    std::fs::write(
        &file,
        "sample_interval: 1s\nstate: state.db\ndatabases:\n- {name: \"bo/o ks<b>\", path: books.db, labels: {app: shop}, row_counts: [items], \
         tasks: {health_check: {}}}\n",
    )
    .unwrap();
    let output = Output::of(&["run".as_ref(), "all".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let agent = serve(file.to_str().unwrap()).ready();
    let index = agent.get("/").text();
    assert!(
        index.contains("href=\"./db/bo/o%20ks%3Cb%3E\"") && index.contains("bo/o ks&lt;b&gt;"),
        "{index}"
    );
    assert_eq!(agent.get("/?label=app%3Dshop").text().matches("<th scope=\"row\">").count(), 1);
    assert_eq!(agent.get("/?label=app%3Dother").text().matches("<th scope=\"row\">").count(), 0);
    let page = eventually("rows and a trend are known", || {
        let page = agent.get("/db/bo/o%20ks%3Cb%3E").text();
        (page.contains(">items<") && page.contains("all counted tables")).then_some(page)
    });
    for words in
        ["<title>bo/o ks&lt;b&gt; · litekeeper", "health_check", "full ok", "shop", "manual", "file from"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(page.len() < 100_000);
    let tasks = agent.get("/tasks").text();
    assert!(tasks.contains("1 scheduled") && tasks.contains("full ok"), "{tasks}");
    let reported = agent.get("/db/bo/o%20ks%3Cb%3E?debug=true");
    assert_eq!(reported.header("content-type"), Some("text/plain; charset=utf-8"));
    let reported = reported.text();
    assert!(
        reported.contains("page_size: 4096") && reported.contains("sqlite_up{db=\"bo/o ks<b>\"} 1.0"),
        "{reported}"
    );
    assert!(!reported.contains("litekeeper_"), "the database's metrics alone: {reported}");
    for path in ["/db/", "/db/none", "/db", "/db/books"] {
        assert_eq!(agent.get(path).status, 404, "{path}");
    }
    // What is kept outlives the agent.
    drop(agent);
    let again = serve(file.to_str().unwrap()).ready();
    assert!(again.get("/db/bo/o%20ks%3Cb%3E?range=year").text().contains("file from"));
}

fn pages_stay_small_with_all_that_can_be_configured() {
    let fixture = TestDatabase::new("first").make();
    let deep = fixture.directory().join("a-directory-with-a-name-of-some-length/".repeat(8));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir(fixture.directory().join("backups")).unwrap();
    let tables: String = (0..150).map(|index| format!("CREATE TABLE t{index:03} (a, at TEXT);")).collect();
    for index in 0..50 {
        let owner = rusqlite::Connection::open(deep.join(format!("tenant-{index:02}.db"))).unwrap();
        owner.execute_batch(if index == 0 { &tables } else { "CREATE TABLE t000 (a, at TEXT)" }).unwrap();
    }
    let file = fixture.directory().join("lk.yml");
    let text = format!(
        "sample_interval: 1s\nstate: state.db\ndatabases:\n- glob: {}*.db\n  row_counts: ['*']\n  tasks: {{health_check: {{quick: {{}}}}, vacuum: {{}}, \
         log_cleaning: {{tables: [{{table: t000, column: at, retention: 90d}}]}}, backup: {{to: backups}}, checkpoint: {{}}, optimize: {{}}}}\n",
        deep.display()
    );
    std::fs::write(&file, text).unwrap();
    let output = Output::of(&["run".as_ref(), "all".as_ref(), "--config".as_ref(), file.as_os_str()]);
    let agent = serve(file.to_str().unwrap()).ready();
    let page = eventually("the last and the next run of everything are known", || {
        let page = agent.get("/").text();
        (page.matches(", next <time").count() >= 300).then_some(page)
    });
    // 25 hours of a curve, which are not here, take up to 15 kB more.
    assert!(page.len() < 80_000, "{} bytes after {output:?}", page.len());
    let page = eventually("rows are counted", || {
        let page = agent.get("/db/tenant-00").text();
        page.contains("and 50 smaller ones").then_some(page)
    });
    assert!(page.len() < 100_000, "{} bytes", page.len());
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
    for (code, least) in [("400", 2.0), ("431", 1.0)] {
        let labels = [("handler", "invalid_request"), ("code", code)];
        eventually("what cannot be parsed is counted", || {
            agent.metrics().value("litekeeper_http_requests_total", &labels).filter(|count| *count >= least)
        });
    }
    // With every place taken, a further client waits until one is free.
    let more: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    drop(idle);
    drop(more);
    eventually("it answers again", || (agent.get("/-/healthy").status == 200).then_some(()));
}

fn reload_replaces_what_is_watched() {
    let fixture = TestDatabase::new("first").rows(5).make();
    let second = TestDatabase::new("second").rows(5).make();
    let file = fixture.directory().join("litekeeper.yml");
    let write = |path: &std::path::Path, more: &str| {
        std::fs::write(
            &file,
            format!("sample_interval: 1s\ndatabases: [{{path: {}, {more}}}]", path.display()),
        )
        .unwrap();
    };
    write(&fixture.path(), "collectors: {schema: off}");
    let mut command = litekeeper();
    command.args(["serve", "--web.enable-lifecycle", "--config"]).arg(&file);
    let agent = Agent::start(command).ready();
    assert_eq!(agent.metrics().count("sqlite_schema_objects", &[("db", "first")]), 0);

    // Other settings for the same database take effect though its file has not moved.
    write(&fixture.path(), "row_counts: [items]");
    assert_eq!(agent.request("POST", "/-/reload", &[]).status, 200);
    agent.until("sqlite_table_rows", &[("db", "first"), ("table", "items")], 5.0);
    agent.until("sqlite_schema_objects", &[("db", "first"), ("kind", "tables")], 1.0);

    // A bad file changes nothing.
    write(&fixture.path(), "row_count: [items]");
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

/// A damaged database that can be read is one of the damaged, and not of those that are up as well.
fn each_database_is_counted_once_by_its_worst_state() {
    let fixture = TestDatabase::new("sound").make();
    let damage = "CREATE TABLE t (a, b); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1, 2);
                  PRAGMA writable_schema = ON;
                  UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (b)' WHERE name = 'i'";
    rusqlite::Connection::open(fixture.directory().join("hurt.db")).unwrap().execute_batch(damage).unwrap();
    let file = fixture.directory().join("lk.yml");
    let text = "state: state.sqlite\ndatabases:\n- {path: sound.db}\n- {path: gone.db}\n\
                - {path: hurt.db, tasks: {health_check: {}}}\n";
    std::fs::write(&file, text).unwrap();
    let output = Output::of(&["run".as_ref(), "all".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let agent = serve(file.to_str().unwrap()).ready();
    let page = agent.get("/").text();
    for tile in ["1</strong> up", "1</strong> down", "0</strong> pending", "1</strong> damaged"] {
        assert!(page.contains(tile), "{tile}: {page}");
    }
    for (state, name) in [("up", "sound"), ("down", "gone"), ("damaged", "hurt")] {
        let page = agent.get(&format!("/?state={state}")).text();
        let rows: Vec<&str> = page.split("<th scope=\"row\">").skip(1).collect();
        assert!(rows.len() == 1 && rows[0].contains(&format!("/db/{name}\"")), "{state}: {page}");
    }
    // The API's state says whether it can be read, as `sqlite_up` does.
    let answer = agent.get("/api/v1/databases?state=up").text();
    assert!(answer.contains("\"total\":2"), "{answer}");
}
