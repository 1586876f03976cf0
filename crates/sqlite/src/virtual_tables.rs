//! Virtual tables and their modules: SQLite's check passes over those whose module is not known, in
//! silence.

use super::error::SqliteError;
use super::findings::ADVICE;
use super::findings::Finding;
use super::names::bound;
use super::names::name_in;
use super::reader::Reader;

impl Reader {
    /// Virtual tables of modules that are not compiled in: SQLite's check passes them over in
    /// silence.
    pub(super) fn unknown_modules(&self) -> Result<Vec<Finding>, SqliteError> {
        let tables = self.virtual_tables()?;
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: rusqlite::Error| SqliteError::new("list the modules", &error, &self.limits);
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

    /// The statement that made a virtual table.
    pub(super) fn virtual_table_sql(&self, table: &str) -> Option<String> {
        let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0 AND name = ?1";
        self.connection.query_row(sql, [bound(table)], |row| name_in(row, 0)).ok()
    }

    /// Every virtual table with its module.
    pub(super) fn virtual_tables(&self) -> Result<Vec<(String, String)>, SqliteError> {
        let failed =
            |error: rusqlite::Error| SqliteError::new("list the virtual tables", &error, &self.limits);
        let sql = "SELECT name, sql FROM main.sqlite_schema \
                   WHERE type = 'table' AND rootpage = 0 AND sql IS NOT NULL";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let rows = statement
            .query_map((), |row| Ok((name_in(row, 0)?, module_of(&name_in(row, 1)?))))
            .map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }
}

/// A virtual table whose module is not known.
fn no_module(table: &str, module: &str) -> Finding {
    Finding::not_checkable(format!(
        "virtual table {table}: its content was not checked: its module {module} is not a part of litekeeper; {ADVICE} (the \
         tables that it keeps its content in were checked)"
    ))
}

/// Why the content of a virtual table could not be checked to its end.
pub(super) fn content_unchecked(table: &str, sql: Option<&str>, words: &str) -> Finding {
    let reason = match sql.and_then(own_tokenizer) {
        Some(tokenizer) => format!("its tokenizer {tokenizer} is the application's own; {ADVICE}"),
        None => words.to_owned(),
    };
    Finding::not_checkable(format!(
        "virtual table {table}: its content was not checked: {reason} (the tables that it keeps its content in were checked)"
    ))
}

/// The tokenizer of a full-text table, if it is none of SQLite's own.
fn own_tokenizer(sql: &str) -> Option<String> {
    /// Those of FTS3, FTS4 and FTS5; `porter` of FTS5 stands before another.
    const OWN: [&str; 5] = ["simple", "porter", "unicode61", "ascii", "trigram"];
    let lower = sql.to_ascii_lowercase();
    let at = lower.find("tokenize")? + "tokenize".len();
    let value = sql[at..].trim_start_matches(|one: char| one.is_whitespace() || "=\"'[`(".contains(one));
    let mut words = value
        .split(|one: char| one.is_whitespace() || ",)\"'`]".contains(one))
        .filter(|word| !word.is_empty());
    let first = words.next()?;
    let name = if first.eq_ignore_ascii_case("porter") { words.next().unwrap_or(first) } else { first };
    (!OWN.iter().any(|own| own.eq_ignore_ascii_case(name))).then(|| name.to_owned())
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
    fn a_tokenizer_that_is_not_of_sqlite_is_named() {
        for (sql, tokenizer) in [
            ("CREATE VIRTUAL TABLE f USING fts5(a, tokenize='calibre')", Some("calibre")),
            ("CREATE VIRTUAL TABLE f USING fts5(a, tokenize = \"porter stems\")", Some("stems")),
            ("CREATE VIRTUAL TABLE f USING fts5(a, tokenize = 'porter unicode61 remove_diacritics 1')", None),
            ("CREATE VIRTUAL TABLE f USING fts4(a, tokenize=collating)", Some("collating")),
            ("CREATE VIRTUAL TABLE f USING fts4(a, tokenize=porter)", None),
            ("CREATE VIRTUAL TABLE f USING fts5(a)", None),
        ] {
            assert_eq!(own_tokenizer(sql).as_deref(), tokenizer, "{sql}");
        }
    }

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
