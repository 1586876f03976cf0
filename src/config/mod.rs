//! The configuration: YAML in, valid types out. Parsed means valid.
//!
//! Nothing outside this room sees a raw value, and nothing in it opens a database. Nor does it look
//! whether a path exists, since a file may come later; the targets of the command line alone are looked
//! at by `stat`, to tell a directory from a file.

mod alerts;
mod columns;
mod custom;
pub(crate) mod decode;
mod environment;
mod error;
mod external_url;
mod listen;
mod load;
mod names;
mod paths;
mod read;
mod read_agent;
mod retention_read;
mod settings;
mod show;
mod show_tasks;
mod tasks;
mod tasks_read;
mod telemetry_path;
#[cfg(test)]
mod tests;
mod tracing;
mod tracing_read;
mod tree;
mod units;
mod upkeep_read;
mod web;
mod web_read;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use crate::config::columns::CustomKind;
pub use crate::config::columns::CustomMetric;
pub use crate::config::columns::TimestampColumn;
pub use crate::config::columns::TimestampFormat;
pub use crate::config::error::ConfigError;
pub use crate::config::error::ConfigErrors;
pub use crate::config::error::DirectoryReference;
pub use crate::config::error::Position;
pub use crate::config::external_url::ExternalUrl;
pub use crate::config::external_url::RoutePrefix;
pub use crate::config::listen::Listen;
pub use crate::config::paths::compile_pattern;
pub use crate::config::paths::compile_pattern_ignoring_case;
pub use crate::config::tasks::Backup;
pub use crate::config::tasks::Checkpoint;
pub use crate::config::tasks::HealthCheck;
pub use crate::config::tasks::LogCleaning;
pub use crate::config::tasks::Optimize;
pub use crate::config::tasks::Retention;
pub use crate::config::tasks::Tasks;
pub use crate::config::tasks::Timing;
pub use crate::config::tasks::Vacuum;
pub use crate::config::tasks::WriteLimits;
pub use crate::config::telemetry_path::TelemetryPath;
pub use crate::config::tracing::CollectorTls;
pub use crate::config::tracing::Endpoint;
pub use crate::config::tracing::TracingSettings;
pub use crate::config::tracing::header_problem;
pub use crate::config::web::ClientAuth;
pub use crate::config::web::Pem;
pub use crate::config::web::RateLimit;
pub use crate::config::web::TlsConfig;
pub use crate::config::web::WebConfig;

/// The effective configuration, every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the metrics and the page are served. Loopback by default; never empty.
    pub listen: Vec<Listen>,
    /// Who may come in, and what they may do.
    pub web: WebSettings,
    /// How often every database is looked at.
    pub sample_interval: Duration,
    /// How often the configured paths, globs and directories are scanned for files.
    pub discovery_interval: Duration,
    /// The most databases watched at once; files beyond it are reported and left out.
    pub max_databases: usize,
    /// The most series that the table and custom collectors may publish for one database.
    pub series_limit: usize,
    /// How maintenance is done.
    pub maintenance: Maintenance,
    /// Where traces go.
    pub tracing: TracingSettings,
    /// What to watch, in the order of the file.
    pub sources: Vec<Source>,
}

/// The web server: access, paths and the URL behind a reverse proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebSettings {
    /// A web configuration file: TLS and users.
    pub config_file: Option<PathBuf>,
    /// Users of that file who may run, pause and resume tasks. Nobody may when it is empty.
    pub operators: Vec<String>,
    /// Where the metrics are served, below the prefix of the routes.
    pub telemetry_path: TelemetryPath,
    /// Where browsers reach the server.
    pub external_url: Option<ExternalUrl>,
    /// The prefix of all routes; `None` for the path of the external URL.
    pub route_prefix: Option<RoutePrefix>,
}

impl WebSettings {
    /// The prefix of all routes.
    #[must_use]
    pub fn prefix(&self) -> &RoutePrefix {
        let of_url = || self.external_url.as_ref().map(ExternalUrl::path);
        self.route_prefix.as_ref().or_else(of_url).unwrap_or(RoutePrefix::ROOT)
    }

    /// Whether a running server can take over the settings: only who may act can change.
    #[must_use]
    pub fn differs_only_in_operators(&self, other: &Self) -> bool {
        *self == Self { operators: self.operators.clone(), ..other.clone() }
    }
}

/// How maintenance is done, whatever the task.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintenance {
    /// Where history, verdicts and due times are kept.
    pub state: StateLocation,
    /// The time zone of schedules that name none.
    pub timezone: chrono_tz::Tz,
    /// Where SQLite puts temporary files; `None` for SQLite's own choice.
    pub temp_directory: Option<PathBuf>,
    /// While this file is there, no job runs.
    pub pause_file: Option<PathBuf>,
    /// The most jobs at once.
    pub max_jobs: usize,
    /// The most jobs at once on one file system.
    pub max_jobs_per_filesystem: usize,
    /// How long after its start the agent does what fell due while it was down.
    pub catch_up_delay: Duration,
    /// How long runs are remembered.
    pub history_retention: Duration,
}

/// Where the agent keeps what it must know after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateLocation {
    /// In the place that is usual for the user, see [`StateLocation::file`].
    Default,
    /// In memory: nothing is written anywhere, and nothing is known after a restart.
    Memory,
    /// In this SQLite file.
    File(PathBuf),
}

impl StateLocation {
    /// The file, if there is one: as configured, or `state.db` in the directory that systemd names, for root in
    /// `/var/lib/litekeeper`, for others in `$XDG_STATE_HOME/litekeeper` (`~/.local/state/litekeeper`).
    #[must_use]
    pub fn file(&self, environment: &dyn Fn(&str) -> Option<String>, is_root: bool) -> Option<PathBuf> {
        const NAME: &str = "state.db";
        let directory = match self {
            Self::Memory => return None,
            Self::File(path) => return Some(path.clone()),
            Self::Default => environment("STATE_DIRECTORY").map(PathBuf::from),
        };
        let home = || {
            let state = environment("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
            let state =
                state.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/state")));
            state.map(|state| state.join("litekeeper"))
        };
        let usual = || if is_root { Some(PathBuf::from("/var/lib/litekeeper")) } else { home() };
        directory.or_else(usual).map(|directory| directory.join(NAME))
    }
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            state: StateLocation::Default,
            timezone: chrono_tz::UTC,
            temp_directory: None,
            pause_file: None,
            max_jobs: 1,
            max_jobs_per_filesystem: 1,
            catch_up_delay: Duration::from_secs(60),
            history_retention: Duration::from_secs(400 * 86_400),
        }
    }
}

/// One entry of `databases`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where its files are.
    pub location: SourceLocation,
    /// How its databases are watched.
    pub settings: Arc<DatabaseSettings>,
}

/// Where the files of a source are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// One file, which is listed (as missing) even while it is not there.
    File {
        /// The file.
        path: PathBuf,
        /// The name for the label `db`; by default derived from the file's name.
        name: Option<String>,
    },
    /// Every file that matches a pattern (`*`, `?`, `[…]`, `{a,b}`, `**`).
    Glob {
        /// The pattern; its part up to the first wildcard is the root of the names.
        pattern: String,
        /// Patterns of file names or whole paths to leave out.
        exclude: Vec<String>,
    },
    /// The files of a directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Patterns of file names to take.
        include: Vec<String>,
        /// Patterns of file names or whole paths to leave out.
        exclude: Vec<String>,
        /// Whether its subdirectories are scanned too.
        recursive: bool,
    },
}

/// Where the agent listens by default: this machine alone can reach it.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10321);

/// How often a database is looked at by default; Prometheus scrapes about as often.
pub const DEFAULT_SAMPLE_INTERVAL: Duration = Duration::from_secs(15);

/// How often files are scanned for by default.
pub const DEFAULT_DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);

/// The most databases watched at once by default.
pub const DEFAULT_MAX_DATABASES: usize = 20_000;

/// The most series of the table and custom collectors for one database by default.
pub const DEFAULT_SERIES_LIMIT: usize = 500;

/// How often row counts and timestamps are taken anew by default.
pub const DEFAULT_TABLE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How long one table's exact count may take by default.
pub const DEFAULT_COUNT_TIMEOUT: Duration = Duration::from_millis(500);

/// The column with a custom metric's value by default.
pub const DEFAULT_CUSTOM_VALUE: &str = "value";

/// How often a custom metric is asked by default.
pub const DEFAULT_CUSTOM_INTERVAL: Duration = Duration::from_secs(60);

/// How long a custom metric's answer may take by default.
pub const DEFAULT_CUSTOM_TIMEOUT: Duration = Duration::from_millis(200);

/// The most rows of a custom metric by default.
pub const DEFAULT_CUSTOM_MAX_ROWS: usize = 100;

/// File names that a directory is searched for by default.
pub const DEFAULT_INCLUDE: [&str; 4] = ["*.db", "*.sqlite", "*.sqlite3", "*.db3"];

/// How a database is watched: its profile with its own settings laid over it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSettings {
    /// The profile's name, a label of `sqlite_db_info`; empty without one.
    pub profile: String,
    /// Static labels of `sqlite_db_info`.
    pub labels: BTreeMap<String, String>,
    /// Tables whose rows are counted; `*` and `?` match.
    pub row_counts: Vec<String>,
    /// Log tables whose oldest and newest row are read.
    pub timestamps: Vec<TimestampColumn>,
    /// The user's own SQL.
    pub custom_metrics: Vec<CustomMetric>,
    /// How often row counts and timestamps are taken anew, when something changed.
    pub table_interval: Duration,
    /// How long one table's exact count may take in a WAL database; a rollback database gets a tenth.
    pub count_timeout: Duration,
    /// How often the space of tables and indexes is measured anew, when something changed.
    pub table_sizes_interval: Duration,
    /// The tables whose space is published: the largest, with their indexes.
    pub table_sizes_top: usize,
    /// How long one table or index may be measured in a WAL database; a rollback database gets a tenth.
    pub table_sizes_timeout: Duration,
    /// Which collectors run.
    pub collectors: Collectors,
    /// How long the application waits for a lock (its `busy_timeout`); unknown where it is not configured.
    pub owner_busy_timeout: Option<Duration>,
    /// What is done to it.
    pub tasks: Tasks,
    /// Thresholds of alerts that are its own.
    pub alerts: alerts::AlertThresholds,
}

impl Config {
    /// The defaults of the agent, for the given sources.
    fn with_sources(sources: Vec<Source>) -> Self {
        Self {
            listen: vec![Listen::Tcp(DEFAULT_LISTEN)],
            web: WebSettings::default(),
            sample_interval: DEFAULT_SAMPLE_INTERVAL,
            discovery_interval: DEFAULT_DISCOVERY_INTERVAL,
            max_databases: DEFAULT_MAX_DATABASES,
            series_limit: DEFAULT_SERIES_LIMIT,
            maintenance: Maintenance::default(),
            tracing: TracingSettings::default(),
            sources,
        }
    }
}

impl Default for DatabaseSettings {
    /// What a database is watched with when nothing is said: no row is read before someone asks for it.
    fn default() -> Self {
        Self {
            profile: String::new(),
            labels: BTreeMap::new(),
            row_counts: Vec::new(),
            timestamps: Vec::new(),
            custom_metrics: Vec::new(),
            table_interval: DEFAULT_TABLE_INTERVAL,
            count_timeout: DEFAULT_COUNT_TIMEOUT,
            table_sizes_interval: Duration::from_secs(6 * 3600),
            table_sizes_top: 20,
            table_sizes_timeout: Duration::from_millis(500),
            collectors: Collectors::default(),
            owner_busy_timeout: None,
            tasks: Tasks::default(),
            alerts: BTreeMap::new(),
        }
    }
}

impl Default for Collectors {
    /// All but the one that reads every page; without tables, columns or SQL to work on, most have nothing to do.
    fn default() -> Self {
        Self { schema: true, row_counts: true, timestamps: true, custom_metrics: true, table_sizes: false }
    }
}

/// Which collectors run on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "five switches, which are what the user writes")]
pub struct Collectors {
    /// `sqlite_schema_objects`: reads the schema whenever it changed.
    #[serde(serialize_with = "on_off")]
    pub schema: bool,
    /// `sqlite_table_rows`.
    #[serde(serialize_with = "on_off")]
    pub row_counts: bool,
    /// `sqlite_table_oldest_row_timestamp_seconds` and `…_newest_…`.
    #[serde(serialize_with = "on_off")]
    pub timestamps: bool,
    /// `sqlite_custom_*`.
    #[serde(serialize_with = "on_off")]
    pub custom_metrics: bool,
    /// `sqlite_table_size_bytes`, `sqlite_index_size_bytes`, `sqlite_table_unused_bytes`.
    #[serde(serialize_with = "on_off")]
    pub table_sizes: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn on_off<S: serde::Serializer>(on: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word(*on))
}

/// A switch as it is written.
fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
