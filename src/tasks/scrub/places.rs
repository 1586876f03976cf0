//! What the pages of a scrub's findings belong to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_preferably_unlocked;
use crate::database_files::DatabaseFiles;
use crate::limits::QueryLimits;
use crate::sqlite::PageName;
use crate::sqlite::SqliteError;
use crate::tasks::context::READ_BUSY_TIMEOUT;

/// A walk over all b-trees of a large database takes minutes.
const LIMIT: Duration = Duration::from_secs(600);

/// Names pages. Those that cannot be named are missing: nothing leads to them, or the database cannot
/// be read.
#[must_use]
pub fn name_pages(
    path: &Path,
    files: &DatabaseFiles,
    wanted: &BTreeSet<u32>,
    cancel: &CancellationToken,
) -> BTreeMap<u32, PageName> {
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let limits = QueryLimits {
        busy_timeout: READ_BUSY_TIMEOUT,
        cancel: cancel.clone(),
        ..QueryLimits::with_timeout(LIMIT)
    };
    let read: Result<_, ConsistentReadError<SqliteError>> =
        read_preferably_unlocked(path, files, &limits, |reader| {
            reader.header()?;
            reader.name_pages(wanted)
        });
    match read {
        Ok(Consistent::Read { answer, .. }) => answer,
        Ok(Consistent::Unstable) | Err(_) => BTreeMap::new(),
    }
}
