//! Where a page of a b-tree leads: to the pages below it, and to the overflow pages of its values
//! (<https://www.sqlite.org/fileformat2.html>, 1.6).
//!
//! Nothing in a page is trusted: what lies outside of it makes it no page of a b-tree.

const INDEX_INTERIOR: u8 = 2;
const TABLE_INTERIOR: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;

/// What a page of a b-tree refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    /// A page below it.
    Child(u32),
    /// The first of the overflow pages of a value, and their number.
    Overflow(u32, u64),
}

/// The head of a page of a b-tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Whether it has pages below it.
    pub is_interior: bool,
    /// Whether it belongs to a table with row ids, whose rows are in the leaves alone.
    pub is_table: bool,
    pub cells: usize,
    /// Where its header begins: page 1 begins with that of the database.
    at: usize,
}

impl PageHeader {
    /// Reads the head of a page; `None` for a page of another kind.
    pub(super) fn read(page: &[u8], number_of_page: u32) -> Option<Self> {
        let at = if number_of_page == 1 { 100 } else { 0 };
        let (is_interior, is_table) = match *page.get(at)? {
            INDEX_INTERIOR => (true, false),
            TABLE_INTERIOR => (true, true),
            INDEX_LEAF => (false, false),
            TABLE_LEAF => (false, true),
            _ => return None,
        };
        Some(Self { is_interior, is_table, cells: short(page, at + 3)?, at })
    }

    /// Whether the other fields can be those of a page: the first free block, where the cells begin,
    /// and the bytes in fragments.
    pub(super) fn fits(&self, page: &[u8], page_size: usize) -> bool {
        const MAX_FRAGMENTS: u8 = 60;
        let field = |at: usize| short(page, self.at + at).unwrap_or(usize::MAX);
        // 65,536 does not fit the field.
        let content = if field(5) == 0 { 65_536 } else { field(5) };
        let after_pointers = self.pointers() + 2 * self.cells;
        let free = field(1);
        after_pointers <= content
            && content <= page_size
            && (free == 0 || (content..page_size).contains(&free))
            && page.get(self.at + 7).is_some_and(|fragments| *fragments <= MAX_FRAGMENTS)
    }

    /// Where the pointers to the cells begin.
    fn pointers(&self) -> usize {
        self.at + if self.is_interior { 12 } else { 8 }
    }

    /// The page below an interior one at a place from 0 to the number of its cells.
    pub(super) fn child(&self, page: &[u8], place: usize) -> Option<u32> {
        if place >= self.cells {
            return number(page, self.at + 8);
        }
        number(page, short(page, self.pointers() + 2 * place)?)
    }
}

/// A big-endian number of four bytes.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes)
}

/// A big-endian number of two bytes.
fn short(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 2).map(|two| usize::from(two[0]) << 8 | usize::from(two[1]))
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

/// Shows all that a page of a b-tree refers to. `None` for a page of another kind, or one with
/// cells outside of it.
pub(super) fn references(
    page: &[u8],
    number_of_page: u32,
    usable: usize,
    mut visit: impl FnMut(Reference),
) -> Option<()> {
    let header = PageHeader::read(page, number_of_page)?;
    let least = (usable - 12) * 32 / 255 - 23;
    let is_table_leaf = header.is_table && !header.is_interior;
    let most = if is_table_leaf { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    let begin = header.pointers();
    for pointer in page.get(begin..begin + 2 * header.cells)?.chunks_exact(2) {
        let mut at = usize::from(pointer[0]) << 8 | usize::from(pointer[1]);
        if header.is_interior {
            visit(Reference::Child(number(page, at)?));
            if header.is_table {
                continue;
            }
            at += 4;
        }
        let (payload, mut begin) = varint(page, at)?;
        if payload <= most as u64 {
            continue;
        }
        if is_table_leaf {
            begin = varint(page, begin)?.1;
        }
        let piece = (usable - 4) as u64;
        let kept = least + usize::try_from((payload - least as u64) % piece).ok()?;
        let local = if kept <= most { kept } else { least };
        let first = number(page, begin + local)?;
        visit(Reference::Overflow(first, (payload - local as u64).div_ceil(piece)));
    }
    if header.is_interior {
        visit(Reference::Child(number(page, header.at + 8)?));
    }
    Some(())
}
