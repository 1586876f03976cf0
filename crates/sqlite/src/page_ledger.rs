//! The walk over all pages of a database that says which has two uses, a wrong one, or none.

use super::btree_page::Reference;
use super::btree_page::number;
use super::btree_page::references;
use super::findings::MAX_FINDINGS;
use super::page_layout::Layout;
use super::page_uses::PageUses;
use super::pages::Pages;

/// Types of entries of a pointer map.
const MAP_ROOT: u8 = 1;
const MAP_FREE: u8 = 2;

/// Which pages have a use, and what is wrong.
pub(super) struct PageLedger<'connection> {
    pub(super) pages: Pages<'connection>,
    pub(super) layout: Layout,
    /// The first page of the freelist, and how many pages the header says that it has.
    free: (u32, u32),
    used: Vec<u64>,
    /// The pointer map that was read last.
    map: (u32, Vec<u8>),
    pub(super) problems: Vec<String>,
}

impl<'connection> PageLedger<'connection> {
    /// Begins with the pages that have their use by their place.
    pub(super) fn open(pages: Pages<'connection>, layout: Layout, first: &[u8]) -> Self {
        let mut ledger = Self {
            pages,
            layout,
            free: (number(first, 32).unwrap_or(0), number(first, 36).unwrap_or(0)),
            used: vec![0; layout.count as usize / 64 + 1],
            map: (0, Vec::new()),
            problems: Vec::new(),
        };
        for (page, name) in layout.fixed() {
            ledger.take(page, name);
        }
        ledger
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        if self.problems.len() < MAX_FINDINGS {
            self.problems.push(text());
        }
    }

    fn is_full(&self) -> bool {
        self.problems.len() >= MAX_FINDINGS
    }

    fn is_used(&self, page: u32) -> bool {
        self.used[page as usize / 64] & (1 << (page % 64)) != 0
    }

    /// Notes the use of a page, and says whether it is there and had none before.
    fn take(&mut self, page: u32, by: &str) -> bool {
        let count = self.layout.count;
        if page == 0 || page > count {
            self.problem(|| format!("{by} refers to page {page}, and the database has pages 1 to {count}"));
            return false;
        }
        if self.is_used(page) {
            self.problem(|| format!("page {page} is used twice: {by} has it too"));
            return false;
        }
        self.used[page as usize / 64] |= 1 << (page % 64);
        true
    }

    /// Takes all pages of a b-tree.
    pub(super) fn tree(&mut self, root: u32, name: &str) -> rusqlite::Result<()> {
        if !self.take(root, name) {
            return Ok(());
        }
        if root > 1 {
            self.expect_in_map(root, MAP_ROOT, name)?;
        }
        let mut waiting = vec![root];
        let (mut below, mut chains) = (Vec::new(), Vec::new());
        let mut buffer = Vec::new();
        while let Some(page) = waiting.pop() {
            if self.is_full() {
                break;
            }
            self.pages.read(page, &mut buffer)?;
            let understood = references(&buffer, page, self.layout.usable, |reference| match reference {
                Reference::Child(child) => below.push(child),
                Reference::Overflow(first, length) => chains.push((first, length)),
            });
            if understood.is_none() {
                self.problem(|| format!("page {page} of {name} is no page of a b-tree"));
                below.clear();
                chains.clear();
                continue;
            }
            for child in below.drain(..) {
                if self.take(child, name) {
                    waiting.push(child);
                }
            }
            for (first, length) in chains.drain(..) {
                self.overflow(first, length, page, name, &mut buffer)?;
            }
        }
        Ok(())
    }

    /// Takes the pages of one value that does not fit its page.
    fn overflow(
        &mut self,
        first: u32,
        length: u64,
        from: u32,
        name: &str,
        buffer: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let mut page = first;
        for _ in 0..length {
            if page == 0 {
                self.problem(|| format!("an overflow chain of {name} from page {from} ends too early"));
                return Ok(());
            }
            if !self.take(page, name) {
                return Ok(());
            }
            self.pages.read(page, buffer)?;
            page = number(buffer, 0).unwrap_or(0);
        }
        if page != 0 {
            self.problem(|| format!("an overflow chain of {name} from page {from} does not end"));
        }
        Ok(())
    }

    /// Takes the pages of the freelist and compares their number with the header.
    pub(super) fn freelist(&mut self) -> rusqlite::Result<()> {
        const NAME: &str = "the freelist";
        let (mut trunk, announced) = self.free;
        let mut found = 0_u32;
        let mut buffer = Vec::new();
        let capacity = self.trunk_capacity();
        while trunk != 0 && !self.is_full() {
            if !self.take(trunk, NAME) {
                break;
            }
            self.expect_in_map(trunk, MAP_FREE, NAME)?;
            found += 1;
            self.pages.read(trunk, &mut buffer)?;
            let leaves = number(&buffer, 4).unwrap_or(0);
            if leaves > capacity {
                self.problem(|| {
                    format!("page {trunk} of {NAME} names {leaves} pages, more than it can hold")
                });
                break;
            }
            for leaf in buffer.get(8..8 + leaves as usize * 4).unwrap_or_default().chunks_exact(4) {
                let leaf = number(leaf, 0).unwrap_or(0);
                found += 1;
                if self.take(leaf, NAME) {
                    self.expect_in_map(leaf, MAP_FREE, NAME)?;
                }
            }
            trunk = number(&buffer, 0).unwrap_or(0);
        }
        if found != announced {
            self.problem(|| format!("{NAME} has {found} pages, and the header says {announced}"));
        }
        Ok(())
    }

    /// How many pages a trunk page of the freelist can name.
    fn trunk_capacity(&self) -> u32 {
        u32::try_from(self.layout.usable / 4).unwrap_or(u32::MAX) - 2
    }

    /// Notes the pages of the freelist in `uses`, and says whether it is as the header and the
    /// pointer maps have it, and the maps have the root pages too.
    pub(super) fn freelist_into(
        &mut self,
        uses: &mut PageUses,
        roots: &[(u32, String)],
    ) -> rusqlite::Result<bool> {
        let (mut trunk, announced) = self.free;
        let (mut found, capacity) = (0_u32, self.trunk_capacity());
        let mut buffer = Vec::new();
        for (root, _) in roots.iter().filter(|(root, _)| *root > 1) {
            if !self.is_in_map(*root, MAP_ROOT)? {
                return Ok(false);
            }
        }
        while trunk != 0 {
            uses.refer_free(trunk);
            if uses.is_doubtful() || !self.is_in_map(trunk, MAP_FREE)? {
                return Ok(false);
            }
            self.pages.read(trunk, &mut buffer)?;
            let leaves = number(&buffer, 4).unwrap_or(u32::MAX);
            if leaves > capacity {
                return Ok(false);
            }
            for leaf in buffer.get(8..8 + leaves as usize * 4).unwrap_or_default().chunks_exact(4) {
                let leaf = number(leaf, 0).unwrap_or(0);
                uses.refer_free(leaf);
                if uses.is_doubtful() || !self.is_in_map(leaf, MAP_FREE)? {
                    return Ok(false);
                }
            }
            found += 1 + leaves;
            trunk = number(&buffer, 0).unwrap_or(0);
        }
        Ok(found == announced)
    }

    /// Compares the entry of a page in its pointer map with its use. Those of the other pages
    /// belong to SQLite's check of the table, which compares them.
    fn expect_in_map(&mut self, page: u32, kind: u8, name: &str) -> rusqlite::Result<()> {
        if !self.is_in_map(page, kind)? {
            self.problem(|| format!("page {page} of {name} has another use in the pointer map"));
        }
        Ok(())
    }

    /// Whether a page has an entry of this kind, or needs none.
    fn is_in_map(&mut self, page: u32, kind: u8) -> rusqlite::Result<bool> {
        let Some((map, entry)) = self.layout.entry_of(page) else { return Ok(true) };
        if self.map.0 != map {
            self.pages.read(map, &mut self.map.1)?;
            self.map.0 = map;
        }
        Ok(self.map.1.get(entry as usize * 5) == Some(&kind))
    }

    /// With auto_vacuum the header keeps the largest root page.
    pub(super) fn highest_root(&mut self, roots: &[(u32, String)]) {
        let (announced, highest) = (self.layout.highest_root, roots.iter().map(|(root, _)| *root).max());
        if let Some(highest) = highest.filter(|highest| announced != 0 && *highest != announced) {
            self.problem(|| format!("the largest root page is {highest}, and the header says {announced}"));
        }
    }

    /// Every page that nothing uses is lost. After pages that could not be followed this follows
    /// from them, and is left out.
    pub(super) fn unused(&mut self) {
        if !self.problems.is_empty() {
            return;
        }
        for page in 1..=self.layout.count {
            if self.is_full() {
                return;
            }
            if !self.is_used(page) {
                self.problem(|| format!("page {page} is never used"));
            }
        }
    }
}
