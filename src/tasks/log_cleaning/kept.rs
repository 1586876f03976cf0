//! Rows that stay although they have expired, and rows that are changed along with the deleted
//! ones.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::humanize::bytes;
use crate::humanize::counted;
use crate::sqlite::ReferenceAction;
use crate::sqlite::RemainingRows;
use crate::sqlite::RowTotals;

/// What keeps an expired row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBy {
    /// A foreign key of a row that refers to it.
    ForeignKey,
    /// A trigger, or another constraint.
    #[default]
    Trigger,
    /// The configured `condition`.
    Condition,
    /// The configured `keep_latest`.
    KeepLatest,
    /// The configured `max_newest_age`, beyond which nothing is written to the table any more, or
    /// the clock is ahead.
    Quiet,
}

impl KeptBy {
    /// Whether rows stay that the configuration wants deleted.
    pub(super) fn is_against_the_configuration(self) -> bool {
        match self {
            Self::ForeignKey | Self::Trigger | Self::Quiet => true,
            Self::Condition | Self::KeepLatest => false,
        }
    }
}

/// Expired rows that stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRows {
    /// What keeps them.
    #[serde(default)]
    pub reason: KeptBy,
    /// The table whose foreign key keeps them.
    pub referenced_by: Option<String>,
    /// How many.
    pub rows: u64,
}

/// Rows of other tables, or of the same one, that were changed along with the deleted ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OtherRows {
    /// The table.
    pub table: String,
    /// What was done: `cascade` by the schema's ON DELETE CASCADE, `deleted_first` or `set_null` by
    /// the configuration.
    pub action: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

impl OtherRows {
    /// The change in words, as in `3 rows of notes deleted by ON DELETE CASCADE`.
    #[must_use]
    pub fn summary(&self) -> String {
        let rows = format!("{} of {}", counted(self.rows, "row"), self.table);
        match self.action.as_str() {
            "cascade" => format!("{rows}, {}, by ON DELETE CASCADE", bytes(self.bytes)),
            "deleted_first" => format!("{rows}, {}, that refer to them (cascade)", bytes(self.bytes)),
            _ => format!("references of {rows} set to NULL (set_null)"),
        }
    }
}

/// The same for all.
pub(super) fn others<'o>(
    tallies: impl Iterator<Item = (&'o (String, ReferenceAction), &'o RowTotals)>,
) -> Vec<OtherRows> {
    let action = |action: ReferenceAction| match action {
        ReferenceAction::Protect | ReferenceAction::Cascade => "cascade",
        ReferenceAction::DeleteFirst => "deleted_first",
        ReferenceAction::SetNullFirst => "set_null",
    };
    let other = |((table, what), tally): (&(String, ReferenceAction), &RowTotals)| OtherRows {
        table: table.clone(),
        action: action(*what).to_owned(),
        rows: tally.rows,
        bytes: tally.bytes,
    };
    tallies.filter(|(_, tally)| tally.rows > 0).map(other).collect()
}

/// Adds rows to those that are known.
pub(super) fn add(known: &mut Vec<OtherRows>, more: &BTreeMap<(String, ReferenceAction), RowTotals>) {
    for row in others(more.iter()) {
        match known.iter_mut().find(|other| other.table == row.table && other.action == row.action) {
            Some(other) => {
                other.rows += row.rows;
                other.bytes += row.bytes;
            }
            None => known.push(row),
        }
    }
}

/// The rows that stay, by what keeps them.
pub(super) fn kept(left: &RemainingRows) -> Vec<KeptRows> {
    let row = |reason, referenced_by, rows| KeptRows { reason, referenced_by, rows };
    let referenced =
        left.referenced.iter().map(|(table, rows)| row(KeptBy::ForeignKey, Some(table.clone()), *rows));
    let others = [row(KeptBy::Trigger, None, left.rest), row(KeptBy::Condition, None, left.by_condition)];
    referenced.chain(others).filter(|kept| kept.rows > 0).collect()
}
