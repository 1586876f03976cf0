//! Whether SQLite without the application could make the tables and indexes of a database anew, as
//! VACUUM does.

use rusqlite::Connection;

use super::error::SqliteError;
use super::names::name_in;
use super::names::prepare;
use super::reader::Reader;

impl Reader {
    /// What keeps the schema from being made anew here: the first table or index with SQLite's
    /// words, such as a collation or function that only the application has.
    ///
    /// VACUUM runs the statements of the schema again. They are tried in an empty database in
    /// memory, which costs as much as reading the schema.
    ///
    /// # Errors
    /// The limits are exceeded, or a read fails.
    pub fn unknown_to_rebuild(&self) -> Result<Option<String>, SqliteError> {
        const OPERATION: &str = "try the statements of the schema";
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.limits);
        let sql = "SELECT name, sql FROM main.sqlite_schema WHERE rootpage > 0 AND sql IS NOT NULL \
                   AND type IN ('table', 'index') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let rows = statement.query_map((), |row| Ok((name_in(row, 0)?, name_in(row, 1)?))).map_err(failed)?;
        let empty = Connection::open_in_memory().map_err(failed)?;
        for row in rows {
            let (name, sql) = row.map_err(failed)?;
            if self.limits.is_exceeded() {
                return Err(SqliteError::limit_error(OPERATION, &self.limits));
            }
            // The first statement alone: what follows it in a schema SQLite never runs.
            if let Err(error) = prepare(&empty, &sql).and_then(|mut create| create.step()) {
                let error = SqliteError::new(OPERATION, &error, &self.limits);
                if error.is_missing_part() {
                    return Ok(Some(format!("{name}: {}", error.words())));
                }
            }
        }
        Ok(None)
    }
}

impl SqliteError {
    /// Whether a statement needs something that only the application has.
    #[must_use]
    pub fn is_missing_part(&self) -> bool {
        const WORDS: [&str; 6] = [
            "no such collation sequence: ",
            "no such function: ",
            "unknown function: ",
            "no such module: ",
            "no such tokenizer: ",
            "unknown tokenizer: ",
        ];
        self.is_not_checkable() && WORDS.iter().any(|words| self.words().contains(words))
    }
}
