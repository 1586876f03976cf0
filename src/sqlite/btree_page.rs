//! Where a page of a b-tree leads: to the pages below it, and to the overflow pages of its values
//! (<https://www.sqlite.org/fileformat2.html>, 1.6).
//!
//! Nothing in a page is trusted: what lies outside of it makes it no page of a b-tree.

/// A big-endian number of four bytes.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes)
}

/// A variable-length integer and the place after it.
fn varint(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for _ in 0..8 {
        let byte = *bytes.get(at)?;
        at += 1;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, at));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(at)?), at + 1))
}

/// The pages below one of a b-tree; each value that goes on elsewhere is put into `chains` with the number of its pages.
/// `None` for a page of another kind, or one with cells outside of it.
pub(super) fn children(
    page: &[u8],
    number_of_page: u32,
    usable: usize,
    chains: &mut Vec<(u32, u64)>,
) -> Option<Vec<u32>> {
    const INDEX_INTERIOR: u8 = 2;
    const TABLE_INTERIOR: u8 = 5;
    const INDEX_LEAF: u8 = 10;
    const TABLE_LEAF: u8 = 13;
    let header = if number_of_page == 1 { 100 } else { 0 };
    let kind = *page.get(header)?;
    let interior = match kind {
        INDEX_INTERIOR | TABLE_INTERIOR => true,
        INDEX_LEAF | TABLE_LEAF => false,
        _ => return None,
    };
    let short = |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let cells = short(header + 3)?;
    let pointers = header + if interior { 12 } else { 8 };
    let least = (usable - 12) * 32 / 255 - 23;
    let most = if kind == TABLE_LEAF { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    let mut found = Vec::with_capacity(if interior { cells + 1 } else { 0 });
    for cell in 0..cells {
        let mut at = short(pointers + 2 * cell)?;
        if interior {
            found.push(number(page, at)?);
            at += 4;
        }
        if kind == TABLE_INTERIOR {
            continue;
        }
        let (payload, mut begin) = varint(page, at)?;
        if payload <= most as u64 {
            continue;
        }
        if kind == TABLE_LEAF {
            begin = varint(page, begin)?.1;
        }
        let piece = (usable - 4) as u64;
        let kept = least + usize::try_from((payload - least as u64) % piece).ok()?;
        let local = if kept <= most { kept } else { least };
        chains.push((number(page, begin + local)?, (payload - local as u64).div_ceil(piece)));
    }
    if interior {
        found.push(number(page, header + 8)?);
    }
    Some(found)
}
