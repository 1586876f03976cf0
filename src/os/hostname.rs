//! What the machine is called.

/// The host's name; empty where it has none.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
