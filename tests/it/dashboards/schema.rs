//! The dashboards against the types of `@grafana/schema`, as JSON Schemas without additional properties.

use std::path::Path;

use serde_json::Value;
use serde_json::json;

use super::Dashboard;
use super::dashboards;
use super::list;
use super::text;

/// What real Grafana writes in annotations of Prometheus, and the schema, which knows only Grafana's own, does not have.
const TEXTS_OF_PROMETHEUS_ANNOTATIONS: [&str; 5] = ["expr", "step", "titleFormat", "textFormat", "tagKeys"];

/// Types of panels by their names and by those of their schemas; the second has settings of fields of its own.
const PANELS: [(&str, &str, bool); 6] = [
    ("bargauge", "bargauge", false),
    ("heatmap", "heatmap", true),
    ("stat", "stat", false),
    ("state-timeline", "statetimeline", true),
    ("table", "table", true),
    ("timeseries", "timeseries", true),
];

/// The schemas, read once.
struct Schemas {
    dashboard: jsonschema::Validator,
    target: jsonschema::Validator,
    panels: Vec<(&'static str, jsonschema::Validator, Option<jsonschema::Validator>)>,
}

fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grafana").join(format!("{name}.json"));
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

impl Schemas {
    fn read() -> Self {
        let panel = |&(kind, name, has_fields): &(&'static str, &str, bool)| {
            let fields = has_fields.then(|| schema(&format!("{name}-field")));
            (kind, schema(&format!("{name}-options")), fields)
        };
        let panels = PANELS.iter().map(panel).collect();
        Self { dashboard: schema("dashboard"), target: schema("target"), panels }
    }

    /// Everything that is wrong with a dashboard.
    fn findings(&self, Dashboard { name, body }: &Dashboard) -> Vec<String> {
        let mut findings = Vec::new();
        let mut check = |what: &str, schema: &jsonschema::Validator, value: &Value| {
            let errors = schema.iter_errors(value);
            findings
                .extend(errors.map(|error| format!("{name}, {what}, {}: {error}", error.instance_path())));
        };
        check("as a whole", &self.dashboard, &without_extras(body));
        for panel in list(&body["panels"]).iter().filter(|panel| panel["type"] != "row") {
            let what = format!("{} {}", panel["type"], panel["title"]);
            for target in list(&panel["targets"]) {
                check(&what, &self.target, target);
            }
            let Some((_, options, fields)) = self.panels.iter().find(|(kind, ..)| panel["type"] == *kind)
            else {
                findings.push(format!("{name}, {what}: not a type of panel that Grafana 9.4 has"));
                return findings;
            };
            check(&what, options, &without_old_names(&panel["options"]));
            for custom in with_overrides(&panel["fieldConfig"]) {
                match fields {
                    Some(fields) => check(&what, fields, &custom),
                    None => assert!(custom.is_null(), "{name}, {what} has no settings of fields"),
                }
            }
        }
        findings
    }
}

/// The settings of fields that only a type of panel has, first as they are for every field, then as each override makes them.
fn with_overrides(config: &Value) -> Vec<Value> {
    let custom = &config["defaults"]["custom"];
    let mut all = vec![custom.clone()];
    for given in list(&config["overrides"]) {
        let mut changed = custom.clone();
        for property in list(&given["properties"]) {
            if let Some(name) = text(&property["id"]).strip_prefix("custom.") {
                changed[name] = property["value"].clone();
            }
        }
        all.push(changed);
    }
    all
}

/// Options without those that only older Grafanas ask for.
fn without_old_names(options: &Value) -> Value {
    let mut options = options.clone();
    if let Some(tooltip) = options.get_mut("tooltip").and_then(Value::as_object_mut) {
        let show = tooltip.remove("show");
        assert!(show.is_none_or(|show| show.is_boolean()));
    }
    options
}

/// A dashboard without what Grafana writes and its schema lacks; that has the right types is seen to here.
fn without_extras(dashboard: &Value) -> Value {
    let mut dashboard = dashboard.clone();
    for annotation in dashboard["annotations"]["list"].as_array_mut().unwrap() {
        let annotation = annotation.as_object_mut().unwrap();
        for name in TEXTS_OF_PROMETHEUS_ANNOTATIONS {
            let value = annotation.remove(name);
            assert!(value.as_ref().is_some_and(Value::is_string), "{name} of an annotation is {value:?}");
        }
        assert_eq!(
            annotation.remove("useValueForTime"),
            Some(json!(true)),
            "an annotation is where the run ended"
        );
    }
    for variable in dashboard["templating"]["list"].as_array_mut().unwrap() {
        if let Some(definition) = variable.as_object_mut().unwrap().remove("definition") {
            assert_eq!(definition, variable["query"]["query"], "the definition is shown, the query is asked");
        }
    }
    dashboard
}

pub fn dashboards_have_the_form() {
    let schemas = Schemas::read();
    let findings: Vec<String> =
        dashboards().iter().flat_map(|dashboard| schemas.findings(dashboard)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Where a mistake is planted, and what.
const MISTAKES: [(&str, Value); 8] = [
    ("/panels/1/gridPos/height", Value::Bool(true)),
    ("/panels/1/fieldConfig/defaults/units", Value::Null),
    ("/panels/1/targets/0/legend", Value::Null),
    ("/panels/1/options/color", Value::Null),
    ("/panels/8/fieldConfig/defaults/custom/celloptions", Value::Null),
    ("/templating/list/1/multiple", Value::Null),
    ("/schema_version", Value::Null),
    ("/refresh", Value::Bool(false)),
];

pub fn planted_mistakes_are_found() {
    let schemas = Schemas::read();
    let fleet = dashboards().into_iter().find(|dashboard| dashboard.name == "fleet.json").unwrap();
    for (location, mistake) in MISTAKES {
        let (parent, key) = location.rsplit_once('/').unwrap();
        let mut body = fleet.body.clone();
        body.pointer_mut(parent).unwrap_or_else(|| panic!("there is no {parent}"))[key] = mistake;
        let wrong = Dashboard { name: "planted".to_owned(), body };
        assert!(!schemas.findings(&wrong).is_empty(), "a mistake at {location} is not found");
    }
    let mut body = fleet.body;
    body["panels"][1]["type"] = json!("canvas");
    assert!(!schemas.findings(&Dashboard { name: "planted".to_owned(), body }).is_empty());
}
