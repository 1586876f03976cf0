//! The maintenance tasks: when one is worth running, when it must not run, what it does and what it
//! reports.
//!
//! Each task is a directory that implements [`Task`] and is listed in `registry.rs`; the other
//! files are what they share. Everything here is synchronous. A task holds no SQL, which belongs to
//! `sqlite`, and writes neither metrics nor the log of a run, which belong to `record`.

mod access;
mod backup;
mod batch_sizer;
mod checkpoint;
mod confirmation;
mod context;
mod damage;
mod dry_run;
mod execute;
mod health_check;
mod inspection;
mod lock_contention;
mod log_cleaning;
mod optimize;
mod owner_format;
mod owner_writes;
mod preflight;
mod problem;
mod progress;
mod reason;
mod registry;
mod report;
mod run;
mod scrub;
mod scrub_result;
mod space;
mod stop;
mod task;
#[cfg(test)]
mod tests;
mod vacuum;
mod verdict;

pub use backup::backup_set::BackupIdentity;
pub use backup::backup_set::BackupOwner;
pub use backup::backup_set::backup_id;
pub use backup::compare::CompareError;
pub use backup::directory::DirectoryError;
pub use backup::directory::directory_error;
pub use backup::kept_backup::BackupState;
pub use backup::kept_backup::KeptBackup;
pub use backup::manifest_check::ManifestCheck;
pub use backup::manifest_check::check_manifest;
pub use backup::restore::RestoreReport;
pub use backup::restore::restore;
pub use context::READ_BUSY_TIMEOUT;
pub use context::ScrubResources;
pub use context::TaskContext;
pub use context::TaskHistory;
pub use damage::KnownDamage;
pub use dry_run::DryRun;
pub use dry_run::TableDryRun;
pub use execute::dry_run;
pub use execute::expected_problems;
pub use execute::run;
pub use log_cleaning::plan::ExpiredBy;
pub use owner_format::OwnerFormat;
pub use preflight::has_wal_reset_bug;
pub use preflight::replicator;
pub use problem::ExpectedProblem;
pub use problem::ProblemKind;
pub use progress::NoProgress;
pub use progress::Progress;
pub use reason::FailureReason;
pub use reason::SkipReason;
pub use registry::TASKS;
pub use registry::parse_report;
pub use registry::task;
pub use report::BackupMeasurement;
pub use report::Measurements;
pub use report::Report;
pub use run::Run;
pub use run::RunStatus;
pub use run::Trigger;
pub use scrub::is_damage_gone;
pub use scrub::ledger_directory;
pub use scrub::name_pages;
pub use scrub::readers::ReaderPool;
pub use scrub_result::ScrubResult;
pub use space::SpaceRequirement;
pub use stop::Stop;
pub use stop::StopReason;
pub use task::Task;
pub use vacuum::space::space_requirements as vacuum_space;
pub use verdict::Notes;
pub use verdict::Verdict;
