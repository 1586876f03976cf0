//! A check that goes on past what it cannot check: table by table, with stand-ins for what is
//! missing here, and with the reason for everything that is left out.

use std::collections::BTreeSet;

use super::error::ErrorCode;
use super::error::SqliteError;
use super::findings::ADVICE;
use super::findings::Checked;
use super::findings::Finding;
use super::findings::FindingCategory;
use super::findings::capped;
use super::integrity::Check;
use super::names::bound;
use super::names::prepare;
use super::names::rows_of;
use super::names::text_in;
use super::raw;
use super::reader::Reader;
use super::tables::quoted;
use super::virtual_tables::content_unchecked;

/// The most functions that are stood in for in one table.
const MAX_FUNCTIONS: usize = 64;

/// An index, as far as its check needs to know it.
pub(super) struct Index {
    pub name: String,
    /// The collation that is not known here and decides its order.
    pub unknown_collation: Option<String>,
    /// Its columns; nothing where one is an expression.
    pub columns: Option<Vec<String>>,
    /// It holds some rows only.
    pub is_partial: bool,
    /// It was made for the primary key; in a table WITHOUT ROWID it is the table itself.
    pub is_primary_key: bool,
}

impl Reader {
    /// What a check of the whole database says, with the virtual tables that SQLite left out
    /// without a word.
    pub(super) fn complete(&self, check: Check, mut findings: Vec<Finding>) -> Result<Checked, SqliteError> {
        if check != Check::ForeignKey {
            findings.extend(self.unknown_modules()?);
            findings.extend(self.broken_checks()?);
        }
        let btrees = self.btree_count(check);
        Ok(Checked { findings, btrees, btrees_checked: btrees, whole: true })
    }

    /// Goes through every table by itself.
    pub(super) fn check_by_table(&self, check: Check) -> Result<Checked, SqliteError> {
        let mut all = Checked::default();
        for table in self.tables_to_check(check)? {
            let piece = self.check_one_table(check, &table)?;
            all.findings.extend(piece.findings);
            all.btrees += piece.btrees;
            all.btrees_checked += piece.btrees_checked;
        }
        all.findings = capped(all.findings);
        Ok(all)
    }

    /// What a check that goes table by table has to look at: every table, and for the pages of the
    /// schema and the content of virtual tables these too.
    ///
    /// # Errors
    /// `Corrupt` for a schema that SQLite refuses, and what any read can meet.
    pub fn tables_to_check(&self, check: Check) -> Result<Vec<String>, SqliteError> {
        let mut tables: Vec<String> =
            self.tables_with_indexes()?.into_iter().map(|(table, _)| table).collect();
        if check != Check::ForeignKey {
            tables.push("sqlite_schema".to_owned());
            tables.extend(self.virtual_tables()?.into_iter().map(|(table, _)| table));
        }
        Ok(tables)
    }

    /// Checks one table and its indexes as far as that can be done here.
    pub(super) fn check_one_table(&self, check: Check, table: &str) -> Result<Checked, SqliteError> {
        if check == Check::ForeignKey {
            return self.foreign_keys_of_table(table);
        }
        let mut functions = Vec::new();
        let checked = self.check_one_table_with(check, table, &mut functions);
        // The next table must ask for them again, so that it is known which one needs them.
        functions.iter().try_for_each(|function| self.remove_stand_in(function))?;
        checked
    }

    fn check_one_table_with(
        &self,
        check: Check,
        table: &str,
        functions: &mut Vec<String>,
    ) -> Result<Checked, SqliteError> {
        let pragma = |name: &str| format!("PRAGMA main.{name}({})", quoted(table));
        let (operation, name) = match check {
            Check::Quick | Check::ForeignKey => ("quick check", "quick_check"),
            Check::Full => ("integrity check", "integrity_check"),
        };
        let btrees = self.btree_count_of(table);
        if let Some(unknown) = self.unknown_module_of(table, btrees)? {
            return Ok(Checked { findings: vec![unknown], ..Checked::default() });
        }
        match self.prepare_with_stand_ins(&pragma(name), functions) {
            Ok(()) => {}
            Err(error) if error.is_not_checkable() => return Ok(not_checked(table, &error, btrees)),
            Err(error) => return Err(error),
        }
        let indexes = self.indexes_for_check(table)?;
        let unknown: Vec<&Index> = indexes.iter().filter(|index| index.unknown_collation.is_some()).collect();
        let whole_rows = functions.is_empty() && unknown.is_empty();
        let found = self.run_table_check(operation, &pragma(if whole_rows { name } else { "quick_check" }));
        let (mut findings, ended) = found?;
        findings.extend(self.broken_checks_in(table)?);
        if let Some(error) = &ended
            && btrees == 0
        {
            let sql = self.virtual_table_sql(table);
            findings.push(content_unchecked(table, sql.as_deref(), error.words()));
            return Ok(Checked { findings, ..Checked::default() });
        }
        if let Some(error) = ended {
            findings.push(Finding::not_checkable(format!(
                "{table}: its rows were not checked to the end: {} (its pages and the number of its entries were checked)",
                error.words()
            )));
            return Ok(Checked { findings, btrees, ..Checked::default() });
        }
        if whole_rows {
            return Ok(Checked { findings, btrees, btrees_checked: btrees, whole: false });
        }
        // A rule that needs what is missing cannot be judged.
        findings.retain(|finding| functions.is_empty() || finding.kind != FindingCategory::Constraint);
        if !unknown.is_empty() {
            findings.retain(|finding| !finding.text.starts_with("CHECK constraint failed in "));
        }
        for function in &*functions {
            findings.push(Finding::not_checkable(format!(
                "{table}: what its function {function} decides (CHECK, generated columns, indexes over it) was not checked: the \
                 function is the application's own; {ADVICE}"
            )));
        }
        let mut left_out = BTreeSet::new();
        if check == Check::Full {
            self.compare_indexes(table, &indexes, &mut findings, &mut left_out)?;
        }
        let left_out = (left_out.len() as u64).max(u64::from(!functions.is_empty()));
        Ok(Checked { findings, btrees, btrees_checked: btrees.saturating_sub(left_out), whole: false })
    }

    /// Prepares a check, with functions that are missing stood in for.
    fn prepare_with_stand_ins(&self, sql: &str, functions: &mut Vec<String>) -> Result<(), SqliteError> {
        loop {
            let Err(error) = prepare(&self.connection, sql) else { return Ok(()) };
            let error = SqliteError::new("check", &error, &self.limits);
            let Some(name) = error.missing_function().filter(|_| functions.len() < MAX_FUNCTIONS) else {
                return Err(error);
            };
            self.stand_in_function(&name)?;
            functions.push(name);
        }
    }

    /// Runs a check that was prepared before; where the content of a row ends it, with the reason.
    fn run_table_check(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<(Vec<Finding>, Option<SqliteError>), SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new(operation, &error, &self.limits);
        let mut statement = prepare(&self.connection, sql).map_err(failed)?;
        self.rows_of_check(operation, &mut statement)
    }

    fn foreign_keys_of_table(&self, table: &str) -> Result<Checked, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("read the foreign keys", &error, &self.limits);
        let sql = format!("PRAGMA main.foreign_key_list({})", quoted(table));
        /// `table` of <https://www.sqlite.org/pragma.html#pragma_foreign_key_list>.
        const PARENT: i32 = 2;
        let parents = rows_of(&self.connection, &sql, |row| text_in(row, PARENT)).map_err(failed)?;
        let parents: BTreeSet<String> = parents.into_iter().flatten().collect();
        if parents.is_empty() {
            return Ok(Checked::default());
        }
        let mut unordered = false;
        for parent in &parents {
            let indexes = self.indexes_for_check(parent)?;
            unordered |= indexes.iter().any(|index| index.unknown_collation.is_some());
        }
        let sql = format!("PRAGMA main.foreign_key_check({})", quoted(table));
        // The first try may have to stand in for a collation of a parent that nothing has asked for
        // before.
        let before = self.collations_stood_in_for()?.len();
        let found = if unordered { Ok(None) } else { self.foreign_keys(&sql, before) };
        let not_checked = |reason: String| {
            vec![Finding::not_checkable(format!("{table}: its foreign keys were not checked: {reason}"))]
        };
        let findings = match found {
            Ok(Some(findings)) => findings,
            Ok(None) => not_checked(format!(
                "the keys that they refer to are in the order of a collation that is the application's own; {ADVICE}"
            )),
            Err(error) if error.is_not_checkable() => not_checked(error.words().to_owned()),
            Err(error) => return Err(error),
        };
        Ok(Checked { findings, ..Checked::default() })
    }

    fn indexes_for_check(&self, table: &str) -> Result<Vec<Index>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("read the indexes", &error, &self.limits);
        let stood_in = self.collations_stood_in_for()?;
        // The columns of these as <https://www.sqlite.org/pragma.html#pragma_index_list> has them.
        let sql = format!("PRAGMA main.index_list({})", quoted(table));
        let listed = rows_of(&self.connection, &sql, |row| {
            (text_in(row, 1), text_in(row, 3).as_deref() == Some("pk"), row.number(4) == Some(1))
        });
        let mut indexes = Vec::new();
        for (name, is_primary_key, is_partial) in listed.map_err(failed)? {
            let name = name.unwrap_or_default();
            let sql = format!("PRAGMA main.index_xinfo({})", quoted(&name));
            let part =
                |row: &raw::Statement<'_>| (row.number(5) == Some(1), text_in(row, 2), text_in(row, 4));
            let parts = rows_of(&self.connection, &sql, part).map_err(failed)?;
            let keys = || parts.iter().filter(|(key, _, _)| *key);
            let unknown_collation = keys().find_map(|(_, _, collation)| {
                let collation = collation.as_ref()?;
                stood_in.iter().any(|name| name.eq_ignore_ascii_case(collation)).then(|| collation.clone())
            });
            let columns: Option<Vec<String>> = keys().map(|(_, column, _)| column.clone()).collect();
            indexes.push(Index { name, unknown_collation, columns, is_partial, is_primary_key });
        }
        Ok(indexes)
    }

    /// The b-trees that a check of the whole database looks at.
    fn btree_count(&self, check: Check) -> u64 {
        match check {
            Check::ForeignKey => 0,
            Check::Quick | Check::Full => {
                let sql = "SELECT count(*) + 1 FROM main.sqlite_schema WHERE rootpage > 0";
                self.connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_or(0, i64::unsigned_abs)
            }
        }
    }

    /// The b-trees of one table.
    fn btree_count_of(&self, table: &str) -> u64 {
        if table == "sqlite_schema" {
            return 1;
        }
        let sql = "SELECT count(*) FROM main.sqlite_schema WHERE rootpage > 0 AND tbl_name = ?1";
        self.connection
            .query_row(sql, [bound(table)], |row| row.get::<_, i64>(0))
            .map_or(0, i64::unsigned_abs)
    }
}

/// A table that could not be checked at all.
fn not_checked(table: &str, error: &SqliteError, btrees: u64) -> Checked {
    let text = match error.missing_tokenizer() {
        Some(tokenizer) => format!(
            "virtual table {table}: its content was not checked: its tokenizer {tokenizer} is the application's own; {ADVICE} (the \
             tables that it keeps its content in were checked)"
        ),
        None => format!("{table}: not checked: {}", error.words()),
    };
    Checked { findings: vec![Finding::not_checkable(text)], btrees, ..Checked::default() }
}

impl SqliteError {
    /// Whether SQLite refused because of something in the schema that is not known here, or a value
    /// that is too large for litekeeper, rather than because of the file or the system.
    #[must_use]
    pub fn is_not_checkable(&self) -> bool {
        use rusqlite::ffi;
        let primary = self.extended_code() & 0xff;
        self.code() == Some(ErrorCode::Other) && [ffi::SQLITE_ERROR, ffi::SQLITE_TOOBIG].contains(&primary)
    }

    /// The function without which a statement cannot be prepared.
    fn missing_function(&self) -> Option<String> {
        let words = self.words();
        let begins = ["no such function: ", "unknown function: "];
        let (_, name) = begins.iter().find_map(|begin| words.split_once(begin))?;
        let name = name.trim_end_matches("()");
        Some(name.trim_matches(['"', '`', '[', ']']).to_owned()).filter(|name| !name.is_empty())
    }

    fn missing_tokenizer(&self) -> Option<&str> {
        let words = self.words();
        ["unknown tokenizer: ", "no such tokenizer: "]
            .iter()
            .find_map(|begin| Some(words.split_once(begin)?.1))
    }
}
