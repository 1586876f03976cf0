//! Which tables are published: the largest, selected so that the selection is stable.

use std::collections::BTreeSet;

use crate::sqlite::BTreeSize;

/// A table that is published keeps its place until another is larger by this factor: two of about
/// the same size would otherwise take turns, and each turn ends one series and begins another.
const HYSTERESIS: f64 = 1.25;

/// The size of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSize {
    /// The index.
    pub index: String,
    /// Its pages.
    pub bytes: u64,
}

/// The size of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// The table.
    pub table: String,
    /// Its own pages, without its indexes; `None` when they could not be measured in time.
    pub own: Option<BTreeSize>,
    /// Its indexes, by name; those that could not be measured in time are left out.
    pub indexes: Vec<IndexSize>,
}

impl TableSize {
    /// Bytes of the table and its indexes.
    #[must_use]
    pub fn total(&self) -> u64 {
        let own = self.own.map_or(0, |own| own.bytes);
        self.indexes.iter().map(|index| index.bytes).fold(own, u64::saturating_add)
    }

    fn series(&self) -> usize {
        2 * usize::from(self.own.is_some()) + self.indexes.len()
    }
}

/// Sizes of a database's tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// The largest, the largest first.
    pub tables: Vec<TableSize>,
    /// The number of other tables.
    pub others: usize,
    /// Bytes of the other tables with their indexes, as far as they could be measured.
    pub others_bytes: u64,
    /// Tables and indexes that could not be measured in time: what is shown of them is old, or
    /// absent.
    pub timed_out: Vec<String>,
}

impl TableSizes {
    /// Whether anything was measured: every database has a table, its schema.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.tables.is_empty() || self.others > 0 || !self.timed_out.is_empty()
    }
}

/// The largest tables within the limits, those that are published already before others of about
/// the same size; with it how many series the series limit cost.
pub(super) fn select_largest(
    mut tables: Vec<TableSize>,
    before: &TableSizes,
    top: usize,
    series_limit: usize,
) -> (TableSizes, u64) {
    let published: BTreeSet<&str> = before.tables.iter().map(|table| table.table.as_str()).collect();
    let weight = |table: &TableSize| {
        let factor = if published.contains(table.table.as_str()) { HYSTERESIS } else { 1.0 };
        table.total() as f64 * factor
    };
    tables.sort_by(|one, other| {
        weight(other).total_cmp(&weight(one)).then_with(|| one.table.cmp(&other.table))
    });
    let mut others = tables.split_off(top.min(tables.len()));
    let (mut series, mut dropped) = (0, 0);
    let mut chosen = Vec::new();
    for table in tables {
        series += table.series();
        if series <= series_limit {
            chosen.push(table);
        } else {
            dropped += table.series() as u64;
            others.push(table);
        }
    }
    chosen.sort_by_key(|table| std::cmp::Reverse(table.total()));
    let others_bytes = others.iter().map(TableSize::total).fold(0, u64::saturating_add);
    let readings = TableSizes { tables: chosen, others: others.len(), others_bytes, timed_out: Vec::new() };
    (readings, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, bytes: u64, indexes: &[(&str, u64)]) -> TableSize {
        let index = |(index, bytes): &(&str, u64)| IndexSize { index: (*index).to_owned(), bytes: *bytes };
        let own = Some(BTreeSize { bytes, unused: 0 });
        TableSize { table: name.to_owned(), own, indexes: indexes.iter().map(index).collect() }
    }

    /// What is measured, what was published, how many are wanted, the series limit; what is
    /// published, with how many others, and how many series were dropped.
    type Case<'c> = (&'c [(&'c str, u64)], &'c [&'c str], usize, usize, &'c [&'c str], usize, u64);

    #[test]
    fn the_largest_are_chosen_and_stay() {
        let cases: [Case<'_>; 8] = [
            (&[], &[], 2, 500, &[], 0, 0),
            (&[("a", 1), ("b", 3), ("c", 2)], &[], 2, 500, &["b", "c"], 1, 0),
            // Of the same size, the name decides.
            (&[("b", 5), ("a", 5), ("c", 5)], &[], 2, 500, &["a", "b"], 1, 0),
            // A little larger is not enough, much larger is.
            (&[("a", 100), ("b", 120)], &["a"], 1, 500, &["a"], 1, 0),
            (&[("a", 100), ("b", 126)], &["a"], 1, 500, &["b"], 1, 0),
            // Removed tables free places.
            (&[("b", 1)], &["a"], 1, 500, &["b"], 0, 0),
            // The limit leaves out whole tables, two series each.
            (&[("a", 9), ("b", 8), ("c", 7)], &[], 3, 5, &["a", "b"], 1, 2),
            (&[("a", 9)], &[], 3, 1, &[], 1, 2),
        ];
        for (measured, published, top, limit, expected, others, dropped) in cases {
            let tables = measured.iter().map(|(name, bytes)| table(name, *bytes, &[])).collect();
            let before = TableSizes {
                tables: published.iter().map(|name| table(name, 1, &[])).collect(),
                ..TableSizes::default()
            };
            let (readings, lost) = select_largest(tables, &before, top, limit);
            let chosen: Vec<&str> = readings.tables.iter().map(|table| table.table.as_str()).collect();
            assert_eq!(
                (chosen.as_slice(), readings.others, lost),
                (expected, others, dropped),
                "{measured:?} after {published:?}"
            );
        }
    }

    #[test]
    fn indexes_count_for_their_table() {
        let tables = vec![table("small", 1, &[("i", 10)]), table("large", 8, &[])];
        let (readings, _) = select_largest(tables, &TableSizes::default(), 1, 500);
        assert_eq!(readings.tables[0].table, "small");
        assert_eq!((readings.others, readings.others_bytes), (1, 8));
    }
}
