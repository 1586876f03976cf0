//! Copying the WAL into the main file.

use std::time::Duration;
use std::time::Instant;

use crate::span::Operation;

use super::error::SqliteError;
use super::interrupt::with_interrupt;
use super::reader::WalFrames;
use super::writer::Locked;
use super::writer::Writer;

/// How a checkpoint treats others (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Copies what it can and waits for nobody; writers go on meanwhile.
    Passive,
    /// Empties the WAL file too, if nobody uses it just now. It holds the write lock while it
    /// copies, so a passive one belongs before it.
    Truncate,
}

/// What a checkpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointResult {
    /// Whether it could not begin, or not empty the file, because somebody was in the way.
    pub busy: bool,
    /// Frames in the WAL, and those in the main file.
    pub frames: WalFrames,
}

impl CheckpointResult {
    /// Whether every frame of the WAL is in the main file.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.frames.total == self.frames.checkpointed
    }
}

impl Writer {
    /// Copies the WAL into the main file without waiting for readers or writers. It ends early if
    /// the limits are exceeded; the next checkpoint then copies the same frames again.
    ///
    /// # Errors
    /// `Io`, `Full`, `Cancelled`; that somebody is in the way is no error.
    pub fn checkpoint(&mut self, kind: Checkpoint) -> Result<Locked<CheckpointResult>, SqliteError> {
        let failed = self.failed("checkpoint");
        let (sql, name) = match kind {
            Checkpoint::Passive => ("PRAGMA main.wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(PASSIVE)"),
            Checkpoint::Truncate => {
                ("PRAGMA main.wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(TRUNCATE)")
            }
        };
        let operation = Operation::begin(name, None);
        self.connection().busy_timeout(Duration::ZERO).map_err(&failed)?;
        let begun = Instant::now();
        let (connection, limits) = (self.connection(), &self.limits);
        let result = with_interrupt(connection.get_interrupt_handle(), limits, || {
            connection.query_row(sql, (), |row| {
                let (busy, total, checkpointed): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                // Outside WAL mode both are -1.
                let number = |frames: i64| u32::try_from(frames).unwrap_or(0);
                let frames = WalFrames {
                    total: number(total),
                    checkpointed: number(checkpointed),
                    read_marks: [None; 5],
                };
                Ok(CheckpointResult { busy: busy != 0, frames })
            })
        });
        let elapsed = begun.elapsed();
        self.set_busy_poll_handler().map_err(&failed)?;
        // A passive one takes no lock that a writer wants.
        let hold = match kind {
            Checkpoint::Passive => Duration::ZERO,
            Checkpoint::Truncate => elapsed,
        };
        operation.held(hold);
        operation
            .record_result(result.map(|value| Locked { value, hold, commit: Duration::ZERO }).map_err(failed))
    }
}
