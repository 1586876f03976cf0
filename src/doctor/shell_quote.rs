//! Quotes text for a shell.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Quotes text as one word of a command, if necessary.
pub(super) fn word(text: &str) -> String {
    word_of(text.as_bytes())
}

/// Quotes a path as one word of a command, if necessary.
pub(super) fn path(path: &Path) -> String {
    word_of(path.as_os_str().as_bytes())
}

fn word_of(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', "'\\''")),
        // Control characters could manipulate the terminal, and bytes that are not UTF-8 cannot be
        // shown.
        Ok(_) | Err(_) => escaped(bytes),
    }
}

/// Quotes with `$'…'` and octal escapes, which POSIX 2024, bash, zsh and ksh support.
fn escaped(bytes: &[u8]) -> String {
    let mut word = String::from("$'");
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                word.push('\\');
                word.push(char::from(*byte));
            }
            0x20..=0x7e => word.push(char::from(*byte)),
            // Writing to a String cannot fail. An octal escape has at most three digits, so that a
            // digit that follows is not part of it.
            _ => drop(write!(word, "\\{byte:03o}")),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for (text, quoted) in [
            ("/srv/books.db", "/srv/books.db"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$(rm -rf /); `x` \\ \" * ?", "'$(rm -rf /); `x` \\ \" * ?'"),
            ("~", "'~'"),
            ("größer", "'größer'"),
            ("line\nbreak\u{1b}[31m7", r"$'line\012break\033[31m7'"),
            ("both ' and \t\\", r"$'both \' and \011\\'"),
        ] {
            assert_eq!(word(text), quoted);
            let output = Command::new("bash").arg("-c").arg(format!("printf %s {quoted}")).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{quoted}");
        }
        use std::os::unix::ffi::OsStrExt as _;
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/\xff.db"));
        assert_eq!(path(odd), r"$'/\377.db'");
    }
}
