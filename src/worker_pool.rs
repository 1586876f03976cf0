//! The only bridge from async to sync: a pool of threads that works through a list.
//!
//! Anything that touches a file system can hang for ever. A thread that does is given
//! up and replaced, so that the rest of the list goes on; it comes back when the system lets it go.
//! The pool must never wait for a thread without a limit.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often the pool is checked while a batch runs.
const WATCH_PERIOD: Duration = Duration::from_millis(200);

/// One thread works alone on a batch for this long; then, and again after as long, another joins
/// it. SQLite's global mutexes make two threads cost 2.3 times the CPU of one for the same
/// databases (measured: 42 µs and 97 µs per sample), so more of them pay only where the disk, not
/// the CPU, is waited for.
const SCALE_UP_AFTER: Duration = Duration::from_secs(1);

/// The most threads given up at the same time. With as many hung, new work waits for one of them.
const MAX_GIVEN_UP: usize = 32;

/// Threads up to a fixed number, and those given up.
#[derive(Debug, Clone)]
pub struct WorkerPool {
    threads: usize,
    stuck_after: Duration,
    given_up: Arc<AtomicUsize>,
}

/// The result of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Indexes of items whose thread was given up.
    pub stuck: Vec<usize>,
    /// Indexes of items that panicked: a defect of litekeeper.
    pub panicked: Vec<usize>,
    /// Items that no thread took, because too many threads hang.
    pub not_started: usize,
}

/// The present item of one thread, readable by the pool.
#[derive(Debug)]
struct Worker {
    /// Milliseconds from the start of the batch to the start of the present item, plus one; 0
    /// between items.
    started_at: AtomicU64,
    item: AtomicUsize,
    retired: AtomicBool,
}

enum Event {
    Done { worker: usize },
    Panicked { item: usize },
}

struct Batch<T, F> {
    items: Arc<[T]>,
    work: F,
    next: AtomicUsize,
    started: Instant,
    given_up: Arc<AtomicUsize>,
}

impl WorkerPool {
    /// A pool of at most `threads` that gives up a thread after `stuck_after` on one item.
    #[must_use]
    pub fn new(threads: usize, stuck_after: Duration) -> Self {
        Self { threads, stuck_after, given_up: Arc::default() }
    }

    /// Does `work` once with every item and returns when each is done or stuck. `tick` is called
    /// about five times a second meanwhile.
    pub async fn run<T, F>(&self, items: Arc<[T]>, work: F, mut tick: impl FnMut()) -> BatchReport
    where
        T: Send + Sync + 'static,
        F: Fn(&T) + Send + Sync + 'static,
    {
        let count = items.len();
        let batch = Arc::new(Batch {
            items,
            work,
            next: AtomicUsize::new(0),
            started: Instant::now(),
            given_up: Arc::clone(&self.given_up),
        });
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut workers: Vec<Arc<Worker>> = Vec::new();
        let mut running = 0;
        let mut report = BatchReport::default();
        let mut watch = tokio::time::interval(WATCH_PERIOD);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watch.tick().await;
        if count > 0 && self.free_threads() > 0 {
            workers.push(batch.spawn(workers.len(), sender.clone()));
            running += 1;
        }
        while running > 0 {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Done { worker }) if !workers[worker].retired.load(Ordering::SeqCst) => running -= 1,
                    Some(Event::Done { .. }) | None => {}
                    Some(Event::Panicked { item }) => report.panicked.push(item),
                },
                _ = watch.tick() => {
                    for worker in workers.clone() {
                        let Some(item) = self.give_up_if_stuck(&batch, &worker) else { continue };
                        report.stuck.push(item);
                        running -= 1;
                        if self.free_threads() > 0 {
                            workers.push(batch.spawn(workers.len(), sender.clone()));
                            running += 1;
                        }
                    }
                    let wanted = self.threads.min(1 + periods(batch.started.elapsed()));
                    if running > 0 && running < wanted && self.free_threads() > 0 {
                        workers.push(batch.spawn(workers.len(), sender.clone()));
                        running += 1;
                    }
                    tick();
                }
            }
        }
        report.not_started = count.saturating_sub(batch.next.load(Ordering::SeqCst));
        report
    }

    fn free_threads(&self) -> usize {
        MAX_GIVEN_UP.saturating_sub(self.given_up.load(Ordering::SeqCst))
    }

    fn give_up_if_stuck<T, F>(&self, batch: &Batch<T, F>, worker: &Worker) -> Option<usize> {
        let started_at = worker.started_at.load(Ordering::SeqCst);
        let now = batch.milliseconds();
        if started_at == 0 || Duration::from_millis(now.saturating_sub(started_at)) < self.stuck_after {
            return None;
        }
        // Counted before the worker can see it, so that its end never counts below zero.
        self.given_up.fetch_add(1, Ordering::SeqCst);
        if worker.retired.swap(true, Ordering::SeqCst) {
            self.given_up.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some(worker.item.load(Ordering::SeqCst))
    }
}

/// How often [`SCALE_UP_AFTER`] has passed.
fn periods(elapsed: Duration) -> usize {
    usize::try_from(elapsed.as_millis() / SCALE_UP_AFTER.as_millis()).unwrap_or(usize::MAX)
}

impl<T, F> Batch<T, F> {
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

impl<T, F> Batch<T, F>
where
    T: Send + Sync + 'static,
    F: Fn(&T) + Send + Sync + 'static,
{
    fn spawn(self: &Arc<Self>, index: usize, events: mpsc::UnboundedSender<Event>) -> Arc<Worker> {
        let worker = Arc::new(Worker {
            started_at: AtomicU64::new(0),
            item: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
        });
        let batch = Arc::clone(self);
        let this = Arc::clone(&worker);
        in_background(move || {
            batch.work_through(&this, &events);
            if this.retired.load(Ordering::SeqCst) {
                batch.given_up.fetch_sub(1, Ordering::SeqCst);
            }
            // The batch may be over; then nothing receives the event.
            let _ = events.send(Event::Done { worker: index });
        });
        worker
    }

    fn work_through(&self, worker: &Worker, events: &mpsc::UnboundedSender<Event>) {
        while !worker.retired.load(Ordering::SeqCst) {
            let item = self.next.fetch_add(1, Ordering::SeqCst);
            let Some(value) = self.items.get(item) else { return };
            worker.item.store(item, Ordering::SeqCst);
            worker.started_at.store(self.milliseconds(), Ordering::SeqCst);
            // A panic is a defect, but of one item: the others go on.
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(value)));
            worker.started_at.store(0, Ordering::SeqCst);
            if result.is_err() {
                let _ = events.send(Event::Panicked { item });
            }
        }
    }
}

/// Runs sync work on a thread of its own and returns its result; `None` if it panicked.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    in_background(work).await.ok()
}

#[expect(clippy::disallowed_methods, reason = "this module is the bridge")]
fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use parking_lot::Mutex;

    use super::*;

    fn items(count: usize) -> Arc<[usize]> {
        (0..count).collect()
    }

    #[tokio::test]
    async fn every_item_is_done_once() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&done);
        let pool = WorkerPool::new(3, Duration::from_secs(60));
        let report = pool.run(items(100), move |item| sink.lock().push(*item), || {}).await;
        assert_eq!(report, BatchReport::default());
        let mut done = done.lock().clone();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_stuck_item_holds_up_nothing_else() {
        let (release, latch) = mpsc::channel::<()>();
        let latch = Mutex::new(latch);
        let done = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&done);
        let pool = WorkerPool::new(1, Duration::from_millis(1));
        let report = pool
            .run(
                items(10),
                move |item| {
                    if *item == 3 {
                        let _ = latch.lock().recv();
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                },
                || {},
            )
            .await;
        assert_eq!(report, BatchReport { stuck: vec![3], ..BatchReport::default() });
        assert_eq!(done.load(Ordering::SeqCst), 9);
        assert_eq!(pool.given_up.load(Ordering::SeqCst), 1);
        // Let go, the thread comes back and is no longer counted as given up.
        drop(release);
        while pool.given_up.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(done.load(Ordering::SeqCst), 10);
    }

    #[tokio::test]
    async fn a_panic_is_reported_and_the_rest_goes_on() {
        let pool = WorkerPool::new(1, Duration::from_secs(60));
        let report = pool.run(items(5), |item| assert_ne!(*item, 2, "planted"), || {}).await;
        assert_eq!(report, BatchReport { panicked: vec![2], ..BatchReport::default() });
    }
}
