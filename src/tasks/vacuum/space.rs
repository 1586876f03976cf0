//! The space that a full VACUUM needs.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::os::stat;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;

use crate::tasks::space::SpaceRequirement;
use crate::tasks::space::directory_of;
use crate::tasks::space::filesystem;
use crate::tasks::stop::Stop;
use crate::tasks::vacuum::hold::content;

/// The space that a full VACUUM needs, by directory: the copy in the temporary directory, and
/// beside the database the WAL with the whole copy, or the rollback journal with what was there
/// (<https://www.sqlite.org/lang_vacuum.html>).
///
/// # Errors
/// A failed run, where a file system does not report its free space.
pub fn space_requirements(
    database: &Path,
    header: &Header,
    temporary: &Path,
    min_free_space: u64,
) -> Result<Vec<SpaceRequirement>, Stop> {
    /// A frame of the WAL is a page with a header of 24 bytes.
    const FRAME_SHARE: u64 = 20;
    let copy = content(header);
    let (purpose, beside) = match header.journal_mode {
        JournalMode::Wal => ("WAL", copy + copy / FRAME_SHARE),
        JournalMode::Rollback => ("rollback journal", u64::from(header.pages) * u64::from(header.page_size)),
    };
    let home = directory_of(database);
    let temporary = CString::new(temporary.as_os_str().as_bytes()).unwrap_or_default();
    let need = |purpose, directory: &CString, bytes: u64| -> Result<SpaceRequirement, Stop> {
        let facts = filesystem(directory)?;
        let directory = directory.to_string_lossy().into_owned();
        Ok(SpaceRequirement {
            purpose,
            directory,
            bytes: bytes + min_free_space,
            available_bytes: facts.available_bytes,
        })
    };
    let device = |directory: &CString| stat(directory).ok().flatten().map(|stat| stat.device);
    if device(&home).is_some() && device(&home) == device(&temporary) {
        return Ok(vec![need("temporary copy and journal or WAL", &home, copy + beside)?]);
    }
    Ok(vec![need("temporary copy", &temporary, copy)?, need(purpose, &home, beside)?])
}
