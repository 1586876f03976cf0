//! Rows that are final: whose content must not change any more.

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::kinds::Required;
use crate::config::messages::quoted;
use crate::config::section::Section;
use crate::config::section::read_section;
use crate::config::section::section;
use crate::config::values::Text;

section! {
    /// The final rows of a table.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SealedRows {
        /// The table.
        pub table: String = String::new() => Required("table: vouchers", Text),
        /// SQL that is true for a row that is final. Only its database can check it.
        pub condition as "where": String = String::new() => Required("where: closed = 1", Text),
    }
}

/// Reads a list of tables with final rows.
pub(super) fn read_sealed(
    value: &Value<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<SealedRows>> {
    let mut tables: Vec<SealedRows> = Vec::new();
    for item in decoder.items(value)? {
        let Some(fields) = decoder.fields(&item, &SealedRows::keys()) else { continue };
        let Some(rows) = read_section::<SealedRows>(&fields, context, decoder) else { continue };
        // A table has one store, and the metrics have one series per table.
        if tables.iter().any(|other| other.table.eq_ignore_ascii_case(&rows.table)) {
            let message =
                format!("the table {} is listed already; join its conditions with OR", quoted(&rows.table));
            decoder.refuse_value(&item, message);
            continue;
        }
        tables.push(rows);
    }
    Some(tables)
}
