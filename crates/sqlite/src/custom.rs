//! The user's own SQL: one SELECT, and nothing but reading.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::hooks::AuthAction;
use rusqlite::hooks::AuthContext;
use rusqlite::hooks::Authorization;
use rusqlite::types::ValueRef;

use super::error::SqliteError;
use super::reader::Reader;

/// Label values and the sample, in a stable order.
pub type CustomRows = BTreeMap<Vec<String>, f64>;

/// The answer to a custom query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryResult {
    /// A sample for each set of label values.
    pub rows: CustomRows,
    /// Rows beyond the cap.
    pub dropped: u64,
}

/// A label value is cut here, so that a wide column cannot fill the memory; the exposition cuts it
/// further.
const MAX_LABEL_CHARS: usize = 2_000;

/// Why a custom query gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CustomError {
    /// SQLite refused or failed, or the limits are exceeded.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    /// The query does not return a column of that name.
    #[error(
        "the query returns no column \"{0}\"; name the columns with AS, or set `value` and `labels` to what it returns"
    )]
    NoColumn(String),
    /// The value is text or a blob.
    #[error("the value column \"{0}\" holds {1}, not a number; CAST it in the query")]
    NotANumber(String, &'static str),
    /// A counter cannot be below zero.
    #[error(
        "the value column \"{0}\" holds {1}, and a counter cannot be negative or no number; use `type: gauge`"
    )]
    NegativeCounter(String, f64),
    /// Two rows would be one series.
    #[error("two rows have the same labels {0:?}; GROUP BY every label column")]
    DuplicateLabels(Vec<String>),
}

impl Reader {
    /// Asks one SELECT and reads `value` and the `labels` columns of at most `max_rows` rows. Rows
    /// whose value is NULL are left out.
    ///
    /// # Errors
    /// A statement that would do anything but read is refused as "not authorized"; see
    /// [`CustomError`].
    pub fn custom(
        &mut self,
        sql: &str,
        value: &str,
        labels: &[String],
        max_rows: usize,
        timeout: Duration,
    ) -> Result<QueryResult, CustomError> {
        const OPERATION: &str = "custom query";
        self.connection
            .authorizer(Some(authorize))
            .map_err(|error| SqliteError::new(OPERATION, &error, &self.limits))?;
        self.within(timeout, |reader| {
            let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &reader.limits);
            let mut statement = reader.connection.prepare(sql).map_err(failed)?;
            let column =
                |name: &str| statement.column_index(name).map_err(|_| CustomError::NoColumn(name.to_owned()));
            let value_index = column(value)?;
            let label_indexes = labels.iter().map(|label| column(label)).collect::<Result<Vec<_>, _>>()?;
            let mut rows = statement.query(()).map_err(failed)?;
            let mut answer = QueryResult::default();
            while let Some(row) = rows.next().map_err(failed)? {
                let Some(number) = number(row.get_ref(value_index).map_err(failed)?, value)? else {
                    continue;
                };
                if answer.rows.len() == max_rows {
                    answer.dropped += 1;
                    continue;
                }
                let mut key = Vec::with_capacity(label_indexes.len());
                for &index in &label_indexes {
                    key.push(label_text(row.get_ref(index).map_err(failed)?));
                }
                if answer.rows.insert(key.clone(), number).is_some() {
                    return Err(CustomError::DuplicateLabels(key));
                }
            }
            Ok(answer)
        })
    }
}

/// Allows reading of the main database and the pure functions; refuses all else, so that a mistake
/// in a configuration cannot do more than read. The connection could not write anyhow.
fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if function_name != "load_extension" => Authorization::Allow,
        // rusqlite's enum is open-ended: whatever it does not name is refused.
        _ => Authorization::Deny,
    }
}

fn number(value: ValueRef<'_>, column: &str) -> Result<Option<f64>, CustomError> {
    let wrong = |what| Err(CustomError::NotANumber(column.to_owned(), what));
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(integer) => Ok(Some(integer as f64)),
        ValueRef::Real(real) => Ok(Some(real)),
        ValueRef::Text(_) => wrong("text"),
        ValueRef::Blob(_) => wrong("a blob"),
    }
}

fn label_text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            String::from_utf8_lossy(text).chars().take(MAX_LABEL_CHARS).collect()
        }
    }
}
