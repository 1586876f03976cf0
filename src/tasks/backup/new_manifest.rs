//! The manifest of a backup that is being made.
//!
//! It gets its name just before the backup does, so that a backup under its name has a manifest. A
//! run that is killed between the two leaves a manifest without a backup, which the next run
//! removes.

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use litekeeper_scrub::manifest::Header;
use litekeeper_scrub::manifest::Manifest;
use litekeeper_scrub::manifest::ManifestError;
use litekeeper_scrub::manifest::ManifestWriter;
use litekeeper_scrub::manifest::Origin;

use crate::collectors::unix_seconds;
use crate::os::PendingFile;

use crate::tasks::backup::copy::pending_path;
use crate::tasks::backup::manifest_file::manifest_path;
use crate::tasks::backup::verified_copy::Verification;

/// A manifest under a temporary name.
pub(super) struct NewManifest {
    pending: PendingFile,
    writer: ManifestWriter,
    header: Header,
    path: PathBuf,
}

impl NewManifest {
    pub(super) fn create(backup: &Path, origin: Origin, made_at: SystemTime) -> io::Result<Self> {
        let path = manifest_path(backup);
        let pending = PendingFile::create(&pending_path(&path))?;
        let header = Header {
            litekeeper: env!("CARGO_PKG_VERSION").to_owned(),
            backup: backup.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            origin,
            made_at: unix_seconds(made_at),
            ..Header::default()
        };
        let writer = ManifestWriter::new(pending.open()?, &header)?;
        Ok(Self { pending, writer, header, path })
    }

    pub(super) fn writer(&self) -> &ManifestWriter {
        &self.writer
    }

    /// Completes the manifest of a copy that was verified, reads it again from the disk, and gives
    /// it its name. It gets the permissions of `model`.
    pub(super) fn publish(
        mut self,
        verification: &Verification,
        model: &CStr,
    ) -> io::Result<PublishedManifest> {
        self.header.verified_at = verification.verified_at;
        self.header.page_size = verification.page_size;
        self.header.pages = verification.pages;
        self.header.file_size = verification.size_bytes;
        self.header.sha256.clone_from(&verification.sha256);
        self.writer.finish(&self.header)?;
        self.pending.restrict_permissions_like(model)?;
        self.pending.sync()?;
        let written = self.pending.open().map_err(ManifestError::Io).and_then(Manifest::read);
        let sound = written.and_then(|manifest| {
            manifest.check()?;
            Ok(*manifest.header() == self.header)
        });
        match sound {
            Ok(true) => {}
            Ok(false) => return Err(io::Error::other("the disk returned another header than was written")),
            Err(error) => return Err(io::Error::other(error)),
        }
        self.pending.rename_noreplace(&self.path)?;
        Ok(PublishedManifest { path: self.path, is_kept: false })
    }
}

/// A manifest under its name, which is removed unless its backup gets its name, too.
pub(super) struct PublishedManifest {
    path: PathBuf,
    is_kept: bool,
}

impl PublishedManifest {
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for PublishedManifest {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
