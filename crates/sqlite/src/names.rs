//! Names of tables, columns and indexes that are not UTF-8.
//!
//! SQLite takes any bytes for a name, and older programs on Windows wrote Latin-1. Such a name is
//! kept as text in which each byte that is no UTF-8 stands as U+FFFD and two hexadecimal digits
//! (`Gr�F6�DFe`), and U+FFFD itself likewise, so that nothing is lost: [`encode`] gives the bytes
//! back for SQL and for parameters.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::types::FromSql;
use rusqlite::types::FromSqlError;
use rusqlite::types::FromSqlResult;
use rusqlite::types::ToSqlOutput;
use rusqlite::types::ValueRef;

use super::raw;

const ESCAPE: char = char::REPLACEMENT_CHARACTER;

/// A name as the schema has it, in the form of this file.
pub(super) struct Name(pub(super) String);

impl FromSql for Name {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Self(decode(bytes))),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Err(FromSqlError::InvalidType),
        }
    }
}

/// A name as a parameter of a statement: its own bytes.
pub(super) struct Bound<'name>(Cow<'name, [u8]>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// A name for a parameter.
pub(super) fn bound(name: &str) -> Bound<'_> {
    Bound(encode(name))
}

/// The name in a column of a row.
pub(super) fn name_in(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    row.get::<_, Name>(column).map(|Name(name)| name)
}

/// Bytes of a name as text.
pub(super) fn decode(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(bytes.len());
    let escape = |name: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(name, "{ESCAPE}{byte:02X}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for (index, part) in chunk.valid().split(ESCAPE).enumerate() {
            if index > 0 {
                escape(&mut name, ESCAPE.encode_utf8(&mut [0; 4]).as_bytes());
            }
            name.push_str(part);
        }
        escape(&mut name, chunk.invalid());
    }
    name
}

/// The bytes of text in which names may be.
pub(super) fn encode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(ESCAPE) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for (index, part) in text.split(ESCAPE).enumerate() {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if index > 0 => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            _ => {
                if index > 0 {
                    bytes.extend_from_slice(ESCAPE.encode_utf8(&mut [0; 4]).as_bytes());
                }
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    Cow::Owned(bytes)
}

/// Whether SQL has a name that rusqlite, which takes UTF-8 alone, cannot pass on.
pub(super) fn is_not_utf8(sql: &str) -> bool {
    sql.contains(ESCAPE)
}

/// Prepares a statement, whatever names are in it.
pub(super) fn prepare<'connection>(
    connection: &'connection Connection,
    sql: &str,
) -> rusqlite::Result<raw::Statement<'connection>> {
    raw::Statement::prepare(connection, &encode(sql))
}

/// Reads every row of a statement, whatever names are in it.
pub(super) fn rows_of<T>(
    connection: &Connection,
    sql: &str,
    mut read: impl FnMut(&raw::Statement<'_>) -> T,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = Vec::new();
    while statement.step()? {
        rows.push(read(&statement));
    }
    Ok(rows)
}

/// The text in a column of a row; `None` for NULL.
pub(super) fn text_in(row: &raw::Statement<'_>, column: i32) -> Option<String> {
    row.bytes(column).map(|bytes| decode(&bytes))
}

/// The first column of a statement's only row, a number, whatever names are in the statement; NULL
/// is `None`.
pub(super) fn number_of(connection: &Connection, sql: &str) -> rusqlite::Result<Option<i64>> {
    if !is_not_utf8(sql) {
        return connection.query_row(sql, (), |row| row.get(0));
    }
    let mut statement = prepare(connection, sql)?;
    if !statement.step()? {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    Ok(statement.number(0))
}

/// Runs one statement, whatever names are in it.
pub(super) fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    if !is_not_utf8(sql) {
        return connection.execute_batch(sql);
    }
    let mut statement = prepare(connection, sql)?;
    while statement.step()? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_name_survive_the_way_through_text() {
        for (bytes, name) in [
            (&b"plain"[..], "plain"),
            (b"Gr\xf6\xdfe", "Gr\u{FFFD}F6\u{FFFD}DFe"),
            ("Größe".as_bytes(), "Größe"),
            (b"\xff41", "\u{FFFD}FF41"),
            ("\u{FFFD}".as_bytes(), "\u{FFFD}EF\u{FFFD}BF\u{FFFD}BD"),
            ("\u{FFFD}F6".as_bytes(), "\u{FFFD}EF\u{FFFD}BF\u{FFFD}BDF6"),
            (b"\xe2\x82", "\u{FFFD}E2\u{FFFD}82"),
            (b"", ""),
        ] {
            assert_eq!(decode(bytes), name);
            assert_eq!(encode(name).as_ref(), bytes, "{name}");
        }
        for text in ["a \u{FFFD} b", "\u{FFFD}", "\u{FFFD}é1", "\u{FFFD}+1"] {
            assert_eq!(encode(text).as_ref(), text.as_bytes(), "{text}: nothing was escaped here");
        }
    }
}
