//! The last completed scrub of a database.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::state_store::ScrubStatus;

use super::time::iso;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Scrub {
    /// Whether no damage is known
    ok: bool,
    verified_pages: u64,
    rebased_pages: u64,
    unverified_pages: u64,
    /// The unverified pages by reason
    unverified_reasons: BTreeMap<String, u64>,
    /// Pages and WAL frames that nobody wrote as they are
    mismatches: u64,
    first_problem: Option<String>,
    /// Since when scrubs find damage
    #[schema(format = DateTime)]
    damaged_since: Option<String>,
    #[schema(format = DateTime)]
    completed_at: String,
}

impl Scrub {
    pub fn new(status: &ScrubStatus) -> Self {
        let result = &status.result;
        Self {
            ok: status.is_ok(),
            verified_pages: result.verified,
            rebased_pages: result.rebased,
            unverified_pages: result.unverified,
            unverified_reasons: result.reasons.iter().cloned().collect(),
            mismatches: result.mismatches,
            first_problem: result.first_problem.clone(),
            damaged_since: status.damaged_since.map(iso),
            completed_at: iso(status.completed_at),
        }
    }
}
