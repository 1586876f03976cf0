//! What a look at the space of tables costs, beside the barest statement that could say the same, in one run.
//!
//! `cargo bench --bench space` (200 MiB; `-- 50` for another size in MiB). Prints medians and ratios; it asserts nothing, as
//! machines are noisy. The bare statement is `dbstat`'s aggregate mode, which nothing can end once it runs: the
//! agent goes page by page instead, and the ratio is the price of that.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use litekeeper::internals::collectors::TableSizes;
use litekeeper::internals::collectors::collect_table_sizes;
use litekeeper::internals::config::DatabaseSettings;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use rusqlite::Connection;

const ROUNDS: usize = 7;
const BARE: &str = "SELECT name, sum(pgsize), sum(unused) FROM dbstat('main', 1) GROUP BY name";

fn main() {
    let megabytes = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_u32);
    let directory = tempfile::tempdir().unwrap();
    for mode in ["DELETE", "WAL"] {
        let path = directory.path().join(format!("{mode}.db"));
        make(&path, mode, megabytes);
        // As an owner at work: the WAL and its shared memory are there.
        let owner = Connection::open(&path).unwrap();
        owner.execute_batch("INSERT INTO logs (created_at, words) VALUES ('now', 'more')").unwrap();
        let size = std::fs::metadata(&path).unwrap().len() >> 20;
        println!("{mode}, {size} MiB, medians of {ROUNDS}:");
        compare(&path, mode);
    }
}

fn make(path: &Path, mode: &str, megabytes: u32) {
    let rows = megabytes * 2_500;
    Connection::open(path)
        .unwrap()
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; PRAGMA synchronous = OFF;
             CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at TEXT, words TEXT);
             CREATE INDEX logs_by_time ON logs (created_at);
             CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB);
             CREATE TABLE keyed (name TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO logs SELECT i, datetime(1e9 + i, 'unixepoch'), hex(randomblob(60)) FROM n;
             INSERT INTO bodies SELECT id, zeroblob(3000 + id % 6000) FROM logs WHERE id % 30 = 0;
             INSERT INTO keyed SELECT words, id FROM logs WHERE id % 4 = 0;"
        ))
        .unwrap();
}

fn compare(path: &Path, mode: &str) {
    let database = |limits| {
        let settings = DatabaseSettings { table_sizes_timeout: limits, ..DatabaseSettings::default() };
        Database::new(DatabaseName::new("measured"), path.to_owned(), Arc::new(settings), 500)
    };
    let whole = database(Duration::from_secs(60));
    // Too little for all in one, enough for each: then every tree is a transaction of its own.
    let pages = std::fs::metadata(path).unwrap().len() / 4096;
    let share = Duration::from_nanos(pages * 3_900);
    let pieces = database(if mode == "WAL" { share } else { share * 10 });
    let look = |database: &Database| {
        let look = collect_table_sizes(database, &TableSizes::default()).unwrap().unwrap();
        assert_eq!((look.readings.tables.len(), look.readings.timed_out.len()), (4, 0), "{look:?}");
    };
    let bare = median(|| {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare(BARE).unwrap();
        assert_eq!(statement.query_map((), |_| Ok(())).unwrap().count(), 5);
    });
    let tell = |what: &str, time: Duration| {
        let ratio = time.as_secs_f64() / bare.as_secs_f64();
        println!("  {what:<44} {:>8.1} ms   {ratio:.2} x", time.as_secs_f64() * 1e3);
    };
    tell("bare aggregate, the same SQLite", bare);
    let shell = || Command::new("sqlite3").arg(path).arg(BARE).output();
    if shell().is_ok_and(|output| output.status.success()) {
        tell("bare aggregate, the machine's sqlite3", median(|| drop(shell())));
    }
    tell("look_at_space, one transaction", median(|| look(&whole)));
    tell("look_at_space, one transaction a tree", median(|| look(&pieces)));
}

fn median(mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
