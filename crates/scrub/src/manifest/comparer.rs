//! Compares the bytes of a backup with the hashes of its pages.

use ring::digest;

use crate::PageHash;
use crate::hash_page;

use super::HASHES_PER_BLOCK;
use super::ManifestError;
use super::position_of;

/// Returns the hashes of a block of a manifest.
pub type Blocks<'m> = dyn Fn(u64) -> Result<Vec<Option<PageHash>>, ManifestError> + 'm;

/// Pages that are listed by number; of more, only the number of pages is kept.
const MAX_LISTED_PAGES: usize = 1000;

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Pages whose hash fits.
    pub equal: u32,
    /// Pages whose hash does not fit, with those after the end of a file that is too short.
    pub different: u32,
    /// The first of them, by number.
    pub first_different: Vec<u32>,
    /// Pages whose hash is in a damaged block of the manifest.
    pub unknown: u32,
    /// Why the first of these is unknown.
    pub unknown_because: Option<String>,
    /// SHA-256 of all bytes in hexadecimal digits.
    pub sha256: String,
}

/// Compares a file from its begin to its end.
pub struct Comparer<'m> {
    blocks: &'m Blocks<'m>,
    page_size: usize,
    pages: u32,
    /// The page that comes next.
    next: u32,
    block: Option<(u64, Vec<Option<PageHash>>)>,
    sha256: digest::Context,
    result: Compared,
}

impl<'m> Comparer<'m> {
    /// Begins with page 1.
    #[must_use]
    pub fn new(blocks: &'m Blocks<'m>, page_size: u32, pages: u32) -> Self {
        Self {
            blocks,
            page_size: page_size.max(1) as usize,
            pages,
            next: 1,
            block: None,
            sha256: digest::Context::new(&digest::SHA256),
            result: Compared::default(),
        }
    }

    /// Compares the next bytes of the file: whole pages, except at its end. Bytes after the last
    /// page count for the hash of the file alone.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for page in bytes.chunks_exact(self.page_size) {
            if self.next > self.pages {
                return;
            }
            match self.expected(self.next) {
                Ok(Some(hash)) if hash != hash_page(page) => self.differs(),
                Ok(_) => self.result.equal += 1,
                Err(error) => {
                    self.result.unknown += 1;
                    self.result.unknown_because.get_or_insert_with(|| error.to_string());
                }
            }
            self.next += 1;
        }
    }

    /// Whether a page has the hash that is expected.
    ///
    /// # Errors
    /// The block of the manifest is damaged, or cannot be read.
    pub fn is_equal(&mut self, page: u32, bytes: &[u8]) -> Result<bool, ManifestError> {
        Ok(self.expected(page)?.is_none_or(|hash| hash == hash_page(bytes)))
    }

    fn differs(&mut self) {
        self.result.different += 1;
        if self.result.first_different.len() < MAX_LISTED_PAGES {
            self.result.first_different.push(self.next);
        }
    }

    fn expected(&mut self, page: u32) -> Result<Option<PageHash>, ManifestError> {
        let (number, slot) = position_of(page);
        if self.block.as_ref().is_none_or(|(known, _)| *known != number) {
            self.block = None;
            self.block = Some((number, (self.blocks)(number)?));
        }
        let hashes = self.block.as_ref().map(|(_, hashes)| hashes.as_slice()).unwrap_or_default();
        debug_assert_eq!(hashes.len(), HASHES_PER_BLOCK, "a block of a manifest");
        Ok(hashes.get(slot).copied().flatten())
    }

    /// The result; pages that did not come are different.
    #[must_use]
    pub fn finish(mut self) -> Compared {
        while self.next <= self.pages {
            self.differs();
            self.next += 1;
        }
        let sha256 = self.sha256.finish();
        self.result.sha256 = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.result
    }
}
