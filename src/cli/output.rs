//! Writes the output of commands.

use super::escape::print_error;
use super::escape::printable;
use super::exit::Exit;

/// Writes text to standard output, with terminal control sequences escaped. A closed pipe, as with
/// `| head`, is not a failure.
pub(super) fn print(text: &str) -> Exit {
    print_raw(&printable(text))
}

/// Writes trusted text to standard output, unescaped.
pub(super) fn print_raw(text: &str) -> Exit {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            print_error!("litekeeper: cannot write the output: {error}");
            Exit::Failure
        }
        Ok(()) | Err(_) => Exit::Success,
    }
}
