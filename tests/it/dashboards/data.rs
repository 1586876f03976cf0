//! Every question of the dashboards, asked of a real Prometheus that has scraped the demo.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::process::Command;

use serde_json::Value;

use crate::support::Agent;
use crate::support::Prometheus;
use crate::support::eventually;
use crate::support::litekeeper;

use super::Dashboard;
use super::dashboards;
use super::list;
use super::text;

/// An expression as Grafana sends it with everything chosen.
fn as_sent(expression: &str) -> String {
    [("$job", ".+"), ("$instance", ".+"), ("$db", ".+"), ("$__rate_interval", "1m"), ("$__range", "10m")]
        .iter()
        .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

pub fn promtool_takes_the_queries(promtool: &str) {
    let panel_queries = dashboards().iter().flat_map(Dashboard::panel_queries).collect::<Vec<_>>();
    let rules: Vec<Value> = panel_queries
        .iter()
        .enumerate()
        .map(|(number, question)| {
            serde_json::json!({"record": format!("question:{number}"), "expr": as_sent(&question.expression)})
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yml");
    let groups = serde_json::json!({"groups": [{"name": "dashboards", "rules": rules}]});
    std::fs::write(&file, groups.to_string()).unwrap();
    let output = Command::new(promtool).arg("check").arg("rules").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("{} rules found", panel_queries.len())), "{said}");
}

/// The demo under the eyes of a Prometheus.
struct PrometheusData<'a> {
    prometheus: &'a Prometheus,
}

impl PrometheusData<'_> {
    /// What Prometheus answers now.
    fn answer(&self, expression: &str) -> Vec<Value> {
        let sent = as_sent(expression);
        let encoded: String = sent.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer =
            eventually("Prometheus answers", || self.prometheus.api(&format!("query?query={encoded}")));
        assert_eq!(answer["status"], "success", "{sent}: {answer}");
        list(&answer["data"]["result"]).to_vec()
    }

    /// An answer with at least one number in it.
    fn numbers(&self, what: &str, expression: &str) -> Vec<Value> {
        eventually(&format!("{what} has data: {}", as_sent(expression)), || {
            let answer = self.answer(expression);
            let is_number = |result: &Value| text(&result["value"][1]) != "NaN";
            answer.iter().any(is_number).then_some(answer)
        })
    }

    fn panel(&self, name: &str, panel: &Value) {
        let what = format!("{name}: {}", text(&panel["title"]));
        let mut seen = Vec::new();
        for target in list(&panel["targets"]) {
            let expression = text(&target["expr"]);
            let answer = self.numbers(&what, expression);
            for placeholder in placeholders(text(&target["legendFormat"])) {
                assert!(
                    answer.iter().all(|result| result["metric"][placeholder].is_string()),
                    "{what}: the legend's {placeholder} is no label of {expression}"
                );
            }
            seen.push(labels(&answer));
        }
        if panel["type"] == "table" {
            assert_rows_meet(&what, panel, &seen);
        }
    }
}

fn placeholders(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap())
}

fn labels(answer: &[Value]) -> BTreeSet<String> {
    answer.iter().flat_map(|result| result["metric"].as_object().unwrap().keys().cloned()).collect()
}

/// Grafana makes one row of answers whose common labels are equal: each answer has to have those that all have, and no
/// label that the table does not show.
fn assert_rows_meet(what: &str, panel: &Value, seen: &[BTreeSet<String>]) {
    let organize = &panel["transformations"][1]["options"];
    let shown: BTreeSet<String> = organize["indexByName"].as_object().unwrap().keys().cloned().collect();
    let Some(common) = seen.iter().min_by_key(|labels| labels.len()) else { return };
    for labels in seen {
        assert!(labels.is_subset(&shown), "{what}: labels without a column, {labels:?}");
        assert!(labels.is_superset(common), "{what}: {labels:?} and {common:?} make no row");
    }
}

pub fn every_panel_has_data(program: &str) {
    // In memory where that can be had: the runs of the demo commit often, and a busy disk would make them long.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut command = litekeeper();
    command.arg("demo").env("TMPDIR", directory.path());
    let agent = Agent::start(command).ready();
    let prometheus = Prometheus::scraping(program, agent.address(), directory.path());
    // Each task of the demo runs once soon after its start, the last database's last.
    prometheus.until("sum(litekeeper_job_runs_total) + sum(litekeeper_job_skips_total) >= bool 8", 1.0);
    let watched = PrometheusData { prometheus: &prometheus };
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            watched.panel(&dashboard.name, panel);
        }
        for annotation in dashboard.annotations() {
            watched.numbers(text(&annotation["name"]), text(&annotation["expr"]));
        }
        for variable in dashboard.variables().iter().filter(|variable| variable["type"] == "query") {
            assert_has_values(&prometheus, variable);
        }
    }
    assert_damage_is_first(&watched);
}

/// `label_values(selector, label)`, asked as Grafana asks it.
fn assert_has_values(prometheus: &Prometheus, variable: &Value) {
    let query = text(&variable["query"]["query"]);
    let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let (selector, label) = inside.rsplit_once(", ").unwrap();
    let encoded: String = as_sent(selector).bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = prometheus.api(&format!("label/{label}/values?match[]={encoded}")).unwrap();
    assert!(!list(&answer["data"]).is_empty(), "{query}: {answer}");
}

/// The column by which the fleet is sorted says of each database what is worst about it.
fn assert_damage_is_first(watched: &PrometheusData<'_>) {
    let fleet = dashboards().into_iter().find(|dashboard| dashboard.name == "fleet.json").unwrap();
    let table = fleet.panels().find(|panel| panel["type"] == "table").unwrap();
    let states: HashMap<String, String> = watched
        .answer(text(&table["targets"][0]["expr"]))
        .iter()
        .map(|result| (text(&result["metric"]["db"]).to_owned(), text(&result["value"][1]).to_owned()))
        .collect();
    for (db, state) in [("damaged", "4"), ("flipped", "4"), ("books", "0"), ("queue", "0"), ("bloated", "0")]
    {
        assert_eq!(states[db], state, "{db}: {states:?}");
    }
}
