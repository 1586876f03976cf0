//! The task `backup`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::kinds::Group;
use crate::config::kinds::Required;
use crate::config::section::section;
use crate::config::tasks::common::MAX_WRITER_WAIT;
use crate::config::tasks::common::Timing;
use crate::config::tree::Node;
use crate::config::units::DAY;
use crate::config::units::GIB;
use crate::config::units::HOUR;
use crate::config::units::MIB;
use crate::config::units::MILLISECOND;
use crate::config::units::format_duration;
use crate::config::values::Between;
use crate::config::values::By;
use crate::config::values::Bytes;
use crate::config::values::Directory;

section! {
    /// The task `backup`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Backup {
        /// When it runs.
        pub timing: Timing = Timing::new("0 2 * * *", 6 * HOUR) => Group,
        /// The directory of the copies.
        pub to: PathBuf = PathBuf::new() => Required("to: /srv/backups", Directory),
        /// The number of verified copies that stay.
        pub keep: usize = 7 => Between(1, 10_000),
        /// After which time a kept backup is read again and compared with its manifest; `None`
        /// for never.
        pub verify_interval: Option<Duration> = Some(7 * DAY) => By(read_interval, shown_interval),
        /// Bytes per second that are read of kept backups; 0 for no limit.
        pub verify_rate: u64 = 50 * MIB => Bytes,
        /// Bytes that stay free on the file system of the copies.
        pub min_free_space: u64 = 100 * MIB => Bytes,
        /// How long writers of a rollback database may be kept from committing; up to five times as
        /// long once, to make the copy one state.
        pub max_writer_wait: Duration = MAX_WRITER_WAIT => Between(5 * MILLISECOND, HOUR),
        /// How far a WAL may grow while the copy is made; then the run ends.
        pub max_wal_growth: u64 = GIB => Bytes,
    }
}

/// A duration, or `off`.
fn read_interval(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Option<Duration>> {
    match &value.tree.node {
        Node::Scalar(text) if text == "off" => Some(None),
        _ => decoder.duration(value, HOUR..=366 * DAY).map(Some),
    }
}

fn shown_interval(interval: &Option<Duration>) -> String {
    interval.map_or_else(|| "off".to_owned(), format_duration)
}
