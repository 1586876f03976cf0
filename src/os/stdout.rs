//! Who reads what this process prints.

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;

/// Whether nobody can read standard output any more: the other end of a pipe is closed, or a
/// terminal has hung up. It does not wait. Where the system does not tell, somebody may.
#[must_use]
pub fn stdout_is_closed() -> bool {
    /// Errors and hang-ups are reported even if not requested.
    const NOTHING: PollFlags = PollFlags::empty();
    let output = std::io::stdout();
    let mut asked = [PollFd::new(&output, NOTHING)];
    let polled = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
