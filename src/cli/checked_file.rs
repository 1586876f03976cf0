//! A file that was checked, with the comparison with its manifest if it is a backup.

use serde::Serialize;

use crate::health_report::CheckProgress;
use crate::health_report::Report;
use crate::health_report::Request;
use crate::health_report::Status;
use crate::tasks::CompareError;
use crate::tasks::ManifestCheck;
use crate::tasks::check_manifest;

use super::escape::one_line;

/// The report of a file, with the object `manifest` if it is a backup.
#[derive(Debug, Serialize)]
pub(super) struct CheckedFile {
    #[serde(flatten)]
    pub report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestResult>,
}

/// The comparison of a backup with its manifest, or why it failed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ManifestResult {
    Compared(Box<ManifestCheck>),
    Failed { status: &'static str, detail: String },
}

/// Compares a backup with its manifest.
pub(super) fn compare_with_manifest(request: &Request, progress: &impl CheckProgress) -> ManifestResult {
    progress.begin("manifest");
    let compared = check_manifest(&request.path, None, &request.limits, |share| progress.done(share));
    compared.map_or_else(ManifestResult::from, |check| ManifestResult::Compared(Box::new(check)))
}

impl From<CompareError> for ManifestResult {
    fn from(error: CompareError) -> Self {
        Self::Failed { status: "not_compared", detail: error.to_string() }
    }
}

impl CheckedFile {
    /// A backup that differs from its manifest is damaged, whatever SQLite's check says.
    pub(super) fn new(mut report: Report, manifest: Option<ManifestResult>) -> Self {
        match &manifest {
            Some(ManifestResult::Compared(check)) if check.is_damaged() => report.status = Status::Problems,
            Some(ManifestResult::Failed { .. }) if report.status == Status::Healthy => {
                report.status = Status::Unknown;
            }
            _ => {}
        }
        Self { report, manifest }
    }

    /// Adds the comparison to the text of the report.
    pub(super) fn text(&self, text: String) -> String {
        let line = match &self.manifest {
            None => return text,
            Some(ManifestResult::Compared(check)) => check.summary(),
            Some(ManifestResult::Failed { detail, .. }) => format!("not compared: {detail}"),
        };
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let is_damaged =
            matches!(&self.manifest, Some(ManifestResult::Compared(check)) if check.is_damaged());
        let first = match is_damaged {
            true => format!("{}: DAMAGED", one_line(&self.report.path)),
            false => first.to_owned(),
        };
        format!("{first}\n  manifest {}\n{rest}", one_line(&line))
    }
}
