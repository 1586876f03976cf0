//! What a run gets from the one who starts it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use std::time::SystemTime;

use crate::config::Tasks;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::os::ClockReading;
use crate::task::TaskKind;

use crate::tasks::backup::backup_set::BackupIdentity;
use crate::tasks::backup::kept_backup::KeptBackup;
use crate::tasks::damage::KnownDamage;
use crate::tasks::progress::Progress;
use crate::tasks::reason::FailureReason;
use crate::tasks::scrub::readers::ReaderPool;
use crate::tasks::stop::Stop;

/// How long a first look waits for a writer that is just committing.
pub const READ_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a database from earlier runs.
#[derive(Debug, Clone, Default)]
pub struct TaskHistory {
    /// Damage for which nothing is written.
    pub damage: Option<KnownDamage>,
    /// How fast the task's last run went: bytes a second for a vacuum or check, rows for a
    /// cleaning.
    pub rate: Option<f64>,
    /// The clocks at the last run of any job.
    pub clock: Option<ClockReading>,
    /// The version of SQLite with which another program wrote last; 0 while unknown. A look at the
    /// database renews it.
    pub foreign_writer: Arc<AtomicU32>,
    /// Of which database its backups are; `None` outside a run of a backup.
    pub backup_identity: Option<BackupIdentity>,
    /// What a scrub needs; `None` while the state is in memory.
    pub scrub: Option<ScrubResources>,
    /// The kept backups, as the last run of a backup left them.
    pub kept_backups: Vec<KeptBackup>,
    /// The temporary directory that SQLite uses.
    pub temporary_directory: PathBuf,
}

/// What a scrub needs beside its database.
#[derive(Debug, Clone)]
pub struct ScrubResources {
    /// The directory of the ledgers.
    pub ledgers: PathBuf,
    /// The directory of the stores of sealed rows.
    pub sealed: PathBuf,
    /// The processes that read databases.
    pub readers: Arc<ReaderPool>,
}

/// One run's surroundings.
pub struct TaskContext<'a> {
    /// The database.
    pub database: &'a Database,
    /// The time by which rows are old.
    pub now: SystemTime,
    /// The machine's clocks, to be held against those at the last run.
    pub clock: ClockReading,
    /// When the task's window closes.
    pub must_end_by: Option<SystemTime>,
    /// Time limit and stop.
    pub limits: &'a QueryLimits,
    /// What is known from before.
    pub history: &'a TaskHistory,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
}

impl<'a> TaskContext<'a> {
    /// The settings of a task.
    ///
    /// # Errors
    /// The task is not configured for the database.
    pub(super) fn settings<T>(
        &self,
        kind: TaskKind,
        settings: impl FnOnce(&'a Tasks) -> Option<&'a T>,
    ) -> Result<&'a T, Stop> {
        settings(&self.database.settings.tasks).ok_or_else(|| {
            Stop::failed(FailureReason::Config, format!("{kind} is not configured for this database"))
        })
    }
}
