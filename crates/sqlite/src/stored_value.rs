//! A value as SQLite stores it, for copies and cursors: text is bytes here, as nothing makes an
//! application write UTF-8.

use rusqlite::types::FromSql;
use rusqlite::types::FromSqlResult;
use rusqlite::types::ToSql;
use rusqlite::types::ToSqlOutput;
use rusqlite::types::ValueRef;

use super::tables::TimeValue;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredValue {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text in whatever bytes the application wrote, NUL among them.
    Text(Vec<u8>),
    /// A blob.
    Blob(Vec<u8>),
}

impl FromSql for StoredValue {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(value.into())
    }
}

impl From<ValueRef<'_>> for StoredValue {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real),
            ValueRef::Text(text) => Self::Text(text.to_vec()),
            ValueRef::Blob(blob) => Self::Blob(blob.to_vec()),
        }
    }
}

impl<'v> From<&'v StoredValue> for ValueRef<'v> {
    fn from(value: &'v StoredValue) -> Self {
        match value {
            StoredValue::Null => Self::Null,
            StoredValue::Integer(integer) => Self::Integer(*integer),
            StoredValue::Real(real) => Self::Real(*real),
            StoredValue::Text(text) => Self::Text(text),
            StoredValue::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl ToSql for StoredValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.into()))
    }
}

/// A time as a parameter; NULL for what is no time.
pub(super) fn stored_time_value(time: &TimeValue) -> StoredValue {
    match time {
        TimeValue::Integer(integer) => StoredValue::Integer(*integer),
        TimeValue::Real(real) => StoredValue::Real(*real),
        TimeValue::Text(text) => StoredValue::Text(text.clone().into_bytes()),
        TimeValue::Blob => StoredValue::Null,
    }
}
