//! Limits on what a long check does to the owner of the database.
//!
//! A reader's lock keeps every writer of a rollback database from committing, and a reader of a WAL
//! database keeps the WAL from being restarted. So a lock is held for a bounded time, whether or
//! not a writer is seen to wait, and the growth of the WAL is watched; a check that exceeds a limit
//! goes on table by table (`by_table`). See `reading` for how locks are avoided.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::limits::QueryLimits;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::ReadProgress;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

/// What a check may do to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImpactLimits {
    /// How long writers of a rollback database may be kept from committing at once, whether or not
    /// one is seen to wait.
    pub max_writer_wait: Duration,
    /// By how many bytes a WAL may grow.
    pub max_wal_growth: u64,
    /// How long the owner is known to wait for a lock.
    pub owner_busy_timeout: Option<Duration>,
}

impl ImpactLimits {
    /// The longest hold of the one lock without which a copy cannot be one state: at the default
    /// half of the second that common drivers wait for a lock, and half of what the owner is known
    /// to wait.
    #[must_use]
    pub fn max_copy_hold(&self) -> Duration {
        self.max_writer_wait.saturating_mul(5).max(self.owner_busy_timeout.unwrap_or_default() / 2)
    }
}

/// What a check does to others while it runs.
#[derive(Debug, Clone)]
pub struct ImpactMonitor {
    impact_limits: Option<ImpactLimits>,
    wal_limit: Option<u32>,
    /// Since when a lock keeps writers of a rollback database from committing.
    held_since: Option<Instant>,
    /// The change counter of a database that is read without a lock: what was read before it moved
    /// is of no use.
    change_counter: Option<u32>,
    limit_exceeded: Arc<AtomicBool>,
}

impl ImpactMonitor {
    /// Begins to watch what a reader does, in a transaction that has just begun.
    #[must_use]
    pub fn watch(impact_limits: Option<ImpactLimits>, header: &Header, reader: &Reader) -> Self {
        let work = reader.work_done();
        let wal_limit = impact_limits.zip(work.wal_frames).map(|(impact_limits, frames)| {
            let growth = impact_limits.max_wal_growth / u64::from(header.page_size.max(1));
            frames.saturating_add(u32::try_from(growth).unwrap_or(u32::MAX))
        });
        let is_rollback = header.journal_mode == JournalMode::Rollback;
        let held_since = (is_rollback && reader.takes_locks()).then(Instant::now);
        let change_counter = work.change_counter.filter(|_| is_rollback && !reader.takes_locks());
        Self { impact_limits, wal_limit, held_since, change_counter, limit_exceeded: Arc::default() }
    }

    /// Watches nothing, as nobody else has what is read.
    #[must_use]
    pub fn none() -> Self {
        Self {
            impact_limits: None,
            wal_limit: None,
            held_since: None,
            change_counter: None,
            limit_exceeded: Arc::default(),
        }
    }

    /// Whether the check may go on.
    pub fn should_continue(&self, work: ReadProgress) -> ControlFlow<()> {
        let has_moved = self.change_counter.is_some() && work.change_counter != self.change_counter;
        let wal_grew = work.wal_frames.zip(self.wal_limit).is_some_and(|(frames, limit)| frames > limit);
        let is_held_too_long =
            self.impact_limits.is_some_and(|impact_limits| self.hold() >= impact_limits.max_writer_wait);
        if has_moved || wal_grew || self.held_since.is_some() && is_held_too_long {
            self.limit_exceeded.store(true, Ordering::Relaxed);
        }
        if self.limit_exceeded() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether the check had to give way.
    #[must_use]
    pub fn limit_exceeded(&self) -> bool {
        self.limit_exceeded.load(Ordering::Relaxed)
    }

    /// For how long writers have been kept from committing; 0 where they are not.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.held_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Ends the read transaction and lets a writer that waits do its work.
///
/// # Errors
/// What SQLite says; none is known.
pub fn yield_to_writers(reader: &mut Reader, limits: &QueryLimits) -> Result<(), SqliteError> {
    /// A writer that keeps its transaction open longer is not waiting for us.
    const WRITER_TIMEOUT: Duration = Duration::from_millis(500);
    const STEP: Duration = Duration::from_millis(1);
    reader.end_transaction()?;
    let begun = Instant::now();
    std::thread::sleep(STEP);
    while reader.work_done().writer_waits && begun.elapsed() < WRITER_TIMEOUT && !limits.is_exceeded() {
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
        let impact_limits = |max_writer_wait| {
            Some(ImpactLimits { max_writer_wait, max_wal_growth: 8192, owner_busy_timeout: None })
        };
        let monitor = |access, max_writer_wait, work| {
            let reader = Reader::open(&path, access, &limits).unwrap();
            let header = reader.header().unwrap();
            let monitor = ImpactMonitor::watch(impact_limits(max_writer_wait), &header, &reader);
            let now = reader.work_done();
            monitor.should_continue(ReadProgress {
                change_counter: now.change_counter.map(|counter| counter + work),
                ..now
            })
        };
        let (none, hour) = (Duration::ZERO, Duration::from_secs(3600));
        assert_eq!(
            monitor(Access::Shared, none, 0),
            ControlFlow::Break(()),
            "nobody is seen to wait, and somebody may"
        );
        assert_eq!(
            monitor(Access::Shared, hour, 1),
            ControlFlow::Continue(()),
            "who reads under a lock need not look at commits"
        );
        assert_eq!(
            monitor(Access::Immutable, none, 0),
            ControlFlow::Continue(()),
            "without a lock nobody is kept waiting"
        );
        assert_eq!(
            monitor(Access::Immutable, hour, 1),
            ControlFlow::Break(()),
            "what was read is of no use any more"
        );

        let wal = ImpactMonitor {
            impact_limits: impact_limits(none),
            wal_limit: Some(12),
            ..ImpactMonitor::none()
        };
        for (frames, go) in
            [(10, ControlFlow::Continue(())), (12, ControlFlow::Continue(())), (13, ControlFlow::Break(()))]
        {
            assert_eq!(
                wal.should_continue(ReadProgress { wal_frames: Some(frames), ..ReadProgress::default() }),
                go,
                "{frames} frames"
            );
        }
        assert!(wal.limit_exceeded());
        let regardless = ImpactMonitor { held_since: Some(Instant::now()), ..ImpactMonitor::none() };
        assert_eq!(
            regardless.should_continue(ReadProgress { wal_frames: Some(99), ..ReadProgress::default() }),
            ControlFlow::Continue(())
        );

        let ms = Duration::from_millis;
        for (owner_busy_timeout, most) in [(None, 500), (Some(200), 500), (Some(5_000), 2_500)] {
            let impact_limits = ImpactLimits {
                max_writer_wait: ms(100),
                max_wal_growth: 0,
                owner_busy_timeout: owner_busy_timeout.map(ms),
            };
            assert_eq!(impact_limits.max_copy_hold(), ms(most), "{owner_busy_timeout:?}");
        }
    }
}
