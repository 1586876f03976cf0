//! What the system knows of another process, by its number.
//!
//! Reading a command line can hang while the process is in the hands of a file system, so it
//! belongs on a thread that can be done without.

use std::time::Duration;
use std::time::SystemTime;

use rustix::fs::Stat;

/// The most of a command line that is kept, in characters.
const MAX_COMMAND: usize = 200;
/// The kernel tells times to user space in hundredths of a second, whatever its own tick is
/// (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its name, as `ps` shows it.
    pub name: String,
    /// Its command line, cut where it is long; empty where the system does not tell.
    pub command: String,
    /// The user's name, or number where `/etc/passwd` has no name for it.
    pub user: Option<String>,
    /// When it was started.
    pub started_at: Option<SystemTime>,
}

impl ProcessFacts {
    /// Asks `/proc`; `None` where the process is gone or hidden (another PID namespace, `hidepid`).
    #[must_use]
    pub fn read(pid: u32) -> Option<Self> {
        let file = |name: &str| {
            #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
            let content = std::fs::read(format!("/proc/{pid}/{name}")).ok();
            content
        };
        let name = printable(&file("comm")?);
        let status = file("status").unwrap_or_default();
        Some(Self {
            name,
            command: printable(&file("cmdline").unwrap_or_default()),
            user: user_id(&String::from_utf8_lossy(&status)).map(user_name),
            started_at: started_at(&String::from_utf8_lossy(&file("stat").unwrap_or_default())),
        })
    }
}

/// Whose rights a process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Its user's number.
    pub(super) user: u32,
    /// The numbers of its groups.
    pub(super) groups: Vec<u32>,
    /// It has ended, and its parent has not asked for its end yet.
    pub(super) dead: bool,
}

impl Credentials {
    /// Asks `/proc`; `None` where the process is gone or hidden.
    pub(super) fn of(pid: u32) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let groups = numbers(&status, "Gid:").chain(numbers(&status, "Groups:")).collect();
        let dead = field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X']));
        // Real, effective, saved, and the one that opens files.
        Some(Self { user: numbers(&status, "Uid:").nth(3)?, groups, dead })
    }

    /// Whether it may write to a file by its mode. A dead one has nothing open.
    pub(super) fn may_write(&self, file: &Stat) -> bool {
        let mode = file.st_mode;
        !self.dead
            && (self.user == file.st_uid
                || mode & 0o020 != 0 && self.groups.contains(&file.st_gid)
                || mode & 0o002 != 0)
    }
}

/// What stands behind a name, as `/proc` has it in the files of a process.
pub(super) fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim())
}

/// The numbers in a field of proc_pid_status(5).
fn numbers<'s>(status: &'s str, name: &str) -> impl Iterator<Item = u32> + 's {
    let numbers = field(status, name).unwrap_or_default().split_whitespace();
    numbers.filter_map(|number| number.parse().ok())
}

/// Text of a process as one line that cannot move the cursor of a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain: String =
        text.trim_end_matches(['\0', '\n']).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(MAX_COMMAND) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// The real user.
fn user_id(status: &str) -> Option<u32> {
    numbers(status, "Uid:").next()
}

fn user_name(id: u32) -> String {
    #[expect(clippy::disallowed_methods, reason = "the list of users, never a database")]
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    };
    users.lines().find_map(named).unwrap_or_else(|| id.to_string())
}

/// When a process was started, from the 22nd field of proc_pid_stat(5): ticks since the machine
/// was.
fn started_at(stat: &str) -> Option<SystemTime> {
    // The name, in brackets, may hold anything.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let clocks = super::ClockReading::read();
    let age = (clocks.since_boot - ticks / TICKS_PER_SECOND).max(0.0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(clocks.wall - age).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_process_is_one_plain_line() {
        let long = vec![b'a'; 5_000];
        let cut = format!("{}…", "a".repeat(MAX_COMMAND));
        for (bytes, expected) in [
            (&b"python3\0report.py\0--all\0"[..], "python3 report.py --all"),
            (b"name\n", "name"),
            (b"", ""),
            (b"evil\x1b[2J\rline", "evil [2J line"),
            (b"\xff", "\u{fffd}"),
            (&long, &cut),
        ] {
            assert_eq!(printable(bytes), expected);
        }
    }

    #[test]
    fn this_process_knows_itself() {
        let facts = ProcessFacts::read(std::process::id()).unwrap();
        assert!(facts.command.contains("litekeeper"), "{facts:?}");
        assert_eq!(facts.user.as_deref(), Some(&*user_name(rustix::process::getuid().as_raw())));
        let age = SystemTime::now().duration_since(facts.started_at.unwrap()).unwrap();
        assert!(age < Duration::from_secs(3_600), "{age:?}");
        assert_eq!(ProcessFacts::read(u32::MAX), None);
    }

    #[test]
    fn odd_status_gives_nothing() {
        assert_eq!(user_id("Name:\tx\nUid:\t1000\t1001\t1002\t1003\n"), Some(1000));
        assert_eq!(user_id("Name:\tx\n"), None);
        assert_eq!(started_at("12 (a b) c) S 1 2"), None);
        assert_eq!(started_at(""), None);
        assert_eq!(user_name(4_000_000_001), "4000000001");
    }
}
