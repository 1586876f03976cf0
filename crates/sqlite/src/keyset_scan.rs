//! The way from one row that may have expired to the next, as SQL: which index or key it follows,
//! where a batch begins and ends. It runs no transaction; that is `retention`'s.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params_from_iter;

use super::expiry::ExpiryPredicate;
use super::expiry::ROW_TEST;
use super::expiry::TimeForm;
use super::references::References;
use super::scan_key::Cursor;
use super::scan_key::KeyPart;
use super::scan_key::compare;
use super::scan_key::key_of;
use super::scan_key::numbered;
use super::scan_key::tuple;
use super::scan_key::uses;
use super::scan_table::ScanTable;
use super::scan_table::schema_version;
use super::stored_value::StoredValue;
use super::stored_value::stored_time_value;
use super::tables::quoted;

/// A way through a table's expired rows.
#[derive(Debug, Clone)]
pub struct KeysetScan {
    pub(super) columns: Vec<String>,
    pub(super) key: Vec<KeyPart>,
    by_time: bool,
    table: String,
    pub(super) from: String,
    pub(super) filter: String,
    /// The filter for the rows that have expired and that the user's condition leaves out.
    left_out: Option<String>,
    /// What refers to the rows, and the condition that leaves out those that a reference keeps.
    pub(super) references: References,
    protection: String,
    /// From the newest time or the highest key to the lowest, as rows that refer to older ones of
    /// their table must go first.
    descending: bool,
    pub(super) parameters: Vec<StoredValue>,
    /// The number of the first parameter with the last row that goes.
    last: Option<usize>,
    schema_version: u32,
}

impl KeysetScan {
    /// A way through a table: by an index on the time column where there is one, by the key
    /// otherwise.
    #[must_use]
    pub fn plan(shape: &ScanTable, expiry: &ExpiryPredicate) -> Self {
        let column = expiry.column.as_deref().map_or_else(|| shape.key[0].clone(), quoted);
        let ordered = expiry.form != TimeForm::PerRow { ordered: false };
        let index = expiry.column.as_deref().filter(|_| ordered).and_then(|column| shape.index_on(column));
        let by_key = expiry.column.as_deref().is_none_or(|column| ordered && shape.key_begins_with(column));
        let by_index = index.filter(|_| !by_key);
        let by_time = by_index.is_some() || by_key;
        let key = key_of(shape, by_index.map(|index| (column.as_str(), index.is_descending())));
        let table = format!("main.{}", quoted(&shape.name));
        let from = match by_index {
            Some(index) => format!("{table} INDEXED BY {}", quoted(&index.name)),
            // A row id is found without an index; a table WITHOUT ROWID is one.
            None if shape.without_rowid => table.clone(),
            None => format!("{table} NOT INDEXED"),
        };
        let mut parameters = vec![
            stored_time_value(&expiry.floor),
            stored_time_value(&expiry.below),
            StoredValue::Real(expiry.cutoff_seconds),
        ];
        let last = expiry.last.as_ref().filter(|_| by_time).map(|Cursor(values)| {
            parameters.extend(values.iter().cloned());
            parameters.len() + 1 - values.len()
        });
        let mut filter = uses(parameters.len());
        // A walk by time is between its cursors, which lie between these bounds; to say it again
        // for every row would cost, and SQLite might enter the index at the floor and walk over all
        // that was looked at before.
        if !by_time && ordered {
            filter.push_str(&format!(" AND +{column} >= ?1 AND +{column} < ?2"));
        }
        if let TimeForm::PerRow { .. } = expiry.form {
            filter.push_str(&format!(" AND {ROW_TEST}({column})"));
        }
        let mut left_out = None;
        if let Some(condition) = &expiry.condition {
            // In a function, so that no index on its columns draws the walk off its way. The line
            // break ends a comment.
            let condition = format!("ifnull(({condition}\n), 0)");
            left_out = Some(format!("{filter} AND NOT {condition}"));
            filter.push_str(&format!(" AND {condition}"));
        }
        let columns = shape.columns.iter().map(|column| quoted(&column.name)).collect();
        let schema_version = shape.schema_version;
        Self {
            columns,
            key,
            by_time,
            table,
            from,
            filter,
            left_out,
            references: References::default(),
            protection: String::new(),
            descending: false,
            parameters,
            last,
            schema_version,
        }
    }

    /// The same walk, which leaves rows to which others refer.
    #[must_use]
    pub fn with(self, references: References) -> Self {
        let (protection, descending) = (references.filter(), references.newest_first());
        Self { references, protection, descending, ..self }
    }

    /// The same walk the other way round.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { descending: !self.descending, ..self }
    }

    /// What refers to the rows.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// See [`compare`].
    pub(super) fn compare(
        &self,
        parts: &[KeyPart],
        (after, strictly): (bool, bool),
        numbers: &[String],
    ) -> String {
        compare(parts, (after != self.descending, strictly), numbers)
    }

    /// SQL for the end of the walk where no cursor is: its first row or its last one.
    fn bound(&self, after: bool) -> String {
        let time = &self.key[0].sql;
        match self.last {
            // Forward, the walk begins at the floor; backward, it ends there.
            _ if after != self.descending => format!("{time} >= ?1"),
            None => format!("{time} < ?2"),
            Some(first) => {
                let numbers: Vec<String> =
                    (first..first + self.key.len()).map(|number| format!("?{number}")).collect();
                self.compare(&self.key, (after, false), &numbers)
            }
        }
    }

    /// Whether the schema is still the one that the walk was planned for.
    pub(super) fn schema_unchanged(&self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(schema_version(connection)? == self.schema_version)
    }

    /// Whether the walk meets the expired rows alone, in the order of time.
    #[must_use]
    pub fn is_by_time(&self) -> bool {
        self.by_time
    }

    /// The condition for what lies after a cursor and up to another, with its parameters.
    pub(super) fn range_predicate(
        &self,
        after: Option<&Cursor>,
        upto: Option<&Cursor>,
    ) -> (String, Vec<StoredValue>) {
        if let (true, Some(Cursor(first)), Some(Cursor(last))) = (self.by_time, after, upto)
            && first.len() > 1
            && first[0] == last[0]
        {
            return self.equal_time_predicate(first, last);
        }
        let mut parameters = self.parameters.clone();
        let mut sql = String::new();
        for (is_after, cursor) in [(true, after), (false, upto)] {
            let condition = match cursor {
                Some(Cursor(values)) => {
                    let numbers = numbered(&mut parameters, values);
                    self.compare(&self.key, (is_after, is_after), &numbers)
                }
                None if self.by_time => self.bound(is_after),
                None => continue,
            };
            sql.push_str(&format!(" AND {condition}"));
        }
        (sql, parameters)
    }

    /// Two places of one moment. By row values alone SQLite enters the index at the moment's first
    /// row, and every batch would look at all of its rows again.
    fn equal_time_predicate(
        &self,
        first: &[StoredValue],
        last: &[StoredValue],
    ) -> (String, Vec<StoredValue>) {
        let (time, rest) = (&self.key[0].sql, &self.key[1..]);
        let mut parameters = self.parameters.clone();
        let (first, last) = (numbered(&mut parameters, first), numbered(&mut parameters, &last[1..]));
        let sql = format!(
            " AND {time} = {} AND {} AND {}",
            first[0],
            self.compare(rest, (true, true), &first[1..]),
            self.compare(rest, (false, false), &last)
        );
        (sql, parameters)
    }

    /// The key `rows` further on; `None` when fewer are left.
    pub(super) fn nth_key_after(
        &self,
        connection: &Connection,
        after: Option<&Cursor>,
        rows: u32,
    ) -> rusqlite::Result<Option<Cursor>> {
        let (place, parameters) = self.range_predicate(after, None);
        // On a walk by time only expired rows are counted. By key every row is, so that a batch's
        // work is bounded.
        let sql = format!(
            "SELECT {keys} FROM {from} WHERE {uses}{place} ORDER BY {order} LIMIT 1 OFFSET {offset}",
            keys = self.key_sql(),
            uses = uses(self.parameters.len()),
            order = self.order(),
            from = self.from,
            offset = rows.saturating_sub(1),
        );
        let count = self.key.len();
        connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(parameters), |row| (0..count).map(|index| row.get(index)).collect())
            .optional()
            .map(|found| found.map(Cursor))
    }

    /// SQL for the parts of the key.
    pub(super) fn key_sql(&self) -> String {
        self.key.iter().map(|part| part.sql.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The direction of the walk, for `ORDER BY`.
    pub(super) fn order(&self) -> String {
        let part = |part: &KeyPart| {
            format!("{}{}", part.sql, if part.descending != self.descending { " DESC" } else { "" })
        };
        self.key.iter().map(part).collect::<Vec<_>>().join(", ")
    }

    /// What selects the expired rows at a place that nothing keeps, from `FROM` on.
    pub(super) fn expired_at(&self, place: &str) -> String {
        let own = self.kept_by_own_at(place).map(|kept| format!(" AND NOT {kept}")).unwrap_or_default();
        format!("FROM {} WHERE {}{}{place}{own}", self.from, self.filter, self.protection)
    }

    /// SQL that is true for the expired rows at a place that rows of the same table keep.
    pub(super) fn kept_by_own_at(&self, place: &str) -> Option<String> {
        self.references
            .kept_by_own(&format!("FROM {} WHERE {}{}{place}", self.from, self.filter, self.protection))
    }

    /// The same with the rows that a reference keeps.
    pub(super) fn all_expired_at(&self, place: &str) -> String {
        format!("FROM {} WHERE {}{place}", self.from, self.filter)
    }

    /// Whether the user's condition leaves rows out.
    #[must_use]
    pub fn has_condition(&self) -> bool {
        self.left_out.is_some()
    }

    /// The rows that have expired and that the user's condition leaves out.
    pub(super) fn left_out_at(&self, place: &str) -> Option<String> {
        self.left_out.as_ref().map(|filter| format!("FROM {} WHERE {filter}{place}", self.from))
    }

    /// The table, and a condition that is true for a row that has expired wherever it lies.
    pub(super) fn expired_anywhere(&self) -> (&str, String) {
        let bounds = if self.by_time {
            format!(" AND {} AND {}", self.bound(true), self.bound(false))
        } else {
            String::new()
        };
        (&self.table, format!("{}{bounds}", self.filter))
    }

    /// `SELECT`s the rows that a batch deletes, each row by one of these: its columns, then its
    /// key.
    pub(super) fn selects(
        &self,
        after: Option<&Cursor>,
        upto: Option<&Cursor>,
    ) -> Vec<(String, Vec<StoredValue>)> {
        let columns = format!("{}, {}", self.columns.join(", "), self.key_sql());
        let select = |place: &str| {
            let expired = self.expired_at(place);
            match self.references.graph.own(&expired) {
                // Rows of the table that go along, expired or not.
                Some(gone) => format!(
                    "SELECT {columns} FROM {} WHERE {} AND {gone}",
                    self.table,
                    uses(self.parameters.len())
                ),
                None => format!("SELECT {columns} {expired}"),
            }
        };
        let ranges = self.subranges(after, upto).into_iter();
        ranges.map(|(place, parameters)| (select(&place), parameters)).collect()
    }

    /// A query that finds a row by its key, expired or not.
    pub(super) fn exists(&self, Cursor(values): &Cursor) -> (String, Vec<StoredValue>) {
        let numbers: Vec<String> = (1..=values.len()).map(|number| format!("?{number}")).collect();
        let names: Vec<&str> = self.key.iter().map(|part| part.sql.as_str()).collect();
        (
            format!("SELECT 1 FROM {} WHERE {} = {}", self.table, tuple(&names), tuple(&numbers)),
            values.clone(),
        )
    }

    /// The place of one row.
    pub(super) fn at(&self, Cursor(values): &Cursor) -> (String, Vec<StoredValue>) {
        let first = self.parameters.len() + 1;
        let numbers: Vec<String> = (first..first + values.len()).map(|number| format!("?{number}")).collect();
        let names: Vec<&str> = self.key.iter().map(|part| part.sql.as_str()).collect();
        let place = format!(" AND {} = {}", tuple(&names), tuple(&numbers));
        (place, [self.parameters.as_slice(), values].concat())
    }

    /// The key of a row of `SELECT`ed columns, which begins at `first`.
    pub(super) fn cursor_of(&self, row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Cursor> {
        (first..first + self.key.len())
            .map(|index| row.get(index))
            .collect::<rusqlite::Result<_>>()
            .map(Cursor)
    }

    /// What lies after a cursor and up to another, as conditions that SQLite need not test row by
    /// row.
    ///
    /// It tests row values again for each row of a range that it found by them, which made a batch
    /// 13 % dearer. So a walk by time is cut in three: the rest of the first moment, all between,
    /// and the beginning of the last. Rows that refer to each other are judged together, in one
    /// piece.
    pub(super) fn subranges(
        &self,
        after: Option<&Cursor>,
        upto: Option<&Cursor>,
    ) -> Vec<(String, Vec<StoredValue>)> {
        let (time, rest) = (&self.key[0].sql, &self.key[1..]);
        let (first, last) = (after.map(|cursor| cursor.0.as_slice()), upto.map(|cursor| cursor.0.as_slice()));
        let same_moment = first.zip(last).is_some_and(|(first, last)| first[0] == last[0]);
        if !self.by_time || rest.is_empty() || same_moment || self.references.newest_first() {
            return vec![self.range_predicate(after, upto)];
        }
        let at = |values: &[StoredValue], after: bool| {
            let mut parameters = self.parameters.clone();
            let numbers = numbered(&mut parameters, values);
            let compared = self.compare(rest, (after, after), &numbers[1..]);
            (format!(" AND {time} = {} AND {compared}", numbers[0]), parameters)
        };
        let mut inner = String::new();
        let mut parameters = self.parameters.clone();
        for (is_after, values) in [(true, first), (false, last)] {
            let condition = match values {
                None => self.bound(is_after),
                Some(values) => {
                    let numbers = numbered(&mut parameters, &values[..1]);
                    self.compare(&self.key[..1], (is_after, true), &numbers)
                }
            };
            inner.push_str(&format!(" AND {condition}"));
        }
        let mut ranges = vec![(inner, parameters)];
        ranges.extend(first.map(|values| at(values, true)));
        ranges.extend(last.map(|values| at(values, false)));
        ranges
    }
}
