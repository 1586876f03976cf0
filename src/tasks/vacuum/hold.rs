//! How long a full VACUUM holds the write lock, and the bound above which it does not begin.
//!
//! The hold cannot be ended once VACUUM copies its result back, so it is judged before, from the
//! size of the content and the rate of this database's last vacuum.

use std::time::Duration;

use crate::config::Vacuum;
use crate::humanize::bytes;
use crate::sqlite::Header;

use crate::tasks::context::TaskContext;
use crate::tasks::reason::SkipReason;
use crate::tasks::stop::Stop;

/// Bytes a second that a full VACUUM is expected to write where no earlier run tells, as measured.
const DEFAULT_RATE: f64 = 110.0 * 1024.0 * 1024.0;

/// A hold is allowed for if so many times its estimate is within the bound: with a rate of this
/// database's last vacuum, and with none.
const MARGIN: (f64, f64) = (1.5, 2.0);

/// The longest hold of a full VACUUM where neither the task nor the application's busy timeout says
/// otherwise.
const MAX_LOCK_HOLD: Duration = Duration::from_secs(1);

/// Bytes that stay.
pub(super) fn content(header: &Header) -> u64 {
    u64::from(header.pages.saturating_sub(header.freelist_pages)) * u64::from(header.page_size)
}

/// How long a full VACUUM is expected to take.
pub(super) fn expected(header: &Header, rate: Option<f64>) -> Duration {
    Duration::from_secs_f64(content(header) as f64 / rate.unwrap_or(DEFAULT_RATE).max(1.0))
}

/// The longest that a full VACUUM may hold the write lock.
pub(super) fn max_lock_hold(task: &Vacuum, context: &TaskContext<'_>) -> Duration {
    let owner = context.database.settings.owner_busy_timeout.filter(|timeout| !timeout.is_zero());
    task.max_lock_hold.or(owner).unwrap_or(MAX_LOCK_HOLD)
}

/// Checks that the estimated hold of a full VACUUM, with a margin, does not exceed its limit.
pub(super) fn check_max_hold(task: &Vacuum, context: &TaskContext<'_>, header: &Header) -> Result<(), Stop> {
    let (expected, bound) = (expected(header, context.history.rate), max_lock_hold(task, context));
    let margin = if context.history.rate.is_some() { MARGIN.0 } else { MARGIN.1 };
    let longest = expected.mul_f64(margin);
    if longest <= bound {
        return Ok(());
    }
    let detail = format!(
        "a full VACUUM of {} would hold the write lock for about {:.1} s ({:.1} s with a margin), longer than `max_lock_hold` \
         ({:.1} s); to run it, set a `window` in which the application can wait together with `max_lock_hold: {:.0}s`; to \
         avoid it, set `convert_auto_vacuum: incremental`, which needs one such run and then reclaims space in short steps, or let the \
         application create its database with `auto_vacuum = INCREMENTAL`",
        bytes(content(header)),
        expected.as_secs_f64(),
        longest.as_secs_f64(),
        bound.as_secs_f64(),
        longest.as_secs_f64().ceil(),
    );
    Err(Stop::skipped(SkipReason::OutsideWindow, detail))
}
