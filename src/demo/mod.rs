//! The demo's databases: made, written to and removed by litekeeper itself.
//!
//! It uses rusqlite directly, because it plays the application that owns the databases. It must
//! never touch a file outside its own directory.

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;
use tempfile::TempDir;

use crate::config::Config;
use crate::config::Listen;

mod checkpoint_starvation;

pub use checkpoint_starvation::READER_COMMAND;
pub use checkpoint_starvation::read_until_input_ends;

use checkpoint_starvation::CheckpointStarvation;

const CONFIGURATION: &str = include_str!("litekeeper.yml");

/// Days of log that the accounting database holds.
const LOG_DAYS: u32 = 200;
/// The hidden subcommand under which the writer of the queue runs as a process of its own.
pub const WRITER_COMMAND: &str = "demo-writer";

/// Demo databases and the program that writes to one of them; gone when it is dropped.
#[derive(Debug)]
pub struct Demo {
    /// Ends before the directory goes.
    _starved: CheckpointStarvation,
    place: DemoDirectory,
    config: Config,
    writer: Child,
}

#[derive(Debug)]
enum DemoDirectory {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Demo {
    /// Makes the databases, in a temporary directory or in a new one to be kept, and starts the
    /// writer.
    ///
    /// # Errors
    /// The directory exists already, the disk is full, or the writer could not be started.
    pub fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let place = match keep {
            None => DemoDirectory::Temporary(tempfile::Builder::new().prefix("litekeeper-demo-").tempdir()?),
            Some(path) => {
                std::fs::create_dir(path).with_context(|| {
                    format!("{}: --keep wants a directory that does not exist yet", path.display())
                })?;
                DemoDirectory::Kept(std::fs::canonicalize(path)?)
            }
        };
        let directory = place.path();
        accounting(&directory.join("books.db")).context("making books.db")?;
        queue(&directory.join("queue.db")).context("making queue.db")?;
        bloated(&directory.join("bloated.db")).context("making bloated.db")?;
        damaged(&directory.join("damaged.db")).context("making damaged.db")?;
        std::fs::create_dir(directory.join("backups"))?;
        let file = directory.join("litekeeper.yml");
        std::fs::write(&file, CONFIGURATION)?;
        let config = Config::load(&file).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        let writer = start_writer(&directory.join("queue.db")).context("starting the writer of queue.db")?;
        let _starved =
            CheckpointStarvation::start(&directory.join("pinned.db")).context("making pinned.db")?;
        Ok(Self { _starved, place, config, writer })
    }

    /// The configuration of the demo, listening at an address.
    #[must_use]
    pub fn config(&self, listen: Listen) -> Config {
        Config { listen: vec![listen], ..self.config.clone() }
    }

    /// Where the databases are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.place.path()
    }

    /// Whether the directory stays.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self.place, DemoDirectory::Kept(_))
    }

    /// Each database and what there is to see in it.
    #[must_use]
    pub fn descriptions(&self) -> [(&'static str, &'static str); 5] {
        [
            ("books.db", "accounting: companies, vouchers, and logs over 200 days"),
            ("queue.db", "WAL mode, with a writer at work"),
            ("pinned.db", "a long read keeps its WAL from being checkpointed; see litekeeper locks"),
            ("bloated.db", "nine tenths of its pages are free until the vacuum; a foreign key has no index"),
            ("damaged.db", "a page of its table is zeroed"),
        ]
    }
}

impl DemoDirectory {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The writer ends when its input does; a signal of the terminal may have ended it before.
        drop(self.writer.stdin.take());
        let _ = self.writer.wait();
    }
}

fn start_writer(path: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).arg(WRITER_COMMAND).arg(path).stdin(Stdio::piped()).spawn()?)
}

/// A word when the standard input has ended.
fn input_end() -> std::sync::mpsc::Receiver<()> {
    let (ended_sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended_sender.send(());
    });
    ended
}

/// The writer: a row, then a pause, until its standard input ends. It keeps 5,000 rows.
///
/// # Errors
/// SQLite's.
pub fn write_until_input_ends(path: &Path, pause: Duration) -> anyhow::Result<()> {
    let ended = input_end();
    let connection = open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let mut insert = connection
        .prepare("INSERT INTO events (created_at, payload) VALUES (unixepoch(), hex(randomblob(200)))")?;
    let mut trim =
        connection.prepare("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 5000")?;
    while ended.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        insert.execute(())?;
        trim.execute(())?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the demo plays the application that owns the database")]
fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open(path)
}

fn accounting(path: &Path) -> rusqlite::Result<()> {
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

fn queue(path: &Path) -> rusqlite::Result<()> {
    open(path)?.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE events (id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, payload TEXT NOT NULL);",
    )
}

fn bloated(path: &Path) -> rusqlite::Result<()> {
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
fn damaged(path: &Path) -> anyhow::Result<()> {
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
