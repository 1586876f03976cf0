//! A copy of a rollback database that is one state of it, made beside a writer that never rests.
//!
//! A reader's SHARED lock keeps every writer from committing, seen or not. So the file is copied
//! without a lock; if nobody wrote meanwhile, that is proved as in `unlocked`, and no lock was
//! taken. Else it is compared with the copy again, which writes only what has changed, and at last
//! once more under a SHARED lock, which makes the copy one state: while it is held, nobody can
//! change the file. So the lock is held for as long as the file takes to be read from memory and
//! hashed, whatever is written. Before it is taken, that time is measured without it; where it
//! would be too long, there is no copy.
//!
//! It must never hold the lock longer than allowed, or accept a copy that is not one state of the
//! database.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::os::DatabaseFingerprint;
use crate::os::stat;
use crate::sqlite::Access;
use crate::sqlite::BlockCopy;
use crate::sqlite::BlockError;
use crate::sqlite::BlockPass;
use crate::sqlite::ErrorCode;
use crate::sqlite::Header;
use crate::sqlite::JournalMode;
use crate::sqlite::Reader;
use crate::sqlite::SqliteError;
use crate::sqlite::WriteAt;

use super::unlocked::StableState;

/// Threads that compare. More would compete for processors with the owner, which continues as soon
/// as the lock is gone.
const MAX_READERS: usize = 4;

/// Comparisons without a lock before one with it, until one is fast enough: a machine that is busy
/// for a while is not what decides. An owner that rests during one of them is met by no lock.
const UNLOCKED_PASSES: u32 = 8;

/// How often the lock is taken before the copy is given up.
const LOCKED_PASSES: u32 = 3;

/// After a lock that was held in vain the owner has its turn for so many times as long.
const PAUSE_FACTOR: u32 = 20;

/// What is copied, and how long a lock may be held for it.
#[derive(Debug, Clone, Copy)]
pub struct CopySource<'s> {
    /// The database.
    pub path: &'s Path,
    /// Its files.
    pub files: &'s DatabaseFiles,
    /// The longest that writers may be kept from committing.
    pub max_hold: Duration,
    /// Limits of the work.
    pub limits: &'s QueryLimits,
}

/// A copy that is one state of the database.
#[derive(Debug)]
pub struct ConsistentCopy {
    /// The size of the main file, which can be longer than its pages.
    pub size_bytes: u64,
    /// The longest that the lock was held; 0 where none was needed.
    pub max_hold: Duration,
    /// Passes over the file.
    pub passes: u32,
}

/// What came of a copy.
#[derive(Debug)]
pub enum CopyOutcome {
    /// It was made.
    Made(ConsistentCopy),
    /// The database is not in rollback mode, or only SQLite's own locks can read it.
    NotHere,
    /// The lock would have to be held for this long.
    TooLong(Duration),
}

/// Copies a rollback database into an empty file, to which `write` writes: a block again if it has
/// changed. `progress` receives the bytes and the share that are copied.
///
/// # Errors
/// The database cannot be read, the copy cannot be written, or a limit ended the copy.
pub fn consistent_copy(
    source: CopySource<'_>,
    write: &WriteAt<'_>,
    progress: impl FnMut(u64, f64) -> io::Result<()>,
) -> Result<CopyOutcome, BlockError> {
    // It waits for locks by itself, so that the time of the wait is known.
    let no_wait = QueryLimits { busy_timeout: Duration::ZERO, ..source.limits.clone() };
    let reader = Reader::open(source.path, Access::Shared, &no_wait)?;
    let is_rollback = reader.mark().is_ok_and(|mark| mark.journal_mode() == JournalMode::Rollback);
    if DatabaseFingerprint::read(source.files)?.wal.is_some() || !is_rollback {
        return Ok(CopyOutcome::NotHere);
    }
    let mut copying =
        Copying { source, write, readers: vec![reader], blocks: BlockCopy::default(), passes: 0 };
    if let Some(size) = copying.unlocked_pass(progress)? {
        return Ok(CopyOutcome::Made(copying.made(size, Duration::ZERO)));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_READERS);
    for _ in 1..threads {
        copying.readers.push(Reader::open(source.path, Access::Immutable, &no_wait)?);
    }
    let mut shortest = Duration::MAX;
    let mut max_hold = Duration::ZERO;
    for _ in 0..LOCKED_PASSES {
        for _ in 0..UNLOCKED_PASSES {
            let begun = Instant::now();
            if let Some(size) = copying.unlocked_pass(|_, _| Ok(()))? {
                return Ok(CopyOutcome::Made(copying.made(size, max_hold)));
            }
            shortest = shortest.min(begun.elapsed());
            if shortest <= source.max_hold {
                break;
            }
            sleep(shortest, source.limits);
        }
        if shortest > source.max_hold {
            return Ok(CopyOutcome::TooLong(shortest));
        }
        let (hold, size) = match copying.locked_pass()? {
            Locked::Done(hold, size) => (hold, Some(size)),
            Locked::TooLong(hold) => (hold, None),
            Locked::NotHere => return Ok(CopyOutcome::NotHere),
        };
        max_hold = max_hold.max(hold);
        if let Some(size) = size {
            return Ok(CopyOutcome::Made(copying.made(size, max_hold)));
        }
        sleep(hold * PAUSE_FACTOR, source.limits);
    }
    Ok(CopyOutcome::TooLong(max_hold.max(shortest)))
}

/// What a comparison under the lock came to.
enum Locked {
    /// How long the lock was held, and the size of the file.
    Done(Duration, u64),
    /// It had to be let go before the end.
    TooLong(Duration),
    NotHere,
}

struct Copying<'c> {
    source: CopySource<'c>,
    write: &'c WriteAt<'c>,
    /// The first takes the lock.
    readers: Vec<Reader>,
    blocks: BlockCopy,
    passes: u32,
}

impl Copying<'_> {
    fn size(&self) -> io::Result<u64> {
        stat(&self.source.files.main)?.map(|main| main.size).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Brings the copy to what the file holds; its size if nobody wrote meanwhile.
    fn unlocked_pass(
        &mut self,
        mut progress: impl FnMut(u64, f64) -> io::Result<()>,
    ) -> Result<Option<u64>, BlockError> {
        let limits = self.source.limits;
        let still = StableState::begin(&self.readers[0], self.source.files)?;
        let size = self.size()?;
        let mut failed = None;
        let pass = self.blocks.update(&mut self.readers, self.write, size, |done| {
            failed = progress(done, done as f64 / size.max(1) as f64).err();
            if failed.is_some() || limits.is_exceeded() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        self.passes += 1;
        failed.map_or(Ok(()), Err)?;
        self.ensure_complete(pass)?;
        let is_proved = match still {
            Some(still) => still.is_unchanged(&self.readers[0], self.source.files)?,
            None => false,
        };
        Ok(is_proved.then_some(size))
    }

    fn ensure_complete(&self, pass: BlockPass) -> Result<(), SqliteError> {
        if pass.is_complete {
            Ok(())
        } else {
            Err(SqliteError::limit_error("copy the database", self.source.limits))
        }
    }

    /// The same while nobody can write.
    fn locked_pass(&mut self) -> Result<Locked, BlockError> {
        let (limits, max_hold) = (self.source.limits, self.source.max_hold);
        let (begun, header) = self.lock()?;
        if header.journal_mode != JournalMode::Rollback {
            self.readers[0].end_transaction()?;
            return Ok(Locked::NotHere);
        }
        let size = self.size()?;
        let pass = self.blocks.update(&mut self.readers, self.write, size, |_| {
            if begun.elapsed() >= max_hold || limits.is_exceeded() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let ended = self.readers[0].end_transaction();
        let hold = begun.elapsed();
        self.passes += 1;
        let pass = pass?;
        ended?;
        if pass.is_complete {
            return Ok(Locked::Done(hold, size));
        }
        if limits.is_exceeded() {
            return Err(SqliteError::limit_error("copy the database", limits).into());
        }
        Ok(Locked::TooLong(hold))
    }

    /// Takes the lock between two commits; since when it is held, as the time for which it was
    /// waited does not count.
    fn lock(&self) -> Result<(Instant, Header), SqliteError> {
        const STEP: Duration = Duration::from_millis(1);
        let (reader, limits) = (&self.readers[0], self.source.limits);
        let first = Instant::now();
        loop {
            let begun = Instant::now();
            let error = match reader.header() {
                Ok(header) => return Ok((begun, header)),
                Err(error) => error,
            };
            reader.end_transaction()?;
            let is_busy = error.code() == Some(ErrorCode::Busy);
            if !is_busy || first.elapsed() >= limits.busy_timeout || limits.is_exceeded() {
                return Err(error);
            }
            std::thread::sleep(STEP);
        }
    }

    fn made(self, size_bytes: u64, max_hold: Duration) -> ConsistentCopy {
        ConsistentCopy { size_bytes, max_hold, passes: self.passes }
    }
}

/// Sleeps for a duration, or until a limit ends.
fn sleep(duration: Duration, limits: &QueryLimits) {
    const STEP: Duration = Duration::from_millis(20);
    let until = Instant::now() + duration;
    while Instant::now() < until && !limits.is_exceeded() {
        std::thread::sleep(STEP);
    }
}
