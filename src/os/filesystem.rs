//! The file system under a database: its space, its type, and whether WAL is safe on it.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::sync::Arc;

/// What an operator must know of the file system under a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemFacts {
    /// Bytes that an ordinary user may still write.
    pub available_bytes: u64,
    /// Bytes in all.
    pub size_bytes: u64,
    /// The type as the mount table names it.
    pub fstype: Arc<str>,
    /// Whether it is shared between machines or virtual ones, so that the shared memory of a WAL is
    /// not shared by all (<https://www.sqlite.org/wal.html>, "WAL does not work over a network
    /// filesystem").
    pub network: bool,
}

/// Types on which WAL is unsafe and POSIX locks are doubtful. Everything `fuse.*` counts too.
const NETWORK_TYPES: [&str; 14] = [
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "virtiofs", "fuse", "fuseblk", "ceph", "lustre",
    "afs", "gfs2",
];

/// Types by their number in `statfs`, for mounts whose device differs from the mount table's
/// (Btrfs subvolumes, overlays). From statfs(2).
const TYPES_BY_MAGIC: [(u64, &str); 14] = [
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x794C_7630, "overlay"),
    (0x2FC1_2FC1, "zfs"),
    (0xF2F5_2010, "f2fs"),
    (0x6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x00C3_6400, "ceph"),
    (0x4D44, "vfat"),
];

/// The mounts of this process. The device of each is that of its superblock.
#[derive(Debug, Default)]
pub struct MountTable {
    /// File-system types by device.
    types: HashMap<u64, Arc<str>>,
    /// Devices by the number of the mount.
    devices: HashMap<u64, u64>,
}

impl MountTable {
    /// Reads `/proc/self/mountinfo`. Empty where there is none; the types then come from `statfs`
    /// alone.
    #[must_use]
    pub fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a file of /proc, never a database")]
        let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Lines of proc_pid_mountinfo(5): `36 35 98:0 /root /mount options - type source super`.
    fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let mut words = line.split(' ');
            let mount: u64 = words.next()?.parse().ok()?;
            let (major, minor) = words.nth(1)?.split_once(':')?;
            let fstype = line.split_once(" - ")?.1.split(' ').next()?;
            let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
            Some((mount, device, Arc::from(fstype)))
        };
        let mut mounts = Self::default();
        for (mount, device, fstype) in text.lines().filter_map(entry) {
            mounts.types.insert(device, fstype);
            mounts.devices.insert(mount, device);
        }
        mounts
    }

    /// The device under which the kernel lists locks on a file: that of the superblock. Btrfs gives
    /// every subvolume a device of its own to `stat`, an overlay every layer; then the file's mount
    /// tells. It costs nothing where `stat` gives a mount's device, and otherwise one system call
    /// that may hang with the file system.
    ///
    /// `None` where the kernel does not tell (before Linux 5.8): locks on such a file cannot be
    /// found.
    #[must_use]
    pub fn lock_device(&self, path: &CStr, device: u64) -> Option<u64> {
        if self.types.contains_key(&device) {
            return Some(device);
        }
        self.devices.get(&mount_of(path)?).copied()
    }
}

/// Asks the file system of a directory for its space. It may hang as long as the file system does.
///
/// # Errors
/// What the system says.
pub fn filesystem_facts(directory: &CStr, mounts: &MountTable) -> io::Result<FilesystemFacts> {
    let space = rustix::fs::statvfs(directory)?;
    let device = rustix::fs::stat(directory)?.st_dev;
    let fstype = match mounts.types.get(&device) {
        Some(fstype) => Arc::clone(fstype),
        None => Arc::from(type_by_magic(directory)?),
    };
    let network = NETWORK_TYPES.contains(&&*fstype) || fstype.starts_with("fuse.");
    Ok(FilesystemFacts {
        available_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        size_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        fstype,
        network,
    })
}

/// Whether a file is a mount by itself, as `docker run -v app.db:/app.db` makes one: the files that
/// SQLite keeps beside it (`-wal`, `-shm`, `-journal`) are then not visible here. False where the
/// kernel does not tell (before Linux 5.8).
#[must_use]
pub fn is_mounted_alone(file: &CStr) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(file.to_bytes()));
    let Some(directory) = path.parent() else { return false };
    let Ok(directory) = std::ffi::CString::new(directory.as_os_str().as_bytes()) else { return false };
    match (mount_of(file), mount_of(&directory)) {
        (Some(file), Some(directory)) => file != directory,
        (None, _) | (_, None) => false,
    }
}

#[cfg(target_os = "linux")]
fn mount_of(path: &CStr) -> Option<u64> {
    use rustix::fs::AtFlags;
    use rustix::fs::CWD;
    use rustix::fs::StatxFlags;
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID).then_some(stat.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_of(_path: &CStr) -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
fn type_by_magic(directory: &CStr) -> io::Result<&'static str> {
    let magic = rustix::fs::statfs(directory)?.f_type as u64 & 0xFFFF_FFFF;
    Ok(TYPES_BY_MAGIC.iter().find(|(number, _)| *number == magic).map_or("unknown", |(_, name)| name))
}

#[cfg(not(target_os = "linux"))]
fn type_by_magic(_directory: &CStr) -> io::Result<&'static str> {
    Ok("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_gives_types_by_device() {
        let text = "36 35 98:3 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                    40 35 0:52 / /srv rw shared:7 - fuse.sshfs host:/ rw\nnonsense\n";
        let mounts = MountTable::parse(text);
        assert_eq!(mounts.types.len(), 2);
        assert_eq!(&*mounts.types[&rustix::fs::makedev(98, 3)], "ext3");
        assert_eq!(&*mounts.types[&rustix::fs::makedev(0, 52)], "fuse.sshfs");
        assert_eq!(mounts.devices[&36], rustix::fs::makedev(98, 3));
        // The device of a mount is taken as it is; of another the file's own mount tells, here one
        // that is not listed.
        assert_eq!(mounts.lock_device(c"/tmp", 13_371_337), None);
        assert_eq!(
            mounts.lock_device(c"/nowhere", rustix::fs::makedev(0, 52)),
            Some(rustix::fs::makedev(0, 52))
        );
        assert_eq!(MountTable::default().lock_device(c"/nowhere", 1), None);
    }

    #[test]
    fn this_machine_answers() {
        let facts = filesystem_facts(c"/tmp", &MountTable::read()).unwrap();
        assert!(facts.size_bytes > 0 && facts.available_bytes <= facts.size_bytes, "{facts:?}");
        assert_ne!(&*facts.fstype, "unknown");
        let device = rustix::fs::stat(c"/proc").unwrap().st_dev;
        assert_eq!(MountTable::read().lock_device(c"/proc", 13_371_337), Some(device));
    }
}
