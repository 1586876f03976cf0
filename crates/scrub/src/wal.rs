//! The write-ahead log and its index as plain bytes
//! (<https://www.sqlite.org/walformat.html>, <https://www.sqlite.org/fileformat2.html#walformat>).

use serde::Deserialize;
use serde::Serialize;

/// Bytes of the header of a WAL.
pub(crate) const WAL_HEADER_BYTES: usize = 32;
/// Bytes of the header of a frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Bytes of the wal-index header with what a checkpoint keeps behind it.
pub(crate) const INDEX_BYTES: usize = 136;
/// Offset of the lock that every connection holds while it has the wal-index open.
pub(crate) const INDEX_OPEN_LOCK: u64 = 128;

const MAGIC: u32 = 0x377f_0682;
const WAL_VERSION: u32 = 3_007_000;

/// The running checksum of a WAL.
pub(crate) type Checksum = [u32; 2];

/// Salts of a WAL: a restart adds 1 to the first and draws the second anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Salts {
    pub first: u32,
    pub second: u32,
}

impl Salts {
    fn parse(bytes: &[u8]) -> Self {
        Self { first: big(bytes, 0), second: big(bytes, 4) }
    }

    /// Whether exactly one restart lies between these and `earlier`.
    pub(crate) fn is_next_of(self, earlier: Self) -> bool {
        self.first == earlier.first.wrapping_add(1)
    }
}

/// The header of a WAL whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalHeader {
    pub page_size: u32,
    pub salts: Salts,
    pub checksum: Checksum,
    /// Whether checksums read words as big-endian.
    pub is_big_endian: bool,
}

impl WalHeader {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..WAL_HEADER_BYTES)?;
        let is_big_endian = big(bytes, 0) & 1 == 1;
        let page_size = big(bytes, 8);
        if big(bytes, 0) & !1 != MAGIC
            || big(bytes, 4) != WAL_VERSION
            || !page_size.is_power_of_two()
            || !(512..=65_536).contains(&page_size)
        {
            return None;
        }
        let checksum = [big(bytes, 24), big(bytes, 28)];
        let sum = running_checksum([0, 0], &bytes[..24], is_big_endian);
        (sum == checksum).then(|| Self {
            page_size,
            salts: Salts::parse(&bytes[16..24]),
            checksum,
            is_big_endian,
        })
    }

    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_size as usize
    }

    /// Where a frame begins; frames are numbered from 1.
    pub(crate) fn frame_offset(&self, frame: u32) -> u64 {
        WAL_HEADER_BYTES as u64 + u64::from(frame - 1) * self.frame_bytes() as u64
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub page: u32,
    /// The size of the database in pages after the commit that this frame ends; 0 for others.
    pub commit_pages: u32,
    pub salts: Salts,
    pub checksum: Checksum,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        Some(Self {
            page: big(bytes, 0),
            commit_pages: big(bytes, 4),
            salts: Salts::parse(&bytes[8..16]),
            checksum: [big(bytes, 16), big(bytes, 20)],
        })
    }

    pub(crate) fn is_commit(&self) -> bool {
        self.commit_pages != 0
    }
}

/// The running checksum after a frame: of the first 8 bytes of its header and of its page.
pub(crate) fn frame_checksum(before: Checksum, frame: &[u8], is_big_endian: bool) -> Checksum {
    let after_header = running_checksum(before, &frame[..8], is_big_endian);
    running_checksum(after_header, &frame[FRAME_HEADER_BYTES..], is_big_endian)
}

/// `walChecksumBytes` in wal.c.
fn running_checksum(before: Checksum, bytes: &[u8], is_big_endian: bool) -> Checksum {
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(before, |[s1, s2], [a, b, c, d, e, f, g, h]| {
        let word = |bytes: [u8; 4]| {
            if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let s1 = s1.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(s2);
        [s1, s2.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(s1)]
    })
}

/// The wal-index header of a generation of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalIndex {
    pub salts: Salts,
    /// Committed frames (`mxFrame`).
    pub frames: u32,
    /// The running checksum after the last of them.
    pub checksum: Checksum,
    /// Pages of the database after the last commit.
    pub pages: u32,
    /// Commits since the wal-index was made (`iChange`). Recovery makes it anew.
    pub commits: u32,
    /// Frames that are in the main file, synced (`nBackfill`).
    pub backfilled: u32,
    /// Frames that a checkpoint was about to copy (`nBackfillAttempted`).
    pub attempted: u32,
}

impl WalIndex {
    /// Reads both copies of the header; `None` while a writer changes them, and where there is no
    /// valid index.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        const COPY: usize = 48;
        const WORDS_BEFORE_CHECKSUM: usize = 40;
        let bytes = bytes.get(..INDEX_BYTES)?;
        let copy = &bytes[..COPY];
        let sum = running_checksum([0, 0], &copy[..WORDS_BEFORE_CHECKSUM], cfg!(target_endian = "big"));
        if copy != &bytes[COPY..2 * COPY]
            || native(copy, 0) != WAL_VERSION
            || copy[12] == 0
            || sum != [native(copy, 40), native(copy, 44)]
        {
            return None;
        }
        let frames = native(copy, 16);
        Some(Self {
            salts: Salts::parse(&copy[32..40]),
            frames,
            checksum: [native(copy, 24), native(copy, 28)],
            pages: native(copy, 20),
            commits: native(copy, 8),
            // A restart writes the header first, and these two afterwards.
            backfilled: native(bytes, 96).min(frames),
            attempted: native(bytes, 128).min(frames),
        })
    }

    /// Whether both are the same state of the header; checkpoints may have gone on.
    pub(crate) fn is_same_header(&self, other: &Self) -> bool {
        Self { backfilled: 0, attempted: 0, ..*self } == Self { backfilled: 0, attempted: 0, ..*other }
    }
}

fn big(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn native(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
