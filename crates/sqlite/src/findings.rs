//! What a check finds, by kind: damage apart from broken constraints, from what cannot be checked
//! here, and from what is odd but legal.

use serde::Deserialize;
use serde::Serialize;

/// The most findings that one check lists; a broken tree can report millions.
pub const MAX_FINDINGS: usize = 100;

/// What to do about something that is the application's own.
pub(super) const ADVICE: &str = "only a program that has it can check that";

/// What a finding says of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCategory {
    /// Pages, trees, indexes or counts are broken. Only this stops writing and the rotation of
    /// backups.
    Damage,
    /// The file is sound, and a row breaks a rule of its table: NOT NULL, the type of a column,
    /// CHECK, UNIQUE, a foreign key.
    Constraint,
    /// Something needs what only the application has: a collation, a tokenizer, a function, a
    /// virtual table's module.
    NotCheckable,
    /// Unusual and legal.
    Odd,
}

impl FindingCategory {
    /// Every kind, the worst first.
    pub const ALL: [Self; 4] = [Self::Damage, Self::Constraint, Self::NotCheckable, Self::Odd];

    /// The word for it, as JSON has it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Constraint => "constraint",
            Self::NotCheckable => "not_checkable",
            Self::Odd => "odd",
        }
    }

    /// Whether it is a problem of the database, and not a note about it.
    #[must_use]
    pub fn is_problem(self) -> bool {
        match self {
            Self::Damage | Self::Constraint => true,
            Self::NotCheckable | Self::Odd => false,
        }
    }
}

/// One finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it says of the database.
    pub kind: FindingCategory,
    /// What was found, where, and for a note what to do.
    pub text: String,
}

impl Finding {
    /// Something broken in the file.
    #[must_use]
    pub fn damage(text: impl Into<String>) -> Self {
        Self { kind: FindingCategory::Damage, text: text.into() }
    }

    /// A row that breaks a rule.
    #[must_use]
    pub fn constraint(text: impl Into<String>) -> Self {
        Self { kind: FindingCategory::Constraint, text: text.into() }
    }

    /// Something that was not checked, and why.
    #[must_use]
    pub fn not_checkable(text: impl Into<String>) -> Self {
        Self { kind: FindingCategory::NotCheckable, text: text.into() }
    }

    /// Something legal that is seldom seen.
    #[must_use]
    pub fn odd(text: impl Into<String>) -> Self {
        Self { kind: FindingCategory::Odd, text: text.into() }
    }
}

/// What a check that came to its end says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What it found, at most [`MAX_FINDINGS`] of each kind.
    pub findings: Vec<Finding>,
    /// B-trees (tables and indexes) that it was to look at; 0 for a check that looks at none.
    pub btrees: u64,
    /// Those of which everything was checked.
    pub btrees_checked: u64,
    /// Whether it looked at the whole database at once, and not table by table.
    pub whole: bool,
}

impl Checked {
    /// Adds what the check of one table says, with the table's name before each problem that lacks
    /// it.
    pub fn add(&mut self, table: &str, one: Self) {
        let named = one.findings.into_iter().map(|finding| match finding.kind {
            FindingCategory::Damage | FindingCategory::Constraint | FindingCategory::Odd => {
                Finding { text: format!("{table}: {}", finding.text), ..finding }
            }
            FindingCategory::NotCheckable => finding,
        });
        self.findings = capped(std::mem::take(&mut self.findings).into_iter().chain(named).collect());
        self.btrees += one.btrees;
        self.btrees_checked += one.btrees_checked;
    }
}

/// At most [`MAX_FINDINGS`] of each kind, so that many of one do not hide another.
pub(super) fn capped(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut counts = FindingCategory::ALL.map(|kind| (kind, 0));
    findings.retain(|finding| {
        counts.iter_mut().find(|(kind, _)| *kind == finding.kind).is_some_and(|(_, count)| {
            *count += 1;
            *count <= MAX_FINDINGS
        })
    });
    findings
}

/// The findings in one row of `PRAGMA integrity_check`.
///
/// Rows are classified by how they begin, which names in the schema cannot change. Only the row
/// about pages and that of an R-tree hold several problems, one a line.
pub(super) fn of_row(row: &str) -> Vec<Finding> {
    const PAGES: &str = "*** in database";
    if row == "ok" {
        return Vec::new();
    }
    if row.starts_with(PAGES) || row.starts_with("In RTree ") {
        return row.lines().filter(|line| !line.starts_with(PAGES)).map(Finding::damage).collect();
    }
    vec![Finding { kind: kind_of_row(row), text: row.to_owned() }]
}

/// The kind behind the words of SQLite (`PragTyp_INTEGRITY_CHECK` in pragma.c).
fn kind_of_row(row: &str) -> FindingCategory {
    /// The types of a STRICT table: `non-INT value in …`.
    const STRICT: [&str; 6] = ["ANY", "BLOB", "INT", "INTEGER", "REAL", "TEXT"];
    let strict = || {
        let rest = row.strip_prefix("non-")?;
        STRICT
            .iter()
            .find(|name| rest.strip_prefix(**name).is_some_and(|rest| rest.starts_with(" value in ")))
    };
    let constraint = [
        "NULL value in ",
        "NUMERIC value in ",
        "TEXT value in ",
        "CHECK constraint failed in ",
        "non-unique entry in index ",
    ]
    .iter()
    .any(|words| row.starts_with(words));
    // The index was written by a version that rounds in another way; only a REINDEX changes it.
    let imprecise =
        row.starts_with("index ") && row.contains(" stores an imprecise floating-point value for row ");
    let unvalidated = row.starts_with("unable to validate the inverted index for")
        && !row.ends_with("database disk image is malformed");
    if constraint || strict().is_some() || is_duplicate(row) {
        FindingCategory::Constraint
    } else if imprecise {
        FindingCategory::Odd
    } else if unvalidated {
        FindingCategory::NotCheckable
    } else {
        FindingCategory::Damage
    }
}

/// `row 7 non-unique entry in index i`: two rows with one key, each of them in the index.
fn is_duplicate(row: &str) -> bool {
    let rest =
        row.strip_prefix("row ").map(|rest| rest.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    rest.is_some_and(|rest| rest.trim_start().starts_with("non-unique entry in index "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_distinguished_by_their_beginning() {
        for (row, kind) in [
            ("NULL value in issues.notes", FindingCategory::Constraint),
            ("NUMERIC value in t.a", FindingCategory::Constraint),
            ("TEXT value in t.a", FindingCategory::Constraint),
            ("non-INT value in t.a", FindingCategory::Constraint),
            ("non-ANYTHING value in t.a", FindingCategory::Damage),
            ("CHECK constraint failed in t", FindingCategory::Constraint),
            ("non-unique entry in index i", FindingCategory::Constraint),
            ("row 7 non-unique entry in index i", FindingCategory::Constraint),
            ("row 7 missing from index i", FindingCategory::Damage),
            ("row 7 missing from index CHECK constraint failed in t", FindingCategory::Damage),
            ("row 7 values differ from index i", FindingCategory::Damage),
            ("rowid not at end-of-record for row 7 of index i", FindingCategory::Damage),
            ("wrong # of entries in index i\nNULL value in t.a", FindingCategory::Damage),
            ("NULL value in a\nb.c", FindingCategory::Constraint),
            ("row not in PRIMARY KEY order for t", FindingCategory::Damage),
            ("index i stores an imprecise floating-point value for row 3", FindingCategory::Odd),
            ("malformed inverted index for FTS5 table main.f", FindingCategory::Damage),
            (
                "unable to validate the inverted index for FTS4 table main.f: SQL logic error",
                FindingCategory::NotCheckable,
            ),
            (
                "unable to validate the inverted index for FTS4 table main.f: database disk image is malformed",
                FindingCategory::Damage,
            ),
            ("database disk image is malformed", FindingCategory::Damage),
        ] {
            assert_eq!(of_row(row), [Finding { kind, text: row.to_owned() }], "{row}");
        }
        let pages = of_row(
            "*** in database main ***\nTree 5 page 7: btreeInitPage() returns error code 11\nPage 9: never used",
        );
        assert!(
            pages.len() == 2 && pages.iter().all(|finding| finding.kind == FindingCategory::Damage),
            "{pages:?}"
        );
        assert_eq!(of_row("ok"), []);
    }
}
