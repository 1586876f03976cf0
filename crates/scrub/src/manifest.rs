//! The manifest of a backup: the hash of each page, and of the file.
//!
//! A manifest stands beside its backup and has its name with [`SUFFIX`]. It begins with a header of
//! two lines of text, padded with spaces to a multiple of 4096 bytes:
//!
//! ```text
//! litekeeper-manifest 1 4096
//! {"litekeeper":"0.1.0","backup":"books-….backup","sha256":"…",…}
//! ```
//!
//! The first line names the format and the bytes of the header; the last 17 bytes of the header are
//! the hash of the bytes before it, as 16 hexadecimal digits and a newline. Blocks of 4096 bytes
//! follow: 511 hashes of pages by position, 8 bytes each in little-endian order, and a hash of the
//! block. A hash of 0 means that nothing is known of the page: the page of SQLite's lock bytes, and
//! positions after the last page.
//!
//! Each part has a hash of its own, so that a page is looked up by reading two blocks, and a
//! damaged manifest is distinguished from a damaged backup.

mod comparer;
mod reader;
mod writer;

use std::io;

use serde::Deserialize;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use comparer::Blocks;
pub use comparer::Compared;
pub use comparer::Comparer;
pub use reader::Manifest;
pub use writer::ManifestWriter;

/// What follows the name of a backup in the name of its manifest.
pub const SUFFIX: &str = ".manifest";

/// The version of the format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The first word of a manifest.
const MAGIC: &str = "litekeeper-manifest";

/// The header is a multiple of this, and a block of hashes is as long.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Hashes in a block; the last 8 bytes are the hash of the block.
pub(crate) const HASHES_PER_BLOCK: usize = BLOCK_BYTES / 8 - 1;

/// Bytes of the hash at the end of the header.
const HEADER_HASH_BYTES: usize = 17;

/// The longest header that is read: a path has at most 4096 bytes, which JSON can make six times as
/// long.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The database of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The identity of the database's backups, kept in the state file.
    pub id: String,
    /// The name of the database in the configuration.
    pub database: String,
    /// The path of the database.
    pub path: String,
    /// The name of the host that made the backup.
    pub host: String,
}

/// What a manifest says of its backup as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of litekeeper that made the backup.
    pub litekeeper: String,
    /// The name of the backup's file.
    pub backup: String,
    /// The database.
    #[serde(flatten)]
    pub origin: Origin,
    /// When the copy was started, in seconds since 1970.
    pub made_at: f64,
    /// When the copy was verified, in seconds since 1970.
    pub verified_at: f64,
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the backup.
    pub pages: u32,
    /// Bytes of the backup.
    pub file_size: u64,
    /// SHA-256 of the backup in hexadecimal digits, as `sha256sum` prints it.
    pub sha256: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its own hashes do not fit, or it is not a manifest.
    #[error("the manifest is damaged: {0}")]
    Damaged(String),
    /// A newer version of litekeeper made it.
    #[error(
        "the manifest has format {0}, and this version of litekeeper reads format {FORMAT_VERSION}; update litekeeper"
    )]
    Newer(u32),
}

/// The block that contains the hash of a page, and the position in it.
pub(crate) fn position_of(page: u32) -> (u64, usize) {
    let index = u64::from(page.saturating_sub(1));
    (index / HASHES_PER_BLOCK as u64, (index % HASHES_PER_BLOCK as u64) as usize)
}

/// How many blocks the hashes of so many pages take.
pub(crate) fn blocks_of(pages: u32) -> u64 {
    u64::from(pages).div_ceil(HASHES_PER_BLOCK as u64)
}

/// Bytes of the manifest of a backup of so many pages, with a header of usual length.
#[must_use]
pub fn manifest_bytes(pages: u32) -> u64 {
    (1 + blocks_of(pages)) * BLOCK_BYTES as u64
}

/// The hash of a block of hashes. The number of the block is part of it, so that blocks cannot
/// change places.
pub(crate) fn block_hash(number: u64, hashes: &[u8]) -> u64 {
    xxh3_64_with_seed(hashes, number)
}

/// The page of SQLite's lock bytes at 1 GiB, which SQLite neither reads nor writes.
#[must_use]
pub fn lock_page(page_size: u32) -> u32 {
    const LOCK_BYTES_AT: u32 = 1 << 30;
    LOCK_BYTES_AT / page_size.max(1) + 1
}

/// The page size in the first bytes of a database.
#[must_use]
pub fn page_size_of(database: &[u8]) -> Option<u32> {
    let size = u32::from(u16::from_be_bytes([*database.get(16)?, *database.get(17)?]));
    match size {
        1 => Some(65_536),
        512..=32_768 if size.is_power_of_two() => Some(size),
        _ => None,
    }
}

/// Formats a header into so many bytes; `None` if it does not fit.
fn format_header(header: &Header, bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let json = serde_json::to_string(header)?;
    let mut text = format!("{MAGIC} {FORMAT_VERSION} {bytes}\n{json}").into_bytes();
    let Some(end) = bytes.checked_sub(HEADER_HASH_BYTES).filter(|end| text.len() <= *end) else {
        return Ok(None);
    };
    text.resize(end, b' ');
    let hash = format!("{:016x}\n", xxh3_64(&text));
    text.extend_from_slice(hash.as_bytes());
    Ok(Some(text))
}

/// The length of a header by the first bytes of a manifest.
fn header_length(start: &[u8]) -> Result<usize, ManifestError> {
    let damaged = |detail: &str| ManifestError::Damaged(detail.to_owned());
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| damaged("the first line is not text"))?;
    let mut words = line.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(damaged("the file does not begin as a manifest does"));
    }
    let version = words.next().and_then(|word| word.parse::<u32>().ok());
    match version {
        Some(FORMAT_VERSION) => {}
        Some(newer) if newer > FORMAT_VERSION => return Err(ManifestError::Newer(newer)),
        _ => return Err(damaged("the first line has no version of the format")),
    }
    let length = words.next().and_then(|word| word.parse::<usize>().ok());
    let is_valid = |length: &usize| {
        (BLOCK_BYTES..=MAX_HEADER_BYTES).contains(length) && length.is_multiple_of(BLOCK_BYTES)
    };
    length.filter(is_valid).ok_or_else(|| damaged("the first line has no length of the header"))
}

/// Reads a header from all of its bytes.
fn parse_header(bytes: &[u8]) -> Result<Header, ManifestError> {
    let damaged = |detail: &str| ManifestError::Damaged(detail.to_owned());
    let (text, hash) = bytes
        .split_at_checked(bytes.len().saturating_sub(HEADER_HASH_BYTES))
        .ok_or_else(|| damaged("the header is too short"))?;
    if hash != format!("{:016x}\n", xxh3_64(text)).as_bytes() {
        return Err(damaged("the hash of the header does not fit"));
    }
    let json = text.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default();
    let header: Header = serde_json::from_slice(json)
        .map_err(|error| ManifestError::Damaged(format!("the header cannot be parsed: {error}")))?;
    let size = u64::from(header.pages) * u64::from(header.page_size);
    if size != header.file_size {
        return Err(damaged("the size of the file is not that of its pages"));
    }
    Ok(header)
}

#[cfg(test)]
mod tests;
