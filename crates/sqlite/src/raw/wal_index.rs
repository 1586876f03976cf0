//! The header of the wal-index, in the shared memory that SQLite has mapped.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;

use rusqlite::Connection;
use rusqlite::ffi;

use super::file_pointer::main_file;
use super::shared_memory;

/// Facts from the wal-index header (<https://www.sqlite.org/walformat.html#the_wal_index_header>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalIndex {
    /// Valid frames in the WAL (`mxFrame`).
    pub frames: u32,
    /// Frames that a checkpoint has copied into the main file (`nBackfill`).
    pub checkpointed: u32,
    /// Counts transactions (`iChange`).
    pub changes: u32,
    /// How far the readers of each lock see (`aReadMark`), see [`ReadMarks`].
    pub read_marks: ReadMarks,
}

/// For each of the five read locks of a WAL the frame up to which its holders see; those of lock 0
/// read the main file alone. `None` where the mark is unused. A mark holds only while a process
/// holds its lock.
pub type ReadMarks = [Option<u32>; 5];

/// Words of one copy of the header. It is stored twice, so that a reader can tell that no write was
/// under way.
const COPY_WORDS: usize = 12;
const VERSION_WORD: usize = 0;
const CHANGES_WORD: usize = 2;
/// Its first byte in memory is `isInit`.
const INITIALIZED_WORD: usize = 3;
const FRAMES_WORD: usize = 4;
/// The two words of the checksum end a copy.
const CHECKSUM_WORD: usize = 10;
const BACKFILL_WORD: usize = 24;
const READ_MARKS_WORD: usize = 25;
const READ_MARK_UNUSED: u32 = u32::MAX;
/// The only version of the format (`WALINDEX_MAX_VERSION`).
const VERSION: u32 = 3_007_000;
/// Words of the header with what a checkpoint keeps behind it.
pub(super) const HEADER_WORDS: usize = 30;

/// Reads the wal-index header of a connection that has it mapped. `None` where it has not (a
/// rollback database, an immutable one, a wal-index in heap memory, no transaction yet), and when
/// the index cannot be read now: it is not initialized, or a writer changed it during both tries.
pub(crate) fn wal_index(connection: &Connection) -> Option<WalIndex> {
    let file = main_file(connection).ok()?;
    // SAFETY: the file is open as long as the connection is.
    unsafe { wal_index_of(file) }
}

/// # Safety
/// `file` is null or an open main file.
pub(super) unsafe fn wal_index_of(file: *mut ffi::sqlite3_file) -> Option<WalIndex> {
    // SAFETY: passed on.
    let region = unsafe { shared_memory::mapped_header(file) }?;
    // SAFETY: SQLite keeps the region mapped while the file is open, aligned to a page and larger
    // than the header. Other processes write it, so every access is atomic.
    let words = unsafe { &*region.cast::<[AtomicU32; HEADER_WORDS]>() };
    let read = (0..2).find_map(|_| read_header(words));
    // SAFETY: as above. Zeros that replace a truncated page are no header.
    if unsafe { shared_memory::is_lost(file) } { None } else { read }
}

/// Reads both copies of the header and compares them, as `walIndexTryHdr` in wal.c does: a writer
/// changes the second copy first.
fn read_header(words: &[AtomicU32; HEADER_WORDS]) -> Option<WalIndex> {
    let first = load::<COPY_WORDS>(words, 0);
    let second = load::<COPY_WORDS>(words, COPY_WORDS);
    let [is_initialized, ..] = first[INITIALIZED_WORD].to_ne_bytes();
    if first != second
        || is_initialized == 0
        || first[VERSION_WORD] != VERSION
        || checksum(&first[..CHECKSUM_WORD]) != first[CHECKSUM_WORD..]
    {
        return None;
    }
    let [checkpointed] = load(words, BACKFILL_WORD);
    let read_marks: [u32; 5] = load(words, READ_MARKS_WORD);
    let frames = first[FRAMES_WORD];
    // The log may have been restarted after its header was read, and then these belong to another
    // log.
    if load::<COPY_WORDS>(words, 0) != first {
        return None;
    }
    Some(WalIndex {
        frames,
        checkpointed: checkpointed.min(frames),
        changes: first[CHANGES_WORD],
        read_marks: read_marks.map(|mark| Some(mark).filter(|mark| *mark != READ_MARK_UNUSED)),
    })
}

/// Copies words out of the shared memory, before anything that is read later.
///
/// The mapping may be read-only, where only relaxed loads are defined; the fence makes them
/// acquire.
fn load<const N: usize>(words: &[AtomicU32; HEADER_WORDS], from: usize) -> [u32; N] {
    let copy = std::array::from_fn(|word| words[from + word].load(Ordering::Relaxed));
    fence(Ordering::Acquire);
    copy
}

/// `walChecksumBytes` in wal.c, in the byte order of this machine.
fn checksum(words: &[u32]) -> [u32; 2] {
    words.chunks_exact(2).fold([0_u32; 2], |[s1, s2], pair| {
        let s1 = s1.wrapping_add(pair[0]).wrapping_add(s2);
        [s1, s2.wrapping_add(pair[1]).wrapping_add(s1)]
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn header(changes: u32, frames: u32) -> [u32; COPY_WORDS] {
        let mut words = [0; COPY_WORDS];
        words[VERSION_WORD] = VERSION;
        words[CHANGES_WORD] = changes;
        words[INITIALIZED_WORD] = u32::from_ne_bytes([1, 0, 0, 16]);
        words[FRAMES_WORD] = frames;
        let sums = checksum(&words[..CHECKSUM_WORD]);
        words[CHECKSUM_WORD..].copy_from_slice(&sums);
        words
    }

    fn region(first: [u32; COPY_WORDS], second: [u32; COPY_WORDS]) -> [AtomicU32; HEADER_WORDS] {
        let mut words = [READ_MARK_UNUSED; HEADER_WORDS];
        words[..COPY_WORDS].copy_from_slice(&first);
        words[COPY_WORDS..2 * COPY_WORDS].copy_from_slice(&second);
        words[BACKFILL_WORD] = 3;
        words[READ_MARKS_WORD] = 0;
        words.map(AtomicU32::new)
    }

    #[test]
    fn only_a_whole_header_is_read() {
        let whole = header(7, 5);
        let expected = WalIndex {
            frames: 5,
            checkpointed: 3,
            changes: 7,
            read_marks: [Some(0), None, None, None, None],
        };
        assert_eq!(read_header(&region(whole, whole)), Some(expected));
        assert_eq!(read_header(&region(whole, header(8, 6))), None, "a write is under way");
        for (word, what) in [
            (VERSION_WORD, "of another version"),
            (INITIALIZED_WORD, "not initialized"),
            (FRAMES_WORD, "with another checksum"),
        ] {
            let mut other = whole;
            other[word] = 0;
            if word != FRAMES_WORD {
                let sums = checksum(&other[..CHECKSUM_WORD]);
                other[CHECKSUM_WORD..].copy_from_slice(&sums);
            }
            assert_eq!(read_header(&region(other, other)), None, "{what}");
        }
        assert_eq!(read_header(&region([0; COPY_WORDS], [0; COPY_WORDS])), None, "a page that was lost");
    }

    /// Run it under Miri too: `cargo +nightly miri test -p litekeeper-sqlite --lib -- wal_index`.
    #[test]
    fn a_header_that_is_being_written_is_never_mixed() {
        const WRITES: u32 = if cfg!(miri) { 30 } else { 20_000 };
        let first = header(0, 1);
        let (words, done) = (region(first, first), AtomicBool::new(false));
        let write = |from: usize, copy: &[u32]| {
            copy.iter().enumerate().for_each(|(at, word)| words[from + at].store(*word, Ordering::Relaxed));
            fence(Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The order of `walIndexWriteHdr` in wal.c.
                for change in 1..=WRITES {
                    let next = header(change, change * 2 + 1);
                    write(COPY_WORDS, &next);
                    write(0, &next);
                }
                done.store(true, Ordering::Release);
            });
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                if let Some(read) = read_header(&words) {
                    assert_eq!(read.frames, read.changes * 2 + 1);
                    assert!(read.changes >= last);
                    last = read.changes;
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(read_header(&words).map(|read| read.changes), Some(WRITES));
    }

    #[test]
    #[cfg_attr(miri, ignore = "it calls SQLite")]
    #[expect(clippy::disallowed_methods, reason = "a database of this test alone")]
    fn a_wal_index_that_is_not_mapped_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let owner = Connection::open(&path).unwrap();
        owner.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
        drop(owner);
        super::super::init().unwrap();
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection =
            Connection::open_with_flags_and_vfs(&path, flags, super::super::WRITING_VFS).unwrap();
        // SQLite's own `xShmMap` would create the file here.
        assert_eq!(wal_index(&connection), None);
        assert!(!directory.path().join("a.db-shm").exists());
        connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(wal_index(&connection).map(|index| index.frames), Some(1));
    }
}
