//! The entries of a store: the key of a final row, its hash, and what was found of it.

use serde::Deserialize;
use serde::Serialize;

use super::key::HASH_BYTES;
use super::key::Hash;
use super::row_key::push_number;
use super::row_key::take;
use super::row_key::take_counted;
use super::row_key::take_number;

/// What happened to a final row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealedFindingKind {
    /// Its content is another one.
    Changed,
    /// No row has its key any more.
    Deleted,
    /// It is there, and the condition is not true for it any more.
    Unsealed,
}

impl SealedFindingKind {
    /// Every kind, the worst first.
    pub const ALL: [Self; 3] = [Self::Changed, Self::Deleted, Self::Unsealed];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Unsealed => "unsealed",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Changed => 1,
            Self::Deleted => 2,
            Self::Unsealed => 3,
        }
    }
}

/// Rows with a finding, by its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingCounts {
    /// Rows whose content is another one.
    pub changed: u64,
    /// Rows that are gone.
    pub deleted: u64,
    /// Rows for which the condition is not true any more.
    pub unsealed: u64,
}

impl FindingCounts {
    /// Rows with a finding of any kind.
    #[must_use]
    pub fn total(self) -> u64 {
        self.changed + self.deleted + self.unsealed
    }

    /// Rows with a finding of one kind.
    #[must_use]
    pub fn of_kind(mut self, kind: SealedFindingKind) -> u64 {
        *self.place_of(kind)
    }

    /// The kinds of which there are findings, the worst first, each with its number.
    pub fn present(self) -> impl Iterator<Item = (SealedFindingKind, u64)> {
        let counts = SealedFindingKind::ALL.map(|kind| (kind, self.of_kind(kind)));
        counts.into_iter().filter(|(_, number)| *number > 0)
    }

    pub(super) fn add(&mut self, kind: SealedFindingKind) {
        *self.place_of(kind) += 1;
    }

    fn place_of(&mut self, kind: SealedFindingKind) -> &mut u64 {
        match kind {
            SealedFindingKind::Changed => &mut self.changed,
            SealedFindingKind::Deleted => &mut self.deleted,
            SealedFindingKind::Unsealed => &mut self.unsealed,
        }
    }
}

impl std::iter::Sum for FindingCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, more| Self {
            changed: sum.changed + more.changed,
            deleted: sum.deleted + more.deleted,
            unsealed: sum.unsealed + more.unsealed,
        })
    }
}

/// A finding that stays until it is accepted or the row matches again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryFinding {
    pub kind: SealedFindingKind,
    /// In seconds since 1970.
    pub found_at: i64,
    pub last_matched_at: i64,
}

/// A final row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The encoded key.
    pub key: Vec<u8>,
    pub hash: Hash,
    /// The place of its columns in the footer.
    pub columns: u8,
    pub finding: Option<EntryFinding>,
}

/// Entries up to a key, in the order of the table's key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// The encoded key up to which rows belong to this block.
    pub end: Vec<u8>,
    pub entries: Vec<Entry>,
}

impl Block {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * 28);
        push_counted(&mut bytes, &self.end);
        push_number(&mut bytes, self.entries.len() as u64);
        for entry in &self.entries {
            push_counted(&mut bytes, &entry.key);
            bytes.extend_from_slice(&entry.hash);
            bytes.push(entry.columns);
            bytes.push(entry.finding.map_or(0, |finding| finding.kind.code()));
            if let Some(finding) = entry.finding {
                bytes.extend_from_slice(&finding.found_at.to_le_bytes());
                bytes.extend_from_slice(&finding.last_matched_at.to_le_bytes());
            }
        }
        bytes
    }

    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let end = take_counted(bytes)?.to_vec();
        let count = take_number(bytes)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let key = take_counted(bytes)?.to_vec();
            let hash = take(bytes, HASH_BYTES)?.try_into().ok()?;
            let columns = *take(bytes, 1)?.first()?;
            let code = *take(bytes, 1)?.first()?;
            let finding = match SealedFindingKind::ALL.into_iter().find(|kind| kind.code() == code) {
                Some(kind) => {
                    let (found_at, last_matched_at) = (take_time(bytes)?, take_time(bytes)?);
                    Some(EntryFinding { kind, found_at, last_matched_at })
                }
                None => None,
            };
            entries.push(Entry { key, hash, columns, finding });
        }
        bytes.is_empty().then_some(Self { end, entries })
    }
}

fn push_counted(bytes: &mut Vec<u8>, content: &[u8]) {
    push_number(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn take_time(bytes: &mut &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(take(bytes, 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives_and_a_cut_one_is_none() {
        let finding = EntryFinding { kind: SealedFindingKind::Unsealed, found_at: 7, last_matched_at: -1 };
        let entry =
            |key: &[u8], finding| Entry { key: key.to_vec(), hash: [3; HASH_BYTES], columns: 2, finding };
        let block =
            Block { end: b"z".to_vec(), entries: vec![entry(b"a", None), entry(b"bc", Some(finding))] };
        let bytes = block.encode();
        assert_eq!(Block::decode(&bytes), Some(block));
        for length in 0..bytes.len() {
            assert_eq!(Block::decode(&bytes[..length]), None, "{length}");
        }
    }
}
