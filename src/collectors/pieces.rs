//! Reads the tables of a rollback database that is written to all the time one by one.

use std::time::Duration;

use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::consistent_read::ConsistentReadError;
use super::table_rows::TableCollection;
use super::table_rows::age;
use super::table_rows::count;
use super::table_rows::known_tables;
use super::table_rows::selected_tables;
use super::unlocked::ROLLBACK_TIMEOUT_DIVISOR;
use super::unlocked::none_if_busy;
use super::unlocked::unlocked;

/// How long a table is retried between two commits.
const TABLE_RETRY_TIMEOUT: Duration = Duration::from_millis(100);

/// Reads one table at a time, because all together take longer than the owner pauses between two
/// commits. A table that alone takes longer is estimated; one that cannot be read at all is missed.
/// `None` when every table was missed.
pub(super) fn read_in_pieces(
    database: &Database,
    limits: &QueryLimits,
) -> Result<Option<TableCollection>, ConsistentReadError<SqliteError>> {
    let settings = &database.settings;
    let read_one = |query: &mut dyn FnMut(&mut Reader) -> Result<TableCollection, SqliteError>| {
        let read = unlocked(database, limits, TABLE_RETRY_TIMEOUT, query);
        none_if_busy(read, |error| error.code())
    };
    let names = unlocked(database, limits, TABLE_RETRY_TIMEOUT, |reader| known_tables(reader, settings));
    let Some(tables) = none_if_busy(names, |error| error.code())? else { return Ok(None) };
    let mut collection = TableCollection::default();
    if settings.collectors.row_counts {
        let selected = selected_tables(database, &tables, &mut collection);
        for table in selected {
            // The second try reads only statistics and row ids.
            let counted = [settings.count_timeout / ROLLBACK_TIMEOUT_DIVISOR, Duration::ZERO]
                .into_iter()
                .find_map(|limit| {
                    read_one(&mut |reader| {
                        let mut one = TableCollection::default();
                        count(reader, table.clone(), limit, &mut one)?;
                        Ok(one)
                    })
                    .transpose()
                });
            collection.join(counted.transpose()?, table);
        }
    }
    if settings.collectors.timestamps {
        for column in &settings.timestamps {
            let aged = read_one(&mut |reader| {
                let mut one = TableCollection::default();
                age(reader, column, &tables, settings.count_timeout / ROLLBACK_TIMEOUT_DIVISOR, &mut one)?;
                Ok(one)
            })?;
            collection.join(aged, column.table.clone());
        }
    }
    let has_read = !collection.readings.rows.is_empty()
        || !collection.readings.ages.is_empty()
        || collection.missed.is_empty();
    Ok(has_read.then_some(collection))
}
