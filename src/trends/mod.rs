//! The loop that records sizes of databases over time, and keeps those of the last day in memory
//! for the list of databases.
//!
//! It reads the snapshot, never a database. What it keeps is bounded: 25 sizes per database in
//! memory, and in the state file the retention of each resolution. Without a state file it keeps
//! one point per half hour for a day.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::collectors::DatabaseSnapshot;
use crate::collectors::Snapshot;
use crate::state_store::Point;
use crate::state_store::Resolution;
use crate::state_store::StateStore;
use crate::state_store::StateStoreError;
use crate::worker_pool::run_blocking;

/// How often the loop checks whether a new period has begun.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Hours in the list's small charts, the present one included.
const HOURS: usize = 25;
/// An unchanged point is written after this many fine periods, so that a chart can distinguish it
/// from a gap.
const UNCHANGED_PERIODS: u64 = 12;
/// Fine periods between two points where all is kept in memory.
const MEMORY_PERIODS: u64 = 6;
/// Points in one transaction, for others to have the state file in between.
const BATCH: usize = 1_000;

/// The trends of all databases.
#[derive(Debug)]
pub struct Trends {
    store: Arc<StateStore>,
    recent: Mutex<HashMap<PathBuf, Recent>>,
    /// Whether the last points could not be written.
    is_failing: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct Recent {
    /// Hours since 1970 and the last size in each.
    hours: Vec<(u64, u64)>,
    /// The last fine point that was written down.
    written: Option<Point>,
}

impl Recent {
    fn add(&mut self, at: u64, size: u64) {
        let hour = at / Resolution::Hourly.period().as_secs();
        match self.hours.last_mut() {
            Some(last) if last.0 == hour => last.1 = size,
            Some(_) | None => self.hours.push((hour, size)),
        }
        if self.hours.len() > HOURS {
            self.hours.remove(0);
        }
    }

    /// Whether a fine point is to be written.
    fn should_record(&self, point: &Point, in_memory: bool) -> bool {
        let Some(written) = self.written else { return true };
        let periods = point.at.saturating_sub(written.at) / Resolution::Fine.period().as_secs();
        if in_memory {
            return periods >= MEMORY_PERIODS;
        }
        periods >= UNCHANGED_PERIODS || Point { at: written.at, ..*point } != written
    }
}

impl Trends {
    /// Trends in a state file.
    #[must_use]
    pub fn new(store: Arc<StateStore>) -> Self {
        Self { store, recent: Mutex::default(), is_failing: AtomicBool::new(false) }
    }

    /// Records the snapshot until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, snapshot: Arc<ArcSwap<Snapshot>>, stop: CancellationToken) {
        let known = Arc::clone(&self);
        run_blocking(move || known.load(SystemTime::now())).await;
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<SystemTime> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = SystemTime::now();
            let begun = |level: Resolution| last.is_none_or(|last| level.slot(last) != level.slot(now));
            let snapshot = snapshot.load_full();
            if !snapshot.complete || !begun(Resolution::Fine) {
                continue;
            }
            let levels: Vec<Resolution> = Resolution::ALL.into_iter().filter(|level| begun(*level)).collect();
            let this = Arc::clone(&self);
            run_blocking(move || this.record(&snapshot, &levels, now)).await;
            last = Some(now);
        }
    }

    /// Reads the points from before the start.
    fn load(&self, now: SystemTime) {
        let ago = |duration| now.checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Err(error) = self.store.prune_trends(ago(Resolution::Daily.retention())) {
            tracing::warn!(%error, "old trends could not be deleted");
        }
        match self.store.sizes_since(ago(Resolution::Hourly.period() * HOURS as u32)) {
            Ok(sizes) => {
                let mut recent = self.recent.lock();
                for (path, points) in sizes {
                    let entry = recent.entry(path).or_default();
                    points.into_iter().for_each(|(at, size)| entry.add(at, size));
                }
            }
            Err(error) => tracing::warn!(%error, "trends could not be read"),
        }
    }

    fn record(&self, snapshot: &Snapshot, levels: &[Resolution], now: SystemTime) {
        let in_memory = self.store.file().is_none();
        let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut points = Vec::new();
        {
            let mut recent = self.recent.lock();
            let mut kept = HashMap::with_capacity(snapshot.databases.len());
            for database in &snapshot.databases {
                let path = &database.database.path;
                let mut entry = recent.remove(path).unwrap_or_default();
                if let Some(point) = point_of(database, at) {
                    entry.add(at, point.size);
                    for level in levels {
                        let wanted = match level {
                            Resolution::Fine => entry.should_record(&point, in_memory),
                            Resolution::Hourly | Resolution::Daily => !in_memory,
                        };
                        if wanted {
                            points.push((path.clone(), *level, point));
                        }
                    }
                    if points.last().is_some_and(|(of, ..)| of == path) {
                        entry.written = Some(point);
                    }
                }
                kept.insert(path.clone(), entry);
            }
            // The sizes of a database that is gone are dropped here; the state file keeps them for
            // their retention.
            *recent = kept;
        }
        for batch in points.chunks(BATCH) {
            let written = self.store.record_points(batch);
            // Writing is tried every few minutes or seconds; a failure is logged once.
            let was_failing = self.is_failing.swap(written.is_err(), Ordering::Relaxed);
            match written {
                Err(error) => {
                    if !was_failing {
                        tracing::warn!(%error, "trends cannot be written to the state file");
                    }
                    return;
                }
                Ok(()) if was_failing => tracing::info!("trends can be written to the state file again"),
                Ok(()) => {}
            }
        }
    }

    /// The sizes of a database in each of the last hours that is known: hours since 1970, and
    /// bytes.
    #[must_use]
    pub fn hours(&self, path: &std::path::Path) -> Vec<(u64, u64)> {
        let recent = self.recent.lock();
        recent.get(path).map(|recent| recent.hours.clone()).unwrap_or_default()
    }

    /// The points of a database since a moment, the oldest first. Waits for a disk.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn points(
        &self,
        path: &std::path::Path,
        level: Resolution,
        since: SystemTime,
    ) -> Result<Vec<Point>, StateStoreError> {
        self.store.points(path, level, since)
    }
}

/// The point of a database; none while it cannot be read.
fn point_of(database: &DatabaseSnapshot, at: u64) -> Option<Point> {
    let files = database.files.as_ref()?;
    let header = database.facts.as_ref()?.header;
    let rows = &database.tables().rows;
    let total = rows.iter().map(|reading| u64::try_from(reading.rows).unwrap_or(0)).sum();
    Some(Point {
        at,
        size: files.main.size,
        free: Some(u64::from(header.freelist_pages) * u64::from(header.page_size)),
        wal: files.wal.map_or(0, |wal| wal.size),
        rows: (!rows.is_empty()).then_some(total),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_database_is_bounded() {
        let mut recent = Recent::default();
        for minute in 0..10_000 {
            recent.add(minute * 60, minute);
        }
        assert_eq!(recent.hours.len(), HOURS);
        assert_eq!(recent.hours.last(), Some(&(166, 9_999)));
    }

    #[test]
    fn what_does_not_change_is_written_once_an_hour() {
        let point = |at, size| Point { at, size, free: None, wal: 0, rows: None };
        let recent = Recent { written: Some(point(600, 5)), ..Recent::default() };
        for (given, in_memory, wanted) in [
            (point(900, 5), false, false),
            (point(900, 6), false, true),
            (point(4_200, 5), false, true),
            (point(900, 6), true, false),
            (point(2_400, 6), true, true),
        ] {
            assert_eq!(recent.should_record(&given, in_memory), wanted, "{given:?} {in_memory}");
        }
    }

    #[test]
    fn points_are_kept_by_level_and_for_their_time() {
        let store = StateStore::open(None).unwrap();
        let path = PathBuf::from("/srv/a.db");
        let start = 1_800_000_000_u64;
        let points: Vec<_> = (0..60 * 24)
            .map(|hour| {
                let at = start + hour * 3_600;
                let point = Point { at, size: hour, free: Some(1), wal: 2, rows: None };
                let level = if hour % 24 == 0 { Resolution::Daily } else { Resolution::Hourly };
                (path.clone(), level, point)
            })
            .collect();
        store.record_points(&points).unwrap();
        let read = |level| store.points(&path, level, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(read(Resolution::Daily).len(), 60);
        // One in twenty-four went to the other level.
        assert_eq!(read(Resolution::Hourly).len(), 15 * 23 + 1);
        assert_eq!(read(Resolution::Fine), []);
        let last = read(Resolution::Hourly).pop().unwrap();
        assert_eq!((last.size, last.free, last.wal, last.rows), (60 * 24 - 1, Some(1), 2, None));
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(start) + Duration::from_secs(500 * 86_400);
        assert!(store.prune_trends(later).unwrap() > 0);
        assert_eq!(read(Resolution::Daily), []);
    }
}
