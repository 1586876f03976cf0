//! Why a scrub did not verify a page, for people.

use crate::scrub::UnverifiedReason;

/// The reason as a part of a sentence.
pub(super) fn reason_text(reason: UnverifiedReason) -> &'static str {
    match reason {
        UnverifiedReason::FirstScrub => "this is the first scrub of the file",
        UnverifiedReason::NewPage => "new since the last scrub",
        UnverifiedReason::Written => "written since the last scrub",
        UnverifiedReason::Rewritten => "the file was written since the last scrub",
        UnverifiedReason::WalIncomplete => "the WAL no longer shows which pages were written",
        UnverifiedReason::Replaced => "another file is at the path",
        UnverifiedReason::Freelist => "free pages, whose content has no meaning",
        UnverifiedReason::Ledger => "this part of the ledger is damaged",
        UnverifiedReason::Filesystem => "file times are not reliable on this file system",
        UnverifiedReason::Remounted => "the file system was mounted again while the database was in use",
        UnverifiedReason::Unsettled => "the file was written during the last scrub",
    }
}
