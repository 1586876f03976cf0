//! Resource usage of this process, from `/proc/self`.

use rustix::param::clock_ticks_per_second;
use rustix::param::page_size;
use rustix::process::Resource;
use rustix::process::getrlimit;

/// What `process_*` metrics report. Reading it cannot hang.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceUsage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident set size.
    pub resident_bytes: u64,
    /// Size of the address space.
    pub virtual_bytes: u64,
    /// Number of open file descriptors.
    pub open_fds: Option<usize>,
    /// Soft limit of open file descriptors; `None` if unlimited.
    pub max_fds: Option<u64>,
    /// Start time in seconds since 1970.
    pub started_at: Option<f64>,
}

impl ResourceUsage {
    /// Reads the current values; `None` without `/proc`.
    #[must_use]
    pub fn read() -> Option<Self> {
        let usage = Self::parse(&read("/proc/self/stat")?, clock_ticks_per_second(), page_size() as u64)?;
        let boot: Option<f64> = read("/proc/stat")
            .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()));
        // The directory itself is one of the open files.
        let fds = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1));
        Some(Self {
            open_fds: fds,
            max_fds: getrlimit(Resource::Nofile).current,
            started_at: boot.zip(usage.started_at).map(|(boot, since_boot)| boot + since_boot),
            ..usage
        })
    }

    /// Parses proc_pid_stat(5). `started_at` is then relative to the boot of the machine.
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        // The second field is the command in parentheses, which may contain spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // Numbered as in the manual page, where the field after the command is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            resident_bytes: field(24)? * page_bytes,
            virtual_bytes: field(23)?,
            open_fds: None,
            max_fds: None,
            started_at: Some(seconds(field(22)?)),
        })
    }
}

fn read(path: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
    let text = std::fs::read_to_string(path).ok();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_command() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1000 8192 5 18446744073709551615 1";
        let usage = ResourceUsage::parse(stat, 100, 4096).unwrap();
        let expected = ResourceUsage {
            cpu_seconds: 3.0,
            resident_bytes: 5 * 4096,
            virtual_bytes: 8192,
            open_fds: None,
            max_fds: None,
            started_at: Some(10.0),
        };
        assert_eq!(usage, expected);
        for invalid in ["", "7 (a", "7 (a) S 1 7"] {
            assert_eq!(ResourceUsage::parse(invalid, 100, 4096), None, "{invalid}");
        }
    }

    #[test]
    fn this_process_has_memory_and_open_files() {
        let usage = ResourceUsage::read().unwrap();
        assert!(usage.resident_bytes > 0 && usage.virtual_bytes >= usage.resident_bytes, "{usage:?}");
        assert!(usage.open_fds.unwrap() >= 3 && usage.started_at.unwrap() > 1e9, "{usage:?}");
    }
}
