//! The dashboards, as they are written before they are JSON.
//!
//! `dashboards/*.json` are generated from here: `UPDATE_GOLDEN=1 cargo test --test it dashboards`. What a panel says
//! about itself stands once, in one place, and what all panels share (the data source, the selectors, the layout)
//! cannot be forgotten in one of them.

mod agent;
mod database;
mod fleet;
mod maintenance;
pub mod panel;

use serde_json::Value;
use serde_json::json;

use self::panel::Panel;
use self::panel::colour;
use self::panel::datasource;
use self::panel::written_out;

/// What a link to another dashboard takes along.
const CARRIED: &str = "${datasource:queryparam}&${job:queryparam}&${__url_time_range}";

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// A heading with panels below it.
pub struct Section {
    title: &'static str,
    panels: Vec<Panel>,
}

/// A dashboard before it is laid out.
pub struct Dashboard {
    /// The stable name that links and alerts use.
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    /// How far back it looks at first.
    from: &'static str,
    /// Whether it can be limited to some databases.
    has_databases: bool,
    /// Whether finished runs are marked on it.
    has_runs: bool,
    sections: Vec<Section>,
}

/// Every dashboard with the name of its file, worst news first.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("fleet.json", fleet::dashboard().build()),
        ("database.json", database::dashboard().build()),
        ("maintenance.json", maintenance::dashboard().build()),
        ("agent.json", agent::dashboard().build()),
    ]
}

fn section(title: &'static str, panels: Vec<Panel>) -> Section {
    Section { title, panels }
}

/// Where a row of a table that has the fields `db` and `instance` leads.
fn link_to(uid: &str, fields: &[&str]) -> String {
    let fields: String =
        fields.iter().map(|field| format!("&var-{field}=${{__data.fields.{field}}}")).collect();
    format!("/d/{uid}?{CARRIED}{fields}")
}

impl Dashboard {
    fn build(self) -> Value {
        let mut variables = vec![
            data_source_variable(),
            variable("job", "Job", "label_values(litekeeper_build_info, job)"),
            variable("instance", "Instance", r#"label_values(litekeeper_build_info{job=~"$job"}, instance)"#),
        ];
        if self.has_databases {
            let query = r#"label_values(sqlite_up{job=~"$job", instance=~"$instance"}, db)"#;
            variables.push(variable("db", "Database", query));
        }
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["litekeeper", "sqlite"],
            "schemaVersion": 38,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": self.from, "to": "now"},
            "refresh": "1m",
            "annotations": {"list": if self.has_runs { runs() } else { Vec::new() }},
            "links": [{
                "type": "dashboards", "title": "litekeeper", "tags": ["litekeeper"], "icon": "external link",
                "tooltip": "The other dashboards of litekeeper, with the same choice and time", "url": "",
                "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false,
            }],
            "templating": {"list": variables},
            "panels": laid_out(self.sections),
        })
    }
}

fn data_source_variable() -> Value {
    json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "", "skipUrlSync": false,
    })
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(),
        "query": {"query": query, "refId": name}, "definition": query,
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        "includeAll": true, "multi": true, "allValue": ".+", "refresh": 2, "sort": 1,
        "hide": 0, "options": [], "regex": "", "skipUrlSync": false,
    })
}

/// Marks of finished runs. Each is where the run ended, as its time is the value of the series, not where a scrape saw it.
fn runs() -> Vec<Value> {
    [("Runs that succeeded", colour::GOOD, 1), ("Runs that failed", colour::BAD, 0)]
        .map(|(name, colour, success)| {
            let expression = written_out(&format!(
                "litekeeper_job_last_completion_timestamp_seconds{{@db}} * 1000
                 and on (instance, db, task) litekeeper_job_last_run_success{{@db}} == {success}"
            ));
            json!({
                "name": name, "enable": true, "hide": false, "iconColor": colour, "datasource": datasource(),
                "expr": expression, "step": "60s", "useValueForTime": true,
                "titleFormat": "{{task}} of {{db}}", "textFormat": name, "tagKeys": "db,task,instance",
            })
        })
        .to_vec()
}

/// Gives every panel its place: from left to right, a new line where the width ends, a new one for each section.
fn laid_out(sections: Vec<Section>) -> Vec<Value> {
    let (mut placed, mut y) = (Vec::new(), 0);
    let mut id = 0;
    for section in sections {
        id += 1;
        placed.push(json!({
            "type": "row", "id": id, "title": section.title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        }));
        y += 1;
        let (mut x, mut line) = (0, 0);
        for Panel { mut body, width, height } in section.panels {
            if x + width > COLUMNS {
                (x, y, line) = (0, y + line, 0);
            }
            id += 1;
            body["id"] = json!(id);
            body["gridPos"] = json!({"x": x, "y": y, "w": width, "h": height});
            placed.push(body);
            (x, line) = (x + width, line.max(height));
        }
        y += line;
    }
    placed
}
