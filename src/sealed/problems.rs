//! What is wrong with the sealed rows of a configuration, seen beside the database and its other
//! tasks.

use crate::collectors::Consistent;
use crate::collectors::read_preferably_unlocked;
use crate::config::Retention;
use crate::config::SealedRows;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::Reader;

use super::request::check_sealed_table;

/// The problems of a database's sealed rows: tables and conditions that cannot be used, a retention
/// that would delete final rows, and that nothing compares them on a schedule.
#[must_use]
pub fn sealed_problems(database: &Database, limits: &QueryLimits) -> Vec<String> {
    let problem = |rows: &SealedRows| {
        let found = table_problem(database, rows, limits)?;
        Some(if found.contains(&rows.table) { found } else { format!("{}: {found}", rows.table) })
    };
    let sealed = &database.settings.sealed;
    let is_compared = sealed.is_empty() || database.settings.tasks.scrub.is_some();
    let unscheduled = (!is_compared).then(|| {
        "nothing compares them on a schedule; write `scrub: {}` under `tasks`, or let a timer call `litekeeper sealed`"
            .to_owned()
    });
    sealed.iter().filter_map(problem).chain(unscheduled).collect()
}

fn table_problem(database: &Database, rows: &SealedRows, limits: &QueryLimits) -> Option<String> {
    let (path, files) = (&database.path, &database.files);
    let table = match check_sealed_table(path, files, (&rows.table, &rows.condition), limits) {
        Ok(table) => table,
        Err(error) => return Some(error.to_string()),
    };
    let retentions = database.settings.tasks.log_cleaning.iter().flat_map(|task| &task.tables);
    for retention in retentions {
        if let Some(way) = way_to_rows(retention, &rows.table) {
            return Some(format!(
                "log_cleaning of {} {way}, and its rows with `{}` are sealed; take it out there",
                retention.table, rows.condition
            ));
        }
        if !retention.table.eq_ignore_ascii_case(&rows.table) {
            continue;
        }
        let Some(condition) = &retention.condition else {
            return Some(format!(
                "log_cleaning deletes its rows by age or number, and those with `{0}` are sealed; leave them out there with \
                 `condition: NOT ({0})`",
                rows.condition
            ));
        };
        let read = |reader: &mut Reader| reader.has_sealed_row_with(&table, condition);
        // An error is that of the condition, which log_cleaning itself reports.
        if let Ok(Consistent::Read { answer: true, .. }) = read_preferably_unlocked(path, files, limits, read)
        {
            return Some(format!(
                "rows with `{}` are sealed, and log_cleaning with the condition `{condition}` would delete some of them",
                rows.condition
            ));
        }
    }
    None
}

/// How a retention of another table changes the rows of a table.
fn way_to_rows(retention: &Retention, table: &str) -> Option<&'static str> {
    let is_named = |tables: &[String]| tables.iter().any(|name| name.eq_ignore_ascii_case(table));
    if is_named(&retention.cascade) {
        return Some("deletes its rows by `cascade`");
    }
    is_named(&retention.set_null).then_some("changes its rows by `set_null`")
}
