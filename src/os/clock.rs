//! The machine's two clocks, to tell a wrong one by the other.

use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

/// Both clocks at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockReading {
    /// The clock on the wall, in seconds since 1970. Somebody can set it.
    pub wall: f64,
    /// Seconds since the machine was started, sleep included. Nobody can set it.
    pub since_boot: f64,
    /// Which start that was; empty where the system does not tell.
    pub boot: String,
}

impl ClockReading {
    /// Reads both.
    #[must_use]
    pub fn read() -> Self {
        use rustix::time::ClockId;
        let seconds = |clock| {
            let time = rustix::time::clock_gettime(clock);
            time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
        };
        #[cfg(target_os = "linux")]
        let since_boot = seconds(ClockId::Boottime);
        #[cfg(not(target_os = "linux"))]
        let since_boot = seconds(ClockId::Monotonic);
        #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { wall, since_boot, boot: boot.trim().to_owned() }
    }
}
