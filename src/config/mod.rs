//! The configuration: YAML in, valid types out. Parsed means valid.
//!
//! `tree` parses YAML, `decode` reads typed values out of it and collects every error with its
//! place. Each section has a file that declares its type, keys, defaults and bounds with
//! `section!`; `values` and `kinds` hold how the values of keys are read and shown. `config show`
//! serialises the same types.
//!
//! No other module sees a raw value, and none of this one opens a database. Whether a path exists
//! is not checked, since a file may come later; only the targets of the command line are looked at
//! by `stat`, to tell a directory from a file.

mod agent;
mod alerts;
mod context;
mod custom_metrics;
mod databases;
mod decode;
mod endpoint;
mod environment;
mod error;
mod external_url;
mod kinds;
mod listen;
mod load;
mod location;
pub(crate) mod messages;
mod metric_definitions;
mod names;
mod paths;
mod renamed;
mod sealed_rows;
mod section;
mod sources;
mod table_columns;
mod tasks;
mod telemetry_path;
#[cfg(test)]
mod tests;
mod tracing;
mod tree;
mod units;
mod values;
mod web;
mod web_config;

pub use crate::config::agent::Config;
pub use crate::config::agent::DEFAULT_LISTEN;
pub use crate::config::agent::Maintenance;
pub use crate::config::agent::StateLocation;
pub use crate::config::custom_metrics::CustomMetric;
pub use crate::config::databases::Collectors;
pub use crate::config::databases::DatabaseSettings;
pub use crate::config::endpoint::Endpoint;
pub use crate::config::endpoint::EndpointError;
pub use crate::config::endpoint::header_problem;
pub use crate::config::error::ConfigErrors;
pub use crate::config::error::DirectoryReference;
pub use crate::config::external_url::ExternalUrl;
pub use crate::config::external_url::RoutePrefix;
pub use crate::config::listen::Listen;
pub use crate::config::location::DEFAULT_INCLUDE;
pub use crate::config::location::SourceLocation;
pub use crate::config::metric_definitions::CustomKind;
pub use crate::config::paths::compile_pattern;
pub use crate::config::paths::compile_pattern_ignoring_case;
pub use crate::config::sealed_rows::SealedRows;
pub use crate::config::sources::Source;
pub use crate::config::table_columns::TimestampColumn;
pub use crate::config::table_columns::TimestampFormat;
pub use crate::config::tasks::Backup;
pub use crate::config::tasks::Checkpoint;
pub use crate::config::tasks::HealthCheck;
pub use crate::config::tasks::LogCleaning;
pub use crate::config::tasks::Optimize;
pub use crate::config::tasks::Retention;
pub use crate::config::tasks::Scrub;
pub use crate::config::tasks::Tasks;
pub use crate::config::tasks::Timing;
pub use crate::config::tasks::Vacuum;
pub use crate::config::tasks::WriteLimits;
pub use crate::config::telemetry_path::TelemetryPath;
pub use crate::config::tracing::CollectorTls;
pub use crate::config::tracing::TracingSettings;
pub use crate::config::web::WebSettings;
pub use crate::config::web_config::ClientAuth;
pub use crate::config::web_config::Pem;
pub use crate::config::web_config::RateLimit;
pub use crate::config::web_config::TlsConfig;
pub use crate::config::web_config::WebConfig;
