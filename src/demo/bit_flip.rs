//! A database of which one bit changed on the disk, as disks do it: no check of SQLite sees that.
//!
//! The bit is in the main file, in a page that a checkpoint copied there, and the WAL still has the
//! frame: so the first scrub finds it. A flip in a file at rest would need a second scrub, and times
//! of the file that do not move with the write, which no program can arrange.

use std::io::BufRead as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context as _;
use litekeeper_sqlite::rusqlite;

use super::databases::open;
use super::writer::end;
use super::writer::input_end;

/// The hidden subcommand of the program that has the database open.
pub const OWNER_COMMAND: &str = "demo-owner";

/// The value of which a bit flips: 4 becomes 5.
const VALUE: &[u8] = b"invoice 4711: 4,990.00 EUR";
const FLIPPED: usize = 14;

/// The program that has the database open; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct BitFlip(Child);

impl BitFlip {
    /// Makes the database, and flips the bit.
    pub(super) fn start(path: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.arg(OWNER_COMMAND).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut owner = Self(command.spawn()?);
        let output = owner.0.stdout.take().context("the owner has no output")?;
        let mut line = String::new();
        std::io::BufReader::new(output).read_line(&mut line)?;
        anyhow::ensure!(line == "ready\n", "the owner of {} has ended", path.display());
        flip(path)?;
        Ok(owner)
    }
}

impl Drop for BitFlip {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Flips the bit. This process has no lock on the file yet that closing it could drop.
fn flip(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::FileExt as _;
    #[expect(clippy::disallowed_methods, reason = "damaging this file is the purpose")]
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut content = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut content, 0)?;
    let found = content.windows(VALUE.len()).position(|bytes| bytes == VALUE);
    let at = found.context("the value is not in the file")? + FLIPPED;
    file.write_all_at(&[content[at] ^ 1], at as u64)?;
    Ok(())
}

/// The owner: makes the database, checkpoints it, and has it open until its standard input ends.
///
/// # Errors
/// SQLite's.
pub fn own_until_input_ends(path: &Path) -> anyhow::Result<()> {
    let ended = input_end();
    let connection = open(path)?;
    invoices(&connection)?;
    let mut output = std::io::stdout();
    output.write_all(b"ready\n")?;
    output.flush()?;
    let _ = ended.recv();
    Ok(())
}

fn invoices(connection: &rusqlite::Connection) -> rusqlite::Result<()> {
    let value = String::from_utf8_lossy(VALUE);
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA wal_autocheckpoint = 0;
         CREATE TABLE invoices (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
         BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
         INSERT INTO invoices SELECT i, 'invoice ' || i || ': 120.00 EUR' FROM n;
         UPDATE invoices SET text = '{value}' WHERE id = 4000;
         COMMIT;"
    ))?;
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
}
