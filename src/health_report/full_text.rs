//! Full-text indexes beside their tables, after the checks of a database.

use crate::sqlite::Check;
use crate::sqlite::Finding;
use crate::sqlite::FindingCategory;
use crate::sqlite::FullTextIndex;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::sqlite::not_compared;

use super::impact_limits::ImpactMonitor;
use super::report::Report;

/// Adds what the comparison finds to the full check, and by name what was not compared. Damage comes
/// first: where there is any, nothing is compared.
pub(super) fn compare(reader: &mut Reader, header: &Header, monitor: &ImpactMonitor, report: &mut Report) {
    let is_wanted = report.checks.iter().any(|check| check.check == Check::Full.label())
        && report.error.is_none()
        && !report.has(FindingCategory::Damage);
    if !is_wanted {
        return;
    }
    // What keeps the schema from being read now was no hindrance to the checks.
    let Ok((indexes, mut findings)) = reader.full_text_to_compare() else { return };
    if !indexes.is_empty() {
        let compared = compare_each(reader, header, monitor, &indexes);
        findings.extend(compared.unwrap_or_else(|error| {
            let reason = if monitor.limit_exceeded() {
                "the application needed its turn".to_owned()
            } else {
                error.to_string()
            };
            indexes.iter().map(|index| not_compared(index, &reason)).collect()
        }));
    }
    report.max_hold = report.max_hold.max(monitor.hold());
    if let Some(check) = report.checks.iter_mut().find(|check| check.check == Check::Full.label()) {
        check.add(findings);
    }
}

fn compare_each(
    reader: &mut Reader,
    header: &Header,
    monitor: &ImpactMonitor,
    indexes: &[FullTextIndex],
) -> Result<Vec<Finding>, SqliteError> {
    if let Some(copy) = reader.copy_for_full_text(header)? {
        let compared: Result<Vec<_>, _> = indexes.iter().map(|index| copy.compare(index)).collect();
        return Ok(compared?.into_iter().flatten().collect());
    }
    let watched = monitor.clone();
    reader.on_progress(move |work| watched.should_continue(work))?;
    let found = indexes.iter().map(|index| reader.compare_row_ids(index)).collect();
    reader.end_progress()?;
    found
}
