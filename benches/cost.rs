//! What watching costs, each figure beside the barest code that could do the same, in one run.
//!
//! `cargo bench --bench cost` (10,000 databases; `-- 1000` for fewer, `-- locks` for the locks alone). Prints medians of CPU time and ratios; it
//! asserts nothing, as machines are noisy. The aims are those of the design: idle ≤ 3 × two stats, all changed
//! ≤ 2 × a bare look (header facts) and ≤ 3 × (all facts), exposition ≤ 2 × prometheus-client's own encode.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use litekeeper::internals::collection::CollectionLoop;
use litekeeper::internals::collectors::CollectOutcome;
use litekeeper::internals::collectors::PreviousCollection;
use litekeeper::internals::collectors::Snapshot;
use litekeeper::internals::collectors::collect_tables;
use litekeeper::internals::collectors::sample_database;
use litekeeper::internals::config::DatabaseSettings;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use litekeeper::internals::metrics::AgentMetrics;
use litekeeper::internals::metrics::Exposition;
use litekeeper::internals::metrics::Format;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::StatxFlags;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[path = "cost/locks.rs"]
mod locks;

const ROUNDS: usize = 7;

fn main() {
    locks::hold_if_asked();
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let directory = tempfile::tempdir().unwrap();
    println!("making {count} databases, half of them in WAL mode ...");
    let paths: Vec<PathBuf> = (0..count).map(|index| make(directory.path(), index)).collect();
    age(&paths, 0);
    if cfg!(target_os = "linux") {
        locks::measure(&paths);
    }
    if std::env::args().any(|argument| argument == "locks") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(&paths));
    runtime.shutdown_timeout(Duration::from_millis(100));
}

fn make(directory: &Path, index: usize) -> PathBuf {
    let path = directory.join(format!("tenant{index:05}.db"));
    let connection = Connection::open(&path).unwrap();
    let mode = if index.is_multiple_of(2) { "WAL" } else { "DELETE" };
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; PRAGMA synchronous = OFF;
             BEGIN;
             CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT);
             CREATE TABLE vouchers (id INTEGER PRIMARY KEY, company_id INTEGER, amount INTEGER);
             CREATE INDEX by_company ON vouchers (company_id);
             CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at TEXT, message TEXT);
             CREATE INDEX by_time ON logs (created_at);
             INSERT INTO companies VALUES (1, 'one');
             COMMIT;"
        ))
        .unwrap();
    path
}

/// Gives every file another time, long enough ago not to be racy.
fn age(paths: &[PathBuf], turn: u64) {
    use rustix::fs::Timespec;
    use rustix::fs::Timestamps;
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - 10_000 + turn;
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap(), tv_nsec: 5 };
    for path in paths {
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
    }
}

fn databases(paths: &[PathBuf], schema: bool) -> Arc<[Arc<Database>]> {
    let mut settings =
        DatabaseSettings { row_counts: vec!["companies".to_owned()], ..DatabaseSettings::default() };
    settings.collectors.schema = schema;
    let settings = Arc::new(settings);
    let named = |path: &PathBuf| {
        let name = DatabaseName::new(&path.file_stem().unwrap().to_string_lossy());
        Arc::new(Database::new(name, path.clone(), Arc::clone(&settings), 500))
    };
    paths.iter().map(named).collect()
}

/// CPU time of the whole process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn per(total: Duration, count: usize) -> String {
    format!("{:7.2} µs", total.as_secs_f64() * 1e6 / count as f64)
}

fn compare(what: &str, ours: Vec<Duration>, bare: Vec<Duration>, count: usize, aim: f64) {
    let (ours, bare) = (median(ours), median(bare));
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!("{what:<46} {} | bare {} | {ratio:5.2} × (aim {aim} ×)", per(ours, count), per(bare, count));
}

/// A running sampler whose sweeps are asked for one by one.
struct Sweeps {
    targets: watch::Sender<Option<Arc<[Arc<Database>]>>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    stop: CancellationToken,
    _interval: watch::Sender<Duration>,
}

impl Sweeps {
    fn start() -> Self {
        let (targets, receiver) = watch::channel(None);
        let (_interval, interval) = watch::channel(Duration::from_secs(3600));
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let stop = CancellationToken::new();
        let sampler = CollectionLoop {
            targets: receiver,
            interval,
            snapshot: Arc::clone(&snapshot),
            metrics: Arc::new(AgentMetrics::default()),
            collect: sample_database,
            threads: 4,
        };
        tokio::spawn(sampler.run(stop.clone()));
        Self { targets, snapshot, stop, _interval }
    }

    /// One sweep, and the CPU time of the process meanwhile.
    async fn sweep(&self, databases: &Arc<[Arc<Database>]>) -> Duration {
        let before = self.snapshot.load_full();
        let started = cpu();
        self.targets.send_replace(Some(Arc::clone(databases)));
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = self.snapshot.load_full();
            if now.complete && !Arc::ptr_eq(&now, &before) {
                return cpu() - started;
            }
        }
    }
}

async fn measure(paths: &[PathBuf]) {
    let count = paths.len();
    let all = databases(paths, true);
    let headers = databases(paths, false);
    let sweeps = Sweeps::start();
    println!("first sweep, CPU                               {}", per(sweeps.sweep(&all).await, count));

    let (mut ours, mut bare) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(sweeps.sweep(&all).await);
        bare.push(bare_stats(paths));
    }
    compare("idle sweep, against two statx calls", ours, bare, count, 3.0);

    let (mut ours, mut schema, mut bare) = (vec![], vec![], vec![]);
    let mut turn = 0;
    for _ in 0..ROUNDS {
        sweeps.sweep(&headers).await;
        turn += 1;
        age(paths, turn);
        ours.push(sweeps.sweep(&headers).await);
        sweeps.sweep(&all).await;
        turn += 1;
        age(paths, turn);
        schema.push(sweeps.sweep(&all).await);
        bare.push(bare_looks(paths));
    }
    compare("all changed, header facts, against a bare look", ours, bare.clone(), count, 2.0);
    compare("all changed, all facts, against a bare look", schema, bare, count, 3.0);

    // New objects for the same databases: nothing is known of any, so every schema is parsed.
    let (mut anew, mut bare) = (vec![], vec![]);
    for _ in 0..3 {
        sweeps.sweep(&Arc::from([])).await;
        anew.push(sweeps.sweep(&databases(paths, true)).await);
        bare.push(bare_looks(paths));
    }
    compare("never seen before, all facts, schema parsed", anew, bare, count, 3.0);

    let counted = databases(paths, true);
    let (mut tables, mut bare) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let started = cpu();
        for database in counted.iter() {
            std::hint::black_box(collect_tables(database).unwrap().unwrap());
        }
        tables.push(cpu() - started);
        bare.push(bare_looks(paths));
    }
    compare("row count of one table, against a bare look", tables, bare, count, 3.0);

    sweeps.sweep(&databases(paths, true)).await;
    exposition(&sweeps.snapshot);
    sweeps.stop.cancel();
    shapes();
}

/// A look at a database that moved must not depend on its size or on its schema.
fn shapes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    Connection::open(path("small.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let tables: String = (0..5_000).map(|index| format!("CREATE TABLE t{index} (a, b, c);")).collect();
    Connection::open(path("tables.db")).unwrap().execute_batch(&format!("BEGIN; {tables} COMMIT;")).unwrap();
    sparse(&path("sparse.db"));
    let names = ["small.db", "tables.db", "sparse.db"];
    let looked = databases(&names.map(path), true);
    let mut times = [vec![], vec![], vec![]];
    let first: Vec<_> = looked.iter().map(|database| sample_database(database, None)).collect();
    for _ in 0..500 {
        for ((database, first), times) in looked.iter().zip(&first).zip(&mut times) {
            let CollectOutcome::Up(facts) = &first.outcome else { panic!("{first:?}") };
            // No stamp: the database counts as moved, its schema as known.
            let facts = Arc::clone(facts);
            let previous = PreviousCollection {
                stamp: None,
                taken_at: first.taken_at,
                collected_at: std::time::Instant::now(),
                file: first.stamp.and_then(|stamp| stamp.main).map(|main| main.identity()),
                facts,
            };
            let started = cpu();
            std::hint::black_box(sample_database(database, Some(&previous)));
            times.push(cpu() - started);
        }
    }
    let [small, tables, sparse] = times;
    compare("5,000 tables, against a small database", tables, small.clone(), 1, 1.0);
    compare("10 GB sparse, against a small database", sparse, small, 1, 1.0);
}

/// A database of 10 GB with almost nothing on disk: its page count and its size say so.
fn sparse(path: &Path) {
    const PAGES: u32 = 2_500_000;
    Connection::open(path).unwrap().execute_batch("PRAGMA page_size = 4096; CREATE TABLE t (a)").unwrap();
    let mut content = std::fs::read(path).unwrap();
    content[28..32].copy_from_slice(&PAGES.to_be_bytes());
    std::fs::write(path, content).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(u64::from(PAGES) * 4096).unwrap();
}

fn bare_stats(paths: &[PathBuf]) -> Duration {
    let files: Vec<[CString; 2]> = paths
        .iter()
        .map(|path| {
            let main = path.as_os_str().as_bytes().to_vec();
            let wal = [&main[..], b"-wal"].concat();
            [CString::new(main).unwrap(), CString::new(wal).unwrap()]
        })
        .collect();
    let started = cpu();
    for file in files.iter().flatten() {
        let _ = std::hint::black_box(rustix::fs::statx(CWD, file, AtFlags::empty(), StatxFlags::BASIC_STATS));
    }
    cpu() - started
}

fn bare_looks(paths: &[PathBuf]) -> Duration {
    let started = cpu();
    for path in paths {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        std::hint::black_box((number("PRAGMA page_count"), number("PRAGMA freelist_count")));
    }
    let spent = cpu() - started;
    // What a bare look leaves beside a WAL database at rest would change the next measurement.
    for path in paths {
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
    spent
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    db: String,
}

fn exposition(snapshot: &Arc<ArcSwap<Snapshot>>) {
    let agent = Arc::new(AgentMetrics::default());
    let exposition = Exposition::new(Arc::clone(snapshot), &Arc::default(), &agent);
    let text = exposition.encode(Format::OpenMetrics).unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let databases = snapshot.load().databases.len();
    let families = series / databases;
    println!("exposition: {series} series, {} a database, {:.1} MB", families, text.len() as f64 / 1e6);
    let mut registry = Registry::default();
    for family in 0..families {
        let gauges = Family::<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        for observed in &snapshot.load().databases {
            let labels = Labels { db: observed.database.name.to_string() };
            gauges.get_or_create(&labels).set(family as f64 * 1000.0);
        }
        registry.register(format!("bare_family_{family}"), "A family", gauges);
    }
    let time = |work: &mut dyn FnMut()| {
        let started = cpu();
        work();
        cpu() - started
    };
    let (mut openmetrics, mut text, mut bare) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        openmetrics.push(time(&mut || {
            std::hint::black_box(exposition.encode(Format::OpenMetrics).unwrap());
        }));
        text.push(time(&mut || {
            std::hint::black_box(exposition.encode(Format::Text).unwrap());
        }));
        bare.push(time(&mut || {
            let mut buffer = String::new();
            prometheus_client::encoding::text::encode(&mut buffer, &registry).unwrap();
            std::hint::black_box(buffer);
        }));
    }
    compare("exposition, OpenMetrics, against a bare encode", openmetrics, bare.clone(), databases, 2.0);
    compare("exposition, text 0.0.4, against a bare encode", text, bare, databases, 2.0);
}
