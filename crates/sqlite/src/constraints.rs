//! CHECK constraints: SQLite leaves them out when it reads the schema of a database that it may not
//! write (`sqlite3AddCheckConstraint` in build.c), so its own checks on such a connection never see
//! a broken one.

use super::error::SqliteError;
use super::findings::ADVICE;
use super::findings::Finding;
use super::names::Name;
use super::names::bound;
use super::names::name_in;
use super::names::number_of;
use super::names::prepare;
use super::reader::Reader;
use super::tables::quoted;

impl Reader {
    /// The tables whose rows break a CHECK, each with how many rows; one that cannot be asked here
    /// is a note.
    pub(super) fn broken_checks(&self) -> Result<Vec<Finding>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("read the schema", &error, &self.limits);
        let sql = "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND sql LIKE '%check%'";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let rows = statement.query_map((), |row| Ok((name_in(row, 0)?, name_in(row, 1)?))).map_err(failed)?;
        let mut findings = Vec::new();
        for row in rows {
            let (table, sql) = row.map_err(failed)?;
            findings.extend(self.broken_checks_of(&table, &sql)?);
        }
        Ok(findings)
    }

    /// What breaks the CHECKs of one table, by its name.
    pub(super) fn broken_checks_in(&self, table: &str) -> Result<Option<Finding>, SqliteError> {
        let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ?1";
        match self.connection.query_row(sql, [bound(table)], |row| row.get::<_, Option<Name>>(0)) {
            Ok(Some(Name(sql))) => self.broken_checks_of(table, &sql),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    fn broken_checks_of(&self, table: &str, sql: &str) -> Result<Option<Finding>, SqliteError> {
        let checks = checks_of(sql);
        if checks.is_empty() {
            return Ok(None);
        }
        // A line ends every comment in the expression; NULL passes, as it does for SQLite.
        let source = sql.to_ascii_lowercase();
        let all: Vec<String> = checks.iter().map(|check| format!("({check}\n)")).collect();
        let sql = format!("SELECT count(*) FROM main.{} WHERE NOT ({})", quoted(table), all.join(" AND "));
        // Asks for the collations that it needs.
        let prepared = prepare(&self.connection, &sql).map(drop);
        let stood_in = self.collations_stood_in_for()?;
        // The column may have the collation, too; then the name stands in the statement, and not in
        // the CHECK.
        let unknown = stood_in.iter().find(|name| source.contains(&name.to_ascii_lowercase()));
        if let Some(collation) = unknown.filter(|_| prepared.is_ok()) {
            return Ok(Some(Finding::not_checkable(format!(
                "{table}: its CHECKs were not checked: the collation {collation} is the application's own; {ADVICE}"
            ))));
        }
        let counted = number_of(&self.connection, &sql).map(Option::unwrap_or_default);
        match counted.map_err(|error| SqliteError::new("check constraints", &error, &self.limits)) {
            Ok(0) => Ok(None),
            Ok(1) => Ok(Some(Finding::constraint(format!("CHECK constraint failed in {table} for 1 row")))),
            Ok(rows) => {
                Ok(Some(Finding::constraint(format!("CHECK constraint failed in {table} for {rows} rows"))))
            }
            Err(error) if error.is_not_checkable() => Ok(Some(Finding::not_checkable(format!(
                "{table}: its CHECKs were not checked: {}",
                error.words()
            )))),
            // Damage that keeps rows from being read is the check's own to find.
            Err(error) if error.code().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The expressions of the CHECKs in the statement that made a table.
fn checks_of(sql: &str) -> Vec<&str> {
    let mut checks = Vec::new();
    // Where the expression began that is open now, and at which depth.
    let (mut open, mut depth, mut after_check) = (None, 0_u32, false);
    for (at, token) in tokens(sql) {
        match token {
            "(" => {
                depth += 1;
                if after_check && open.is_none() && depth == 2 {
                    open = Some(at + 1);
                }
            }
            ")" => {
                depth = depth.saturating_sub(1);
                if depth == 1
                    && let Some(begin) = open.take()
                {
                    checks.push(&sql[begin..at]);
                }
            }
            _ => {}
        }
        after_check = token.eq_ignore_ascii_case("check");
    }
    checks
}

/// The words and parentheses of a statement with their places; texts, quoted names and comments
/// left out.
fn tokens(sql: &str) -> Vec<(usize, &str)> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &sql[at..];
        let end = match byte {
            b'\'' | b'"' | b'`' => end_of_quoted(bytes, at, byte),
            b'[' => rest.find(']').map_or(sql.len(), |length| at + length + 1),
            b'-' if rest.starts_with("--") => rest.find('\n').map_or(sql.len(), |length| at + length + 1),
            b'/' if rest.starts_with("/*") => {
                rest[2..].find("*/").map_or(sql.len(), |length| at + length + 4)
            }
            b'(' | b')' => {
                tokens.push((at, &sql[at..=at]));
                at + 1
            }
            _ => {
                let is_word = |one: char| one.is_alphanumeric() || one == '_' || one == '$';
                let length = rest.find(|one| !is_word(one)).unwrap_or(rest.len());
                if length > 0 {
                    tokens.push((at, &rest[..length]));
                }
                at + length.max(rest.chars().next().map_or(1, char::len_utf8))
            }
        };
        // What is quoted parts the words around it.
        if matches!(byte, b'\'' | b'"' | b'`' | b'[') {
            tokens.push((at, ""));
        }
        at = end;
    }
    tokens
}

/// The place after a quoted text, in which the quote itself stands twice.
fn end_of_quoted(bytes: &[u8], begin: usize, quote: u8) -> usize {
    let mut at = begin + 1;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == quote {
            if bytes.get(at) != Some(&quote) {
                return at;
            }
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expressions_of_checks_are_read() {
        for (sql, expected) in [
            (
                "CREATE TABLE t(a CHECK(a > 0), b, CHECK (b IN ('(', 'x''y')))",
                vec!["a > 0", "b IN ('(', 'x''y')"],
            ),
            ("CREATE TABLE t(a DEFAULT 'check (1)', \"check\" INT, [check] TEXT)", vec![]),
            (
                "CREATE TABLE t(a, /* check(1) */ CONSTRAINT c check\n(a <> ')' -- )\n))",
                vec!["a <> ')' -- )\n"],
            ),
            ("CREATE TABLE t(check_it INT, a AS (b(1)))", vec![]),
            ("CREATE TABLE t(ä CHECK(ä > 0))", vec!["ä > 0"]),
            ("CREATE TABLE t(a CHECK(", vec![]),
        ] {
            assert_eq!(checks_of(sql), expected, "{sql}");
        }
    }
}
