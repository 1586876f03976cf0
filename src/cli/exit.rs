//! Exit codes of the commands.

use std::process::ExitCode;

/// The exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Success,
    /// A check found problems, or a health check failed.
    Problems,
    /// The command line or the configuration is invalid.
    Usage,
    /// The command failed, for example on a file, an address or a lock.
    Failure,
    /// A run was skipped because a precondition was not met.
    Skipped,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0_u8,
            Exit::Problems => 1,
            Exit::Usage => 2,
            Exit::Failure => 3,
            Exit::Skipped => 4,
        })
    }
}
