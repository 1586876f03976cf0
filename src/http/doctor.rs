//! The doctor on request: one look at one database at a time, as with `?debug=true`, whose turn it shares.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::StatusCode;

use crate::auth::Principal;
use crate::collectors::DatabaseSnapshot;
use crate::doctor::Diagnosis;
use crate::doctor::Known;
use crate::doctor::diagnose;
use crate::limits::QueryLimits;
use crate::worker_pool::run_blocking;

use super::pages::DoctorPage;
use super::reading::page;
use super::router::AppState;
use super::router::Reply;
use super::router::text;

/// How long the look may take; what is not known by then is said to be so.
const LIMIT: Duration = Duration::from_secs(2);
/// A file system that answers no sooner than this hangs.
const PATIENCE: Duration = Duration::from_secs(4);

impl AppState {
    /// Looks at a database now.
    ///
    /// # Errors
    /// Words for the client, when another look is under way or this one hangs.
    pub(super) async fn examine(&self, observed: &DatabaseSnapshot) -> Result<Diagnosis, &'static str> {
        let turn = Arc::clone(&self.debugging)
            .try_acquire_owned()
            .map_err(|_| "another look on request is under way, or hangs")?;
        let database = Arc::clone(&observed.database);
        let known =
            Known { standings: self.jobs.upkeep(&database.name).verdicts, locks: observed.locks.clone() };
        let looked = run_blocking(move || {
            let diagnosis = diagnose(&database.path, &database, known, &QueryLimits::with_timeout(LIMIT));
            // A look that hangs keeps the turn, so that no second one joins it.
            drop(turn);
            diagnosis
        });
        match tokio::time::timeout(PATIENCE, looked).await {
            Ok(Some(diagnosis)) => Ok(diagnosis),
            Ok(None) => Err("the look panicked; please report it with the log"),
            Err(_) => Err("the look hangs: the file system does not answer"),
        }
    }

    /// The findings as a page.
    pub(super) async fn doctor<B>(
        self: Arc<Self>,
        request: &Request<B>,
        observed: &DatabaseSnapshot,
        visitor: &Principal,
    ) -> Reply {
        match self.examine(observed).await {
            Ok(diagnosis) => {
                let name = observed.database.name.as_str();
                page(request, DoctorPage { name, diagnosis: &diagnosis, frame: self.frame(visitor) }.render())
            }
            Err(words) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n")),
        }
    }
}
