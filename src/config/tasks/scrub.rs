//! The task `scrub`.

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::kinds::Group;
use crate::config::section::section;
use crate::config::tasks::common::Timing;
use crate::config::units::DAY;
use crate::config::units::MIB;
use crate::config::units::format_bytes;
use crate::config::values::By;

/// The lowest rate: a megabyte database takes some seconds with it.
const MIN_RATE: u64 = MIB / 16;

section! {
    /// The task `scrub`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Scrub {
        /// When it runs.
        pub timing: Timing = timing() => Group,
        /// Bytes that are read per second.
        pub rate: u64 = 20 * MIB => By(read_rate, |rate: &u64| format_bytes(*rate)),
    }
}

/// Saturday is before the weekly vacuum, which rewrites the file and with it what a scrub could
/// find. A run may wait for the other databases of its file system for days, and takes 15 hours for
/// a terabyte at the default rate.
fn timing() -> Timing {
    Timing { start_deadline: 3 * DAY, ..Timing::new("0 6 * * SAT", 3 * DAY) }
}

fn read_rate(value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<u64> {
    let rate = decoder.bytes(value)?;
    if rate < MIN_RATE {
        let message =
            format!("must be at least {}; it is the number of bytes read per second", format_bytes(MIN_RATE));
        decoder.refuse_value(value, message);
        return None;
    }
    Some(rate)
}
