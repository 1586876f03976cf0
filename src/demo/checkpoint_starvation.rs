//! A WAL that a long read keeps from being checkpointed, the way it happens to applications: a
//! report that reads for minutes beside a program that writes. Both are processes of their own, so
//! that the locks are seen.

use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::databases::open;
use super::databases::queue;
use super::writer::WRITER_COMMAND;
use super::writer::end;
use super::writer::input_end;

/// The hidden subcommand under which the reader runs.
pub const READER_COMMAND: &str = "demo-reader";

/// The reader's transaction. With the writer's pace the WAL grows by some 20 MiB meanwhile, and no
/// further: when the reader lets go, the writer's next checkpoint copies it, and the WAL begins
/// anew in the same file.
const READ_FOR: Duration = Duration::from_secs(180);
/// Long enough for the writer to checkpoint many times.
const REST_FOR: Duration = Duration::from_secs(20);
/// The writer's pause between two rows, in milliseconds.
const WRITER_PAUSE_MILLISECONDS: &str = "200";

/// The two processes; they end when it is dropped.
#[derive(Debug)]
pub(super) struct CheckpointStarvation([Child; 2]);

impl CheckpointStarvation {
    /// Makes the database and starts writer and reader.
    pub(super) fn start(path: &Path) -> anyhow::Result<Self> {
        queue(path)?;
        let program = std::env::current_exe()?;
        let start = |arguments: &[&str]| {
            Command::new(&program).args(arguments).arg(path).stdin(Stdio::piped()).spawn()
        };
        let mut writer = start(&[WRITER_COMMAND, "--pause-milliseconds", WRITER_PAUSE_MILLISECONDS])?;
        match start(&[READER_COMMAND]) {
            Ok(reader) => Ok(Self([writer, reader])),
            Err(error) => {
                end(&mut writer);
                Err(error.into())
            }
        }
    }
}

impl Drop for CheckpointStarvation {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(end);
    }
}

/// The reader: long reads with short rests until its standard input ends.
///
/// # Errors
/// SQLite's.
pub fn read_until_input_ends(path: &Path) -> anyhow::Result<()> {
    let ended = input_end();
    let connection = open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let passed = |time| ended.recv_timeout(time) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    loop {
        connection.execute_batch("BEGIN")?;
        let _rows: i64 = connection.query_row("SELECT count(*) FROM events", (), |row| row.get(0))?;
        if !passed(READ_FOR) {
            return Ok(());
        }
        connection.execute_batch("COMMIT")?;
        if !passed(REST_FOR) {
            return Ok(());
        }
    }
}
