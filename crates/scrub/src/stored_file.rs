//! The form of the files of a ledger: a head in JSON, and blocks of hashes with a checksum each.
//! Whatever is damaged in such a file reads as unknown.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::direct_file::read_fully;

/// Hashes in a block.
pub(crate) const BLOCK_ENTRIES: usize = 512;
const BLOCK_BYTES: usize = BLOCK_ENTRIES * 8 + 8;
/// The longest head: that of a ledger with [`crate::ledger::MAX_RECORDS`] mismatches.
const MAX_HEAD_BYTES: usize = 64 << 20;

/// A head as bytes: length, checksum, JSON.
pub(crate) fn head_bytes(magic: [u8; 8], head: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(head)?;
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&checksum(&json, 0).to_le_bytes());
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// The head at an offset, and its length in bytes; `None` where there is no whole one.
pub(crate) fn read_head<T: DeserializeOwned>(
    file: &File,
    magic: [u8; 8],
    offset: u64,
) -> io::Result<Option<(T, u64)>> {
    // One read is enough for the usual head.
    let mut bytes = vec![0; 8192];
    let read = read_fully(file, &mut bytes, offset)?;
    bytes.truncate(read);
    if bytes.len() < 24 || bytes[..8] != magic {
        return Ok(None);
    }
    let length = word(&bytes, 8) as usize;
    if length > MAX_HEAD_BYTES {
        return Ok(None);
    }
    let end = 24 + length;
    if end > bytes.len() {
        let have = bytes.len();
        bytes.resize(end, 0);
        if have + read_fully(file, &mut bytes[have..], offset + have as u64)? < end {
            return Ok(None);
        }
    }
    let json = &bytes[24..end];
    if checksum(json, 0) != word(&bytes, 16) {
        return Ok(None);
    }
    Ok(serde_json::from_slice(json).ok().map(|head| (head, end as u64)))
}

/// Writes hashes from a block on. `nonce` ties a block to its file and place.
pub(crate) fn write_blocks(
    file: &File,
    start: u64,
    first_block: usize,
    hashes: &[u64],
    nonce: u64,
) -> io::Result<()> {
    const BLOCKS_PER_WRITE: usize = 256;
    for (index, group) in hashes.chunks(BLOCK_ENTRIES * BLOCKS_PER_WRITE).enumerate() {
        let block = first_block + index * BLOCKS_PER_WRITE;
        let mut bytes = Vec::with_capacity(BLOCKS_PER_WRITE * BLOCK_BYTES);
        for (at, entries) in group.chunks(BLOCK_ENTRIES).enumerate() {
            let begin = bytes.len();
            entries.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
            let sum = block_checksum(&bytes[begin..], nonce, block + at);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        file.write_all_at(&bytes, start + (block * BLOCK_BYTES) as u64)?;
    }
    Ok(())
}

/// Reads the block with `entries` hashes; `None` where it is damaged.
pub(crate) fn read_block(
    file: &File,
    start: u64,
    block: usize,
    entries: usize,
    nonce: u64,
) -> io::Result<Option<Vec<u64>>> {
    let mut bytes = vec![0; entries * 8 + 8];
    let read = read_fully(file, &mut bytes, start + (block * BLOCK_BYTES) as u64)?;
    let Some((content, sum)) = bytes.split_last_chunk::<8>() else { return Ok(None) };
    if read < bytes.len() || block_checksum(content, nonce, block) != u64::from_le_bytes(*sum) {
        return Ok(None);
    }
    let (words, _) = content.as_chunks::<8>();
    Ok(Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect()))
}

fn block_checksum(bytes: &[u8], nonce: u64, block: usize) -> u64 {
    checksum(bytes, nonce ^ (block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn checksum(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_block_is_unknown_and_the_adjacent_blocks_are_not() {
        let file = tempfile::tempfile().unwrap();
        let hashes: Vec<u64> = (1..=1_300).collect();
        write_blocks(&file, 100, 0, &hashes, 9).unwrap();
        let block = |block, entries, nonce| read_block(&file, 100, block, entries, nonce).unwrap();
        assert_eq!(block(2, 1_300 - 1_024, 9), Some((1_025..=1_300).collect()));
        assert_eq!(block(0, 512, 8), None, "of another ledger");
        let mut byte = [0];
        file.read_exact_at(&mut byte, 100 + 4104 + 7).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 100 + 4104 + 7).unwrap();
        assert_eq!(block(1, 512, 9), None);
        assert_eq!(block(0, 512, 9), Some((1..=512).collect()));
        assert_eq!(block(3, 512, 9), None, "beyond the end");
    }

    #[test]
    fn a_damaged_head_is_unknown() {
        let file = tempfile::tempfile().unwrap();
        let bytes = head_bytes(*b"LKTEST01", &vec!["x".repeat(20_000)]).unwrap();
        file.write_all_at(&bytes, 3).unwrap();
        let read = |magic| read_head::<Vec<String>>(&file, magic, 3).unwrap();
        assert_eq!(read(*b"LKTEST01").unwrap().1, bytes.len() as u64);
        assert!(read(*b"LKTEST02").is_none());
        file.write_all_at(b"y", 19_000).unwrap();
        assert!(read(*b"LKTEST01").is_none());
    }
}
