//! Escapes untrusted text for a terminal.
//!
//! Anyone who can write a database chooses its table names and the messages that quote them: an
//! escape sequence in such a text could hide a finding or print a false one. All output of commands
//! is escaped by this module.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal could interpret a character instead of showing it: control characters (C0,
/// C1), DEL, and marks that change the direction of text (<https://trojansource.codes>).
fn is_control_sequence(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let must_escape = |character: char| is_control_sequence(character) && !is_kept(character);
    if !text.contains(must_escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if must_escape(character) {
            // JSON has the same escapes, so JSON remains valid. Writing to a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Escapes a text of several lines: control characters other than line breaks and tabs are written
/// as in `\u001b`.
#[must_use]
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

/// Escapes a part of a line: like [`printable`], and line breaks are escaped as well.
#[must_use]
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Writes a line to standard error as `eprintln!` does, with control characters escaped.
macro_rules! print_error {
    ($($argument:tt)*) => {
        eprintln!("{}", $crate::cli::escape::printable(&format!($($argument)*)))
    };
}
pub(super) use print_error;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        for (text, safe) in [
            ("plain, \u{e9}\u{4e16} and \u{1f600}", "plain, \u{e9}\u{4e16} and \u{1f600}"),
            ("\u{1b}[2Kx", "\\u001b[2Kx"),
            ("\u{9b}2J", "\\u009b2J"),
            ("a\u{7f}\u{8}\r", "a\\u007f\\u0008\\u000d"),
            ("\u{202e}txt.exe", "\\u202etxt.exe"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ] {
            assert_eq!(printable(text), safe);
        }
        assert_eq!(one_line("t: healthy\n  full check  ok"), "t: healthy\\u000a  full check  ok");
    }
}
