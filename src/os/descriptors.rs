//! Which processes have files of databases open, in one pass over `/proc/*/fd`.
//!
//! Links alone are read, which never waits for a file system; what they name is for the caller to
//! confirm.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::fs::Stat;

use crate::database_files::DatabaseFiles;

use super::process::Credentials;

/// Even root may not read its descriptors.
const INIT: u32 = 1;

/// The suffix that `/proc` adds to the path of an unlinked file.
pub(super) const DELETED: &[u8] = b" (deleted)";

/// What an open file is to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    /// Its shared memory, under its name.
    Shm,
    /// Its main file or `-wal`, deleted.
    Deleted,
}

/// What one pass saw.
#[derive(Debug, Default)]
pub(super) struct DescriptorScan {
    /// Process and role by the database's place in the list.
    matches: HashMap<usize, HashSet<(u32, Role)>>,
    /// Processes that hide their descriptors.
    hidden_processes: Vec<Credentials>,
    /// Every process was reached in time.
    complete: bool,
}

impl DescriptorScan {
    /// Processes that may have lost something of a database. One that has the shared memory open
    /// has lost its locks only where nobody has the main file locked.
    pub(super) fn suspects(&self, database: usize, is_unlocked: bool) -> impl Iterator<Item = u32> {
        let matches = self.matches.get(&database).into_iter().flatten();
        matches.filter(move |(_, role)| *role == Role::Deleted || is_unlocked).map(|(pid, _)| *pid)
    }

    /// Whether no process is hidden that may write to a database by its mode.
    pub(super) fn saw_every_writer(&self, files: &DatabaseFiles) -> bool {
        let may_write = |main: &Stat| self.hidden_processes.iter().any(|identity| identity.may_write(main));
        self.complete
            && (self.hidden_processes.is_empty()
                || rustix::fs::stat(&files.main).is_ok_and(|main| !may_write(&main)))
    }
}

/// Reads the links of all descriptors of all other processes, until a deadline.
pub(super) fn scan_descriptors(databases: &[&DatabaseFiles], deadline: Instant) -> DescriptorScan {
    let mut scan = DescriptorScan { complete: true, ..DescriptorScan::default() };
    let names = names_to_find(databases);
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return DescriptorScan::default();
    };
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        if Instant::now() >= deadline {
            scan.complete = false;
            break;
        }
        match scan.process(pid, &names, deadline) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && pid != INIT => {
                scan.hidden_processes.extend(Credentials::of(pid).filter(|identity| !identity.dead));
            }
            // One that ended meanwhile has nothing open.
            Err(_) | Ok(()) => {}
        }
    }
    scan
}

impl DescriptorScan {
    fn process(
        &mut self,
        pid: u32,
        names: &HashMap<OsString, Vec<(usize, Role)>>,
        deadline: Instant,
    ) -> io::Result<()> {
        for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            if Instant::now() >= deadline {
                self.complete = false;
                break;
            }
            let Ok(link) = std::fs::read_link(descriptor?.path()) else { continue };
            let Some((name, is_deleted)) = parse_link(&link) else { continue };
            for (database, role) in names.get(&name).into_iter().flatten() {
                if (*role == Role::Deleted) == is_deleted {
                    self.matches.entry(*database).or_default().insert((pid, *role));
                }
            }
        }
        Ok(())
    }
}

/// The file's own name in a link of `/proc`, and whether the file is deleted; `None` for a socket,
/// pipe and the like.
fn parse_link(link: &Path) -> Option<(OsString, bool)> {
    if !link.has_root() {
        return None;
    }
    let name = link.file_name()?.as_bytes();
    Some(match name.strip_suffix(DELETED) {
        Some(former) => (OsString::from_vec(former.to_vec()), true),
        None => (OsString::from_vec(name.to_vec()), false),
    })
}

/// The names to look for. The directory is not compared, as it may have another name in another
/// mount namespace.
fn names_to_find(databases: &[&DatabaseFiles]) -> HashMap<OsString, Vec<(usize, Role)>> {
    let mut names: HashMap<OsString, Vec<(usize, Role)>> = HashMap::new();
    for (index, files) in databases.iter().enumerate() {
        let main = Path::new(OsStr::from_bytes(files.main.as_bytes()));
        let Some(main) = main.file_name() else { continue };
        for (suffix, role) in [("", Role::Deleted), ("-wal", Role::Deleted), ("-shm", Role::Shm)] {
            let mut name = main.to_owned();
            name.push(suffix);
            names.entry(name).or_default().push((index, role));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_taken_apart() {
        for (link, expected) in [
            ("/srv/app.db", Some(("app.db", false))),
            ("/srv/app.db-wal (deleted)", Some(("app.db-wal", true))),
            ("socket:[123]", None),
            ("anon_inode:[eventfd]", None),
        ] {
            let matches = parse_link(Path::new(link));
            let matches = matches.as_ref().map(|(name, deleted)| (name.to_str().unwrap(), *deleted));
            assert_eq!(matches, expected, "{link}");
        }
    }

    #[test]
    fn a_shared_memory_is_suspect_only_without_a_lock_on_the_main_file() {
        let mut scan = DescriptorScan::default();
        scan.matches.insert(3, HashSet::from([(7, Role::Shm), (8, Role::Deleted)]));
        assert_eq!(scan.suspects(3, false).collect::<Vec<_>>(), [8]);
        assert_eq!(scan.suspects(3, true).count(), 2);
        assert_eq!(scan.suspects(4, true).count(), 0);
    }
}
