//! Times as people read them, and the small pieces that all pages share.

use std::borrow::Cow;
use std::time::Duration;
use std::time::SystemTime;

use chrono::DateTime;
use chrono::Utc;
use maud::Markup;
use maud::html;

use crate::collectors::DatabaseState;
use crate::humanize::span;

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
    html! { time datetime=(machine(time)) title=(calendar(time)) { (distance(time, now)) } }
}

/// The same in few bytes, for lists with a great many of them: to the minute, and without the moment on pointing.
pub(super) fn about_when(time: SystemTime, now: SystemTime) -> Markup {
    html! { time datetime=(DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%MZ")) { (distance(time, now)) } }
}

fn distance(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(past) => ago(past.as_secs()),
        Err(ahead) => format!("in {}", span(ahead.duration().as_secs())),
    }
}

/// The beginning of a text that may be long.
pub(super) fn beginning(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// The end of a path that may be long: it tells more than its beginning.
pub(super) fn end_of(path: &str, characters: usize) -> Cow<'_, str> {
    match path.char_indices().nth_back(characters) {
        Some(_) => {
            let start = path.char_indices().nth_back(characters - 1).map_or(0, |(start, _)| start);
            format!("…{}", &path[start..]).into()
        }
        None => path.into(),
    }
}

/// The word for a database of which a check failed.
pub(super) const DAMAGED: &str = "damaged";

/// The worst that is to be said of a database, in a word: each has one.
pub(super) fn state(condition: DatabaseState, unsound: bool) -> &'static str {
    if unsound && condition != DatabaseState::Down { DAMAGED } else { condition.label() }
}

/// The state of a database: a word, and a mark for those who do not see its colour.
pub(super) fn pill(condition: DatabaseState, unsound: bool) -> Markup {
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
        let short = about_when(moment(1_799_999_000.0), now).into_string();
        assert_eq!(short, "<time datetime=\"2027-01-15T07:43Z\">16 min ago</time>");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (text, first, last) in
            [("", "", ""), ("äöü", "äöü", "äöü"), ("äöüß", "äöü…", "…öüß"), ("/a/long/path", "/a/…", "…ath")]
        {
            assert_eq!((&*beginning(text, 3), &*end_of(text, 3)), (first, last));
        }
    }
}
