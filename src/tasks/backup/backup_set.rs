//! The backups of one database in a directory: names, identity and rotation.
//!
//! The name of a backup contains the identity that the state file keeps for the database's path.
//! A database that gets the same name later, or one on another host that shares the directory, has
//! a different identity, so it never removes these backups.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use chrono::DateTime;
use chrono::Utc;
pub use litekeeper_scrub::manifest::Origin as BackupOwner;
use litekeeper_scrub::manifest::SUFFIX as MANIFEST_SUFFIX;

use crate::database::Database;
use crate::database::DatabaseName;
use crate::os::PendingFile;
use crate::os::hostname;
use crate::os::sync_directory;
use crate::os::xattr;

use crate::tasks::backup::copy::PENDING_SUFFIX;
use crate::tasks::backup::manifest_file::manifest_path;

/// The extension of backups. Discovery does not search directories for it, because a backup is not
/// a database to monitor.
const SUFFIX: &str = ".backup";

/// The start time of the copy in UTC. Names sort by time because the length is fixed.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%S%.3fZ";
const TIME_LENGTH: usize = "20260102T030405.678Z".len();

/// The extended attribute (xattr(7)) of a backup file that names the database.
const OWNER_ATTRIBUTE: &str = "user.litekeeper.database";

/// Hexadecimal digits of an identity.
const ID_LENGTH: usize = 12;

/// Identifies the database to which backups belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupIdentity {
    /// Random hexadecimal digits, generated once for the database's path and kept in the state file.
    pub id: String,
    /// Whether backups of earlier versions, whose names contain no identity, are known to belong to
    /// this database.
    pub owns_unmarked: bool,
}

/// Backups of this database and of others, each list oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Backups of this database.
    pub own: Vec<PathBuf>,
    /// Backups of other databases, or not known to be of this one.
    pub others: Vec<PathBuf>,
}

/// The backups of one database in a directory.
pub(super) struct BackupSet<'s> {
    directory: &'s Path,
    prefix: String,
    identity: &'s BackupIdentity,
}

impl<'s> BackupSet<'s> {
    pub(super) fn new(directory: &'s Path, name: &DatabaseName, identity: &'s BackupIdentity) -> Self {
        // The encoding is injective, so that no two databases have the same prefix.
        let safe = name.as_str().replace('%', "%25").replace('/', "%2F").replace('\0', "%00");
        Self { directory, prefix: format!("{safe}-"), identity }
    }

    /// Lists the files whose name has this start and end around a timestamp.
    fn list(&self, before: &str, end: &str) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in std::fs::read_dir(self.directory)? {
            let name = entry?.file_name();
            let middle = name
                .to_str()
                .and_then(|name| name.strip_prefix(before)?.strip_prefix(&self.prefix)?.strip_suffix(end));
            let Some(id) = middle.and_then(id_after_time) else { continue };
            let is_own = match id {
                Some(id) => id == self.identity.id,
                None => self.identity.owns_unmarked,
            };
            if is_own { &mut found.own } else { &mut found.others }.push(self.directory.join(name));
        }
        found.own.sort();
        found.others.sort();
        Ok(found)
    }

    /// Every backup with the name of this database.
    pub(super) fn backups(&self) -> io::Result<Found> {
        self.list("", SUFFIX)
    }

    /// Removes incomplete files of runs that were killed, and manifests whose backup is missing.
    pub(super) fn remove_incomplete(&self) -> io::Result<()> {
        for end in [format!("{SUFFIX}{PENDING_SUFFIX}"), format!("{SUFFIX}{MANIFEST_SUFFIX}{PENDING_SUFFIX}")]
        {
            self.list(".", &end)?.own.iter().try_for_each(std::fs::remove_file)?;
        }
        let backups = self.backups()?.own;
        let manifests = self.list("", &format!("{SUFFIX}{MANIFEST_SUFFIX}"))?.own;
        let is_orphan =
            |manifest: &&PathBuf| !backups.iter().any(|backup| manifest_path(backup) == **manifest);
        manifests.iter().filter(is_orphan).try_for_each(std::fs::remove_file)
    }

    /// Returns the path of a backup that starts now.
    pub(super) fn new_path(&self, now: SystemTime) -> PathBuf {
        let time = DateTime::<Utc>::from(now).format(TIME_FORMAT);
        self.directory.join(format!("{}{time}-{}{SUFFIX}", self.prefix, self.identity.id))
    }

    /// Returns the origin of a backup of the database.
    pub(super) fn origin(&self, database: &Database) -> BackupOwner {
        BackupOwner {
            id: self.identity.id.clone(),
            database: database.name.as_str().to_owned(),
            path: database.path.to_string_lossy().into_owned(),
            host: hostname(),
        }
    }

    /// Removes backups with their manifests. A manifest goes last, so that no backup lacks one.
    pub(super) fn remove(&self, backups: &[PathBuf]) -> io::Result<()> {
        for backup in backups {
            std::fs::remove_file(backup)?;
            match std::fs::remove_file(manifest_path(backup)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if backups.is_empty() { Ok(()) } else { sync_directory(self.directory) }
    }
}

/// Returns the identity in the part of a file name that follows the database's name: `Some(None)`
/// for a backup of an earlier version, `None` if the name is not a backup's.
fn id_after_time(text: &str) -> Option<Option<&str>> {
    let (time, rest) = text.split_at_checked(TIME_LENGTH)?;
    chrono::NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()?;
    match rest {
        "" => Some(None),
        rest => rest.strip_prefix('-').filter(|id| is_id(id)).map(Some),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the identity in the name of a backup; `None` if it is of an earlier version or renamed.
#[must_use]
pub fn backup_id(backup: &Path) -> Option<&str> {
    let name = backup.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let (before, id) = name.rsplit_once('-')?;
    let time = before.get(before.len().checked_sub(TIME_LENGTH)?..)?;
    chrono::NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()?;
    is_id(id).then_some(id)
}

/// Records the origin of a new backup in an attribute of its file, if the file system supports
/// extended attributes.
pub(super) fn describe(file: &PendingFile, origin: &BackupOwner) {
    if let Ok(text) = serde_json::to_vec(origin) {
        file.set_xattr(OWNER_ATTRIBUTE, &text);
    }
}

/// Reads the origin of a backup from the attribute of its file.
#[must_use]
pub(super) fn owner_of(backup: &Path) -> Option<BackupOwner> {
    serde_json::from_slice(&xattr(backup, OWNER_ATTRIBUTE)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::backup::copy::pending_path;

    const OWN: &str = "0123456789ab";
    const OTHER: &str = "ba9876543210";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    fn make(path: &Path) {
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn rotation_removes_the_oldest_backups_of_this_database_only() {
        let directory = tempfile::tempdir().unwrap();
        let identity = |id: &str| BackupIdentity { id: id.to_owned(), owns_unmarked: false };
        let (own, other) = (identity(OWN), identity(OTHER));
        let set = |name: &str, identity| BackupSet {
            directory: directory.path(),
            prefix: format!("{name}-"),
            identity,
        };
        let app = set("app", &own);
        for seconds in [3, 1, 2, 4] {
            make(&app.new_path(at(seconds)));
            make(&manifest_path(&app.new_path(at(seconds))));
        }
        let kept = [
            set("app-2", &own).new_path(at(1)),
            set("app", &other).new_path(at(1)),
            pending_path(&set("app-2", &own).new_path(at(9))),
            pending_path(&set("app", &other).new_path(at(9))),
            directory.path().join("app-notes.backup"),
            directory.path().join("app-19700101T000001.000Z.backup"),
            directory.path().join("app-19700101T000001.000Z-copy.backup"),
        ];
        kept.iter().for_each(|path| make(path));
        let incomplete = pending_path(&app.new_path(at(9)));
        make(&incomplete);
        let found = app.backups().unwrap();
        assert_eq!((found.own.len(), found.others.len()), (4, 2), "{found:?}");
        app.remove_incomplete().unwrap();
        assert!(!incomplete.exists());
        let removed = [app.new_path(at(1)), app.new_path(at(2))];
        app.remove(&removed).unwrap();
        assert!(removed.iter().all(|path| !path.exists() && !manifest_path(path).exists()));
        assert_eq!(app.backups().unwrap().own, [app.new_path(at(3)), app.new_path(at(4))]);
        for path in kept {
            assert!(path.exists(), "{}", path.display());
        }
    }

    #[test]
    fn a_manifest_goes_with_its_backup_and_one_without_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let identity = |id: &str| BackupIdentity { id: id.to_owned(), owns_unmarked: false };
        let (own, other) = (identity(OWN), identity(OTHER));
        let set = |identity| BackupSet { directory: directory.path(), prefix: "app-".to_owned(), identity };
        let backup = set(&own).new_path(at(1));
        let kept = [backup.clone(), manifest_path(&backup), manifest_path(&set(&other).new_path(at(2)))];
        let orphans = [
            manifest_path(&set(&own).new_path(at(2))),
            pending_path(&manifest_path(&set(&own).new_path(at(3)))),
        ];
        kept.iter().chain(&orphans).for_each(|path| make(path));
        set(&own).remove_incomplete().unwrap();
        assert!(kept.iter().all(|path| path.exists()) && orphans.iter().all(|path| !path.exists()));
        set(&own).remove(&[backup]).unwrap();
        assert!(!kept[0].exists() && !kept[1].exists() && kept[2].exists());
    }

    #[test]
    fn backups_of_earlier_versions_are_own_only_where_they_are_known_to_be() {
        let directory = tempfile::tempdir().unwrap();
        make(&directory.path().join("app-19700101T000001.000Z.backup"));
        for (owns_unmarked, own) in [(false, 0), (true, 1)] {
            let identity = BackupIdentity { id: OWN.to_owned(), owns_unmarked };
            let set =
                BackupSet { directory: directory.path(), prefix: "app-".to_owned(), identity: &identity };
            assert_eq!(set.backups().unwrap().own.len(), own);
        }
    }

    #[test]
    fn an_identity_is_read_from_a_name() {
        for (name, expected) in [
            ("app-20260102T030405.678Z-0123456789ab.backup", Some(OWN)),
            ("a-b-20260102T030405.678Z-0123456789ab.backup", Some(OWN)),
            ("app-20260102T030405.678Z.backup", None),
            ("app-20260102T030405.678Z-0123456789AB.backup", None),
            ("app-20260102T030405.678Z-0123.backup", None),
            ("app-0123456789ab.backup", None),
            ("ä0260102T030405.678Z-0123456789ab.backup", None),
            ("restored.db", None),
        ] {
            assert_eq!(backup_id(Path::new(name)), expected, "{name}");
        }
    }
}
