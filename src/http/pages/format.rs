//! Formats times, texts and badges for all pages.

use std::borrow::Cow;
use std::time::Duration;
use std::time::SystemTime;

use chrono::DateTime;
use chrono::Utc;
use maud::Markup;
use maud::html;

use crate::collectors::DatabaseState;
use crate::humanize::span;

/// `5 min ago`.
pub(super) fn relative(seconds: u64) -> String {
    format!("{} ago", span(seconds))
}

/// Converts seconds since 1970.
pub(super) fn to_system_time(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Date and time in UTC.
pub(super) fn format_date(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn iso8601(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time relative to now, with the absolute time as a tooltip.
pub(super) fn relative_time(time: SystemTime, now: SystemTime) -> Markup {
    html! { time datetime=(iso8601(time)) title=(format_date(time)) { (distance(time, now)) } }
}

/// As [`relative_time`] in fewer bytes, for long lists: to the minute and without a tooltip.
pub(super) fn relative_compact(time: SystemTime, now: SystemTime) -> Markup {
    html! { time datetime=(DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%MZ")) { (distance(time, now)) } }
}

fn distance(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(recent) => relative(recent.as_secs()),
        Err(ahead) => format!("in {}", span(ahead.duration().as_secs())),
    }
}

/// Truncates a long text at its end.
pub(super) fn truncate_end(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Truncates a long path at its start, which says less than its end.
pub(super) fn truncate_start(path: &str, characters: usize) -> Cow<'_, str> {
    match path.char_indices().nth_back(characters) {
        Some(_) => {
            let start = path.char_indices().nth_back(characters - 1).map_or(0, |(start, _)| start);
            format!("…{}", &path[start..]).into()
        }
        None => path.into(),
    }
}

/// The state of a database with a failed check.
pub(super) const DAMAGED: &str = "damaged";

/// The worst state that applies to a database.
pub(super) fn state(condition: DatabaseState, unsound: bool) -> &'static str {
    if unsound && condition != DatabaseState::Down { DAMAGED } else { condition.label() }
}

/// A badge with the state of a database. Its symbol distinguishes states without colour.
pub(super) fn state_badge(condition: DatabaseState, unsound: bool) -> Markup {
    if state(condition, unsound) == DAMAGED {
        return html! { span.pill.down { span aria-hidden="true" { "▲ " } (DAMAGED) } };
    }
    let mark = match condition {
        DatabaseState::Up => "● ",
        DatabaseState::Down => "▲ ",
        DatabaseState::Pending => "○ ",
    };
    html! { span class={ "pill " (condition.label()) } { span aria-hidden="true" { (mark) } (condition.label()) } }
}

/// A badge with the outcome of a run.
pub(super) fn outcome_badge(outcome: &str) -> Markup {
    let (class, mark) = match outcome {
        "success" => ("up", "● "),
        "skipped" => ("pending", "○ "),
        _ => ("down", "▲ "),
    };
    html! { span class={ "pill " (class) } { span aria-hidden="true" { (mark) } (outcome) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_in_both_directions() {
        let now = to_system_time(1_800_000_000.0);
        for (seconds, message) in [
            (0.0, "0 s ago"),
            (59.9, "59 s ago"),
            (-61.0, "in 1 min"),
            (7_300.0, "2 h ago"),
            (-200_000.0, "in 2 d"),
        ] {
            let text = relative_time(to_system_time(1_800_000_000.0 - seconds), now).into_string();
            assert!(text.contains(&format!(">{message}<")), "{text}");
        }
        assert_eq!(format_date(now), "2027-01-15 08:00:00 UTC");
        let short = relative_compact(to_system_time(1_799_999_000.0), now).into_string();
        assert_eq!(short, "<time datetime=\"2027-01-15T07:43Z\">16 min ago</time>");
    }

    #[test]
    fn long_texts_are_truncated_between_characters() {
        for (text, first, last) in
            [("", "", ""), ("äöü", "äöü", "äöü"), ("äöüß", "äöü…", "…öüß"), ("/a/long/path", "/a/…", "…ath")]
        {
            assert_eq!((&*truncate_end(text, 3), &*truncate_start(text, 3)), (first, last));
        }
    }
}
