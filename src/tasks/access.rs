//! What a task does to a database.

/// What a task does to the database's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads the database.
    Reads,
    /// It reads the database and writes files of its own.
    Copies,
    /// It writes the database.
    Writes,
}
