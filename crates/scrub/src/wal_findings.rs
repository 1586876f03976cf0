//! Damage that the WAL itself proves: frames without their checksum, and pages that a checkpoint
//! has copied but the main file does not hold.
//!
//! Committed frames do not change within a generation: a transaction overwrites only its own
//! frames, and a restart changes the salts. The salts are compared before and after. A wal-index
//! that a process has open was made or verified since the machine started; without such a process,
//! frames may have been lost with the power, and only those count that an earlier scrub of this
//! start of the machine has verified.
//!
//! `nBackfill` advances after the main file is synced. A page whose last frame lies below it must
//! have that frame's content, unless a commit after the frame cut the page off.

use std::collections::BTreeMap;
use std::io;

use crate::hash::PageHash;
use crate::look::Files;
use crate::look::IndexLook;
use crate::wal::Salts;
use crate::wal_file::Verified;
use crate::wal_file::WalFile;

/// What the WAL proves.
#[derive(Debug, Default)]
pub(crate) struct WalFindings {
    /// Frame, page, hash of what was read.
    pub broken: Vec<(u32, u32, PageHash)>,
    /// By page: frame, hash of the frame, hash of the page in the main file.
    pub lost: BTreeMap<u32, (u32, PageHash, PageHash)>,
    /// The generation and its frames that were verified.
    pub verified: Option<(Salts, u32)>,
}

/// What is known of the WAL beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// Frames that an earlier scrub verified, if the machine has run since.
    pub verified: Option<(Salts, u32)>,
    /// Whether the main file was written by checkpoints alone.
    pub can_compare_main: bool,
    /// Whether the main file was not written at all since the last scrub.
    pub is_at_rest: bool,
}

/// Looks for damage. `found` has the hashes of the pages, `reread` reads one again from the disk.
pub(crate) fn find(
    files: &Files,
    before: Before,
    found: &[u64],
    mut reread: impl FnMut(u32) -> io::Result<Option<PageHash>>,
) -> io::Result<WalFindings> {
    let mut findings = WalFindings::default();
    let (Some(look), Some(mut wal)) = (IndexLook::take(files), WalFile::open_direct(files)?) else {
        return Ok(findings);
    };
    let index = look.index;
    if index.frames == 0 || wal.header.is_some_and(|header| header.salts != index.salts) {
        return Ok(findings);
    }
    let trusted = match before.verified {
        _ if look.is_open => index.frames,
        Some((salts, frames)) if salts == index.salts => frames,
        _ => 0,
    };
    let mut verified = verify(&mut wal, index.frames)?;
    if verified.broken.iter().any(|(frame, ..)| *frame <= trusted) {
        // Once more, from the disk.
        let again = verify(&mut wal, index.frames)?;
        verified.broken.retain(|broken| again.broken.contains(broken));
    }
    if verified.broken.is_empty() && verified.checksum == index.checksum {
        findings.verified = Some((index.salts, index.frames));
        let can_compare = before.can_compare_main && (look.is_open || before.is_at_rest);
        if can_compare {
            for (page, frame, expected) in copied(&verified, &look, found.len() as u32) {
                if found.get(page as usize - 1) == Some(&expected.stored()) {
                    continue;
                }
                if let Some(found) = reread(page)?.filter(|found| *found != expected) {
                    findings.lost.insert(page, (frame, expected, found));
                }
            }
        }
    } else {
        findings.broken = verified.broken;
        findings.broken.retain(|(frame, ..)| *frame <= trusted);
    }
    if findings.broken.is_empty() && findings.lost.is_empty() {
        return Ok(findings);
    }
    // The generation must be the same still, and no new frame may have been copied over a page.
    let Some(after) = IndexLook::take(files).filter(|after| after.index.salts == index.salts) else {
        return Ok(WalFindings::default());
    };
    if index.frames < after.index.frames {
        match wal.pages_of(index.frames + 1..=after.index.frames, index.salts)? {
            Some(pages) => pages.iter().for_each(|page| {
                findings.lost.remove(page);
            }),
            None => findings.lost.clear(),
        }
    }
    Ok(findings)
}

fn verify(wal: &mut WalFile<'_>, frames: u32) -> io::Result<Verified> {
    wal.header = wal.read_header()?;
    // A header that is damaged itself says nothing of the frames.
    Ok(wal.verify(frames)?.unwrap_or_default())
}

/// The pages that the main file must hold, with their last frame.
fn copied(verified: &Verified, look: &IndexLook, pages: u32) -> Vec<(u32, u32, PageHash)> {
    // The smallest size of the database from each commit on.
    let mut sizes = verified.commits.clone();
    let mut smallest = u32::MAX;
    for (_, size) in sizes.iter_mut().rev() {
        smallest = smallest.min(*size);
        *size = smallest;
    }
    let size_from = |frame: u32| {
        let at = sizes.partition_point(|(commit, _)| *commit < frame);
        sizes.get(at).map_or(0, |(_, size)| *size)
    };
    let mut copied: Vec<_> = verified
        .last
        .iter()
        .filter(|(page, (frame, _))| {
            *frame <= look.index.backfilled && **page <= pages && **page <= size_from(*frame)
        })
        .map(|(page, (frame, hash))| (*page, *frame, *hash))
        .collect();
    copied.sort_unstable();
    copied
}
