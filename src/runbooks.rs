//! What to do when an alert fires: the texts of `alerts/runbooks`, in the binary, so that they can
//! be read where there is no network.

/// Name and text of each.
macro_rules! runbooks {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../alerts/runbooks/", $name, ".md")))),*]
    };
}

/// Every alert with its runbook, by name.
pub static RUNBOOKS: [(&str, &str); 45] = runbooks![
    "LitekeeperAbsent",
    "LitekeeperBackupDamaged",
    "LitekeeperBackupUnverified",
    "LitekeeperBackupVerificationOverdue",
    "LitekeeperConfigReloadFailed",
    "LitekeeperDown",
    "LitekeeperJobFailing",
    "LitekeeperJobOverdue",
    "LitekeeperJobSlow",
    "LitekeeperJobStuck",
    "LitekeeperMaintenanceHoldsLockTooLong",
    "LitekeeperMaintenancePausedTooLong",
    "LitekeeperRetentionBehind",
    "LitekeeperRetentionKeepsRows",
    "LitekeeperSamplesStale",
    "LitekeeperSchedulesMissed",
    "LitekeeperSeriesDropped",
    "SqliteBusyErrors",
    "SqliteCheckpointStarved",
    "SqliteConstraintViolations",
    "SqliteCorruptionErrorsObserved",
    "SqliteDatabaseFileReplaced",
    "SqliteDatabaseVanished",
    "SqliteDiskIoErrors",
    "SqliteDown",
    "SqliteFilesystemAlmostFull",
    "SqliteFilesystemFillingUp",
    "SqliteForeignKeyViolations",
    "SqliteGrowthAnomalous",
    "SqliteIntegrityCheckFailed",
    "SqliteIntegrityCheckOverdue",
    "SqliteLongReader",
    "SqliteOnNetworkFilesystem",
    "SqliteOwnerLostLocks",
    "SqliteScrubCoverageLow",
    "SqliteScrubFoundDamage",
    "SqliteScrubOverdue",
    "SqliteSealedRowsChanged",
    "SqliteSealedRowsUnsealed",
    "SqliteVacuumCannotRun",
    "SqliteVacuumWorthwhile",
    "SqliteWalTooLarge",
    "SqliteWriterLockHeld",
    "SqliteWriterVersionHasWalResetBug",
    "Watchdog",
];

/// The runbook of an alert, however its name is written.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    RUNBOOKS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, text)| *text)
}

/// What an alert means, in one sentence: the first line below a runbook's title.
#[must_use]
pub fn meaning(text: &'static str) -> &'static str {
    text.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
}
