//! What a file is that SQLite cannot open as a database.
//!
//! SQLite says SQLITE_NOTADB of a text file, of a database in a format of the future, of an
//! encrypted one, and of one whose first page was overwritten. Only the last one is damaged, and
//! content tells them apart: a damaged database still has SQLite's magic, the other fields of its
//! header, or pages of b-trees behind the first page.

use std::fmt;
use std::path::Path;

use super::btree_page::PageHeader;
use super::btree_page::number;
use super::encrypted::ENCRYPTED;
use super::encrypted::PAGE_SIZES;
use super::encrypted::SAMPLE;
use super::encrypted::is_encrypted;
use super::error::ErrorCode;
use super::error::SqliteError;
use super::header::HEADER_BYTES;
use super::raw;
use super::reader::Access;
use super::reader::Reader;
use crate::limits::QueryLimits;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The header of SQLite 2, up to its version.
const MAGIC_OF_SQLITE_2: &[u8] = b"** This file contains an SQLite 2";

/// The latest version of the file format for reading (2 is WAL).
const LATEST_VERSION: u8 = 2;

/// The latest version of the schema's format.
const LATEST_SCHEMA: u32 = 4;

/// SQLite's message for a schema in a later format.
const UNSUPPORTED: &str = "unsupported file format";

/// Payload fractions, which every database has: maximum, minimum, leaf.
const FRACTIONS: [u8; 3] = [64, 32, 32];

/// First bytes of files that are often beside databases, or named like one by mistake.
const SIGNATURES: [(&[u8], &str); 14] = [
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "an LZ4 archive"),
    (b"\x7fELF", "a program"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file, as Windows makes Thumbs.db"),
    (b"\x37\x7f\x06\x82", "an SQLite WAL"),
    (b"\x37\x7f\x06\x83", "an SQLite WAL"),
];

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFormat {
    /// It has no bytes. SQLite takes it for a database without tables.
    Empty,
    /// All of it looks random.
    Encrypted,
    /// A version of the format that this SQLite cannot read.
    NewerVersion(u8),
    /// A version of the schema's format that this SQLite cannot read.
    NewerSchema(u32),
    /// A database of SQLite 2.
    Sqlite2,
    /// A file of another kind, with its description.
    OtherFile(&'static str),
    /// A file without any sign of a database.
    Unrecognised,
    /// A database whose header or first page is broken, with the fault.
    Damaged(String),
}

impl FileFormat {
    /// What a file is that SQLite refused with an error; `None` if the error says something else.
    /// It is read through SQLite, without a lock.
    #[must_use]
    pub fn of_refused(
        error: &SqliteError,
        path: &Path,
        size_bytes: u64,
        limits: &QueryLimits,
    ) -> Option<Self> {
        let is_short = size_bytes < PAGE_SIZES[0] as u64
            && matches!(error.code(), Some(ErrorCode::Io | ErrorCode::Corrupt));
        let is_newer = error.words() == UNSUPPORTED;
        (is_short || is_newer || error.code() == Some(ErrorCode::NotADatabase))
            .then(|| Self::detect(path, size_bytes, limits))
            .flatten()
    }

    /// What a file is; `None` if it can be a database, or cannot be read.
    #[must_use]
    pub fn detect(path: &Path, size_bytes: u64, limits: &QueryLimits) -> Option<Self> {
        if size_bytes == 0 {
            return Some(Self::Empty);
        }
        let reader = Reader::open(path, Access::Immutable, limits).ok()?;
        let read = |at: u64| {
            let length = usize::try_from(size_bytes.saturating_sub(at)).unwrap_or(SAMPLE).min(SAMPLE);
            let mut bytes = vec![0; length];
            raw::read_at(&reader.connection, at, &mut bytes).ok().map(|()| bytes)
        };
        let first = read(0)?;
        if first.starts_with(MAGIC) || MAGIC.starts_with(&first) {
            return of_header(&first, size_bytes);
        }
        if first.starts_with(MAGIC_OF_SQLITE_2) {
            return Some(Self::Sqlite2);
        }
        if page_size(&first).is_some() && has_constants(&first) {
            return Some(Self::damaged(
                "its first 16 bytes are not those of a database, the rest of its header is",
            ));
        }
        if PAGE_SIZES.iter().any(|size| has_pages(&read, *size, size_bytes)) {
            return Some(Self::damaged("its first page was overwritten: pages of tables follow it"));
        }
        if size_bytes >= PAGE_SIZES[0] as u64 && first.iter().all(|byte| *byte == 0) {
            let words = "its first page holds zeros only: its content was lost, as after a power failure, or never written";
            return Some(Self::damaged(words));
        }
        if first.get(257..262) == Some(b"ustar") {
            return Some(Self::OtherFile("a tar archive"));
        }
        // A transfer as text, or a byte that was lost or added, moves all pages.
        if first.windows(MAGIC.len() - 1).any(|window| window == &MAGIC[1..]) {
            return Some(Self::damaged("its header is not at its beginning: all of its content is shifted"));
        }
        if let Some((_, kind)) = SIGNATURES.iter().find(|(signature, _)| first.starts_with(signature)) {
            return Some(Self::OtherFile(kind));
        }
        if is_text(&first) {
            return Some(Self::OtherFile("a text file"));
        }
        Some(if is_encrypted(path, size_bytes, limits) { Self::Encrypted } else { Self::Unrecognised })
    }

    fn damaged(words: &str) -> Self {
        Self::Damaged(words.to_owned())
    }

    /// Whether the file is a damaged database.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    /// The name in JSON and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Encrypted => "encrypted",
            Self::NewerVersion(_) | Self::NewerSchema(_) => "newer_version",
            Self::Sqlite2 | Self::OtherFile(_) | Self::Unrecognised => "not_a_database",
            Self::Damaged(_) => "damaged",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NO_DAMAGE: &str = "This is no sign of damage";
        match self {
            Self::Empty => formatter.write_str(
                "the file is empty: for SQLite it is a database without tables. Its application has not written to it yet, or it was \
                 truncated; there is nothing to check",
            ),
            Self::Encrypted => formatter.write_str(ENCRYPTED),
            Self::NewerVersion(version) => write!(
                formatter,
                "the file needs version {version} of SQLite's file format, and this SQLite reads up to {LATEST_VERSION}: a newer SQLite \
                 wrote it, or byte 19 of its header is damaged. Check it with the SQLite of its application"
            ),
            Self::NewerSchema(version) => write!(
                formatter,
                "the file needs version {version} of SQLite's schema format, and this SQLite reads up to {LATEST_SCHEMA}: a newer SQLite \
                 wrote it, or bytes 44 to 47 of its header are damaged. Check it with the SQLite of its application"
            ),
            Self::Sqlite2 => write!(
                formatter,
                "the file is a database of SQLite 2, which SQLite 3 cannot read. {NO_DAMAGE}; convert it: sqlite OLD .dump | sqlite3 NEW"
            ),
            Self::OtherFile(kind) => write!(
                formatter,
                "the file is {kind}, not an SQLite database. {NO_DAMAGE}; leave it out, or name the database itself"
            ),
            Self::Unrecognised => formatter.write_str(
                "the file is not an SQLite database: it has neither the header nor pages of one. If an application keeps its database \
                 in it, all of its content was overwritten: restore a backup; otherwise leave the file out",
            ),
            Self::Damaged(words) => write!(formatter, "the file is damaged: {words}"),
        }
    }
}

/// What a header that begins as one of SQLite says.
fn of_header(header: &[u8], size_bytes: u64) -> Option<FileFormat> {
    if header.len() < HEADER_BYTES {
        return Some(FileFormat::Damaged(format!("it was cut off after {size_bytes} bytes")));
    }
    let Some(page_size) = page_size(header) else {
        let stored = u16::from_be_bytes([header[16], header[17]]);
        return Some(FileFormat::Damaged(format!("its header names pages of {stored} bytes")));
    };
    let usable = page_size.saturating_sub(usize::from(header[20]));
    if !has_constants(header) || usable < 480 {
        return Some(FileFormat::damaged("bytes 20 to 23 of its header have values that no database has"));
    }
    if header[19] > LATEST_VERSION {
        return Some(FileFormat::NewerVersion(header[19]));
    }
    if let Some(version) = number(header, 44).filter(|version| *version > LATEST_SCHEMA) {
        return Some(FileFormat::NewerSchema(version));
    }
    (size_bytes < page_size as u64).then(|| {
        FileFormat::Damaged(format!("it was cut off after {size_bytes} bytes, its pages have {page_size}"))
    })
}

/// The page size in a header, if it is one.
fn page_size(header: &[u8]) -> Option<usize> {
    let stored = u16::from_be_bytes([*header.get(16)?, *header.get(17)?]);
    let size = if stored == 1 { 65_536 } else { usize::from(stored) };
    PAGE_SIZES.contains(&size).then_some(size)
}

fn has_constants(header: &[u8]) -> bool {
    header.get(21..24) == Some(&FRACTIONS)
}

/// Whether half of the pages behind the first have the head of a b-tree's page.
fn has_pages(read: &impl Fn(u64) -> Option<Vec<u8>>, page_size: usize, size_bytes: u64) -> bool {
    const PAGES: u64 = 16;
    let pages = (size_bytes / page_size as u64).min(PAGES + 1);
    let is_page = |number: &u64| {
        read((number - 1) * page_size as u64)
            .and_then(|page| Some((PageHeader::read(&page, 2)?, page)))
            .is_some_and(|(header, page)| header.fits(&page, page_size))
    };
    let found = (2..=pages).filter(is_page).count() as u64;
    found >= 1 && found * 2 >= pages.saturating_sub(1)
}

/// Whether bytes read as text: UTF-8 without control characters but those of lines, or UTF-16 with
/// its mark. A character can be cut at the end.
fn is_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return bytes.len().is_multiple_of(2);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_allowed = |character: char| !character.is_control() || "\t\n\r\u{c}\u{1b}".contains(character);
    !text.is_empty() && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the test plays the owner")]

    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_file_that_sqlite_refuses_is_named_for_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let database = |page_size: usize, rows: u32| {
            let _ = std::fs::remove_file(&path);
            Connection::open(&path)
                .unwrap()
                .execute_batch(&format!(
                    "PRAGMA page_size = {page_size}; CREATE TABLE t (id INTEGER PRIMARY KEY, v);
                     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                     INSERT INTO t SELECT i, 'row ' || i FROM n"
                ))
                .unwrap();
            std::fs::read(&path).unwrap()
        };
        let sound = database(4096, 500);
        let set = |at: usize, bytes: &[u8]| {
            let mut changed = sound.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            changed
        };
        let mut cases: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
            ("a database", sound.clone(), None),
            ("no byte", Vec::new(), Some("empty")),
            ("one space", b" ".to_vec(), Some("not_a_database")),
            ("one NUL", vec![0], Some("not_a_database")),
            ("a word", b"hello".to_vec(), Some("not_a_database")),
            ("text", b"words and lines\n".repeat(900), Some("not_a_database")),
            ("text that is not ASCII", "Größe und Maß\n".repeat(900).into_bytes(), Some("not_a_database")),
            (
                "a pointer of Git LFS",
                b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
                Some("not_a_database"),
            ),
            ("SQLite 2", [MAGIC_OF_SQLITE_2, &[0; 4000]].concat(), Some("not_a_database")),
            ("gzip", [b"\x1f\x8b\x08" as &[u8], &sound[200..]].concat(), Some("not_a_database")),
            ("binary", [1, 0, 200, 255].repeat(1000), Some("not_a_database")),
            ("15 bytes of a header", sound[..15].to_vec(), Some("damaged")),
            ("50 bytes of a header", sound[..50].to_vec(), Some("damaged")),
            ("a header", sound[..100].to_vec(), Some("damaged")),
            ("part of a page", sound[..512].to_vec(), Some("damaged")),
            ("another magic", set(0, b"SQLite format 2"), Some("damaged")),
            ("a wrong page size", set(16, &[0, 3]), Some("damaged")),
            ("a wrong fraction", set(21, &[65]), Some("damaged")),
            ("too many reserved bytes", set(16, &[2, 0, 1, 1, 255]), Some("damaged")),
            ("version 3 for reading", set(19, &[3]), Some("newer_version")),
            ("version 5 of the schema", set(47, &[5]), Some("newer_version")),
            ("version 3 for writing", set(18, &[3]), None),
            ("zeros", vec![0; 8192], Some("damaged")),
            ("without its first byte", sound[1..].to_vec(), Some("damaged")),
            ("behind a byte-order mark", [b"\xef\xbb\xbf" as &[u8], &sound].concat(), Some("damaged")),
            (
                "in a tar archive",
                [&[b'n'; 257] as &[u8], b"ustar", &[0; 250], &sound].concat(),
                Some("not_a_database"),
            ),
            ("zeros on the first page", set(0, &[0; 4096]), Some("damaged")),
            ("text on the first page", set(0, &b"log line\n".repeat(456)[..4096]), Some("damaged")),
        ];
        for page_size in PAGE_SIZES {
            let mut bytes = database(page_size, 20_000);
            bytes[..page_size].fill(b'x');
            cases.push(("an overwritten first page", bytes, Some("damaged")));
        }
        for (case, bytes, expected) in cases {
            std::fs::write(&path, &bytes).unwrap();
            let limits = QueryLimits::with_timeout(Duration::from_secs(60));
            let found = FileFormat::detect(&path, bytes.len() as u64, &limits);
            assert_eq!(found.as_ref().map(FileFormat::label), expected, "{case}: {found:?}");
            let refused = Reader::open(&path, Access::Immutable, &limits)
                .and_then(|reader| reader.header().and_then(|_| reader.tables()));
            let error = refused.err();
            assert_eq!(error.is_some(), expected.is_some(), "{case}: {error:?}");
            let of_refused =
                error.and_then(|error| FileFormat::of_refused(&error, &path, bytes.len() as u64, &limits));
            assert!(
                of_refused == found || bytes.is_empty() || found.is_some_and(|found| found.is_damaged()),
                "{case}"
            );
        }
    }
}
