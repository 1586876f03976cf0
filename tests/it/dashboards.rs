//! The dashboards: fresh, of a form that Grafana knows, by the rules of its linter, and with data in every panel when a
//! real Prometheus has scraped the demo.

mod data;
mod rules;
mod schema;
#[path = "../../dashboards/source/mod.rs"]
mod source;

use std::path::Path;
use std::path::PathBuf;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test("dashboards_are_fresh", dashboards_are_fresh),
        test("dashboards_have_the_form_that_grafana_knows", schema::dashboards_have_the_form),
        test("dashboards_schemas_find_planted_mistakes", schema::planted_mistakes_are_found),
        test("dashboards_keep_the_rules_of_the_linter", rules::dashboards_keep_the_rules),
        test("dashboards_rules_find_planted_mistakes", rules::planted_mistakes_are_found),
        test("dashboards_have_neither_gaps_nor_overlaps", rules::dashboards_are_laid_out),
        test("dashboards_name_metrics_that_exist", rules::metrics_exist),
        test("dashboards_are_provisioned", rules::dashboards_are_provisioned),
        test_with_tool(
            "promtool_takes_the_dashboards_queries",
            tool("promtool"),
            data::promtool_takes_the_queries,
        ),
        test_with_tool(
            "dashboards_have_data_in_every_panel_on_the_demo",
            tool("prometheus"),
            data::every_panel_has_data,
        ),
    ]
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn dashboards_are_fresh() {
    for (name, dashboard) in source::all() {
        let path = directory().join(name);
        let now = format!("{}\n", serde_json::to_string_pretty(&dashboard).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == now,
            "dashboards/{name} is not what dashboards/source makes; change it there, then \
             UPDATE_GOLDEN=1 cargo test --test it dashboards_are_fresh"
        );
    }
}

/// A dashboard as it is in its file.
struct Dashboard {
    name: String,
    body: Value,
}

/// A question that a dashboard asks Prometheus.
struct PanelQuery {
    /// Where it is asked, for people.
    location: String,
    expression: String,
}

fn dashboards() -> Vec<Dashboard> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert_eq!(files.len(), source::all().len(), "a dashboard that nobody makes, or one that is missing");
    files
        .iter()
        .map(|path| Dashboard {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            body: serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(),
        })
        .collect()
}

/// The elements of a list in JSON; none when it is not there.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Dashboard {
    fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.body["panels"]).iter().filter(|panel| panel["type"] != "row")
    }

    fn variables(&self) -> &[Value] {
        list(&self.body["templating"]["list"])
    }

    fn annotations(&self) -> &[Value] {
        list(&self.body["annotations"]["list"])
    }

    /// Every expression: those of panels and those of annotations.
    fn panel_queries(&self) -> Vec<PanelQuery> {
        let question = |location: &Value, expression: &Value| PanelQuery {
            location: format!("{}: {}", self.name, text(location)),
            expression: text(expression).to_owned(),
        };
        let of_panels = self.panels().flat_map(|panel| {
            list(&panel["targets"]).iter().map(|target| question(&panel["title"], &target["expr"]))
        });
        let of_annotations = self.annotations().iter().map(|entry| question(&entry["name"], &entry["expr"]));
        of_panels.chain(of_annotations).collect()
    }
}
