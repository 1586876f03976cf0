//! A scrub in progress: the hashes so far, kept in a file from time to time, so that it continues
//! after a stop or a kill.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::follow::Written;
use crate::look::Look;
use crate::look::now;
use crate::page_set::PageSet;
use crate::request::Progress;
use crate::stored_file::BLOCK_ENTRIES;
use crate::stored_file::checksum;
use crate::stored_file::head_bytes;
use crate::stored_file::read_block;
use crate::stored_file::read_head;
use crate::stored_file::write_blocks;
use crate::written_file;

const MAGIC: [u8; 8] = *b"LKSPASS1";
/// The head has less than 2 KiB; the blocks follow at this offset.
const BLOCKS_OFFSET: u64 = 16_384;

/// What a pass began with, and its position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PassHead {
    pub nonce: u64,
    /// The ledger at the beginning; another one makes the pass void.
    pub ledger: Option<u64>,
    /// The look before the first page was read.
    pub before: Look,
    pub page_size: u32,
    pub pages: u32,
    pub done: u32,
    pub elapsed: Duration,
    pub is_direct: bool,
}

/// A scrub in progress.
#[derive(Debug)]
pub(crate) struct Pass {
    path: PathBuf,
    pub head: PassHead,
    pub hashes: Vec<u64>,
    /// Pages that were written since [`PassHead::before`].
    pub written: Written,
    /// Pages that carry a right checksum of their own.
    pub with_checksum: PageSet,
    file: Option<File>,
    saved_blocks: usize,
}

/// The file of a pass, beside the ledger.
pub(crate) fn pass_path(ledger: &Path) -> PathBuf {
    ledger.with_extension("pass")
}

/// The file of the pages that were written since a pass began.
pub(crate) fn pass_written_path(ledger: &Path) -> PathBuf {
    ledger.with_extension("pass-written")
}

/// The head of a pass that was interrupted.
pub(crate) fn read_pass_head(ledger: &Path) -> io::Result<Option<PassHead>> {
    #[expect(clippy::disallowed_methods, reason = "a file of a ledger")]
    let file = match File::open(pass_path(ledger)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok(read_head(&file, MAGIC, 0)?.map(|(head, _)| head))
}

impl Pass {
    pub(crate) fn begin(ledger: &Path, head: PassHead, written: Written) -> Self {
        Self {
            path: pass_path(ledger),
            hashes: Vec::with_capacity(head.pages as usize),
            head,
            written,
            with_checksum: PageSet::default(),
            file: None,
            saved_blocks: 0,
        }
    }

    /// Continues the pass of a file; `None` where there is none, or it is about another ledger,
    /// file or geometry, or damaged.
    pub(crate) fn resume(ledger: &Path, nonce: Option<u64>, now: &Look) -> Result<Option<Self>, Error> {
        let path = pass_path(ledger);
        let resume = || {
            let Some(head) = read_pass_head(ledger)? else { return Ok(None) };
            if head.ledger != nonce || !head.before.main.is_same_file(&now.main) {
                return Ok(None);
            }
            #[expect(clippy::disallowed_methods, reason = "a file of a ledger")]
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let mut hashes = Vec::with_capacity(head.pages as usize);
            while hashes.len() < head.done as usize {
                let block = hashes.len() / BLOCK_ENTRIES;
                let entries = (head.done as usize - hashes.len()).min(BLOCK_ENTRIES);
                match read_block(&file, BLOCKS_OFFSET, block, entries, head.nonce)? {
                    Some(block) => hashes.extend(block),
                    None => return Ok(None),
                }
            }
            let written = written_file::load(&pass_written_path(ledger), head.nonce)?;
            let saved_blocks = hashes.len() / BLOCK_ENTRIES;
            let with_checksum = PageSet::default();
            Ok(Some(Self {
                path: path.clone(),
                head,
                hashes,
                written,
                with_checksum,
                file: Some(file),
                saved_blocks,
            }))
        };
        resume().map_err(|error: io::Error| Error::ledger(&path, &error))
    }

    pub(crate) fn progress(&self) -> Progress {
        let bytes = |pages: u32| u64::from(pages) * u64::from(self.head.page_size);
        Progress { bytes_done: bytes(self.hashes.len() as u32), bytes_total: bytes(self.head.pages) }
    }

    /// Keeps the position. Without a sync: what a power failure loses is read again.
    pub(crate) fn save(&mut self, ledger: &Path, elapsed: Duration) -> Result<(), Error> {
        self.head.done = self.hashes.len() as u32;
        self.head.elapsed = elapsed;
        let path = self.path.clone();
        self.try_save(ledger).map_err(|error| Error::ledger(&path, &error))
    }

    fn try_save(&mut self, ledger: &Path) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            #[expect(clippy::disallowed_methods, reason = "a file of a ledger")]
            None => OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&self.path)?,
        };
        let from = self.saved_blocks * BLOCK_ENTRIES;
        write_blocks(&file, BLOCKS_OFFSET, self.saved_blocks, &self.hashes[from..], self.head.nonce)?;
        file.write_all_at(&head_bytes(MAGIC, &self.head)?, 0)?;
        self.file = Some(file);
        self.saved_blocks = self.hashes.len() / BLOCK_ENTRIES;
        if self.written.position.is_some() {
            written_file::save(&pass_written_path(ledger), self.head.nonce, &self.written)?;
        }
        Ok(())
    }

    /// Removes the files of a pass that is complete.
    pub(crate) fn remove(ledger: &Path) {
        let _ = std::fs::remove_file(pass_path(ledger));
        let _ = std::fs::remove_file(pass_written_path(ledger));
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.file.is_some()
    }
}

/// A number that no other ledger or pass has.
pub(crate) fn nonce() -> u64 {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut bytes = now().to_le_bytes().to_vec();
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&std::process::id().to_le_bytes());
    checksum(&bytes, 0) | 1
}
