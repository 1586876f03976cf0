//! What a scrub found.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use crate::hash::PageHash;
use crate::request::Progress;
use crate::serde_formats::optional_unix_seconds;
use crate::serde_formats::seconds;
use crate::serde_formats::unix_seconds;

/// How a scrub ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every page was read and judged.
    Completed(Report),
    /// The callback stopped it. The next scrub continues at this position.
    Stopped(Progress),
}

/// What may be concluded from a page that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No earlier scrub of this file is known: all hashes are new.
    First,
    /// Nobody has written to the main file since the last scrub: every page must match.
    AtRest,
    /// All pages written since the last scrub are known from the WAL: every other page must match.
    LiveWal,
    /// The file was written in another way: equal pages are verified, and different ones get a new
    /// hash without an alarm.
    Rewritten,
}

impl Mode {
    /// The mode, as a label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::AtRest => "at_rest",
            Self::LiveWal => "live_wal",
            Self::Rewritten => "rewritten",
        }
    }
}

/// Why a page was not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnverifiedReason {
    /// No earlier scrub of this file is known.
    FirstScrub,
    /// The page is newer than the last scrub, or was not compared by it.
    NewPage,
    /// The page was written since the last scrub, as the WAL says.
    Written,
    /// The database was written in rollback mode, and the page differs.
    Rewritten,
    /// The page differs, and the WAL no longer says whether it was written.
    WalIncomplete,
    /// Another file is at the path.
    Replaced,
    /// The page is a leaf of the freelist or the lock-byte page: its content has no meaning.
    Freelist,
    /// The part of the ledger with the page is damaged.
    Ledger,
    /// The file system is a network, FUSE or unknown one, whose times prove nothing.
    Filesystem,
    /// The file system was mounted again since the last scrub, and the database was in use then:
    /// times of the file can be older than its content after a power failure.
    Remounted,
    /// The file was written during or just before the last scrub or this one.
    Unsettled,
}

impl UnverifiedReason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::FirstScrub,
        Self::NewPage,
        Self::Written,
        Self::Rewritten,
        Self::WalIncomplete,
        Self::Replaced,
        Self::Freelist,
        Self::Ledger,
        Self::Filesystem,
        Self::Remounted,
        Self::Unsettled,
    ];

    /// The reason, as a label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::FirstScrub => "first_scrub",
            Self::NewPage => "new_page",
            Self::Written => "written",
            Self::Rewritten => "rewritten",
            Self::WalIncomplete => "wal_incomplete",
            Self::Replaced => "replaced",
            Self::Freelist => "freelist",
            Self::Ledger => "ledger",
            Self::Filesystem => "filesystem",
            Self::Remounted => "remounted",
            Self::Unsettled => "unsettled",
        }
    }
}

/// Where the pages were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From the disk (`O_DIRECT`).
    Disk,
    /// Through the page cache: rot that is on the disk alone may be hidden.
    PageCache,
}

impl Source {
    /// The source, as a label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::PageCache => "page_cache",
        }
    }
}

/// The kind of a mismatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MismatchKind {
    /// A page of the main file differs although nobody wrote it.
    Page,
    /// A committed frame of the WAL does not have its checksum.
    WalFrame,
    /// A checkpoint has copied a page into the main file, and the main file does not hold it.
    LostCheckpointWrite,
}

impl MismatchKind {
    /// The kind, as a label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::WalFrame => "wal_frame",
            Self::LostCheckpointWrite => "lost_checkpoint_write",
        }
    }
}

/// Silent damage of one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// What differs.
    pub kind: MismatchKind,
    /// The page, from 1; 0 if the page of a WAL frame is unknown.
    pub page: u32,
    /// The frame of the WAL, from 1, for [`MismatchKind::WalFrame`] and
    /// [`MismatchKind::LostCheckpointWrite`].
    pub frame: Option<u32>,
    /// The hash of the good page, where it is known.
    pub expected: Option<PageHash>,
    /// The hash of what was read.
    pub found: PageHash,
    /// When the page last was as it should be; unknown for damage that the first scrub finds.
    #[serde(with = "optional_unix_seconds")]
    pub last_verified_at: Option<SystemTime>,
    /// When the mismatch was first found.
    #[serde(with = "unix_seconds")]
    pub found_at: SystemTime,
}

/// The result of a scrub that read every page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What may be concluded from a difference.
    pub mode: Mode,
    /// When its first page was read.
    #[serde(with = "unix_seconds")]
    pub started_at: SystemTime,
    /// When it was judged.
    #[serde(with = "unix_seconds")]
    pub completed_at: SystemTime,
    /// When the scrub before this one was completed.
    #[serde(with = "optional_unix_seconds")]
    pub previous_at: Option<SystemTime>,
    /// Bytes of a page.
    pub page_size_bytes: u32,
    /// Pages that were read: the sum of `verified_pages`, `unverified_pages`, and the pages of
    /// `mismatches` that are of the kinds [`MismatchKind::Page`] and
    /// [`MismatchKind::LostCheckpointWrite`].
    pub pages: u32,
    /// Pages that have the hash of the last scrub, or their own checksum of the `cksumvfs`
    /// extension.
    pub verified_pages: u32,
    /// Pages without a verification that got a hash for the next scrub.
    pub rebased_pages: u32,
    /// Pages that were not verified, by reason; those of `rebased_pages` are among them.
    pub unverified_pages: BTreeMap<UnverifiedReason, u32>,
    /// All mismatches, those of earlier scrubs that were not resolved too. The first
    /// [`Report::MAX_MISMATCHES`] by page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Mismatch>,
    /// Their number.
    pub mismatches_total: u32,
    /// Mismatches of earlier scrubs that match again.
    pub healed_pages: u32,
    /// Mismatches that the operator accepted with this scrub.
    pub accepted_pages: u32,
    /// Committed frames of the WAL whose checksums were verified.
    pub wal_frames: u32,
    /// Where the pages were read from.
    pub source: Source,
    /// Bytes of the main file that were read, in all parts of an interrupted scrub.
    pub bytes: u64,
    /// Time that was spent reading, without the breaks of an interrupted scrub.
    #[serde(rename = "elapsed_seconds", with = "seconds")]
    pub elapsed: Duration,
}

impl Report {
    /// The most mismatches in a report.
    pub const MAX_MISMATCHES: usize = 1_000;

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.mismatches_total == 0
    }

    /// Pages that were not verified.
    #[must_use]
    pub fn unverified_total(&self) -> u32 {
        self.unverified_pages.values().fold(0, |sum, pages| sum.saturating_add(*pages))
    }

    /// The share of the pages that was verified, without those whose content has no meaning;
    /// `None` if there are none.
    #[must_use]
    pub fn verified_ratio(&self) -> Option<f64> {
        let meaningless = self.unverified_pages.get(&UnverifiedReason::Freelist).copied().unwrap_or(0);
        let pages = self.pages.saturating_sub(meaningless);
        (pages > 0).then(|| f64::from(self.verified_pages) / f64::from(pages))
    }
}

/// What a scrub would do, for a dry run. Nothing is read but the headers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// Bytes of a page.
    pub page_size_bytes: u32,
    /// Pages of the database.
    pub pages: u32,
    /// Bytes that are still to be read: less than the database if a scrub was interrupted.
    pub bytes: u64,
    /// The time at the rate of the request; `None` without a limit.
    pub elapsed: Option<Duration>,
    /// The mode, if nobody writes from now on.
    pub mode: Mode,
    /// Pages that can be verified, at least: in [`Mode::Rewritten`], equal pages are verified too.
    pub verifiable_pages: u32,
    /// Why not more.
    pub unverifiable_pages: BTreeMap<UnverifiedReason, u32>,
    /// When the last scrub was completed.
    #[serde(with = "optional_unix_seconds")]
    pub previous_at: Option<SystemTime>,
}

/// What the ledger of a database says of its last scrub. It is sticky: mismatches stay until the
/// pages match again, the file is replaced, or the operator accepts them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// When the last scrub was completed.
    #[serde(with = "unix_seconds")]
    pub completed_at: SystemTime,
    /// Mismatches that are not resolved; the first [`Report::MAX_MISMATCHES`] by page.
    pub mismatches: Vec<Mismatch>,
    /// Their number.
    pub mismatches_total: u32,
    /// Position of a scrub that was interrupted.
    pub interrupted: Option<Progress>,
}

/// What a look at a WAL between two scrubs found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Followed {
    /// All pages written since the last scrub are known.
    Complete,
    /// Commits were missed: the next scrub verifies equal pages only.
    Incomplete,
    /// There is nothing to follow: no completed scrub, no WAL, or a scrub is running, which follows
    /// by itself.
    Idle,
}
