//! Who else can write to a file.

use std::ffi::CStr;
use std::ffi::CString;
use std::io;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::proc_locks::in_first_pid_namespace;
use super::process::Credentials;
use super::process::field;

/// How many descriptors of other processes are open for writing on a file; SQLite has one for each
/// connection. `None` where a process that may have one hides it: in a PID namespace of one's own,
/// with `hidepid`, a process of the file's owner to another user, before Linux 5.14; and where the
/// count takes longer than `limit`.
///
/// To a user who is not root, root's own processes are hidden too, and are taken to have none
/// unless the file is root's; so are those that an access control list permits.
#[must_use]
pub fn count_write_descriptors(file: &CStr, limit: Duration) -> Option<usize> {
    if !in_first_pid_namespace().unwrap_or(false) {
        return None;
    }
    count(&rustix::fs::stat(file).ok()?, Instant::now() + limit).ok()
}

fn count(file: &Stat, deadline: Instant) -> io::Result<usize> {
    /// Even root may not look into it.
    const INIT: u32 = 1;
    let own = std::process::id();
    let (mut descriptors, mut init_seen) = (0, false);
    for process in std::fs::read_dir("/proc")? {
        let name = process?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        init_seen |= pid == INIT;
        if pid == own {
            continue;
        }
        descriptors += match ok_if_missing(count_in_process(pid, file, deadline)) {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && (pid == INIT || !may_write(pid, file)) =>
            {
                0
            }
            counted => counted?,
        };
    }
    // `hidepid` leaves out the processes of others.
    if init_seen { Ok(descriptors) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// A process that ended meanwhile, or closed a file, has none.
fn ok_if_missing(counted: io::Result<usize>) -> io::Result<usize> {
    let gone = |error: &io::Error| {
        matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOENT | Errno::SRCH))
    };
    match counted {
        Err(error) if gone(&error) => Ok(0),
        other => other,
    }
}

/// Whether a process may write to a file by its mode. A dead one has nothing open.
fn may_write(pid: u32, file: &Stat) -> bool {
    Credentials::of(pid).is_none_or(|identity| identity.may_write(file))
}

fn count_in_process(pid: u32, file: &Stat, deadline: Instant) -> io::Result<usize> {
    let mut descriptors = 0;
    for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let descriptor = descriptor?;
        let number = descriptor.file_name().to_string_lossy().into_owned();
        descriptors +=
            ok_if_missing(is_write_descriptor(pid, &number, &descriptor.path(), file).map(usize::from))?;
    }
    Ok(descriptors)
}

/// The bits of a descriptor's flags that say whether it reads, writes or both.
const ACCESS_MODE: u32 = 0o3;

/// Whether a descriptor of a process is open for writing; not so where the process is gone.
pub(super) fn is_writable(pid: u32, number: u32) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let flags = field(&info, "flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
    flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
}

/// Whether a descriptor is this file, open for writing. What the kernel itself says is asked first:
/// `stat` may hang with the file system of a file, so it is left for the one that has the inode.
fn is_write_descriptor(pid: u32, number: &str, link: &Path, file: &Stat) -> io::Result<bool> {
    // Sockets, pipes and the like have a name without a slash.
    if !std::fs::read_link(link)?.has_root() {
        return Ok(false);
    }
    #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))?;
    let flags = field(&info, "flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or(0);
    // Since Linux 5.14, proc_pid_fdinfo(5).
    let inode: u64 =
        field(&info, "ino:").and_then(|inode| inode.parse().ok()).ok_or(io::ErrorKind::Unsupported)?;
    // The kernel's own number is as wide as its words.
    if inode != file.st_ino & usize::MAX as u64 || flags & ACCESS_MODE == 0 {
        return Ok(false);
    }
    let found = rustix::fs::stat(CString::new(format!("/proc/{pid}/fd/{number}"))?)?;
    Ok((found.st_dev, found.st_ino) == (file.st_dev, file.st_ino))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::io::BufReader;
    use std::process::Command;
    use std::process::Stdio;

    use super::*;

    fn made() -> (tempfile::NamedTempFile, Stat) {
        let made = tempfile::NamedTempFile::new().unwrap();
        let file = rustix::fs::stat(made.path()).unwrap();
        (made, file)
    }

    /// Counts until it is as expected: a child that another test forks has our descriptors until it
    /// runs a program.
    fn expect(file: &Stat, expected: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match count(file, end) {
                Ok(counted) if counted == expected => return,
                // As on a machine where another process of this user hides itself.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    assert!(!super::super::is_root(), "{error}");
                    return;
                }
                counted => assert!(Instant::now() < end, "{counted:?} in place of {expected}"),
            }
        }
    }

    #[test]
    fn connections_that_can_write_are_counted() {
        let (made, file) = made();
        let path = made.path();
        // Our own do not count.
        #[expect(clippy::disallowed_methods, reason = "no database")]
        let own = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        expect(&file, 0);
        drop(own);
        // Two to write, one to read, and one of a file beside it.
        let script = "exec 3<>\"$0\" 4>>\"$0\" 5<\"$0\" 6<>\"$0.other\"; echo; read -r line";
        let mut child = Command::new("sh")
            .args(["-c", script, &path.to_string_lossy()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        expect(&file, 2);
        let mut elsewhere = file;
        elsewhere.st_dev += 1;
        expect(&elsewhere, 0);
        assert_eq!(count(&file, Instant::now()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(child.stdin.take());
        child.wait().unwrap();
        expect(&file, 0);
    }

    #[test]
    fn the_mode_decides_who_may_write() {
        let (_made, file) = made();
        let (own, nobody) = (std::process::id(), u32::MAX);
        for (uid, gid, mode, expected) in [
            (file.st_uid, nobody, 0o600, true),
            (nobody, file.st_gid, 0o620, true),
            (nobody, file.st_gid, 0o604, false),
            (nobody, nobody, 0o664, false),
            (nobody, nobody, 0o666, true),
        ] {
            let mut other = file;
            (other.st_uid, other.st_gid, other.st_mode) = (uid, gid, mode);
            assert_eq!(may_write(own, &other), expected, "{uid} {gid} {mode:o}");
        }
        // Of a process that is gone nothing is known.
        assert!(may_write(u32::MAX, &file));
    }
}
