//! The API and its description; what users may do, what they may not, and what stays of it.

use std::process::Command;

use base64::Engine as _;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::Agent;
use crate::support::HttpResponse;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::litekeeper;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    let schemathesis = std::env::var("LITEKEEPER_TEST_SCHEMATHESIS").ok().or_else(|| tool("schemathesis"));
    vec![
        test("the_api_says_what_its_description_says", the_api_says_what_its_description_says),
        test("the_api_refuses_what_is_wrong", the_api_refuses_what_is_wrong),
        test("the_api_says_json_before_it_is_asked", the_api_says_json_before_it_is_asked),
        test("users_act_by_forms_after_a_dry_run", users_act_by_forms_after_a_dry_run),
        test("users_act_by_the_api", users_act_by_the_api),
        test("a_backup_is_planned_and_made_by_a_user", a_backup_is_planned_and_made_by_a_user),
        test("only_operators_may_act", only_operators_may_act),
        test("an_old_state_file_is_taken_over", an_old_state_file_is_taken_over),
        test("pages_use_each_class_of_the_style_sheet", pages_use_each_class_of_the_style_sheet),
        test_with_tool("schemathesis_finds_no_failure", schemathesis, schemathesis_finds_no_failure),
    ]
}

/// An agent where anna may act and rudi may read.
pub struct TestSite {
    pub fixture: TestDatabase,
    pub agent: Agent,
}

const PASSWORDS: [(&str, &str); 2] = [("anna", "acts"), ("rudi", "reads")];

/// The header of a user.
pub fn basic(name: &str) -> String {
    let (_, password) = PASSWORDS.into_iter().find(|(known, _)| *known == name).unwrap();
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

impl TestSite {
    pub fn open(more: &str) -> Self {
        Self::start(more, &[])
    }

    /// The same, with variables of the environment.
    pub fn start(more: &str, variables: &[(&str, &str)]) -> Self {
        let fixture = TestDatabase::new("books")
            .rows(3)
            .sql(
                "CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at TEXT); CREATE INDEX logs_by_time ON logs (created_at);
                 INSERT INTO logs (created_at) VALUES (datetime('now', '-300 days')), (datetime('now', '-200 days')), (datetime('now'));",
            )
            .make();
        std::fs::create_dir(fixture.directory().join("backups")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(fixture.directory().join(name), text).unwrap();
        let users: Vec<String> = PASSWORDS
            .iter()
            .map(|(name, password)| format!("{name}: '{}'", bcrypt::hash(password, 4).unwrap()))
            .collect();
        write("web.yml", &format!("basic_auth_users: {{{}}}", users.join(", ")));
        write(
            "lk.yml",
            &format!(
                "web: {{config_file: web.yml, operators: [anna]}}\nstate: state.db\nsample_interval: 1s\n{more}\ndatabases:\n\
                 - path: books.db\n  labels: {{app: shop}}\n  row_counts: [items, logs]\n  collectors: {{table_sizes: on}}\n  timestamps: [{{table: logs, column: created_at}}]\n  tasks:\n    \
                 health_check: {{}}\n    backup: {{to: backups}}\n    log_cleaning: {{tables: [{{table: logs, column: created_at, retention: 90d}}]}}\n"
            ),
        );
        let mut command = litekeeper();
        command.args(["serve", "--config"]).arg(fixture.directory().join("lk.yml"));
        command.envs(variables.iter().copied());
        let site = Self { fixture, agent: Agent::start(command) };
        eventually("the first sweep", || (site.get("rudi", "/-/ready").status == 200).then_some(()));
        site
    }

    pub fn get(&self, user: &str, path: &str) -> HttpResponse {
        self.agent.request("GET", path, &[("Authorization", &basic(user))])
    }

    pub fn json(&self, path: &str) -> Value {
        let answer = self.get("rudi", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn post(&self, user: &str, path: &str, kind: &str, body: &str, headers: &[(&str, &str)]) -> HttpResponse {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: {}\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            basic(user),
            body.len()
        );
        self.agent.send(text.as_bytes())
    }

    fn wish(&self, user: &str, body: &str) -> HttpResponse {
        self.ask(user, body, &[])
    }

    /// Asks the API for an action, with more headers.
    pub fn ask(&self, user: &str, body: &str, headers: &[(&str, &str)]) -> HttpResponse {
        self.post(user, "/api/v1/actions", "application/json", body, headers)
    }

    fn form(&self, user: &str, body: &str, headers: &[(&str, &str)]) -> HttpResponse {
        self.post(user, "/actions", "application/x-www-form-urlencoded", body, headers)
    }

    fn logs(&self) -> i64 {
        self.fixture.connect().query_row("SELECT count(*) FROM logs", (), |row| row.get(0)).unwrap()
    }

    /// The last action, when it is over.
    pub fn last_action(&self) -> Value {
        eventually("the action is over", || {
            let action = self.json("/api/v1/actions")["actions"][0].clone();
            let result = action["result"].as_str()?;
            (result != "waiting" && result != "running").then_some(action)
        })
    }
}

/// The value of a hidden field, from the first form that has this kind.
fn hidden(page: &str, kind: &str, name: &str) -> String {
    let forms = page.split("<form").skip(1).map(|form| form.split("</form>").next().unwrap());
    let form = forms
        .into_iter()
        .find(|form| form.contains(&format!("value=\"{kind}\"")))
        .expect("the form is there");
    let field = form.split(&format!("name=\"{name}\" value=\"")).nth(1).expect("the field is there");
    field.split('"').next().unwrap().to_owned()
}

/// What is wrong with a value, by the schema of the description.
pub fn mismatch(value: &Value, schema: &Value, document: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return mismatch(
            value,
            document.pointer(name.trim_start_matches('#')).expect("the reference leads somewhere"),
            document,
        );
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let problems: Vec<String> =
            choices.iter().filter_map(|choice| mismatch(value, choice, document)).collect();
        let matches = choices.len() - problems.len();
        return (matches != 1).then(|| format!("{matches} choices match: {}", problems.join(", and ")));
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let problems: Option<Vec<String>> =
            choices.iter().map(|choice| mismatch(value, choice, document)).collect();
        return problems.map(|problems| problems.join(", and "));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    };
    let fits = kinds.contains(&kind) || kind == "integer" && kinds.contains(&"number");
    if !fits {
        return Some(format!("{value} is {kind}, not {kinds:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{value} is none of {allowed:?}"));
    }
    if let Value::Array(items) = value {
        return items.iter().find_map(|item| mismatch(item, &schema["items"], document));
    }
    let Value::Object(fields) = value else { return None };
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) = required.filter_map(Value::as_str).find(|name| !fields.contains_key(*name)) {
        return Some(format!("{missing} is missing in {value}"));
    }
    fields.iter().find_map(|(name, value)| match schema["properties"].get(name) {
        Some(schema) => mismatch(value, schema, document),
        None if schema["additionalProperties"] == false => Some(format!("{name} is not described")),
        None => None,
    })
}

fn the_api_says_what_its_description_says() {
    let site = TestSite::open("");
    let output = Output::of(&[
        "run".as_ref(),
        "all".as_ref(),
        "--config".as_ref(),
        site.fixture.directory().join("lk.yml").as_os_str(),
    ]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(site.wish("anna", r#"{"kind": "pause"}"#).status, 200);
    let document = site.json("/api/v1/openapi.json");
    eventually("rows are counted and runs are seen", || {
        let found = site.json("/api/v1/databases/books");
        (found["tables"][1]["newest_row_at"].is_string()
            && found["tasks"][0]["last_succeeded"] == true
            && found["table_sizes"].is_object())
        .then_some(())
    });
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 7);
    for (path, operations) in paths {
        let real = path.replace("{name}", "books");
        let answer = site.json(&format!("/api/v1{real}"));
        let schema = &operations["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(mismatch(&answer, schema, &document), None, "{path}: {answer:#}");
        // No owner of a sound database has lost its locks.
        let lists = answer.as_object().unwrap().iter().filter(|(name, _)| *name != "lost_locks");
        lists
            .filter_map(|(_, value)| value.as_array())
            .for_each(|list| assert!(!list.is_empty(), "{path} lists something: {answer:#}"));
    }
    let found = site.json("/api/v1/databases?q=BOOK&state=up&label=app%3Dshop");
    assert_eq!((&found["total"], &found["databases"][0]["tables"][0]["rows"]), (&1.into(), &3.into()));
    assert_eq!(site.json("/api/v1/databases?q=none")["total"], 0);
    assert_eq!(site.json("/api/v1/databases?offset=1")["databases"], serde_json::json!([]));
    assert_eq!(site.json("/api/v1/runs?task=vacuum")["runs"], serde_json::json!([]));
    assert_eq!(site.json("/api/v1/runs?database=books&limit=1")["runs"].as_array().unwrap().len(), 1);
    assert_eq!(site.json("/api/v1/schedule")["paused"], true);
}

fn the_api_refuses_what_is_wrong() {
    let site = TestSite::open("");
    for (path, status) in [
        ("/api/v1/databases/none", 404),
        ("/api/v1", 404),
        ("/api/v1/", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/databases?limit=0", 400),
        ("/api/v1/databases?limit=1001", 400),
        ("/api/v1/databases?limit=", 400),
        ("/api/v1/databases?offset=-1", 400),
        ("/api/v1/databases?state=well", 400),
        ("/api/v1/runs?task=none", 400),
    ] {
        let answer = site.get("rudi", path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/json")),
            "{path}"
        );
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(value["error"].is_string(), "{path}: {value}");
    }
    let answer = site.agent.request("DELETE", "/api/v1/runs", &[("Authorization", &basic("rudi"))]);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let answer = site.agent.request("DELETE", "/api/v1/actions", &[("Authorization", &basic("rudi"))]);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")));
}

/// What keeps a request from being answered is said as the API says all else, and as its description has it.
fn the_api_says_json_before_it_is_asked() {
    let site = TestSite::open("");
    let document = site.json("/api/v1/openapi.json");
    let head = |more: &str| {
        format!(
            "POST /api/v1/actions HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\n{more}\r\n"
        )
    };
    let signed = |more: &str| head(&format!("Authorization: {}\r\n{more}", basic("anna")));
    for (request, status, words) in [
        (head(""), 401, "sign in"),
        (signed("Content-Length: 20000\r\n"), 413, "longer than 16384 bytes"),
        (signed("Transfer-Encoding: chunked\r\n") + "no number\r\n", 400, "the body cannot be read"),
        (signed("Content-Length: 9\r\n") + "{", 408, "did not arrive within 10s"),
    ] {
        let answer = site.agent.send(request.as_bytes());
        let what = (answer.status, answer.header("content-type"));
        assert_eq!(what, (status, Some("application/json")), "{request}");
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        let described = &document["paths"]["/actions"]["post"]["responses"][status.to_string()];
        let schema = &described["content"]["application/json"]["schema"];
        assert_eq!(mismatch(&value, schema, &document), None, "{status}: {value}");
        assert!(value["error"].as_str().unwrap().contains(words), "{status}: {value}");
    }
    let scrape = site.get("rudi", "/metrics").text();
    for status in [400, 401, 408, 413] {
        let counted = format!("litekeeper_http_requests_total{{handler=\"/api/v1\",code=\"{status}\"}} 1");
        assert!(scrape.contains(&counted), "{status} is counted: {scrape}");
    }
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
            let kinds: Vec<&String> = answer["content"].as_object().unwrap().keys().collect();
            assert_eq!(kinds, ["application/json"], "{status} of {operation}");
        }
    }
    // Forms are for people.
    let answer = site.agent.request("POST", "/actions", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (401, "sign in\n"));
    // The last wrong password is answered with a delay.
    let wrong = [("Authorization", "Basic YW5uYTpub25l")];
    let last = eventually("it is too many", || {
        Some(site.agent.request("GET", "/api/v1/runs", &wrong)).filter(|answer| answer.status == 429)
    });
    assert_eq!(
        (last.header("content-type"), last.header("retry-after")),
        (Some("application/json"), Some("10"))
    );
    assert_eq!(last.text(), "{\"error\":\"too many requests; try again later\"}\n");
}

fn users_act_by_forms_after_a_dry_run() {
    let site = TestSite::open("");
    let page = site.get("anna", "/db/books").text();
    let token = hidden(&page, "plan", "token");
    let fields = format!("token={token}&database=books&task=log_cleaning");
    // A run without its dry run is refused.
    let early = site.form("anna", &format!("{fields}&kind=run"), &[]);
    assert_eq!(early.status, 403);
    assert!(early.text().contains("a dry run comes first"));
    let plan = site.form("anna", &format!("{fields}&kind=plan"), &[("Sec-Fetch-Site", "same-origin")]);
    assert_eq!(plan.status, 200);
    let plan = plan.text();
    assert!(
        plan.contains(">logs<") && plan.contains(">2<") && plan.contains("Nothing has been changed yet"),
        "{plan}"
    );
    assert_eq!(site.logs(), 3);
    let planned = hidden(&plan, "run", "planned");
    // It is for this task of this database alone.
    let other = site.form(
        "anna",
        &format!("token={token}&kind=run&database=books&task=vacuum&planned={planned}"),
        &[],
    );
    assert_eq!(other.status, 403);
    let run = site.form("anna", &format!("{fields}&kind=run&planned={planned}"), &[]);
    assert_eq!((run.status, run.header("location")), (303, Some("db/books")));
    let action = site.last_action();
    assert_eq!(
        (&action["user"], &action["kind"], &action["task"]),
        (&"anna".into(), &"run".into(), &"log_cleaning".into())
    );
    assert_eq!(action["address"], "127.0.0.1");
    assert!(action["result"].as_str().unwrap().starts_with("success: 2 rows deleted"), "{action}");
    assert_eq!(site.logs(), 1);
    let page = site.get("rudi", "/db/books").text();
    assert!(page.contains("run log_cleaning") && page.contains(">anna<"), "it is to be seen: {page}");
    assert!(!page.contains("<form method=\"post\""), "who may read has no buttons");
    // Checks need no dry run; a pause is seen at once, and keeps a run from being done.
    assert_eq!(site.form("anna", &format!("token={token}&kind=recheck&database=books"), &[]).status, 303);
    assert_eq!(site.last_action()["result"], "success: full ok, foreign_key ok");
    assert_eq!(
        site.form("anna", &format!("token={token}&kind=pause"), &[]).header("location"),
        Some("tasks")
    );
    assert!(site.get("anna", "/db/books").text().contains("Maintenance of this database is paused."));
    assert_eq!(site.form("anna", &format!("token={token}&kind=recheck&database=books"), &[]).status, 303);
    let result = site.last_action()["result"].as_str().unwrap().to_owned();
    assert!(result.starts_with("skipped: maintenance is paused"), "{result}");
    assert_eq!(site.form("anna", &format!("token={token}&kind=resume"), &[]).status, 303);
    assert!(!site.get("anna", "/tasks").text().contains("All maintenance is paused"));
    eventually("the log tells who acted", || {
        site.agent
            .log()
            .iter()
            .any(|line| line.contains("action requested") && line.contains("anna"))
            .then_some(())
    });
}

fn users_act_by_the_api() {
    let site = TestSite::open("");
    let dry =
        site.wish("anna", r#"{"kind": "run", "database": "books", "task": "log_cleaning", "dry_run": true}"#);
    let dry: Value = serde_json::from_slice(&dry.body).unwrap();
    assert_eq!(dry["forecast"]["tables"][0]["rows"], 2, "{dry}");
    let run = site.wish("anna", r#"{"kind": "run", "database": "books", "task": "log_cleaning"}"#);
    assert_eq!(run.status, 202);
    assert_eq!(site.last_action()["result"], "success: 2 rows deleted");
    assert_eq!(site.logs(), 1);
    for (body, status) in [
        (r#"{"kind": "run", "database": "books", "task": "vacuum"}"#, 409),
        (r#"{"kind": "run", "database": "none", "task": "vacuum"}"#, 404),
        (r#"{"kind": "run", "database": "books"}"#, 400),
        (r#"{"kind": "run", "database": "books", "task": "sleep"}"#, 400),
        (r#"{"kind": "pause", "dry_run": true}"#, 400),
        (r#"{"kind": "pause", "more": 1}"#, 400),
        ("{", 400),
        ("", 400),
    ] {
        assert_eq!(site.wish("anna", body).status, status, "{body}");
    }
    let large = format!("{{\"kind\": \"{}\"}}", "x".repeat(20_000));
    assert_eq!(site.wish("anna", &large).status, 413);
}

fn a_backup_is_planned_and_made_by_a_user() {
    let site = TestSite::open("");
    let backups = || std::fs::read_dir(site.fixture.directory().join("backups")).unwrap().count();
    let dry = site.wish("anna", r#"{"kind": "run", "database": "books", "task": "backup", "dry_run": true}"#);
    let dry: Value = serde_json::from_slice(&dry.body).unwrap();
    assert!(dry["forecast"]["needs"][0]["bytes"].as_u64().unwrap() > 0, "{dry}");
    let token = hidden(&site.get("anna", "/db/books").text(), "plan", "token");
    let fields = format!("token={token}&database=books&task=backup");
    let early = site.form("anna", &format!("{fields}&kind=run"), &[]);
    assert!(early.status == 403 && early.text().contains("a dry run comes first"), "{}", early.text());
    let plan = site.form("anna", &format!("{fields}&kind=plan"), &[]).text();
    assert!(plan.contains("Space for ") && plan.contains("backups"), "{plan}");
    assert_eq!(backups(), 0, "a dry run makes none");
    let planned = hidden(&plan, "run", "planned");
    let run = site.form("anna", &format!("{fields}&kind=run&planned={planned}"), &[]);
    assert_eq!((run.status, run.header("location")), (303, Some("db/books")));
    let action = site.last_action();
    assert!(action["result"].as_str().unwrap().starts_with("success"), "{action}");
    assert_eq!((&action["user"], &action["task"]), (&"anna".into(), &"backup".into()));
    assert!(backups() > 0);
    assert_eq!(site.json("/api/v1/runs?task=backup")["runs"][0]["outcome"], "success");
    assert!(site.get("rudi", "/db/books").text().contains("run backup"));
}

fn only_operators_may_act() {
    let site = TestSite::open("");
    let token = hidden(&site.get("anna", "/db/books").text(), "plan", "token");
    let pause = format!("token={token}&kind=pause");
    assert_eq!(site.form("rudi", &pause, &[]).status, 403, "a reader");
    assert_eq!(site.form("anna", "kind=pause", &[]).status, 403, "no token");
    assert_eq!(site.form("anna", "token=guess&kind=pause", &[]).status, 403, "a wrong one");
    for header in [("Origin", "https://evil.test"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")] {
        assert_eq!(site.form("anna", &pause, &[header]).status, 403, "{header:?}");
        let body = r#"{"kind": "pause"}"#;
        let by_api = site.post("anna", "/api/v1/actions", "application/json", body, &[header]);
        assert_eq!(by_api.status, 403, "{header:?}");
    }
    assert_eq!(site.post("anna", "/actions", "text/plain", &pause, &[]).status, 415);
    let body = r#"{"kind": "pause"}"#;
    assert_eq!(
        site.post("anna", "/api/v1/actions", "text/plain", body, &[]).status,
        415,
        "what a form can send"
    );
    assert_eq!(site.wish("rudi", body).status, 403);
    assert_eq!(site.get("anna", "/actions").status, 405);
    assert_eq!(site.agent.request("POST", "/actions", &[]).status, 401);
    assert_eq!(site.json("/api/v1/actions")["actions"], serde_json::json!([]));
    // Where nobody is named, nobody can.
    let fixture = TestDatabase::new("books").make();
    let agent = Agent::serve(&[fixture.path()]).ready();
    assert_eq!(agent.request("POST", "/actions", &[("Content-Length", "0")]).status, 403);
    let answer = agent.request("POST", "/api/v1/actions", &[("Content-Length", "0")]);
    assert!(answer.status == 403 && answer.text().contains("there are no operators"), "{}", answer.text());
}

fn an_old_state_file_is_taken_over() {
    let site = TestSite::open("");
    let file = site.fixture.directory().join("state.db");
    let configuration = site.fixture.directory().join("lk.yml");
    let TestSite { fixture, agent } = site;
    let output =
        Output::of(&["run".as_ref(), "all".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    drop(agent);
    // As the version before wrote it.
    let old = rusqlite::Connection::open(&file).unwrap();
    old.execute_batch(
        "DROP TABLE trends; DROP TABLE trend_paths; DROP TABLE actions; DROP TABLE names; DROP TABLE verdict_notes;
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let mut command = litekeeper();
    command.args(["serve", "--config"]).arg(&configuration);
    let site = TestSite { fixture, agent: Agent::start(command) };
    eventually("it is served", || (site.get("rudi", "/-/ready").status == 200).then_some(()));
    let page = eventually("a trend is known", || {
        let page = site.get("rudi", "/db/books").text();
        page.contains("file from").then_some(page)
    });
    assert!(page.contains("2 rows deleted"), "what ran before is known");
    assert_eq!(site.wish("anna", r#"{"kind": "pause"}"#).status, 200);
}

fn schemathesis_finds_no_failure(program: &str) {
    let site = TestSite::open("");
    let url = format!("http://{}/api/v1/openapi.json", site.agent.address());
    let output = Command::new(program)
        .args(["run", &url, "--header", &format!("Authorization: {}", basic("anna"))])
        .args(["--max-examples", "30", "--workers", "2", "--generation-deterministic", "--no-color"])
        .current_dir(site.fixture.directory())
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// A class that was renamed in the pages alone, or in the style sheet alone, is found.
fn pages_use_each_class_of_the_style_sheet() {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/pages");
    let style = std::fs::read_to_string(pages.join("style.css")).unwrap();
    let directories = [pages.parent().unwrap(), &pages].map(|path| std::fs::read_dir(path).unwrap());
    let sources: String = directories
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let used: std::collections::BTreeSet<&str> = sources.split(|letter: char| !is_part(letter)).collect();
    let mut classes = 0;
    for after in style.split('.').skip(1).filter(|after| after.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        let class = after.split(|letter: char| !is_part(letter)).next().unwrap();
        assert!(used.contains(class), "no page uses the class `{class}` of style.css");
        classes += 1;
    }
    assert!(classes > 20, "{classes} classes: style.css is not read as expected");
}
