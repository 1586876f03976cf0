//! The databases of the demo, each with something to see.

use std::io::Write as _;
use std::path::Path;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;

/// Days of log that the accounting database holds.
const LOG_DAYS: u32 = 200;

#[expect(clippy::disallowed_methods, reason = "the demo plays the application that owns the database")]
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open(path)
}

pub(super) fn accounting(path: &Path) -> rusqlite::Result<()> {
    open(path)?.execute_batch(&format!(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL);
         CREATE TABLE vouchers (
             id INTEGER PRIMARY KEY,
             company_id INTEGER NOT NULL REFERENCES companies (id),
             booked_on TEXT NOT NULL,
             amount_cents INTEGER NOT NULL,
             words TEXT NOT NULL
         );
         CREATE INDEX vouchers_by_company ON vouchers (company_id, booked_on);
         CREATE TABLE logs (id INTEGER PRIMARY KEY, created_at TEXT NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL);
         CREATE INDEX logs_by_time ON logs (created_at);
         BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO companies SELECT i, 'Company ' || i, substr('DEATCHFRITNL', 1 + 2 * (i % 6), 2) FROM n;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
         INSERT INTO vouchers
         SELECT i, 1 + i % 40, date('now', -(i % 700) || ' days'), abs(random() % 1000000), 'Voucher ' || i FROM n;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {LOG_DAYS} * 200)
         INSERT INTO logs (created_at, level, message)
         SELECT datetime('now', -(({LOG_DAYS} * 200 - i) * 432) || ' seconds'),
                CASE WHEN i % 97 = 0 THEN 'error' WHEN i % 11 = 0 THEN 'warning' ELSE 'info' END,
                'request ' || i || ' ' || hex(randomblob(40))
         FROM n;
         COMMIT;
         ANALYZE;
         PRAGMA user_version = 12;"
    ))
}

pub(super) fn queue(path: &Path) -> rusqlite::Result<()> {
    open(path)?.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE events (id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, payload TEXT NOT NULL);",
    )
}

pub(super) fn bloated(path: &Path) -> rusqlite::Result<()> {
    open(path)?.execute_batch(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE cache (id INTEGER PRIMARY KEY, replaces INTEGER REFERENCES cache (id), body BLOB NOT NULL);
         BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO cache SELECT i, NULL, zeroblob(1000) FROM n;
         DELETE FROM cache WHERE id > 2000;
         COMMIT;",
    )
}

/// A table of many pages, one of which is zeroed in the file as a failing disk would do it.
pub(super) fn damaged(path: &Path) -> anyhow::Result<()> {
    use std::io::Seek as _;
    const PAGE_BYTES: u64 = 4096;
    open(path)?.execute_batch(
        "PRAGMA page_size = 4096;
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, total_cents INTEGER NOT NULL);
         CREATE INDEX orders_by_customer ON orders (customer);
         BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO orders SELECT i, 'customer ' || (i % 300), abs(random() % 100000) FROM n;
         COMMIT;",
    )?;
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody has this file open yet, and damaging it is the purpose"
    )]
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.seek(std::io::SeekFrom::Start(9 * PAGE_BYTES))?;
    file.write_all(&[0; PAGE_BYTES as usize])?;
    Ok(())
}
