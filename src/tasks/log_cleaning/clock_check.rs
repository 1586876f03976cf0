//! Whether the machine's clock can be believed. A clock that is a year ahead would make every row
//! look old.

use crate::config::Retention;
use crate::os::ClockReading;

use crate::collectors::date;

/// A difference between the two clocks that is no drift.
const JUMP_SECONDS: f64 = 600.0;

/// Time zones and summer time can put the newest row of a table ahead of UTC by less than this.
const AHEAD_SECONDS: f64 = 86_400.0;

/// What is wrong with the clock since an earlier run, if anything.
pub(super) fn clock_jump(earlier: &ClockReading, now: &ClockReading) -> Option<String> {
    let wall = now.wall - earlier.wall;
    if wall < -JUMP_SECONDS {
        return Some(format!(
            "the clock was set back: it shows {}, but the last run was at {}",
            date(now.wall),
            date(earlier.wall)
        ));
    }
    let ahead = wall - (now.since_boot - earlier.since_boot);
    (now.boot == earlier.boot && ahead > JUMP_SECONDS).then(|| {
        format!("the clock was set forward by {} since the last run at {}", days(ahead), date(earlier.wall))
    })
}

/// Compares the clock with the newest row of a log: one that is written to has a fresh one. Says
/// why nothing should be deleted where that is no error.
///
/// # Errors
/// The newest row is of the future.
pub(super) fn compare_with_newest_row(
    newest: f64,
    now: f64,
    retention: &Retention,
) -> Result<Option<String>, String> {
    let table = &retention.table;
    if newest > now + AHEAD_SECONDS {
        return Err(format!(
            "the newest row of {table} is from {}, but the clock shows {}: one of them is wrong, so nothing is deleted",
            date(newest),
            date(now)
        ));
    }
    let most = retention.max_newest_age.as_secs_f64();
    Ok((now - newest > most).then(|| {
        format!(
            "the newest row of {table} is {} old ({}), more than max_newest_age ({}): either nothing is logged any more, or \
             the clock is ahead",
            days(now - newest),
            date(newest),
            days(most)
        )
    }))
}

fn days(seconds: f64) -> String {
    if seconds < 86_400.0 {
        format!("{:.1} h", seconds / 3600.0)
    } else {
        format!("{:.1} days", seconds / 86_400.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_and_a_slow_night_is_not() {
        let mark =
            |wall: f64, since_boot: f64, boot: &str| ClockReading { wall, since_boot, boot: boot.to_owned() };
        let earlier = mark(1e9, 1000.0, "a");
        for (now, clock_jump) in [
            (mark(1e9 + 86_400.0, 87_400.0, "a"), false),
            // Drift and leap seconds.
            (mark(1e9 + 86_405.0, 87_400.0, "a"), false),
            (mark(1e9 + 40.0 * 86_400.0, 87_400.0, "a"), true),
            (mark(1e9 - 3600.0, 87_400.0, "a"), true),
            (mark(1e9 - 3600.0, 10.0, "b"), true),
            // After a start of the machine nothing says how long it was off.
            (mark(1e9 + 40.0 * 86_400.0, 10.0, "b"), false),
        ] {
            assert_eq!(super::clock_jump(&earlier, &now).is_some(), clock_jump, "{now:?}");
        }
    }
}
