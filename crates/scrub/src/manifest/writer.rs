//! Writes a manifest while its backup is made.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::PageHash;
use crate::hash_page;

use super::BLOCK_BYTES;
use super::HASHES_PER_BLOCK;
use super::Header;
use super::block_hash;
use super::blocks_of;
use super::format_header;
use super::lock_page;
use super::page_size_of;
use super::position_of;

/// Bytes in the header for the values that are known at the end.
const SPARE_BYTES: usize = 512;

/// Writes the hashes of pages as they are copied, in any order and by several threads at once, and
/// the header when the copy is complete.
///
/// Hashes go to the file at once, so that memory does not grow with the database.
#[derive(Debug)]
pub struct ManifestWriter {
    file: File,
    header_bytes: usize,
    /// The page size by the first page; 0 while it is unknown.
    page_size: AtomicU32,
    /// Whether the page size changed during a copy, so that earlier hashes are of other pages.
    has_mixed_sizes: AtomicBool,
}

impl ManifestWriter {
    /// Begins a manifest in an empty file that can be read and written. `header` is what is known
    /// of the backup by now.
    ///
    /// # Errors
    /// The header is too long.
    pub fn new(file: File, header: &Header) -> io::Result<Self> {
        let length = serde_json::to_string(header)?.len() + SPARE_BYTES;
        let header_bytes = length.next_multiple_of(BLOCK_BYTES);
        let (page_size, has_mixed_sizes) = (AtomicU32::new(0), AtomicBool::new(false));
        Ok(Self { file, header_bytes, page_size, has_mixed_sizes })
    }

    /// Begins again, because the copy does.
    pub fn restart(&self) {
        self.page_size.store(0, Ordering::Relaxed);
        self.has_mixed_sizes.store(false, Ordering::Relaxed);
    }

    /// Whether every hash is of a page of this size.
    #[must_use]
    pub fn has_page_size(&self, page_size: u32) -> bool {
        self.page_size.load(Ordering::Relaxed) == page_size && !self.has_mixed_sizes.load(Ordering::Relaxed)
    }

    /// Writes the hashes of the pages that begin at an offset of the database. The first bytes of
    /// the database come first; a part of a page at the end is ignored.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset == 0 {
            let size = page_size_of(bytes).unwrap_or(0);
            let old = self.page_size.swap(size, Ordering::Relaxed);
            if old != 0 && old != size {
                self.has_mixed_sizes.store(true, Ordering::Relaxed);
            }
        }
        let page_size = self.page_size.load(Ordering::Relaxed);
        if page_size == 0 {
            return Ok(());
        }
        let first = offset / u64::from(page_size) + 1;
        let first = u32::try_from(first).map_err(|_| io::Error::other("too many pages for a database"))?;
        let pages = bytes.chunks_exact(page_size as usize);
        let lock_page = lock_page(page_size);
        let numbered = (first..).zip(pages);
        let mut hashes: Vec<u8> = Vec::with_capacity(bytes.len() / page_size as usize * 8);
        for (page, bytes) in numbered {
            let hash = if page == lock_page { 0 } else { hash_page(bytes).stored() };
            hashes.extend_from_slice(&hash.to_le_bytes());
        }
        self.write_hashes(first, &hashes)
    }

    /// Writes hashes of consecutive pages, which can be in two blocks or more.
    fn write_hashes(&self, first: u32, mut hashes: &[u8]) -> io::Result<()> {
        let (mut block, mut slot) = position_of(first);
        while !hashes.is_empty() {
            let (now, rest) = hashes.split_at(hashes.len().min((HASHES_PER_BLOCK - slot) * 8));
            self.file.write_all_at(now, self.offset_of(block) + slot as u64 * 8)?;
            (block, slot, hashes) = (block + 1, 0, rest);
        }
        Ok(())
    }

    fn offset_of(&self, block: u64) -> u64 {
        self.header_bytes as u64 + block * BLOCK_BYTES as u64
    }

    /// The hashes of a block as they were written.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn block(&self, number: u64) -> io::Result<Vec<Option<PageHash>>> {
        let mut bytes = vec![0; HASHES_PER_BLOCK * 8];
        // The last block may not be written to its end.
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], self.offset_of(number) + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(super::reader::hashes_in(&bytes))
    }

    /// Completes the manifest: the hash of each block, and the header. The caller syncs the file.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn finish(&self, header: &Header) -> io::Result<()> {
        let blocks = blocks_of(header.pages);
        // An earlier, longer copy may have left hashes after the last page.
        let used = match position_of(header.pages) {
            _ if header.pages == 0 => self.offset_of(0),
            (block, slot) => self.offset_of(block) + (slot as u64 + 1) * 8,
        };
        self.file.set_len(used)?;
        self.file.set_len(self.offset_of(blocks))?;
        let mut bytes = vec![0; HASHES_PER_BLOCK * 8];
        for number in 0..blocks {
            let at = self.offset_of(number);
            self.file.read_exact_at(&mut bytes, at)?;
            let hash = block_hash(number, &bytes);
            self.file.write_all_at(&hash.to_le_bytes(), at + bytes.len() as u64)?;
        }
        let text = format_header(header, self.header_bytes)?
            .ok_or_else(|| io::Error::other("the header of the manifest became too long"))?;
        self.file.write_all_at(&text, 0)
    }
}
