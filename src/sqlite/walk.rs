//! The way from one row that may have expired to the next, as SQL: which index or key it follows, where a batch begins
//! and ends. It runs no transaction; that is `retention`'s.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params_from_iter;

use super::references::References;
use super::shape::TableShape;
use super::shape::schema_version;
use super::stored::Value;
use super::tables::StoredTime;
use super::tables::quoted;
use super::tables::stored_time;
use super::times::ROW_TEST;

/// How rows that have expired are told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// By comparing numbers.
    Number,
    /// By the test that [`super::TimeColumn::test_rows`] was given, row by row.
    PerRow {
        /// Whether the values' order is that of the times, so that the bounds of an [`Expiry`] narrow the search.
        ordered: bool,
    },
}

/// Which rows have expired.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiry {
    /// The column with the time.
    pub column: String,
    /// Values below this one are no times in the column's format, and stay.
    pub floor: StoredTime,
    /// Values from this one on have not expired.
    pub below: StoredTime,
    /// How the column writes a time.
    pub form: TimeForm,
    /// The moment before which rows have expired, as Unix seconds.
    pub cutoff_seconds: f64,
    /// The user's own condition.
    pub condition: Option<String>,
}

/// A way through a table's expired rows.
#[derive(Debug, Clone)]
pub struct Walk {
    pub(super) columns: Vec<String>,
    pub(super) key: Vec<String>,
    by_time: bool,
    pub(super) from: String,
    pub(super) filter: String,
    /// What refers to the rows, and the condition that leaves out those that a reference keeps.
    pub(super) references: References,
    protection: String,
    /// From the newest time or the highest key to the lowest, as rows that refer to older ones of their table must go first.
    descending: bool,
    parameters: Vec<Value>,
    schema_version: u32,
}

/// A place on a walk: the key of the last row that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor(Vec<Value>);

impl Cursor {
    /// The first value of the key: a time on a walk by time, else a row id.
    #[must_use]
    pub fn first(&self) -> Option<StoredTime> {
        self.0.first().and_then(|value| stored_time(value.into()))
    }
}

impl Walk {
    /// A way through a table: by an index on the time column where there is one, by the key otherwise.
    #[must_use]
    pub fn plan(shape: &TableShape, expiry: &Expiry) -> Self {
        let column = quoted(&expiry.column);
        let ordered = expiry.form != TimeForm::PerRow { ordered: false };
        let index = shape.index_on(&expiry.column).filter(|_| ordered);
        let by_key = ordered && shape.key_begins_with(&expiry.column);
        let mut key = Vec::new();
        if index.is_some() && !by_key {
            key.push(column.clone());
        }
        key.extend(shape.key.iter().filter(|part| **part != column || index.is_none() || by_key).cloned());
        let table = format!("main.{}", quoted(&shape.name));
        let from = match index {
            Some(index) if !by_key => format!("{table} INDEXED BY {}", quoted(index)),
            // A row id is found without an index; a table WITHOUT ROWID is one.
            Some(_) | None if shape.without_rowid => table.clone(),
            Some(_) | None => format!("{table} NOT INDEXED"),
        };
        let by_time = index.is_some() || by_key;
        // A walk by time is between its cursors, which lie between these bounds; to say it again for every row would
        // cost, and SQLite might enter the index at the floor and walk over all that was looked at before.
        let mut filter = if by_time || !ordered {
            "?1 IS NOT NULL AND ?2 IS NOT NULL".to_owned()
        } else {
            format!("+{column} >= ?1 AND +{column} < ?2")
        };
        let mut parameters = vec![value(&expiry.floor), value(&expiry.below)];
        if let TimeForm::PerRow { .. } = expiry.form {
            filter.push_str(&format!(" AND {ROW_TEST}({column})"));
        }
        parameters.push(Value::Real(expiry.cutoff_seconds));
        // Used or not, so that the numbers of the cursor's parameters are known.
        filter.push_str(" AND ?3 IS NOT NULL");
        if let Some(condition) = &expiry.condition {
            // In a function, so that no index on its columns draws the walk off its way. The line break ends a comment.
            filter.push_str(&format!(" AND ifnull(({condition}\n), 0)"));
        }
        let columns = shape.columns.iter().map(|column| quoted(&column.name)).collect();
        let schema_version = shape.schema_version;
        Self {
            columns,
            key,
            by_time,
            from,
            filter,
            references: References::default(),
            protection: String::new(),
            descending: false,
            parameters,
            schema_version,
        }
    }

    /// The same walk, which leaves rows to which others refer.
    #[must_use]
    pub fn with(self, references: References) -> Self {
        let (protection, descending) = (references.filter(), references.is_self_referencing());
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

    /// The operators for what lies after a place and up to another, each with the bound that stands for none.
    fn operators(&self) -> [(&'static str, &'static str, &'static str); 2] {
        if self.descending {
            [("<", "<", "< ?2"), (">=", ">", ">= ?1")]
        } else {
            [(">", ">", ">= ?1"), ("<=", "<", "< ?2")]
        }
    }

    /// Whether the schema is still the one that the walk was planned for.
    pub(super) fn fits(&self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(schema_version(connection)? == self.schema_version)
    }

    /// Whether the walk meets the expired rows alone, in the order of time.
    #[must_use]
    pub fn is_by_time(&self) -> bool {
        self.by_time
    }

    /// The condition for what lies after a cursor and up to another, with its parameters.
    pub(super) fn between(&self, after: Option<&Cursor>, upto: Option<&Cursor>) -> (String, Vec<Value>) {
        if let (true, Some(Cursor(first)), Some(Cursor(last))) = (self.by_time, after, upto)
            && first.len() > 1
            && first[0] == last[0]
        {
            return self.within_a_moment(first, last);
        }
        let key = tuple(&self.key);
        let mut parameters = self.parameters.clone();
        let mut sql = String::new();
        let cursors = self.operators().into_iter().zip([after, upto]);
        for ((operator, _, bound), cursor) in cursors {
            let Some(Cursor(values)) = cursor else {
                if self.by_time {
                    sql.push_str(&format!(" AND {} {bound}", self.key[0]));
                }
                continue;
            };
            let numbers: Vec<String> =
                (1..=values.len()).map(|index| format!("?{}", parameters.len() + index)).collect();
            sql.push_str(&format!(" AND {key} {operator} {}", tuple(&numbers)));
            parameters.extend(values.iter().cloned());
        }
        (sql, parameters)
    }

    /// Two places of one moment. By row values alone SQLite enters the index at the moment's first row, and every batch
    /// would look at all of its rows again.
    fn within_a_moment(&self, first: &[Value], last: &[Value]) -> (String, Vec<Value>) {
        let (time, rest) = (&self.key[0], tuple(&self.key[1..]));
        let mut parameters = self.parameters.clone();
        let mut numbered = |values: &[Value]| -> Vec<String> {
            parameters.extend(values.iter().cloned());
            (parameters.len() + 1 - values.len()..=parameters.len())
                .map(|number| format!("?{number}"))
                .collect()
        };
        let (first, last) = (numbered(first), numbered(&last[1..]));
        let sql = format!(
            " AND {time} = {} AND {rest} {} {} AND {rest} {} {}",
            first[0],
            self.operators()[0].0,
            tuple(&first[1..]),
            self.operators()[1].0,
            tuple(&last)
        );
        (sql, parameters)
    }

    /// The key `rows` further on; `None` when fewer are left.
    pub(super) fn further(
        &self,
        connection: &Connection,
        after: Option<&Cursor>,
        rows: u32,
    ) -> rusqlite::Result<Option<Cursor>> {
        let (place, parameters) = self.between(after, None);
        // On a walk by time only expired rows are counted. By key every row is, so that a batch's work is bounded.
        let sql = format!(
            "SELECT {keys} FROM {from} WHERE ?1 IS NOT NULL AND ?2 IS NOT NULL AND ?3 IS NOT NULL{place} \
             ORDER BY {order} LIMIT 1 OFFSET {offset}",
            keys = self.key.join(", "),
            order = if self.descending {
                self.key.iter().map(|part| format!("{part} DESC")).collect::<Vec<_>>().join(", ")
            } else {
                self.key.join(", ")
            },
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

    /// What selects the expired rows at a place that nothing keeps, from `FROM` on.
    pub(super) fn expired_at(&self, place: &str) -> String {
        format!("FROM {} WHERE {}{}{place}", self.from, self.filter, self.protection)
    }

    /// The same with the rows that a reference keeps.
    pub(super) fn all_expired_at(&self, place: &str) -> String {
        format!("FROM {} WHERE {}{place}", self.from, self.filter)
    }

    /// `SELECT`s the expired rows of a batch, each row by one of these: its columns, then its key.
    pub(super) fn selects(&self, after: Option<&Cursor>, upto: Option<&Cursor>) -> Vec<(String, Vec<Value>)> {
        let columns = [self.columns.as_slice(), self.key.as_slice()].concat().join(", ");
        let select = |place: &str| format!("SELECT {columns} {}", self.expired_at(place));
        let pieces = self.pieces(after, upto).into_iter();
        pieces.map(|(place, parameters)| (select(&place), parameters)).collect()
    }

    /// The place of one row.
    pub(super) fn at(&self, Cursor(values): &Cursor) -> (String, Vec<Value>) {
        let first = self.parameters.len() + 1;
        let numbers: Vec<String> = (first..first + values.len()).map(|number| format!("?{number}")).collect();
        let place = format!(" AND {} = {}", tuple(&self.key), tuple(&numbers));
        (place, [self.parameters.as_slice(), values].concat())
    }

    /// The key of a row of `SELECT`ed columns, which begins at `first`.
    pub(super) fn cursor_of(&self, row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Cursor> {
        (first..first + self.key.len())
            .map(|index| row.get(index))
            .collect::<rusqlite::Result<_>>()
            .map(Cursor)
    }

    /// What lies after a cursor and up to another, as conditions that SQLite need not test row by row.
    ///
    /// It tests row values again for each row of a range that it found by them, which made a batch 13 % dearer. So a walk
    /// by time is cut in three: the rest of the first moment, all between, and the beginning of the last.
    pub(super) fn pieces(&self, after: Option<&Cursor>, upto: Option<&Cursor>) -> Vec<(String, Vec<Value>)> {
        let (time, rest) = (&self.key[0], &self.key[1..]);
        let (first, last) = (after.map(|cursor| cursor.0.as_slice()), upto.map(|cursor| cursor.0.as_slice()));
        let same_moment = first.zip(last).is_some_and(|(first, last)| first[0] == last[0]);
        if !self.by_time || rest.is_empty() || same_moment {
            return vec![self.between(after, upto)];
        }
        let numbers = |count: usize| -> Vec<String> {
            (0..count).map(|index| format!("?{}", self.parameters.len() + 1 + index)).collect()
        };
        let at = |values: &[Value], operator: &str| {
            let numbers = numbers(values.len());
            let sql = format!(
                " AND {time} = {} AND {} {operator} {}",
                numbers[0],
                tuple(rest),
                tuple(&numbers[1..])
            );
            (sql, [self.parameters.as_slice(), values].concat())
        };
        let mut between = String::new();
        let mut parameters = self.parameters.clone();
        let [ahead, back] = self.operators();
        for (values, (_, inside, bound)) in [(first, ahead), (last, back)] {
            match values {
                None => between.push_str(&format!(" AND {time} {bound}")),
                Some(values) => {
                    parameters.push(values[0].clone());
                    between.push_str(&format!(" AND {time} {inside} ?{}", parameters.len()));
                }
            }
        }
        let mut pieces = vec![(between, parameters)];
        pieces.extend(first.map(|values| at(values, ahead.0)));
        pieces.extend(last.map(|values| at(values, back.0)));
        pieces
    }
}

/// One column as it is, several as a row value, which SQLite compares from left to right.
fn tuple(parts: &[String]) -> String {
    match parts {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

pub(super) fn value(time: &StoredTime) -> Value {
    match time {
        StoredTime::Integer(integer) => Value::Integer(*integer),
        StoredTime::Real(real) => Value::Real(*real),
        StoredTime::Text(text) => Value::Text(text.clone().into_bytes()),
        StoredTime::Blob => Value::Null,
    }
}
