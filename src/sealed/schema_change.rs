//! What a change of a table's schema means for rows that were sealed before it.
//!
//! A row is compared over the columns that the table had when it was sealed. A column that was
//! renamed keeps its place, and its values decide whether it is the same one.

use crate::sqlite::SealedColumn;
use crate::sqlite::SealedTable;

use super::row_key::escaped;
use super::store::Footer;
use super::store::StoredColumn;

/// How the columns of a set are found in the table as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnMap {
    /// The places in [`SealedTable::columns`]; `None` where a column is gone.
    pub places: Option<Vec<usize>>,
    /// Columns of the set that the table does not have any more.
    pub gone: Vec<String>,
    /// Old and new names.
    pub renamed: Vec<(String, String)>,
}

impl ColumnMap {
    pub fn of(set: &[StoredColumn], table: &SealedTable) -> Self {
        let is_in_set = |column: &SealedColumn| set.iter().any(|old| is_called(column, &old.name));
        let mut map = Self { places: None, gone: Vec::new(), renamed: Vec::new() };
        let mut places = Vec::new();
        // A dropped column moves those after it to the front, so that places prove nothing.
        let can_be_renamed = table.columns.len() >= set.len();
        for old in set {
            if let Some(place) = table.columns.iter().position(|column| is_called(column, &old.name)) {
                places.push(place);
                continue;
            }
            let at_its_place = |column: &SealedColumn| column.place == old.place && !is_in_set(column);
            match table.columns.iter().position(at_its_place).filter(|_| can_be_renamed) {
                Some(place) => {
                    map.renamed.push((old.name.clone(), table.columns[place].name.clone()));
                    places.push(place);
                }
                None => map.gone.push(old.name.clone()),
            }
        }
        map.places = map.gone.is_empty().then_some(places);
        map
    }

    /// The set with the names of today.
    pub fn renewed(&self, set: &[StoredColumn], table: &SealedTable) -> Vec<StoredColumn> {
        match &self.places {
            Some(places) => places.iter().map(|place| StoredColumn::from(&table.columns[*place])).collect(),
            None => set.to_vec(),
        }
    }

    /// What a user should know.
    pub fn notices(&self, rows: &str) -> Vec<String> {
        let renamed = self.renamed.iter().map(|(old, new)| {
            format!("column {} is taken for {}, which is at its place", escaped(new), escaped(old))
        });
        let gone = self.gone.iter().map(|name| {
            format!("column {} is gone, so that {rows} sealed with it cannot be as they were", escaped(name))
        });
        renamed.chain(gone).collect()
    }
}

fn is_called(column: &SealedColumn, name: &str) -> bool {
    column.name.eq_ignore_ascii_case(name)
}

/// Why rows cannot be found by the key with which they were sealed; `None` where they can.
pub(super) fn key_problem(stored: &[StoredColumn], table: &SealedTable) -> Option<String> {
    let is_same = |(old, new): (&StoredColumn, &SealedColumn)| {
        old.name.eq_ignore_ascii_case(&new.name) || old.place == new.place
    };
    if stored.len() == table.key.len() && stored.iter().zip(&table.key).all(is_same) {
        return None;
    }
    let names = |names: Vec<&str>| escaped(&names.join(", "));
    Some(format!(
        "its rows were sealed by the key ({}), which is ({}) now, so that they cannot be found; once they are known to be \
         right, `litekeeper sealed --accept` seals them anew",
        names(stored.iter().map(|column| column.name.as_str()).collect()),
        names(table.key.iter().map(|column| column.name.as_str()).collect()),
    ))
}

/// The place of the table's present columns among the sets, which is added where it is new. The
/// sets get the names of today.
pub(super) fn current_set(
    footer: &mut Footer,
    maps: &mut Vec<ColumnMap>,
    table: &SealedTable,
    accept: bool,
) -> Result<u8, String> {
    let now: Vec<StoredColumn> = table.columns.iter().map(StoredColumn::from).collect();
    if accept {
        // Every row is sealed over all columns.
        footer.column_sets = vec![now];
        return Ok(0);
    }
    for (set, map) in footer.column_sets.iter_mut().zip(&*maps) {
        *set = map.renewed(set, table);
    }
    let place = footer.column_sets.iter().position(|set| *set == now).unwrap_or_else(|| {
        maps.push(ColumnMap::of(&now, table));
        footer.column_sets.push(now);
        footer.column_sets.len() - 1
    });
    u8::try_from(place).map_err(|_| {
        format!(
            "the columns of {} have changed {place} times; `litekeeper sealed --accept` seals all rows with the columns \
             of today",
            table.name
        )
    })
}
