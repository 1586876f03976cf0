//! How a long check spares the owner of the database.
//!
//! A reader of a rollback database keeps every writer from committing, and one of a WAL database keeps the WAL from
//! starting anew. So a check watches for both while it runs, and gives way when it is too much: it goes on table
//! by table then, with pauses. Beside an owner that is not at work it costs nothing.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::budget::Budget;
use crate::span::Operation;
use crate::sqlite::Check;
use crate::sqlite::Checked;
use crate::sqlite::Finding;
use crate::sqlite::Go;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::sqlite::Work;

use super::CheckReport;
use super::Observer;
use super::Report;
use super::Request;
use super::examine::checked_or_damage;
use super::examine::operation_of;

/// Rounds over the tables that had to give way, before they count as not checked.
const ROUNDS: u32 = 4;

/// What a check may do to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// How long a writer of a rollback database may be kept waiting.
    pub max_wait: Duration,
    /// By how many bytes a WAL may grow.
    pub max_wal_growth: u64,
}

/// What a check does to others while it runs.
#[derive(Debug, Clone)]
pub struct Strain {
    manners: Option<Manners>,
    wal_limit: Option<u32>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    waits_since: Option<Instant>,
    longest_wait: Duration,
    too_much: bool,
}

impl Strain {
    /// Begins to watch.
    #[must_use]
    pub fn watch(manners: Option<Manners>, header: &Header, now: Work) -> Self {
        let wal_limit = manners.zip(now.wal_frames).map(|(manners, frames)| {
            let growth = manners.max_wal_growth / u64::from(header.page_size.max(1));
            frames.saturating_add(u32::try_from(growth).unwrap_or(u32::MAX))
        });
        Self { manners, wal_limit, seen: Arc::default() }
    }

    /// Whether the check may go on.
    #[must_use]
    pub fn go(&self, work: Work) -> Go {
        let Some(manners) = self.manners else { return Go::On };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = if work.writer_waits {
            seen.waits_since.get_or_insert_with(Instant::now).elapsed()
        } else {
            seen.waits_since = None;
            Duration::ZERO
        };
        seen.longest_wait = seen.longest_wait.max(waits);
        let wal_grew = work.wal_frames.zip(self.wal_limit).is_some_and(|(frames, limit)| frames > limit);
        seen.too_much |= waits >= manners.max_wait || wal_grew;
        if seen.too_much { Go::Stop } else { Go::On }
    }

    /// Whether the check had to give way.
    #[must_use]
    pub fn was_too_much(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).too_much
    }

    /// How long a writer was kept waiting.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).longest_wait
    }
}

/// Checks table by table, each in a read transaction of its own, and gives way between and within them.
pub(super) fn in_slices(
    reader: &mut Reader,
    check: Check,
    request: &Request,
    header: &Header,
    observer: &impl Observer,
    report: &mut Report,
) -> Result<(), SqliteError> {
    let started = Instant::now();
    let operation = Operation::begin(operation_of(check), None);
    let mut left: Vec<String> = reader.pieces(check)?;
    let count = left.len();
    let mut all = Checked::default();
    // Slices that all read the same state of the database see as much as one check of the whole.
    let mut states = vec![reader.change_mark()];
    for _ in 0..ROUNDS {
        let mut again = Vec::new();
        for table in left {
            give_way(reader, &request.budget)?;
            reader.header()?;
            states.push(reader.change_mark());
            let strain = Strain::watch(request.manners, header, reader.work_done());
            let watched = strain.clone();
            reader.on_progress(move |work| watched.go(work))?;
            let checked = checked_or_damage(reader.check_table(check, &table), check);
            report.longest_wait = report.longest_wait.max(strain.longest_wait());
            match checked {
                Ok(found) => all.add(&table, found),
                Err(_) if strain.was_too_much() => again.push(table),
                Err(error) => return operation.told(Err(error)),
            }
            observer.done(1.0 - again.len() as f64 / count as f64);
        }
        left = again;
        if left.is_empty() {
            break;
        }
    }
    let mut accounted = check == Check::ForeignKey;
    let mut rounds = 0..ROUNDS;
    while left.is_empty() && !accounted && rounds.next().is_some() {
        if let Some(found) = account_for_pages(reader, request, header, report)? {
            accounted = true;
            all.findings.extend(found);
            states.push(reader.change_mark());
        }
    }
    states.dedup();
    all.whole = accounted && matches!(states.as_slice(), [Some(_)]);
    let checked = CheckReport::new(check.label(), all, started.elapsed().as_secs_f64());
    operation.problems(checked.problems.len());
    if left.is_empty() || !checked.ok {
        report.checks.push(checked);
    }
    if !left.is_empty() {
        report.error = Some(format!(
            "{} check: the owner is at work, and {} of {count} tables could not be checked without keeping it waiting: {}; raise \
             max_wait (rollback) or max_wal_growth (WAL), or check when it rests",
            check.label(),
            left.len(),
            left.join(", ")
        ));
        report.error_kind = Some(crate::sqlite::ErrorKind::Sqlite(crate::sqlite::ErrorCode::Busy));
    }
    Ok(())
}

/// The last piece of a check by tables: that every page has one use, and fits its checksum where it has one. `None` where it
/// had to give way.
fn account_for_pages(
    reader: &mut Reader,
    request: &Request,
    header: &Header,
    report: &mut Report,
) -> Result<Option<Vec<Finding>>, SqliteError> {
    give_way(reader, &request.budget)?;
    reader.header()?;
    let strain = Strain::watch(request.manners, header, reader.work_done());
    let watched = strain.clone();
    reader.on_progress(move |work| watched.go(work))?;
    let found = reader.check_pages();
    report.longest_wait = report.longest_wait.max(strain.longest_wait());
    match found {
        Ok(found) => Ok(Some(found)),
        Err(_) if strain.was_too_much() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends the read transaction and lets a writer that waits do its work.
///
/// # Errors
/// What SQLite says; none is known.
pub fn give_way(reader: &mut Reader, budget: &Budget) -> Result<(), SqliteError> {
    /// A writer that keeps its transaction open longer is not waiting for us.
    const PATIENCE: Duration = Duration::from_millis(500);
    const STEP: Duration = Duration::from_millis(1);
    reader.end_transaction()?;
    let begun = Instant::now();
    std::thread::sleep(STEP);
    while reader.work_done().writer_waits && begun.elapsed() < PATIENCE && !budget.is_spent() {
        std::thread::sleep(STEP);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::JournalMode;

    #[test]
    fn a_check_gives_way_to_a_writer_and_to_a_wal_that_grows() {
        let header = |journal_mode| Header {
            page_size: 4096,
            reserved_bytes: 0,
            pages: 1,
            freelist_pages: 0,
            schema_version: 0,
            user_version: 0,
            application_id: 0,
            journal_mode,
            auto_vacuum: crate::sqlite::AutoVacuum::None,
            encoding: crate::sqlite::Encoding::Utf8,
            writer_version: 0,
        };
        let manners = Manners { max_wait: Duration::ZERO, max_wal_growth: 8192 };
        let work = |writer_waits, wal_frames| Work { writer_waits, wal_frames, ..Work::default() };
        let rollback = Strain::watch(Some(manners), &header(JournalMode::Rollback), work(false, None));
        assert_eq!(rollback.go(work(false, None)), Go::Stop, "no wait at all is allowed");
        let manners = Manners { max_wait: Duration::from_secs(3600), ..manners };
        let rollback = Strain::watch(Some(manners), &header(JournalMode::Rollback), work(false, None));
        assert_eq!(rollback.go(work(true, None)), Go::On);
        let wal = Strain::watch(Some(manners), &header(JournalMode::Wal), work(false, Some(10)));
        for (frames, go) in [(10, Go::On), (12, Go::On), (13, Go::Stop)] {
            assert_eq!(wal.go(work(false, Some(frames))), go, "{frames} frames");
        }
        assert!(wal.was_too_much());
        let regardless = Strain::watch(None, &header(JournalMode::Wal), work(false, Some(10)));
        assert_eq!(regardless.go(work(true, Some(99))), Go::On);
    }
}
