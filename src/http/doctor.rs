//! On-demand diagnosis. At most one on-demand diagnosis or sample runs at a time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::collectors::DatabaseSnapshot;
use crate::doctor::Diagnosis;
use crate::doctor::PriorState;
use crate::doctor::diagnose;
use crate::limits::QueryLimits;
use crate::worker_pool::run_blocking;

use super::state::AppState;

/// Time limit of the diagnosis; what is not known by then is reported as unknown.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(2);
/// After this time the file system counts as hanging.
const HANG_TIMEOUT: Duration = Duration::from_secs(4);

impl AppState {
    /// Diagnoses a database now.
    ///
    /// # Errors
    /// A message for the client, if another request is in progress or this one hangs.
    pub(super) async fn diagnose_now(&self, observed: &DatabaseSnapshot) -> Result<Diagnosis, &'static str> {
        let permit = Arc::clone(&self.on_demand)
            .try_acquire_owned()
            .map_err(|_| "another on-demand request is in progress or hangs")?;
        let database = Arc::clone(&observed.database);
        let maintenance = self.jobs.upkeep(&database.name);
        let known = PriorState {
            check_statuses: maintenance.verdicts,
            scrub: maintenance.scrub,
            state_file: self.state_store.file().map(Path::to_owned),
            locks: observed.locks.clone(),
        };
        let diagnosed = run_blocking(move || {
            let limits = QueryLimits::with_timeout(DIAGNOSIS_TIMEOUT);
            let diagnosis = diagnose(&database.path, &database, known, &limits);
            // A diagnosis that hangs keeps the permit, so that no second one hangs too.
            drop(permit);
            diagnosis
        });
        match tokio::time::timeout(HANG_TIMEOUT, diagnosed).await {
            Ok(Some(diagnosis)) => Ok(diagnosis),
            Ok(None) => Err("the diagnosis panicked; please report this with the log"),
            Err(_) => Err("the diagnosis timed out: the file system does not respond"),
        }
    }
}
