//! Full-text indexes beside the tables whose rows they index (`content=…`).
//!
//! SQLite's own checks compare an FTS3 or FTS4 index with its table, and look at an FTS5 index
//! alone. The comparison of FTS5 is an INSERT ('integrity-check' with rank 1), which needs the
//! right to write: it is made on a copy in memory, so that the database is read for as long as the
//! copy takes and no lock of a writer is taken. A copy that is too large for memory is a file
//! without a name in SQLite's temporary directory. Where a copy would hold a reader's lock for too
//! long or take too much space, the row ids in index and table are compared, which finds rows that
//! came, went or got other numbers behind the index's back; a finding says that the content was
//! not.
//!
//! An index out of step is no damage of the file: searches return wrong rows, and a rebuild of
//! the index corrects it.

use rusqlite::Connection;
use rusqlite::backup::Backup;
use rusqlite::backup::StepResult;
use rusqlite::config::DbConfig;

use crate::limits::QueryLimits;

use super::error::ErrorCode;
use super::error::SqliteError;
use super::findings::Finding;
use super::findings::FindingCategory;
use super::full_text::FullTextIndex;
use super::full_text::full_text_indexes;
use super::header::Header;
use super::header::JournalMode;
use super::names::is_not_utf8;
use super::names::number_of;
use super::query_source::QuerySource as _;
use super::reader::Reader;
use super::tables::quoted;

/// The largest database that is copied into memory, and under a lock.
const MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// The largest database that is copied into a temporary file.
const MAX_COPY_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Pages of a step of the copy, between which the limits are looked at.
const STEP_PAGES: i32 = 2048;

const OPERATION: &str = "compare the full-text indexes";

/// A private copy of a database, in memory or in a file without a name.
pub struct FullTextCopy {
    connection: Connection,
    limits: QueryLimits,
}

impl Reader {
    /// The FTS5 indexes of other tables' rows, and what is said of those that cannot be compared.
    ///
    /// # Errors
    /// What any read can meet.
    pub fn full_text_to_compare(&self) -> Result<(Vec<FullTextIndex>, Vec<Finding>), SqliteError> {
        let mut found = self.query("look for full-text indexes", full_text_indexes)?;
        found.retain(|index| index.module == "fts5");
        let (unnameable, found): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|index| is_not_utf8(&index.name) || is_not_utf8(&index.content));
        let reason = "a name that is not UTF-8 cannot be given to the module";
        Ok((found, unnameable.iter().map(|index| not_compared(index, reason)).collect()))
    }

    /// Copies the database, in the transaction that [`Reader::header`] began; nothing where it is
    /// too large. Under a lock that keeps writers from committing, only a small one is copied.
    ///
    /// # Errors
    /// What any read can meet, and a full disk.
    pub fn copy_for_full_text(&self, header: &Header) -> Result<Option<FullTextCopy>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new(OPERATION, &error, &self.limits);
        let size = u64::from(header.pages) * u64::from(header.page_size);
        let is_locking = self.takes_locks() && header.journal_mode == JournalMode::Rollback;
        if size > if is_locking { MAX_MEMORY_BYTES } else { MAX_COPY_BYTES } {
            return Ok(None);
        }
        let memory = if size > MAX_MEMORY_BYTES { "" } else { ":memory:" };
        #[expect(clippy::disallowed_methods, reason = "a private copy, which no application has open")]
        let mut connection = Connection::open(memory).map_err(failed)?;
        {
            let backup = Backup::new(&self.connection, &mut connection).map_err(failed)?;
            while backup.step(STEP_PAGES).map_err(failed)? != StepResult::Done {
                if self.limits.is_exceeded() {
                    return Err(SqliteError::limit_error(OPERATION, &self.limits));
                }
            }
        }
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
        let limits = self.limits.clone();
        let spent = limits.clone();
        connection.progress_handler(1_000, Some(move || spent.is_exceeded())).map_err(failed)?;
        Ok(Some(FullTextCopy { connection, limits }))
    }

    /// Compares the row ids of an index with those of its table. Where all are in both, the content
    /// is still not compared, which the finding says.
    ///
    /// # Errors
    /// The limits are exceeded, or a read fails.
    pub fn compare_row_ids(&self, index: &FullTextIndex) -> Result<Finding, SqliteError> {
        let documents = quoted(&format!("{}_docsize", index.name));
        let (content, row_id) = (quoted(&index.content), quoted(&index.row_id));
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM main.{documents} AS d \
             WHERE NOT EXISTS (SELECT 1 FROM main.{content} AS c WHERE c.{row_id} = d.id)) \
             OR EXISTS (SELECT 1 FROM main.{content} AS c \
             WHERE NOT EXISTS (SELECT 1 FROM main.{documents} AS d WHERE d.id = c.{row_id}))"
        );
        let differs = number_of(&self.connection, &sql)
            .map_err(|error| SqliteError::new(OPERATION, &error, &self.limits));
        match differs {
            Ok(Some(1)) => Ok(stale_index(&index.name, &index.content)),
            Ok(_) => Ok(not_compared(
                index,
                "the database is too large for a private copy here, so only the row ids were compared, which are the same",
            )),
            // columnsize=0 keeps no row ids, and a view may have none.
            Err(error) if error.is_not_checkable() => Ok(not_compared(index, error.words())),
            Err(error) => Err(error),
        }
    }

    /// Makes a broken constraint of what SQLite reports as damage where an FTS3 or FTS4 index does
    /// not fit the table whose rows it indexes: the index is a table of its own, and only its
    /// content is another's.
    pub(super) fn note_stale_index(&self, findings: &mut [Finding]) -> Result<(), SqliteError> {
        /// `fts3IntegrityMethod` in fts3.c. What it cannot read at all it reports in other words.
        const BEGINS: [&str; 2] = [
            "malformed inverted index for FTS4 table main.",
            "malformed inverted index for FTS3 table main.",
        ];
        let table_of = |finding: &Finding| {
            let is_damage = finding.kind == FindingCategory::Damage;
            let name = BEGINS.iter().find_map(|begin| finding.text.strip_prefix(begin));
            name.filter(|_| is_damage).map(str::to_owned)
        };
        if !findings.iter().any(|finding| table_of(finding).is_some()) {
            return Ok(());
        }
        let indexes = self.query("look for full-text indexes", full_text_indexes)?;
        for finding in findings {
            let Some(table) = table_of(finding) else { continue };
            if let Some(index) = indexes.iter().find(|index| index.name == table) {
                *finding = stale_index(&index.name, &index.content);
            }
        }
        Ok(())
    }
}

impl FullTextCopy {
    /// Compares an index with its table; nothing where it fits.
    ///
    /// # Errors
    /// The limits are exceeded.
    pub fn compare(&self, index: &FullTextIndex) -> Result<Option<Finding>, SqliteError> {
        let name = quoted(&index.name);
        let sql = format!("INSERT INTO main.{name} ({name}, rank) VALUES ('integrity-check', 1)");
        let Err(error) = self.connection.execute_batch(&sql) else { return Ok(None) };
        let error = SqliteError::new(OPERATION, &error, &self.limits);
        match error.code() {
            None => Err(error),
            Some(ErrorCode::Corrupt) => Ok(Some(stale_index(&index.name, &index.content))),
            Some(_) => {
                Ok(Some(not_compared(index, self.read_error(&index.content).unwrap_or(error).words())))
            }
        }
    }
}

impl FullTextCopy {
    /// What SQLite says to a query of the table itself, which the index's module does not pass on:
    /// the table may be a view with functions that only the application has.
    fn read_error(&self, content: &str) -> Option<SqliteError> {
        let sql = format!("SELECT * FROM main.{}", quoted(content));
        let error = self.connection.prepare(&sql).err()?;
        Some(SqliteError::new(OPERATION, &error, &self.limits))
    }
}

/// An index whose content was not compared with its table.
#[must_use]
pub fn not_compared(index: &FullTextIndex, reason: &str) -> Finding {
    let name = quoted(&index.name);
    Finding::not_checkable(format!(
        "full-text index {}: it was not compared with its table {}: {reason}; the application can: INSERT INTO {name} ({name}, rank) \
         VALUES ('integrity-check', 1)",
        index.name, index.content
    ))
}

/// An index that does not fit its table.
fn stale_index(index: &str, content: &str) -> Finding {
    let name = quoted(index);
    Finding::constraint(format!(
        "full-text index {index} is out of step with its table {content}: searches miss rows or find wrong ones; the file is sound, \
         and INSERT INTO {name} ({name}) VALUES ('rebuild') makes the index anew"
    ))
}
