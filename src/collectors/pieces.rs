//! Tables of a rollback database that is written to all the time, each for itself.

use std::time::Duration;

use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::consistent_read::ConsistentReadError;
use super::table_rows::ROLLBACK_BUDGET_DIVISOR;
use super::table_rows::TableCollection;
use super::table_rows::age;
use super::table_rows::chosen_tables;
use super::table_rows::count;
use super::table_rows::known_tables;
use super::table_rows::unless_busy;
use super::unlocked::unlocked;

/// How long a look tries to read one table between two commits.
const PIECE_PATIENCE: Duration = Duration::from_millis(100);

/// Reads each table for itself, as the whole takes longer than the owner rests between two commits. A table that takes
/// longer by itself is estimated; one that cannot be read at all is missed. `None` when that is true of each.
pub(super) fn read_in_pieces(
    database: &Database,
    limits: &QueryLimits,
) -> Result<Option<TableCollection>, ConsistentReadError<SqliteError>> {
    let settings = &database.settings;
    let piece = |question: &mut dyn FnMut(&mut Reader) -> Result<TableCollection, SqliteError>| {
        let read = unlocked(database, limits, PIECE_PATIENCE, question);
        unless_busy(read, |error| error.code())
    };
    let names = unlocked(database, limits, PIECE_PATIENCE, |reader| known_tables(reader, settings));
    let Some(tables) = unless_busy(names, |error| error.code())? else { return Ok(None) };
    let mut look = TableCollection::default();
    if settings.collectors.row_counts {
        let wanted = chosen_tables(database, &tables, &mut look);
        for table in wanted {
            // The second try looks at statistics and row ids alone.
            let counted = [settings.count_timeout / ROLLBACK_BUDGET_DIVISOR, Duration::ZERO]
                .into_iter()
                .find_map(|limit| {
                    piece(&mut |reader| {
                        let mut one = TableCollection::default();
                        count(reader, table.clone(), limit, &mut one)?;
                        Ok(one)
                    })
                    .transpose()
                });
            look.join(counted.transpose()?, table);
        }
    }
    if settings.collectors.timestamps {
        for column in &settings.timestamps {
            let aged = piece(&mut |reader| {
                let mut one = TableCollection::default();
                age(reader, column, &tables, settings.count_timeout / ROLLBACK_BUDGET_DIVISOR, &mut one)?;
                Ok(one)
            })?;
            look.join(aged, column.table.clone());
        }
    }
    let has_read = !look.readings.rows.is_empty() || !look.readings.ages.is_empty() || look.missed.is_empty();
    Ok(has_read.then_some(look))
}
