//! Indexes that hold row ids of another table: full-text tables with `content=…`, and what triggers
//! keep by row id. They are wrong after a VACUUM that numbers the rows anew, or when rows are
//! deleted behind their back.

use rusqlite::Connection;

use super::names::bound;
use super::names::name_in;
use super::query_source::QuerySource;
use super::tables::quoted;

/// A full-text table that indexes the rows of another table without keeping them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTextIndex {
    /// The index.
    pub name: String,
    /// The table with the text.
    pub content: String,
    /// `fts3`, `fts4` or `fts5`.
    pub module: String,
    /// The column of the table that is the row id of the index.
    pub row_id: String,
}

/// The full-text tables with `content=…`.
pub(super) fn full_text_indexes(connection: &Connection) -> rusqlite::Result<Vec<FullTextIndex>> {
    let sql =
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0 AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, sql) = (name_in(row, 0)?, name_in(row, 1)?);
        found.extend(external_content(name, &sql));
    }
    Ok(found)
}

/// A full-text table that indexes the rows of another without keeping them: `content=…` of FTS4 and
/// FTS5 (<https://www.sqlite.org/fts5.html#external_content_tables>).
fn external_content(name: String, sql: &str) -> Option<FullTextIndex> {
    let (before, arguments) = sql.split_once('(')?;
    let module = before.split_whitespace().next_back()?.to_ascii_lowercase();
    if !["fts3", "fts4", "fts5"].contains(&module.as_str()) {
        return None;
    }
    let option = |wanted: &str| {
        let quotes: [char; 5] = ['\'', '"', '`', '[', ']'];
        let value = arguments.trim_end().trim_end_matches(')').split(',').find_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })?;
        Some(value.trim_matches(quotes).to_owned()).filter(|value| !value.is_empty())
    };
    let row_id = option("content_rowid").unwrap_or_else(|| "rowid".to_owned());
    Some(FullTextIndex { name, content: option("content")?, module, row_id })
}

/// The triggers of a table, each with its SQL.
fn triggers(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let sql =
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";
    connection
        .prepare(sql)?
        .query_map([bound(table)], |row| Ok((name_in(row, 0)?, name_in(row, 1)?)))?
        .collect()
}

/// Whether rows of a table keep their ids in a VACUUM: an INTEGER PRIMARY KEY is one, and WITHOUT
/// ROWID there are none. `None` for what is not an ordinary table.
fn keeps_row_ids(connection: &Connection, table: &str) -> rusqlite::Result<Option<bool>> {
    let sql = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ?1 COLLATE NOCASE";
    let mut statement = connection.prepare(sql)?;
    let strip_path = statement.query_map([bound(table)], |row| row.get::<_, bool>(0))?.next().transpose()?;
    let Some(strip_path) = strip_path else { return Ok(None) };
    if strip_path {
        return Ok(Some(true));
    }
    // Only the row id itself has no index among those of its table: a key DESC, or of another type,
    // has one.
    let sql = "SELECT (SELECT count(*) FROM pragma_table_xinfo(?1) WHERE pk > 0) = 1 \
               AND (SELECT upper(type) = 'INTEGER' FROM pragma_table_xinfo(?1) WHERE pk > 0) \
               AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    let keeps = connection.query_row(sql, [bound(table)], |row| row.get::<_, Option<bool>>(0))?;
    Ok(Some(keeps.unwrap_or(false)))
}

/// Whether a trigger's text names the row id of its row.
fn names_row_id(sql: &str) -> bool {
    let text: String = sql
        .chars()
        .filter(|c| !c.is_whitespace() && !"\"`[]".contains(*c))
        .collect::<String>()
        .to_ascii_lowercase();
    ["new.", "old."]
        .iter()
        .any(|row| ["rowid", "_rowid_", "oid"].iter().any(|id| text.contains(&format!("{row}{id}"))))
}

/// What a VACUUM would break: a table, and what finds its rows by an id that changes.
fn broken_by_vacuum(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for FullTextIndex { name, content, .. } in full_text_indexes(connection)? {
        if keeps_row_ids(connection, &content)? == Some(false) {
            found.push((content, format!("the full-text index {name}")));
        }
    }
    let sql = "SELECT DISTINCT tbl_name, name, sql FROM main.sqlite_schema WHERE type = 'trigger'";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (table, trigger, sql) = (name_in(row, 0)?, name_in(row, 1)?, name_in(row, 2)?);
        let known = found.iter().any(|(other, _)| other.eq_ignore_ascii_case(&table));
        if !known && names_row_id(&sql) && keeps_row_ids(connection, &table)? == Some(false) {
            found.push((table, format!("what the trigger {trigger} keeps by row id")));
        }
    }
    Ok(found)
}

/// The full-text indexes of a table that no trigger of its deletions tends, each with a trigger
/// that would, and the rebuild that it needs first: taking out what an index does not hold damages
/// it.
fn left_behind(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for FullTextIndex { name, content, .. } in full_text_indexes(connection)? {
        if !content.eq_ignore_ascii_case(table) {
            continue;
        }
        let tends = |sql: &str| {
            let sql = sql.to_ascii_lowercase();
            let head = sql.split_once("begin").map_or("", |(head, _)| head);
            head.contains("delete") && sql.contains(&name.to_ascii_lowercase())
        };
        if triggers(connection, table)?.iter().any(|(_, sql)| tends(sql)) {
            continue;
        }
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info(?1)")?
            .query_map([bound(&name)], |row| name_in(row, 0))?
            .collect::<rusqlite::Result<_>>()?;
        let (names, old): (Vec<String>, Vec<String>) =
            columns.iter().map(|column| (quoted(column), format!("old.{}", quoted(column)))).unzip();
        let index = quoted(&name);
        let trigger = format!(
            "CREATE TRIGGER {} AFTER DELETE ON {} BEGIN INSERT INTO {index}({index}, rowid, {}) \
             VALUES ('delete', old.rowid, {}); END; INSERT INTO {index}({index}) VALUES ('rebuild');",
            quoted(&format!("{name}_delete")),
            quoted(table),
            names.join(", "),
            old.join(", ")
        );
        found.push((name, trigger));
    }
    Ok(found)
}

/// What is asked about such indexes before anything is written.
pub trait RowIdIndexes: QuerySource {
    /// What a VACUUM would break: tables whose rows it numbers anew, each with what finds them by
    /// their ids.
    ///
    /// # Errors
    /// What any read can meet.
    fn broken_by_vacuum(&self) -> Result<Vec<(String, String)>, super::error::SqliteError> {
        self.query("look for indexes by row id", broken_by_vacuum)
    }

    /// The full-text indexes that would keep the rows deleted from a table, each with the trigger
    /// that is missing.
    ///
    /// # Errors
    /// What any read can meet.
    fn left_behind(&self, table: &str) -> Result<Vec<(String, String)>, super::error::SqliteError> {
        self.query("look for full-text indexes", |connection| left_behind(connection, table))
    }
}

impl<A: QuerySource> RowIdIndexes for A {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_behind_a_full_text_index_is_known() {
        for (sql, table) in [
            ("CREATE VIRTUAL TABLE f USING fts5(text, content='items', content_rowid='id')", Some("items")),
            ("CREATE VIRTUAL TABLE f USING FTS5 (text, content = items)", Some("items")),
            ("create virtual table \"f\" using fts4(content=\"two words\", text)", Some("two words")),
            ("CREATE VIRTUAL TABLE f USING fts5(text, content='')", None),
            ("CREATE VIRTUAL TABLE f USING fts5(content, text)", None),
            ("CREATE VIRTUAL TABLE f USING rtree(id, content=items)", None),
            ("CREATE VIRTUAL TABLE f USING fts5", None),
        ] {
            let found = external_content("f".to_owned(), sql);
            assert_eq!(found.as_ref().map(|index| index.content.as_str()), table, "{sql}");
            let row_id = if sql.contains("content_rowid") { "id" } else { "rowid" };
            assert!(found.is_none_or(|index| index.row_id == row_id), "{sql}");
        }
    }

    #[test]
    fn what_a_vacuum_breaks_is_named() {
        let trigger = "CREATE TRIGGER t AFTER INSERT ON notes BEGIN INSERT INTO f(rowid, body) VALUES (new.rowid, new.body); END;";
        for (sql, broken) in [
            ("CREATE TABLE notes(body); CREATE VIRTUAL TABLE f USING fts5(body, content=notes);", true),
            ("CREATE TABLE notes(body); CREATE VIRTUAL TABLE f USING fts4(body, content=notes);", true),
            (
                "CREATE TABLE notes(id INTEGER PRIMARY KEY DESC, body); CREATE VIRTUAL TABLE f USING fts5(body, content=notes);",
                true,
            ),
            (
                "CREATE TABLE notes(id INT PRIMARY KEY, body); CREATE VIRTUAL TABLE f USING fts5(body, content=notes);",
                true,
            ),
            (
                "CREATE TABLE notes(id integer primary key, body); CREATE VIRTUAL TABLE f USING fts5(body, content=notes);",
                false,
            ),
            (&format!("CREATE TABLE notes(body); CREATE VIRTUAL TABLE f USING fts5(body); {trigger}"), true),
            (
                &format!(
                    "CREATE TABLE notes(id INTEGER PRIMARY KEY, body); CREATE VIRTUAL TABLE f USING fts5(body); {trigger}"
                ),
                false,
            ),
            ("CREATE TABLE notes(body); CREATE VIRTUAL TABLE f USING fts5(body);", false),
        ] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(sql).unwrap();
            assert_eq!(!broken_by_vacuum(&connection).unwrap().is_empty(), broken, "{sql}");
        }
    }
}
