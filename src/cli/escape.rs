//! Text that a database or a file name can contain, made safe for a terminal.
//!
//! Names of tables and messages that quote them are whatever the writer of the file wanted: an
//! escape sequence in them could hide a finding or print a false one. Everything that a command
//! prints goes through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal could act on a character instead of showing it: control characters of both
/// sets (C0, C1), DEL, and the marks that reverse the direction of text
/// (<https://trojansource.codes>).
fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |character: char| acts_on_a_terminal(character) && !is_kept(character);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts(character) {
            // JSON has the same escapes, so a document stays one. Writing to a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// A text of several lines for a terminal: everything that could act on it is written as `\u001b`.
#[must_use]
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

/// A part of a line: as [`printable`], and a line break in it cannot begin a line of its own.
#[must_use]
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Writes a line to standard error as `eprintln!` does, and leaves nothing in it that acts on a
/// terminal.
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
