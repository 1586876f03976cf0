//! Whether a file that SQLite refuses as no database is an encrypted one.
//!
//! SQLCipher, SEE and their like encrypt the header too, so SQLite says SQLITE_NOTADB of an intact
//! file as it does of one whose first page was overwritten. Their content differs: all of an
//! encrypted file looks random, while the pages behind a damaged first one are pages of b-trees.

use std::path::Path;

use super::btree_page::PageHeader;
use super::raw;
use super::reader::Access;
use super::reader::Reader;
use crate::limits::QueryLimits;

/// What is said of an encrypted file.
pub(super) const ENCRYPTED: &str = "the file has no header of an SQLite database and looks encrypted (SQLCipher, SEE): only its application can \
     read and check it. This is no sign of damage. Leave the file out of the configuration, or watch its size alone";

/// The page sizes that occur.
pub(super) const PAGE_SIZES: [usize; 8] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

/// Bytes of a sample. Of random ones, all but 0.01 of the 256 values of a byte are in it on
/// average.
pub(super) const SAMPLE: usize = 2048;

/// The fewest different bytes of a random sample: text has less than 100, and pages of SQLite many
/// zeros.
const MIN_VALUES: usize = 240;

/// Places in the file at which samples are taken.
const SAMPLES: u64 = 8;

/// Whether a file looks encrypted. It is read through SQLite, without a lock; one that cannot be
/// read does not.
pub(super) fn is_encrypted(path: &Path, size_bytes: u64, limits: &QueryLimits) -> bool {
    let Ok(reader) = Reader::open(path, Access::Immutable, limits) else { return false };
    let sample = |at: u64| {
        let mut bytes = vec![0; SAMPLE];
        raw::read_at(&reader.connection, at, &mut bytes).ok().map(|()| bytes)
    };
    let Some(last) = size_bytes.checked_sub(SAMPLE as u64) else { return false };
    let is_random = (0..SAMPLES)
        .all(|place| sample(last / (SAMPLES - 1) * place).is_some_and(|bytes| looks_random(&bytes)));
    is_random && !PAGE_SIZES.iter().any(|size| has_btree_pages(&sample, *size, size_bytes))
}

fn looks_random(bytes: &[u8]) -> bool {
    let mut seen = [false; 256];
    bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count() >= MIN_VALUES
}

/// Whether half of the pages behind the first begin as pages of b-trees do, and at least three.
fn has_btree_pages(sample: &impl Fn(u64) -> Option<Vec<u8>>, page_size: usize, size_bytes: u64) -> bool {
    const PAGES: u64 = 16;
    let pages = (size_bytes / page_size as u64).min(PAGES + 1);
    let is_btree = |number: &u64| {
        let page = sample((number - 1) * page_size as u64);
        page.and_then(|page| PageHeader::read(&page, 2))
            .is_some_and(|header| header.cells * 2 + 8 <= page_size)
    };
    let found = (2..=pages).filter(is_btree).count() as u64;
    found >= 3 && found * 2 >= pages.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the test plays the owner")]

    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;

    /// Bytes as a cipher leaves them.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn an_encrypted_file_is_no_damaged_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let database = |page_size: usize, values: &str| {
            let _ = std::fs::remove_file(&path);
            let owner = Connection::open(&path).unwrap();
            owner
                .execute_batch(&format!(
                    "PRAGMA page_size = {page_size}; CREATE TABLE t (id INTEGER PRIMARY KEY, v);
                     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO t SELECT i, {values} FROM n"
                ))
                .unwrap();
            drop(owner);
            std::fs::read(&path).unwrap()
        };
        let mut cases = vec![
            ("encrypted".to_owned(), noise(16 * 4096), true),
            ("encrypted, one small page".to_owned(), noise(2048), true),
            ("text".to_owned(), "no database, but words ".repeat(1000).into_bytes(), false),
            ("zeros".to_owned(), vec![0; 16 * 4096], false),
            ("too short to tell".to_owned(), noise(512), false),
        ];
        for page_size in PAGE_SIZES {
            for values in ["randomblob(100)", "hex(randomblob(100))", "randomblob(300)"] {
                let mut bytes = database(page_size, values);
                let first = page_size.min(bytes.len());
                bytes[..first].copy_from_slice(&noise(first));
                cases.push((format!("{page_size} bytes, {values}, first page overwritten"), bytes, false));
            }
        }
        for (case, bytes, expected) in cases {
            std::fs::write(&path, &bytes).unwrap();
            let limits = QueryLimits::with_timeout(Duration::from_secs(60));
            assert_eq!(is_encrypted(&path, bytes.len() as u64, &limits), expected, "{case}");
        }
    }
}
