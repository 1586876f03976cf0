//! What the tests, benchmarks and fuzz targets of this repository use. It is not an interface: it
//! changes without notice.

pub use litekeeper_sqlite as sqlite;
pub use litekeeper_sqlite::limits;

/// From `collection`.
pub mod collection {
    pub use crate::collection::CollectionLoop;
}

/// From `collectors`.
pub mod collectors {
    pub use crate::collectors::CollectOutcome;
    pub use crate::collectors::Collected;
    pub use crate::collectors::Consistent;
    pub use crate::collectors::CountMethod;
    pub use crate::collectors::DatabaseFacts;
    pub use crate::collectors::DatabaseSnapshot;
    pub use crate::collectors::DatabaseState;
    pub use crate::collectors::ErrorCounts;
    pub use crate::collectors::IndexSize;
    pub use crate::collectors::Judge;
    pub use crate::collectors::LockTableSnapshot;
    pub use crate::collectors::PreviousCollection;
    pub use crate::collectors::Reading;
    pub use crate::collectors::Readings;
    pub use crate::collectors::SizeCollection;
    pub use crate::collectors::Snapshot;
    pub use crate::collectors::TableAge;
    pub use crate::collectors::TableReadings;
    pub use crate::collectors::TableRows;
    pub use crate::collectors::TableSize;
    pub use crate::collectors::TableSizes;
    pub use crate::collectors::collect_custom;
    pub use crate::collectors::collect_table_sizes;
    pub use crate::collectors::collect_tables;
    pub use crate::collectors::collectors;
    pub use crate::collectors::convert;
    pub use crate::collectors::describe;
    pub use crate::collectors::families;
    pub use crate::collectors::interval_collectors;
    pub use crate::collectors::read_consistently;
    pub use crate::collectors::sample_database;
}

/// From `config`.
pub mod config {
    pub use crate::config::Collectors;
    pub use crate::config::Config;
    pub use crate::config::CustomKind;
    pub use crate::config::CustomMetric;
    pub use crate::config::DatabaseSettings;
    pub use crate::config::SealedRows;
    pub use crate::config::TimestampColumn;
    pub use crate::config::TimestampFormat;
    pub use crate::config::WebConfig;
}

/// From `database`.
pub mod database {
    pub use crate::database::Database;
    pub use crate::database::DatabaseName;
}

/// From `database_files`.
pub mod database_files {
    pub use crate::database_files::DatabaseFiles;
}

/// From `health_report`.
pub mod health_report {
    pub use crate::health_report::CheckProgress;
    pub use crate::health_report::Report;
    pub use crate::health_report::Request;
    pub use crate::health_report::report;
}

/// From `http`.
pub mod http {
    pub use crate::http::declare_requests;
    pub use crate::http::fuzzing;
}

/// From `locks`.
pub mod locks {
    pub use crate::locks::Hold;
    pub use crate::locks::Lock;
    pub use crate::locks::LockOwner;
    pub use crate::locks::LockTracker;
    pub use crate::locks::Locks;
}

/// From `metrics`.
pub mod metrics {
    pub use crate::metrics::AgentMetrics;
    pub use crate::metrics::Exposition;
    pub use crate::metrics::Format;
    pub use crate::metrics::JobMetrics;
    pub use crate::metrics::JobTarget;
    pub use crate::metrics::reference;
}

/// From `os`.
pub mod os {
    pub use crate::os::FileFacts;
    pub use crate::os::FileSize;
    pub use crate::os::FilesystemFacts;
    pub use crate::os::LockTable;
    pub use crate::os::LockView;
    pub use crate::os::Loss;
    pub use crate::os::LostLocks;
    pub use crate::os::OwnerState;
    pub use crate::os::stat;
}

/// From `runbooks`.
pub mod runbooks {
    pub use crate::runbooks::RUNBOOKS;
    pub use crate::runbooks::meaning;
}

/// From `sealed`.
pub mod sealed {
    pub use crate::sealed::FindingCounts;
    pub use crate::sealed::SealedError;
    pub use crate::sealed::SealedFindingKind;
    pub use crate::sealed::SealedRequest;
    pub use crate::sealed::SealedTableReport;
    pub use crate::sealed::SealedTableStatus;
    pub use crate::sealed::compare_sealed_table;
    pub use crate::sealed::sealed_problems;
    pub use crate::sealed::sealed_status;
}

/// From `state_store`.
pub mod state_store {
    pub use crate::state_store::CheckStatus;
    pub use crate::state_store::ScrubStatus;
}

/// From `task`.
pub mod task {
    pub use crate::task::TaskKind;
}

/// From `tasks`.
pub mod tasks {
    pub use crate::tasks::Notes;
    pub use crate::tasks::Run;
    pub use crate::tasks::RunStatus;
    pub use crate::tasks::ScrubResult;
    pub use crate::tasks::Trigger;
    pub use crate::tasks::has_wal_reset_bug;
    pub use crate::tasks::parse_report;
}

/// From `tls`.
pub mod tls {
    pub use crate::tls::fuzzing;
}
