//! The tables of the state file.

use std::path::Path;

use litekeeper_sqlite::rusqlite::Connection;

use super::StateStoreError;

/// Marks the file as litekeeper's: "ltkp" as a number.
const APPLICATION_ID: i64 = 0x6c74_6b70;

/// The format of the tables; it grows with every change.
const VERSION: i64 = 4;

const TABLES: &str = "
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        process TEXT NOT NULL,
        database TEXT NOT NULL,
        path NOT NULL,
        task TEXT NOT NULL,
        trigger TEXT NOT NULL,
        due_at REAL,
        started_at REAL NOT NULL,
        elapsed REAL NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT,
        message TEXT,
        details TEXT
    );
    CREATE INDEX runs_by_task ON runs (path, task, id);
    CREATE INDEX runs_by_time ON runs (started_at);
    CREATE TABLE verdicts (
        path NOT NULL,
        kind TEXT NOT NULL,
        ok INTEGER NOT NULL,
        problems INTEGER NOT NULL,
        first_problem TEXT,
        completed_at REAL NOT NULL,
        whole_at REAL NOT NULL,
        PRIMARY KEY (path, kind)
    ) WITHOUT ROWID;
    CREATE TABLE slots (
        path NOT NULL,
        task TEXT NOT NULL,
        handled_until REAL NOT NULL,
        PRIMARY KEY (path, task)
    ) WITHOUT ROWID;
    CREATE TABLE pauses (database TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE clocks (
        path PRIMARY KEY NOT NULL,
        wall REAL NOT NULL,
        since_boot REAL NOT NULL,
        boot TEXT NOT NULL
    ) WITHOUT ROWID;";

/// What format 2 added: trends, and what users of the page did.
const TABLES_2: &str = "
    CREATE TABLE trend_paths (id INTEGER PRIMARY KEY, path UNIQUE NOT NULL);
    CREATE TABLE trends (
        id INTEGER NOT NULL,
        level INTEGER NOT NULL,
        at INTEGER NOT NULL,
        size INTEGER NOT NULL,
        free INTEGER,
        wal INTEGER NOT NULL,
        rows INTEGER,
        PRIMARY KEY (id, level, at)
    ) WITHOUT ROWID;
    CREATE TABLE actions (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        user TEXT NOT NULL,
        address TEXT NOT NULL,
        kind TEXT NOT NULL,
        database TEXT,
        task TEXT,
        result TEXT NOT NULL
    );";

/// What format 3 added: the names of databases.
const TABLES_3: &str = "
    CREATE TABLE names (
        path PRIMARY KEY NOT NULL,
        base TEXT NOT NULL,
        name TEXT NOT NULL
    ) WITHOUT ROWID;";

/// What format 4 added: what checks say beside their verdicts, as JSON.
const TABLES_4: &str = "
    CREATE TABLE verdict_notes (
        path NOT NULL,
        kind TEXT NOT NULL,
        notes TEXT NOT NULL,
        PRIMARY KEY (path, kind)
    ) WITHOUT ROWID;";

/// What each format added to the one before it, from the first.
const ADDED: [&str; VERSION as usize] = [TABLES, TABLES_2, TABLES_3, TABLES_4];

/// Makes the tables in a new file, and refuses one that is not ours.
pub(super) fn prepare(connection: &Connection, shown: &Path) -> Result<(), StateStoreError> {
    let failed = |error| StateStoreError::Sqlite(shown.to_owned(), error);
    // Two processes may meet on a new file; the second waits and finds it made.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(failed);
    let (id, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    let made = if id == 0 && version == 0 && objects == 0 {
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}");
        connection.execute_batch(&format!("{}{marks}", ADDED.concat())).map_err(failed)
    } else if let Err(refusal) = known(id, version, shown) {
        Err(refusal)
    } else if version < VERSION {
        let mark = format!("PRAGMA user_version = {VERSION}");
        let missing = &ADDED[usize::try_from(version).unwrap_or(0).min(ADDED.len())..];
        connection.execute_batch(&format!("{}{mark}", missing.concat())).map_err(failed)
    } else {
        Ok(())
    };
    connection.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).map_err(failed)?;
    made
}

/// Refuses a file that is not ours, or of a later version. Older ones lack nothing that is only
/// read.
pub(super) fn ensure_ours(connection: &Connection, shown: &Path) -> Result<(), StateStoreError> {
    let failed = |error| StateStoreError::Sqlite(shown.to_owned(), error);
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(failed);
    known(number("PRAGMA application_id")?, number("PRAGMA user_version")?, shown)
}

/// Whether the marks of a file are those of one that this version knows.
fn known(id: i64, version: i64, shown: &Path) -> Result<(), StateStoreError> {
    if id != APPLICATION_ID {
        return Err(StateStoreError::NotLitekeeper(shown.to_owned()));
    }
    if version > VERSION {
        return Err(StateStoreError::NewerFormat(shown.to_owned(), version, VERSION));
    }
    Ok(())
}
