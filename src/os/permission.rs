//! Whether this process may write a database, and whether the owner could go on after it.

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Access;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::io::Errno;

use crate::database_files::DatabaseFiles;

/// What keeps this process from writing a database: SQLite needs the main file and, for the
/// companion files, its directory.
#[must_use]
pub fn write_denied(files: &DatabaseFiles, directory: &CStr) -> Option<(&'static str, io::Error)> {
    let needed = [("main file", files.main.as_c_str()), ("directory", directory)];
    needed.into_iter().find_map(|(name, path)| {
        let asked = rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
        asked.err().map(|error| (name, error.into()))
    })
}

/// What keeps this process from making, listing and removing files in a directory.
#[must_use]
pub fn directory_denied(directory: &CStr) -> Option<io::Error> {
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, directory, needed, AtFlags::EACCESS).err().map(io::Error::from)
}

/// Why the database's owner could not use companion files that this process makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompanionObstacle {
    /// The main file's mode, which they get, does not let the group read and write.
    Mode(u32),
    /// They would belong to the first group, the main file to the second.
    Group(u32, u32),
}

impl CompanionObstacle {
    /// What is in the way, and what removes it.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Mode(mode) => format!(
                "the file's mode is {:04o}, and a -wal or -journal that litekeeper makes gets the same: the owner could not use \
                 it; give file and directory g+rw, or run litekeeper as root or as the owner",
                mode & 0o7777
            ),
            Self::Group(made, group) => format!(
                "a -wal or -journal that litekeeper makes in this directory would belong to group {made}, not to the file's group \
                 {group}: the owner could not use it; have the directory belong to group {group} with g+s, or run litekeeper \
                 with that as its own group, as root or as the owner"
            ),
        }
    }
}

/// What keeps the database's owner from using companion files that this process makes.
///
/// SQLite gives a new `-wal`, `-shm` or `-journal` the mode of the main file, and as root its owner
/// too. Anybody else makes them in its own name; if this process were killed then, they would stay,
/// and an owner who cannot write them could not open the database any more. A file in a setgid
/// directory gets the directory's group, open(2).
///
/// # Errors
/// What the system says of the main file or the directory.
pub fn companion_obstacle(main: &CStr, directory: &CStr) -> io::Result<Option<CompanionObstacle>> {
    let stat = rustix::fs::stat(main)?;
    let home = rustix::fs::stat(directory)?;
    let user = rustix::process::geteuid();
    if user.is_root() || user.as_raw() == stat.st_uid {
        return Ok(None);
    }
    Ok(obstacle(stat.st_mode, stat.st_gid, home.st_mode, home.st_gid, rustix::process::getegid().as_raw()))
}

fn obstacle(
    mode: u32,
    group: u32,
    directory_mode: u32,
    directory_group: u32,
    own_group: u32,
) -> Option<CompanionObstacle> {
    const GROUP: u32 = 0o060;
    const OTHERS: u32 = 0o006;
    const SETGID: u32 = 0o2000;
    let allows = |bits: u32| mode & bits == bits;
    let made = if directory_mode & SETGID == 0 { own_group } else { directory_group };
    if allows(OTHERS) || allows(GROUP) && made == group {
        return None;
    }
    Some(if allows(GROUP) { CompanionObstacle::Group(made, group) } else { CompanionObstacle::Mode(mode) })
}

/// The first directory on the way to a file that this process may not search.
#[must_use]
pub fn first_unsearchable_directory(file: &Path) -> Option<PathBuf> {
    let mut directories: Vec<&Path> = file.ancestors().skip(1).collect();
    directories.reverse();
    let denied = |directory: &&Path| {
        let asked = rustix::fs::accessat(CWD, *directory, Access::EXEC_OK, AtFlags::EACCESS);
        asked.err() == Some(Errno::ACCESS)
    };
    directories.into_iter().find(denied).map(Path::to_owned)
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_group_decide_who_can_use_a_new_companion_file() {
        const DATA: u32 = 1234;
        const OWN: u32 = 65534;
        for (name, mode, directory_mode, directory_group, own_group, expected) in [
            ("its own group", 0o660, 0o770, DATA, DATA, None),
            ("a setgid directory of the group", 0o660, 0o2770, DATA, OWN, None),
            ("everybody", 0o666, 0o777, OWN, OWN, None),
            (
                "a directory without setgid",
                0o660,
                0o770,
                DATA,
                OWN,
                Some(CompanionObstacle::Group(OWN, DATA)),
            ),
            ("setgid of another group", 0o660, 0o2770, 5, DATA, Some(CompanionObstacle::Group(5, DATA))),
            ("a file for its owner alone", 0o600, 0o2770, DATA, DATA, Some(CompanionObstacle::Mode(0o600))),
            ("a group that only reads", 0o640, 0o2770, DATA, OWN, Some(CompanionObstacle::Mode(0o640))),
        ] {
            let found = obstacle(mode, DATA, directory_mode, directory_group, own_group);
            assert_eq!(found, expected, "{name}");
        }
    }
}
