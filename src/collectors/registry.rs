//! The list of collectors: the only place that names them all.

use super::collector::Collector;
use super::collector::Family;
use super::collector::IntervalCollector;
use super::collector::Registered;
use super::collector::SampleCollector;
use super::custom_metrics::CustomMetricsCollector;
use super::errors::ErrorsCollector;
use super::files::FilesCollector;
use super::filesystem::FilesystemCollector;
use super::header::HeaderCollector;
use super::locks::LocksCollector;
use super::lost_locks::LostLocksCollector;
use super::row_counts::RowCountsCollector;
use super::schema::SchemaCollector;
use super::status::StatusCollector;
use super::table_sizes::TableSizesCollector;

/// All collectors, in the order of the exposition.
static COLLECTORS: &[Registered] = &[
    Registered::Shared(&StatusCollector),
    Registered::Shared(&HeaderCollector),
    Registered::Sample(&SchemaCollector),
    Registered::Shared(&FilesCollector),
    Registered::Shared(&ErrorsCollector),
    Registered::Shared(&FilesystemCollector),
    Registered::Shared(&LocksCollector),
    Registered::Shared(&LostLocksCollector),
    Registered::Interval(&RowCountsCollector),
    Registered::Interval(&CustomMetricsCollector),
    Registered::Interval(&TableSizesCollector),
];

/// Every collector, in the order of registration.
pub fn collectors() -> impl Iterator<Item = &'static dyn Collector> {
    COLLECTORS.iter().map(|registered| registered.collector())
}

/// The collectors that read in the transaction of a sample.
pub fn sample_collectors() -> impl Iterator<Item = &'static dyn SampleCollector> {
    COLLECTORS.iter().filter_map(|registered| match registered {
        Registered::Sample(collector) => Some(*collector),
        Registered::Shared(_) | Registered::Interval(_) => None,
    })
}

/// The collectors with an interval of their own.
pub fn interval_collectors() -> impl Iterator<Item = &'static dyn IntervalCollector> {
    COLLECTORS.iter().filter_map(|registered| match registered {
        Registered::Interval(collector) => Some(*collector),
        Registered::Shared(_) | Registered::Sample(_) => None,
    })
}

/// The families of all collectors, in the order of the exposition.
#[must_use]
pub fn families() -> Vec<&'static Family> {
    let mut families: Vec<&Family> = collectors().flat_map(Collector::families).collect();
    families.sort_by_key(|family| family.group);
    families
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        for collector in collectors() {
            assert!(names.insert(collector.name()), "two collectors are named {}", collector.name());
        }
        let mut names = HashSet::new();
        for family in families() {
            assert!(names.insert(family.name), "two families are named {}", family.name);
        }
    }
}
