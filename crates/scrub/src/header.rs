//! The header of a main file and its freelist, as plain bytes
//! (<https://www.sqlite.org/fileformat.html>). Both are untrusted.

use serde::Deserialize;
use serde::Serialize;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 100;
/// The byte that SQLite locks; the page that holds it is never written.
const PENDING_BYTE: u64 = 0x4000_0000;

/// The fields of the header that a scrub needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub page_size: u32,
    /// The number of pages that the header names, where it is valid.
    pub pages: Option<u32>,
    pub is_wal: bool,
    /// Bytes at the end of each page that an extension reserves.
    pub reserved: u8,
    pub first_trunk: u32,
    /// The change counter (offset 24).
    pub changes: u32,
    /// The change counter at which the page count was written (offset 92). Every SQLite since
    /// 3.7.0 writes both together.
    pub valid_for: u32,
}

impl Header {
    /// The header at the beginning of a file; `None` where it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if &bytes[..16] != b"SQLite format 3\0" {
            return None;
        }
        let page_size = match u32::from(u16::from_be_bytes([bytes[16], bytes[17]])) {
            1 => 65_536,
            size => size,
        };
        if !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
            return None;
        }
        let (changes, pages, valid_for) = (word(bytes, 24), word(bytes, 28), word(bytes, 92));
        Some(Self {
            page_size,
            pages: (pages > 0 && changes == valid_for).then_some(pages),
            is_wal: bytes[18] == 2,
            reserved: bytes[20],
            first_trunk: word(bytes, 32),
            changes,
            valid_for,
        })
    }

    /// Whether SQLite has written this header since `earlier`. It writes both counters together, so
    /// damage of one is not taken for a write.
    pub(crate) fn was_written_since(&self, earlier: &Self) -> bool {
        self.changes != earlier.changes && self.valid_for != earlier.valid_for
    }
}

/// The page that SQLite never writes, from 1.
pub(crate) fn lock_byte_page(page_size: u32) -> u32 {
    (PENDING_BYTE / u64::from(page_size)) as u32 + 1
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The leaves of the freelist, from a chain of trunk pages. Each trunk is visited once, so a circle
/// ends.
pub(crate) fn freelist_leaves<E>(
    first_trunk: u32,
    pages: u32,
    mut read: impl FnMut(u32) -> Result<Option<Vec<u8>>, E>,
    mut leaf: impl FnMut(u32),
) -> Result<(), E> {
    let mut visited = std::collections::HashSet::new();
    let mut trunk = first_trunk;
    while trunk != 0 && trunk <= pages && visited.insert(trunk) {
        let Some(page) = read(trunk)?.filter(|page| page.len() >= 8) else { return Ok(()) };
        let count = (word(&page, 4) as usize).min(page.len() / 4 - 2);
        (0..count)
            .map(|index| word(&page, 8 + 4 * index))
            .filter(|page| (1..=pages).contains(page))
            .for_each(&mut leaf);
        trunk = word(&page, 0);
    }
    Ok(())
}

/// Whether a page ends with the checksum of the `cksumvfs` extension
/// (<https://www.sqlite.org/cksumvfs.html>). A page of zeros has one too, which says nothing.
pub(crate) fn has_valid_checksum(page: &[u8]) -> bool {
    let Some((content, sum)) = page.split_last_chunk::<8>() else { return false };
    if page.iter().all(|byte| *byte == 0) {
        return false;
    }
    let (mut first, mut second) = (0_u32, 0_u32);
    for pair in content.chunks_exact(8) {
        let word = |at: usize| u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]);
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    sum[..4] == first.to_le_bytes() && sum[4..] == second.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..16].copy_from_slice(b"SQLite format 3\0");
        bytes[16..18].copy_from_slice(&[0x10, 0]);
        bytes[18] = 2;
        bytes[27] = 5;
        bytes[31] = 9;
        bytes[95] = 5;
        bytes
    }

    #[test]
    fn a_header_is_read_and_damage_of_one_counter_is_no_write() {
        let bytes = header();
        let parsed = Header::parse(&bytes).unwrap();
        assert_eq!((parsed.page_size, parsed.pages, parsed.is_wal), (4096, Some(9), true));
        for (at, is_write) in [(24, false), (92, false)] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let damaged = Header::parse(&damaged).unwrap();
            assert_eq!(damaged.was_written_since(&parsed), is_write);
            assert_eq!(damaged.pages, None);
        }
        let mut written = bytes.clone();
        written[27] = 6;
        written[95] = 6;
        assert!(Header::parse(&written).unwrap().was_written_since(&parsed));
        for at in [0, 16] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(Header::parse(&other), None);
        }
        assert_eq!(lock_byte_page(4096), 262_145);
    }

    #[test]
    fn a_circle_of_trunks_ends_and_wild_leaves_are_left_out() {
        let mut trunk = vec![0; 512];
        trunk[3] = 2;
        trunk[4..8].fill(0xff);
        trunk[11] = 7;
        trunk[15] = 200;
        let (mut reads, mut leaves) = (0, Vec::new());
        let read = |_| {
            reads += 1;
            Ok::<_, ()>(Some(trunk.clone()))
        };
        freelist_leaves(2, 100, read, |leaf| leaves.push(leaf)).unwrap();
        assert_eq!((reads, leaves), (1, vec![7]));
    }
}
