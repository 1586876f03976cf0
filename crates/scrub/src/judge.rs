//! What may be concluded from a page that differs: pure functions of two looks and of the pages
//! that were written between them.
//!
//! # Why there is no false alarm
//!
//! A page differs without an alarm unless one of two rules proves that nobody wrote it.
//!
//! **At rest.** Each write to a file on a local file system changes its times: `write`, `truncate`
//! and the first store to a shared mapping set ctime to the time of the write. SQLite does not store
//! through mappings (without `SQLITE_MMAP_READWRITE`, which no distribution sets). So if inode,
//! birth time, size, mtime and ctime are the same at the last look of this scrub as at the base
//! look, and the base look came later than a tick of the file system's clock after that ctime,
//! nobody wrote between the looks. The hashes of the ledger were read after the base look, those of
//! this scrub before its last look. Programs can set mtime back, but not ctime. Network and FUSE
//! file systems may keep times for themselves: there this rule does not hold.
//!
//! After a power failure the times of a file can be older than its content, because `fdatasync`
//! does not write them. Where the file system was mounted anew, one of these must hold too: in
//! rollback mode, that the header names the same change counter, and that no process held the
//! exclusive lock at the base look (with it, the counter moves once for many commits); in WAL mode,
//! that there was no WAL at the base look and there is none now, or that the WAL is complete (see
//! below). Making or removing a WAL is written to the file system's journal after the times of the
//! checkpoint before it.
//!
//! **Live WAL.** The main file moved, and the pages that were written are known (`follow.rs`): each
//! other page must be as it was. If page 1 is not among them, its two counters must not have moved
//! together either, as then somebody wrote past the WAL.
//!
//! The pages that differ are read a second time, and the last look comes after that.

use crate::follow::Written;
use crate::look::Look;
use crate::report::Mode;
use crate::report::UnverifiedReason;

/// The look at the last scrub, and whether the ledger belongs to the same file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'looks> {
    /// `None` at the first scrub.
    pub base: Option<&'looks Look>,
    /// The last look of this scrub.
    pub last: &'looks Look,
    /// The pages written since the base look, up to the last look.
    pub written: &'looks Written,
    /// Whether the size of a page is that of the ledger.
    pub is_same_page_size: bool,
}

/// The rule for all pages of a scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Every page must match.
    AtRest,
    /// Every page must match that was not written.
    LiveWal,
    /// No page must match; a page that differs is unverified for this reason.
    Differing(UnverifiedReason),
    /// The ledger is about another file.
    NoLedger(UnverifiedReason),
}

impl Rule {
    pub(crate) fn mode(self) -> Mode {
        match self {
            Self::AtRest => Mode::AtRest,
            Self::LiveWal => Mode::LiveWal,
            Self::Differing(_) => Mode::Rewritten,
            Self::NoLedger(_) => Mode::First,
        }
    }
}

/// Chooses the rule.
pub(crate) fn rule(evidence: &Evidence<'_>) -> Rule {
    let Evidence { base, last, written, is_same_page_size } = *evidence;
    let Some(base) = base else { return Rule::NoLedger(UnverifiedReason::FirstScrub) };
    if !base.main.is_same_file(&last.main) {
        return Rule::NoLedger(UnverifiedReason::Replaced);
    }
    if !is_same_page_size {
        return Rule::NoLedger(UnverifiedReason::Rewritten);
    }
    if !base.is_local || !last.is_local {
        return Rule::Differing(UnverifiedReason::Filesystem);
    }
    if base.main == last.main {
        if !base.is_settled {
            return Rule::Differing(UnverifiedReason::Unsettled);
        }
        return if last.is_same_mount(base) { Rule::AtRest } else { after_mount(base, last, written) };
    }
    let was_written_past_wal = match (&base.header, &last.header) {
        (Some(base), Some(last)) => !written.contains(1) && last.was_written_since(base),
        _ => false,
    };
    if written.position.is_some() && !was_written_past_wal {
        return Rule::LiveWal;
    }
    let is_wal =
        base.header.is_some_and(|header| header.is_wal) || last.header.is_some_and(|header| header.is_wal);
    Rule::Differing(if is_wal { UnverifiedReason::WalIncomplete } else { UnverifiedReason::Rewritten })
}

/// Equal times prove less after the file system was mounted anew.
fn after_mount(base: &Look, last: &Look, written: &Written) -> Rule {
    let has_no_wal = !base.has_wal && !last.has_wal;
    let is_proved = match (&base.header, &last.header) {
        (Some(base_header), Some(_)) if base_header.is_wal => {
            if !has_no_wal && written.position.is_some() {
                return Rule::LiveWal;
            }
            has_no_wal
        }
        (Some(base_header), Some(last_header)) => {
            !last_header.was_written_since(base_header) && !base.is_exclusive
        }
        // The header is no database's, or is damaged itself.
        _ => has_no_wal && !base.is_exclusive,
    };
    if is_proved { Rule::AtRest } else { Rule::Differing(UnverifiedReason::Remounted) }
}

/// What is known of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The hash of the ledger.
    Hash(u64),
    /// It was not compared by the last scrub, or did not exist.
    Nothing,
    /// Its part of the ledger is damaged.
    DamagedLedger,
}

/// The judgement of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    Verified,
    Unverified(UnverifiedReason),
    Mismatch,
}

/// Judges a page by the rule. `is_written` counts for [`Rule::LiveWal`] alone.
pub(crate) fn judge(rule: Rule, known: Known, found: u64, is_written: bool) -> Judgement {
    let expected = match (rule, known) {
        (Rule::NoLedger(reason), _) => return Judgement::Unverified(reason),
        (_, Known::Nothing) => return Judgement::Unverified(UnverifiedReason::NewPage),
        (_, Known::DamagedLedger) => return Judgement::Unverified(UnverifiedReason::Ledger),
        (_, Known::Hash(expected)) => expected,
    };
    match rule {
        _ if expected == found => Judgement::Verified,
        Rule::AtRest => Judgement::Mismatch,
        Rule::LiveWal if is_written => Judgement::Unverified(UnverifiedReason::Written),
        Rule::LiveWal => Judgement::Mismatch,
        Rule::Differing(reason) | Rule::NoLedger(reason) => Judgement::Unverified(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::Position;
    use crate::header::Header;
    use crate::look::Stamp;
    use crate::wal::Salts;
    use crate::wal::WalIndex;

    fn look() -> Look {
        let header = Header {
            page_size: 4096,
            pages: Some(9),
            is_wal: false,
            reserved: 0,
            first_trunk: 0,
            changes: 5,
            valid_for: 5,
        };
        Look {
            taken_at: 2,
            main: Stamp { inode: 1, born: 1, size: 36_864, modified: 1, changed: 1 },
            is_settled: true,
            is_local: true,
            mount: (1, 1),
            header: Some(header),
            has_journal: false,
            has_wal: false,
            is_exclusive: false,
        }
    }

    fn known_writes(pages: &[u32]) -> Written {
        let index = WalIndex {
            salts: Salts { first: 1, second: 2 },
            frames: 3,
            checksum: [0, 0],
            pages: 9,
            commits: 4,
            backfilled: 3,
            attempted: 3,
        };
        let mut written = Written::unknown();
        written.position = Some(Position { index, index_file: (1, 1), main: look().main });
        pages.iter().for_each(|page| written.pages.insert(*page));
        written
    }

    fn rule_of(base: &Look, last: &Look, written: &Written) -> Rule {
        rule(&Evidence { base: Some(base), last, written, is_same_page_size: true })
    }

    /// Each of these alone ends the proof that nobody wrote.
    #[test]
    fn only_a_file_that_nobody_wrote_is_at_rest() {
        let (base, unknown) = (look(), Written::unknown());
        assert_eq!(rule_of(&base, &look(), &unknown), Rule::AtRest);
        let changed = |change: &dyn Fn(&mut Look)| {
            let mut last = look();
            change(&mut last);
            rule_of(&base, &last, &unknown)
        };
        let moves: [&dyn Fn(&mut Look); 3] =
            [&|look| look.main.size = 1, &|look| look.main.modified = 2, &|look| look.main.changed = 2];
        for change in moves {
            assert_eq!(changed(change), Rule::Differing(UnverifiedReason::Rewritten));
        }
        assert_eq!(changed(&|look| look.main.inode = 2), Rule::NoLedger(UnverifiedReason::Replaced));
        assert_eq!(changed(&|look| look.main.born = 2), Rule::NoLedger(UnverifiedReason::Replaced));
        assert_eq!(changed(&|look| look.is_local = false), Rule::Differing(UnverifiedReason::Filesystem));
        // Whether the last look is settled does not matter: a write after it is not of this scrub.
        assert_eq!(changed(&|look| look.is_settled = false), Rule::AtRest);
        let mut unsettled = look();
        unsettled.is_settled = false;
        assert_eq!(rule_of(&unsettled, &look(), &unknown), Rule::Differing(UnverifiedReason::Unsettled));
        let evidence =
            Evidence { base: Some(&base), last: &look(), written: &unknown, is_same_page_size: false };
        assert_eq!(rule(&evidence), Rule::NoLedger(UnverifiedReason::Rewritten));
        assert_eq!(rule(&Evidence { base: None, ..evidence }), Rule::NoLedger(UnverifiedReason::FirstScrub));
    }

    #[test]
    fn times_prove_less_after_a_mount() {
        let unknown = Written::unknown();
        let mounted = |base: &dyn Fn(&mut Look), last: &dyn Fn(&mut Look), written: &Written| {
            let (mut first, mut second) = (look(), look());
            second.mount = (2, 1);
            base(&mut first);
            last(&mut second);
            rule_of(&first, &second, written)
        };
        let header = |look: &mut Look, change: &dyn Fn(&mut Header)| change(look.header.as_mut().unwrap());
        let remounted = Rule::Differing(UnverifiedReason::Remounted);
        assert_eq!(mounted(&|_| {}, &|_| {}, &unknown), Rule::AtRest);
        assert_eq!(mounted(&|look| look.is_exclusive = true, &|_| {}, &unknown), remounted);
        let written_header = |look: &mut Look| {
            header(look, &|header| {
                header.changes = 6;
                header.valid_for = 6;
            });
        };
        assert_eq!(mounted(&|_| {}, &written_header, &unknown), remounted);
        // A flipped bit in one of the counters is damage.
        assert_eq!(
            mounted(&|_| {}, &|look| header(look, &|header| header.changes = 4), &unknown),
            Rule::AtRest
        );
        let wal = |look: &mut Look| header(look, &|header| header.is_wal = true);
        let with_wal = |look: &mut Look| {
            wal(look);
            look.has_wal = true;
        };
        assert_eq!(mounted(&wal, &wal, &unknown), Rule::AtRest);
        assert_eq!(mounted(&with_wal, &with_wal, &unknown), remounted);
        assert_eq!(mounted(&wal, &with_wal, &unknown), remounted);
        assert_eq!(mounted(&with_wal, &with_wal, &known_writes(&[2])), Rule::LiveWal);
    }

    #[test]
    fn a_main_file_that_moved_is_judged_only_with_a_complete_wal() {
        let mut base = look();
        base.header.as_mut().unwrap().is_wal = true;
        let mut last = base.clone();
        last.main.changed = 9;
        assert_eq!(
            rule_of(&base, &last, &Written::unknown()),
            Rule::Differing(UnverifiedReason::WalIncomplete)
        );
        assert_eq!(rule_of(&base, &last, &known_writes(&[2])), Rule::LiveWal);
        let header = last.header.as_mut().unwrap();
        (header.changes, header.valid_for) = (6, 6);
        assert_eq!(rule_of(&base, &last, &known_writes(&[1])), Rule::LiveWal);
        assert_eq!(
            rule_of(&base, &last, &known_writes(&[2])),
            Rule::Differing(UnverifiedReason::WalIncomplete),
            "page 1 was written past the WAL"
        );
    }

    #[test]
    fn a_page_is_a_mismatch_only_by_a_rule_that_proves_it() {
        let rules = [
            Rule::AtRest,
            Rule::LiveWal,
            Rule::Differing(UnverifiedReason::Rewritten),
            Rule::NoLedger(UnverifiedReason::Replaced),
        ];
        for rule in rules {
            for known in [Known::Hash(7), Known::Hash(8), Known::Nothing, Known::DamagedLedger] {
                for is_written in [false, true] {
                    let is_mismatch = judge(rule, known, 7, is_written) == Judgement::Mismatch;
                    let is_proved = rule == Rule::AtRest || (rule == Rule::LiveWal && !is_written);
                    assert_eq!(is_mismatch, is_proved && known == Known::Hash(8), "{rule:?} {known:?}");
                    let is_verified = judge(rule, known, 7, is_written) == Judgement::Verified;
                    let has_ledger = !matches!(rule, Rule::NoLedger(_));
                    assert_eq!(is_verified, has_ledger && known == Known::Hash(7));
                }
            }
        }
    }
}
