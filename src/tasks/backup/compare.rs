//! Reads a file from the disk and compares its pages with hashes, at a limited rate.

use std::io;
use std::time::Duration;
use std::time::Instant;

use litekeeper_scrub::manifest::Blocks;
use litekeeper_scrub::manifest::Compared;
use litekeeper_scrub::manifest::Comparer;

use crate::limits::QueryLimits;
use crate::os::DiskReader;

/// Bytes of one read: a multiple of every page size.
const READ_BYTES: usize = 1024 * 1024;

/// The expected hashes of a file.
pub(super) struct PageHashes<'h> {
    pub blocks: &'h Blocks<'h>,
    pub page_size: u32,
    pub pages: u32,
}

/// Why a file could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The disk returns an error.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The time limit ended, or the run was stopped.
    #[error("the comparison was stopped")]
    Stopped,
}

/// Compares a file with hashes. `rate` is the most bytes per second; `progress` receives the bytes
/// that are done.
///
/// A page that differs is read again from the disk before it counts.
pub(super) fn compare(
    reader: &mut DiskReader,
    hashes: &PageHashes<'_>,
    rate: Option<u64>,
    limits: &QueryLimits,
    mut progress: impl FnMut(u64),
) -> Result<Compared, CompareError> {
    let mut comparer = Comparer::new(hashes.blocks, hashes.page_size, hashes.pages);
    let mut buffer = vec![0; READ_BYTES];
    let begun = Instant::now();
    let mut done = 0;
    loop {
        if limits.is_exceeded() {
            return Err(CompareError::Stopped);
        }
        let read = reader.read(&mut buffer)?;
        comparer.update(&buffer[..read]);
        done += read as u64;
        progress(done);
        if read < buffer.len() {
            break;
        }
        if let Some(rate) = rate {
            sleep_until(begun + Duration::from_secs_f64(done as f64 / rate.max(1) as f64), limits);
        }
    }
    let compared = comparer.finish();
    confirm(reader, hashes, compared)
}

/// Removes pages from the list that fit when they are read again.
fn confirm(
    reader: &DiskReader,
    hashes: &PageHashes<'_>,
    mut compared: Compared,
) -> Result<Compared, CompareError> {
    let mut comparer = Comparer::new(hashes.blocks, hashes.page_size, hashes.pages);
    let mut page = vec![0; hashes.page_size as usize];
    let mut confirmed = Vec::new();
    for number in std::mem::take(&mut compared.first_different) {
        let read = reader.read_again(&mut page, u64::from(number - 1) * u64::from(hashes.page_size))?;
        if read == page.len() && comparer.is_equal(number, &page).unwrap_or(false) {
            compared.different -= 1;
            compared.equal += 1;
        } else {
            confirmed.push(number);
        }
    }
    compared.first_different = confirmed;
    Ok(compared)
}

/// Sleeps, but not beyond a limit.
fn sleep_until(until: Instant, limits: &QueryLimits) {
    const STEP: Duration = Duration::from_millis(20);
    while Instant::now() < until && !limits.is_exceeded() {
        std::thread::sleep(until.saturating_duration_since(Instant::now()).min(STEP));
    }
}
