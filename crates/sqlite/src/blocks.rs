//! The main file of a database in blocks: read as they are, hashed, and written to a copy where
//! they differ.
//!
//! Nothing here takes a lock, so what was read is a state of the database only if the caller proves
//! that nobody wrote meanwhile. A pass over a copy that is nearly right reads the main file alone
//! and writes little: so it is short, and the one that has to be proved can be done under a lock.

use std::hash::BuildHasher as _;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use super::error::SqliteError;
use super::raw;
use super::reader::Reader;

/// A multiple of every page size. Larger blocks would cost more where a page changed, smaller ones
/// more memory for hashes.
const BLOCK_BYTES: usize = 64 * 1024;

/// Blocks that are read at once: fewer system calls, and as much as the processor's own memory
/// holds.
const BLOCKS_A_READ: usize = 4;

/// Writes bytes to a copy at an offset; called by several threads at once.
pub type WriteAt<'w> = dyn Fn(u64, &[u8]) -> io::Result<()> + Sync + 'w;

/// The blocks of a copy, each with its hash.
///
/// The hash is NH of UMAC (RFC 4418) with words of 64 bits and random keys: whatever the blocks
/// hold, two that differ have the same hash with a probability of 2^-63 at the most. A block takes
/// 16 bytes of memory.
#[derive(Debug)]
pub struct BlockCopy {
    keys: Vec<u64>,
    /// 0 for a block that was not copied yet.
    hashes: Vec<u128>,
}

/// What one pass over the main file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPass {
    /// Whether it went over all of it.
    pub is_complete: bool,
    /// Blocks that were written to the copy.
    pub written: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why blocks could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The database.
    #[error(transparent)]
    Read(#[from] SqliteError),
    /// The copy.
    #[error("the copy cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl Default for BlockCopy {
    fn default() -> Self {
        let random = std::hash::RandomState::new();
        let keys = (0..BLOCK_BYTES / 8).map(|place| random.hash_one(place)).collect();
        Self { keys, hashes: Vec::new() }
    }
}

impl BlockCopy {
    /// Brings a copy to what the first `size` bytes of the main file hold: `write` receives each
    /// block that differs from the last one that was written there. Each reader works on a thread
    /// of its own; `go` is asked between two blocks, with the bytes that are done.
    ///
    /// # Errors
    /// The main file cannot be read, or the copy not written.
    pub fn update(
        &mut self,
        readers: &mut [Reader],
        write: &WriteAt<'_>,
        size: u64,
        mut go: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<BlockPass, BlockError> {
        let begun = Instant::now();
        let count = usize::try_from(size.div_ceil(BLOCK_BYTES as u64)).unwrap_or(usize::MAX);
        self.hashes.resize(count, 0);
        let keys = &self.keys;
        let pass = Pass {
            blocks: Mutex::new(self.hashes.chunks_mut(BLOCKS_A_READ).enumerate()),
            has_stopped: AtomicBool::new(false),
            keys,
            write,
            size,
        };
        let written = std::thread::scope(|scope| {
            let Some((first, others)) = readers.split_first_mut() else { return Ok(0) };
            let pass = &pass;
            let others: Vec<_> = others
                .iter_mut()
                .map(|reader| scope.spawn(move || pass.work(reader, |_| ControlFlow::Continue(()))))
                .collect();
            let mut written = pass.work(first, &mut go);
            for other in others {
                let done = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                written = written.and_then(|blocks| Ok(blocks + done?));
            }
            written
        })?;
        let is_complete = !pass.has_stopped.load(Ordering::Relaxed);
        Ok(BlockPass { is_complete, written, elapsed: begun.elapsed() })
    }
}

/// A pass that several threads share.
struct Pass<'p> {
    blocks: Mutex<std::iter::Enumerate<std::slice::ChunksMut<'p, u128>>>,
    has_stopped: AtomicBool,
    keys: &'p [u64],
    write: &'p WriteAt<'p>,
    size: u64,
}

impl Pass<'_> {
    /// Takes one block after the other until there is none left; how many were written.
    fn work(&self, reader: &Reader, mut go: impl FnMut(u64) -> ControlFlow<()>) -> Result<u64, BlockError> {
        let done = self.work_on(reader, &mut go);
        if done.is_err() {
            self.has_stopped.store(true, Ordering::Relaxed);
        }
        done
    }

    fn work_on(
        &self,
        reader: &Reader,
        go: &mut impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64, BlockError> {
        let mut buffer = vec![0; BLOCK_BYTES * BLOCKS_A_READ];
        let mut written = 0;
        while !self.has_stopped.load(Ordering::Relaxed) {
            let next = self.blocks.lock().next();
            let Some((number, hashes)) = next else { break };
            let first = number as u64 * (BLOCK_BYTES * BLOCKS_A_READ) as u64;
            let blocks = &mut buffer[..hashes.len() * BLOCK_BYTES];
            raw::read_at(&reader.connection, first, blocks)
                .map_err(|code| SqliteError::from_code("read the main file", code, String::new()))?;
            for (place, (hash, block)) in
                hashes.iter_mut().zip(blocks.chunks_exact_mut(BLOCK_BYTES)).enumerate()
            {
                let begin = first + (place * BLOCK_BYTES) as u64;
                let length = length_of(begin, self.size);
                block[length..].fill(0);
                let now = hash_of(block, self.keys);
                if now != *hash {
                    // Not known any more until it is written.
                    *hash = 0;
                    (self.write)(begin, &block[..length])?;
                    *hash = now;
                    written += 1;
                }
            }
            if go(first).is_break() {
                self.has_stopped.store(true, Ordering::Relaxed);
            }
        }
        Ok(written)
    }
}

/// How much of a block a file of this size has.
fn length_of(begin: u64, size: u64) -> usize {
    usize::try_from(size.saturating_sub(begin)).unwrap_or(usize::MAX).min(BLOCK_BYTES)
}

/// The hash of a block, which is never 0.
fn hash_of(block: &[u8], keys: &[u64]) -> u128 {
    let mut sum = 0_u128;
    for (words, keys) in block.chunks_exact(16).zip(keys.chunks_exact(2)) {
        let word = |place: usize| {
            let bytes = words[place * 8..place * 8 + 8].try_into().unwrap_or_default();
            u128::from(u64::from_le_bytes(bytes).wrapping_add(keys[place]))
        };
        sum = sum.wrapping_add(word(0) * word(1));
    }
    sum | 1
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::Access;
    use crate::limits::QueryLimits;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test plays the owner, and reads its own copy")]
    fn a_copy_follows_the_main_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let owner = rusqlite::Connection::open(&path).unwrap();
        owner
            .execute_batch(
                "CREATE TABLE t (a); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                 INSERT INTO t SELECT randomblob(1000) FROM n;",
            )
            .unwrap();
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let mut readers: Vec<Reader> =
            (0..3).map(|_| Reader::open(&path, Access::Immutable, &limits).unwrap()).collect();
        let place = directory.path().join("copy");
        let file = File::options().read(true).write(true).create_new(true).open(&place).unwrap();
        let mut copy = BlockCopy::default();
        let write = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at);
        let mut pass = |readers: &mut [Reader]| {
            let size = std::fs::metadata(&path).unwrap().len();
            let pass = copy.update(readers, &write, size, |_| ControlFlow::Continue(())).unwrap();
            assert!(pass.is_complete);
            file.set_len(size).unwrap();
            assert!(std::fs::read(&path).unwrap() == std::fs::read(&place).unwrap());
            (pass.written, size)
        };
        let (all, size) = pass(&mut readers);
        assert_eq!(all, size.div_ceil(BLOCK_BYTES as u64));
        assert_eq!(pass(&mut readers).0, 0, "nothing has changed");
        owner.execute_batch("UPDATE t SET a = zeroblob(1000) WHERE rowid = 1500").unwrap();
        let (few, _) = pass(&mut readers);
        assert!((1..=3).contains(&few), "page 1 and the row's: {few}");
        owner.execute_batch("DELETE FROM t WHERE rowid > 1000; VACUUM").unwrap();
        pass(&mut readers);
        let stopped = copy.update(&mut readers[..1], &write, size, |done| {
            if done > 1_000_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(!stopped.unwrap().is_complete);
    }
}
