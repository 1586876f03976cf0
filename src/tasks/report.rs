//! What a run did: the part that all tasks share, and the trait by which each task's own part is
//! shown, logged and measured.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::health_report;

use crate::tasks::backup::kept_backup::KeptBackup;
use crate::tasks::scrub_result::ScrubResult;
use crate::tasks::verdict::Verdict;

/// The part of a report that each task has for itself.
pub trait TaskReport: Debug + Send + Sync {
    /// The report as the JSON that is stored and shown.
    fn to_json(&self) -> serde_json::Value;

    /// The result in one line, as in `3 rows deleted`.
    fn summary(&self) -> String;

    /// Further lines for a terminal. What `message`, the reason of a failure, says already is left
    /// out.
    fn lines(&self, _message: &str) -> Vec<String> {
        Vec::new()
    }

    /// The health report to show with the run, as `litekeeper check` shows it.
    fn health(&self) -> Option<&health_report::Report> {
        None
    }

    /// What the log says beside the result.
    fn notes(&self) -> Option<String> {
        None
    }

    /// Units of work done, in bytes or rows, from which the rate of the next run is estimated.
    fn work(&self) -> Option<u64> {
        None
    }

    /// The verdicts on the database's integrity; `None` where the task checks none.
    fn verdicts(&self) -> Option<&[Verdict]> {
        None
    }

    /// The result of a scrub that reached the end; `None` for every other run.
    fn scrub(&self) -> Option<ScrubResult> {
        None
    }

    /// Numbers for the run's span, by the name of the attribute.
    fn span_attributes(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Numbers for the task's own metrics.
    fn measurements(&self) -> Measurements {
        Measurements::default()
    }
}

/// Numbers of a run for the metrics of its task. What a task does not measure keeps its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurements {
    /// Bytes given back to the file system.
    pub reclaimed_bytes: u64,
    /// The size of the database before and after, in bytes.
    pub sizes: Option<(u64, u64)>,
    /// The tables from which rows were deleted.
    pub tables: Vec<TableMeasurement>,
    /// The backup that was verified.
    pub backup: Option<BackupMeasurement>,
    /// The kept backups of the database, the newest first.
    pub kept_backups: Option<Vec<KeptBackup>>,
}

/// Numbers of one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableMeasurement {
    /// The table.
    pub table: String,
    /// Rows deleted.
    pub deleted_rows: u64,
    /// Transactions.
    pub batches: u64,
    /// Expired rows that stay.
    pub kept_rows: u64,
    /// Rows of other tables that were changed too.
    pub other_rows: u64,
    /// Whether every expired row was judged.
    pub complete: bool,
}

/// Numbers of a verified backup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackupMeasurement {
    /// The size of its file.
    pub size_bytes: u64,
    /// Backups of the database in the directory.
    pub files: u64,
    /// When it was verified, in seconds since 1970.
    pub verified_at: f64,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The longest that it kept other writers from committing at once: by the write lock, or for a
    /// check or backup of a rollback database by a reader's lock. Whether somebody waited does not
    /// matter.
    pub max_hold: Duration,
    /// The part of the task.
    pub details: Arc<dyn TaskReport>,
}

impl Report {
    /// A report of a task.
    #[must_use]
    pub fn new(max_hold: Duration, details: impl TaskReport + 'static) -> Self {
        Self { max_hold, details: Arc::new(details) }
    }

    /// The report as the JSON that is stored and shown, with the task's part below its `label`.
    #[must_use]
    pub fn to_json(&self, label: &str) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert(HOLD_KEY.to_owned(), self.max_hold.as_secs_f64().into());
        object.insert(label.to_owned(), self.details.to_json());
        object.into()
    }

    /// The report that was stored as JSON; `None` where an older version wrote it in another form.
    pub(super) fn from_json(
        json: &serde_json::Value,
        label: &str,
        parse: impl FnOnce(&serde_json::Value) -> Option<Arc<dyn TaskReport>>,
    ) -> Option<Self> {
        let details = parse(json.get(label)?)?;
        let seconds = json.get(HOLD_KEY).and_then(serde_json::Value::as_f64).unwrap_or_default();
        let max_hold = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Some(Self { max_hold, details })
    }
}

/// The key of the longest hold, in seconds.
const HOLD_KEY: &str = "max_write_hold_seconds";

/// Parses the stored JSON of a report.
pub(super) fn parse<T>(json: &serde_json::Value) -> Option<Arc<dyn TaskReport>>
where
    T: TaskReport + serde::de::DeserializeOwned + 'static,
{
    let report: T = serde_json::from_value(json.clone()).ok()?;
    Some(Arc::new(report))
}

/// A report as JSON.
pub(super) fn to_json(report: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(report).expect("a report is made of numbers, texts and lists")
}
