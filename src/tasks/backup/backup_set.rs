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
use serde::Deserialize;
use serde::Serialize;

use crate::database::Database;
use crate::database::DatabaseName;
use crate::os::PendingFile;
use crate::os::hostname;
use crate::os::sync_directory;
use crate::os::xattr;

use crate::tasks::backup::copy::PENDING_SUFFIX;

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

/// The origin of a backup, as recorded in the attribute of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupOwner {
    /// See [`BackupIdentity::id`].
    pub id: String,
    /// The name of the database in the configuration.
    pub database: String,
    /// The path of the database.
    pub path: String,
    /// The name of the host that made the backup.
    pub host: String,
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

    /// Removes incomplete files of runs that were killed.
    pub(super) fn remove_incomplete(&self) -> io::Result<()> {
        let end = format!("{SUFFIX}{PENDING_SUFFIX}");
        self.list(".", &end)?.own.iter().try_for_each(std::fs::remove_file)
    }

    /// Returns the path of a backup that starts now.
    pub(super) fn new_path(&self, now: SystemTime) -> PathBuf {
        let time = DateTime::<Utc>::from(now).format(TIME_FORMAT);
        self.directory.join(format!("{}{time}-{}{SUFFIX}", self.prefix, self.identity.id))
    }

    /// Removes the oldest backups of this database until `keep` remain. The new one always remains,
    /// whatever time its name contains.
    pub(super) fn prune(&self, new: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
        let mut older = self.backups()?.own;
        older.retain(|path| path != new);
        let surplus = (older.len() + 1).saturating_sub(keep);
        let removed: Vec<PathBuf> = older.drain(..surplus).collect();
        for path in &removed {
            std::fs::remove_file(path)?;
        }
        if !removed.is_empty() {
            sync_directory(self.directory)?;
        }
        Ok(removed)
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
pub(super) fn describe(file: &PendingFile, identity: &BackupIdentity, database: &Database) {
    let owner = BackupOwner {
        id: identity.id.clone(),
        database: database.name.as_str().to_owned(),
        path: database.path.to_string_lossy().into_owned(),
        host: hostname(),
    };
    if let Ok(text) = serde_json::to_vec(&owner) {
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
        // The clock was set back: the new backup remains although its name sorts first.
        let new = app.new_path(at(0));
        make(&new);
        assert_eq!(app.prune(&new, 3).unwrap(), [app.new_path(at(1)), app.new_path(at(2))]);
        assert_eq!(app.backups().unwrap().own.len(), 3);
        assert!(new.exists());
        for path in kept {
            assert!(path.exists(), "{}", path.display());
        }
    }

    #[test]
    fn backups_of_earlier_versions_are_removed_only_if_known_to_be_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("app-19700101T000001.000Z.backup");
        for (owns_unmarked, removed) in [(false, 0), (true, 1)] {
            make(&old);
            let identity = BackupIdentity { id: OWN.to_owned(), owns_unmarked };
            let set =
                BackupSet { directory: directory.path(), prefix: "app-".to_owned(), identity: &identity };
            let new = set.new_path(at(5));
            make(&new);
            assert_eq!(set.prune(&new, 1).unwrap().len(), removed);
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
