//! Entry points of the fuzz targets to parsers that are private otherwise.

use crate::btree_page::references;
use crate::header::HEADER_BYTES;
use crate::header::RawHeader;

/// The smallest usable size of a page that SQLite accepts.
const MIN_USABLE_BYTES: usize = 480;

/// Reads a page of a b-tree, and the database's header if it is page 1; counts what the page refers
/// to.
#[must_use]
pub fn page(page: &[u8], number: u32, reserved_bytes: usize) -> usize {
    if let Some(header) = page.first_chunk::<HEADER_BYTES>().filter(|_| number == 1) {
        let _ = RawHeader::parse(header);
    }
    let usable = page.len().saturating_sub(reserved_bytes);
    let mut count = 0;
    if usable >= MIN_USABLE_BYTES {
        let _ = references(page, number, usable, |_| count += 1);
    }
    count
}
