//! How a long check spares the owner of the database.
//!
//! A reader's lock keeps every writer of a rollback database from committing, and a reader of a WAL database keeps the WAL from
//! starting anew. So a lock is held for a bounded time, whether or not somebody is seen to wait, and the WAL is watched; a check
//! that has to give way goes on table by table, with pauses. See `reading` for how locks are avoided.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::limits::QueryLimits;
use crate::span::Operation;
use crate::sqlite::ChangeCounter;
use crate::sqlite::Check;
use crate::sqlite::Checked;
use crate::sqlite::Finding;
use crate::sqlite::Go;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::ReadProgress;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::CheckReport;
use super::Observer;
use super::Report;
use super::Request;
use super::check::checked_or_damage;
use super::check::operation_of;

/// Rounds over the tables that had to give way, before they count as not checked.
const ROUNDS: u32 = 4;

/// What a check may do to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// How long writers of a rollback database may be kept from committing at once, whether or not one is seen to wait.
    pub max_writer_wait: Duration,
    /// By how many bytes a WAL may grow.
    pub max_wal_growth: u64,
    /// How long the owner is known to wait for a lock.
    pub owner_busy_timeout: Option<Duration>,
}

impl Manners {
    /// The longest hold of the one lock without which a copy cannot be one state: at the default half of the second that common
    /// drivers wait for a lock, and half of what the owner is known to wait.
    #[must_use]
    pub fn max_copy_hold(&self) -> Duration {
        self.max_writer_wait.saturating_mul(5).max(self.owner_busy_timeout.unwrap_or_default() / 2)
    }
}

/// What a check does to others while it runs.
#[derive(Debug, Clone)]
pub struct Strain {
    manners: Option<Manners>,
    wal_limit: Option<u32>,
    /// Since when a lock keeps writers of a rollback database from committing.
    held_since: Option<Instant>,
    /// The change counter of a database that is read without a lock: what was read before it moved is of no use.
    change_counter: Option<u32>,
    was_too_much: Arc<AtomicBool>,
}

impl Strain {
    /// Begins to watch what a reader does, in a transaction that has just begun.
    #[must_use]
    pub fn watch(manners: Option<Manners>, header: &Header, reader: &Reader) -> Self {
        let work = reader.work_done();
        let wal_limit = manners.zip(work.wal_frames).map(|(manners, frames)| {
            let growth = manners.max_wal_growth / u64::from(header.page_size.max(1));
            frames.saturating_add(u32::try_from(growth).unwrap_or(u32::MAX))
        });
        let is_rollback = header.journal_mode == JournalMode::Rollback;
        let held_since = (is_rollback && reader.takes_locks()).then(Instant::now);
        let change_counter = work.change_counter.filter(|_| is_rollback && !reader.takes_locks());
        Self { manners, wal_limit, held_since, change_counter, was_too_much: Arc::default() }
    }

    /// Watches nothing, as nobody else has what is read.
    #[must_use]
    pub fn none() -> Self {
        Self {
            manners: None,
            wal_limit: None,
            held_since: None,
            change_counter: None,
            was_too_much: Arc::default(),
        }
    }

    /// Whether the check may go on.
    #[must_use]
    pub fn go(&self, work: ReadProgress) -> Go {
        let has_moved = self.change_counter.is_some() && work.change_counter != self.change_counter;
        let wal_grew = work.wal_frames.zip(self.wal_limit).is_some_and(|(frames, limit)| frames > limit);
        let is_held_too_long = self.manners.is_some_and(|manners| self.hold() >= manners.max_writer_wait);
        if has_moved || wal_grew || self.held_since.is_some() && is_held_too_long {
            self.was_too_much.store(true, Ordering::Relaxed);
        }
        if self.was_too_much() { Go::Stop } else { Go::On }
    }

    /// Whether the check had to give way.
    #[must_use]
    pub fn was_too_much(&self) -> bool {
        self.was_too_much.load(Ordering::Relaxed)
    }

    /// For how long writers have been kept from committing; 0 where they are not.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.held_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Checks table by table, each in a read transaction of its own, and gives way between and within them.
///
/// A table that has no problem in an `inexact` copy, whose pages are of different moments, has none: damage stays until
/// somebody repairs it, and so is in such a copy. A problem there may come from the mix, so that the database itself has to be asked.
pub(super) fn in_slices(
    reader: &mut Reader,
    inexact: Option<&mut Reader>,
    check: Check,
    request: &Request,
    header: &Header,
    observer: &impl Observer,
    report: &mut Report,
) -> Result<(), SqliteError> {
    let started = Instant::now();
    let operation = Operation::begin(operation_of(check), None);
    // The handler of the whole check would end every statement from here on.
    reader.end_progress()?;
    let mut left: Vec<String> = reader.pieces(check)?;
    let count = left.len();
    let mut all = Checked::default();
    // Slices that all read the same state of the database see as much as one check of the whole.
    let mut states = vec![reader.change_mark()];
    if let Some(copy) = inexact {
        left.retain(|table| match sound_in_copy(copy, check, table) {
            Some(found) => {
                all.add(table, found);
                states.push(None);
                false
            }
            None => true,
        });
    }
    for _ in 0..ROUNDS {
        let mut again = Vec::new();
        for table in left {
            let (checked, strain) = check_slice(reader, check, &table, &mut states, request, header)?;
            let hold = strain.hold();
            report.max_hold = report.max_hold.max(hold);
            match checked {
                Ok(found) => all.add(&table, found),
                Err(_) if strain.was_too_much() => again.push(table),
                Err(error) => return operation.told(Err(error)),
            }
            observer.done(1.0 - again.len() as f64 / count as f64);
            rest_after(hold, reader, request)?;
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
        note_unchecked(check, &left, count, report);
    }
    Ok(())
}

/// Checks one table in a transaction of its own.
fn check_slice(
    reader: &mut Reader,
    check: Check,
    table: &str,
    states: &mut Vec<Option<ChangeCounter>>,
    request: &Request,
    header: &Header,
) -> Result<(Result<Checked, SqliteError>, Strain), SqliteError> {
    give_way(reader, &request.limits)?;
    reader.header()?;
    let strain = Strain::watch(request.manners, header, reader);
    states.push(reader.change_mark());
    let watched = strain.clone();
    reader.on_progress(move |work| watched.go(work))?;
    Ok((checked_or_damage(reader.check_table(check, table), check), strain))
}

/// Says which tables have no verdict, and why.
fn note_unchecked(check: Check, left: &[String], count: usize, report: &mut Report) {
    let no_copy = report
        .no_copy
        .as_ref()
        .map(|reason| format!("; no private copy was checked: {reason}"))
        .unwrap_or_default();
    report.error = Some(format!(
        "{} check: the owner is at work, and {} of {count} tables could not be checked without keeping it waiting: {}; raise \
         max_writer_wait (rollback) or max_wal_growth (WAL), or check when it rests{no_copy}",
        check.label(),
        left.len(),
        left.join(", "),
    ));
    report.error_kind = Some(crate::sqlite::ErrorKind::Sqlite(crate::sqlite::ErrorCode::Busy));
}

/// What a check of one table of an inexact copy finds, if that is no problem.
fn sound_in_copy(copy: &mut Reader, check: Check, table: &str) -> Option<Checked> {
    let found = copy.check_table(check, table).ok()?;
    (!found.findings.iter().any(|finding| finding.kind.is_problem())).then_some(found)
}

/// The last piece of a check by tables: that every page has one use, and fits its checksum where it has one. `None` where it
/// had to give way.
fn account_for_pages(
    reader: &mut Reader,
    request: &Request,
    header: &Header,
    report: &mut Report,
) -> Result<Option<Vec<Finding>>, SqliteError> {
    give_way(reader, &request.limits)?;
    reader.header()?;
    let strain = Strain::watch(request.manners, header, reader);
    let watched = strain.clone();
    reader.on_progress(move |work| watched.go(work))?;
    let found = reader.check_pages();
    let hold = strain.hold();
    report.max_hold = report.max_hold.max(hold);
    rest_after(hold, reader, request)?;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(_) if strain.was_too_much() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets writers have their turn after a lock that kept them from committing, so that an owner without a busy timeout is refused
/// a few of its writes in a hundred: total time is spent for it.
fn rest_after(hold: Duration, reader: &mut Reader, request: &Request) -> Result<(), SqliteError> {
    const FACTOR: u32 = 20;
    const STEP: Duration = Duration::from_millis(20);
    if request.manners.is_none() || hold.is_zero() {
        return Ok(());
    }
    reader.end_transaction()?;
    let until = Instant::now() + hold * FACTOR;
    while Instant::now() < until && !request.limits.is_exceeded() {
        std::thread::sleep(STEP.min(until.saturating_duration_since(Instant::now())));
    }
    reader.header().map(|_| ())
}

/// Ends the read transaction and lets a writer that waits do its work.
///
/// # Errors
/// What SQLite says; none is known.
pub fn give_way(reader: &mut Reader, limits: &QueryLimits) -> Result<(), SqliteError> {
    /// A writer that keeps its transaction open longer is not waiting for us.
    const PATIENCE: Duration = Duration::from_millis(500);
    const STEP: Duration = Duration::from_millis(1);
    reader.end_transaction()?;
    let begun = Instant::now();
    std::thread::sleep(STEP);
    while reader.work_done().writer_waits && begun.elapsed() < PATIENCE && !limits.is_exceeded() {
        std::thread::sleep(STEP);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Access;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
    fn a_check_gives_way_after_its_time_and_to_commits_and_a_wal_that_grows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let manners = |max_writer_wait| {
            Some(Manners { max_writer_wait, max_wal_growth: 8192, owner_busy_timeout: None })
        };
        let strain = |access, max_writer_wait, work| {
            let reader = Reader::open(&path, access, &limits).unwrap();
            let header = reader.header().unwrap();
            let strain = Strain::watch(manners(max_writer_wait), &header, &reader);
            let now = reader.work_done();
            strain
                .go(ReadProgress { change_counter: now.change_counter.map(|counter| counter + work), ..now })
        };
        let (none, hour) = (Duration::ZERO, Duration::from_secs(3600));
        assert_eq!(strain(Access::Shared, none, 0), Go::Stop, "nobody is seen to wait, and somebody may");
        assert_eq!(
            strain(Access::Shared, hour, 1),
            Go::On,
            "who reads under a lock need not look at commits"
        );
        assert_eq!(strain(Access::AtRest, none, 0), Go::On, "without a lock nobody is kept waiting");
        assert_eq!(strain(Access::AtRest, hour, 1), Go::Stop, "what was read is of no use any more");

        let wal = Strain { manners: manners(none), wal_limit: Some(12), ..Strain::none() };
        for (frames, go) in [(10, Go::On), (12, Go::On), (13, Go::Stop)] {
            assert_eq!(
                wal.go(ReadProgress { wal_frames: Some(frames), ..ReadProgress::default() }),
                go,
                "{frames} frames"
            );
        }
        assert!(wal.was_too_much());
        let regardless = Strain { held_since: Some(Instant::now()), ..Strain::none() };
        assert_eq!(regardless.go(ReadProgress { wal_frames: Some(99), ..ReadProgress::default() }), Go::On);

        let ms = Duration::from_millis;
        for (owner_busy_timeout, most) in [(None, 500), (Some(200), 500), (Some(5_000), 2_500)] {
            let manners = Manners {
                max_writer_wait: ms(100),
                max_wal_growth: 0,
                owner_busy_timeout: owner_busy_timeout.map(ms),
            };
            assert_eq!(manners.max_copy_hold(), ms(most), "{owner_busy_timeout:?}");
        }
    }
}
