//! The rules of Grafana's dashboard-linter, and some of our own.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

use super::Dashboard;
use super::dashboards;
use super::directory;
use super::list;
use super::text;

/// What Prometheus itself adds to a scrape.
const OF_PROMETHEUS: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

/// Labels whose names could be those of metrics.
const LABELS: [&str; 1] = ["sqlite_version"];

/// Grafana's names of the units in use here.
const UNITS: [&str; 7] = ["bytes", "s", "short", "percentunit", "ops", "dateTimeFromNow", "none"];

/// What an override may change, besides what only a type of panel has.
const PROPERTIES: [&str; 7] =
    ["unit", "displayName", "links", "mappings", "thresholds", "decimals", "noValue"];

pub fn dashboards_keep_the_rules() {
    let findings: Vec<String> = dashboards().iter().flat_map(findings).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    let uids: Vec<String> =
        dashboards().iter().map(|dashboard| text(&dashboard.body["uid"]).to_owned()).collect();
    // Alerts and bookmarks lead to them.
    assert_eq!(
        uids,
        ["litekeeper-agent", "litekeeper-database", "litekeeper-fleet", "litekeeper-maintenance"]
    );
}

/// Every rule that a dashboard breaks.
fn findings(dashboard: &Dashboard) -> Vec<String> {
    let mut findings = Vec::new();
    let mut rule = |kept: bool, finding: String| {
        if !kept {
            findings.push(format!("{}: {finding}", dashboard.name));
        }
    };
    let body = &dashboard.body;
    for (name, expected) in [("editable", json!(false)), ("schemaVersion", json!(38)), ("version", json!(1))]
    {
        rule(body[name] == expected, format!("{name} is {}", body[name]));
    }
    rule(!text(&body["description"]).is_empty(), "it says nothing about itself".to_owned());
    rule(
        list(&body["tags"]).contains(&json!("litekeeper")),
        "the links between dashboards go by the tag".to_owned(),
    );
    findings.extend(variable_findings(dashboard));
    for panel in dashboard.panels() {
        findings.extend(
            panel_findings(panel).into_iter().map(|finding| format!("{}: {finding}", dashboard.name)),
        );
    }
    for question in dashboard.panel_queries() {
        let wrong = question_findings(&question.expression, dashboard.name != "agent.json");
        findings.extend(wrong.into_iter().map(|finding| format!("{}: {finding}", question.location)));
    }
    findings
}

fn variable_findings(dashboard: &Dashboard) -> Vec<String> {
    let mut findings = Vec::new();
    let names: Vec<&str> = dashboard.variables().iter().map(|variable| text(&variable["name"])).collect();
    let expected = if dashboard.name == "agent.json" {
        vec!["datasource", "job", "instance"]
    } else {
        vec!["datasource", "job", "instance", "db"]
    };
    if names != expected {
        findings.push(format!("variables {names:?}"));
    }
    for variable in dashboard.variables() {
        let label = match text(&variable["name"]) {
            "datasource" => "Data source",
            "job" => "Job",
            "instance" => "Instance",
            _ => "Database",
        };
        let mut wanted = vec![("label", json!(label))];
        if label == "Data source" {
            wanted.extend([("type", json!("datasource")), ("query", json!("prometheus"))]);
        } else {
            wanted.extend([
                ("type", json!("query")),
                ("multi", json!(true)),
                ("includeAll", json!(true)),
                ("allValue", json!(".+")),
                // Again whenever the time range changes.
                ("refresh", json!(2)),
                ("datasource", json!({"type": "prometheus", "uid": "${datasource}"})),
            ]);
        }
        for (key, value) in wanted.into_iter().filter(|(key, value)| variable[key] != *value) {
            findings.push(format!("variable {}: {key} is not {value}", variable["name"]));
        }
    }
    findings
}

fn panel_findings(panel: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let mut rule = |kept: bool, finding: &str| {
        if !kept {
            findings.push(format!("panel {}: {finding}", panel["title"]));
        }
    };
    let datasource = json!({"type": "prometheus", "uid": "${datasource}"});
    rule(!text(&panel["title"]).is_empty(), "no title");
    rule(text(&panel["description"]).ends_with('.'), "no description");
    rule(UNITS.contains(&text(&panel["fieldConfig"]["defaults"]["unit"])), "no unit that is known");
    rule(panel["datasource"] == datasource, "its data source is not the variable");
    rule(!list(&panel["targets"]).is_empty(), "it asks nothing");
    for target in list(&panel["targets"]) {
        rule(target["datasource"] == datasource, "a question's data source is not the variable");
        rule(target["instant"] != target["range"], "a question is either for now or for the time range");
        let is_table = panel["type"] == "table";
        rule((target["format"] == "table") == is_table, "a table's answers have the form of tables");
        rule(
            is_table != target["legendFormat"].as_str().is_some_and(|legend| !legend.is_empty()),
            "a legend",
        );
        let expression = text(&target["expr"]);
        if expression.contains("litekeeper_job_duration_seconds_bucket") {
            rule(target["exemplar"] == true, "durations show exemplars");
        }
        if panel["type"] == "heatmap" {
            rule(target["format"] == "heatmap", "a heatmap asks for buckets");
        } else {
            rule(
                !expression.contains("_bucket") || expression.contains("histogram_quantile("),
                "buckets are for quantiles",
            );
        }
    }
    for property in
        list(&panel["fieldConfig"]["overrides"]).iter().flat_map(|entry| list(&entry["properties"]))
    {
        let id = text(&property["id"]);
        rule(id.starts_with("custom.") || PROPERTIES.contains(&id), "an override of what there is not");
        rule(id != "unit" || UNITS.contains(&text(&property["value"])), "an override with an unknown unit");
    }
    findings
}

/// A selector of an expression, and what is around it.
struct Selector<'a> {
    metric: &'a str,
    labels: &'a str,
    before: &'a str,
    after: &'a str,
}

fn selectors(expression: &str) -> Vec<Selector<'_>> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let selector = |(at, _): (usize, &str)| {
        let (head, rest) = expression.split_at(at);
        let before = head.trim_end_matches(is_part);
        let (labels, after) = rest[1..].split_once('}').unwrap();
        Selector { metric: &head[before.len()..], labels, before, after }
    };
    expression.match_indices('{').map(selector).collect()
}

fn question_findings(expression: &str, of_databases: bool) -> Vec<String> {
    let mut findings = Vec::new();
    let mut rule = |kept: bool, finding: String| {
        if !kept {
            findings.push(format!("{finding}: {expression}"));
        }
    };
    for Selector { metric, labels, before, after } in selectors(expression) {
        let has = |matcher: &str| labels.split(", ").any(|label| label == matcher);
        rule(has(r#"job=~"$job""#) && has(r#"instance=~"$instance""#), format!("{metric} of every job"));
        let has_databases = metric.starts_with("sqlite_")
            || (metric.starts_with("litekeeper_job_") && !metric.contains("_duration_seconds_bucket"));
        rule(!(of_databases && has_databases) || has(r#"db=~"$db""#), format!("{metric} of every database"));
        let of = |function: &str| before.ends_with(&format!("{function}("));
        if metric.ends_with("_total") {
            rule((of("rate") || of("increase")) && after.starts_with('['), format!("{metric} is a counter"));
        }
        if of("rate") {
            rule(after.starts_with("[$__rate_interval]"), "a rate is over $__rate_interval".to_owned());
        }
        if of("increase") {
            let known = ["[$__rate_interval]", "[$__range]"].iter().any(|range| after.starts_with(range));
            rule(known, "an increase is over a window of Grafana's".to_owned());
        }
    }
    // Every metric has a selector: a name without one would be of every agent there is.
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        (word.starts_with("sqlite_") || word.starts_with("litekeeper_")) && !LABELS.contains(word)
    };
    let bare = words.filter(is_metric);
    let selected: BTreeSet<&str> = selectors(expression).iter().map(|selector| selector.metric).collect();
    for word in bare {
        rule(selected.contains(word), format!("{word} has no selector"));
    }
    findings
}

/// A mistake in a dashboard: where, and what is put there.
const MISTAKES: [(&str, &str); 9] = [
    ("/panels/1/title", r#""""#),
    ("/panels/1/description", r#""Size""#),
    ("/panels/1/fieldConfig/defaults/unit", r#""byte""#),
    ("/panels/1/datasource/uid", r#""prometheus""#),
    ("/panels/1/targets/0/expr", r#""count(sqlite_up)""#),
    ("/panels/1/targets/0/expr", r#""count(sqlite_up{job=~\"$job\", instance=~\"$instance\"})""#),
    (
        "/panels/1/targets/0/expr",
        r#""sqlite_errors_total{job=~\"$job\", instance=~\"$instance\", db=~\"$db\"}""#,
    ),
    (
        "/panels/1/targets/0/expr",
        r#""rate(sqlite_errors_total{job=~\"$job\", instance=~\"$instance\", db=~\"$db\"}[5m])""#,
    ),
    ("/templating/list/1/allValue", r#"".*""#),
];

pub fn planted_mistakes_are_found() {
    for (location, mistake) in MISTAKES {
        let mut fleet = dashboards().into_iter().find(|dashboard| dashboard.name == "fleet.json").unwrap();
        assert!(findings(&fleet).is_empty());
        *fleet.body.pointer_mut(location).unwrap() = serde_json::from_str(mistake).unwrap();
        assert!(!findings(&fleet).is_empty(), "{mistake} at {location} is not found");
    }
}

const COLUMNS: u64 = 24;

pub fn dashboards_are_laid_out() {
    for Dashboard { name, body } in dashboards() {
        let mut cells = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut bottom = 0;
        for panel in list(&body["panels"]) {
            let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            let (x, y, width, height) = (number("x"), number("y"), number("w"), number("h"));
            assert!(x + width <= COLUMNS, "{name}: {} goes beyond the right edge", panel["title"]);
            for cell in (y..y + height).flat_map(|row| (x..x + width).map(move |column| (row, column))) {
                assert!(cells.insert(cell), "{name}: {} overlaps another at {cell:?}", panel["title"]);
            }
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: two panels have one number");
            bottom = bottom.max(y + height);
        }
        let gaps: Vec<_> = (0..bottom)
            .flat_map(|row| (0..COLUMNS).map(move |column| (row, column)))
            .filter(|cell| !cells.contains(cell))
            .collect();
        assert!(gaps.is_empty(), "{name}: nothing at {:?} and {} more", gaps[0], gaps.len() - 1);
    }
}

pub fn metrics_exist() {
    let reference = directory().join("../docs/METRICS.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    for question in dashboards().iter().flat_map(Dashboard::panel_queries) {
        for Selector { metric, .. } in selectors(&question.expression) {
            let family =
                ["_bucket", "_count"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(metric);
            let known = reference.contains(&format!("| `{family}` |")) || OF_PROMETHEUS.contains(&metric);
            assert!(known, "{}: there is no metric {metric}", question.location);
        }
    }
}

/// A file of YAML as JSON.
fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(directory().join("provisioning").join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

pub fn dashboards_are_provisioned() {
    let provider = &yaml("dashboards/litekeeper.yml")["providers"][0];
    assert_eq!(provider["type"], "file");
    assert_eq!(provider["options"]["path"], "/var/lib/grafana/dashboards");
    let sources = yaml("datasources/litekeeper.yml");
    let sources = list(&sources["datasources"]);
    let prometheus = sources.iter().find(|source| source["type"] == "prometheus").unwrap();
    assert_eq!(prometheus["isDefault"], true, "the variable of the dashboards begins with the default");
    let exemplars = &prometheus["jsonData"]["exemplarTraceIdDestinations"][0];
    assert_eq!(exemplars["name"], "trace_id", "the label of litekeeper's exemplars");
    let destination = sources.iter().find(|source| source["uid"] == exemplars["datasourceUid"]).unwrap();
    assert!(["tempo", "jaeger"].contains(&text(&destination["type"])));
}
