//! Which pages have their use by their place in the file: the page with the lock bytes, and the
//! pointer maps of auto_vacuum (<https://www.sqlite.org/fileformat2.html>, 1.4 and 1.8).

use super::btree_page::number;

/// The byte at which SQLite takes its locks; the page with it holds nothing.
const LOCK_BYTE: u64 = 1 << 30;

/// Size and number of the pages of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Pages of the database.
    pub count: u32,
    /// Bytes a page.
    pub page_bytes: usize,
    /// The same without the reserved bytes at its end.
    pub usable: usize,
    /// The largest root page, which is kept with auto_vacuum alone; 0 without pointer maps.
    pub highest_root: u32,
}

impl Layout {
    /// The layout of a database whose first page is `first`; `None` for one without pages.
    pub(super) fn of(first: &[u8], count: u32) -> Option<Self> {
        const SMALLEST_PAGE: usize = 512;
        if count == 0 || first.len() < SMALLEST_PAGE {
            return None;
        }
        let usable = first.len() - usize::from(first[20]);
        Some(Self { count, page_bytes: first.len(), usable, highest_root: number(first, 52).unwrap_or(0) })
    }

    /// The page with the lock bytes, which a smaller database does not have.
    pub(super) fn lock_page(&self) -> u32 {
        u32::try_from(LOCK_BYTE / self.page_bytes as u64 + 1).unwrap_or(u32::MAX)
    }

    /// Pages between two pointer maps, the first of these counted.
    fn map_step(&self) -> u32 {
        u32::try_from(self.usable / 5).unwrap_or(u32::MAX - 1) + 1
    }

    /// The pointer map in which a page has its entry, and the entry's number; `None` for pages that
    /// have none.
    pub(super) fn entry_of(&self, page: u32) -> Option<(u32, u32)> {
        let map = self.map_of(page)?;
        Some((map, page.checked_sub(map + 1)?))
    }

    fn map_of(&self, page: u32) -> Option<u32> {
        if self.highest_root == 0 || page < 2 {
            return None;
        }
        let step = self.map_step();
        let map = (page - 2) / step * step + 2;
        Some(if map == self.lock_page() { map + 1 } else { map })
    }

    /// The pages that have their use by their place, each with what it is called.
    pub(super) fn fixed(&self) -> impl Iterator<Item = (u32, &'static str)> {
        let (layout, lock_page) = (*self, self.lock_page());
        let lock = (lock_page <= layout.count).then_some((lock_page, "the lock-byte page"));
        let maps = std::iter::successors((layout.highest_root != 0).then_some(2_u32), move |map| {
            map.checked_add(layout.map_step())
        });
        let maps = maps
            .take_while(move |map| *map <= layout.count)
            .map(move |map| if map == lock_page { map + 1 } else { map })
            .filter(move |map| *map <= layout.count)
            .map(|map| (map, "a pointer map"));
        lock.into_iter().chain(maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_page_moves_the_map_that_would_be_there() {
        // 102 entries a map, so that pages 2, 105, … are maps.
        let mut layout = Layout { count: 1 << 22, page_bytes: 512, usable: 512, highest_root: 1 };
        assert_eq!(layout.lock_page(), 2_097_153);
        assert_eq!(layout.fixed().take(3).map(|(page, _)| page).collect::<Vec<_>>(), [2_097_153, 2, 105]);
        assert_eq!(layout.entry_of(3), Some((2, 0)));
        assert_eq!(layout.entry_of(104), Some((2, 101)));
        assert_eq!(layout.entry_of(106), Some((105, 0)));
        assert_eq!((layout.entry_of(1), layout.entry_of(105)), (None, None));
        layout = Layout { count: 20_000, page_bytes: 65_536, usable: 65_536, highest_root: 1 };
        assert_eq!((layout.lock_page(), layout.map_step()), (16_385, 13_108));
        // 1 KiB pages: a step of 205 puts a map on page 1,048,577 = 2 + 5,115 × 205
        // (PENDING_BYTE_PAGE of SQLite).
        layout = Layout { count: 1_100_000, page_bytes: 1024, usable: 1024, highest_root: 1 };
        assert_eq!((layout.lock_page(), (1_048_577 - 2) % layout.map_step()), (1_048_577, 0));
        assert!(layout.fixed().any(|(page, _)| page == 1_048_578), "the map moves behind the lock page");
        assert_eq!(layout.entry_of(1_048_579), Some((1_048_578, 0)));
        layout.highest_root = 0;
        assert_eq!(layout.fixed().collect::<Vec<_>>(), [(1_048_577, "the lock-byte page")]);
    }

    #[test]
    fn page_numbers_beyond_two_to_the_31st_are_kept() {
        let layout = Layout { count: u32::MAX - 1, page_bytes: 65_536, usable: 65_536, highest_root: 7 };
        let (map, entry) = layout.entry_of(u32::MAX - 1).unwrap();
        assert!(map > 1 << 31 && entry < 13_107, "{map} {entry}");
        assert!(layout.fixed().last().unwrap().0 > u32::MAX - 20_000, "and the iteration ends");
    }
}
