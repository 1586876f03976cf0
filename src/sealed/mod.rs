//! Sealed rows: rows that are final are hashed by their content, and compared later.
//!
//! The mechanism: a store of hashes per table (`store`), the comparison piece by piece (`piece`,
//! `comparison`), and what it found (`report`). The task `scrub` and `litekeeper sealed` run it.

mod all_tables;
mod comparison;
mod entry;
mod key;
mod piece;
mod problems;
mod report;
mod request;
mod row_key;
mod schema_change;
mod store;
mod walk;
mod writing;

pub use all_tables::compare_sealed;
pub use all_tables::sealed_statuses;
pub use comparison::compare_sealed_table;
pub use entry::FindingCounts;
pub use entry::SealedFindingKind;
pub use problems::sealed_problems;
pub use report::SealedTableReport;
pub use report::SealedTableStatus;
pub use request::SealedError;
pub use request::SealedRequest;
pub use request::sealed_directory;
pub use request::sealed_status;
