//! Reads final rows in the order of their key, piece by piece, as the values that SQLite stores.
//!
//! A value is given with its type and its length, so that no two rows are the same bytes: `1`,
//! `1.0`, `'1'` and `x'31'` differ, and so do `('ab', 'c')` and `('a', 'bc')`.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::limits::Limit;
use rusqlite::params_from_iter;
use rusqlite::types::ValueRef;

use super::error::SqliteError;
use super::query_source::QuerySource as _;
use super::reader::Reader;
use super::scan_key::compare;
use super::scan_key::numbered;
use super::scan_key::tuple;
use super::scan_table::schema_version;
use super::sealed_table::SealedTable;
use super::stored_value::StoredValue;
use super::tables::quoted;

/// The largest row that is read: half of the memory that SQLite may have in this process.
const MAX_ROW_BYTES: i32 = 256 * 1024 * 1024;

/// The key of a row, by its values.
pub type RowKey = Vec<StoredValue>;

/// A row of a sealed table while it is read.
pub struct SealedRow<'row> {
    row: &'row Row<'row>,
    /// Where the columns begin.
    first: usize,
    key_length: usize,
    is_utf16: bool,
}

/// Whether a row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPresence {
    /// No row has the key.
    Missing,
    /// It is there, and the condition is not true for it.
    NotFinal,
    /// It is there, and the condition is true for it.
    Final,
}

impl SealedRow<'_> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> RowKey {
        (0..self.key_length).map(|index| StoredValue::from(self.value(index))).collect()
    }

    /// Gives the values of columns, by their places in [`SealedTable::columns`], to `sink`.
    pub fn encode(&self, columns: impl IntoIterator<Item = usize>, mut sink: impl FnMut(&[u8])) {
        for column in columns {
            if self.is_utf16 {
                let is_text = self.value(self.first + 2 * column + 1) == ValueRef::Integer(1);
                encode_value(self.value(self.first + 2 * column), is_text, &mut sink);
            } else {
                encode_value(self.value(self.first + column), false, &mut sink);
            }
        }
    }

    /// A value of the row. An index that the statement does not have is the only error.
    fn value(&self, index: usize) -> ValueRef<'_> {
        self.row.get_ref(index).unwrap_or(ValueRef::Null)
    }
}

/// Gives a value with its type and length to `sink`; `is_text` for text that comes as its bytes.
fn encode_value(value: ValueRef<'_>, is_text: bool, sink: &mut impl FnMut(&[u8])) {
    match value {
        ValueRef::Null => sink(b"n"),
        ValueRef::Integer(integer) => {
            sink(b"i");
            sink(&integer.to_le_bytes());
        }
        ValueRef::Real(real) => {
            sink(b"r");
            sink(&real.to_bits().to_le_bytes());
        }
        ValueRef::Text(bytes) => {
            sink(b"t");
            sink(&(bytes.len() as u64).to_le_bytes());
            sink(bytes);
        }
        ValueRef::Blob(bytes) => {
            sink(if is_text { b"t" } else { b"b" });
            sink(&(bytes.len() as u64).to_le_bytes());
            sink(bytes);
        }
    }
}

impl Reader {
    /// Begins to read a sealed table, with rows up to 256 MiB.
    ///
    /// # Errors
    /// `false` inside when the schema has changed since the table was read.
    pub fn begin_sealed(&self, table: &SealedTable) -> Result<bool, SqliteError> {
        self.query("read sealed rows", |connection| {
            connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)?;
            Ok(schema_version(connection)? == table.schema_version)
        })
    }

    /// The key `rows` further on after a key, up to another one; `None` when fewer are left.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn sealed_key_after(
        &self,
        table: &SealedTable,
        after: Option<&RowKey>,
        upto: Option<&RowKey>,
        rows: u32,
    ) -> Result<Option<RowKey>, SqliteError> {
        let (place, parameters) = range(table, after, upto);
        let sql = format!(
            "SELECT {key} FROM {from} WHERE {place} ORDER BY {order} LIMIT 1 OFFSET {offset}",
            key = table.key_sql(),
            from = table.from,
            order = table.order(),
            offset = rows.saturating_sub(1),
        );
        self.query("find sealed rows", |connection| {
            let read = |row: &Row<'_>| (0..table.parts.len()).map(|index| row.get(index)).collect();
            connection.prepare_cached(&sql)?.query_row(params_from_iter(parameters), read).optional()
        })
    }

    /// Calls `each` with every final row after a key, up to another one, in the order of the key.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn sealed_rows(
        &self,
        table: &SealedTable,
        after: Option<&RowKey>,
        upto: Option<&RowKey>,
        mut each: impl FnMut(&SealedRow<'_>),
    ) -> Result<(), SqliteError> {
        let (place, parameters) = range(table, after, upto);
        let sql = format!(
            "SELECT {key}, {columns} FROM {from} WHERE {place} AND {filter} ORDER BY {order}",
            key = table.key_sql(),
            columns = table.columns_sql(),
            from = table.from,
            filter = table.filter(),
            order = table.order(),
        );
        self.query("read sealed rows", |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(parameters))?;
            while let Some(row) = rows.next()? {
                let key_length = table.parts.len();
                each(&SealedRow { row, first: key_length, key_length, is_utf16: table.is_utf16 });
            }
            Ok(())
        })
    }

    /// Calls `each` with the row of a key, final or not.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn sealed_row(
        &self,
        table: &SealedTable,
        key: &RowKey,
        mut each: impl FnMut(&SealedRow<'_>),
    ) -> Result<RowPresence, SqliteError> {
        let names: Vec<&str> = table.parts.iter().map(|part| part.sql.as_str()).collect();
        let numbers: Vec<String> = (1..=key.len()).map(|number| format!("?{number}")).collect();
        let sql = format!(
            "SELECT {names}, {columns}, CASE WHEN {filter} THEN 1 ELSE 0 END FROM main.{name} WHERE {key} = {numbers}",
            names = table.key_sql(),
            columns = table.columns_sql(),
            filter = table.filter(),
            name = quoted(&table.name),
            key = tuple(&names),
            numbers = tuple(&numbers),
        );
        self.query("read a sealed row", |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let last = statement.column_count().saturating_sub(1);
            let mut rows = statement.query(params_from_iter(key))?;
            let Some(row) = rows.next()? else { return Ok(RowPresence::Missing) };
            let key_length = table.parts.len();
            each(&SealedRow { row, first: key_length, key_length, is_utf16: table.is_utf16 });
            Ok(if row.get::<_, bool>(last)? { RowPresence::Final } else { RowPresence::NotFinal })
        })
    }

    /// Final rows that have NULL in their key, which names no row.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn sealed_rows_without_key(&self, table: &SealedTable) -> Result<u64, SqliteError> {
        if !table.may_be_null {
            return Ok(0);
        }
        let sql = format!(
            "SELECT count(*) FROM main.{} WHERE NOT ({}) AND {}",
            quoted(&table.name),
            table.has_key(),
            table.filter()
        );
        self.query("count sealed rows", |connection| {
            connection.query_row(&sql, (), |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        })
    }
}

impl Reader {
    /// Whether a final row satisfies another condition of the user too.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn has_sealed_row_with(&self, table: &SealedTable, condition: &str) -> Result<bool, SqliteError> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM main.{} WHERE {} AND ifnull(({condition}\n), 0))",
            quoted(&table.name),
            table.filter()
        );
        self.query("find sealed rows", |connection| connection.query_row(&sql, (), |row| row.get(0)))
    }
}

/// The condition for what lies after a key and up to another, with its parameters.
fn range(table: &SealedTable, after: Option<&RowKey>, upto: Option<&RowKey>) -> (String, Vec<StoredValue>) {
    let mut parameters = Vec::new();
    let mut conditions = vec![table.has_key()];
    for (is_after, key) in [(true, after), (false, upto)] {
        let Some(key) = key else { continue };
        let numbers = numbered(&mut parameters, key);
        conditions.push(compare(&table.parts, (is_after, is_after), &numbers));
    }
    (conditions.join(" AND "), parameters)
}
