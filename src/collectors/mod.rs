//! One look at one database, and what is known of all of them.
//!
//! A look is sync and holds no connection when it is over. It touches neither metrics nor logs:
//! what it found is a value, and the sampler decides what to do with it.

mod age;
mod consistent_copy;
mod consistent_read;
mod database;
mod locks;
mod pieces;
mod snapshot;
mod table_rows;
mod table_sizes;
mod time_text;
mod timestamp;
mod unlocked;

pub use consistent_copy::ConsistentCopy;
pub use consistent_copy::CopyOutcome;
pub use consistent_copy::CopySource;
pub use consistent_copy::consistent_copy;
pub use consistent_read::Consistent;
pub use consistent_read::ConsistentReadError;
pub use consistent_read::OpenFailure;
pub use consistent_read::read_consistently;
pub use database::CollectOutcome;
pub use database::Collected;
pub use database::DatabaseFacts;
pub use database::DownReason;
pub use database::PreviousCollection;
pub use database::sample_database;
pub use locks::LockFiles;
pub use locks::LockTableSnapshot;
pub use snapshot::CustomResult;
pub use snapshot::DatabaseSnapshot;
pub use snapshot::DatabaseState;
pub use snapshot::ErrorCounts;
pub use snapshot::Snapshot;
pub use table_rows::CountMethod;
pub use table_rows::TableAge;
pub use table_rows::TableCollection;
pub use table_rows::TableReadings;
pub use table_rows::TableRows;
pub use table_rows::collect_custom;
pub use table_rows::collect_tables;
pub use table_rows::is_pattern;
pub use table_rows::matching_tables;
pub use table_sizes::IndexSize;
pub use table_sizes::SizeCollection;
pub use table_sizes::TableSize;
pub use table_sizes::TableSizes;
pub use table_sizes::collect_table_sizes;
pub use time_text::Iso;
pub use time_text::iso;
pub use timestamp::DAY_SECONDS;
pub use timestamp::FLOOR_SECONDS;
pub use timestamp::Judge;
pub use timestamp::OLDEST_PLAUSIBLE;
pub use timestamp::Reading;
pub use timestamp::TimestampError;
pub use timestamp::convert;
pub use timestamp::date;
pub use timestamp::describe;
pub use timestamp::epoch_of;
pub use unlocked::read_preferably_unlocked;
pub use unlocked::read_unlocked;
