//! One look at one database, and what is known of all of them.
//!
//! A look is sync and holds no connection when it is over. It touches neither metrics nor logs:
//! what it found is a value, and the sampler decides what to do with it.

mod age;
mod consistent_copy;
mod locks;
mod look;
mod pieces;
mod settle;
mod snapshot;
mod space;
mod tables;
mod time_text;
mod timestamp;
mod unlocked;

pub use consistent_copy::ConsistentCopy;
pub use consistent_copy::CopyOutcome;
pub use consistent_copy::CopySource;
pub use consistent_copy::consistent_copy;
pub use locks::LockFiles;
pub use locks::LockList;
pub use look::DownReason;
pub use look::Facts;
pub use look::Look;
pub use look::LookOutcome;
pub use look::Previous;
pub use look::look;
pub use settle::OpenFailure;
pub use settle::SettleError;
pub use settle::Settled;
pub use settle::settled;
pub use snapshot::Condition;
pub use snapshot::CustomReading;
pub use snapshot::ErrorCounts;
pub use snapshot::Observed;
pub use snapshot::Snapshot;
pub use space::IndexSpace;
pub use space::SpaceLook;
pub use space::SpaceReadings;
pub use space::TableSpace;
pub use space::look_at_space;
pub use tables::AgeReading;
pub use tables::CountMethod;
pub use tables::RowReading;
pub use tables::TableLook;
pub use tables::TableReadings;
pub use tables::is_pattern;
pub use tables::look_at_custom;
pub use tables::look_at_tables;
pub use tables::wanted_tables;
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
