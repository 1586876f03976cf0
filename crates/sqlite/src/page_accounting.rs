//! Accounting for every page of a database, independent of SQLite's own check.
//!
//! `PRAGMA integrity_check` looks for pages that are used twice, unused or free and in use only
//! where the first b-tree that it is given is no view or virtual table, whose root page is 0
//! (`bPartial` of `sqlite3BtreeIntegrityCheck`); which one is first depends on hashes of names. So
//! each page is counted here: b-trees with their overflow pages, the freelist, the pointer maps of
//! auto_vacuum and the lock-byte page make up the file, and no page has two uses
//! (<https://www.sqlite.org/fileformat2.html>).
//!
//! Where all is well, which is nearly always, `page_uses` proves it from the pages that SQLite's
//! check reads anyway. Only where it does not, the walk of `page_ledger` reads them again and says
//! what is wrong with which page.
//!
//! Pages are read by `sqlite_dbpage` in the transaction of the check, so that pages in the WAL
//! count as they are. Nothing in them is trusted: a page is followed once, and memory is three bits
//! a page.

use rusqlite::Connection;

use super::error::SqliteError;
use super::names::decode;
use super::page_layout::Layout;
use super::page_ledger::PageLedger;
use super::page_uses::PageUses;
use super::pages::Pages;
use super::raw;
use super::reader::Reader;

impl Reader {
    /// Whether SQLite's own check of the whole database is a partial one, which its program shows:
    /// the first root page is 0.
    ///
    /// # Errors
    /// `Corrupt` for a schema that SQLite refuses, and what any read can meet.
    pub(super) fn check_is_partial(&self) -> Result<bool, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("plan the check", &error, &self.limits);
        let sql = "EXPLAIN PRAGMA main.quick_check(100)";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let bytes = |column| row.get_ref(column).map(|value| value.as_bytes_or_null().ok().flatten());
            if bytes(1).map_err(failed)? == Some(b"IntegrityCk") {
                let roots = bytes(5).map_err(failed)?.unwrap_or_default();
                return Ok(!roots.starts_with(b"[") || roots.starts_with(b"[0,") || roots == b"[0]");
            }
        }
        Ok(true)
    }

    /// Finds the use of every page and returns what is wrong with them, [`super::MAX_FINDINGS`] at
    /// most. It belongs into a transaction that [`Reader::header`] began. Within the b-trees it
    /// looks only for pages: their order and content are for the checks of the tables.
    ///
    /// # Errors
    /// The limits are exceeded, or a read fails.
    pub fn account_for_pages(&self) -> Result<Vec<String>, SqliteError> {
        let uses = self.page_uses()?;
        uses.map_or_else(|| Ok(Vec::new()), |uses| self.account_with(uses))
    }

    /// Does `work`, during which `uses` sees the pages that SQLite reads from the file.
    pub(super) fn observed<T>(&self, uses: Option<&mut PageUses>, work: impl FnOnce() -> T) -> T {
        match uses {
            Some(uses) if !uses.is_doubtful() => {
                let page_bytes = uses.page_bytes();
                let mut visit = |page, bytes: &[u8]| uses.observe(page, bytes);
                raw::with_page_observer(&self.connection, page_bytes, &mut visit, work)
            }
            Some(_) | None => work(),
        }
    }

    /// Uses of pages, of which nothing is known yet; `None` for a database without pages.
    pub(super) fn page_uses(&self) -> Result<Option<PageUses>, SqliteError> {
        let layout = Pages::of(&self.connection).and_then(|mut pages| self.layout(&mut pages));
        Ok(layout.map_err(|error| self.accounting_failed(&error))?.map(PageUses::new))
    }

    /// The same as [`Reader::account_for_pages`], where the uses of some pages are known.
    pub(super) fn account_with(&self, mut uses: PageUses) -> Result<Vec<String>, SqliteError> {
        let failed = |error: rusqlite::Error| self.accounting_failed(&error);
        let mut pages = Pages::of(&self.connection).map_err(failed)?;
        let mut first = Vec::new();
        pages.read(1, &mut first).map_err(failed)?;
        let Some(layout) = self.layout(&mut pages).map_err(failed)? else { return Ok(Vec::new()) };
        let roots = roots(&self.connection).map_err(failed)?;
        let mut ledger = PageLedger::open(pages, layout, &first);
        if self.prove(&mut uses, &mut ledger, &roots)? {
            return Ok(Vec::new());
        }
        for (root, name) in &roots {
            ledger.tree(*root, name).map_err(failed)?;
            if self.limits.is_exceeded() {
                return Err(SqliteError::limit_error("account for the pages", &self.limits));
            }
        }
        ledger.freelist().map_err(failed)?;
        ledger.highest_root(&roots);
        ledger.unused();
        Ok(ledger.problems)
    }

    /// Whether each page has one use.
    fn prove(
        &self,
        uses: &mut PageUses,
        ledger: &mut PageLedger<'_>,
        roots: &[(u32, String)],
    ) -> Result<bool, SqliteError> {
        let failed = |error: rusqlite::Error| self.accounting_failed(&error);
        let highest = ledger.layout.highest_root;
        let is_highest = highest == 0 || roots.iter().map(|(root, _)| *root).max() == Some(highest);
        for (root, _) in roots {
            uses.refer(*root);
        }
        if uses.is_doubtful() || !is_highest || !ledger.freelist_into(uses, roots).map_err(failed)? {
            return Ok(false);
        }
        uses.complete(|page, buffer| {
            if self.limits.is_exceeded() {
                return Err(SqliteError::limit_error("account for the pages", &self.limits));
            }
            ledger.pages.read(page, buffer).map_err(failed)
        })?;
        Ok(uses.is_proven())
    }

    fn layout(&self, pages: &mut Pages<'_>) -> rusqlite::Result<Option<Layout>> {
        let mut first = Vec::new();
        pages.read(1, &mut first)?;
        Ok(Layout::of(&first, self.page_count()?))
    }

    fn accounting_failed(&self, error: &rusqlite::Error) -> SqliteError {
        SqliteError::new("account for the pages", error, &self.limits)
    }
}

/// The root pages of all b-trees with what they are called.
fn roots(connection: &Connection) -> rusqlite::Result<Vec<(u32, String)>> {
    let sql = "SELECT rootpage, type, name FROM main.sqlite_schema WHERE rootpage > 0";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    let mut found = vec![(1, "the schema".to_owned())];
    while let Some(row) = rows.next()? {
        let text = |column| -> rusqlite::Result<String> {
            let bytes = row.get_ref(column)?.as_bytes_or_null().ok().flatten().unwrap_or_default();
            Ok(decode(bytes))
        };
        let root = row.get_ref(0)?.as_i64().ok().and_then(|root| u32::try_from(root).ok());
        found.push((root.unwrap_or(u32::MAX), format!("{} {}", text(1)?, text(2)?)));
    }
    Ok(found)
}
