//! Full-text indexes beside their tables, after the checks of a database: in a read transaction of its own, which ends before
//! the indexes of a small database are compared.

use crate::sample::Settled;
use crate::sample::settled;
use crate::sidecar::DatabaseFiles;
use crate::sqlite::Check;
use crate::sqlite::Finding;
use crate::sqlite::FullTextCopy;
use crate::sqlite::FullTextIndex;
use crate::sqlite::Kind;
use crate::sqlite::SqliteError;

use super::Report;
use super::Request;
use super::manners::Strain;

/// What one read of the database gives.
#[derive(Default)]
struct Read {
    indexes: Vec<FullTextIndex>,
    copy: Option<FullTextCopy>,
    findings: Vec<Finding>,
}

/// Adds what the comparison finds to the full check. Damage comes first: where there is any, nothing is compared. Where the
/// owner needs its turn, the comparison is left out.
pub(super) fn compare(request: &Request, report: &mut Report) {
    let is_wanted =
        request.checks.contains(&Check::Full) && report.error.is_none() && !report.has(Kind::Damage);
    let Ok(path) = std::fs::canonicalize(&request.path) else { return };
    if !is_wanted {
        return;
    }
    let mut longest_wait = report.longest_wait;
    let read =
        settled(&path, &DatabaseFiles::of(&path), &request.budget, |reader| -> Result<Read, SqliteError> {
            let header = reader.header()?;
            let indexes = reader.full_text_to_compare()?;
            if indexes.is_empty() {
                return Ok(Read::default());
            }
            if let Some(copy) = reader.copy_for_full_text(&header)? {
                return Ok(Read { indexes, copy: Some(copy), findings: Vec::new() });
            }
            let strain = Strain::watch(request.manners, &header, reader.work_done());
            let watched = strain.clone();
            reader.on_progress(move |work| watched.go(work))?;
            let found: Result<Vec<_>, _> =
                indexes.iter().map(|index| reader.compare_row_ids(index)).collect();
            longest_wait = longest_wait.max(strain.longest_wait());
            let findings =
                if strain.was_too_much() { Vec::new() } else { found?.into_iter().flatten().collect() };
            Ok(Read { indexes, copy: None, findings })
        });
    report.longest_wait = longest_wait;
    // What keeps the database from being read now was no hindrance to the checks; the next one compares.
    let Ok(Settled::Read { answer: Read { indexes, copy, mut findings }, .. }) = read else { return };
    if let Some(copy) = copy {
        let compared: Result<Vec<_>, _> = indexes.iter().map(|index| copy.compare(index)).collect();
        findings.extend(compared.unwrap_or_default().into_iter().flatten());
    }
    if let Some(check) = report.checks.iter_mut().find(|check| check.check == Check::Full.label()) {
        check.add(findings);
    }
}
