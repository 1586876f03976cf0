//! What every section of a file is read with.

use std::path::Path;

use chrono_tz::Tz;

use crate::config::metric_definitions::MetricDefinitions;

/// What the sections of a file have in common.
pub(super) struct ParseContext<'c> {
    /// The file's directory, for relative paths.
    pub base: &'c Path,
    /// The zone of schedules that name none.
    pub timezone: Tz,
    /// The custom metrics so far: one type, help text and set of labels over all databases.
    pub metrics: MetricDefinitions,
}

impl<'c> ParseContext<'c> {
    pub fn new(base: &'c Path) -> Self {
        Self { base, timezone: Tz::UTC, metrics: MetricDefinitions::default() }
    }
}
