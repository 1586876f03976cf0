//! One panel: what is asked, and how Grafana is to draw it.
//!
//! Only panel types and options that Grafana 9.4 has; a newer one draws them as well.

use serde_json::Value;
use serde_json::json;

/// The units in use, by Grafana's names for them.
pub mod unit {
    pub const BYTES: &str = "bytes";
    pub const SECONDS: &str = "s";
    /// A number of things, shortened when it is large.
    pub const SHORT: &str = "short";
    /// A ratio from 0 to 1.
    pub const SHARE: &str = "percentunit";
    pub const PER_SECOND: &str = "ops";
    /// Milliseconds since 1970, shown as "3 hours ago" or "in 2 hours".
    pub const FROM_NOW: &str = "dateTimeFromNow";
    /// A state that is mapped to a word.
    pub const WORD: &str = "none";
}

/// Colours by what they say.
pub mod colour {
    pub const GOOD: &str = "green";
    pub const NOTE: &str = "yellow";
    pub const WARNING: &str = "orange";
    pub const BAD: &str = "red";
    pub const WORST: &str = "dark-red";
    pub const QUIET: &str = "blue";
}

/// The labels of a database's series that every selector names, and those of an agent's.
const SELECTORS: [(&str, &str); 2] = [
    ("@db", r#"job=~"$job", instance=~"$instance", db=~"$db""#),
    ("@agent", r#"job=~"$job", instance=~"$instance""#),
];

/// Writes `@db` and `@agent` out.
pub fn written_out(expression: &str) -> String {
    let lines = expression.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    SELECTORS.iter().fold(lines.trim().to_owned(), |text, (short, long)| text.replace(short, long))
}

/// The data source that the variable chooses.
pub fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// A panel before it has a place.
pub struct Panel {
    pub body: Value,
    pub width: u64,
    pub height: u64,
}

impl Panel {
    fn new(kind: &str, title: &str, description: &str, unit: &str, options: Value) -> Self {
        let body = json!({
            "type": kind,
            "title": title,
            "description": description,
            "datasource": datasource(),
            "fieldConfig": {"defaults": {"unit": unit, "custom": {}}, "overrides": []},
            "options": options,
            "targets": [],
        });
        Self { body, width: 8, height: 8 }
    }

    /// Lines over time.
    pub fn lines(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        Self::new("timeseries", title, description, unit, options)
            .default("min", json!(0))
            .custom(json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "showPoints": "auto"}))
    }

    /// Levels over time that stay until the next change.
    pub fn steps(title: &str, description: &str, unit: &str) -> Self {
        Self::lines(title, description, unit).custom(json!({"lineInterpolation": "stepAfter"}))
    }

    /// Events over time, stacked.
    pub fn bars(title: &str, description: &str, unit: &str) -> Self {
        Self::lines(title, description, unit).custom(json!({
            "drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal", "group": "A"},
        }))
    }

    /// One number; several series make several.
    pub fn number(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
            "textMode": "auto", "showPercentChange": false, "wideLayout": true,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        let mut panel = Self::new("stat", title, description, unit, options).size(4, 4);
        panel.body["fieldConfig"]["defaults"].as_object_mut().unwrap().remove("custom");
        panel.default("color", json!({"mode": "thresholds"})).thresholds(colour::QUIET, &[])
    }

    /// States over time, a line each.
    pub fn states(title: &str, description: &str, words: &[(f64, &str, &str)]) -> Self {
        let options = json!({
            "alignValue": "left", "mergeValues": true, "rowHeight": 0.8, "showValue": "never",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        Self::new("state-timeline", title, description, unit::WORD, options)
            .custom(json!({"fillOpacity": 80, "lineWidth": 0}))
            .default("color", json!({"mode": "thresholds"}))
            .thresholds(colour::BAD, &[(1.0, colour::GOOD)])
            .words(words)
    }

    /// A histogram over time.
    pub fn heatmap(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "calculate": false,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential",
                "exponent": 0.5, "steps": 64, "reverse": false},
            "exemplars": {"color": "rgba(31, 120, 193, 0.9)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": true},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            // Grafana before 10.3 asks for `show`, later ones for `mode`.
            "tooltip": {"mode": "single", "show": true, "yHistogram": false},
            "yAxis": {"axisPlacement": "left", "reverse": false, "unit": unit},
        });
        Self::new("heatmap", title, description, unit, options)
            .custom(json!({"hideFrom": {"legend": false, "tooltip": false, "viz": false}}))
    }

    /// Bars of what is now.
    pub fn gauges(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "displayMode": "gradient", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color",
            "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300, "namePlacement": "auto", "sizing": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        let mut panel = Self::new("bargauge", title, description, unit, options);
        panel.body["fieldConfig"]["defaults"].as_object_mut().unwrap().remove("custom");
        panel
            .default("min", json!(0))
            .default("color", json!({"mode": "thresholds"}))
            .thresholds(colour::QUIET, &[])
    }

    /// Width in 24ths and height in Grafana's units.
    pub fn size(mut self, width: u64, height: u64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// A setting of every field.
    pub fn default(mut self, name: &str, value: Value) -> Self {
        self.body["fieldConfig"]["defaults"][name] = value;
        self
    }

    /// Settings of every field that only this type of panel has.
    pub fn custom(mut self, settings: Value) -> Self {
        let custom = &mut self.body["fieldConfig"]["defaults"]["custom"];
        for (name, value) in settings.as_object().unwrap() {
            custom[name] = value.clone();
        }
        self
    }

    /// A setting of the panel.
    pub fn option(mut self, name: &str, value: Value) -> Self {
        self.body["options"][name] = value;
        self
    }

    /// Colours from values on.
    pub fn thresholds(self, base: &str, steps: &[(f64, &str)]) -> Self {
        let value = thresholds(base, steps);
        self.default("thresholds", value)
    }

    /// Words and colours in place of values.
    pub fn words(self, words: &[(f64, &str, &str)]) -> Self {
        self.default("mappings", mappings(words))
    }

    /// Settings of the series whose names match.
    pub fn for_names(mut self, pattern: &str, settings: &[(&str, Value)]) -> Self {
        let properties: Vec<Value> = settings.iter().map(|(id, value)| property(id, value.clone())).collect();
        let matcher = json!({"id": "byRegexp", "options": pattern});
        self.overrides().push(json!({"matcher": matcher, "properties": properties}));
        self
    }

    fn for_field(mut self, name: &str, properties: Vec<Value>) -> Self {
        let matcher = json!({"id": "byName", "options": name});
        self.overrides().push(json!({"matcher": matcher, "properties": properties}));
        self
    }

    fn overrides(&mut self) -> &mut Vec<Value> {
        self.body["fieldConfig"]["overrides"].as_array_mut().unwrap()
    }

    /// A query over the time range.
    pub fn query(self, expression: &str, legend: &str) -> Self {
        self.target(expression, json!({"legendFormat": legend, "range": true, "instant": false}))
    }

    /// A query over the time range whose points that have a trace are shown, to be opened.
    pub fn query_with_exemplars(self, expression: &str, legend: &str) -> Self {
        let form = json!({"legendFormat": legend, "range": true, "instant": false, "exemplar": true});
        self.target(expression, form)
    }

    /// A query for the buckets of a histogram.
    pub fn buckets(self, expression: &str) -> Self {
        let form = json!({
            "legendFormat": "{{le}}", "range": true, "instant": false, "format": "heatmap", "exemplar": true,
        });
        self.target(expression, form)
    }

    /// A query for the end of the time range alone.
    pub fn now(self, expression: &str, legend: &str) -> Self {
        self.target(expression, json!({"legendFormat": legend, "range": false, "instant": true}))
    }

    fn target(mut self, expression: &str, form: Value) -> Self {
        let targets = self.body["targets"].as_array_mut().unwrap();
        let mut target = form;
        target["refId"] = json!(letter(targets.len()));
        target["datasource"] = datasource();
        target["editorMode"] = json!("code");
        target["expr"] = json!(written_out(expression));
        targets.push(target);
        self
    }
}

/// Column number 0 is A; no panel asks more than 26 questions.
fn letter(number: usize) -> String {
    char::from(b'A' + u8::try_from(number).unwrap()).to_string()
}

fn thresholds(base: &str, steps: &[(f64, &str)]) -> Value {
    let mut all = vec![json!({"color": base, "value": null})];
    all.extend(steps.iter().map(|(value, colour)| json!({"color": colour, "value": value})));
    json!({"mode": "absolute", "steps": all})
}

fn mappings(words: &[(f64, &str, &str)]) -> Value {
    let options: serde_json::Map<String, Value> = words
        .iter()
        .enumerate()
        .map(|(index, (value, word, colour))| {
            (value.to_string(), json!({"text": word, "color": colour, "index": index}))
        })
        .collect();
    json!([{"type": "value", "options": options}])
}

/// A table made of several questions: the labels name the rows, each question fills a column.
pub struct Table {
    panel: Panel,
    labels: Vec<&'static str>,
    columns: Vec<Column>,
}

/// A column of a table.
pub struct Column {
    title: &'static str,
    expression: String,
    properties: Vec<Value>,
    hidden: bool,
}

fn property(id: &str, value: Value) -> Value {
    json!({"id": id, "value": value})
}

fn link(title: &str, url: &str) -> Value {
    property("links", json!([{"title": title, "url": url, "targetBlank": false}]))
}

impl Column {
    pub fn new(title: &'static str, unit: &str, expression: &str) -> Self {
        let properties = vec![property("unit", json!(unit))];
        Self { title, expression: expression.to_owned(), properties, hidden: false }
    }

    /// A question whose answer is its labels.
    pub fn of_labels(expression: &str) -> Self {
        Self { hidden: true, ..Self::new("", unit::SHORT, expression) }
    }

    /// Words in place of values, on their colours.
    pub fn words(mut self, words: &[(f64, &str, &str)]) -> Self {
        self.properties.push(property("mappings", mappings(words)));
        let cell = json!({"type": "color-background", "mode": "basic"});
        self.properties.push(property("custom.cellOptions", cell));
        self
    }

    /// The colour of the text from values on.
    pub fn thresholds(mut self, base: &str, steps: &[(f64, &str)]) -> Self {
        self.properties.push(property("thresholds", thresholds(base, steps)));
        self.properties.push(property("custom.cellOptions", json!({"type": "color-text"})));
        self
    }

    /// Where a click leads.
    pub fn link(mut self, title: &str, url: &str) -> Self {
        self.properties.push(link(title, url));
        self
    }
}

impl Table {
    pub fn new(title: &str, description: &str) -> Self {
        let options = json!({"showHeader": true, "frameIndex": 0, "cellHeight": "sm"});
        let cell =
            json!({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": false, "filterable": true});
        let panel = Panel::new("table", title, description, unit::SHORT, options)
            .custom(cell)
            .default("noValue", json!("–"))
            .size(24, 10);
        Self { panel, labels: Vec::new(), columns: Vec::new() }
    }

    pub fn size(mut self, width: u64, height: u64) -> Self {
        self.panel = self.panel.size(width, height);
        self
    }

    /// A label and what its column is called. The field keeps its name, for links to use.
    pub fn label(self, name: &'static str, title: &str) -> Self {
        self.label_with(name, title, None)
    }

    /// The same, with words and a place for a click to lead to.
    pub fn linked_label(self, name: &'static str, title: &str, words: &str, url: &str) -> Self {
        self.label_with(name, title, Some(link(words, url)))
    }

    fn label_with(mut self, name: &'static str, title: &str, link: Option<Value>) -> Self {
        let mut properties = vec![property("displayName", json!(title))];
        properties.extend(link);
        self.panel = self.panel.for_field(name, properties);
        self.labels.push(name);
        self
    }

    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// The table, sorted by a column.
    pub fn sorted_by(self, title: &str, descending: bool) -> Panel {
        let Self { mut panel, labels, columns } = self;
        let mut excluded = json!({"Time": true});
        let (mut order, mut names) = (json!({}), json!({}));
        for (place, label) in labels.iter().enumerate() {
            order[*label] = json!(place);
        }
        for (number, column) in columns.into_iter().enumerate() {
            let field = format!("Value #{}", letter(number));
            if column.hidden {
                excluded[&field] = json!(true);
            } else {
                // Where one question alone has an answer, Grafana calls it "Value". It is the first that every row has.
                let fields = if names == json!({}) { vec!["Value", &field] } else { vec![field.as_str()] };
                for field in fields {
                    order[field] = json!(labels.len() + number);
                    names[field] = json!(column.title);
                }
                panel = panel.for_field(column.title, column.properties);
            }
            let form = json!({"format": "table", "legendFormat": "", "range": false, "instant": true});
            panel = panel.target(&column.expression, form);
        }
        let organize = json!({"excludeByName": excluded, "indexByName": order, "renameByName": names});
        panel.body["transformations"] =
            json!([{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]);
        panel.option("sortBy", json!([{"displayName": title, "desc": descending}]))
    }
}
