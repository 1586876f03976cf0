//! Compares a backup with its manifest.

use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use litekeeper_scrub::manifest::Compared;
use litekeeper_scrub::manifest::Header;
use litekeeper_scrub::manifest::Manifest;
use litekeeper_scrub::manifest::ManifestError;
use litekeeper_scrub::manifest::Origin;
use serde::Serialize;

use crate::limits::QueryLimits;
use crate::os::DiskReader;

use crate::tasks::backup::compare::CompareError;
use crate::tasks::backup::compare::PageHashes;
use crate::tasks::backup::compare::compare;
use crate::tasks::backup::manifest_file::manifest_path;
use crate::tasks::backup::page_list::page_list;

/// What a comparison with the manifest shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestStatus {
    /// The backup is what it was when it was made.
    Matches,
    /// The backup has changed since it was made.
    Differs,
    /// There is no manifest: an earlier version made the backup, or the manifest was removed.
    Missing,
    /// The manifest itself is damaged or cannot be read.
    Damaged,
    /// The manifest names another backup, and does not fit this one.
    OtherBackup,
}

/// The comparison of a backup with its manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ManifestCheck {
    /// The result.
    pub status: ManifestStatus,
    /// The manifest.
    pub path: PathBuf,
    /// Pages that were compared.
    pub pages: u32,
    /// Pages that differ from the manifest, with those that are missing at the end.
    pub differing_pages: u32,
    /// The numbers of the first 1000 of them.
    pub first_differing_pages: Vec<u32>,
    /// SHA-256 of the file, as `sha256sum` prints it; `null` if the file was not read.
    pub sha256: Option<String>,
    /// Whether that is the SHA-256 in the manifest.
    pub sha256_matches: Option<bool>,
    /// The database of the backup, by the manifest.
    pub origin: Option<Origin>,
    /// When the backup was made and verified, in seconds since 1970, by the manifest.
    pub verified_at: Option<f64>,
    /// An explanation of the status; `null` if the backup matches.
    pub detail: Option<String>,
}

impl ManifestCheck {
    fn without_comparison(status: ManifestStatus, path: PathBuf, detail: String) -> Self {
        Self {
            status,
            path,
            pages: 0,
            differing_pages: 0,
            first_differing_pages: Vec::new(),
            sha256: None,
            sha256_matches: None,
            origin: None,
            verified_at: None,
            detail: Some(detail),
        }
    }

    /// Whether the content of the backup is proved to be what it was: by the hashes of its pages,
    /// or by that of the file.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let by_file = self.status == ManifestStatus::Damaged && self.sha256_matches == Some(true);
        self.status == ManifestStatus::Matches || by_file
    }

    /// Whether the content of the backup is proved to have changed.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.status == ManifestStatus::Differs
    }

    /// The result in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let detail = self.detail.as_deref().unwrap_or("every page is as it was when the backup was made");
        let status = match self.status {
            ManifestStatus::Matches => "matches",
            ManifestStatus::Differs => "DIFFERS",
            ManifestStatus::Missing => "missing",
            ManifestStatus::Damaged => "damaged",
            ManifestStatus::OtherBackup => "of another backup",
        };
        format!("{status}: {detail}")
    }
}

/// Opens the manifest of a backup; `None` if there is none.
///
/// # Errors
/// It cannot be read, is damaged, or is of a newer version.
pub(super) fn open_manifest(backup: &Path) -> Result<Option<Manifest>, ManifestError> {
    #[expect(clippy::disallowed_methods, reason = "a manifest is no database")]
    match File::open(manifest_path(backup)) {
        Ok(file) if file.metadata()?.is_file() => Manifest::read(file).map(Some),
        Ok(_) => Err(ManifestError::Damaged("it is not a regular file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Compares a backup with its manifest. `rate` is the most bytes per second; `progress` receives the
/// share that is done.
///
/// # Errors
/// The backup cannot be read, or the comparison was stopped.
pub fn check_manifest(
    backup: &Path,
    rate: Option<u64>,
    limits: &QueryLimits,
    progress: impl Fn(f64),
) -> Result<ManifestCheck, CompareError> {
    let path = manifest_path(backup);
    let manifest = match open_manifest(backup) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => {
            let detail = "there is no manifest, because an earlier version made the backup, or because it was moved without its \
                          manifest; only SQLite's check can find damage";
            return Ok(ManifestCheck::without_comparison(ManifestStatus::Missing, path, detail.to_owned()));
        }
        Err(error) => {
            let detail = format!(
                "{error}; this says nothing of the backup, and only SQLite's check can find damage in it"
            );
            return Ok(ManifestCheck::without_comparison(ManifestStatus::Damaged, path, detail));
        }
    };
    let header = manifest.header().clone();
    let mut reader = DiskReader::open(backup)?;
    let size = reader.size();
    let blocks = |number: u64| manifest.block(number);
    let hashes = PageHashes { blocks: &blocks, page_size: header.page_size, pages: header.pages };
    let compared = compare(&mut reader, &hashes, rate, limits, |done| {
        progress(done as f64 / size.max(1) as f64);
    })?;
    let sha256_matches = compared.sha256 == header.sha256;
    let (status, detail) = judge(backup, &header, size, &compared, sha256_matches);
    Ok(ManifestCheck {
        status,
        path,
        pages: compared.equal + compared.different,
        differing_pages: compared.different,
        first_differing_pages: compared.first_different,
        sha256: Some(compared.sha256),
        sha256_matches: Some(sha256_matches),
        origin: Some(header.origin),
        verified_at: Some(header.verified_at),
        detail,
    })
}

/// The status of a backup that was compared, and an explanation.
fn judge(
    backup: &Path,
    header: &Header,
    size: u64,
    compared: &Compared,
    sha256_matches: bool,
) -> (ManifestStatus, Option<String>) {
    let mut problems = Vec::new();
    if size != header.file_size {
        problems.push(format!("the backup has {size} bytes instead of {}", header.file_size));
    }
    if compared.different > 0 {
        let pages = page_list(&compared.first_different, compared.different);
        let verb = if compared.different == 1 { "differs" } else { "differ" };
        problems.push(format!("{pages} {verb} from what was written"));
    }
    let unknown = compared.unknown_because.as_deref().unwrap_or_default();
    if problems.is_empty() && compared.unknown > 0 && !sha256_matches {
        let pages = page_list(&[], compared.unknown);
        problems
            .push(format!("the SHA-256 differs, in one of the {pages} whose hash is not known: {unknown}"));
    }
    let name = backup.file_name().unwrap_or_default().to_string_lossy();
    let is_other = header.backup != name;
    match problems.as_slice() {
        [] if compared.unknown > 0 => {
            let detail = format!("{unknown}; the backup is what it was, because its SHA-256 fits");
            (ManifestStatus::Damaged, Some(detail))
        }
        [] => (ManifestStatus::Matches, None),
        problems if is_other => {
            let detail = format!(
                "the manifest is of {}, and does not fit: {}; if the backup was renamed, it is damaged",
                header.backup,
                problems.join("; ")
            );
            (ManifestStatus::OtherBackup, Some(detail))
        }
        problems => (ManifestStatus::Differs, Some(problems.join("; "))),
    }
}
