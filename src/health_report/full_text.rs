//! Full-text indexes beside their tables, after the checks of a database.

use crate::sqlite::Check;
use crate::sqlite::Finding;
use crate::sqlite::FindingCategory;
use crate::sqlite::FullTextIndex;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::impact_limits::ImpactMonitor;
use super::report::Report;

/// Adds what the comparison finds to the full check. Damage comes first: where there is any,
/// nothing is compared. Where the owner needs its turn, the comparison is left out.
pub(super) fn compare(reader: &mut Reader, header: &Header, monitor: &ImpactMonitor, report: &mut Report) {
    let is_wanted = report.checks.iter().any(|check| check.check == Check::Full.label())
        && report.error.is_none()
        && !report.has(FindingCategory::Damage);
    if !is_wanted {
        return;
    }
    let mut copy = None;
    let mut read = || -> Result<(Vec<FullTextIndex>, Vec<Finding>), SqliteError> {
        let indexes = reader.full_text_to_compare()?;
        if indexes.is_empty() {
            return Ok(Default::default());
        }
        copy = reader.copy_for_full_text(header)?;
        if copy.is_some() {
            return Ok((indexes, Vec::new()));
        }
        let watched = monitor.clone();
        reader.on_progress(move |work| watched.should_continue(work))?;
        let found: Result<Vec<_>, _> = indexes.iter().map(|index| reader.compare_row_ids(index)).collect();
        reader.end_progress()?;
        let findings =
            if monitor.limit_exceeded() { Vec::new() } else { found?.into_iter().flatten().collect() };
        Ok((indexes, findings))
    };
    let read = read();
    report.max_hold = report.max_hold.max(monitor.hold());
    // What keeps the database from being read now was no hindrance to the checks; the next one
    // compares.
    let Ok((indexes, mut findings)) = read else { return };
    if let Some(copy) = copy {
        let compared: Result<Vec<_>, _> = indexes.iter().map(|index| copy.compare(index)).collect();
        findings.extend(compared.unwrap_or_default().into_iter().flatten());
    }
    if let Some(check) = report.checks.iter_mut().find(|check| check.check == Check::Full.label()) {
        check.add(findings);
    }
}
