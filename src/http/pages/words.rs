//! Times as people read them, and the small pieces that all pages share.

use std::time::Duration;
use std::time::SystemTime;

use chrono::DateTime;
use chrono::Utc;
use maud::Markup;
use maud::html;

use crate::sample::Condition;
use crate::units::span;

/// So long ago.
pub(super) fn ago(seconds: u64) -> String {
    format!("{} ago", span(seconds))
}

/// A moment from seconds since 1970.
pub(super) fn moment(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A moment as a calendar has it.
pub(super) fn calendar(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn machine(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How long ago something was, or how long it is until then; the moment itself on pointing.
pub(super) fn when(time: SystemTime, now: SystemTime) -> Markup {
    let words = match now.duration_since(time) {
        Ok(past) => ago(past.as_secs()),
        Err(ahead) => format!("in {}", span(ahead.duration().as_secs())),
    };
    html! { time datetime=(machine(time)) title=(calendar(time)) { (words) } }
}

/// The state of a database: a word, and a mark for those who do not see its colour.
pub(super) fn pill(condition: Condition, unsound: bool) -> Markup {
    if unsound && condition != Condition::Down {
        return html! { span.pill.down { span aria-hidden="true" { "▲ " } "damaged" } };
    }
    let mark = match condition {
        Condition::Up => "● ",
        Condition::Down => "▲ ",
        Condition::Pending => "○ ",
    };
    html! { span class={ "pill " (condition.label()) } { span aria-hidden="true" { (mark) } (condition.label()) } }
}

/// What came of a run: a word with its colour.
pub(super) fn outcome(outcome: &str) -> Markup {
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
    fn times_are_told_both_ways() {
        let now = moment(1_800_000_000.0);
        for (seconds, words) in [
            (0.0, "0 s ago"),
            (59.9, "59 s ago"),
            (-61.0, "in 1 min"),
            (7_300.0, "2 h ago"),
            (-200_000.0, "in 2 d"),
        ] {
            let text = when(moment(1_800_000_000.0 - seconds), now).into_string();
            assert!(text.contains(&format!(">{words}<")), "{text}");
        }
        assert_eq!(calendar(now), "2027-01-15 08:00:00 UTC");
    }
}
