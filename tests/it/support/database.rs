//! A builder for databases in a directory of their own.

use std::path::Path;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

/// A database file that is removed with its directory.
pub struct TestDatabase {
    directory: TempDir,
    name: String,
    wal: bool,
    rows: usize,
    sql: String,
}

impl TestDatabase {
    /// A database `name.db` with a table `items (id, text)`.
    pub fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, name: name.to_owned(), wal: false, rows: 0, sql: String::new() }
    }

    /// In WAL mode.
    pub fn wal(mut self) -> Self {
        self.wal = true;
        self
    }

    /// With so many rows in `items`.
    pub fn rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// With more SQL run on it.
    pub fn sql(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Makes the file.
    pub fn make(self) -> Self {
        let connection = self.connect();
        if self.wal {
            connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        }
        connection
            .execute_batch(&format!(
                "CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO items SELECT i, 'item ' || i FROM n WHERE {rows} > 0;
                 {sql}",
                rows = self.rows,
                sql = self.sql,
            ))
            .unwrap();
        self
    }

    /// A connection of the application that owns the database.
    pub fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join(format!("{}.db", self.name))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}
