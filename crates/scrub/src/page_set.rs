//! A set of pages: one bit per page.

/// Pages of a database, numbered from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageSet {
    words: Vec<u64>,
}

impl PageSet {
    pub(crate) fn insert(&mut self, page: u32) {
        let at = page as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (page % 64);
    }

    pub(crate) fn contains(&self, page: u32) -> bool {
        self.words.get(page as usize / 64).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_inserted() {
        let mut set = PageSet::default();
        for page in [1, 63, 64, 1_000] {
            set.insert(page);
        }
        let read = PageSet::from_bytes(&set.to_bytes());
        assert_eq!(read, set);
        assert_eq!((0..2_000).filter(|page| read.contains(*page)).collect::<Vec<_>>(), [1, 63, 64, 1_000]);
    }
}
