//! The ledger of a database: the hash of each page, as it was when nothing spoke against it.
//!
//! A completed scrub replaces the file as a whole. A scrub of a file at rest that found nothing new
//! only notes its time, in one of two places by turns.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::LEDGER_VERSION;
use crate::direct_file::read_fully;
use crate::error::Error;
use crate::judge::Known;
use crate::look::Look;
use crate::report::Mismatch;
use crate::serde_formats::path_bytes;
use crate::stored_file::BLOCK_ENTRIES;
use crate::stored_file::checksum;
use crate::stored_file::head_bytes;
use crate::stored_file::read_block;
use crate::stored_file::read_head;
use crate::stored_file::write_blocks;
use crate::wal::Salts;

const MAGIC: [u8; 8] = *b"LKSCRUB1";
/// Each of the two places for the time of the last scrub: number, time, checksum.
const TIME_BYTES: u64 = 24;
const HEAD_OFFSET: u64 = 2 * TIME_BYTES;
/// The most mismatches that a ledger keeps. Others keep their hash, but are found again only by a
/// rule that proves them.
pub(crate) const MAX_RECORDS: usize = 65_536;

/// The head of a ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LedgerHead {
    pub version: u32,
    /// Distinguishes each ledger from all others.
    pub nonce: u64,
    #[serde(with = "path_bytes")]
    pub database: PathBuf,
    pub page_size: u32,
    pub pages: u32,
    /// The look before the first page was read.
    pub base: Look,
    /// Nanoseconds since 1970.
    pub completed_at: i64,
    /// Frames of the WAL that were right at the last look.
    pub wal: Option<(Salts, u32)>,
    /// Mismatches that are not resolved.
    pub mismatches: Vec<Mismatch>,
    pub mismatches_total: u32,
}

/// A ledger that is locked.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    /// `None` where no scrub was completed, or the head is damaged.
    pub head: Option<LedgerHead>,
    blocks_offset: u64,
}

impl Ledger {
    /// Opens and locks a ledger.
    pub(crate) fn open(path: &Path, database: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::ledger(path, &error);
        let file = lock(path, database)?;
        let mut ledger = Self { path: path.to_owned(), file, head: None, blocks_offset: 0 };
        if let Some((mut head, length)) =
            read_head::<LedgerHead>(&ledger.file, MAGIC, HEAD_OFFSET).map_err(failed)?
            && head.version == LEDGER_VERSION
            && head.database == database
        {
            ledger.blocks_offset = HEAD_OFFSET + length;
            head.completed_at = last_time(&ledger.file, &head).map_err(failed)?.1;
            ledger.head = Some(head);
        }
        Ok(ledger)
    }

    /// What is known of some pages, from a block on.
    pub(crate) fn block(&self, block: usize) -> Result<Vec<Known>, Error> {
        let Some(head) = &self.head else { return Ok(Vec::new()) };
        let entries = (head.pages as usize).saturating_sub(block * BLOCK_ENTRIES).min(BLOCK_ENTRIES);
        if entries == 0 {
            return Ok(Vec::new());
        }
        let hashes = read_block(&self.file, self.blocks_offset, block, entries, head.nonce)
            .map_err(|error| Error::ledger(&self.path, &error))?;
        Ok(match hashes {
            None => vec![Known::DamagedLedger; entries],
            Some(hashes) => hashes
                .into_iter()
                .map(|hash| if hash == 0 { Known::Nothing } else { Known::Hash(hash) })
                .collect(),
        })
    }

    /// Notes a scrub that found all as it was. Without a sync: if it is lost, the pages were
    /// verified later than the ledger says.
    pub(crate) fn touch(&mut self, completed_at: i64) -> Result<(), Error> {
        let Some(head) = &mut self.head else { return Ok(()) };
        let touch = |file: &File, head: &LedgerHead| {
            let (number, _) = last_time(file, head)?;
            file.write_all_at(
                &time_bytes(number + 1, completed_at, head.nonce),
                (number + 1) % 2 * TIME_BYTES,
            )
        };
        touch(&self.file, head).map_err(|error| Error::ledger(&self.path, &error))?;
        head.completed_at = completed_at;
        Ok(())
    }

    /// Replaces the ledger as a whole.
    pub(crate) fn replace(&mut self, head: LedgerHead, hashes: &[u64]) -> Result<(), Error> {
        let temporary = self.path.with_extension("new");
        let replace = || {
            #[expect(clippy::disallowed_methods, reason = "a ledger")]
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            // The name may only lead to a file that is locked.
            file.try_lock().map_err(io::Error::from)?;
            let bytes = head_bytes(MAGIC, &head)?;
            file.write_all_at(&time_bytes(0, head.completed_at, head.nonce), 0)?;
            file.write_all_at(&bytes, HEAD_OFFSET)?;
            let offset = HEAD_OFFSET + bytes.len() as u64;
            write_blocks(&file, offset, 0, hashes, head.nonce)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)?;
            Ok((file, offset))
        };
        let (file, offset) = replace().map_err(|error: io::Error| Error::ledger(&self.path, &error))?;
        self.file = file;
        self.blocks_offset = offset;
        self.head = Some(head);
        Ok(())
    }
}

/// The head of a ledger without a lock, for readers of the verdict.
pub(crate) fn read_ledger_head(path: &Path, database: &Path) -> Result<Option<LedgerHead>, Error> {
    let failed = |error: io::Error| Error::ledger(path, &error);
    #[expect(clippy::disallowed_methods, reason = "a ledger")]
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let Some((mut head, _)) = read_head::<LedgerHead>(&file, MAGIC, HEAD_OFFSET).map_err(failed)? else {
        return Ok(None);
    };
    if head.version != LEDGER_VERSION || head.database != database {
        return Ok(None);
    }
    head.completed_at = last_time(&file, &head).map_err(failed)?.1;
    Ok(Some(head))
}

fn time_bytes(number: u64, time: i64, nonce: u64) -> [u8; TIME_BYTES as usize] {
    let mut bytes = [0; TIME_BYTES as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..16].copy_from_slice(&time.to_le_bytes());
    let sum = checksum(&bytes[..16], nonce);
    bytes[16..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Number and time of the last scrub.
fn last_time(file: &File, head: &LedgerHead) -> io::Result<(u64, i64)> {
    let mut bytes = [0; HEAD_OFFSET as usize];
    read_fully(file, &mut bytes, 0)?;
    let (times, _) = bytes.as_chunks::<{ TIME_BYTES as usize }>();
    let valid = times.iter().filter_map(|place| {
        let word = |at: usize| place[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let (number, time) = (word(0)?, word(8)?.cast_signed());
        (time_bytes(number, time, head.nonce) == *place).then_some((number, time))
    });
    Ok(valid.max().unwrap_or((0, head.completed_at)))
}

/// Opens and locks the file of a ledger, which a scrub may replace meanwhile.
fn lock(path: &Path, database: &Path) -> Result<File, Error> {
    let failed = |error: io::Error| Error::ledger(path, &error);
    let open = || {
        #[expect(clippy::disallowed_methods, reason = "a ledger")]
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    };
    loop {
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(directory) = path.parent() {
                    std::fs::create_dir_all(directory).map_err(failed)?;
                }
                open().map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: database.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let locked = file.metadata().map_err(failed)?.ino();
        match std::fs::metadata(path) {
            Ok(named) if named.ino() == locked => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
}
