//! Single pages of a database, as they are in the transaction of a connection: those in the WAL
//! count.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Statement;

/// `sqlite_dbpage` under a name that no schema can take.
pub(super) const PAGE_TABLE: &str = "temp.litekeeper_pages";

/// A statement for every page, in the order of the file. The page of the lock bytes is zeroed.
pub(super) fn all_pages(connection: &Connection) -> rusqlite::Result<Statement<'_>> {
    make_table(connection)?;
    connection.prepare(&format!("SELECT data FROM {PAGE_TABLE} WHERE schema = 'main'"))
}

/// Makes `sqlite_dbpage` known to a connection, in its memory alone.
fn make_table(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("CREATE VIRTUAL TABLE IF NOT EXISTS {PAGE_TABLE} USING sqlite_dbpage"))
}

/// Reads pages in the transaction of the connection.
pub(super) struct Pages<'connection> {
    statement: Statement<'connection>,
}

impl<'connection> Pages<'connection> {
    pub(super) fn of(connection: &'connection Connection) -> rusqlite::Result<Self> {
        make_table(connection)?;
        let sql = format!("SELECT data FROM {PAGE_TABLE} WHERE schema = 'main' AND pgno = ?1");
        Ok(Self { statement: connection.prepare(&sql)? })
    }

    /// Copies a page into `buffer`; it stays empty where there is none.
    pub(super) fn read(&mut self, page: u32, buffer: &mut Vec<u8>) -> rusqlite::Result<()> {
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
