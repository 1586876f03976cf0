//! A proof that every page has one use, from the pages in whatever order they are read.
//!
//! SQLite's check reads each page of each b-tree at least once. While it does so the pages that it
//! reads from the file are shown to [`PageUses::observe`], which notes what each refers to: two
//! bits a page, whether it is referred to and whether it was looked at. What is left to read
//! afterwards are the freelist and the pages that were in SQLite's cache or are in the WAL. Where
//! each page of the file is referred to exactly once, and all that refers to pages was looked at,
//! no page has two uses and none is lost. Anything else is a doubt and no finding: the walk of
//! `page_accounting` finds out what is wrong.

use super::btree_page::PageHeader;
use super::btree_page::Reference;
use super::btree_page::number;
use super::btree_page::references;
use super::page_layout::Layout;

/// From this page number on an overflow page, which begins with the number of the next one, may
/// look like a page of a b-tree, which begins with its kind: 2 is the smallest.
const AMBIGUOUS_PAGES: u32 = 2 << 24;

/// One bit for each page.
#[derive(Debug)]
struct PageSet(Vec<u64>);

impl PageSet {
    fn new(count: u32) -> Self {
        Self(vec![0; count as usize / 64 + 1])
    }

    fn contains(&self, page: u32) -> bool {
        self.0[page as usize / 64] & (1 << (page % 64)) != 0
    }

    /// Adds a page, and says whether it is new.
    fn insert(&mut self, page: u32) -> bool {
        let (word, bit) = (&mut self.0[page as usize / 64], 1 << (page % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// What is known so far of the uses of pages.
#[derive(Debug)]
pub(super) struct PageUses {
    layout: Layout,
    referred: PageSet,
    seen: PageSet,
    /// The word of the sets at which [`PageUses::complete`] is; pages before it that are referred
    /// to go into `behind`.
    position: usize,
    behind: Vec<u32>,
    doubtful: bool,
}

impl PageUses {
    /// Begins with the pages that have their use by their place.
    pub(super) fn new(layout: Layout) -> Self {
        let mut uses = Self {
            layout,
            referred: PageSet::new(layout.count),
            seen: PageSet::new(layout.count),
            position: 0,
            behind: Vec::new(),
            doubtful: layout.count >= AMBIGUOUS_PAGES,
        };
        for (page, _) in layout.fixed() {
            uses.refer(page);
            uses.seen.insert(page);
        }
        uses
    }

    /// Bytes a page.
    pub(super) fn page_bytes(&self) -> usize {
        self.layout.page_bytes
    }

    /// Whether something was met that this proof does not cover.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Notes that something refers to a page.
    pub(super) fn refer(&mut self, page: u32) {
        if page == 0 || page > self.layout.count || !self.referred.insert(page) {
            self.doubtful = true;
        } else if (page as usize / 64) < self.position {
            self.behind.push(page);
        }
    }

    /// Notes that something refers to a page of the freelist that refers to nothing itself.
    pub(super) fn refer_free(&mut self, page: u32) {
        self.refer(page);
        if !self.doubtful {
            self.seen.insert(page);
        }
    }

    /// Takes what a page of a b-tree or an overflow page refers to, the first time that it is
    /// shown.
    pub(super) fn observe(&mut self, page: u32, bytes: &[u8]) {
        if self.doubtful || page == 0 || page > self.layout.count || !self.seen.insert(page) {
            return;
        }
        let usable = self.layout.usable;
        let is_understood = if PageHeader::read(bytes, page).is_some() {
            references(bytes, page, usable, |reference| match reference {
                Reference::Child(page) | Reference::Overflow(page, _) => self.refer(page),
            })
        } else {
            match number(bytes, 0) {
                Some(0) => Some(()),
                Some(next) if next < AMBIGUOUS_PAGES => {
                    self.refer(next);
                    Some(())
                }
                Some(_) | None => None,
            }
        };
        self.doubtful |= is_understood.is_none();
    }

    /// Reads every page that is referred to and was not looked at. Ends early at a doubt; `read`
    /// ends it by an error.
    pub(super) fn complete<E>(
        &mut self,
        mut read: impl FnMut(u32, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = Vec::new();
        for word in 0..self.referred.0.len() {
            self.position = word;
            loop {
                let page = match self.behind.pop() {
                    Some(page) if self.seen.contains(page) => continue,
                    Some(page) => page,
                    None => {
                        let left = self.referred.0[word] & !self.seen.0[word];
                        if left == 0 {
                            break;
                        }
                        // A word of 64 pages that are all within the file.
                        u32::try_from(word * 64).unwrap_or(u32::MAX) + left.trailing_zeros()
                    }
                };
                if self.doubtful {
                    return Ok(());
                }
                read(page, &mut buffer)?;
                self.observe(page, &buffer);
            }
        }
        Ok(())
    }

    /// Whether each page of the file is referred to once.
    pub(super) fn is_proven(&self) -> bool {
        let referred: u64 = self.referred.0.iter().map(|word| u64::from(word.count_ones())).sum();
        !self.doubtful && referred == u64::from(self.layout.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of 512 bytes: a table's interior page 1 (behind the database's header) with the leaves
    /// 2 and 3, and a value of leaf 3 that goes on in the overflow pages 5 and 4.
    fn file() -> Vec<Vec<u8>> {
        let mut pages = vec![vec![0_u8; 512]; 5];
        let first = &mut pages[0];
        first[100] = 5;
        first[103..105].copy_from_slice(&1_u16.to_be_bytes());
        first[108..112].copy_from_slice(&3_u32.to_be_bytes());
        first[112..114].copy_from_slice(&500_u16.to_be_bytes());
        first[500..504].copy_from_slice(&2_u32.to_be_bytes());
        pages[1][0] = 13;
        let leaf = &mut pages[2];
        leaf[0] = 13;
        leaf[3..5].copy_from_slice(&1_u16.to_be_bytes());
        leaf[8..10].copy_from_slice(&400_u16.to_be_bytes());
        // 1,055 bytes of payload in row 1, of which the leaf has the least, 39, and two overflow
        // pages 508 each.
        leaf[400..403].copy_from_slice(&[0x88, 0x1f, 1]);
        leaf[403 + 39..403 + 43].copy_from_slice(&5_u32.to_be_bytes());
        pages[4][..4].copy_from_slice(&4_u32.to_be_bytes());
        pages
    }

    fn proven(pages: &[Vec<u8>], observed: &[u32]) -> bool {
        let layout = Layout { count: 5, page_bytes: 512, usable: 512, highest_root: 0 };
        let mut uses = PageUses::new(layout);
        let bytes = |page: u32| &pages[page as usize - 1];
        observed.iter().for_each(|page| uses.observe(*page, bytes(*page)));
        uses.refer(1);
        uses.complete(|page, buffer| -> Result<(), ()> {
            assert!(!observed.contains(&page), "page {page} was shown already");
            buffer.clone_from(bytes(page));
            Ok(())
        })
        .unwrap();
        uses.is_proven()
    }

    #[test]
    fn pages_may_come_in_any_order() {
        let pages = file();
        for observed in [&[][..], &[1, 2, 3, 4, 5], &[5, 4, 3, 2, 1], &[4], &[3, 3, 1]] {
            assert!(proven(&pages, observed), "{observed:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_a_doubt_in_any_order() {
        /// What is done to which byte of which page.
        const FAULTS: [(&str, usize, usize, u8); 6] = [
            ("a page is used twice", 1, 503, 3),
            ("a page is lost", 5, 3, 0),
            ("a chain leads back", 4, 3, 5),
            ("a page is outside of the file", 4, 3, 6),
            ("a page is no page of a b-tree", 3, 0, 7),
            ("a cell is outside of its page", 3, 8, 9),
        ];
        for (what, page, at, byte) in FAULTS {
            let mut pages = file();
            pages[page - 1][at] = byte;
            for observed in [&[][..], &[1, 2, 3, 4, 5], &[5, 4, 3, 2, 1]] {
                assert!(!proven(&pages, observed), "{what}: {observed:?}");
            }
        }
    }

    #[test]
    fn a_file_too_large_for_the_proof_is_left_to_the_walk() {
        let layout = Layout { count: AMBIGUOUS_PAGES, page_bytes: 512, usable: 512, highest_root: 0 };
        assert!(PageUses::new(layout).is_doubtful());
    }
}
