//! The verdict of an integrity check.

use serde::Deserialize;
use serde::Serialize;

use crate::sqlite::Check;

/// What one check says of the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which check.
    pub check: Check,
    /// Whether the database is sound: no damage, and of the foreign-key check no row without its
    /// parent.
    pub ok: bool,
    /// Whether it looked at the whole database at once.
    pub whole: bool,
    /// What speaks against that, capped at 100.
    pub problems: u32,
    /// The first of them.
    pub first_problem: Option<String>,
    /// What else the check says.
    #[serde(flatten)]
    pub notes: Notes,
}

/// What a check says beside its verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Constraints that rows break, capped at 100: the file is sound all the same.
    pub constraints: u32,
    /// The first of them.
    pub first_constraint: Option<String>,
    /// Things that could not be checked here, capped at 100.
    pub not_checked: u32,
    /// The first of them, with the reason.
    pub first_not_checked: Option<String>,
    /// B-trees that it was to look at; 0 where that is not known.
    pub btrees: u64,
    /// Those of which everything was checked.
    pub btrees_checked: u64,
}
