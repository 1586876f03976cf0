//! A finding: what is wrong, why it matters, and how to fix it.

use serde::Serialize;
use utoipa::ToSchema;

use super::rules::FindingKind;
use super::rules::Severity;

/// One detected problem, or one fact worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// The stable identifier of this kind of finding.
    pub id: &'static str,
    /// The severity for this database.
    pub severity: Severity,
    /// The problem, with names and numbers.
    pub what: String,
    /// The consequences of the problem.
    pub why: &'static str,
    /// How to solve the problem, as text.
    pub remediation: Option<&'static str>,
    /// How to solve the problem, as a shell command.
    pub command: Option<String>,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, severity: Severity, what: String) -> Self {
        debug_assert!(kind.severities().contains(&severity), "{kind:?} is documented as {severity:?}");
        Self { id: kind.id(), severity, what, why: kind.why(), remediation: None, command: None }
    }

    pub(super) fn remediation(self, remediation: &'static str) -> Self {
        Self { remediation: Some(remediation), ..self }
    }

    pub(super) fn command(self, command: String) -> Self {
        Self { command: Some(command), ..self }
    }
}
