//! What a collector is: a name, the metric families it exports, when it runs, what it may cost, and
//! how it reads a database. Families are data, so that the exposition and the metric reference come
//! from one declaration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::DatabaseSettings;
use crate::database::Database;
use crate::limits::QueryLimits;
use crate::sqlite::ErrorCode;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;

use super::readings::CollectedValue;
use super::readings::Readings;
use super::snapshot::DatabaseSnapshot;
use super::snapshot::Snapshot;

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows; its samples end in `_total`.
    Counter,
    /// Labels with the value 1; its samples end in `_info`.
    Info,
}

/// The unit of a family, which the exposition appends to the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyUnit {
    /// `_bytes`.
    Bytes,
    /// `_seconds`.
    Seconds,
}

/// The place of a family in the exposition: groups in this order, within a group collectors in the
/// order of their registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FamilyGroup {
    /// Reachability, identity and schema.
    Identity,
    /// Sizes of files.
    Files,
    /// Sizes in pages.
    Pages,
    /// The file system of the database's directory.
    FileSystem,
    /// The write-ahead log.
    Wal,
    /// Locks and the processes that hold them.
    Locks,
    /// Everything else.
    Other,
}

/// One metric family. Every sample has the label `db`.
pub struct Family {
    /// The name without unit and `_total` or `_info`.
    pub name: &'static str,
    /// The unit, if the value has one.
    pub unit: Option<FamilyUnit>,
    /// The type.
    pub kind: FamilyKind,
    /// Labels besides `db`, for the reference.
    pub labels: &'static [&'static str],
    /// The place in the exposition.
    pub group: FamilyGroup,
    /// HELP: what the value means and when it is absent.
    pub help: &'static str,
    /// Writes the samples of one database. It only formats what the snapshot holds.
    pub samples: fn(&DatabaseSnapshot, &mut dyn SampleWriter) -> fmt::Result,
}

impl Family {
    /// A gauge in [`FamilyGroup::Other`] without unit and further labels; change fields with
    /// `..Family::gauge(…)`.
    #[must_use]
    pub const fn gauge(
        name: &'static str,
        help: &'static str,
        samples: fn(&DatabaseSnapshot, &mut dyn SampleWriter) -> fmt::Result,
    ) -> Self {
        Self {
            name,
            unit: None,
            kind: FamilyKind::Gauge,
            labels: &[],
            group: FamilyGroup::Other,
            help,
            samples,
        }
    }
}

/// Receives the samples of one database in one family.
pub trait SampleWriter {
    /// Writes a sample of a gauge.
    ///
    /// # Errors
    /// The text could not be written.
    fn gauge(&mut self, labels: &[(&str, &str)], value: f64) -> fmt::Result;

    /// Writes a sample of a counter.
    ///
    /// # Errors
    /// The text could not be written.
    fn counter(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result;

    /// Writes a sample of an info family.
    ///
    /// # Errors
    /// The text could not be written.
    fn info(&mut self, labels: &[(&str, &str)]) -> fmt::Result;

    /// Writes a sample of a gauge without further labels; nothing where the value is unknown.
    ///
    /// # Errors
    /// The text could not be written.
    fn optional(&mut self, value: Option<f64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(&[], value))
    }
}

/// A family whose name comes from the configuration, with its samples.
pub struct DynamicFamily<'s> {
    /// The name without `_total`.
    pub name: String,
    /// HELP, in one line.
    pub help: String,
    /// The type.
    pub kind: FamilyKind,
    /// The samples.
    pub samples: Vec<DynamicSample<'s>>,
}

/// A sample of a [`DynamicFamily`].
pub struct DynamicSample<'s> {
    /// The label `db`.
    pub db: &'s str,
    /// The other labels.
    pub labels: Vec<(&'s str, &'s str)>,
    /// The value.
    pub value: f64,
    /// The type that this database's configuration gives the metric.
    pub kind: FamilyKind,
}

/// A section of the metric reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// When the values are collected.
    pub text: &'static str,
}

/// The section of everything that is collected with each sample.
pub const SAMPLE_SECTION: Section =
    Section { title: "Databases", text: "Updated at every sample (`sample_interval`)." };

/// Exports one group of values of a database.
pub trait Collector: Sync {
    /// The name: of its key under `collectors` in the configuration, where it has one, and its
    /// value of the label `collector`.
    fn name(&self) -> &'static str;

    /// The families, in the order of the exposition.
    fn families(&self) -> &'static [Family];

    /// Families whose names come from the configuration.
    fn dynamic_families<'s>(&self, _snapshot: &'s Snapshot) -> Vec<DynamicFamily<'s>> {
        Vec::new()
    }

    /// The section of the metric reference that lists the families.
    fn section(&self) -> Section {
        SAMPLE_SECTION
    }
}

/// A collector that reads more in the transaction in which each sample reads the header.
pub trait SampleCollector: Collector {
    /// Whether the configuration wants its value of a database.
    fn is_enabled(&self, settings: &DatabaseSettings) -> bool;

    /// Whether a value that was read under the header `before` holds under the header `now`.
    fn is_current(&self, before: &Header, now: &Header) -> bool;

    /// Reads the value. The limits are those of the sample.
    ///
    /// # Errors
    /// SQLite refused; the database counts as up all the same, as its header was read.
    fn collect(&self, reader: &Reader) -> Result<Arc<dyn CollectedValue>, SqliteError>;
}

/// A collector that opens the database by itself, at its own interval.
pub trait IntervalCollector: Collector {
    /// Which loop runs it.
    fn pace(&self) -> Pace;

    /// How many parts the configuration wants of a database, each with its own interval; 0 where it
    /// is off.
    fn parts(&self, settings: &DatabaseSettings) -> usize;

    /// How often a part is collected.
    fn interval(&self, settings: &DatabaseSettings, part: usize) -> Duration;

    /// The limits of one collection of a part.
    fn limits(&self, settings: &DatabaseSettings, part: usize) -> QueryLimits;

    /// Whether the same content can give another value, as SQL can that reads the clock. Without it
    /// a part is not collected again until the database changes.
    fn depends_on_time(&self) -> bool {
        false
    }

    /// Collects a part. `previous` holds the values that the database has now.
    fn collect(
        &self,
        database: &Database,
        part: usize,
        limits: &QueryLimits,
        previous: &Readings,
    ) -> CollectionOutcome;
}

/// Which loop runs an interval collector. Each loop collects one database after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Takes milliseconds and is due every few seconds or minutes.
    Fast,
    /// Reads whole databases: over many databases it can take an hour, and must not delay the fast
    /// ones.
    Slow,
}

impl Pace {
    /// Every loop.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Slow];
}

/// The result of collecting a part.
pub enum CollectionOutcome {
    /// Another process had the database locked: the value stays, and the part is tried again soon.
    Busy,
    /// The database could not be read: the value goes.
    Failed(String),
    /// A new value.
    Collected(Collection),
}

/// A collected value and what was missed of it.
pub struct Collection {
    /// The value.
    pub value: Arc<dyn CollectedValue>,
    /// Why a part of the value is missing or old, for the log.
    pub problems: Vec<String>,
    /// SQLite's errors that were met, for `sqlite_errors_total`.
    pub errors: Vec<ErrorCode>,
    /// Series left out because of a limit.
    pub dropped: u64,
    /// Whether the collection is tried again soon, because a writer left no time for all of it.
    pub is_partial: bool,
}

impl Collection {
    /// A complete value.
    #[must_use]
    pub fn new(value: Arc<dyn CollectedValue>) -> Self {
        Self { value, problems: Vec::new(), errors: Vec::new(), dropped: 0, is_partial: false }
    }
}

/// A registered collector, by the way it is run.
#[derive(Clone, Copy)]
pub enum Registered {
    /// Exports what each sample takes in any case: `stat`, the header, and the passes over file
    /// systems and `/proc` that serve all databases at once.
    Shared(&'static dyn Collector),
    /// Reads more in the transaction of each sample.
    Sample(&'static dyn SampleCollector),
    /// Opens the database at its own interval.
    Interval(&'static dyn IntervalCollector),
}

impl Registered {
    /// The collector, however it is run.
    #[must_use]
    pub fn collector(self) -> &'static dyn Collector {
        match self {
            Self::Shared(collector) => collector,
            Self::Sample(collector) => collector,
            Self::Interval(collector) => collector,
        }
    }
}
