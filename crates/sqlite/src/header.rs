//! The first hundred bytes of a database, as
//! <https://www.sqlite.org/fileformat2.html#the_database_header> lays them out.

/// The header's length.
pub(super) const HEADER_BYTES: usize = 100;

/// How a database keeps a transaction safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalMode {
    /// Write-ahead log.
    Wal,
    /// A rollback journal. Which kind (delete, truncate, persist, memory, off) each connection
    /// chooses for itself; the file does not tell.
    Rollback,
}

impl JournalMode {
    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Rollback => "rollback",
        }
    }
}

/// Whether free pages are given back to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoVacuum {
    /// Never, but by VACUUM.
    None,
    /// At every commit.
    Full,
    /// On `PRAGMA incremental_vacuum`.
    Incremental,
}

impl AutoVacuum {
    /// The label value, as `PRAGMA auto_vacuum` names it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// The text encoding of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// Not yet chosen: nothing was ever written.
    Unset,
}

impl Encoding {
    /// The label value, as `PRAGMA encoding` spells it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16le",
            Self::Utf16Be => "UTF-16be",
            Self::Unset => "unset",
        }
    }
}

/// The fields that change so rarely that the main file's copy will do even when newer pages wait
/// in the WAL: they are as of the last checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawHeader {
    pub page_size: u32,
    pub reserved_bytes: u8,
    pub journal_mode: JournalMode,
    pub auto_vacuum: AutoVacuum,
    pub encoding: Encoding,
    pub writer_version: u32,
}

impl RawHeader {
    /// Reads the fields. SQLite has accepted the page before, so every value is in its range.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let page_size = u16::from_be_bytes([bytes[16], bytes[17]]);
        Self {
            // 65,536 does not fit the field and is written as 1.
            page_size: if page_size == 1 { 65_536 } else { u32::from(page_size) },
            reserved_bytes: bytes[20],
            journal_mode: if bytes[19] == 2 { JournalMode::Wal } else { JournalMode::Rollback },
            // The largest root page is kept for a vacuuming database alone; the flag tells which
            // kind.
            auto_vacuum: match (word(52), word(64)) {
                (0, _) => AutoVacuum::None,
                (_, 0) => AutoVacuum::Full,
                _ => AutoVacuum::Incremental,
            },
            encoding: match word(56) {
                1 => Encoding::Utf8,
                2 => Encoding::Utf16Le,
                3 => Encoding::Utf16Be,
                _ => Encoding::Unset,
            },
            writer_version: word(96),
        }
    }
}

/// What a look reads of every database, without its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes a page.
    pub page_size: u32,
    /// Bytes at the end of each page that SQLite leaves to the application's VFS.
    pub reserved_bytes: u8,
    /// Pages of the database, those in the WAL counted.
    pub pages: u32,
    /// Unused pages.
    pub freelist_pages: u32,
    /// The schema cookie: it moves with every DDL statement.
    pub schema_version: u32,
    /// The application's own number, mostly its migration level.
    pub user_version: i32,
    /// The application's file-type number.
    pub application_id: i32,
    /// Rollback journal or WAL.
    pub journal_mode: JournalMode,
    /// Whether free pages are given back.
    pub auto_vacuum: AutoVacuum,
    /// Text encoding.
    pub encoding: Encoding,
    /// SQLite's version number of the last writer, e.g. 3046001.
    pub writer_version: u32,
}
