//! How a report reads a rollback database beside an owner at work.
//!
//! A reader's lock makes the commit of an owner without a busy timeout fail, and any other wait. So
//! the database is read without a lock first, which is right if nobody commits until the end. If
//! somebody does, a private copy is made that is one state of the database, with a lock of
//! milliseconds at the most (see [`consistent_copy`]), and that is read. SQLite's locks on the
//! database itself are the last resort, where there is not enough free space for a copy or the lock
//! for it would be held for too long.
//!
//! The copy costs as much disk as the database has, in SQLite's temporary directory, until the
//! report is done. It has no name there as soon as it is open, so that nothing is left of it after
//! a kill.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::CopyOutcome;
use crate::collectors::CopySource;
use crate::collectors::consistent_copy;
use crate::collectors::read_consistently;
use crate::collectors::read_unlocked;
use crate::database_files::DatabaseFiles;
use crate::humanize::bytes;
use crate::os::MountTable;
use crate::os::PendingFile;
use crate::os::filesystem_facts;
use crate::os::stat;
use crate::sqlite::Access;
use crate::sqlite::BlockError;
use crate::sqlite::ErrorCode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::sqlite::temporary_directory;

use super::report::Report;
use super::report::Request;

/// How long a moment without a writer is waited for, before the read without a lock.
const UNLOCKED_TIMEOUT: Duration = Duration::from_millis(20);

/// So much stays free beside a private copy.
const MIN_FREE_BYTES: u64 = 100 * 1024 * 1024;

/// The longest hold for a copy where no limit was given: half of the second that common drivers
/// wait.
const MAX_COPY_HOLD: Duration = Duration::from_millis(500);

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The database itself.
    Database,
    /// A private copy of it.
    Copy {
        /// The size of the database's main file at that moment.
        main_bytes: u64,
    },
}

/// Reads a database in the way that costs its owner least. `read` may be called several times, each
/// time with a blank report.
pub(super) fn read_beside_owner(
    request: &Request,
    path: &Path,
    files: &DatabaseFiles,
    report: &mut Report,
    mut read: impl FnMut(&mut Reader, Source, Option<&mut Reader>, &mut Report) -> Result<(), SqliteError>,
) -> Result<Consistent<()>, ConsistentReadError<SqliteError>> {
    let blank = report.clone();
    let limits = &request.limits;
    let mut read_database = |reader: &mut Reader, report: &mut Report| {
        report.clone_from(&blank);
        read(reader, Source::Database, None, report)
    };
    if request.by_table {
        return read_consistently(path, files, limits, |reader| read_database(reader, report));
    }
    match read_unlocked(path, files, limits, UNLOCKED_TIMEOUT, |reader| read_database(reader, report)) {
        Ok(Consistent::Unstable) => {}
        Err(ConsistentReadError::Query(error)) if error.code() == Some(ErrorCode::Busy) => {}
        other => return other,
    }
    let (reason, mut inexact) = match private_copy(request, path, files)? {
        CopyAttempt::Made(mut copy) => {
            report.clone_from(&blank);
            report.max_hold = copy.max_hold;
            let stamp = copy.stamp;
            let main_bytes = copy.main_bytes;
            let answer = read(&mut copy.reader, Source::Copy { main_bytes }, None, report);
            return answer
                .map(|answer| Consistent::Read { answer, stamp })
                .map_err(ConsistentReadError::Query);
        }
        CopyAttempt::NotHere => (None, None),
        CopyAttempt::Impossible(reason) => (Some(reason), None),
        CopyAttempt::Inexact(reason, reader) => (Some(reason), Some(reader)),
    };
    read_consistently(path, files, limits, |reader| {
        report.clone_from(&blank);
        report.no_copy.clone_from(&reason);
        read(reader, Source::Database, inexact.as_deref_mut(), report)
    })
}

struct PrivateCopy {
    reader: Reader,
    main_bytes: u64,
    max_hold: Duration,
    stamp: crate::os::DatabaseFingerprint,
}

enum CopyAttempt {
    Made(Box<PrivateCopy>),
    /// It is no rollback database.
    NotHere,
    /// The reason.
    Impossible(String),
    /// The reason why it is not one state, and the copy, whose pages are of different moments.
    Inexact(String, Box<Reader>),
}

fn private_copy(
    request: &Request,
    path: &Path,
    files: &DatabaseFiles,
) -> Result<CopyAttempt, ConsistentReadError<SqliteError>> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let directory = temporary_directory();
    let failed = |error: io::Error| CopyAttempt::Impossible(format!("{}: {error}", directory.display()));
    let size = stat(&files.main)?.map_or(0, |main| main.size);
    match free_bytes(&directory) {
        Ok(available) if available < size.saturating_add(MIN_FREE_BYTES) => {
            return Ok(CopyAttempt::Impossible(format!(
                "{} has {} free, and the copy needs {}",
                directory.display(),
                bytes(available),
                bytes(size.saturating_add(MIN_FREE_BYTES))
            )));
        }
        Ok(_) => {}
        Err(error) => return Ok(failed(error)),
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!(".litekeeper-check-{}-{number}.incomplete", std::process::id());
    let place = match PendingFile::create(&directory.join(name)) {
        Ok(place) => place,
        Err(error) => return Ok(failed(error)),
    };
    let file = match place.open() {
        Ok(file) => file,
        Err(error) => return Ok(failed(error)),
    };
    let reader =
        Reader::open(place.path(), Access::Shared, &request.limits).map_err(ConsistentReadError::Query)?;
    drop(place);
    let stamp = crate::os::DatabaseFingerprint::read(files)?;
    let max_hold = request.impact_limits.map_or(MAX_COPY_HOLD, |impact_limits| impact_limits.max_copy_hold());
    let source = CopySource { path, files, max_hold, limits: &request.limits };
    let write = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at);
    match consistent_copy(source, &write, |_, _| Ok(())) {
        Ok(CopyOutcome::Made(made)) => {
            let (main_bytes, max_hold) = (made.size_bytes, made.max_hold);
            Ok(CopyAttempt::Made(Box::new(PrivateCopy { reader, main_bytes, max_hold, stamp })))
        }
        Ok(CopyOutcome::NotHere) => Ok(CopyAttempt::NotHere),
        Ok(CopyOutcome::TooLong(needed)) => {
            let reason = format!(
                "the lock for it would have to be held for {} ms, and {} ms are allowed (five times max_writer_wait, or half of \
                 owner_busy_timeout)",
                needed.as_millis(),
                max_hold.as_millis()
            );
            Ok(CopyAttempt::Inexact(reason, Box::new(reader)))
        }
        Err(BlockError::Read(error)) => Err(ConsistentReadError::Query(error)),
        Err(BlockError::Write(error)) => Ok(failed(error)),
    }
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    Ok(filesystem_facts(&path, &MountTable::read())?.available_bytes)
}
