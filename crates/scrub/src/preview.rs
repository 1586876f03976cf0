//! What a scrub would do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::judge::Judgement;
use crate::judge::Known;
use crate::judge::Rule;
use crate::judge::judge;
use crate::look::time;
use crate::pass::Pass;
use crate::report::Preview;
use crate::report::UnverifiedReason;
use crate::request::ScrubRequest;
use crate::scrub::Opened;
use crate::stored_file::BLOCK_ENTRIES;

/// Looks at the files and the ledger, and reads no page.
pub(crate) fn preview(request: &ScrubRequest) -> Result<Preview, Error> {
    let mut opened = Opened::open(request)?;
    let before = opened.look(false)?;
    let nonce = opened.ledger.head.as_ref().map(|head| head.nonce);
    let resumed = Pass::resume(&opened.ledger_path, nonce, &before)?;
    let (page_size, pages, done) = match &resumed {
        Some(pass) => (pass.head.page_size, pass.head.pages, pass.head.done),
        None => {
            let (page_size, pages) = opened.geometry(&before)?;
            (page_size, pages, 0)
        }
    };
    let mut written = opened.load_written()?;
    let known_writes = opened.advanced(&mut written)?;
    let rule = opened.rule(&before, &known_writes, page_size);
    let mut verifiable_pages = 0;
    let mut unverifiable_pages: BTreeMap<UnverifiedReason, u32> = BTreeMap::new();
    for block in 0..(pages as usize).div_ceil(BLOCK_ENTRIES) {
        let known = opened.ledger.block(block)?;
        let first = (block * BLOCK_ENTRIES) as u32 + 1;
        for page in first..=pages.min(first + BLOCK_ENTRIES as u32 - 1) {
            let known = known.get((page - first) as usize).copied().unwrap_or(Known::Nothing);
            // A page whose hash would be another one shows what its rule allows.
            let hash = if let Known::Hash(hash) = known { !hash } else { 0 };
            match judge(rule, known, hash, known_writes.contains(page)) {
                Judgement::Verified | Judgement::Mismatch => verifiable_pages += 1,
                Judgement::Unverified(UnverifiedReason::NewPage) if rule == Rule::AtRest => {
                    *unverifiable_pages.entry(UnverifiedReason::Freelist).or_default() += 1;
                }
                Judgement::Unverified(reason) => *unverifiable_pages.entry(reason).or_default() += 1,
            }
        }
    }
    let bytes = u64::from(pages.saturating_sub(done)) * u64::from(page_size);
    let seconds = |rate: std::num::NonZeroU64| Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
    Ok(Preview {
        page_size_bytes: page_size,
        pages,
        bytes,
        elapsed: request.bytes_per_second.map(seconds),
        mode: rule.mode(),
        verifiable_pages,
        unverifiable_pages,
        previous_at: opened.ledger.head.as_ref().map(|head| time(head.completed_at)),
    })
}
