//! Index entries beside their rows, found by the row id: a check that needs no order.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension;

use super::error::SqliteError;
use super::findings::ADVICE;
use super::findings::Finding;
use super::names::bound;
use super::names::prepare;
use super::names::rows_of;
use super::names::text_in;
use super::reader::Reader;
use super::table_check::Index;
use super::tables::quoted;

/// The columns of an index and the name of its table's row id, or what keeps its entries from being
/// held beside their rows.
fn obstacle<'i>(
    index: &'i Index,
    computed: &BTreeSet<String>,
    rowid: Option<&'static str>,
) -> Result<(&'i [String], &'static str), &'static str> {
    let Some(rowid) = rowid else {
        return Err("its table is WITHOUT ROWID, and has no row ids by which its rows could be found");
    };
    let Some(columns) = &index.columns else {
        return Err("it is over an expression, whose values only the application may be able to compute");
    };
    if index.is_partial {
        return Err("it holds some rows only, and its WHERE clause may need the application");
    }
    if columns.iter().any(|column| computed.contains(column)) {
        return Err(
            "it is over a generated column, whose values only the application may be able to compute",
        );
    }
    Ok((columns, rowid))
}

impl Reader {
    /// Holds every entry of each index beside its row, found by the row id, in place of looking it
    /// up in an order that is not known here.
    pub(super) fn compare_indexes(
        &self,
        table: &str,
        indexes: &[Index],
        findings: &mut Vec<Finding>,
        left_out: &mut BTreeSet<String>,
    ) -> Result<(), SqliteError> {
        let computed = self.computed_columns(table)?;
        let rowid = self.rowid_name(table)?;
        for index in indexes {
            let compared = match obstacle(index, &computed, rowid) {
                Ok((columns, rowid)) => match self.compare_index(table, &index.name, columns, rowid) {
                    Err(error) if error.is_not_checkable() => Err(error.words().to_owned()),
                    other => Ok(other?),
                },
                Err(obstacle) => Err(obstacle.to_owned()),
            };
            let what = match (&index.unknown_collation, &compared) {
                (None, Ok(_)) => String::new(),
                (Some(collation), Ok(_)) => format!(
                    "{table}: the order of index {} and whether its keys are unique were not checked: its collation {collation} is the \
                     application's own; {ADVICE} (its pages, their number and each entry beside its row were checked)",
                    index.name
                ),
                (Some(collation), Err(_)) if rowid.is_none() && index.is_primary_key => format!(
                    "{table}: the order of its rows and whether their keys are unique were not checked: it is a table WITHOUT ROWID, and \
                     the collation {collation} of its primary key is the application's own; {ADVICE} (its pages were checked)"
                ),
                (collation, Err(obstacle)) => {
                    let order = collation.as_ref().map_or_else(String::new, |collation| {
                        format!(", and its collation {collation} is the application's own")
                    });
                    format!(
                        "{table}: the entries of index {} were not held beside their rows: {obstacle}{order}; {ADVICE} (its pages were \
                         checked)",
                        index.name
                    )
                }
            };
            findings.extend(compared.unwrap_or_default());
            if what.is_empty() {
                continue;
            }
            findings.push(Finding::not_checkable(what));
            left_out.insert(index.name.clone());
        }
        Ok(())
    }

    /// The findings on an index whose entries were held beside their rows.
    fn compare_index(
        &self,
        table: &str,
        index: &str,
        columns: &[String],
        rowid: &str,
    ) -> Result<Vec<Finding>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("compare an index", &error, &self.limits);
        let (table_name, index_name) = (quoted(table), quoted(index));
        let values: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!(", {} AS v{place}", quoted(column)))
            .collect();
        let equal: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!(" AND t.{} COLLATE BINARY IS e.v{place}", quoted(column)))
            .collect();
        let entries =
            format!("SELECT {rowid} AS k{} FROM main.{table_name} INDEXED BY {index_name}", values.concat());
        let strays = format!(
            "SELECT e.k FROM ({entries}) AS e WHERE NOT EXISTS \
             (SELECT 1 FROM main.{table_name} AS t NOT INDEXED WHERE t.{rowid} = e.k{}) LIMIT 100",
            equal.concat()
        );
        let strays = rows_of(&self.connection, &strays, |row| row.number(0).unwrap_or_default());
        let findings = strays.map_err(failed)?.into_iter().map(|row| {
            Finding::damage(format!(
                "an entry of index {index} is for row {row}, which is not there or has other values"
            ))
        });
        let mut findings: Vec<Finding> = findings.collect();
        // Two entries for one row would leave another without any: equal sums over the row ids
        // exclude it.
        let sums = |source: &str| {
            let sql = format!(
                "SELECT count(*), sum({rowid} % 1000003), sum(({rowid} % 46337) * ({rowid} % 46337)) FROM main.{table_name} {source}"
            );
            rows_of(&self.connection, &sql, |row| [row.number(0), row.number(1), row.number(2)])
        };
        let of_index = sums(&format!("INDEXED BY {index_name}")).map_err(failed)?;
        let of_table = sums("NOT INDEXED").map_err(failed)?;
        if findings.is_empty() && of_index != of_table {
            findings
                .push(Finding::damage(format!("index {index} has not one entry for each row of {table}")));
        }
        Ok(findings)
    }

    /// Generated columns that are computed whenever they are read, by whatever their expression
    /// needs.
    fn computed_columns(&self, table: &str) -> Result<BTreeSet<String>, SqliteError> {
        /// `hidden` of a virtual generated column
        /// (<https://www.sqlite.org/pragma.html#pragma_table_xinfo>).
        const VIRTUAL: i64 = 2;
        let failed = |error: rusqlite::Error| SqliteError::new("read the columns", &error, &self.limits);
        let sql = format!("PRAGMA main.table_xinfo({})", quoted(table));
        // `name` and `hidden` of the page above.
        let columns = rows_of(&self.connection, &sql, |row| (text_in(row, 1), row.number(6)));
        let columns = columns.map_err(failed)?.into_iter().filter(|(_, hidden)| *hidden == Some(VIRTUAL));
        Ok(columns.filter_map(|(name, _)| name).collect())
    }

    /// A name by which the row id of a table can be asked for; nothing for a table without.
    fn rowid_name(&self, table: &str) -> Result<Option<&'static str>, SqliteError> {
        for name in ["rowid", "_rowid_", "oid"] {
            let sql =
                format!("SELECT 1 FROM pragma_table_xinfo(?1, 'main') WHERE name = '{name}' COLLATE NOCASE");
            let taken = self.connection.query_row(&sql, [bound(table)], |_| Ok(())).optional();
            let taken = taken.map_err(|error| SqliteError::new("read the columns", &error, &self.limits))?;
            if taken.is_none() {
                let sql = format!("SELECT {name} FROM main.{} NOT INDEXED LIMIT 0", quoted(table));
                return Ok(prepare(&self.connection, &sql).is_ok().then_some(name));
            }
        }
        Ok(None)
    }
}
