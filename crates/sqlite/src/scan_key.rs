//! The key by which a walk goes: its columns, their directions, and the SQL that compares places on
//! it.

use super::scan_table::ScanTable;
use super::stored_value::StoredValue;
use super::tables::TimeValue;
use super::tables::stored_time;

/// A part of the key by which a walk goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyPart {
    /// SQL for the column.
    pub sql: String,
    /// Whether it goes from the largest value down while the first part goes up, because the index
    /// stores it so.
    pub descending: bool,
}

/// SQL that is true for rows after the place that numbered parameters name, or before it, where the
/// first part of the key goes up; `parts` are the parts of the key that are compared, from one on.
pub(super) fn compare(parts: &[KeyPart], (after, strictly): (bool, bool), numbers: &[String]) -> String {
    let names: Vec<&str> = parts.iter().map(|part| part.sql.as_str()).collect();
    let is_larger: Vec<bool> = parts.iter().map(|part| part.descending != after).collect();
    let operator = |larger: bool| if larger { ">" } else { "<" };
    if is_larger.iter().all(|larger| *larger == is_larger[0]) {
        let equal = if strictly { "" } else { "=" };
        return format!("{} {}{equal} {}", tuple(&names), operator(is_larger[0]), tuple(numbers));
    }
    // A row value has one direction. The first part bounds the search.
    let mut sql = if strictly { "0".to_owned() } else { "1".to_owned() };
    for ((name, larger), number) in names.iter().zip(&is_larger).zip(numbers).rev() {
        sql = format!("({name} {} {number} OR ({name} = {number} AND {sql}))", operator(*larger));
    }
    format!("{} {}= {} AND {sql}", names[0], operator(is_larger[0]), numbers[0])
}

/// The key of a walk: by an index on a column, whose entries end in the table's key, or by that key
/// alone.
pub(super) fn key_of(shape: &ScanTable, index: Option<(&str, bool)>) -> Vec<KeyPart> {
    let of_table = shape.key.iter().zip(&shape.key_descending);
    match index {
        Some((column, descending)) => {
            // Forward is from the oldest time on, which is backward in an index that begins with
            // the newest.
            let first = KeyPart { sql: column.to_owned(), descending: false };
            let rest = of_table.filter(|(part, _)| *part != column);
            // The table's key stands at the end of an entry from the smallest value up, whatever
            // its own order is.
            let rest = rest.map(|(part, _)| KeyPart { sql: part.clone(), descending });
            std::iter::once(first).chain(rest).collect()
        }
        None => {
            let backward = shape.key_descending.first().copied().unwrap_or(false);
            of_table
                .map(|(part, other)| KeyPart { sql: part.clone(), descending: *other != backward })
                .collect()
        }
    }
}

/// Conditions that use the first parameters, so that the numbers of those that follow are known.
pub(super) fn uses(count: usize) -> String {
    (1..=count).map(|number| format!("?{number} IS NOT NULL")).collect::<Vec<_>>().join(" AND ")
}

/// Adds values to the parameters; returns the SQL of each.
pub(super) fn numbered(parameters: &mut Vec<StoredValue>, values: &[StoredValue]) -> Vec<String> {
    parameters.extend(values.iter().cloned());
    (parameters.len() + 1 - values.len()..=parameters.len()).map(|number| format!("?{number}")).collect()
}

/// One column as it is, several as a row value, which SQLite compares from left to right.
pub(super) fn tuple(parts: &[impl AsRef<str>]) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("({})", several.join(", ")),
    }
}

/// A place on a walk: the key of the last row that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor(pub(super) Vec<StoredValue>);

impl Cursor {
    /// The first value of the key: a time on a walk by time, else a row id.
    #[must_use]
    pub fn first(&self) -> Option<TimeValue> {
        self.0.first().and_then(|value| stored_time(value.into()))
    }
}
