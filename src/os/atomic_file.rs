//! Files of our own that are copies of databases: made aside, brought to the disk, and given their
//! name when they are proved.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::Uid;

/// A file under a temporary name, which goes with it unless it was given its own.
#[derive(Debug)]
pub struct PendingFile {
    path: PathBuf,
    is_renamed: bool,
}

impl PendingFile {
    /// Makes an empty file that nobody but this user may read; one that is there already goes.
    ///
    /// # Errors
    /// What the system says of the directory.
    pub fn create(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        #[expect(clippy::disallowed_methods, reason = "a copy of our own, which no application has open")]
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), is_renamed: false })
    }

    /// Where it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a text beside its content, in an extended attribute; without effect where the file
    /// system has none.
    pub fn set_xattr(&self, name: &str, value: &[u8]) {
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::setxattr(&self.path, name, value, rustix::fs::XattrFlags::empty());
        #[cfg(not(target_os = "linux"))]
        let _ = (name, value);
    }

    /// The file itself, to be written and read.
    ///
    /// # Errors
    /// The system's.
    pub fn open(&self) -> io::Result<std::fs::File> {
        #[expect(clippy::disallowed_methods, reason = "as above")]
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    /// Brings what was written to the disk, and lets go of what the system keeps of it in memory,
    /// so that it is read from the disk next, and the owner's pages are not pushed out by ours.
    ///
    /// # Errors
    /// The disk's: then nothing is known of the content.
    pub fn sync(&self) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "as above")]
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.sync_all()?;
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    /// Gives it the owner and the mode of a file, or less: where the owner or the group cannot be
    /// given, as only root can, the group of the copy may not read it.
    ///
    /// # Errors
    /// The system does not let its mode be changed.
    pub fn restrict_permissions_like(&self, model: &CStr) -> io::Result<()> {
        const READ_AND_WRITE: u32 = 0o666;
        const GROUP: u32 = 0o070;
        let wanted = rustix::fs::stat(model)?;
        let owned = rustix::fs::chownat(
            CWD,
            &self.path,
            Some(Uid::from_raw(wanted.st_uid)),
            Some(Gid::from_raw(wanted.st_gid)),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        );
        let mut mode = wanted.st_mode & READ_AND_WRITE;
        if owned.is_err() && rustix::fs::stat(&self.path)?.st_gid != wanted.st_gid {
            mode &= !GROUP;
        }
        rustix::fs::chmodat(CWD, &self.path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?;
        Ok(())
    }

    /// Gives it its name, where there is nothing yet, and makes that last.
    ///
    /// # Errors
    /// `AlreadyExists`; what the system says of the directory. The file is removed then.
    pub fn rename_noreplace(mut self, path: &Path) -> io::Result<()> {
        rename_to_new(&self.path, path)?;
        self.is_renamed = true;
        sync_directory(parent_of(path))
    }

    /// Gives it its name in place of what has it, in one step, and makes that last.
    ///
    /// # Errors
    /// What the system says of the directory. The file is removed then.
    pub fn replace(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.is_renamed = true;
        sync_directory(parent_of(path))
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An extended attribute of a file; `None` where it has none.
#[must_use]
pub fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    #[cfg(target_os = "linux")]
    {
        const MAX_BYTES: usize = 65_536;
        let mut value = vec![0; MAX_BYTES];
        let length = rustix::fs::getxattr(path, name, value.as_mut_slice()).ok()?;
        value.truncate(length);
        Some(value)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (path, name);
        None
    }
}

/// Renames a file to a name that nothing has, in one step where the file system can do it.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        match rustix::fs::renameat_with(CWD, from, CWD, to, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return Ok(other?),
        }
    }
    // A link fails where the name is taken, too.
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

/// Makes names that were given or taken in a directory last.
///
/// # Errors
/// What the system says.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a directory")]
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_renamed_once_and_its_permissions_never_widen() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let model = place("model");
        std::fs::write(&model, "model").unwrap();
        std::fs::set_permissions(&model, std::fs::Permissions::from_mode(0o640)).unwrap();
        let model = std::ffi::CString::new(model.to_str().unwrap()).unwrap();
        let pending = PendingFile::create(&place("aside")).unwrap();
        assert_eq!(std::fs::metadata(pending.path()).unwrap().mode() & 0o777, 0o600);
        pending.restrict_permissions_like(&model).unwrap();
        pending.sync().unwrap();
        pending.rename_noreplace(&place("named")).unwrap();
        assert_eq!(std::fs::metadata(place("named")).unwrap().mode() & 0o777, 0o640);
        let second = PendingFile::create(&place("aside")).unwrap();
        let error = second.rename_noreplace(&place("named")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(PendingFile::create(&place("third")).unwrap());
        let mut left: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["model", "named"]);
    }
}
