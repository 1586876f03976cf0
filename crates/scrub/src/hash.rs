//! Hashes of pages and of files. Ledgers and manifests of backups use the same ones, so that a page
//! of a backup can be compared with a page of the database.

use std::fmt;
use std::io;
use std::io::Read;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh3::xxh3_64;

/// XXH3 (64 bits) of the bytes of a page. The value 0 is replaced by 1: in a ledger or a manifest,
/// 0 means that nothing is known of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageHash(NonZeroU64);

impl PageHash {
    /// The hash that is stored as `value`; `None` for 0.
    #[must_use]
    pub fn from_stored(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }

    /// The value to store.
    #[must_use]
    pub fn stored(self) -> u64 {
        self.0.get()
    }
}

/// The hash of a page.
#[must_use]
pub fn hash_page(bytes: &[u8]) -> PageHash {
    PageHash(NonZeroU64::new(xxh3_64(bytes)).unwrap_or(NonZeroU64::MIN))
}

/// As 16 hexadecimal digits.
impl fmt::Display for PageHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for PageHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        digits(text, 16)?;
        let value = u64::from_str_radix(text, 16).map_err(|error| error.to_string())?;
        Self::from_stored(value).ok_or_else(|| "the hash of a page is never 0".to_owned())
    }
}

/// XXH3 (128 bits) of all bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileHash(u128);

/// As 32 hexadecimal digits.
impl fmt::Display for FileHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for FileHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        digits(text, 32)?;
        u128::from_str_radix(text, 16).map(Self).map_err(|error| error.to_string())
    }
}

/// `from_str_radix` accepts a sign and any length.
fn digits(text: &str, count: usize) -> Result<(), String> {
    if text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(format!("a hash has {count} hexadecimal digits"))
    }
}

/// Hashes a file that is read piece by piece.
#[derive(Clone, Default)]
pub struct FileHasher(Xxh3);

impl fmt::Debug for FileHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FileHasher")
    }
}

impl FileHasher {
    /// A hasher that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    #[must_use]
    pub fn finish(&self) -> FileHash {
        FileHash(self.0.digest128())
    }
}

/// The hash of everything that a reader yields.
///
/// # Errors
/// The reader's.
pub fn hash_file(input: &mut dyn Read) -> io::Result<FileHash> {
    const BUFFER_BYTES: usize = 1 << 20;
    let mut hasher = FileHasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Serialize for PageHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PageHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for FileHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_xxh3_and_survive_their_text() {
        // From the reference implementation: XXH3_64bits and XXH3_128bits of no bytes.
        assert_eq!(hash_page(b"").to_string(), "2d06800538d394c2");
        assert_eq!(FileHasher::new().finish().to_string(), "99aa06d3014798d86001c324468d497f");
        let mut page = vec![7_u8; 4096];
        let hash = hash_page(&page);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(PageHash::from_stored(hash.stored()), Some(hash));
        page[4095] ^= 1;
        assert_ne!(hash_page(&page), hash);
        assert_eq!(PageHash::from_stored(0), None);
        for wrong in ["", "0000000000000000", "+d06800538d394c2", "2d06800538d394c", "2d06800538d394cg"] {
            assert!(wrong.parse::<PageHash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_has_one_hash_however_it_is_read() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
        let mut hasher = FileHasher::new();
        bytes.chunks(777).for_each(|chunk| hasher.update(chunk));
        let hash = hash_file(&mut bytes.as_slice()).unwrap();
        assert_eq!(hash, hasher.finish());
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
}
