//! How the size of databases went over time: fine for a day, by the hour for two weeks, by the day
//! for a year.
//!
//! What is kept is bounded by time for each database; older points of a level go as newer ones
//! come.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use litekeeper_sqlite::rusqlite;
use litekeeper_sqlite::rusqlite::Connection;
use litekeeper_sqlite::rusqlite::OptionalExtension;
use litekeeper_sqlite::rusqlite::params;

use super::StateStore;
use super::StateStoreError;
use super::path_from_value;
use super::path_to_value;

/// How finely a stretch of time is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Every five minutes of a day.
    Fine,
    /// Every hour of two weeks.
    Hourly,
    /// Every day of thirteen months.
    Daily,
}

impl Resolution {
    /// Every level, the finest first.
    pub const ALL: [Self; 3] = [Self::Fine, Self::Hourly, Self::Daily];

    /// The time between two points.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs(match self {
            Self::Fine => 300,
            Self::Hourly => 3_600,
            Self::Daily => 86_400,
        })
    }

    /// How long a point is kept.
    #[must_use]
    pub fn retention(self) -> Duration {
        Duration::from_secs(match self {
            Self::Fine => 26 * 3_600,
            Self::Hourly => 15 * 86_400,
            Self::Daily => 400 * 86_400,
        })
    }

    /// The start of the period around a moment, in seconds since 1970.
    #[must_use]
    pub fn slot(self, moment: SystemTime) -> u64 {
        let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        seconds - seconds % self.period().as_secs()
    }

    fn number(self) -> i64 {
        match self {
            Self::Fine => 0,
            Self::Hourly => 1,
            Self::Daily => 2,
        }
    }
}

/// A database at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Seconds since 1970.
    pub at: u64,
    /// Bytes of the main file.
    pub size: u64,
    /// Bytes of free pages, where they are known.
    pub free: Option<u64>,
    /// Bytes of the WAL; 0 without one.
    pub wal: u64,
    /// Rows of all tables that are counted.
    pub rows: Option<u64>,
}

/// SQLite's integers have a sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn write(
    connection: &Connection,
    path: &Path,
    resolution: Resolution,
    point: &Point,
) -> rusqlite::Result<()> {
    let known = "SELECT id FROM trend_paths WHERE path = ?1";
    let id: Option<i64> =
        connection.prepare_cached(known)?.query_row([path_to_value(path)], |row| row.get(0)).optional()?;
    let id = match id {
        Some(id) => id,
        None => {
            connection
                .prepare_cached("INSERT INTO trend_paths (path) VALUES (?1)")?
                .execute([path_to_value(path)])?;
            connection.last_insert_rowid()
        }
    };
    let slot = point.at - point.at % resolution.period().as_secs();
    let sql = "INSERT OR REPLACE INTO trends (id, level, at, size, free, wal, rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute(params![
        id,
        resolution.number(),
        signed(slot),
        signed(point.size),
        point.free.map(signed),
        signed(point.wal),
        point.rows.map(signed)
    ])?;
    let oldest = slot.saturating_sub(resolution.retention().as_secs());
    connection
        .prepare_cached("DELETE FROM trends WHERE id = ?1 AND level = ?2 AND at < ?3")?
        .execute(params![id, resolution.number(), signed(oldest)])?;
    Ok(())
}

impl StateStore {
    /// Writes points down, each at its level, in one transaction.
    ///
    /// # Errors
    /// SQLite's.
    pub fn record_points(&self, points: &[(PathBuf, Resolution, Point)]) -> Result<(), StateStoreError> {
        let mut connection = self.connection();
        let failed = self.failed();
        let transaction = connection.transaction().map_err(&failed)?;
        for (path, resolution, point) in points {
            write(&transaction, path, *resolution, point).map_err(&failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// The points of a database since a moment, the oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn points(
        &self,
        path: &Path,
        resolution: Resolution,
        since: SystemTime,
    ) -> Result<Vec<Point>, StateStoreError> {
        let sql = "SELECT at, size, free, wal, rows FROM trends WHERE id = (SELECT id FROM trend_paths WHERE path = ?1) \
                   AND level = ?2 AND at >= ?3 ORDER BY at";
        let connection = self.connection();
        let failed = self.failed();
        let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
        let since = params![path_to_value(path), resolution.number(), signed(resolution.slot(since))];
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let rows = statement.query_map(since, |row| {
            Ok(Point {
                at: number(row.get(0)?),
                size: number(row.get(1)?),
                free: row.get::<_, Option<i64>>(2)?.map(number),
                wal: number(row.get(3)?),
                rows: row.get::<_, Option<i64>>(4)?.map(number),
            })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// The hourly sizes of every database since a moment, the oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn sizes_since(
        &self,
        since: SystemTime,
    ) -> Result<HashMap<PathBuf, Vec<(u64, u64)>>, StateStoreError> {
        let sql = "SELECT path, at, size FROM trends JOIN trend_paths USING (id) WHERE level = ?1 AND at >= ?2 ORDER BY id, at";
        let connection = self.connection();
        let failed = self.failed();
        let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
        let mut sizes: HashMap<PathBuf, Vec<(u64, u64)>> = HashMap::new();
        let since = params![Resolution::Hourly.number(), signed(Resolution::Hourly.slot(since))];
        let mut rows = statement.query(since).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let (at, size): (i64, i64) = (row.get(1).map_err(&failed)?, row.get(2).map_err(&failed)?);
            let path = path_from_value(row.get_ref(0).map_err(&failed)?);
            let point = (u64::try_from(at).unwrap_or(0), u64::try_from(size).unwrap_or(0));
            sizes.entry(path).or_default().push(point);
        }
        Ok(sizes)
    }

    /// Forgets databases of which no point is younger than a moment.
    ///
    /// # Errors
    /// SQLite's.
    pub fn prune_trends(&self, moment: SystemTime) -> Result<usize, StateStoreError> {
        let (connection, failed) = (self.connection(), self.failed());
        let sql = "DELETE FROM trends WHERE id IN (SELECT id FROM trends GROUP BY id HAVING max(at) < ?1)";
        let gone = connection.execute(sql, [signed(Resolution::Daily.slot(moment))]).map_err(&failed)?;
        let orphans = "DELETE FROM trend_paths WHERE id NOT IN (SELECT id FROM trends)";
        connection.execute(orphans, ()).map_err(failed)?;
        Ok(gone)
    }
}
