//! Accounting for every page of a database, independent of SQLite's own check.
//!
//! `PRAGMA integrity_check` looks for pages that are used twice, unused or free and in use only where the first b-tree that
//! it is given is no view or virtual table, whose root page is 0 (`bPartial` of `sqlite3BtreeIntegrityCheck`); which one is
//! first depends on hashes of names. So each page is counted here: b-trees with their overflow pages, the freelist, the
//! pointer maps of auto_vacuum and the lock-byte page make up the file, and no page has two uses
//! (<https://www.sqlite.org/fileformat2.html>).
//!
//! Pages are read by `sqlite_dbpage` in the transaction of the check, so that pages in the WAL count as they are. Nothing in
//! them is trusted: a page is followed once, and memory is one bit a page.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Statement;

use super::btree_page::children;
use super::btree_page::number;
use super::error::SqliteError;
use super::findings::MAX_FINDINGS;
use super::names::decode;
use super::reader::Reader;

/// `sqlite_dbpage` under a name that no schema can take.
const TABLE: &str = "temp.litekeeper_pages";

/// The byte at which SQLite takes its locks; the page with it holds nothing.
const LOCK_BYTE: u64 = 1 << 30;

/// Types of entries of a pointer map.
const MAP_ROOT: u8 = 1;
const MAP_FREE: u8 = 2;

impl Reader {
    /// Whether SQLite's own check of the whole database is a partial one, which its program shows: the first root page is 0.
    ///
    /// # Errors
    /// `Corrupt` for a schema that SQLite refuses, and what any read can meet.
    pub(super) fn check_is_partial(&self) -> Result<bool, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("plan the check", &error, &self.budget);
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

    /// Finds the use of every page and returns what is wrong with them, [`MAX_FINDINGS`] at most. It belongs into a
    /// transaction that [`Reader::header`] began. Within the b-trees it looks only for pages: their order and
    /// content are for the checks of the tables.
    ///
    /// # Errors
    /// The budget's end, and what any read can meet.
    pub fn account_for_pages(&self) -> Result<Vec<String>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("account for the pages", &error, &self.budget);
        let sql = format!("CREATE VIRTUAL TABLE IF NOT EXISTS {TABLE} USING sqlite_dbpage");
        self.connection.execute_batch(&sql).map_err(failed)?;
        let roots = roots(&self.connection).map_err(failed)?;
        let sql = format!("SELECT data FROM {TABLE} WHERE schema = 'main' AND pgno = ?1");
        let pages = Pages { statement: self.connection.prepare(&sql).map_err(failed)? };
        let count = self.page_count().map_err(failed)?;
        let Some(mut ledger) = Ledger::open(pages, count).map_err(failed)? else { return Ok(Vec::new()) };
        for (root, name) in &roots {
            ledger.tree(*root, name).map_err(failed)?;
            if self.budget.is_spent() {
                return Err(SqliteError::spent("account for the pages", &self.budget));
            }
        }
        ledger.freelist().map_err(failed)?;
        ledger.highest_root(&roots);
        ledger.unused();
        Ok(ledger.problems)
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

/// Reads pages in the transaction of the connection.
struct Pages<'connection> {
    statement: Statement<'connection>,
}

impl Pages<'_> {
    /// Copies a page into `buffer`; it stays empty where there is none.
    fn read(&mut self, page: u32, buffer: &mut Vec<u8>) -> rusqlite::Result<()> {
        buffer.clear();
        self.statement
            .query_row([page], |row| {
                if let Ok(bytes) = row.get_ref(0)?.as_blob() {
                    buffer.extend_from_slice(bytes);
                }
                Ok(())
            })
            .optional()
            .map(Option::unwrap_or_default)
    }
}

/// Which pages have a use, and what is wrong.
struct Ledger<'connection> {
    pages: Pages<'connection>,
    count: u32,
    usable: usize,
    /// The largest root page, which is kept with auto_vacuum alone; 0 without pointer maps.
    highest_root: u32,
    free: (u32, u32),
    used: Vec<u64>,
    map: (u32, Vec<u8>),
    problems: Vec<String>,
}

impl<'connection> Ledger<'connection> {
    /// Begins with the pages that have their use by their place; `None` for a database without pages.
    fn open(mut pages: Pages<'connection>, count: u32) -> rusqlite::Result<Option<Self>> {
        let mut first = Vec::new();
        pages.read(1, &mut first)?;
        if count == 0 || first.len() < 512 {
            return Ok(None);
        }
        let usable = first.len() - usize::from(first[20]);
        let mut ledger = Self {
            pages,
            count,
            usable,
            highest_root: number(&first, 52).unwrap_or(0),
            free: (number(&first, 32).unwrap_or(0), number(&first, 36).unwrap_or(0)),
            used: vec![0; count as usize / 64 + 1],
            map: (0, Vec::new()),
            problems: Vec::new(),
        };
        let lock_page = u32::try_from(LOCK_BYTE / first.len() as u64 + 1).unwrap_or(u32::MAX);
        if lock_page <= count {
            ledger.take(lock_page, "the lock-byte page");
        }
        if ledger.highest_root != 0 {
            let step = ledger.entries_of_a_map() + 1;
            let mut map = 2_u32;
            while map <= count {
                ledger.take(if map == lock_page { map + 1 } else { map }, "a pointer map");
                let Some(next) = map.checked_add(step) else { break };
                map = next;
            }
        }
        Ok(Some(ledger))
    }

    fn entries_of_a_map(&self) -> u32 {
        u32::try_from(self.usable / 5).unwrap_or(u32::MAX - 1)
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        if self.problems.len() < MAX_FINDINGS {
            self.problems.push(text());
        }
    }

    fn is_full(&self) -> bool {
        self.problems.len() >= MAX_FINDINGS
    }

    fn is_used(&self, page: u32) -> bool {
        self.used[page as usize / 64] & (1 << (page % 64)) != 0
    }

    /// Notes the use of a page, and says whether it is there and had none before.
    fn take(&mut self, page: u32, by: &str) -> bool {
        if page == 0 || page > self.count {
            let count = self.count;
            self.problem(|| format!("{by} refers to page {page}, and the database has pages 1 to {count}"));
            return false;
        }
        if self.is_used(page) {
            self.problem(|| format!("page {page} is used twice: {by} has it too"));
            return false;
        }
        self.used[page as usize / 64] |= 1 << (page % 64);
        true
    }

    /// Takes all pages of a b-tree.
    fn tree(&mut self, root: u32, name: &str) -> rusqlite::Result<()> {
        if !self.take(root, name) {
            return Ok(());
        }
        if root > 1 {
            self.expect_in_map(root, MAP_ROOT, name)?;
        }
        let mut waiting = vec![root];
        let mut chains = Vec::new();
        let mut buffer = Vec::new();
        while let Some(page) = waiting.pop() {
            if self.is_full() {
                break;
            }
            self.pages.read(page, &mut buffer)?;
            let Some(children) = children(&buffer, page, self.usable, &mut chains) else {
                self.problem(|| format!("page {page} of {name} is no page of a b-tree"));
                continue;
            };
            for child in children {
                if self.take(child, name) {
                    waiting.push(child);
                }
            }
            for (first, length) in chains.drain(..) {
                self.overflow(first, length, page, name, &mut buffer)?;
            }
        }
        Ok(())
    }

    /// Takes the pages of one value that does not fit its page.
    fn overflow(
        &mut self,
        first: u32,
        length: u64,
        from: u32,
        name: &str,
        buffer: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let mut page = first;
        for _ in 0..length {
            if page == 0 {
                self.problem(|| format!("an overflow chain of {name} from page {from} ends too early"));
                return Ok(());
            }
            if !self.take(page, name) {
                return Ok(());
            }
            self.pages.read(page, buffer)?;
            page = number(buffer, 0).unwrap_or(0);
        }
        if page != 0 {
            self.problem(|| format!("an overflow chain of {name} from page {from} does not end"));
        }
        Ok(())
    }

    /// Takes the pages of the freelist and compares their number with the header.
    fn freelist(&mut self) -> rusqlite::Result<()> {
        const NAME: &str = "the freelist";
        let (mut trunk, announced) = self.free;
        let mut found = 0_u32;
        let mut buffer = Vec::new();
        let room = u32::try_from(self.usable / 4).unwrap_or(u32::MAX) - 2;
        while trunk != 0 && !self.is_full() {
            if !self.take(trunk, NAME) {
                break;
            }
            self.expect_in_map(trunk, MAP_FREE, NAME)?;
            found += 1;
            self.pages.read(trunk, &mut buffer)?;
            let leaves = number(&buffer, 4).unwrap_or(0);
            if leaves > room {
                self.problem(|| {
                    format!("page {trunk} of {NAME} names {leaves} pages, more than it can hold")
                });
                break;
            }
            for leaf in buffer.get(8..8 + leaves as usize * 4).unwrap_or_default().chunks_exact(4) {
                let leaf = number(leaf, 0).unwrap_or(0);
                found += 1;
                if self.take(leaf, NAME) {
                    self.expect_in_map(leaf, MAP_FREE, NAME)?;
                }
            }
            trunk = number(&buffer, 0).unwrap_or(0);
        }
        if found != announced {
            self.problem(|| format!("{NAME} has {found} pages, and the header says {announced}"));
        }
        Ok(())
    }

    /// Compares the entry of a page in its pointer map with its use. Those of the other pages belong to SQLite's check of
    /// the table, which compares them.
    fn expect_in_map(&mut self, page: u32, kind: u8, name: &str) -> rusqlite::Result<()> {
        if self.highest_root == 0 {
            return Ok(());
        }
        let step = self.entries_of_a_map() + 1;
        let mut map = (page.max(2) - 2) / step * step + 2;
        let lock_page = u32::try_from(LOCK_BYTE / self.map_bytes() + 1).unwrap_or(u32::MAX);
        if map == lock_page {
            map += 1;
        }
        let Some(entry) = page.checked_sub(map + 1) else { return Ok(()) };
        if self.map.0 != map {
            self.pages.read(map, &mut self.map.1)?;
            self.map.0 = map;
        }
        if self.map.1.get(entry as usize * 5) != Some(&kind) {
            self.problem(|| format!("page {page} of {name} has another use in the pointer map"));
        }
        Ok(())
    }

    /// The size of a page, of which the reserved bytes are a part; they are fewer than 256.
    fn map_bytes(&self) -> u64 {
        (self.usable as u64).next_power_of_two()
    }

    /// With auto_vacuum the header keeps the largest root page.
    fn highest_root(&mut self, roots: &[(u32, String)]) {
        let (announced, highest) = (self.highest_root, roots.iter().map(|(root, _)| *root).max());
        if let Some(highest) = highest.filter(|highest| announced != 0 && *highest != announced) {
            self.problem(|| format!("the largest root page is {highest}, and the header says {announced}"));
        }
    }

    /// Every page that nothing uses is lost. After pages that could not be followed this follows from them, and is left out.
    fn unused(&mut self) {
        if !self.problems.is_empty() {
            return;
        }
        for page in 1..=self.count {
            if self.is_full() {
                return;
            }
            if !self.is_used(page) {
                self.problem(|| format!("page {page} is never used"));
            }
        }
    }
}
