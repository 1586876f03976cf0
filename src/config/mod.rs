//! The configuration: YAML in, valid types out. Parsed means valid.
//!
//! Nothing outside this room sees a raw value, and nothing in it opens a database or looks whether
//! a path exists: a file may come later.

mod decode;
mod duration;
mod environment;
mod errors;
mod read;
mod settings;
mod show;
mod targets;
mod tree;

#[cfg(test)]
mod tests;

pub use errors::ConfigErrors;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// The effective configuration, every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where `/metrics` and the page are served. Loopback by default.
    pub listen: SocketAddr,
    /// How often every database is looked at.
    pub sample_interval: Duration,
    /// How often the configured paths, globs and directories are scanned for files.
    pub discovery_interval: Duration,
    /// The most databases watched at once; files beyond it are reported and left out.
    pub max_databases: usize,
    /// The most series that the table and custom collectors may publish for one database.
    pub series_limit: usize,
    /// What to watch, in the order of the file.
    pub sources: Vec<Source>,
}

impl Default for Config {
    /// Nothing to watch, on the port of the product.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 10_321)),
            sample_interval: Duration::from_secs(15),
            discovery_interval: Duration::from_secs(30),
            max_databases: 20_000,
            series_limit: 500,
            sources: Vec::new(),
        }
    }
}

/// One entry of `databases`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where its files are.
    pub target: Target,
    /// How its databases are watched.
    pub settings: Arc<Settings>,
}

/// Where the files of a source are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
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

/// File names that a directory is searched for by default.
pub const DEFAULT_INCLUDE: [&str; 4] = ["*.db", "*.sqlite", "*.sqlite3", "*.db3"];

/// How a database is watched: its profile with its own settings laid over it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
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
    /// How long one table's exact count may take in a WAL database; a rollback database gets a tenth,
    /// as its writers wait for readers.
    pub count_budget: Duration,
    /// Which collectors run.
    pub collectors: Collectors,
}

impl Default for Settings {
    /// Header and schema alone: what costs a scan is asked for by name.
    fn default() -> Self {
        Self {
            profile: String::new(),
            labels: BTreeMap::new(),
            row_counts: Vec::new(),
            timestamps: Vec::new(),
            custom_metrics: Vec::new(),
            table_interval: Duration::from_secs(300),
            count_budget: Duration::from_millis(500),
            collectors: Collectors { schema: true, row_counts: true, timestamps: true, custom_metrics: true },
        }
    }
}

/// Which collectors run on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn on_off<S: serde::Serializer>(on: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *on { "on" } else { "off" })
}

/// A log table's time column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimestampColumn {
    /// The table.
    pub table: String,
    /// Its column.
    pub column: String,
    /// How the column writes a time.
    pub format: TimestampFormat,
}

/// How a column writes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// Detected from the data, refused when mixed or unclear.
    Auto,
    /// ISO-8601 text, with a space or a `T`; UTC where it names no zone.
    Iso8601,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// Microseconds since 1970.
    UnixMicroseconds,
    /// Julian day number.
    JulianDay,
}

/// A metric from the user's own read-only SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomMetric {
    /// The name after `sqlite_custom_`, without `_total`.
    pub name: String,
    /// Gauge or counter.
    #[serde(rename = "type")]
    pub kind: CustomKind,
    /// HELP.
    pub help: String,
    /// One SELECT.
    pub sql: String,
    /// The column with the value.
    pub value: String,
    /// Columns that become labels.
    pub labels: Vec<String>,
    /// How often it is asked.
    #[serde(serialize_with = "duration_text")]
    pub interval: Duration,
    /// How long one answer may take.
    #[serde(serialize_with = "duration_text")]
    pub budget: Duration,
    /// The most rows taken.
    pub max_rows: usize,
}

fn duration_text<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration::write(*duration))
}

/// The type of a custom metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomKind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
}
