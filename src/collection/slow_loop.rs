//! The slower loops: row counts, log ages and custom SQL in one, space in the other, each at its own interval.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::collectors::CustomResult;
use crate::collectors::TableReadings;
use crate::collectors::TableSizes;
use crate::collectors::collect_custom;
use crate::collectors::collect_table_sizes;
use crate::collectors::collect_tables;
use crate::metrics::AgentMetrics;
use crate::metrics::CollectorLabel;
use crate::worker_pool::WorkerPool;

use super::Wakeups;
use super::due::Content;
use super::due::LastRun;
use super::due::Pace;
use super::due::Piece;
use super::monitored_database;
use super::monitored_database::MonitoredDatabase;

/// How often a loop looks for work that is due; the shortest custom interval is 1 s.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Longer than any budget here ([`crate::collectors::collect_tables`] has 30 s), so only a file system gets this far.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// These looks cost real work beside the databases' owners, so they come one at a time in each loop; a second
/// thread joins when one look lasts over a second, so that a file system that hangs holds up no other.
const THREADS: usize = 2;
/// A database that was locked is tried again after this long, or its interval if that is shorter.
const BUSY_RETRY: Duration = Duration::from_secs(10);

/// One piece of one database, and its past.
struct CollectorRun {
    monitored: Arc<MonitoredDatabase>,
    piece: Piece,
    interval: Duration,
    content: Content,
    past: Arc<Mutex<Option<LastRun>>>,
}

/// Works in one lane until it is told to stop.
pub(super) async fn run(
    pace: Pace,
    set: watch::Receiver<Arc<[Arc<MonitoredDatabase>]>>,
    metrics: Arc<AgentMetrics>,
    wakeups: Arc<Wakeups>,
    stop: CancellationToken,
) {
    let pool = WorkerPool::new(THREADS, STUCK_AFTER);
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // The news wakes one; for the long lane a second is soon enough.
            () = wakeups.sweep_ended.notified(), if pace == Pace::Fast => {}
            _ = ticks.tick() => {}
        }
        let monitored = Arc::clone(&set.borrow());
        let runs = due(&monitored, pace);
        if runs.is_empty() {
            continue;
        }
        let metrics = Arc::clone(&metrics);
        let report = tokio::select! {
            () = stop.cancelled() => return,
            report = pool.run(Arc::clone(&runs), move |run_of: &CollectorRun| run_of.run(&metrics), || {}) => report,
        };
        wakeups.values_changed.notify_one();
        for index in report.stuck {
            runs[index].monitored.set_is_hung();
        }
        for index in report.panicked {
            monitored_database::report_panic(&runs[index].monitored.database);
        }
    }
}

/// The pieces of a lane whose interval has passed and whose database has moved since.
fn due(set: &[Arc<MonitoredDatabase>], pace: Pace) -> Arc<[CollectorRun]> {
    let now = Instant::now();
    let mut runs = Vec::new();
    for monitored in set {
        let settings = &monitored.database.settings;
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
        for (piece, interval) in pieces.filter(|(piece, _)| piece.pace() == pace) {
            let Some(content) = monitored.up_content() else { continue };
            let past = Arc::clone(monitored.last_runs.lock().entry(piece).or_default());
            // A piece that hangs holds its past; it is not begun again.
            let Some(last) = past.try_lock() else { continue };
            if last.as_ref().is_none_or(|last| last.is_due(now, content, piece)) {
                drop(last);
                runs.push(CollectorRun { monitored: Arc::clone(monitored), piece, interval, content, past });
            }
        }
    }
    runs.into()
}

impl CollectorRun {
    fn run(&self, metrics: &AgentMetrics) {
        let mut past = self.past.lock();
        let logged = past.take().map(|done| done.problems).unwrap_or_default();
        let (started, now) = (SystemTime::now(), Instant::now());
        // Stands when the look panics, so that a defect does not come again every second.
        *past = Some(LastRun { due_at: now + self.interval, content: None, problems: Vec::new() });
        let problems = match self.piece {
            Piece::Tables => self.tables(metrics),
            Piece::Space => self.space(metrics),
            Piece::Custom(index) => self.custom(index, metrics),
        };
        let Some(problems) = problems else {
            // Locked: the old values stay.
            let due_at = now + self.interval.min(BUSY_RETRY);
            *past = Some(LastRun { due_at, content: None, problems: logged });
            return;
        };
        for problem in problems.iter().filter(|problem| !logged.contains(problem)) {
            let db = self.monitored.database.name.as_str();
            tracing::warn!(db, problem, "a value of this database could not be taken");
        }
        // A change within the clock's tick before the look may have come after it.
        let content = (!self.content.stamp.is_racy(started)).then_some(self.content);
        *past = Some(LastRun { due_at: now + self.interval, content, problems });
    }

    /// `None` when the database was busy; otherwise what to tell the log.
    fn tables(&self, metrics: &AgentMetrics) -> Option<Vec<String>> {
        match collect_tables(&self.monitored.database) {
            Ok(None) => None,
            Ok(Some(collect)) => {
                self.monitored.count_errors(&collect.errors);
                let readings = collect.with_previous(&self.monitored.tables());
                self.monitored.set_tables(readings);
                metrics.series_dropped(CollectorLabel::RowCounts, collect.dropped);
                // Tables that were missed are tried again soon.
                collect.missed.is_empty().then_some(collect.problems)
            }
            Err(error) => {
                self.monitored.set_tables(TableReadings::default());
                Some(vec![format!("tables: {error}")])
            }
        }
    }

    fn space(&self, metrics: &AgentMetrics) -> Option<Vec<String>> {
        match collect_table_sizes(&self.monitored.database, &self.monitored.space()) {
            Ok(None) => None,
            Ok(Some(collect)) => {
                self.monitored.count_errors(&collect.errors);
                self.monitored.set_space(collect.readings);
                metrics.series_dropped(CollectorLabel::Space, collect.dropped);
                Some(collect.problems)
            }
            Err(error) => {
                self.monitored.set_space(TableSizes::default());
                Some(vec![format!("table sizes: {error}")])
            }
        }
    }

    fn custom(&self, index: usize, metrics: &AgentMetrics) -> Option<Vec<String>> {
        let metric = &self.monitored.database.settings.custom_metrics[index];
        match collect_custom(&self.monitored.database, metric) {
            Ok(None) => None,
            Ok(Some(answer)) => {
                metrics.series_dropped(CollectorLabel::CustomMetrics, answer.dropped);
                self.monitored.set_custom(index, Some(CustomResult { index, answer }));
                Some(Vec::new())
            }
            Err(error) => {
                self.monitored.set_custom(index, None);
                Some(vec![format!("custom metric {}: {error}", metric.name)])
            }
        }
    }
}
