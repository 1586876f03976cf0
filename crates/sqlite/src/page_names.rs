//! What pages belong to: for damage that is known by its page alone.
//!
//! The b-trees are walked from their roots. The walk goes on past pages that it cannot read, so that
//! the pages of other b-trees are named in any case. A page below a damaged one is not found.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use rusqlite::Connection;
use serde::Serialize;

use super::btree_page::PageHeader;
use super::btree_page::Reference;
use super::btree_page::number;
use super::btree_page::references;
use super::error::SqliteError;
use super::names::decode;
use super::page_layout::Layout;
use super::pages::Pages;
use super::reader::Reader;

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PageRole {
    /// A page of a b-tree with pages below it.
    Interior,
    /// A page of a b-tree with rows or keys.
    Leaf,
    /// A part of a value that does not fit its page.
    Overflow,
    /// A page with numbers of free pages.
    FreelistTrunk,
    /// A free page.
    FreelistLeaf,
    /// A page that says where others belong (auto_vacuum).
    PointerMap,
}

/// What a page belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageName {
    /// The table or index, `sqlite_schema` for the schema; `None` for pages of no b-tree.
    pub btree: Option<String>,
    /// The table of the index, or the table itself.
    pub table: Option<String>,
    /// What the page is for.
    pub role: PageRole,
}

/// The page in words, such as `leaf of table vouchers`.
impl fmt::Display for PageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.role {
            PageRole::Interior => "interior page",
            PageRole::Leaf => "leaf",
            PageRole::Overflow => "overflow page",
            PageRole::FreelistTrunk => "freelist trunk",
            PageRole::FreelistLeaf => "free page",
            PageRole::PointerMap => "pointer map",
        })?;
        match (&self.btree, &self.table) {
            (Some(btree), Some(table)) if btree != table => {
                write!(formatter, " of index {btree} of table {table}")
            }
            (Some(btree), _) => write!(formatter, " of table {btree}"),
            (None, _) => Ok(()),
        }
    }
}

struct Walk<'connection> {
    pages: Pages<'connection>,
    layout: Layout,
    visited: Vec<u64>,
    wanted: &'connection BTreeSet<u32>,
    names: BTreeMap<u32, PageName>,
}

impl Reader {
    /// Names pages by a walk over the whole database. Pages that it does not reach are missing. It
    /// belongs into a transaction that [`Reader::header`] began.
    ///
    /// # Errors
    /// The limits are exceeded, or the schema cannot be read.
    pub fn name_pages(&self, wanted: &BTreeSet<u32>) -> Result<BTreeMap<u32, PageName>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("name the pages", &error, &self.limits);
        let mut pages = Pages::of(&self.connection).map_err(failed)?;
        let mut first = Vec::new();
        pages.read(1, &mut first).map_err(failed)?;
        let Some(layout) = Layout::of(&first, self.page_count().map_err(failed)?) else {
            return Ok(BTreeMap::new());
        };
        let visited = vec![0; layout.count as usize / 64 + 1];
        let mut walk = Walk { pages, layout, visited, wanted, names: BTreeMap::new() };
        for (page, _) in layout.fixed().filter(|(page, _)| *page != layout.lock_page()) {
            walk.note(page, None, PageRole::PointerMap);
        }
        for (root, btree, table) in roots(&self.connection).map_err(failed)? {
            if walk.names.len() == wanted.len() {
                break;
            }
            if self.limits.is_exceeded() {
                return Err(SqliteError::limit_error("name the pages", &self.limits));
            }
            walk.tree(root, (&btree, &table)).map_err(failed)?;
        }
        walk.freelist(&first).map_err(failed)?;
        Ok(walk.names)
    }
}

impl Walk<'_> {
    /// Notes a page, and says whether it is there and new.
    fn note(&mut self, page: u32, names: Option<(&str, &str)>, role: PageRole) -> bool {
        if page == 0 || page > self.layout.count {
            return false;
        }
        let (word, bit) = (&mut self.visited[page as usize / 64], 1 << (page % 64));
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        if self.wanted.contains(&page) {
            let (btree, table) = names.map(|(btree, table)| (btree.to_owned(), table.to_owned())).unzip();
            self.names.insert(page, PageName { btree, table, role });
        }
        true
    }

    fn tree(&mut self, root: u32, names: (&str, &str)) -> rusqlite::Result<()> {
        let mut waiting = vec![root];
        let (mut buffer, mut below) = (Vec::new(), Vec::new());
        while let Some(page) = waiting.pop() {
            // The role is known by the page itself; a damaged one is taken for a leaf.
            if self.pages.read(page, &mut buffer).is_err() {
                buffer.clear();
            }
            let is_interior = PageHeader::read(&buffer, page).is_some_and(|header| header.is_interior);
            let role = if is_interior { PageRole::Interior } else { PageRole::Leaf };
            if !self.note(page, Some(names), role) {
                continue;
            }
            let mut chains = Vec::new();
            // Of a page with a damaged cell, what comes before it counts.
            let _ = references(&buffer, page, self.layout.usable, |reference| match reference {
                Reference::Child(child) => below.push(child),
                Reference::Overflow(first, length) => chains.push((first, length)),
            });
            waiting.append(&mut below);
            for (first, length) in chains {
                self.overflow(first, length, names, &mut buffer)?;
            }
        }
        Ok(())
    }

    fn overflow(
        &mut self,
        first: u32,
        length: u64,
        names: (&str, &str),
        buffer: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let mut page = first;
        for _ in 0..length {
            if !self.note(page, Some(names), PageRole::Overflow) {
                return Ok(());
            }
            self.pages.read(page, buffer)?;
            page = number(buffer, 0).unwrap_or(0);
        }
        Ok(())
    }

    fn freelist(&mut self, first: &[u8]) -> rusqlite::Result<()> {
        let mut trunk = number(first, 32).unwrap_or(0);
        let mut buffer = Vec::new();
        while self.note(trunk, None, PageRole::FreelistTrunk) {
            self.pages.read(trunk, &mut buffer)?;
            let count = number(&buffer, 4).unwrap_or(0) as usize;
            for at in 0..count.min(buffer.len() / 4) {
                if let Some(leaf) = number(&buffer, 8 + 4 * at) {
                    self.note(leaf, None, PageRole::FreelistLeaf);
                }
            }
            trunk = number(&buffer, 0).unwrap_or(0);
        }
        Ok(())
    }
}

/// The root pages of all b-trees with their names and tables.
fn roots(connection: &Connection) -> rusqlite::Result<Vec<(u32, String, String)>> {
    const SCHEMA: &str = "sqlite_schema";
    let mut found = vec![(1, SCHEMA.to_owned(), SCHEMA.to_owned())];
    let sql = "SELECT rootpage, name, tbl_name FROM main.sqlite_schema WHERE rootpage > 0";
    // A schema that is damaged itself names no more.
    let Ok(mut statement) = connection.prepare(sql) else { return Ok(found) };
    let mut rows = statement.query(())?;
    while let Ok(Some(row)) = rows.next() {
        let text = |column| -> rusqlite::Result<String> {
            Ok(decode(row.get_ref(column)?.as_bytes_or_null().ok().flatten().unwrap_or_default()))
        };
        if let Some(root) = row.get_ref(0)?.as_i64().ok().and_then(|root| u32::try_from(root).ok()) {
            found.push((root, text(1)?, text(2)?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::QueryLimits;
    use crate::reader::Access;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a database of this test alone")]
    fn every_page_has_its_name_and_a_damaged_leaf_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let owner = Connection::open(&path).unwrap();
        owner
            .execute_batch(
                "PRAGMA page_size = 1024; CREATE TABLE t (a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t (b);
                 CREATE TABLE gone (a);
                 WITH n (x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 400)
                 INSERT INTO t SELECT x, randomblob(100) FROM n;
                 INSERT INTO gone SELECT b FROM t;
                 INSERT INTO t VALUES (1000, zeroblob(5000)); DROP TABLE gone;",
            )
            .unwrap();
        let count: u32 = owner.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
        let leaf: u32 = owner
            .query_row(
                "SELECT pageno FROM dbstat WHERE name = 't' AND pagetype = 'leaf' LIMIT 1",
                (),
                |row| row.get(0),
            )
            .unwrap();
        drop(owner);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[(leaf as usize - 1) * 1024] = 99;
        std::fs::write(&path, bytes).unwrap();
        let limits = QueryLimits::with_timeout(Duration::from_secs(60));
        let reader = Reader::open(&path, Access::Immutable, &limits).unwrap();
        reader.header().unwrap();
        let names = reader.name_pages(&(1..=count).collect()).unwrap();
        assert_eq!(names.len(), count as usize);
        assert_eq!(names[&1].btree.as_deref(), Some("sqlite_schema"));
        assert_eq!((names[&leaf].btree.as_deref(), names[&leaf].role), (Some("t"), PageRole::Leaf));
        let with = |role| names.values().filter(|name| name.role == role).count();
        assert!(with(PageRole::Overflow) > 0 && with(PageRole::FreelistLeaf) > 0);
        assert!(with(PageRole::Interior) >= 2 && with(PageRole::FreelistTrunk) >= 1);
        assert!(
            names
                .values()
                .any(|name| name.btree.as_deref() == Some("i") && name.table.as_deref() == Some("t"))
        );
    }
}
