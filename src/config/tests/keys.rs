//! The keys of every section: one that is accepted is also shown, documented and named in errors.

use std::collections::BTreeSet;
use std::time::Duration;

use super::accept;
use super::refuse;
use crate::config::Backup;
use crate::config::Checkpoint;
use crate::config::CollectorTls;
use crate::config::Collectors;
use crate::config::Config;
use crate::config::CustomMetric;
use crate::config::DatabaseSettings;
use crate::config::HealthCheck;
use crate::config::LogCleaning;
use crate::config::Optimize;
use crate::config::Retention;
use crate::config::Scrub;
use crate::config::SealedRows;
use crate::config::Source;
use crate::config::Tasks;
use crate::config::TimestampColumn;
use crate::config::Timing;
use crate::config::TracingSettings;
use crate::config::Vacuum;
use crate::config::WebSettings;
use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::kinds::Optional;
use crate::config::messages::listing;
use crate::config::section::Section;
use crate::config::section::section;
use crate::config::tasks::Reclaimable;
use crate::config::tree;
use crate::config::tree::Node;
use crate::config::tree::Tree;
use crate::config::values::Between;

/// A file in which every key has a value that `config show` prints.
const EVERY_SECTION: &str = "
tracing: {endpoint: \"http://127.0.0.1:4318\"}
profiles: {p: {}}
databases:
  - path: /a.db
    name: a
    profile: p
    timestamps: [{table: logs, column: at}]
    sealed: [{table: vouchers, where: closed = 1}]
    custom_metrics: [{name: jobs, type: gauge, help: Jobs., sql: SELECT 1 AS value}]
    tasks:
      health_check: {quick: on}
      vacuum: on
      log_cleaning: {tables: [{table: logs, column: at}, {table: sessions, column: until, expires: on}]}
      backup: {to: /b}
      checkpoint: on
      optimize: on
      scrub: on
  - glob: /b/*.db
  - directory: /c
";

/// A section: its keys, and the places in [`EVERY_SECTION`] that together have all of them.
type Case = (Vec<&'static str>, &'static [&'static str]);

fn sections() -> Vec<Case> {
    vec![
        (Config::keys(), &[""]),
        (WebSettings::keys(), &["web"]),
        (TracingSettings::keys(), &["tracing"]),
        (CollectorTls::keys(), &["tracing.tls_config"]),
        (Source::keys(), &["databases.0", "databases.1", "databases.2"]),
        (DatabaseSettings::keys(), &["databases.0"]),
        (Collectors::keys(), &["databases.0.collectors"]),
        (TimestampColumn::keys(), &["databases.0.timestamps.0"]),
        (SealedRows::keys(), &["databases.0.sealed.0"]),
        (CustomMetric::keys(), &["databases.0.custom_metrics.0"]),
        (Tasks::keys(), &["databases.0.tasks"]),
        (HealthCheck::keys(), &["databases.0.tasks.health_check"]),
        (Timing::keys(), &["databases.0.tasks.health_check.quick"]),
        (Vacuum::keys(), &["databases.0.tasks.vacuum"]),
        (Reclaimable::keys(), &["databases.0.tasks.vacuum.min_reclaimable"]),
        (LogCleaning::keys(), &["databases.0.tasks.log_cleaning"]),
        (
            Retention::keys(),
            &["databases.0.tasks.log_cleaning.tables.0", "databases.0.tasks.log_cleaning.tables.1"],
        ),
        (Backup::keys(), &["databases.0.tasks.backup"]),
        (Checkpoint::keys(), &["databases.0.tasks.checkpoint"]),
        (Optimize::keys(), &["databases.0.tasks.optimize"]),
        (Scrub::keys(), &["databases.0.tasks.scrub"]),
    ]
}

/// The keys of the mapping at a place.
fn keys_at(tree: &Tree, place: &str) -> BTreeSet<String> {
    let mut tree = tree;
    for step in place.split('.').filter(|step| !step.is_empty()) {
        tree = match &tree.node {
            Node::Sequence(items) => &items[step.parse::<usize>().unwrap()],
            Node::Mapping(entries) => {
                let is_step =
                    |(key, _): &&(Tree, Tree)| matches!(&key.node, Node::Scalar(text) if text == step);
                &entries.iter().find(is_step).unwrap_or_else(|| panic!("{place}: no {step}")).1
            }
            Node::Null | Node::Scalar(_) => panic!("{place}: {step} is in no mapping"),
        };
    }
    let Node::Mapping(entries) = &tree.node else { panic!("{place} is no mapping") };
    let name = |(key, _): &(Tree, Tree)| match &key.node {
        Node::Scalar(text) => text.clone(),
        node => panic!("{place}: {node:?}"),
    };
    entries.iter().map(name).collect()
}

#[test]
fn every_key_that_is_accepted_is_shown() {
    let shown = accept(EVERY_SECTION).to_yaml();
    let tree = tree::parse(&shown).unwrap();
    for (keys, places) in sections() {
        let found: BTreeSet<String> = places.iter().flat_map(|place| keys_at(&tree, place)).collect();
        for key in keys {
            assert!(found.contains(key), "`config show` leaves out {key} of {places:?}\n{shown}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a document or source, which is no database")]
fn text_of(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_key_is_documented() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let read = |name: &str| text_of(&root.join(name));
    let docs = read("CONFIGURATION.md") + &read("MAINTENANCE.md");
    let (tracing, web) = (read("TRACING.md"), read("WEB.md"));
    for (keys, places) in sections() {
        let further = match places[0] {
            "tracing" | "tracing.tls_config" => tracing.as_str(),
            "web" => web.as_str(),
            _ => "",
        };
        for key in keys {
            let is_named = [&docs, further]
                .iter()
                .any(|text| text.contains(&format!("`{key}`")) || text.contains(&format!("{key}:")));
            assert!(is_named, "no document names {key} of {places:?}");
        }
    }
}

#[test]
fn an_unknown_key_is_answered_with_all_known_ones() {
    for (keys, places) in sections() {
        let value = places[0].split('.').rev().filter(|step| !step.is_empty()).fold(
            "{zzzzzzzzzz: 1}".to_owned(),
            |value, step| match step.parse::<usize>() {
                Ok(_) => format!("[{value}]"),
                Err(_) => format!("{{{step}: {value}}}"),
            },
        );
        // The keys of an entry include those of its settings, which a profile has alone.
        let (text, keys) = match places[0] {
            "databases.0" => (value, Source::keys()),
            _ => (value, keys),
        };
        let errors = refuse(&text);
        let expected = format!("zzzzzzzzzz: unknown key; the keys here are {}", listing(&keys));
        assert!(errors.iter().any(|error| error.ends_with(&expected)), "{text}: {errors:#?}");
    }
}

/// A section that is missing above would escape the tests.
#[test]
fn every_section_is_listed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut declared = 0;
    for directory in [root.clone(), root.join("tasks"), root.join("web_config")] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = text_of(&path);
                declared += text.lines().filter(|line| *line == "section! {").count();
            }
        }
    }
    // The keys of `Maintenance` and `WriteLimits` stand among those of other sections; `Source` is
    // not declared.
    assert_eq!(declared, sections().len() - 1 + 2, "add the section to `sections()`");
}

section! {
    /// A section of the contributor's guide.
    #[derive(Debug, PartialEq)]
    pub struct Example {
        /// A key with bounds.
        pub wait: Duration = Duration::from_secs(5) => Between(Duration::from_secs(1), Duration::from_secs(60)),
        /// A key that may be left out, and is not called as its field.
        pub most as "max_rows": Option<u64> = None => Optional(Between(1, 10)),
    }
}

/// One declaration has the type, the keys, the defaults, the bounds and the form that is shown.
#[test]
fn a_declaration_is_all_that_a_key_needs() {
    let read = |text: &str| {
        let tree = tree::parse(text).unwrap();
        let mut decoder = Decoder::verbatim("f");
        let fields = decoder.fields(&Value { tree: &tree, key: String::new() }, &Example::keys()).unwrap();
        let mut context = ParseContext::new(std::path::Path::new("/"));
        let example = Example::read(&fields, &mut context, &mut decoder).over(Example::defaults());
        let errors: Vec<String> = decoder.into_errors().iter().map(ToString::to_string).collect();
        (example, errors)
    };
    assert_eq!(Example::keys(), ["wait", "max_rows"]);
    let (example, errors) = read("{}");
    assert_eq!((example, errors.len()), (Example { wait: Duration::from_secs(5), most: None }, 0));
    let (example, errors) = read("{wait: 2s, max_rows: 3}");
    assert_eq!(errors.len(), 0);
    assert_eq!(serde_saphyr::to_string(&example).unwrap().trim(), "wait: 2s\nmax_rows: 3");
    let (_, errors) = read("{wait: 2m, max_rows: 0, min_rows: 1}");
    assert_eq!(
        errors,
        [
            "f:1:25: min_rows: unknown key; did you mean `max_rows`?",
            "f:1:8: wait: must be from 1s to 1m, not `2m`",
            "f:1:22: max_rows: must be a whole number from 1 to 10, not `0`",
        ]
    );
}

#[test]
fn an_old_name_is_refused_with_the_new_one() {
    let entry = |text: &str| format!("databases: [{{path: /a.db, {text}}}]");
    let task = |text: &str| entry(&format!("tasks: {{{text}}}"));
    let metric = "name: a, type: gauge, help: A., sql: SELECT 1";
    for (text, old, new) in [
        ("web: {acting_users: [a]}\ndatabases: [{path: /a.db}]".to_owned(), "acting_users", "operators"),
        (task("vacuum: {reserve: 1GiB}"), "reserve", "min_free_space"),
        (task("vacuum: {convert: incremental}"), "convert", "convert_auto_vacuum"),
        (task("vacuum: {target_hold: 5ms}"), "target_hold", "target_lock_hold"),
        (task("optimize: {lock_wait: 5s}"), "lock_wait", "lock_timeout"),
        (task("checkpoint: {allow_network: on}"), "allow_network", "allow_network_filesystem"),
        (task("backup: {to: /b, max_wait: 1s}"), "max_wait", "max_writer_wait"),
        (entry("count_budget: 1s"), "count_budget", "count_timeout"),
        (entry("space_interval: 1h"), "space_interval", "table_sizes_interval"),
        (entry("space_budget: 1s"), "space_budget", "table_sizes_timeout"),
        (entry("space_top: 5"), "space_top", "table_sizes_top"),
        (entry("collectors: {space: on}"), "space", "table_sizes"),
        (entry(&format!("custom_metrics: [{{{metric}, budget: 1s}}]")), "budget", "timeout"),
    ] {
        let expected = format!("{old}: unknown key; it is now called `{new}`");
        let errors = refuse(&text);
        assert!(errors.len() == 1 && errors[0].ends_with(&expected), "{text}: {errors:#?}");
    }
}
