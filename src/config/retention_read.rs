//! Reads how long rows stay: the default of a retention, and the grace period of rows that expire by themselves.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::quoted;
use crate::config::tasks_read::DAY;
use crate::config::tasks_read::read;

/// The retention where nothing is said.
const DEFAULT_RETENTION_DAYS: u64 = 90;

/// The variable with the default of the retention, in days.
const RETENTION_VARIABLE: &str = "LOG_RETENTION_DAYS";

/// How long a row stays after the moment of its expiry. A retention and a bound of the newest row's age mean nothing beside it.
pub(super) fn read_grace(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Duration {
    const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(100 * 365 * 86_400);
    for name in ["retention", "allow_short_retention", "max_newest_age", "keep_latest"] {
        if fields.given(name).is_some() {
            let message = "does not go with `expires: on`, which deletes rows once the time in their column has passed; \
                           write `grace` for how long they stay after that, or remove `expires`";
            decoder.refuse(fields.position_of(name), &fields.child(name), message);
        }
    }
    read(fields, "grace", Duration::ZERO, |value| decoder.duration(value, GRACE))
}

/// The retention where none is written: the environment's, else 90 days.
pub(super) fn default_retention(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<Duration> {
    const MOST_DAYS: u64 = 36_500;
    let Some(text) = decoder.variable(RETENTION_VARIABLE) else {
        return Some(DEFAULT_RETENTION_DAYS as u32 * DAY);
    };
    match text.trim().parse::<u64>() {
        Ok(days) if (1..=MOST_DAYS).contains(&days) => Some(Duration::from_secs(days * DAY.as_secs())),
        Ok(_) | Err(_) => {
            let message = format!(
                "comes from the environment here, where {RETENTION_VARIABLE} is {}; it must be a number of days from 1 to \
                 {MOST_DAYS}",
                quoted(&text)
            );
            decoder.refuse(fields.position, &fields.child("retention"), message);
            None
        }
    }
}
