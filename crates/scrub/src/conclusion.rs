//! The end of a scrub: the last look, the judgement of each page, the ledger.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::io;

use crate::LEDGER_VERSION;
use crate::error::Error;
use crate::follow::Written;
use crate::hash::PageHash;
use crate::header::freelist_leaves;
use crate::header::lock_byte_page;
use crate::judge::Judgement;
use crate::judge::Known;
use crate::judge::Rule;
use crate::judge::judge;
use crate::ledger::LedgerHead;
use crate::ledger::MAX_RECORDS;
use crate::look::Look;
use crate::look::now;
use crate::look::time;
use crate::page_set::PageSet;
use crate::pass::Pass;
use crate::pass::nonce;
use crate::report::Mismatch;
use crate::report::MismatchKind;
use crate::report::Outcome;
use crate::report::Report;
use crate::report::Source;
use crate::report::UnverifiedReason;
use crate::scrub::Control;
use crate::scrub::Opened;
use crate::scrub::written_path;
use crate::stored_file::BLOCK_ENTRIES;
use crate::wal_findings::Before;
use crate::wal_findings::WalFindings;
use crate::wal_findings::find;
use crate::written_file;

/// How often candidates are read again before they are reported.
const READS: u32 = 3;

/// What the judgement rests on.
struct Verdict {
    rule: Rule,
    last: Look,
    written: Written,
    leaves: PageSet,
    findings: WalFindings,
    accepted: HashSet<u32>,
}

/// Judges all pages and completes the ledger.
pub(crate) fn conclude(
    opened: &mut Opened,
    pass: &mut Pass,
    written: &mut Written,
    accept: bool,
    control: &mut dyn Control,
) -> Result<Outcome, Error> {
    let page_size = pass.head.page_size;
    let records = opened.ledger.head.as_ref().map(|head| head.mismatches.clone()).unwrap_or_default();
    let accepted: HashSet<u32> = records.iter().filter(|_| accept).map(|record| record.page).collect();
    let (mut rule, mut last, mut known_writes);
    let mut confirmed: HashSet<u32> = HashSet::new();
    let mut reads = 0;
    loop {
        last = opened.look(false)?;
        known_writes = opened.advanced(written)?;
        rule = opened.rule(&last, &known_writes, page_size);
        let candidates = candidates(opened, pass, rule, &known_writes)?;
        if candidates.iter().all(|page| confirmed.contains(page)) || reads == READS {
            break;
        }
        reads += 1;
        for page in candidates {
            if !control.goes_on(pass.progress()) {
                pass.save(&opened.ledger_path, pass.head.elapsed)?;
                return Ok(Outcome::Stopped(pass.progress()));
            }
            if let Some(hash) = opened.hash_of_page(page, page_size)? {
                pass.hashes[page as usize - 1] = hash.stored();
            }
            confirmed.insert(page);
        }
    }
    opened.advanced(&mut pass.written)?;
    let leaves = if rule == Rule::AtRest { PageSet::default() } else { leaves(opened, pass)? };
    let findings = wal_findings(opened, pass, rule, &last)?;
    let verdict = Verdict { rule, last, written: known_writes, leaves, findings, accepted };
    complete(opened, pass, &verdict, records).map(Outcome::Completed)
}

/// Pages that would be mismatches.
fn candidates(opened: &Opened, pass: &Pass, rule: Rule, written: &Written) -> Result<Vec<u32>, Error> {
    let mut candidates = Vec::new();
    if !matches!(rule, Rule::AtRest | Rule::LiveWal) {
        return Ok(candidates);
    }
    for (block, hashes) in pass.hashes.chunks(BLOCK_ENTRIES).enumerate() {
        let known = opened.ledger.block(block)?;
        for (at, (hash, known)) in hashes.iter().zip(known).enumerate() {
            let page = (block * BLOCK_ENTRIES + at) as u32 + 1;
            if judge(rule, known, *hash, written.contains(page)) == Judgement::Mismatch {
                candidates.push(page);
            }
        }
    }
    Ok(candidates)
}

/// The pages whose content has no meaning, as the main file says.
fn leaves(opened: &mut Opened, pass: &Pass) -> Result<PageSet, Error> {
    let mut leaves = PageSet::default();
    let Some(header) = pass.head.before.header else { return Ok(leaves) };
    leaves.insert(lock_byte_page(pass.head.page_size));
    let read = |page| opened.read_page(page, pass.head.page_size).map(|page| page.map(<[u8]>::to_vec));
    freelist_leaves(header.first_trunk, pass.head.pages, read, |page| leaves.insert(page))?;
    Ok(leaves)
}

fn wal_findings(opened: &mut Opened, pass: &Pass, rule: Rule, last: &Look) -> Result<WalFindings, Error> {
    if !last.has_wal || !last.is_local {
        return Ok(WalFindings::default());
    }
    let head = opened.ledger.head.as_ref();
    let before = Before {
        verified: head.filter(|head| head.base.mount.0 == last.mount.0).and_then(|head| head.wal),
        can_compare_main: !matches!(rule, Rule::Differing(_)),
        is_at_rest: rule == Rule::AtRest,
    };
    let files = opened.files.clone();
    let page_size = pass.head.page_size;
    let reread = |page| opened.hash_of_page(page, page_size).map_err(io::Error::other);
    find(&files, before, &pass.hashes, reread).map_err(|error| Error::read(&files.wal, 0, &error))
}

/// Sums of the pages, and the hashes for the next scrub.
#[derive(Default)]
struct Tally {
    verified: u32,
    rebased: u32,
    unverified: BTreeMap<UnverifiedReason, u32>,
    healed: u32,
    mismatches: Vec<Mismatch>,
    /// Whether the hashes differ from those of the ledger.
    has_changes: bool,
}

/// Judges each page, and replaces its hash in the pass by the one to keep.
fn tally(
    opened: &Opened,
    pass: &mut Pass,
    verdict: &Verdict,
    records: &[Mismatch],
    completed_at: i64,
) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    let previous = opened.ledger.head.as_ref().map(|head| time(head.completed_at));
    let is_same_file = !matches!(verdict.rule, Rule::NoLedger(_));
    let open: BTreeMap<u32, &Mismatch> = records
        .iter()
        .filter(|record| record.kind != MismatchKind::WalFrame && is_same_file)
        .filter(|record| !verdict.accepted.contains(&record.page))
        .map(|record| (record.page, record))
        .collect();
    for block in 0..pass.hashes.len().div_ceil(BLOCK_ENTRIES) {
        let known_pages = opened.ledger.block(block)?;
        let first = block * BLOCK_ENTRIES;
        for at in first..pass.hashes.len().min(first + BLOCK_ENTRIES) {
            let page = at as u32 + 1;
            if let Some(record) = open.get(&page) {
                tally.add_open(record, &mut pass.hashes[at]);
                continue;
            }
            let known = match known_pages.get(at - first) {
                Some(known) if !verdict.accepted.contains(&page) => *known,
                _ => Known::Nothing,
            };
            let (kind, frame, expected, found) = match tally.add(pass, verdict, page, known) {
                Some(mismatch) => mismatch,
                None => continue,
            };
            pass.hashes[at] = expected;
            tally.has_changes = true;
            tally.mismatches.push(Mismatch {
                kind,
                page,
                frame,
                expected: PageHash::from_stored(expected),
                found,
                last_verified_at: previous,
                found_at: time(completed_at),
            });
        }
    }
    Ok(tally)
}

/// The kind of a new mismatch, its frame, the hash to expect and the hash that was found.
type NewMismatch = (MismatchKind, Option<u32>, u64, PageHash);

impl Tally {
    /// Adds a page that an earlier scrub reported.
    fn add_open(&mut self, record: &Mismatch, hash: &mut u64) {
        let expected = record.expected.map_or(0, PageHash::stored);
        if expected == *hash {
            self.healed += 1;
            self.verified += 1;
            self.has_changes = true;
        } else {
            let found = stored_hash(*hash);
            self.has_changes |= record.found != found;
            self.mismatches.push(Mismatch { found, ..record.clone() });
            *hash = expected;
        }
    }

    /// Adds any other page, unless it is a mismatch.
    fn add(&mut self, pass: &mut Pass, verdict: &Verdict, page: u32, known: Known) -> Option<NewMismatch> {
        let at = page as usize - 1;
        let found = pass.hashes[at];
        let is_accepted = verdict.accepted.contains(&page);
        if let Some((frame, expected, found)) = verdict.findings.lost.get(&page).filter(|_| !is_accepted) {
            return Some((MismatchKind::LostCheckpointWrite, Some(*frame), expected.stored(), *found));
        }
        let is_leaf = if verdict.rule == Rule::AtRest {
            known == Known::Nothing && !is_accepted
        } else {
            verdict.leaves.contains(page)
        };
        if is_leaf {
            *self.unverified.entry(UnverifiedReason::Freelist).or_default() += 1;
            pass.hashes[at] = 0;
            return None;
        }
        match (judge(verdict.rule, known, found, verdict.written.contains(page)), known) {
            (Judgement::Verified, _) => self.verified += 1,
            (Judgement::Mismatch, Known::Hash(expected)) => {
                return Some((MismatchKind::Page, None, expected, stored_hash(found)));
            }
            // Only a page with a known hash is a mismatch.
            (Judgement::Mismatch, _) => {}
            (Judgement::Unverified(_), _) if pass.with_checksum.contains(page) => {
                self.verified += 1;
                self.has_changes = true;
            }
            (Judgement::Unverified(reason), _) => {
                *self.unverified.entry(reason).or_default() += 1;
                self.rebased += 1;
                self.has_changes = true;
            }
        }
        None
    }
}

/// The hash of a page that was read, which is never 0.
fn stored_hash(hash: u64) -> PageHash {
    PageHash::from_stored(hash).unwrap_or_else(|| crate::hash::hash_page(&[]))
}

fn complete(
    opened: &mut Opened,
    pass: &mut Pass,
    verdict: &Verdict,
    records: Vec<Mismatch>,
) -> Result<Report, Error> {
    let completed_at = now();
    let mut tally = tally(opened, pass, verdict, &records, completed_at)?;
    let read_pages = pass.hashes.len() as u32;
    keep_records(&mut tally, verdict, &records, read_pages, completed_at);
    let previous_at = opened.ledger.head.as_ref().map(|head| time(head.completed_at));
    let total = tally.mismatches.len() as u32;
    let wal = verdict.findings.verified.or_else(|| {
        let head = opened.ledger.head.as_ref()?;
        head.wal.filter(|_| head.base.mount.0 == verdict.last.mount.0)
    });
    tally.mismatches.sort_by_key(|mismatch| (mismatch.page, mismatch.frame));
    let must_replace = verdict.rule != Rule::AtRest
        || tally.has_changes
        || !verdict.accepted.is_empty()
        || opened.ledger.head.as_ref().is_none_or(|head| {
            head.wal != wal || head.mismatches_total != total || !verdict.last.is_same_mount(&head.base)
        });
    if must_replace {
        let mut base = pass.head.before.clone();
        if verdict.rule == Rule::AtRest
            && let Some(head) = &opened.ledger.head
        {
            // The header may be damaged now; the times were settled at the base look.
            base.header = head.base.header;
            base.is_settled = true;
        }
        let head = LedgerHead {
            version: LEDGER_VERSION,
            nonce: nonce(),
            database: opened.files.main.clone(),
            page_size: pass.head.page_size,
            pages: read_pages,
            base,
            completed_at,
            wal,
            mismatches: tally.mismatches.iter().take(MAX_RECORDS).cloned().collect(),
            mismatches_total: total,
        };
        opened.ledger.replace(head, &pass.hashes)?;
    } else {
        opened.ledger.touch(completed_at)?;
    }
    save_written(opened, pass)?;
    tally.mismatches.truncate(Report::MAX_MISMATCHES);
    Ok(Report {
        mode: verdict.rule.mode(),
        started_at: time(pass.head.before.taken_at),
        completed_at: time(completed_at),
        previous_at,
        page_size_bytes: pass.head.page_size,
        pages: read_pages,
        verified_pages: tally.verified,
        rebased_pages: tally.rebased,
        unverified_pages: tally.unverified,
        mismatches: tally.mismatches,
        mismatches_total: total,
        healed_pages: tally.healed,
        accepted_pages: verdict.accepted.len() as u32,
        wal_frames: verdict.findings.verified.map_or(0, |(_, frames)| frames),
        source: if pass.head.is_direct { Source::Disk } else { Source::PageCache },
        bytes: pass.progress().bytes_done,
        elapsed: pass.head.elapsed,
    })
}

/// Adds the findings of the WAL, and the earlier ones that no page of this scrub resolves: those of
/// frames, and those of pages beyond the end.
fn keep_records(tally: &mut Tally, verdict: &Verdict, records: &[Mismatch], pages: u32, completed_at: i64) {
    let is_same_file = !matches!(verdict.rule, Rule::NoLedger(_));
    let kept = records.iter().filter(|record| {
        is_same_file
            && !verdict.accepted.contains(&record.page)
            && (record.kind == MismatchKind::WalFrame || record.page > pages)
    });
    tally.mismatches.extend(kept.cloned());
    for (frame, page, found) in &verdict.findings.broken {
        let is_known = |known: &Mismatch| {
            known.kind == MismatchKind::WalFrame && known.frame == Some(*frame) && known.found == *found
        };
        if tally.mismatches.iter().any(is_known) || verdict.accepted.contains(page) {
            continue;
        }
        tally.mismatches.push(Mismatch {
            kind: MismatchKind::WalFrame,
            page: *page,
            frame: Some(*frame),
            expected: None,
            found: *found,
            last_verified_at: None,
            found_at: time(completed_at),
        });
    }
}

/// The pages written since the look before this scrub are those written since the base look of the
/// next one.
fn save_written(opened: &Opened, pass: &Pass) -> Result<(), Error> {
    let path = written_path(&opened.ledger_path);
    let Some(head) = &opened.ledger.head else { return Ok(()) };
    let saved = if pass.written.position.is_some() {
        written_file::save(&path, head.nonce, &pass.written)
    } else {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    saved.map_err(|error| Error::ledger(&path, &error))
}
