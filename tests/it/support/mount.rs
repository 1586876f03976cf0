//! File systems of a few megabytes, where this machine lets the tests make some.

use std::path::Path;
use std::process::Stdio;

/// Whether it does.
pub fn can_mount() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mounted = mount(directory.path(), "1m");
    if mounted {
        unmount(directory.path());
    }
    mounted
}

pub fn mount(directory: &Path, size: &str) -> bool {
    let mut command = std::process::Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory);
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

pub fn unmount(directory: &Path) {
    std::process::Command::new("umount").arg(directory).status().unwrap();
}
