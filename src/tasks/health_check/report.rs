//! What a health check found.

use serde::Deserialize;
use serde::Serialize;

use crate::health_report;
use crate::humanize::counted;
use crate::sqlite::Check;
use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;
use crate::tasks::verdict::Verdict;

/// What a health check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Status, sizes, row counts and checks, in the shape of `litekeeper check --json`.
    /// `None` in a report that was stored.
    #[serde(flatten, skip_deserializing)]
    pub report: Option<health_report::Report>,
    /// What the checks say; one that could not be finished says nothing.
    pub verdicts: Vec<Verdict>,
    /// Bytes that were checked.
    pub checked_bytes: u64,
}

impl TaskReport for HealthReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        let checks: Vec<String> = self
            .verdicts
            .iter()
            .map(|verdict| {
                let word = if verdict.ok {
                    "ok".to_owned()
                } else {
                    counted(u64::from(verdict.problems), "problem")
                };
                let sliced = if verdict.whole { "" } else { " (table by table)" };
                let mut rest = String::new();
                if verdict.check != Check::ForeignKey && verdict.notes.constraints > 0 {
                    rest += &format!(
                        ", {}",
                        counted(u64::from(verdict.notes.constraints), "violated constraint")
                    );
                }
                if verdict.notes.btrees_checked < verdict.notes.btrees {
                    rest += &format!(
                        ", {} of {} b-trees checked",
                        verdict.notes.btrees_checked, verdict.notes.btrees
                    );
                } else if verdict.notes.not_checked > 0 {
                    rest += &format!(", {} not checked", verdict.notes.not_checked);
                }
                format!("{} {word}{rest}{sliced}", verdict.check.label())
            })
            .collect();
        checks.join(", ")
    }

    fn health(&self) -> Option<&health_report::Report> {
        self.report.as_ref()
    }

    fn work(&self) -> Option<u64> {
        Some(self.checked_bytes)
    }

    fn verdicts(&self) -> Option<&[Verdict]> {
        Some(&self.verdicts)
    }

    fn span_attributes(&self) -> Vec<(&'static str, u64)> {
        let problems = self.verdicts.iter().map(|verdict| u64::from(verdict.problems)).sum();
        vec![("litekeeper.checked_bytes", self.checked_bytes), ("litekeeper.problems", problems)]
    }
}
