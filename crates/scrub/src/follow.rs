//! The pages that were written since a look, from the WAL.
//!
//! # Why the set is complete
//!
//! While a wal-index exists, each commit adds 1 to its counter (`iChange`; `walFrames` in wal.c),
//! and each page that a checkpoint writes to the main file is named by a committed frame. A step
//! reads the frames that were committed since the last position: those that continue the checksum
//! of the last position, and after a restart those of the new generation. It is complete only if
//! the commits in these frames are as many as the counter has advanced. A restart that nobody saw,
//! or frames that were overwritten or cut off, leave fewer.
//!
//! Recovery makes the wal-index anew, with a counter of 0. After it the counter is the number of
//! commits since recovery, and all of these are among the frames. Both numbers can only be equal if
//! the counter was 0 at the last position: a position with 0 is therefore none.
//!
//! Frames that were committed but not yet in the main file at the first position belong to the set
//! from the beginning. Frames up to `nBackfill` do not: the main file holds their pages, and another
//! checkpoint writes them only with the same content (after recovery) or with that of a newer frame.
//!
//! Somebody can still write to the main file past the WAL, by copying another file over it. Where
//! the main file moved, a checkpoint must therefore have been at work.

use std::io;

use serde::Deserialize;
use serde::Serialize;

use crate::look::Files;
use crate::look::IndexLook;
use crate::look::Stamp;
use crate::look::stamp_of;
use crate::page_set::PageSet;
use crate::wal::WalIndex;
use crate::wal_file::Chain;
use crate::wal_file::ChainStart;
use crate::wal_file::WalFile;

/// A state of the WAL up to which all written pages are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub index: WalIndex,
    /// The file of the wal-index.
    pub index_file: (u64, i64),
    /// The main file, as it was after the wal-index was read.
    pub main: Stamp,
}

/// The pages that were written since a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// `None` once commits were missed, or where there was no wal-index.
    pub position: Option<Position>,
    pub pages: PageSet,
    /// Pages beyond this one were cut off at some time, so their content begins anew.
    pub smallest_size: u32,
}

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Complete,
    /// Commits were missed.
    Gap,
    /// The WAL changed while it was read: nothing is known yet.
    Retry,
}

impl Written {
    /// Nothing is known.
    pub(crate) fn unknown() -> Self {
        Self { position: None, pages: PageSet::default(), smallest_size: u32::MAX }
    }

    /// Begins at the present state of the WAL.
    pub(crate) fn begin(files: &Files) -> io::Result<Self> {
        for _ in 0..TRIES {
            let Some(look) = IndexLook::take(files) else { return Ok(Self::unknown()) };
            let Ok(main) = stamp_of(&files.main) else { return Ok(Self::unknown()) };
            let index = look.index;
            let pending = index.backfilled + 1..=index.frames;
            let pages = if pending.is_empty() {
                Some(Vec::new())
            } else {
                match WalFile::cached(files)? {
                    Some(mut wal) => wal.pages_of(pending, index.salts)?,
                    None => None,
                }
            };
            let is_unchanged = IndexLook::take(files).is_some_and(|later| later.index.salts == index.salts);
            let (Some(pages), true) = (pages, is_unchanged) else { continue };
            if index.commits == 0 {
                return Ok(Self::unknown());
            }
            let mut written = Self::unknown();
            if pages.iter().any(|page| !is_plausible(*page, &main, &index)) {
                return Ok(written);
            }
            pages.into_iter().for_each(|page| written.pages.insert(page));
            written.position = Some(Position { index, index_file: look.file, main });
            return Ok(written);
        }
        Ok(Self::unknown())
    }

    /// Adds the pages of all commits since the last position.
    pub(crate) fn advance(&mut self, files: &Files) -> io::Result<Step> {
        for _ in 0..TRIES {
            let Some(position) = self.position else { return Ok(Step::Gap) };
            // The main file first: a checkpoint that moved it has left its mark in the wal-index.
            let Ok(main) = stamp_of(&files.main) else { return Ok(Step::Retry) };
            let Some(before) = IndexLook::take(files) else {
                // No process has it, or it is being written.
                if std::fs::symlink_metadata(&files.index).is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    continue;
                }
                return Ok(self.give_up());
            };
            let Some((old, new)) = frames_since(files, &position, &before.index)? else { continue };
            let Some(after) = IndexLook::take(files) else { continue };
            if !after.index.is_same_header(&before.index) {
                continue;
            }
            let Ok(main_after) = stamp_of(&files.main) else { return Ok(Step::Retry) };
            if !is_complete(&position, &main, &before, &old, &new) {
                return Ok(self.give_up());
            }
            for (page, commit_pages) in old.frames.iter().chain(&new.frames) {
                if !is_plausible(*page, &main_after, &before.index) {
                    return Ok(self.give_up());
                }
                self.pages.insert(*page);
                if *commit_pages != 0 {
                    self.smallest_size = self.smallest_size.min(*commit_pages);
                }
            }
            self.position = Some(Position { index: before.index, index_file: before.file, main: main_after });
            return Ok(Step::Complete);
        }
        Ok(Step::Retry)
    }

    fn give_up(&mut self) -> Step {
        self.position = None;
        Step::Gap
    }

    /// Whether a page may have been written.
    pub(crate) fn contains(&self, page: u32) -> bool {
        page > self.smallest_size || self.pages.contains(page)
    }
}

/// A busy writer commits every few milliseconds; a step takes less than one.
const TRIES: u32 = 50;

/// The frames since a position: those that continue it, and those of a new generation. `None` if
/// the WAL was restarted meanwhile.
fn frames_since(files: &Files, position: &Position, now: &WalIndex) -> io::Result<Option<(Chain, Chain)>> {
    let empty = (Chain::default(), Chain::default());
    let is_same = now.salts == position.index.salts;
    if is_same && now.frames == position.index.frames {
        return Ok(Some((Chain { checksum: position.index.checksum, ..Chain::default() }, empty.1)));
    }
    let Some(mut wal) = WalFile::cached(files)? else { return Ok(Some(empty)) };
    let next = position.index.frames.saturating_add(1);
    let start = ChainStart { frame: next, checksum: position.index.checksum, salts: position.index.salts };
    if is_same {
        let chain = if next > now.frames { Chain::default() } else { wal.chain(start, now.frames)? };
        return Ok(Some((chain, empty.1)));
    }
    let old = wal.chain(start, u32::MAX)?;
    if now.frames == 0 {
        return Ok(Some((old, empty.1)));
    }
    let Some(header) = wal.header.filter(|header| header.salts == now.salts) else { return Ok(None) };
    let start = ChainStart { frame: 1, checksum: header.checksum, salts: header.salts };
    Ok(Some((old, wal.chain(start, now.frames)?)))
}

/// Whether the frames are all that were committed since the position, and the main file was written
/// by checkpoints alone. See the argument at the head of this file.
fn is_complete(position: &Position, main: &Stamp, now: &IndexLook, old: &Chain, new: &Chain) -> bool {
    let earlier = &position.index;
    let is_same = now.index.salts == earlier.salts;
    let is_succession = is_same || now.index.salts.is_next_of(earlier.salts);
    // The present generation must be there up to the last commit.
    let present = if is_same { old } else { new };
    let is_whole = if is_same {
        earlier.frames.checked_add(present.frames.len() as u32) == Some(now.index.frames)
            && present.checksum == now.index.checksum
    } else {
        present.frames.len() as u32 == now.index.frames
            && (now.index.frames == 0 || present.checksum == now.index.checksum)
    };
    let commits = old.commits.wrapping_add(new.commits);
    let has_all_commits = earlier.commits != 0
        && now.index.commits != 0
        && now.index.commits.wrapping_sub(earlier.commits) == commits;
    let is_explained = *main == position.main || !is_same || now.index.attempted > earlier.backfilled;
    position.index_file == now.file
        && position.main.is_same_file(main)
        && is_succession
        && is_whole
        && has_all_commits
        && is_explained
}

/// Whether a page can belong to the database: its number comes from a file of the owner.
fn is_plausible(page: u32, main: &Stamp, index: &WalIndex) -> bool {
    const SMALLEST_PAGE: u64 = 512;
    let most = main.size / SMALLEST_PAGE + u64::from(index.pages) + 1;
    page != 0 && u64::from(page) <= most.min(u64::from(u32::MAX - 1))
}
