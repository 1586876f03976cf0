//! What the tests of tasks share.

/// Runs SQL as the application that owns a database.
#[expect(clippy::disallowed_methods, reason = "the test plays the owner")]
pub(super) fn owner_runs(path: &std::path::Path, sql: &str) {
    rusqlite::Connection::open(path).expect("opens").execute_batch(sql).expect("runs");
}
