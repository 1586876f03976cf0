//! What an optimize run did.

use serde::Deserialize;
use serde::Serialize;

use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;

/// What an optimize run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OptimizeReport {
    /// Tables with new statistics.
    pub analyzed: Vec<String>,
    /// Tables that could not be analyzed within a bearable hold.
    pub too_slow: Vec<String>,
    /// Tables that SQLite cannot analyze without the application, each with the reason, such as a
    /// collation of its own.
    #[serde(default)]
    pub not_possible: Vec<String>,
}

impl TaskReport for OptimizeReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        format!("analyzed {}", self.analyzed.join(", "))
    }
}
