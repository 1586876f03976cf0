//! What a vacuum did.

use serde::Deserialize;
use serde::Serialize;

use crate::humanize::bytes;
use crate::tasks::report::Measurements;
use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;

/// How a database is vacuumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// In slices.
    Incremental,
    /// By VACUUM.
    Full,
    /// By VACUUM, after which it can be done in slices.
    FullThenIncremental,
}

/// What was won.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VacuumReport {
    /// How.
    pub method: Method,
    /// Pages times their size, before.
    pub size_before_bytes: u64,
    /// The same after.
    pub size_after_bytes: u64,
    /// The difference.
    pub saved_bytes: u64,
    /// The difference as a part of the size before, in per cent.
    pub saved_percent: f64,
    /// Whether every free page is gone.
    pub complete: bool,
    /// Whether the WAL was emptied; `None` outside WAL mode.
    pub wal_truncated: Option<bool>,
}

impl TaskReport for VacuumReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        format!(
            "{} to {}, {} saved ({:.1} %)",
            bytes(self.size_before_bytes),
            bytes(self.size_after_bytes),
            bytes(self.saved_bytes),
            self.saved_percent
        )
    }

    fn work(&self) -> Option<u64> {
        Some(self.size_after_bytes)
    }

    fn span_attributes(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("litekeeper.size_before_bytes", self.size_before_bytes),
            ("litekeeper.size_after_bytes", self.size_after_bytes),
            ("litekeeper.saved_bytes", self.saved_bytes),
        ]
    }

    fn measurements(&self) -> Measurements {
        Measurements {
            reclaimed_bytes: self.saved_bytes,
            sizes: Some((self.size_before_bytes, self.size_after_bytes)),
            ..Measurements::default()
        }
    }
}
