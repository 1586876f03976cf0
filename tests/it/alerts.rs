//! Alerts, their unit tests, runbooks and routes: each checked by the tool that it is for, and all of them against each
//! other and the metric reference.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use litekeeper::internals::runbooks::RUNBOOKS;
use litekeeper::internals::runbooks::meaning;
use serde_json::Value;

use crate::support::Agent;
use crate::support::Output;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

/// Alerts that are about no database.
const WITHOUT_DATABASE: [&str; 5] = [
    "LitekeeperAbsent",
    "LitekeeperConfigReloadFailed",
    "LitekeeperDown",
    "LitekeeperSeriesDropped",
    "Watchdog",
];

/// Alerts that are about no agent that could be named.
const WITHOUT_INSTANCE: [&str; 2] = ["LitekeeperAbsent", "Watchdog"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test_with_tool("promtool_takes_the_rules", tool("promtool"), promtool_takes_the_rules),
        test_with_tool("amtool_takes_the_routes", tool("amtool"), amtool_takes_the_routes),
        test("alerts_say_what_they_must", alerts_say_what_they_must),
        test("alerts_are_tested_both_ways", alerts_are_tested_both_ways),
        test("alerts_and_runbooks_hold_together", alerts_and_runbooks_hold_together),
        test("rules_name_metrics_that_are_exposed", rules_name_metrics_that_are_exposed),
        test("thresholds_of_rules_can_be_configured", thresholds_of_rules_can_be_configured),
        test("the_table_of_alerts_is_fresh", the_table_of_alerts_is_fresh),
        test("runbooks_can_be_read_offline", runbooks_can_be_read_offline),
        test("a_runbook_is_where_its_alert_points", a_runbook_is_where_its_alert_points),
        test("a_vacuum_that_is_not_needed_is_not_overdue", a_vacuum_that_is_not_needed_is_not_overdue),
    ];
    for file in files("tests") {
        let name = format!("promtool_tests_{}", stem(&file));
        trials.push(test_with_tool(&name, tool("promtool"), move |promtool| run_unit_tests(promtool, &file)));
    }
    trials
}

pub fn alerts_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts")
}

/// The files of a directory below `alerts/`, by name.
pub fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(alerts_directory().join(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn yaml(file: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn rules() -> Vec<Value> {
    let groups =
        files("rules").into_iter().flat_map(|file| yaml(&file)["groups"].as_array().unwrap().clone());
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The alerts by name.
fn alerts() -> BTreeMap<String, Value> {
    let rules = rules().into_iter();
    rules.filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule.clone()))).collect()
}

/// Runs a tool, which must succeed.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn promtool_takes_the_rules(promtool: &str) {
    succeed(Command::new(promtool).args(["check", "rules"]).args(files("rules")));
}

fn run_unit_tests(promtool: &str, file: &Path) {
    succeed(Command::new(promtool).args(["test", "rules"]).arg(file));
}

fn amtool_takes_the_routes(amtool: &str) {
    let configuration = alerts_directory().join("alertmanager.yml");
    succeed(Command::new(amtool).arg("check-config").arg(&configuration));
    for (name, alert) in alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        let receiver = match (name.as_str(), severity) {
            ("Watchdog", _) => "dead_mans_switch",
            (_, "critical") => "pager",
            (_, "warning") => "ticket",
            _ => "nobody",
        };
        succeed(
            Command::new(amtool)
                .args(["config", "routes", "test"])
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--verify.receivers={receiver}"))
                .args([format!("alertname={name}"), format!("severity={severity}"), "db=books".to_owned()]),
        );
    }
    // Names in the rules of silence are checked by nobody else.
    let known = alerts();
    for rule in yaml(&configuration)["inhibit_rules"].as_array().unwrap() {
        for matcher in
            ["source_matchers", "target_matchers"].iter().flat_map(|key| rule[key].as_array().unwrap())
        {
            let matcher = matcher.as_str().unwrap();
            let Some(names) = matcher.strip_prefix("alertname").filter(|rest| !rest.contains('.')) else {
                continue;
            };
            for name in names.trim_matches(['=', '~', '!', '"']).split('|') {
                assert!(known.contains_key(name), "alertmanager.yml: there is no alert {name}");
            }
        }
    }
}

fn alerts_say_what_they_must() {
    for (name, alert) in alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: severity is {severity:?}");
        let annotation = |key: &str| {
            let text = alert["annotations"][key].as_str();
            text.unwrap_or_else(|| panic!("{name} has no {key}")).to_owned()
        };
        assert!(!annotation("summary").contains("{{"), "{name}: a summary is the same for every alert");
        let description = annotation("description");
        let must_name = |what: &str, exceptions: &[&str]| {
            assert!(
                description.contains(what) || exceptions.contains(&name.as_str()),
                "{name}: the description does not name {what}"
            );
        };
        must_name("$value", &[]);
        must_name("$labels.db ", &WITHOUT_DATABASE);
        must_name("$labels.instance ", &WITHOUT_INSTANCE);
        let runbook = annotation("runbook_url");
        assert_eq!(runbook.trim_end_matches(".md").rsplit('/').next(), Some(name.as_str()), "{name}");
        assert!(annotation("dashboard_url").contains('/'), "{name}");
        if !WITHOUT_INSTANCE.contains(&name.as_str()) {
            check_path_in_grafana(&name, &annotation("grafana_path"));
        }
    }
}

/// It leads to one of the dashboards, and chooses by variables that this one has.
fn check_path_in_grafana(alert: &str, path: &str) {
    let dashboards = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")).unwrap();
    let dashboards = dashboards
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .map(|file| serde_json::from_str::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap());
    let (address, query) = path.split_once('?').unwrap();
    let uid = address.strip_prefix("/d/").unwrap();
    let dashboard = dashboards.into_iter().find(|dashboard| dashboard["uid"] == uid);
    let dashboard = dashboard.unwrap_or_else(|| panic!("{alert}: there is no dashboard {uid}"));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let chosen: Vec<&str> = query.split('&').map(|part| part.split_once('=').unwrap().0).collect();
    for variable in &chosen {
        let name = variable.strip_prefix("var-").unwrap();
        assert!(variables.iter().any(|known| known["name"] == name), "{alert}: {uid} has no variable {name}");
    }
    let wanted = if WITHOUT_DATABASE.contains(&alert) { 2 } else { 3 };
    assert_eq!(chosen.len(), wanted, "{alert}: {path}");
}

fn alerts_are_tested_both_ways() {
    let tests: BTreeMap<String, Value> = files("tests").iter().map(|file| (stem(file), yaml(file))).collect();
    let names: BTreeSet<String> = alerts().into_keys().collect();
    assert_eq!(tests.keys().cloned().collect::<BTreeSet<_>>(), names, "alerts/tests has one file an alert");
    for (name, file) in tests {
        let cases: Vec<&Value> = file["tests"].as_array().unwrap().iter().collect();
        let expects = |kind: &str, fires: bool| {
            cases.iter().any(|case| {
                case["name"].as_str().unwrap().starts_with(kind)
                    && case["alert_rule_test"].as_array().unwrap().iter().any(|at| {
                        at["alertname"] == name.as_str()
                            && at["exp_alerts"].as_array().is_none_or(Vec::is_empty) != fires
                    })
            })
        };
        assert!(expects("fires: ", true), "{name} has no test that it fires");
        // A watchdog that is silent is what it warns of.
        assert!(expects("silent: ", false) || name == "Watchdog", "{name} has no test that it stays silent");
        for case in cases {
            let what = case["name"].as_str().unwrap();
            let some = case["alert_rule_test"].as_array().unwrap().iter();
            let fires = some.clone().any(|at| !at["exp_alerts"].as_array().is_none_or(Vec::is_empty));
            assert_eq!(what.starts_with("fires: "), fires, "{name}: {what}");
        }
    }
}

fn alerts_and_runbooks_hold_together() {
    let names: BTreeSet<String> = alerts().into_keys().collect();
    let embedded: BTreeSet<String> = RUNBOOKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let written: BTreeSet<String> = files("runbooks").iter().map(|file| stem(file)).collect();
    assert_eq!(embedded, names, "src/runbooks.rs lists the alerts");
    assert_eq!(written, names, "alerts/runbooks has one file an alert");
    let mut help: BTreeMap<String, String> = BTreeMap::new();
    for (name, text) in RUNBOOKS {
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        assert!(meaning(text).ends_with('.'), "{name}: the first line says what the alert means");
        for section in ["## Impact", "## Diagnosis\n\n```console\n$ ", "## Mitigation"] {
            assert!(text.contains(&format!("\n{section}")), "{name} has no {section}");
        }
        let in_blocks = text.lines().filter_map(|line| line.strip_prefix("$ litekeeper "));
        let in_words = text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("litekeeper "));
        for command in in_blocks.chain(in_words) {
            check_command(name, command, &mut help);
        }
    }
}

/// A command of a runbook must exist with its options, and what it names must too.
fn check_command(runbook: &str, command: &str, help: &mut BTreeMap<String, String>) {
    let words: Vec<&str> = command.split([' ', '|', '\n']).filter(|word| !word.is_empty()).collect();
    let subcommands = if words[0] == "config" { 2 } else { 1 };
    let reported = help.entry(words[..subcommands].join(" ")).or_insert_with(|| {
        let output = Output::of(&[&words[..subcommands], &["--help"]].concat());
        assert_eq!(output.code, Some(0), "{runbook}: `litekeeper {command}`: {}", output.stderr);
        output.stdout
    });
    for option in words.iter().filter(|word| word.starts_with("--")) {
        assert!(reported.contains(option), "{runbook}: `litekeeper {command}`: there is no {option}");
    }
    match (words[0], words.get(1)) {
        ("runbook", Some(name)) => assert!(alerts().contains_key(*name), "{runbook} points to {name}"),
        ("run", Some(task)) => assert!(reported.contains(task), "{runbook}: there is no task {task}"),
        _ => {}
    }
}

/// The metrics that an expression names.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let (mut depth, mut quoted) = (0, false);
    for letter in expression.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            _ if depth == 0 && !quoted => plain.push(letter),
            _ => {}
        }
    }
    let words = plain.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
    let ours = ["sqlite_", "litekeeper_", "process_", "instance_"];
    words.filter(|word| ours.iter().any(|head| word.starts_with(head))).map(str::to_owned).collect()
}

fn rules_name_metrics_that_are_exposed() {
    let reference = Output::of(&["metrics"]).stdout;
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `"));
    let exposed: BTreeSet<String> = rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect();
    let recorded: BTreeSet<String> =
        rules().iter().filter_map(|rule| rule["record"].as_str()).map(str::to_owned).collect();
    for name in &recorded {
        assert_eq!(name.split(':').count(), 3, "{name} is not level:metric:operation");
    }
    for rule in rules() {
        let of = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        for name in metrics_of(rule["expr"].as_str().unwrap()) {
            let known = exposed.contains(&name) || recorded.contains(&name);
            assert!(known, "{of} names {name}, which litekeeper does not expose");
        }
    }
}

fn thresholds_of_rules_can_be_configured() {
    let mark = "litekeeper_alert_threshold{alert=\"";
    let named: BTreeSet<String> = rules()
        .iter()
        .flat_map(|rule| {
            let expression = rule["expr"].as_str().unwrap().to_owned();
            let parts: Vec<String> = expression.split(mark).skip(1).map(str::to_owned).collect();
            parts
        })
        .map(|part| part.split('"').next().unwrap().to_owned())
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("litekeeper.yml");
    let check = |alerts: &str| {
        std::fs::write(&file, format!("databases: [{{path: a.db, alerts: {{{alerts}}}}}]\n")).unwrap();
        (Output::of(&[Path::new("config"), Path::new("check"), &file]), file.clone())
    };
    let all = named.iter().map(|name| format!("{name}: off")).collect::<Vec<_>>().join(", ");
    let (output, _) = check(&all);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    // The message for a name that is none lists all that are.
    let (output, _) = check("nonsense: off");
    let listed: BTreeSet<String> = output
        .stderr
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| named.contains(*word))
        .map(str::to_owned)
        .collect();
    let count = output
        .stderr
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with(char::is_uppercase))
        .count();
    assert_eq!((listed, count), (named.clone(), named.len()), "{}", output.stderr);
    for (wrong, reported) in [
        ("SqliteWalTooLarg: 1GiB", "did you mean `SqliteWalTooLarge`?"),
        ("SqliteDatabaseVanished: 3", "it can only be switched `off`"),
        ("SqliteGrowthAnomalous: much", "must be a number above 0"),
        ("SqliteWriterLockHeld: 3 parsecs", "SqliteWriterLockHeld"),
    ] {
        let (output, _) = check(wrong);
        assert_eq!(output.code, Some(2), "{wrong}");
        assert!(output.stderr.contains(reported), "{wrong}: {}", output.stderr);
    }
    // What is set arrives in base units, and is shown as it was written.
    let (output, file) = check(
        "SqliteWalTooLarge: 1GiB, SqliteWriterLockHeld: 2m, SqliteBusyErrors: off, SqliteGrowthAnomalous: 0.5",
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let shown = Output::of(&[Path::new("config"), Path::new("show"), &file]).stdout.replace('"', "");
    for line in [
        "SqliteWalTooLarge: 1GiB",
        "SqliteWriterLockHeld: 2m",
        "SqliteBusyErrors: off",
        "SqliteGrowthAnomalous: 0.5",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let mut command = crate::support::litekeeper();
    command.arg("serve").arg("--config").arg(&file);
    let scrape = Agent::start(command).ready().metrics();
    for (alert, value) in [
        ("SqliteWalTooLarge", 1_073_741_824.0),
        ("SqliteWriterLockHeld", 120.0),
        ("SqliteBusyErrors", f64::INFINITY),
        ("SqliteGrowthAnomalous", 0.5),
    ] {
        let labels = [("db", "a"), ("alert", alert)];
        assert_eq!(scrape.value("litekeeper_alert_threshold", &labels), Some(value), "{alert}");
    }
    assert_eq!(scrape.value("litekeeper_sample_interval_seconds", &[]), Some(15.0));
}

fn the_table_of_alerts_is_fresh() {
    let path = alerts_directory().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let head = "| alert | severity | for | meaning |\n|---|---|---|---|\n";
    let (before, rest) = text.split_once(head).expect("alerts/README.md has the table");
    let (table, after) = rest.split_at(rest.find("\n\n").unwrap() + 1);
    let mut fresh: Vec<(usize, String)> = Vec::new();
    for (name, alert) in alerts() {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        let order = ["critical", "warning", "info"].iter().position(|known| *known == severity).unwrap();
        let waits = alert["for"].as_str().unwrap_or("");
        let (_, runbook) = RUNBOOKS.iter().find(|(known, _)| *known == name).unwrap();
        let row =
            format!("| [`{name}`](runbooks/{name}.md) | {severity} | {waits} | {} |\n", meaning(runbook));
        fresh.push((order, row));
    }
    fresh.sort();
    let fresh: String = fresh.into_iter().map(|(_, row)| row).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}{head}{fresh}{after}")).unwrap();
        return;
    }
    assert_eq!(
        table, fresh,
        "UPDATE_GOLDEN=1 cargo test --test it writes the table of alerts/README.md anew"
    );
}

fn runbooks_can_be_read_offline() {
    let listed = Output::of(&["runbook"]);
    assert_eq!(listed.code, Some(0));
    assert_eq!(listed.stdout.lines().count(), RUNBOOKS.len());
    assert!(listed.stdout.contains("SqliteDown"));
    for name in ["SqliteDown", "sqlitedown"] {
        let printed = Output::of(&["runbook", name]);
        assert!(printed.stdout.starts_with("# SqliteDown\n"), "{printed:?}");
    }
    let misspelt = Output::of(&["runbook", "SqliteIntegrityChekFailed"]);
    assert_eq!(misspelt.code, Some(2));
    assert!(misspelt.stderr.contains("did you mean SqliteIntegrityCheckFailed?"), "{misspelt:?}");
    let unknown = Output::of(&["runbook", "DiskFull"]);
    assert!(unknown.stderr.contains("`litekeeper runbook` lists all"), "{unknown:?}");
}

fn a_runbook_is_where_its_alert_points() {
    let database = TestDatabase::new("books").make();
    let agent = Agent::serve(&[database.path()]).ready();
    let answer = agent.get("/runbooks/SqliteDown");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert!(answer.text().starts_with("# SqliteDown\n"));
    assert_eq!(agent.get("/db/books").status, 200);
    for nowhere in ["/runbooks/", "/runbooks/Nothing", "/runbooks"] {
        assert_eq!(agent.get(nowhere).status, 404, "{nowhere}");
    }
}

/// LitekeeperJobOverdue asks for a success, and a vacuum of a tidy database never deletes anything.
fn a_vacuum_that_is_not_needed_is_not_overdue() {
    let database = TestDatabase::new("books").rows(10).make();
    let file = database.directory().join("litekeeper.yml");
    let text = "state: state.db\ndatabases: [{path: books.db, tasks: {vacuum: {}}}]\n";
    std::fs::write(&file, text).unwrap();
    let run = || {
        let words = ["run", "vacuum", "--json", "--config"].map(Path::new);
        let output = Output::of(&[&words[..], &[&file]].concat());
        assert!(output.stdout.contains("below_threshold"), "{output:?}");
    };
    run();
    let mut command = crate::support::litekeeper();
    command.arg("serve").arg("--config").arg(&file);
    let agent = Agent::start(command).ready();
    let last = || {
        let labels = [("db", "books"), ("task", "vacuum")];
        agent.metrics().value("litekeeper_job_last_success_timestamp_seconds", &labels)
    };
    let before = eventually("it is known from before the start", last);
    run();
    eventually("it is seen while the agent serves", || last().filter(|now| *now > before));
}
