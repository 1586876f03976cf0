//! Virtual tables and their modules: SQLite's check passes over those whose module is not known, in silence.

use super::error::SqliteError;
use super::findings::Finding;
use super::pieces::ADVICE;
use super::reader::Reader;

impl Reader {
    /// Virtual tables of modules that are not compiled in: SQLite's check passes them over in silence.
    pub(super) fn unknown_modules(&self) -> Result<Vec<Finding>, SqliteError> {
        let tables = self.virtual_tables()?;
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: rusqlite::Error| SqliteError::new("list the modules", &error, &self.budget);
        let mut statement = self.connection.prepare("PRAGMA module_list").map_err(failed)?;
        let rows = statement.query_map((), |row| row.get::<_, String>(0)).map_err(failed)?;
        let known: Vec<String> = rows.collect::<Result<_, _>>().map_err(failed)?;
        let unknown = |module: &String| {
            !module.is_empty() && !known.iter().any(|name| name.eq_ignore_ascii_case(module))
        };
        let tables = tables.into_iter().filter(|(_, module)| unknown(module));
        Ok(tables.map(|(table, module)| no_module(&table, &module)).collect())
    }

    /// The same for one table without pages of its own.
    pub(super) fn unknown_module_of(&self, table: &str, btrees: u64) -> Result<Option<Finding>, SqliteError> {
        if btrees > 0 {
            return Ok(None);
        }
        let begin = no_module(table, "");
        let begin = begin.text.split_once(": its content").map_or("", |(begin, _)| begin).to_owned();
        let of_table = |finding: &Finding| finding.text.starts_with(&format!("{begin}: "));
        Ok(self.unknown_modules()?.into_iter().find(of_table))
    }

    /// Every virtual table with its module.
    pub(super) fn virtual_tables(&self) -> Result<Vec<(String, String)>, SqliteError> {
        let failed =
            |error: rusqlite::Error| SqliteError::new("list the virtual tables", &error, &self.budget);
        let sql = "SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM main.sqlite_schema \
                   WHERE type = 'table' AND rootpage = 0 AND sql IS NOT NULL";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let rows = statement
            .query_map((), |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .map_err(failed)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        rows.map(|row| row.map(|(name, sql)| (text(name), module_of(&text(sql)))))
            .collect::<Result<_, _>>()
            .map_err(failed)
    }
}

/// A virtual table whose module is not known.
fn no_module(table: &str, module: &str) -> Finding {
    Finding::not_checkable(format!(
        "virtual table {table}: its content was not checked: its module {module} is not a part of litekeeper; {ADVICE} (the \
         tables that it keeps its content in were checked)"
    ))
}

/// The module in the statement that made a virtual table; empty where it is not understood.
fn module_of(sql: &str) -> String {
    let lower = sql.to_ascii_lowercase();
    let mut words = lower.match_indices("using").filter(|(at, word)| {
        let around =
            |character: Option<char>| character.is_none_or(|one| !one.is_alphanumeric() && one != '_');
        around(lower[..*at].chars().next_back()) && around(lower[at + word.len()..].chars().next())
    });
    let Some((at, word)) = words.next() else { return String::new() };
    let rest = sql[at + word.len()..].trim_start().trim_start_matches(['"', '[', '`', '\'']);
    rest.chars().take_while(|one| one.is_alphanumeric() || *one == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_of_a_virtual_table_is_read() {
        for (sql, module) in [
            ("CREATE VIRTUAL TABLE f USING fts5(text)", "fts5"),
            ("create virtual table \"f\" using\n\"spellfix1\"", "spellfix1"),
            ("CREATE VIRTUAL TABLE using_it USING vec0(a float[3])", "vec0"),
            ("nonsense", ""),
        ] {
            assert_eq!(module_of(sql), module, "{sql}");
        }
    }
}
