//! Reserved bytes at the end of pages, and the checksums that SQLite's cksumvfs keeps in eight of
//! them.
//!
//! The sum is computed over the rest of the page when that is written, as
//! <https://sqlite.org/cksumvfs.html> has it; a writer without this VFS leaves the old one, and the
//! owner then gets `SQLITE_IOERR_DATA` for the page. Pages are read in the transaction of the
//! check, so that those in the WAL count as they are.

use super::error::SqliteError;
use super::findings::Finding;
use super::findings::MAX_FINDINGS;
use super::header::RawHeader;
use super::pages::PAGE_TABLE;
use super::pages::Pages;
use super::raw;
use super::reader::Reader;

/// The bytes that cksumvfs reserves; it takes any database that has exactly as many for its own.
pub const CHECKSUM_BYTES: u8 = 8;

/// What the sums of all pages say.
#[derive(Default)]
struct PageChecksums {
    /// Pages that have one which fits, zeroed pages left out: their sum is zero, with and without
    /// the VFS.
    matching: u64,
    differing: u64,
    /// The first of those that differ.
    first_differing: Vec<i64>,
}

impl Reader {
    /// One page as it is in this transaction; empty where there is none.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn page(&self, number: u32) -> Result<Vec<u8>, SqliteError> {
        let mut page = Vec::new();
        Pages::of(&self.connection)
            .and_then(|mut pages| pages.read(number, &mut page))
            .map_err(|error| SqliteError::new("read a page", &error, &self.limits))?;
        Ok(page)
    }

    /// Looks at the pages themselves: each has one use, and fits its checksum where it has one.
    ///
    /// # Errors
    /// As for [`Reader::account_for_pages`].
    pub fn check_pages(&self) -> Result<Vec<Finding>, SqliteError> {
        let mut found: Vec<Finding> = self.account_for_pages()?.into_iter().map(Finding::damage).collect();
        found.extend(self.check_reserved_bytes()?);
        Ok(found)
    }

    /// Whether the first page has a checksum that fits it.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn has_page_checksums(&self) -> Result<bool, SqliteError> {
        const FIRST: u32 = 1;
        let page = self.page(FIRST)?;
        Ok(page.get(20) == Some(&CHECKSUM_BYTES) && is_checksum_valid(&page) == Some(true))
    }

    /// Says what the reserved bytes of the pages are, and compares checksums in them with the
    /// pages.
    ///
    /// # Errors
    /// The limits are exceeded, or a read fails.
    pub(super) fn check_reserved_bytes(&self) -> Result<Vec<Finding>, SqliteError> {
        const OPERATION: &str = "check the checksums of pages";
        let header = raw::read_header(&self.connection)
            .map_err(|code| SqliteError::from_code(OPERATION, code, String::new()))?;
        let reserved = RawHeader::parse(&header).reserved_bytes;
        let other = || {
            let words = "which SQLite leaves to a VFS or extension of the application; what is in them was not checked";
            vec![Finding::odd(format!("each page has {reserved} reserved bytes, {words}"))]
        };
        match reserved {
            0 => return Ok(Vec::new()),
            CHECKSUM_BYTES => {}
            _ => return Ok(other()),
        }
        let sums = self.sums().map_err(|error| SqliteError::new(OPERATION, &error, &self.limits))?;
        if sums.matching == 0 {
            return Ok(other());
        }
        let all = sums.matching + sums.differing;
        let mut found = vec![Finding::odd(format!(
            "each page ends with a checksum (SQLite's cksumvfs); {} of {all} fit their page",
            sums.matching
        ))];
        found.extend(sums.first_differing.iter().map(|page| {
            Finding::damage(format!(
                "page {page} does not fit its checksum: it was changed by the disk, or by a program without the application's \
                 checksum VFS; the application cannot read it"
            ))
        }));
        Ok(found)
    }

    fn sums(&self) -> rusqlite::Result<PageChecksums> {
        // It makes the table known.
        let _ = Pages::of(&self.connection)?;
        let sql = format!("SELECT pgno, data FROM {PAGE_TABLE} WHERE schema = 'main'");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(())?;
        let mut sums = PageChecksums::default();
        while let Some(row) = rows.next()? {
            match row.get_ref(1)?.as_blob().ok().and_then(is_checksum_valid) {
                None => {}
                Some(true) => sums.matching += 1,
                Some(false) => {
                    sums.differing += 1;
                    if sums.first_differing.len() < MAX_FINDINGS {
                        sums.first_differing.push(row.get(0)?);
                    }
                }
            }
        }
        Ok(sums)
    }
}

/// Whether the checksum at the end of a page fits it; `None` for a page of zeros alone, which says
/// nothing.
fn is_checksum_valid(page: &[u8]) -> Option<bool> {
    let (content, sum) = page.split_last_chunk::<{ CHECKSUM_BYTES as usize }>()?;
    if page.iter().all(|byte| *byte == 0) {
        return None;
    }
    Some(checksum(content) == *sum)
}

/// The checksum of cksumvfs: two running sums over pairs of little-endian words.
fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES as usize] {
    let (mut first, mut second) = (0_u32, 0_u32);
    for pair in content.chunks_exact(8) {
        let word = |at: usize| u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]);
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    let mut sum = [0; CHECKSUM_BYTES as usize];
    sum[..4].copy_from_slice(&first.to_le_bytes());
    sum[4..].copy_from_slice(&second.to_le_bytes());
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_held_against_its_sum() {
        let mut page = vec![0_u8; 512];
        assert_eq!(is_checksum_valid(&page), None, "a page of zeros");
        page[0] = 1;
        assert_eq!(is_checksum_valid(&page), Some(false));
        let end = page.len() - usize::from(CHECKSUM_BYTES);
        let sum = checksum(&page[..end]);
        // 63 pairs: the first sum is 1 after one, and both grow as Fibonacci's numbers.
        assert_eq!(checksum(&page[..16]), [2, 0, 0, 0, 3, 0, 0, 0]);
        page[end..].copy_from_slice(&sum);
        assert_eq!(is_checksum_valid(&page), Some(true));
        page[100] ^= 1;
        assert_eq!(is_checksum_valid(&page), Some(false));
    }
}
