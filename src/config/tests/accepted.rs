//! What a sound configuration comes to: defaults, layers, the environment, and the way back to
//! YAML.

use std::path::PathBuf;
use std::time::Duration;

use super::accept;
use super::parse;
use crate::config::Collectors;
use crate::config::Config;
use crate::config::CustomKind;
use crate::config::CustomMetric;
use crate::config::DatabaseSettings;
use crate::config::SealedRows;
use crate::config::SourceLocation;
use crate::config::TimestampColumn;
use crate::config::TimestampFormat;
use crate::config::section::Section;

/// Everything that can be written.
const FULL: &str = r#"
listen: "[::1]:9100"
sample_interval: 1m
discovery_interval: 1h30m
max_databases: 7
series_limit: 9
profiles:
  tenant:
    labels: {tier: tenant, team: "red"}
    row_counts: all
    collectors: {row_counts: off, schema: false}
    custom_metrics:
      - name: queue_depth
        type: gauge
        help: |
          Jobs that wait.
        sql: |
          SELECT state, count(*) AS n
          FROM jobs -- $$
          WHERE json_extract(data, '$.done') IS NULL
          GROUP BY 1
        value: n
        labels: [state]
        interval: 2m
        timeout: 50ms
        max_rows: 5
databases:
  - name: books
    path: books/./books.db
    labels: {app: accounting}
    row_counts: [companies, vouchers, "log_*"]
    timestamps:
      - {table: logs, column: created_at}
      - {table: audit, column: at, format: unix_milliseconds}
    table_interval: 10m
    count_timeout: 1s
    owner_busy_timeout: 5s
    sealed: [{table: vouchers, where: closed = 1}]
  - glob: tenants/*.db
    exclude: ["*-old.db", backup/*.db, "**/tmp/*.db", /abs/*.db]
    profile: tenant
    labels: {team: blue}
    collectors: {row_counts: true}
    custom_metrics:
      - {name: seen, type: counter, help: Seen., sql: SELECT 1 AS value}
  - directory: /srv/data/
    include: ["*.sqlite"]
    recursive: true
"#;

fn queue_depth() -> CustomMetric {
    CustomMetric {
        name: "queue_depth".to_owned(),
        kind: CustomKind::Gauge,
        help: "Jobs that wait.".to_owned(),
        sql: "SELECT state, count(*) AS n\nFROM jobs -- $\nWHERE json_extract(data, '$.done') IS NULL\nGROUP BY 1\n"
            .to_owned(),
        value: "n".to_owned(),
        labels: vec!["state".to_owned()],
        interval: Duration::from_secs(120),
        timeout: Duration::from_millis(50),
        max_rows: 5,
    }
}

fn places(config: &Config) -> Vec<String> {
    config.listen.iter().map(ToString::to_string).collect()
}

#[test]
fn the_web_server_is_read_and_shown() {
    let text = "listen: [\"127.0.0.1:9\", \"[::]:9\", :9100, \"unix:/run/lk.sock\"]\n\
                web: {config_file: web.yml, telemetry_path: /sqlite/metrics, external_url: \"https://a/lk/\", operators: [anna]}\ndatabases: [{path: /a.db}]\n";
    let config = accept(text);
    assert_eq!(places(&config), ["127.0.0.1:9", "[::]:9", ":9100", "unix:/run/lk.sock"]);
    assert_eq!(config.web.config_file, Some(PathBuf::from("/etc/web.yml")));
    assert_eq!(config.web.operators, ["anna"]);
    assert_eq!(config.web.telemetry_path.as_str(), "/sqlite/metrics");
    assert_eq!(config.web.prefix().as_str(), "/lk");
    assert_eq!(parse(&config.to_yaml()), Ok(config));
}

#[test]
fn where_traces_go_is_read_and_shown() {
    let text = "tracing:
  endpoint: https://otel.example:4318/base
  client_type: http
  headers: {Authorization: \"Bearer ${PORT}\"}
  timeout: 2s
  compression: gzip
  sampling_fraction: 0.5
  sweep_sampling_fraction: 0
  tls_config: {ca_file: ca.pem, cert_file: c.pem, key_file: /k.pem, server_name: otel}
databases: [{path: /a.db}]
";
    let config = accept(text);
    let tracing = &config.tracing;
    assert_eq!(tracing.endpoint.as_ref().unwrap().to_string(), "https://otel.example:4318/base/v1/traces");
    assert_eq!(tracing.headers["authorization"], "Bearer 9000");
    assert_eq!((tracing.timeout, tracing.gzip), (Duration::from_secs(2), true));
    assert_eq!((tracing.sampling_fraction, tracing.sweep_sampling_fraction), (0.5, 0.0));
    assert_eq!(tracing.tls.ca_file, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!(tracing.tls.server_name.as_deref(), Some("otel"));
    // All but the secrets is shown.
    let shown = config.to_yaml();
    assert!(!shown.contains("9000"), "{shown}");
    let mut again = accept(&shown);
    again.tracing.headers.clone_from(&tracing.headers);
    assert_eq!(again, config);
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn the_least_that_can_be_written_takes_every_default() {
    let config = accept("databases: [{path: app.db}]");
    assert_eq!(places(&config), ["127.0.0.1:10321"]);
    assert_eq!(config.sample_interval, Duration::from_secs(15));
    assert_eq!(config.discovery_interval, Duration::from_secs(30));
    assert_eq!((config.max_databases, config.series_limit), (20_000, 500));
    let [source] = config.sources.as_slice() else { panic!("one source") };
    assert_eq!(source.location, SourceLocation::File { path: PathBuf::from("/etc/app.db"), name: None });
    assert_eq!(*source.settings, DatabaseSettings::default());
    assert_eq!(source.settings.table_interval, Duration::from_secs(300));
    assert_eq!(source.settings.count_timeout, Duration::from_millis(500));
}

#[test]
fn the_agent_and_the_targets_are_read() {
    let config = accept(FULL);
    assert_eq!(places(&config), ["[::1]:9100"]);
    assert_eq!(config.sample_interval, Duration::from_secs(60));
    assert_eq!(config.discovery_interval, Duration::from_secs(5400));
    assert_eq!((config.max_databases, config.series_limit), (7, 9));
    let targets: Vec<&SourceLocation> = config.sources.iter().map(|source| &source.location).collect();
    assert_eq!(
        targets,
        [
            &SourceLocation::File {
                path: PathBuf::from("/etc/books/books.db"),
                name: Some("books".to_owned())
            },
            &SourceLocation::Glob {
                pattern: "/etc/tenants/*.db".to_owned(),
                exclude: texts(&["*-old.db", "/etc/backup/*.db", "**/tmp/*.db", "/abs/*.db"]),
            },
            &SourceLocation::Directory {
                path: PathBuf::from("/srv/data"),
                include: texts(&["*.sqlite"]),
                exclude: Vec::new(),
                recursive: true,
            },
        ]
    );
}

#[test]
fn settings_are_laid_over_the_profile_key_by_key() {
    let config = accept(FULL);
    let [books, tenants, directory] = config.sources.as_slice() else { panic!("three sources") };
    let column = |table: &str, column: &str, format| {
        let (table, column) = (table.to_owned(), column.to_owned());
        TimestampColumn { table, column, format }
    };
    assert_eq!(
        *books.settings,
        DatabaseSettings {
            labels: [("app".to_owned(), "accounting".to_owned())].into(),
            row_counts: texts(&["companies", "vouchers", "log_*"]),
            timestamps: vec![
                column("logs", "created_at", TimestampFormat::Auto),
                column("audit", "at", TimestampFormat::UnixMilliseconds),
            ],
            table_interval: Duration::from_secs(600),
            count_timeout: Duration::from_secs(1),
            owner_busy_timeout: Some(Duration::from_secs(5)),
            sealed: vec![SealedRows { table: "vouchers".to_owned(), condition: "closed = 1".to_owned() }],
            ..DatabaseSettings::default()
        }
    );
    let seen = CustomMetric {
        name: "seen".to_owned(),
        kind: CustomKind::Counter,
        help: "Seen.".to_owned(),
        sql: "SELECT 1 AS value".to_owned(),
        value: "value".to_owned(),
        labels: Vec::new(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_millis(200),
        max_rows: 100,
    };
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        *tenants.settings,
        DatabaseSettings {
            profile: "tenant".to_owned(),
            labels: [label("tier", "tenant"), label("team", "blue")].into(),
            row_counts: texts(&["*"]),
            custom_metrics: vec![queue_depth(), seen],
            collectors: Collectors {
                schema: false,
                row_counts: true,
                timestamps: true,
                custom_metrics: true,
                table_sizes: false
            },
            ..DatabaseSettings::default()
        }
    );
    assert_eq!(*directory.settings, DatabaseSettings::default());
}

#[test]
fn an_own_setting_can_take_back_what_the_profile_gives() {
    let config = accept(
        "profiles: {p: {row_counts: all, count_timeout: 2s, table_interval: 1m, timestamps: [{table: t, column: c}]}}\n\
         databases: [{path: /a, profile: p, row_counts: [], count_timeout: 500ms, timestamps: []}]",
    );
    let settings = &config.sources[0].settings;
    let expected = DatabaseSettings {
        profile: "p".to_owned(),
        table_interval: Duration::from_secs(60),
        ..DatabaseSettings::default()
    };
    assert_eq!(**settings, expected);
}

#[test]
fn every_collector_has_its_own_switch() {
    let switches = ["schema", "row_counts", "timestamps", "custom_metrics"];
    let space = |settings: &DatabaseSettings| settings.collectors.table_sizes;
    for (index, name) in switches.into_iter().enumerate() {
        let config = accept(&format!("databases: [{{path: /a, collectors: {{{name}: off}}}}]"));
        let Collectors { schema, row_counts, timestamps, custom_metrics, table_sizes: _ } =
            config.sources[0].settings.collectors;
        let on = [schema, row_counts, timestamps, custom_metrics];
        assert!(on.iter().enumerate().all(|(other, on)| *on == (other != index)), "{name}: {on:?}");
    }
    assert!(space(&accept("databases: [{path: /a, collectors: {table_sizes: on}}]").sources[0].settings));
    assert!(!space(&accept("databases: [{path: /a}]").sources[0].settings));
}

#[test]
fn anchors_and_merges_work_and_scalars_keep_their_spelling() {
    let config = accept(
        "databases:\n  - &one {path: /a, labels: &l {a: 1.10, b: 0x1F, c: yes, d: 007, e: '~', f: .inf, g: 1_0}}\n  \
         - {<<: *one, path: /b}\n  - {path: /c, labels: {<<: *l, a: other}}\n",
    );
    let labels = |index: usize| {
        let labels = &config.sources[index].settings.labels;
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(labels(0), "a=1.10 b=0x1F c=yes d=007 e=~ f=.inf g=1_0");
    assert_eq!(labels(1), labels(0));
    assert_eq!(labels(2), "a=other b=0x1F c=yes d=007 e=~ f=.inf g=1_0");
    assert_eq!(config.sources[1].location, SourceLocation::File { path: PathBuf::from("/b"), name: None });
}

#[test]
fn the_environment_is_expanded_before_values_are_typed() {
    let config = accept(
        "listen: 127.0.0.1:${PORT}\nsample_interval: \"${NO:-90}s\"\nmax_databases: ${EMPTY:-3}\n\
         databases: [{path: '/${PORT}.db', labels: {a: '${STRUCTURE}', b: '$$x $${PORT} $y $', c: '${EMPTY}', \
         d: '${NO:-}', e: '${PORT:-1}${NO:-$$2}'}, row_counts: ['t${PORT}']}]",
    );
    assert_eq!(places(&config), ["127.0.0.1:9000"]);
    assert_eq!((config.sample_interval, config.max_databases), (Duration::from_secs(90), 3));
    assert_eq!(config.sources.len(), 1, "a value adds no entry");
    assert_eq!(
        config.sources[0].location,
        SourceLocation::File { path: PathBuf::from("/9000.db"), name: None }
    );
    let DatabaseSettings { labels, row_counts, .. } = &*config.sources[0].settings;
    assert_eq!(labels["a"], "a\n  - path: /injected.db # ${PORT}", "and is not expanded again");
    assert_eq!(labels["b"], "$x ${PORT} $y $");
    assert_eq!((labels["c"].as_str(), labels["d"].as_str(), labels["e"].as_str()), ("", "", "9000$2"));
    assert_eq!(*row_counts, ["t9000"]);
}

#[test]
fn the_effective_configuration_parses_to_an_equal_one() {
    for text in [
        FULL,
        "databases: [{path: a}]",
        "profiles: {unused: {}}\ndatabases: [{directory: d}, {glob: g}]",
        TASKS,
    ] {
        let config = accept(text);
        let shown = config.to_yaml();
        assert_eq!(accept(&shown), config, "--- shown\n{shown}");
        assert_eq!(accept(&shown).to_yaml(), shown);
    }
}

/// Every task, with as little as it takes.
const TASKS: &str = "tracing: {endpoint: \"http://127.0.0.1:4318\", tls_config: {server_name: otel}}
databases: [{path: a, tasks: {health_check: , vacuum: , log_cleaning: {tables: [{table: logs, column: at}]},
  backup: {to: /b}, checkpoint: , optimize: }}]";

/// What is not set is shown too, and switches are spelled in one way.
#[test]
fn nothing_is_left_out_of_the_effective_configuration() {
    let shown = accept(TASKS).to_yaml();
    let has =
        |indent: &str, key: &str| shown.lines().any(|line| line.starts_with(&format!("{indent}{key}:")));
    for key in Config::keys() {
        assert!(has("", key), "{key}\n{shown}");
    }
    for key in DatabaseSettings::keys() {
        assert!(has("  ", key), "{key}\n{shown}");
    }
    for line in [
        "state: null",
        "temp_directory: null",
        "pause_file: null",
        "  config_file: null",
        "  alerts: {}",
        "      window: null",
        "      quick: off",
        "      foreign_keys: null",
        "        archive: null",
        "        keep_latest: null",
        "        condition: null",
        "    ca_file: null",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let off = accept("databases: [{path: a}]").to_yaml();
    for task in ["health_check", "vacuum", "log_cleaning", "backup", "checkpoint", "optimize"] {
        assert!(off.contains(&format!("\n    {task}: off\n")), "{off}");
    }
    assert!(
        !shown.contains("true") && !shown.contains("false") && off.contains("tracing: null"),
        "{shown}{off}"
    );
}

/// Texts that YAML or the environment might take for something else.
const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    " a",
    "a ",
    "yes",
    "off",
    "null",
    "~",
    "1",
    "1.10",
    "0x1f",
    ".nan",
    "<<",
    "*",
    "*a",
    "&a",
    "!t",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "{a}",
    "[a]",
    "'",
    "\"",
    "\\",
    "\\n",
    "a\nb",
    "a\nb\n",
    "a\n\n",
    "\na",
    " a\n b",
    "\ta",
    "a\tb",
    "a\r\nb",
    "\u{1b}[0m",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "é😀",
    "$",
    "$$",
    "${",
    "${PORT}",
    "$${PORT}",
    "$$$",
    "${A:-b}",
    "%a",
    "@a",
    "`a",
    "|",
    ">",
    "?",
    ":",
    ",",
    "---",
    "...",
    "2001-01-01",
    "1:30",
];

#[test]
fn every_text_survives_the_way_through_yaml() {
    let long = ["long words ".repeat(40), "x".repeat(3000)];
    for text in ODD_TEXTS.iter().map(|&text| text.to_owned()).chain(long) {
        let mut config = accept("databases: [{path: /a}, {glob: /b}, {directory: /c}]");
        let mut settings =
            DatabaseSettings { custom_metrics: vec![queue_depth()], ..DatabaseSettings::default() };
        settings.labels.insert("text".to_owned(), text.clone());
        if !text.trim().is_empty() {
            settings.row_counts = vec![text.clone()];
            settings.custom_metrics[0].sql = text.clone();
            settings.profile = text.clone();
        }
        config.sources[0].settings = settings.into();
        let shown = config.to_yaml();
        assert_eq!(parse(&shown), Ok(config), "{text:?}\n--- shown\n{shown}");
    }
}

/// The form of what `litekeeper config show` prints.
#[test]
fn the_effective_configuration_is_easy_to_read() {
    let config = Config { listen: vec!["0.0.0.0:1".parse().unwrap()], ..accept(FULL) };
    assert_eq!(config.to_yaml(), include_str!("shown.yml"));
}
