//! What a check is asked for, and its report. The shape of the JSON is an interface.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::limits::QueryLimits;
use crate::sqlite::Check;
use crate::sqlite::Checked;
use crate::sqlite::ErrorKind;
use crate::sqlite::Finding;
use crate::sqlite::FindingCategory;

use super::impact_limits::ImpactLimits;

/// The version of the JSON shape; it grows when a field changes its meaning or goes.
pub const FORMAT_VERSION: u32 = 1;

/// What the report comes down to, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every check passed.
    Healthy,
    /// Something could not be checked; what could is well.
    Unknown,
    /// A check found problems: damage, or broken constraints.
    Problems,
}

/// The report of one database.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file as it was named.
    pub path: String,
    /// The verdict.
    pub status: Status,
    /// Why something could not be checked.
    pub error: Option<String>,
    /// What a file is that SQLite cannot open as a database: `empty`, `encrypted`,
    /// `newer_version`, `not_a_database` or `damaged`.
    pub file_format: Option<&'static str>,
    /// Sizes of the files in bytes.
    pub files: Option<Files>,
    /// What header and pager say.
    pub facts: Option<FactsReport>,
    /// Row counts of the tables asked for.
    pub rows: Vec<RowCountReport>,
    /// The checks that ran, in their order.
    pub checks: Vec<CheckReport>,
    /// Processes that have lost their locks on the database, or write to deleted files of it; empty
    /// if the caller did not search for them.
    pub lost_locks: Vec<String>,
    /// The longest that a lock was held that keeps writers of a rollback database from committing,
    /// whether or not one waited.
    #[serde(skip)]
    pub max_hold: Duration,
    /// Why no private copy was read beside an owner at work.
    #[serde(skip)]
    pub no_copy: Option<String>,
    /// What kind of error kept something from being checked.
    #[serde(skip)]
    pub error_kind: Option<ErrorKind>,
    /// How long the report took.
    pub elapsed_seconds: f64,
}

/// Sizes of the files of a database, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Main file.
    pub main_bytes: u64,
    /// Disk space that the main file really uses.
    pub allocated_bytes: u64,
    /// Write-ahead log.
    pub wal_bytes: Option<u64>,
    /// Rollback journal.
    pub journal_bytes: Option<u64>,
}

/// What header and pager say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactsReport {
    /// Pages, those in the WAL counted.
    pub pages: u32,
    /// Bytes a page.
    pub page_size_bytes: u32,
    /// Unused pages.
    pub freelist_pages: u32,
    /// What a vacuum would give back.
    pub reclaimable_bytes: u64,
    /// `wal` or `rollback`.
    pub journal_mode: &'static str,
    /// `none`, `full` or `incremental`.
    pub auto_vacuum: &'static str,
    /// Text encoding.
    pub encoding: &'static str,
    /// `PRAGMA application_id`.
    pub application_id: i32,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA schema_version`.
    pub schema_version: u32,
    /// SQLite's version of the last writer.
    pub writer_version: String,
    /// Frames in the WAL.
    pub wal_frames: Option<u32>,
    /// Those already copied into the main file.
    pub wal_checkpointed_frames: Option<u32>,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowCountReport {
    /// The table.
    pub table: String,
    /// How many; absent when unknown.
    pub rows: Option<i64>,
    /// `count` or `estimate`.
    pub method: Option<&'static str>,
    /// Why it is unknown.
    pub error: Option<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// `file_size`, `quick`, `full` or `foreign_key`.
    pub check: &'static str,
    /// Whether it found no problem: neither damage nor a broken constraint.
    pub ok: bool,
    /// Whether it looked at the whole database at once. Table by table it does not see the
    /// freelist, pages that nothing uses, and pages that two tables use.
    pub whole: bool,
    /// The problems among the findings, 100 lines of each kind at most.
    pub problems: Vec<String>,
    /// Everything that it found, notes included, each with its kind.
    pub findings: Vec<Finding>,
    /// B-trees (tables and indexes) that it was to look at; 0 for a check that looks at none.
    pub btrees: u64,
    /// Those of which everything was checked.
    pub btrees_checked: u64,
    /// How long it took.
    pub elapsed_seconds: f64,
}

impl CheckReport {
    /// What a check that came to its end says.
    #[must_use]
    pub fn new(check: &'static str, checked: Checked, elapsed_seconds: f64) -> Self {
        let Checked { findings, btrees, btrees_checked, whole } = checked;
        let problems: Vec<String> = findings
            .iter()
            .filter(|finding| finding.kind.is_problem())
            .map(|finding| finding.text.clone())
            .collect();
        Self {
            check,
            ok: problems.is_empty(),
            whole,
            problems,
            findings,
            btrees,
            btrees_checked,
            elapsed_seconds,
        }
    }

    /// Adds what another look found.
    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        let problems = findings.iter().filter(|finding| finding.kind.is_problem());
        self.problems.extend(problems.map(|finding| finding.text.clone()));
        self.ok = self.problems.is_empty();
        self.findings.extend(findings);
    }

    /// What it says of one kind.
    pub fn texts(&self, kind: FindingCategory) -> impl Iterator<Item = &str> {
        self.findings.iter().filter(move |finding| finding.kind == kind).map(|finding| finding.text.as_str())
    }
}

impl Report {
    /// Whether a check found something of a kind.
    #[must_use]
    pub fn has(&self, kind: FindingCategory) -> bool {
        self.checks.iter().any(|check| check.texts(kind).next().is_some())
    }
}

/// What to report on.
#[derive(Debug, Clone)]
pub struct Request {
    /// The database.
    pub path: PathBuf,
    /// Tables to count, by name or pattern.
    pub rows: Vec<String>,
    /// The checks to run.
    pub checks: Vec<Check>,
    /// Whether to go table by table from the start, as a check beside an owner at work has to.
    pub by_table: bool,
    /// How to spare the database's owner; `None` to check regardless.
    pub impact_limits: Option<ImpactLimits>,
    /// Limits of the work.
    pub limits: QueryLimits,
}
