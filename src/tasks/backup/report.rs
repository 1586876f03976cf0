//! The report of a backup.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::humanize::bytes;
use crate::humanize::count;
use crate::humanize::counted;
use crate::tasks::backup::kept_backup::KeptBackup;
use crate::tasks::report::BackupMeasurement;
use crate::tasks::report::Measurements;
use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;

/// The new backup and the state of its directory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// The new backup.
    pub path: PathBuf,
    /// The size of the new backup.
    pub size_bytes: u64,
    /// SHA-256 of the new backup, as `sha256sum` prints it.
    #[serde(default)]
    pub sha256: String,
    /// Tables with the same number of rows in the copy and in the database: counted in both, or
    /// copied byte for byte.
    pub tables: u64,
    /// Rows of these tables.
    pub rows: u64,
    /// Tables that were not counted in the database in time, so that only the integrity check
    /// verifies them.
    pub not_compared: Vec<String>,
    /// What could not be checked in the copy, with the reason: it needs a function or collation
    /// that only the application has.
    #[serde(default)]
    pub not_checked: Vec<String>,
    /// Constraints that rows of the copy violate, as those of the database do.
    #[serde(default)]
    pub broken_constraints: Vec<String>,
    /// How many times the copy was started, or how many times the file of a rollback database was
    /// read.
    pub attempts: u32,
    /// How long the copy took.
    pub copy_seconds: f64,
    /// How long the check of the copy took.
    pub verify_seconds: f64,
    /// When the copy was verified, in seconds since 1970.
    pub verified_at: f64,
    /// Backups of the database in the directory.
    pub files: u64,
    /// Backups in the directory with the database's name that belong to another database, or are
    /// not known to belong to this one. They are never removed.
    #[serde(default)]
    pub files_of_others: u64,
    /// Kept backups of the database, the newest first, with the state of each.
    #[serde(default)]
    pub kept: Vec<KeptBackup>,
    /// Kept backups that were read again and compared with their manifest.
    #[serde(default)]
    pub rechecked: u64,
    /// Kept backups that were due for that, but the run was stopped before.
    #[serde(default)]
    pub not_rechecked: u64,
    /// Backups that the rotation removed.
    pub removed: Vec<PathBuf>,
}

impl TaskReport for BackupReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        let (size, rows) = (bytes(self.size_bytes), counted(self.rows, "row"));
        let rest = match self.not_compared.len() {
            0 => String::new(),
            more => format!(", {} not compared", counted(more as u64, "table")),
        };
        let unchecked = match self.not_checked.len() {
            0 => "",
            _ => " as far as it can be checked here",
        };
        let others = match self.files_of_others {
            0 => String::new(),
            more => format!(
                "; {} with this database's name are not removed, because they are not known to belong to it",
                counted(more, "backup")
            ),
        };
        let rechecked = match self.rechecked {
            0 => String::new(),
            more => format!(", {} read again", count(more)),
        };
        let damaged = match self.kept.iter().filter(|kept| kept.is_damaged()).count() {
            0 => String::new(),
            more => format!("; {} DAMAGED", counted(more as u64, "older backup")),
        };
        format!(
            "{file}, {size}, verified{unchecked} with {rows}{rest}, {} kept{rechecked}{damaged}{others}",
            count(self.files)
        )
    }

    fn lines(&self, _message: &str) -> Vec<String> {
        let mut lines = vec![self.path.display().to_string()];
        lines.extend(
            self.not_compared.iter().map(|table| format!("not compared, as counting took too long: {table}")),
        );
        lines.extend(self.broken_constraints.iter().chain(&self.not_checked).cloned());
        for kept in &self.kept {
            let Some(problem) = &kept.problem else { continue };
            lines.push(format!("{}: {}: {problem}", kept.state.label(), kept.path.display()));
        }
        if self.not_rechecked > 0 {
            let number = counted(self.not_rechecked, "kept backup");
            lines.push(format!("{number} could not be read again in time; the next run continues"));
        }
        lines.extend(self.removed.iter().map(|path| format!("removed: {}", path.display())));
        lines
    }

    fn work(&self) -> Option<u64> {
        Some(self.size_bytes)
    }

    fn measurements(&self) -> Measurements {
        let Self { size_bytes, files, verified_at, .. } = *self;
        let kept_backups = (!self.kept.is_empty()).then(|| self.kept.clone());
        Measurements {
            backup: Some(BackupMeasurement { size_bytes, files, verified_at }),
            kept_backups,
            ..Measurements::default()
        }
    }
}
