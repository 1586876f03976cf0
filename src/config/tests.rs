use std::time::Duration;

use super::*;

fn variables(name: &str) -> Option<String> {
    match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "f.yml", std::path::Path::new("/etc/lk"), &variables)
}

/// Each mistake by itself, and the line that it must give.
#[test]
fn every_mistake_is_named_with_its_place() {
    const DB: &str = "databases: [{path: a.db}]\n";
    for (text, expected) in [
        (
            "listen: nowhere\ndatabases: [{path: a.db}]",
            "f.yml:1:9: listen: \"nowhere\": invalid socket address syntax; an address and a port are wanted, like 127.0.0.1:10321 or 0.0.0.0:10321",
        ),
        (
            "sample_interval: 15\ndatabases: [{path: a.db}]",
            "f.yml:1:18: sample_interval: \"15\" is no duration; write it like 250ms, 15s, 1h30m or 2d",
        ),
        (
            "sample_interval: 10ms\ndatabases: [{path: a.db}]",
            "f.yml:1:18: sample_interval: 10ms is too short; 1s is the least",
        ),
        (
            "max_databases: 0\ndatabases: [{path: a.db}]",
            "f.yml:1:16: max_databases: 0 is out of range; a whole number from 1 to 200000 is wanted",
        ),
        (
            "max_databases: many\ndatabases: [{path: a.db}]",
            "f.yml:1:16: max_databases: \"many\": invalid digit found in string; a whole number from 1 to 200000 is wanted",
        ),
        (
            "sampel_interval: 15s\ndatabases: [{path: a.db}]",
            "f.yml:1:1: sampel_interval: unknown key; did you mean `sample_interval`?",
        ),
        (
            "state: x.db\ndatabases: [{path: a.db}]",
            "f.yml:1:1: state: unknown key; known here are listen, sample_interval, discovery_interval, max_databases, series_limit, profiles, databases",
        ),
        (
            "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\ndatabases: [{path: a.db}]",
            "f.yml:2:1: listen: this key stands here twice; remove one of them",
        ),
        ("{}", "f.yml:1:1: databases: nothing to watch; name files: `databases: [{path: app.db}]`"),
        ("databases: []", "f.yml:1:12: databases: nothing to watch; name files: [{path: app.db}]"),
        ("databases: a.db", "f.yml:1:12: databases: this is a single value, a list is wanted: [a, b]"),
        (
            "databases: [a.db]",
            "f.yml:1:13: databases[0]: this is a single value, a mapping of keys is wanted",
        ),
        (
            "databases: [{name: a}]",
            "f.yml:1:13: databases[0]: one of `path`, `glob` and `directory` is missing",
        ),
        (
            "databases: [{path: a, glob: b}]",
            "f.yml:1:13: databases[0]: only one of `path`, `glob` and `directory` can be; make two entries",
        ),
        (
            "databases: [{path: [a]}]",
            "f.yml:1:20: databases[0].path: this is a list, a single value is wanted",
        ),
        ("databases: [{path: ''}]", "f.yml:1:20: databases[0].path: a path is not empty"),
        (
            "databases: [{path: a.db-wal}]",
            "f.yml:1:20: databases[0].path: this is a file that SQLite keeps beside a database; name the database, without -wal, -shm or -journal",
        ),
        (
            "databases: [{path: a.db, name: x}, {path: b.db, name: x}]",
            "f.yml:1:55: databases[1].name: \"x\" is the name of another database (line 1); names are unique",
        ),
        (
            "databases: [{path: a.db, profile: p}]",
            "f.yml:1:35: databases[0].profile: there is no profile \"p\"; defined are: none",
        ),
        (
            "databases: [{glob: 'a[.db'}]",
            "f.yml:1:20: databases[0].glob: error parsing glob 'a[.db': unclosed character class; missing ']'; wildcards are *, ?, [abc], {a,b} and **",
        ),
        (
            "databases: [{path: a.db, exclude: [x]}]",
            "f.yml:1:26: databases[0].exclude: unknown key; known here are",
        ),
        (
            "databases: [{path: a.db, labels: {job: x}}]",
            "f.yml:1:35: databases[0].labels.job: the label \"job\" is given by litekeeper or Prometheus; choose another name",
        ),
        (
            "databases: [{path: a.db, labels: {1a: x}}]",
            "f.yml:1:35: databases[0].labels.1a: this is no label name; letters, digits and _ are allowed, no digit first and no __",
        ),
        (
            "databases: [{path: a.db, row_counts: logs}]",
            "f.yml:1:38: databases[0].row_counts: a list of tables is wanted, [companies, logs_*], or the word all",
        ),
        (
            "databases: [{path: a.db, timestamps: [{table: t}]}]",
            "f.yml:1:39: databases[0].timestamps[0]: `column` is missing",
        ),
        (
            "databases: [{path: a.db, timestamps: [{table: t, column: c, format: unix}]}]",
            "f.yml:1:69: databases[0].timestamps[0].format: \"unix\" is not one of auto, iso8601, unix_seconds, unix_milliseconds, unix_microseconds, julian_day",
        ),
        (
            "databases: [{path: a.db, collectors: {schema: maybe}}]",
            "f.yml:1:47: databases[0].collectors.schema: \"maybe\" is not one of on, off, true, false",
        ),
        (
            "databases: [{path: a.db, custom_metrics: [{name: A, type: gauge, help: h, sql: s}]}]",
            "f.yml:1:50: databases[0].custom_metrics[0].name: \"A\" is no metric name; lower-case letters, digits and _ are allowed, a letter first",
        ),
        (
            "databases: [{path: a.db, custom_metrics: [{name: a_total, type: counter, help: h, sql: s}]}]",
            "f.yml:1:50: databases[0].custom_metrics[0].name: leave _total out; a counter gets _total by itself",
        ),
        (
            "databases: [{path: a.db, custom_metrics: [{name: a, type: gauge, help: h, sql: s, labels: [le]}]}]",
            "f.yml:1:92: databases[0].custom_metrics[0].labels[0]: \"le\" cannot be a label here; rename the column with AS",
        ),
        (
            "databases:\n- {path: a.db, custom_metrics: [{name: a, type: gauge, help: h, sql: s}]}\n- {path: b.db, custom_metrics: [{name: a, type: counter, help: h, sql: s}]}",
            "f.yml:1:1: custom_metrics: the custom metric \"a\" is defined twice with another type, help or labels; give one of them another name",
        ),
        (
            "databases: [{path: '${UNSET}/a.db'}]",
            "f.yml:1:20: databases[0].path: the environment variable UNSET is not set; set it, or give a default: `${UNSET:-value}`",
        ),
        (
            "databases: [{path: '${UNSET'}]",
            "f.yml:1:20: databases[0].path: `${` without `}`; write `$$` for a dollar sign",
        ),
        ("databases: [{path: a.db}", "f.yml:1:12: this is not valid YAML: unclosed bracket"),
        ("- a\n- b", "f.yml:1:1: this is a list, a mapping of keys is wanted"),
    ] {
        let errors = parse(text).expect_err(text).to_string();
        assert!(
            errors.lines().any(|line| line.starts_with(expected)),
            "{text}\nexpected {expected}\ngot {errors}"
        );
    }
    assert!(parse(DB).is_ok());
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let errors = parse("databases:\n  - pth: a.db\n    row_count: [x]\n  - path: b.db\n    table_interval: soon\nlisten: x\n")
        .unwrap_err();
    let text = errors.to_string();
    let keys: Vec<&str> = text.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        keys,
        [
            "databases[0]",
            "databases[0].pth",
            "databases[0].row_count",
            "databases[1].table_interval",
            "listen"
        ],
        "{text}"
    );
    assert!(text.contains("did you mean `path`?") && text.contains("did you mean `row_counts`?"), "{text}");
}

const FULL: &str = r#"
listen: 127.0.0.1:10999
sample_interval: 30s
profiles:
  tenant:
    collectors: {row_counts: off, schema: on}
    labels: {tier: free, app: tenant}
    table_interval: 10m
databases:
  - name: books
    path: /srv/books/books.db
    labels: {app: accounting, note: "costs 5$$ and ${SET}"}
    row_counts: [companies, vouchers, logs]
    timestamps:
      - {table: logs, column: created_at}
      - {table: audit, column: at, format: unix_milliseconds}
    count_budget: "${UNSET:-250}ms"
    custom_metrics:
      - name: orders_open
        type: gauge
        help: Open orders by state
        sql: SELECT state, count(*) AS value FROM orders GROUP BY state
        labels: [state]
  - glob: tenants/*.db
    exclude: [old-*]
    profile: tenant
    labels: {tier: paid}
    collectors: {schema: off}
  - directory: /var/lib/app
    recursive: true
    row_counts: all
"#;

#[test]
fn a_full_file_is_read_with_defaults_profiles_and_variables() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.sample_interval, Duration::from_secs(30));
    assert_eq!(config.discovery_interval, Duration::from_secs(30));
    let [books, tenants, directory] = &config.sources[..] else { panic!("{config:#?}") };
    assert_eq!(books.settings.labels["note"], "costs 5$ and value");
    assert_eq!(books.settings.count_budget, Duration::from_millis(250));
    assert_eq!(books.settings.timestamps[1].format, TimestampFormat::UnixMilliseconds);
    assert_eq!(books.settings.custom_metrics[0].value, "value");
    assert_eq!(
        tenants.target,
        Target::Glob { pattern: "/etc/lk/tenants/*.db".into(), exclude: vec!["old-*".into()] }
    );
    let settings = &tenants.settings;
    assert_eq!((settings.profile.as_str(), settings.table_interval), ("tenant", Duration::from_secs(600)));
    assert_eq!((settings.labels["tier"].as_str(), settings.labels["app"].as_str()), ("paid", "tenant"));
    assert!(!settings.collectors.schema && !settings.collectors.row_counts && settings.collectors.timestamps);
    assert_eq!(directory.settings.row_counts, ["*"]);
}

#[test]
fn what_is_shown_says_the_same() {
    let config = parse(FULL).unwrap();
    let shown = config.to_yaml();
    assert_eq!(parse(&shown).unwrap(), config, "{shown}");
}

#[test]
fn variables_are_replaced_as_a_shell_does() {
    for (text, expected) in [
        ("a${SET}b", Ok("avalueb")),
        ("${SET:-x}${EMPTY:-y}${UNSET:-z}", Ok("valueyz")),
        ("${EMPTY}", Ok("")),
        ("5$ $$ $", Ok("5$ $ $")),
        ("${UNSET:-}", Ok("")),
        ("${}", Err("names no variable")),
        ("${a b}", Err("names no variable")),
    ] {
        let expanded = environment::expand(text, &variables);
        match expected {
            Ok(expected) => assert_eq!(expanded.as_deref(), Ok(expected), "{text}"),
            Err(words) => assert!(expanded.unwrap_err().contains(words), "{text}"),
        }
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(",")));
    }
    assert!(parse(&text).unwrap_err().to_string().contains("not valid YAML"));
}

#[test]
fn arguments_of_the_command_line_are_files_directories_or_patterns() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("a[1].db"), "").unwrap();
    let config = Config::for_targets(
        &[at("a[1].db"), at("*.db"), directory.path().to_path_buf(), at("later.db")],
        &["t".to_owned()],
    );
    let kinds: Vec<&str> = config
        .sources
        .iter()
        .map(|source| match source.target {
            Target::File { .. } => "file",
            Target::Glob { .. } => "glob",
            Target::Directory { .. } => "directory",
        })
        .collect();
    assert_eq!(kinds, ["file", "glob", "directory", "file"]);
    assert_eq!(config.sources[0].settings.row_counts, ["t"]);
}
