//! Converts wall times to instants. Clock changes are handled here for schedules and windows alike,
//! so that the two always agree. A later wall time must never give an earlier instant.

use chrono::DateTime;
use chrono::LocalResult;
use chrono::NaiveDateTime;
use chrono::TimeDelta;
use chrono::TimeZone;
use chrono::Utc;
use chrono_tz::Tz;

/// The instant at which the wall clock of a zone shows a time: the first of two in a repeated hour,
/// and the end of the gap for a skipped time.
pub fn instant(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&wall) {
        LocalResult::Single(at) => Some(at.to_utc()),
        LocalResult::Ambiguous(first, _) => Some(first.to_utc()),
        LocalResult::None => end_of_gap(zone, wall),
    }
}

/// The first instant after a gap in which a wall time is skipped.
fn end_of_gap(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    // No zone is ever a day away from UTC, so the wall clock is earlier at the one and later at the
    // other.
    let mut before = wall.checked_sub_signed(TimeDelta::days(1))?.and_utc().timestamp();
    let mut past = wall.checked_add_signed(TimeDelta::days(1))?.and_utc().timestamp();
    while past - before > 1 {
        let middle = before + (past - before) / 2;
        let shown = wall_at(zone, DateTime::from_timestamp(middle, 0)?);
        if shown < wall {
            before = middle;
        } else {
            past = middle;
        }
    }
    DateTime::from_timestamp(past, 0)
}

/// The wall time of a zone at an instant.
pub fn wall_at(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The latest wall time that has been shown so far: during a repeated hour it is later than the
/// current one.
pub fn furthest_wall(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    let wall = wall_at(zone, at);
    match zone.from_local_datetime(&wall) {
        LocalResult::Ambiguous(first, second) if at >= second => wall + (second - first),
        LocalResult::Ambiguous(..) | LocalResult::Single(_) | LocalResult::None => wall,
    }
}
