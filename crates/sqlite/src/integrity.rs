//! SQLite's own checks of a database.

use serde::Deserialize;
use serde::Serialize;

use super::error::ErrorCode;
use super::error::SqliteError;
use super::findings::Checked;
use super::findings::Finding;
use super::findings::MAX_FINDINGS;
use super::findings::capped;
use super::findings::of_row;
use super::header::Header;
use super::names::name_in;
use super::names::prepare;
use super::names::text_in;
use super::raw;
use super::reader::Reader;

/// How thorough a check is. What each finds stands in docs and PHYSICS: a quick one misses an
/// index that disagrees with its table, and a full one misses foreign keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// `PRAGMA quick_check`: 1.1 GB/s from a warm cache.
    Quick,
    /// `PRAGMA integrity_check`: 0.26 GB/s from a warm cache, with two indexes.
    Full,
    /// `PRAGMA foreign_key_check`.
    ForeignKey,
}

impl Check {
    /// Every check, in the order of the exposition.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Full, Self::ForeignKey];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::ForeignKey => "foreign_key",
        }
    }
}

/// The largest page cache for the checks of a small database. A full check looks up the entry of
/// each row in each index, in any order: with two indexes on random values in 71 MiB it took 1.66 s
/// with so much and 2.45 s with the small one.
const LARGE_CACHE_KIB: u64 = 64 * 1024;

/// The largest for any other: with 266 MiB more gained nothing.
const MEDIUM_CACHE_KIB: u64 = 4 * 1024;

/// For what reads each page in turn, which a larger one slows: 400 MiB of large values took 0.12 s
/// of CPU time with so much, 0.14 s with 4 MiB and 0.21 s with 64 MiB.
const SMALL_CACHE_KIB: u64 = 1024;

impl Reader {
    /// Gives the page cache the size that is best for a check.
    ///
    /// # Errors
    /// What SQLite says; none is known.
    pub fn prepare_check(&self, check: Check, header: &Header) -> Result<(), SqliteError> {
        let kib = |pages: u64| pages * u64::from(header.page_size) / 1024;
        let wanted = match check {
            Check::Quick => SMALL_CACHE_KIB,
            Check::Full => self.index_pages().map_or(LARGE_CACHE_KIB, |pages| SMALL_CACHE_KIB + kib(pages)),
            Check::ForeignKey => LARGE_CACHE_KIB,
        };
        let is_small = kib(header.pages.into()) <= 2 * LARGE_CACHE_KIB;
        let kib = wanted.min(if is_small { LARGE_CACHE_KIB } else { MEDIUM_CACHE_KIB });
        self.connection
            .execute_batch(&format!("PRAGMA cache_size = -{kib}"))
            .map_err(|error| SqliteError::new("set the cache", &error, &self.limits))
    }

    /// Runs a check. Where it fails as a whole because of something that only the application has,
    /// it goes on table by table, with what is missing here stood in for where that is safe, and
    /// names the rest.
    ///
    /// While it runs, a writer of a rollback database cannot commit, and the WAL of a WAL database
    /// cannot start anew. It stops within 5 ms of its deadline or a cancel.
    ///
    /// # Errors
    /// `Corrupt` or `NotADatabase` when the damage keeps SQLite from checking at all.
    pub fn check(&self, check: Check) -> Result<Checked, SqliteError> {
        let mut checked = self.check_structure(check)?;
        if check != Check::ForeignKey {
            checked.findings.extend(self.check_reserved_bytes()?);
            checked.findings = capped(checked.findings);
        }
        Ok(checked)
    }

    /// All of a check but what is in the reserved bytes of pages.
    fn check_structure(&self, check: Check) -> Result<Checked, SqliteError> {
        self.stand_in_collations()?;
        if check == Check::ForeignKey {
            return self.whole(check)?.map_or_else(|| self.check_by_table(check), Ok);
        }
        // SQLite's own accounting is as good where it does it. Where it cannot be asked, the check
        // itself says why.
        let is_partial = self.check_is_partial().unwrap_or(true);
        let mut uses = if is_partial { self.page_uses()? } else { None };
        let mut checked = match self.observed(uses.as_mut(), || self.whole(check))? {
            Some(checked) if !is_partial => return Ok(checked),
            Some(checked) => checked,
            None => self.observed(uses.as_mut(), || self.check_by_table(check))?,
        };
        let problems = match uses {
            Some(uses) => self.account_with(uses)?,
            None => self.account_for_pages()?,
        };
        checked.findings.extend(problems.into_iter().map(Finding::damage));
        checked.findings = capped(checked.findings);
        checked.whole = true;
        Ok(checked)
    }

    /// A check of the whole database at once; nothing where something that only the application has
    /// keeps it from being done.
    fn whole(&self, check: Check) -> Result<Option<Checked>, SqliteError> {
        let whole = match check {
            Check::Quick => self.integrity("quick check", "PRAGMA main.quick_check(100)"),
            Check::Full => self.integrity("integrity check", "PRAGMA main.integrity_check(100)"),
            Check::ForeignKey => self.foreign_keys("PRAGMA main.foreign_key_check", 0),
        };
        match whole {
            Ok(Some(findings)) => self.complete(check, findings).map(Some),
            Ok(None) => Ok(None),
            Err(error) if error.is_not_checkable() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a check on one table and its indexes. The freelist, and pages that two tables use, it
    /// does not see.
    ///
    /// # Errors
    /// As for [`Reader::check`].
    pub fn check_table(&self, check: Check, table: &str) -> Result<Checked, SqliteError> {
        self.stand_in_collations()?;
        self.check_one_table(check, table)
    }

    /// Every table with the number of its indexes.
    ///
    /// # Errors
    /// `Corrupt` for a schema that SQLite refuses, and what any read can meet.
    pub fn tables_with_indexes(&self) -> Result<Vec<(String, u64)>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("read the schema", &error, &self.limits);
        let sql = "SELECT tbl_name, sum(type = 'index') FROM main.sqlite_schema \
                   WHERE type IN ('table', 'index') AND rootpage > 0 GROUP BY tbl_name";
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let rows = statement
            .query_map((), |row| Ok((name_in(row, 0)?, row.get::<_, u32>(1)?.into())))
            .map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Every row of an integrity check; nothing where a collation had to be stood in for, so that
    /// what depends on the order of an index would be wrong.
    pub(super) fn integrity(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Option<Vec<Finding>>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new(operation, &error, &self.limits);
        let mut statement = prepare(&self.connection, sql).map_err(failed)?;
        if self.has_stand_ins()? {
            return Ok(None);
        }
        match self.rows_of_check(operation, &mut statement)? {
            (findings, None) => Ok(Some(findings)),
            (_, Some(error)) => Err(error),
        }
    }

    /// The findings in the rows of an integrity check, and the error where the content of a row,
    /// and not damage, ended it.
    pub(super) fn rows_of_check(
        &self,
        operation: &'static str,
        statement: &mut raw::Statement<'_>,
    ) -> Result<(Vec<Finding>, Option<SqliteError>), SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new(operation, &error, &self.limits);
        let mut findings = Vec::new();
        loop {
            match statement.step().map_err(failed) {
                Ok(true) => findings.extend(of_row(&text_in(statement, 0).unwrap_or_default())),
                Ok(false) => break,
                // Damage can end the check itself; what it found before is not lost.
                Err(error) if is_cut_short(&findings, &error) => {
                    findings.push(Finding::damage(error.to_string()));
                    break;
                }
                Err(error) if error.is_not_checkable() => return Ok((capped(findings), Some(error))),
                Err(error) => return Err(error),
            }
        }
        self.note_stale_index(&mut findings)?;
        Ok((capped(findings), None))
    }

    /// Every row of a foreign-key check; nothing where more collations than `known` ones had to be
    /// stood in for.
    pub(super) fn foreign_keys(&self, sql: &str, known: usize) -> Result<Option<Vec<Finding>>, SqliteError> {
        let failed = |error: rusqlite::Error| SqliteError::new("foreign key check", &error, &self.limits);
        let mut statement = prepare(&self.connection, sql).map_err(failed)?;
        if self.collations_stood_in_for()?.len() > known {
            return Ok(None);
        }
        let mut findings = Vec::new();
        while findings.len() < MAX_FINDINGS && statement.step().map_err(failed)? {
            let text = |column| text_in(&statement, column).unwrap_or_default();
            // A table WITHOUT ROWID gives NULL here.
            let row = statement.number(1).map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
            findings.push(Finding::constraint(format!(
                "{row} of {} refers to a missing row of {}",
                text(0),
                text(2)
            )));
        }
        Ok(Some(findings))
    }
}

/// Whether damage ended a check that had found some already.
fn is_cut_short(findings: &[Finding], error: &SqliteError) -> bool {
    error.code() == Some(ErrorCode::Corrupt) && !findings.is_empty()
}
