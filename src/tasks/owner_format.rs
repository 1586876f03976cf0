//! Databases that litekeeper's own SQLite can read and must not write: their owner keeps more in
//! them than SQLite does.

use crate::database::Database;
use crate::os::stat;
use crate::sqlite::CHECKSUM_BYTES;
use crate::sqlite::Header;
use crate::tasks::access::Access;

use crate::tasks::reason::SkipReason;
use crate::tasks::stop::Stop;

/// Why only the owner may write a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerFormat {
    /// Each page ends with a checksum, or with the bytes for one (SQLite's cksumvfs): a page that a
    /// writer without that VFS leaves has the wrong one, and its owner gets an error for it.
    PageChecksums {
        /// Whether the first page has one that fits.
        verified: bool,
    },
    /// Processes that use Turso coordinate by a `-tshm` of their own, which a writer or checkpoint
    /// of SQLite does not see.
    Turso,
}

impl OwnerFormat {
    /// Looks at what was read, and beside the database.
    #[must_use]
    pub fn detect(database: &Database, header: &Header, has_checksums: bool) -> Option<Self> {
        if header.reserved_bytes == CHECKSUM_BYTES {
            return Some(Self::PageChecksums { verified: has_checksums });
        }
        let is_turso = stat(&database.files.turso_shm()).ok().flatten().is_some();
        is_turso.then_some(Self::Turso)
    }

    /// What was found, and what a writer would do to it.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::PageChecksums { verified: true } => {
                "each page ends with a checksum (SQLite's cksumvfs), which litekeeper's SQLite does not update: the application could \
                 not read a page that litekeeper wrote"
            }
            Self::PageChecksums { verified: false } => {
                "each page has 8 reserved bytes, as in databases with page checksums (SQLite's cksumvfs), although the first page has \
                 a wrong checksum; an application with that VFS could not read a page that litekeeper wrote"
            }
            Self::Turso => {
                "there is a -tshm beside the database: processes that use Turso coordinate through it, and ignore the locks and \
                 checkpoints of SQLite"
            }
        }
    }
}

/// Refuses a task that would write pages of such a database. A backup only reads.
pub(super) fn check_owner_format(access: Access, format: Option<OwnerFormat>) -> Result<(), Stop> {
    match format {
        Some(format) if access == Access::Writes => {
            let detail = format!("{}; only the application can do this", format.describe());
            Err(Stop::skipped(SkipReason::OwnerFormat, detail))
        }
        Some(_) | None => Ok(()),
    }
}
