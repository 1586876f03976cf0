//! How a database is watched: the keys of an entry of `databases` and of a profile.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::alerts::AlertThresholds;
use crate::config::alerts::read_alerts;
use crate::config::alerts::shown_alerts;
use crate::config::context::ParseContext;
use crate::config::custom_metrics::CustomMetric;
use crate::config::custom_metrics::read_custom_metrics;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::kinds::Merged;
use crate::config::kinds::Nested;
use crate::config::kinds::NoKey;
use crate::config::kinds::Optional;
use crate::config::messages::quoted;
use crate::config::names::info_label_problem;
use crate::config::sealed_rows::SealedRows;
use crate::config::sealed_rows::read_sealed;
use crate::config::section::Section;
use crate::config::section::section;
use crate::config::table_columns::TimestampColumn;
use crate::config::table_columns::read_timestamps;
use crate::config::tasks::Tasks;
use crate::config::tree::Node;
use crate::config::units::DAY;
use crate::config::units::HOUR;
use crate::config::units::MILLISECOND;
use crate::config::units::MINUTE;
use crate::config::units::SECOND;
use crate::config::values::Between;
use crate::config::values::By;
use crate::config::values::Serialized;
use crate::config::values::Switch;
use crate::config::values::escape_all;

section! {
    /// How a database is watched: its profile with its own settings laid over it. By default no row
    /// is read.
    #[derive(Debug, Clone, PartialEq)]
    pub struct DatabaseSettings {
        /// The profile's name, a label of `sqlite_db_info`; empty without one.
        pub profile: String = String::new() => NoKey,
        /// Static labels of `sqlite_db_info`.
        pub labels: BTreeMap<String, String> = BTreeMap::new() => Merged(By(read_labels, shown_labels)),
        /// Tables whose rows are counted; `*` and `?` match.
        pub row_counts: Vec<String> = Vec::new() => By(read_row_counts, |tables| escape_all(tables)),
        /// Log tables whose oldest and newest row are read.
        pub timestamps: Vec<TimestampColumn> = Vec::new() => Serialized(read_timestamps),
        /// The user's own SQL.
        pub custom_metrics: Vec<CustomMetric> = Vec::new() => Merged(Serialized(read_custom_metrics)),
        /// How often row counts and timestamps are read, when something changed.
        pub table_interval: Duration = 5 * MINUTE => Between(SECOND, 7 * DAY),
        /// How long one table's exact count may take in a WAL database; a rollback database gets a
        /// tenth. A count holds back checkpoints (WAL) or writers (rollback journal) while it runs.
        pub count_timeout: Duration = 500 * MILLISECOND => Between(MILLISECOND, MINUTE),
        /// How often the sizes of tables and indexes are measured, when something changed. It reads
        /// every page.
        pub table_sizes_interval: Duration = 6 * HOUR => Between(MINUTE, 30 * DAY),
        /// The number of tables whose sizes are published: the largest, with their indexes.
        pub table_sizes_top: usize = 20 => Between(1, 1_000),
        /// How long one table or index may be measured in a WAL database; a rollback database gets
        /// a tenth.
        pub table_sizes_timeout: Duration = 500 * MILLISECOND => Between(MILLISECOND, MINUTE),
        /// Which collectors run.
        pub collectors: Collectors = Collectors::default() => Nested,
        /// How long the application waits for a lock (its `busy_timeout`); unknown where it is not
        /// configured.
        pub owner_busy_timeout: Option<Duration> = None => Optional(Between(Duration::ZERO, HOUR)),
        /// Tables with rows that are final.
        pub sealed: Vec<SealedRows> = Vec::new() => Serialized(read_sealed),
        /// The tasks that run on it.
        pub tasks: Tasks = Tasks::default() => Nested,
        /// Thresholds of alerts for this database.
        pub alerts: AlertThresholds = AlertThresholds::new() => Merged(By(read_alerts, shown_alerts)),
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self::defaults()
    }
}

section! {
    /// Which collectors run on a database. All but the one that reads every page run by default;
    /// without tables, columns or SQL most of them have nothing to do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Collectors {
        /// `sqlite_schema_objects`: reads the schema whenever it changed.
        pub schema: bool = true => Switch,
        /// `sqlite_table_rows`.
        pub row_counts: bool = true => Switch,
        /// `sqlite_table_oldest_row_timestamp_seconds` and `…_newest_…`.
        pub timestamps: bool = true => Switch,
        /// `sqlite_custom_*`.
        pub custom_metrics: bool = true => Switch,
        /// `sqlite_table_size_bytes`, `sqlite_index_size_bytes`, `sqlite_table_unused_bytes`.
        pub table_sizes: bool = false => Switch,
    }
}

impl Default for Collectors {
    fn default() -> Self {
        Self::defaults()
    }
}

fn read_labels(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for (name, position, tree) in decoder.entries(value)? {
        let label = Value { tree, key: format!("{}.{name}", value.key) };
        if let Some(problem) = info_label_problem(name) {
            decoder.refuse(position, &label.key, problem);
        }
        if let Some(text) = decoder.scalar(&label) {
            labels.insert(name.to_owned(), text.into_owned());
        }
    }
    Some(labels)
}

fn shown_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.clone(), escape(value))).collect()
}

/// Reads a list of tables, or the word `all`.
fn read_row_counts(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<String>> {
    let Node::Scalar(_) = &value.tree.node else { return decoder.texts(value) };
    let text = decoder.scalar(value)?;
    if text == "all" {
        return Some(vec!["*".to_owned()]);
    }
    let message = format!("must be a list of tables or the word `all`, not {}", quoted(&text));
    decoder.refuse_value(value, message);
    None
}
