//! Interrupts work during which SQLite does not call the progress handler.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rusqlite::InterruptHandle;

use crate::limits::QueryLimits;

/// How often the limits are checked.
const WATCH_PERIOD: Duration = Duration::from_millis(5);

/// Does `work`, and interrupts its connection when the limits end: a count of a b-tree is one
/// instruction (`sqlite3BtreeCount`), and a checkpoint runs below the instructions.
pub(super) fn with_interrupt<T>(
    interrupt: InterruptHandle,
    limits: &QueryLimits,
    work: impl FnOnce() -> T,
) -> T {
    std::thread::scope(|scope| {
        let (done, watched) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while watched.recv_timeout(WATCH_PERIOD) == Err(RecvTimeoutError::Timeout) {
                if limits.is_exceeded() {
                    interrupt.interrupt();
                }
            }
        });
        let result = work();
        drop(done);
        result
    })
}
