//! The file that receives the pages of a copy, and with them its manifest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use litekeeper_scrub::manifest::ManifestWriter;

use crate::os::PendingFile;

/// An open copy. What is written to it is in memory as it was read from the database, so that the
/// hashes of the manifest are not those of a copy that a disk has changed already.
pub(super) struct CopyTarget<'t> {
    file: File,
    manifest: Option<&'t ManifestWriter>,
}

impl<'t> CopyTarget<'t> {
    pub(super) fn open(pending: &PendingFile, manifest: Option<&'t ManifestWriter>) -> io::Result<Self> {
        if let Some(manifest) = manifest {
            manifest.restart();
        }
        Ok(Self { file: pending.open()?, manifest })
    }

    /// Writes pages at an offset, and their hashes to the manifest.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let Some(manifest) = self.manifest else { return Ok(()) };
        manifest
            .write(offset, bytes)
            .map_err(|error| io::Error::new(error.kind(), format!("the manifest cannot be written: {error}")))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn set_len(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }
}
