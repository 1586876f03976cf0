//! The task `log_cleaning`.

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::kinds::Group;
use crate::config::kinds::Optional;
use crate::config::kinds::Required;
use crate::config::messages::quoted;
use crate::config::section::section;
use crate::config::tasks::common::Timing;
use crate::config::tasks::common::WriteLimits;
use crate::config::tasks::retention::Retention;
use crate::config::tasks::retention::read_retention;
use crate::config::units::HOUR;
use crate::config::values::Serialized;
use crate::config::values::Switch;

/// The least that the key `tables` may be.
const TABLES_EXAMPLE: &str = "tables: [{table: logs, column: created_at}]";

section! {
    /// The task `log_cleaning`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct LogCleaning {
        /// When it runs.
        pub timing: Timing = Timing::new("0 1 * * *", HOUR) => Group,
        /// The tables, each with its retention.
        pub tables: Vec<Retention> = Vec::new() => Required(TABLES_EXAMPLE, Serialized(read_tables)),
        /// Whether foreign keys are enforced; needed where others refer to a table.
        pub foreign_keys: Option<bool> = None => Optional(Switch),
        /// How long it holds the write lock.
        pub write_limits: WriteLimits = WriteLimits::defaults() => Group,
    }
}

fn read_tables(
    value: &Value<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<Retention>> {
    let items = decoder.items(value)?;
    if items.is_empty() {
        decoder
            .refuse_value(value, "must name at least one table, as in `- {table: logs, column: created_at}`");
    }
    let mut tables: Vec<Retention> = Vec::new();
    for item in items {
        let Some(retention) = read_retention(&item, context, decoder) else { continue };
        // The metrics have one series per table.
        if tables.iter().any(|other| other.table.eq_ignore_ascii_case(&retention.table)) {
            decoder.refuse_value(&item, format!("{} is listed already", quoted(&retention.table)));
        }
        tables.push(retention);
    }
    Some(tables)
}
