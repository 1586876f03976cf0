//! What can be seen of other processes' writes between two transactions of our own, without taking
//! a lock.

use std::path::Path;

use super::header::JournalMode;
use super::raw;
use super::raw::ChangeCounter;
use super::raw::WalWriteLock;
use super::writer::Writer;

/// Looks for other processes' writes through an open writer.
#[derive(Debug)]
pub struct WriteProbe {
    // Outside WAL mode the lock is asked for through the main file.
    wal: Option<Option<WalWriteLock>>,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignWrites {
    /// Another process is in a write transaction now.
    pub locked: bool,
    /// Moves with every commit.
    pub mark: Option<ChangeCounter>,
}

impl Writer {
    /// A probe for this connection. Where the system does not show SQLite's descriptor (`/proc`),
    /// commits are seen, and the time in which a WAL's write lock is held is not.
    #[must_use]
    pub fn write_probe(&self) -> WriteProbe {
        let wal = match self.journal_mode() {
            JournalMode::Rollback => None,
            JournalMode::Wal => {
                let path = self.connection().path();
                Some(path.and_then(|path| WalWriteLock::find(Path::new(path))))
            }
        };
        WriteProbe { wal }
    }

    /// Looks once: two system calls at the most.
    #[must_use]
    pub fn foreign_writes(&self, probe: &WriteProbe) -> ForeignWrites {
        let locked = match probe.wal {
            None => raw::is_reserved(self.connection()),
            Some(lock) => lock.is_some_and(WalWriteLock::is_held),
        };
        ForeignWrites { locked, mark: raw::change_counter(self.connection(), self.journal_mode()) }
    }

    /// Has commits in WAL mode leave the sync to the next checkpoint, so that the lock is held for
    /// the work alone. The database stays whole when power fails; what was deleted since the last
    /// sync may be there again. In rollback mode a commit without its syncs could damage the
    /// database, and nothing changes.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn sync_wal_at_checkpoints(&self) -> Result<(), super::error::SqliteError> {
        if self.journal_mode() == JournalMode::Rollback {
            return Ok(());
        }
        self.connection()
            .execute_batch("PRAGMA main.synchronous = NORMAL")
            .map_err(self.failed("set when commits are synced"))
    }

    /// Copies the WAL into the main file where it has grown so far that the application's next
    /// commit would do it.
    pub fn checkpoint_if_due(&self) {
        if self.journal_mode() == JournalMode::Wal
            && let Some(ChangeCounter::Wal(_, frames)) =
                raw::change_counter(self.connection(), JournalMode::Wal)
            && frames > super::lock_yield::CHECKPOINT_FRAMES
        {
            // Passive: it takes no lock that a writer wants. That it could not copy all is no
            // failure of the job.
            let _ = self.connection().query_row("PRAGMA main.wal_checkpoint(PASSIVE)", (), |_| Ok(()));
        }
    }
}
