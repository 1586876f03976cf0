//! What the pages of a scrub's findings belong to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::collectors::Consistent;
use crate::collectors::ConsistentReadError;
use crate::collectors::read_preferably_unlocked;
use crate::limits::QueryLimits;
use crate::sqlite::PageName;
use crate::sqlite::PageRole;
use crate::sqlite::SqliteError;
use crate::tasks::context::READ_BUSY_TIMEOUT;
use crate::tasks::context::TaskContext;

/// A walk over all b-trees of a large database takes minutes.
const LIMIT: Duration = Duration::from_secs(600);

/// Names pages in words, such as `leaf of table vouchers`. Pages that cannot be named are missing:
/// nothing leads to them, or the database cannot be read.
pub(super) fn places(wanted: &BTreeSet<u32>, context: &TaskContext<'_>) -> BTreeMap<u32, String> {
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let database = context.database;
    let limits = QueryLimits {
        busy_timeout: READ_BUSY_TIMEOUT,
        cancel: context.limits.cancel.clone(),
        ..QueryLimits::with_timeout(LIMIT)
    };
    let read: Result<_, ConsistentReadError<SqliteError>> =
        read_preferably_unlocked(&database.path, &database.files, &limits, |reader| {
            reader.header()?;
            reader.name_pages(wanted)
        });
    match read {
        Ok(Consistent::Read { answer, .. }) => {
            answer.iter().map(|(page, name)| (*page, in_words(name))).collect()
        }
        Ok(Consistent::Unstable) | Err(_) => BTreeMap::new(),
    }
}

fn in_words(name: &PageName) -> String {
    let role = match name.role {
        PageRole::Interior => "interior page",
        PageRole::Leaf => "leaf",
        PageRole::Overflow => "overflow page",
        PageRole::FreelistTrunk => "freelist trunk",
        PageRole::FreelistLeaf => "free page",
        PageRole::PointerMap => "pointer map",
    };
    match (&name.btree, &name.table) {
        (Some(btree), Some(table)) if btree != table => format!("{role} of index {btree} of table {table}"),
        (Some(btree), _) => format!("{role} of table {btree}"),
        (None, _) => role.to_owned(),
    }
}
