//! Reads, checks and maintains SQLite databases that other programs own. Synchronous; every call
//! has limits.
//!
//! This is the only crate of litekeeper with `unsafe` code, all of it in `raw`. It decides nothing
//! about schedules, thresholds or what a finding means. It never
//!
//! - opens a database, `-wal` or `-shm` file except through SQLite, as closing the file would drop
//!   SQLite's POSIX locks,
//! - creates or deletes a file beside a database,
//! - keeps a connection open for longer than one reading or one maintenance run.

mod archive;
mod blocks;
mod btree_page;
mod btree_size;
mod checkpoint;
mod constraints;
mod copy;
mod custom;
mod database_schema;
mod delete_cascade;
mod encrypted;
mod error;
mod expiry;
mod file_format;
mod findings;
mod foreign_keys;
mod foreign_writes;
mod full_text;
mod full_text_check;
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod index_compare;
mod init;
mod integrity;
mod interrupt;
mod keyset_scan;
pub mod limits;
mod lock_yield;
mod names;
mod open_guard;
mod optimize;
mod page_accounting;
mod page_checksums;
mod page_layout;
mod page_ledger;
mod page_names;
mod page_uses;
mod pages;
mod pure_condition;
mod query_source;
mod raw;
mod reader;
mod rebuild;
mod reference;
mod references;
mod removal;
mod retention;
mod row_estimate;
mod row_limits;
mod scan_key;
mod scan_table;
mod schema;
mod sealed_rows;
mod sealed_table;
pub mod span;
mod stand_in;
mod stored_value;
mod table_check;
mod tables;
mod time_column;
mod unlocked;
mod vacuum;
mod virtual_tables;
mod writer;

pub use archive::Archive;
pub use blocks::BlockCopy;
pub use blocks::BlockError;
pub use blocks::BlockPass;
pub use blocks::WriteAt;
pub use btree_size::BTree;
pub use btree_size::BTreeSize;
pub use checkpoint::Checkpoint;
pub use checkpoint::CheckpointResult;
pub use custom::CustomError;
pub use custom::CustomRows;
pub use custom::QueryResult;
pub use database_schema::DatabaseSchema;
pub use database_schema::TableStatistics;
pub use error::ErrorCode;
pub use error::ErrorKind;
pub use error::SqliteError;
pub use expiry::ExpiryPredicate;
pub use expiry::TimeForm;
pub use file_format::FileFormat;
pub use findings::Checked;
pub use findings::Finding;
pub use findings::FindingCategory;
pub use findings::MAX_FINDINGS;
pub use foreign_writes::ForeignWrites;
pub use foreign_writes::WriteProbe;
pub use full_text::FullTextIndex;
pub use full_text::RowIdIndexes;
pub use full_text_check::FullTextCopy;
pub use full_text_check::not_compared;
pub use header::AutoVacuum;
pub use header::Encoding;
pub use header::Header;
pub use header::JournalMode;
pub use init::init;
pub use integrity::Check;
pub use keyset_scan::KeysetScan;
pub use lock_yield::Contention;
pub use optimize::Analysis;
pub use page_checksums::CHECKSUM_BYTES;
pub use page_names::PageName;
pub use page_names::PageRole;
pub use raw::ChangeCounter;
pub use raw::ReadMarks;
pub use raw::set_idle_io_priority;
pub use reader::Access;
pub use reader::ReadProgress;
pub use reader::Reader;
pub use reader::WalFrames;
pub use reference::ReferenceAction;
pub use reference::ReferenceRules;
pub use references::References;
pub use references::UnindexedReference;
pub use removal::DeleteResult;
pub use removal::RowTotals;
pub use retention::Batch;
pub use retention::BatchSize;
pub use retention::Expired;
pub use retention::RemainingRows;
pub use row_limits::LimitBoundary;
pub use row_limits::NewestRows;
pub use row_limits::RowLimits;
pub use scan_key::Cursor;
pub use scan_table::ScanTable;
pub use schema::Column;
pub use schema::ForeignKey;
pub use schema::Index;
pub use schema::IndexColumn;
pub use schema::SchemaError;
pub use schema::TableSchema;
pub use sealed_rows::RowKey;
pub use sealed_rows::RowPresence;
pub use sealed_rows::SealedRow;
pub use sealed_table::SealedColumn;
pub use sealed_table::SealedTable;
pub use sealed_table::SealedTableError;
pub use stored_value::StoredValue;
pub use tables::RowCount;
pub use tables::SchemaObjects;
pub use tables::TableKind;
pub use tables::TimeValue;
pub use time_column::RowTest;
pub use time_column::TimeColumn;
pub use unlocked::Activity;
pub use unlocked::HeaderSnapshot;
pub use vacuum::set_temporary_directory;
pub use vacuum::temporary_directory;
pub use writer::Locked;
pub use writer::Writer;
pub use writer::is_own_timeout;

/// For SQLite files that litekeeper itself owns: its state file and the databases of the demo.
/// Databases of other programs are opened by [`Reader`] and [`Writer`] alone.
pub use rusqlite;

/// The version of SQLite that is built in, e.g. `3.54.1`.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// The version of the SQLite in this program, as SQLite's version number.
#[must_use]
pub fn own_version() -> u32 {
    u32::try_from(rusqlite::version_number()).unwrap_or(0)
}

/// A SQLite version number as people write it: 3046001 is 3.46.1.
#[must_use]
pub fn version_text(number: u32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000)
}
