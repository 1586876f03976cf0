//! The slower loops: row counts, log ages and custom SQL in one, space in the other, each at its own interval.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::collectors::CustomReading;
use crate::collectors::SpaceReadings;
use crate::collectors::TableReadings;
use crate::collectors::look_at_custom;
use crate::collectors::look_at_space;
use crate::collectors::look_at_tables;
use crate::metrics::AgentMetrics;
use crate::metrics::CollectorLabel;
use crate::worker_pool::WorkerPool;

use super::News;
use super::due::Content;
use super::due::Done;
use super::due::Lane;
use super::due::Piece;
use super::monitored_database;
use super::monitored_database::MonitoredDatabase;

/// How often a loop looks for work that is due; the shortest custom interval is 1 s.
const LOOK_FOR_WORK_EVERY: Duration = Duration::from_secs(1);
/// Longer than any budget here ([`crate::collectors::look_at_tables`] has 30 s), so only a file system gets this far.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// These looks cost real work beside the databases' owners, so they come one at a time in each loop; a second
/// thread joins when one look lasts over a second, so that a file system that hangs holds up no other.
const THREADS: usize = 2;
/// A database that was locked is tried again after this long, or its interval if that is shorter.
const BUSY_RETRY: Duration = Duration::from_secs(10);

/// One piece of one database, and its past.
struct CollectorRun {
    watched: Arc<MonitoredDatabase>,
    piece: Piece,
    interval: Duration,
    content: Content,
    past: Arc<Mutex<Option<Done>>>,
}

/// Works in one lane until it is told to stop.
pub(super) async fn run(
    lane: Lane,
    fleet: watch::Receiver<Arc<[Arc<MonitoredDatabase>]>>,
    metrics: Arc<AgentMetrics>,
    news: Arc<News>,
    stop: CancellationToken,
) {
    let crew = WorkerPool::new(THREADS, STUCK_AFTER);
    let mut ticks = tokio::time::interval(LOOK_FOR_WORK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // The news wakes one; for the long lane a second is soon enough.
            () = news.swept.notified(), if lane == Lane::Quick => {}
            _ = ticks.tick() => {}
        }
        let watched = Arc::clone(&fleet.borrow());
        let errands = due(&watched, lane);
        if errands.is_empty() {
            continue;
        }
        let metrics = Arc::clone(&metrics);
        let report = tokio::select! {
            () = stop.cancelled() => return,
            report = crew.run(Arc::clone(&errands), move |errand: &CollectorRun| errand.run(&metrics), || {}) => report,
        };
        news.tables_taken.notify_one();
        for index in report.stuck {
            errands[index].watched.set_stuck();
        }
        for index in report.panicked {
            monitored_database::report_panic(&errands[index].watched.database);
        }
    }
}

/// The pieces of a lane whose interval has passed and whose database has moved since.
fn due(fleet: &[Arc<MonitoredDatabase>], lane: Lane) -> Arc<[CollectorRun]> {
    let now = Instant::now();
    let mut errands = Vec::new();
    for watched in fleet {
        let settings = &watched.database.settings;
        let collectors = settings.collectors;
        let wants_tables = collectors.row_counts && !settings.row_counts.is_empty()
            || collectors.timestamps && !settings.timestamps.is_empty();
        let tables = wants_tables.then_some((Piece::Tables, settings.table_interval));
        let space = collectors.table_sizes.then_some((Piece::Space, settings.table_sizes_interval));
        let custom = settings
            .custom_metrics
            .iter()
            .enumerate()
            .filter(|_| collectors.custom_metrics)
            .map(|(index, metric)| (Piece::Custom(index), metric.interval));
        let pieces = tables.into_iter().chain(space).chain(custom);
        for (piece, interval) in pieces.filter(|(piece, _)| piece.lane() == lane) {
            let Some(content) = watched.up_content() else { continue };
            let past = Arc::clone(watched.pasts.lock().entry(piece).or_default());
            // A piece that hangs holds its past; it is not begun again.
            let Some(last) = past.try_lock() else { continue };
            if last.as_ref().is_none_or(|last| last.is_due(now, content, piece)) {
                drop(last);
                errands.push(CollectorRun { watched: Arc::clone(watched), piece, interval, content, past });
            }
        }
    }
    errands.into()
}

impl CollectorRun {
    fn run(&self, metrics: &AgentMetrics) {
        let mut past = self.past.lock();
        let told = past.take().map(|done| done.problems).unwrap_or_default();
        let (started, now) = (SystemTime::now(), Instant::now());
        // Stands when the look panics, so that a defect does not come again every second.
        *past = Some(Done { due_at: now + self.interval, content: None, problems: Vec::new() });
        let problems = match self.piece {
            Piece::Tables => self.tables(metrics),
            Piece::Space => self.space(metrics),
            Piece::Custom(index) => self.custom(index, metrics),
        };
        let Some(problems) = problems else {
            // Locked: the old values stay.
            let due_at = now + self.interval.min(BUSY_RETRY);
            *past = Some(Done { due_at, content: None, problems: told });
            return;
        };
        for problem in problems.iter().filter(|problem| !told.contains(problem)) {
            let db = self.watched.database.name.as_str();
            tracing::warn!(db, problem, "a value of this database could not be taken");
        }
        // A change within the clock's tick before the look may have come after it.
        let content = (!self.content.stamp.is_racy(started)).then_some(self.content);
        *past = Some(Done { due_at: now + self.interval, content, problems });
    }

    /// `None` when the database was busy; otherwise what to tell the log.
    fn tables(&self, metrics: &AgentMetrics) -> Option<Vec<String>> {
        match look_at_tables(&self.watched.database) {
            Ok(None) => None,
            Ok(Some(look)) => {
                self.watched.count_errors(&look.errors);
                let readings = look.with_missed(&self.watched.tables());
                self.watched.set_tables(readings);
                metrics.series_dropped(CollectorLabel::RowCounts, look.dropped);
                // Tables that were missed are tried again soon.
                look.missed.is_empty().then_some(look.problems)
            }
            Err(error) => {
                self.watched.set_tables(TableReadings::default());
                Some(vec![format!("tables: {error}")])
            }
        }
    }

    fn space(&self, metrics: &AgentMetrics) -> Option<Vec<String>> {
        match look_at_space(&self.watched.database, &self.watched.space()) {
            Ok(None) => None,
            Ok(Some(look)) => {
                self.watched.count_errors(&look.errors);
                self.watched.set_space(look.readings);
                metrics.series_dropped(CollectorLabel::Space, look.dropped);
                Some(look.problems)
            }
            Err(error) => {
                self.watched.set_space(SpaceReadings::default());
                Some(vec![format!("table sizes: {error}")])
            }
        }
    }

    fn custom(&self, index: usize, metrics: &AgentMetrics) -> Option<Vec<String>> {
        let metric = &self.watched.database.settings.custom_metrics[index];
        match look_at_custom(&self.watched.database, metric) {
            Ok(None) => None,
            Ok(Some(answer)) => {
                metrics.series_dropped(CollectorLabel::CustomMetrics, answer.dropped);
                self.watched.set_custom(index, Some(CustomReading { index, answer }));
                Some(Vec::new())
            }
            Err(error) => {
                self.watched.set_custom(index, None);
                Some(vec![format!("custom metric {}: {error}", metric.name)])
            }
        }
    }
}
