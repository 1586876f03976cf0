//! Reads a manifest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::PageHash;

use super::BLOCK_BYTES;
use super::HASHES_PER_BLOCK;
use super::Header;
use super::ManifestError;
use super::block_hash;
use super::blocks_of;
use super::header_length;
use super::parse_header;
use super::position_of;

/// An open manifest whose header is sound. The hashes are checked as they are read.
#[derive(Debug)]
pub struct Manifest {
    file: File,
    header_bytes: u64,
    header: Header,
}

impl Manifest {
    /// Reads the header.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is of a newer version.
    pub fn read(file: File) -> Result<Self, ManifestError> {
        let mut start = [0; 64];
        read_exact(&file, &mut start, 0)?;
        let mut bytes = vec![0; header_length(&start)?];
        read_exact(&file, &mut bytes, 0)?;
        let header = parse_header(&bytes)?;
        Ok(Self { file, header_bytes: bytes.len() as u64, header })
    }

    /// What it says of the backup as a whole.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The hashes of a block, by position.
    ///
    /// # Errors
    /// The block is damaged, or cannot be read.
    pub fn block(&self, number: u64) -> Result<Vec<Option<PageHash>>, ManifestError> {
        let mut bytes = vec![0; BLOCK_BYTES];
        read_exact(&self.file, &mut bytes, self.header_bytes + number * BLOCK_BYTES as u64)?;
        let (hashes, hash) = bytes.split_at(HASHES_PER_BLOCK * 8);
        if hash != block_hash(number, hashes).to_le_bytes() {
            return Err(ManifestError::Damaged(format!("the hash of block {number} does not fit")));
        }
        Ok(hashes_in(hashes))
    }

    /// The hash of one page; `None` where nothing is known of it.
    ///
    /// # Errors
    /// The block is damaged, or cannot be read.
    pub fn hash_of(&self, page: u32) -> Result<Option<PageHash>, ManifestError> {
        if page == 0 || page > self.header.pages {
            return Ok(None);
        }
        let (block, slot) = position_of(page);
        Ok(self.block(block)?.get(slot).copied().flatten())
    }

    /// Reads every block.
    ///
    /// # Errors
    /// A block is damaged, or cannot be read.
    pub fn check(&self) -> Result<(), ManifestError> {
        (0..blocks_of(self.header.pages)).try_for_each(|number| self.block(number).map(drop))
    }
}

/// The hashes in the bytes of a block.
pub(super) fn hashes_in(bytes: &[u8]) -> Vec<Option<PageHash>> {
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    words.map(PageHash::from_stored).collect()
}

fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> Result<(), ManifestError> {
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ManifestError::Damaged("the file is too short".to_owned()),
        _ => ManifestError::Io(error),
    })
}
