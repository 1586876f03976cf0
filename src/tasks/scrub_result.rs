//! What a completed scrub came to: the numbers that are published and kept across restarts.

use serde::Deserialize;
use serde::Serialize;

/// The result of a scrub that reached the end of the database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubResult {
    /// Pages that are as they were.
    pub verified: u64,
    /// Pages that could not be verified, and whose content is the base of the next scrub.
    pub rebased: u64,
    /// Pages that could not be verified, and of which the next scrub knows nothing either.
    pub unverified: u64,
    /// Both by reason, as the label value of the metric.
    pub reasons: Vec<(String, u64)>,
    /// The fraction of the pages whose content has a meaning that were verified; `None` if there
    /// are none.
    pub verified_ratio: Option<f64>,
    /// Whether it had no ledger of an earlier scrub of the same file, and so cannot tell that
    /// earlier damage is gone.
    pub is_first: bool,
    /// Pages and WAL frames that nobody wrote as they are.
    pub mismatches: u64,
    /// The first of them, for a person.
    pub first_problem: Option<String>,
}
