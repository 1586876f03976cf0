//! What a scrub found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use litekeeper_scrub::Mismatch;
use litekeeper_scrub::Mode;
use litekeeper_scrub::Source;
use litekeeper_scrub::UnverifiedReason;
use serde::Deserialize;
use serde::Serialize;

use crate::humanize::bytes;
use crate::humanize::count;
use crate::humanize::counted;
use crate::humanize::rfc3339;
use crate::sealed::SealedTableReport;
use crate::sqlite::PageName;
use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;
use crate::tasks::scrub::sealed;
use crate::tasks::scrub_result::ScrubResult;
use crate::tasks::verdict::Verdict;

/// The most mismatches that are listed for a person; the JSON has them all.
const MAX_LINES: usize = 20;

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// How pages were judged: `first`, `at_rest`, `live_wal` or `rewritten`; `None` where the scrub
    /// did not reach the end of the database.
    pub mode: Option<String>,
    /// Pages of the database.
    pub pages: u64,
    /// Committed frames of the WAL whose checksums were verified.
    pub wal_frames: u64,
    /// Mismatches of earlier scrubs that match again.
    pub healed_pages: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Whether they came from the disk (`disk`) or from the page cache (`page_cache`).
    pub source: String,
    /// The numbers that are kept.
    #[serde(flatten)]
    pub result: ScrubResult,
    /// Every mismatch, with its place.
    pub findings: Vec<ScrubFinding>,
    /// The comparison of each table with sealed rows.
    #[serde(default)]
    pub sealed: Vec<SealedTableReport>,
}

/// A page or WAL frame that nobody wrote as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScrubFinding {
    /// `page`, `wal_frame` or `lost_checkpoint_write`.
    pub kind: String,
    /// The page.
    pub page: u32,
    /// The frame of the WAL, for the other two kinds.
    pub frame: Option<u32>,
    /// What the page belongs to, such as `table vouchers`, in words.
    pub place: Option<String>,
    /// When the page was last as it should be, in RFC 3339 format.
    pub verified_at: Option<String>,
    /// The hash of the page as it should be, in hexadecimal digits, where it is known.
    pub expected: Option<String>,
    /// The hash of the page as it is.
    pub found: String,
    /// The newest kept backup that holds the page as it should be.
    #[serde(default)]
    pub backup: Option<PathBuf>,
}

impl ScrubReport {
    /// The report of a scrub that reached the end, with the names of its pages and the backups that
    /// hold them.
    pub fn new(
        found: &litekeeper_scrub::Report,
        names: &BTreeMap<u32, PageName>,
        backups: &BTreeMap<u32, PathBuf>,
    ) -> Self {
        let not_verified = found.unverified_total();
        let reasons = found.unverified_pages.iter();
        let findings: Vec<ScrubFinding> =
            found.mismatches.iter().map(|one| ScrubFinding::new(one, names, backups)).collect();
        let replaced = found.unverified_pages.contains_key(&UnverifiedReason::Replaced);
        let result = ScrubResult {
            verified: found.verified_pages.into(),
            rebased: found.rebased_pages.into(),
            unverified: not_verified.saturating_sub(found.rebased_pages).into(),
            reasons: reasons.map(|(reason, pages)| (reason.label().to_owned(), (*pages).into())).collect(),
            verified_ratio: found.verified_ratio(),
            is_first: found.mode == Mode::First && !replaced,
            mismatches: found.mismatches_total.into(),
            first_problem: findings.first().map(ScrubFinding::summary),
        };
        Self {
            mode: Some(found.mode.label().to_owned()),
            pages: found.pages.into(),
            wal_frames: found.wal_frames.into(),
            healed_pages: found.healed_pages.into(),
            read_bytes: found.bytes,
            source: found.source.label().to_owned(),
            result,
            findings,
            sealed: Vec::new(),
        }
    }

    fn page_summary(&self) -> String {
        if self.mode.is_none() {
            return format!("{} read", bytes(self.read_bytes));
        }
        let ScrubResult { verified, rebased, unverified, mismatches, .. } = &self.result;
        let mut summary = format!("{} verified of {}", count(*verified), counted(self.pages, "page"));
        for (pages, state) in [(*rebased, "new base"), (*unverified, "unverified")] {
            if pages > 0 {
                summary.push_str(&format!(", {} {state}", count(pages)));
            }
        }
        if *mismatches > 0 {
            let plural = if *mismatches == 1 { "mismatch" } else { "mismatches" };
            summary.push_str(&format!(", {} {plural}", count(*mismatches)));
        }
        summary
    }

    fn page_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.findings.iter().take(MAX_LINES).map(ScrubFinding::summary).collect();
        if self.findings.len() > MAX_LINES {
            lines.push(format!("and {} more; --json lists all", self.findings.len() - MAX_LINES));
        }
        let reasons = self.result.reasons.iter();
        lines.extend(
            reasons.map(|(reason, pages)| format!("unverified, {reason}: {}", counted(*pages, "page"))),
        );
        if self.source == Source::PageCache.label() {
            let words = "read through the page cache, which may hide damage on the disk";
            lines.push(words.to_owned());
        }
        lines
    }
}

impl ScrubFinding {
    fn new(mismatch: &Mismatch, names: &BTreeMap<u32, PageName>, backups: &BTreeMap<u32, PathBuf>) -> Self {
        Self {
            kind: mismatch.kind.label().to_owned(),
            page: mismatch.page,
            frame: mismatch.frame,
            place: names.get(&mismatch.page).map(PageName::to_string),
            verified_at: mismatch.last_verified_at.map(rfc3339),
            expected: mismatch.expected.map(|hash| hash.to_string()),
            found: mismatch.found.to_string(),
            backup: backups.get(&mismatch.page).filter(|_| mismatch.expected.is_some()).cloned(),
        }
    }

    /// The finding in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let what = match self.kind.as_str() {
            "wal_frame" => format!("the WAL's frame of page {}", count(u64::from(self.page))),
            "lost_checkpoint_write" => {
                format!("page {}, which lost the write of a checkpoint", count(u64::from(self.page)))
            }
            _ => format!("page {}", count(u64::from(self.page))),
        };
        let place = self.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let since = self.verified_at.as_ref().map(|at| format!(", last verified {at}")).unwrap_or_default();
        let backup = self.backup.as_ref().map(|path| format!(", good in {}", path.display()));
        format!("{what}{place}{since}{}", backup.unwrap_or_default())
    }
}

impl TaskReport for ScrubReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        let pages = self.page_summary();
        match sealed::summary(&self.sealed) {
            Some(rows) => format!("{pages}; sealed rows: {rows}"),
            None => pages,
        }
    }

    fn lines(&self, _message: &str) -> Vec<String> {
        let mut lines = self.page_lines();
        lines.extend(sealed::lines(&self.sealed));
        lines
    }

    fn work(&self) -> Option<u64> {
        Some(self.read_bytes)
    }

    /// No check of SQLite ran, so a scrub that fails says nothing of theirs.
    fn verdicts(&self) -> Option<&[Verdict]> {
        Some(&[])
    }

    fn scrub(&self) -> Option<ScrubResult> {
        self.mode.is_some().then(|| self.result.clone())
    }

    fn span_attributes(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("litekeeper.read_bytes", self.read_bytes),
            ("litekeeper.verified_pages", self.result.verified),
            ("litekeeper.mismatches", self.result.mismatches),
        ]
    }
}
