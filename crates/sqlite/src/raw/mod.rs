//! The only `unsafe` code: interfaces that SQLite offers to C alone.
//!
//! 1. A **VFS that can neither create, write nor delete** (`vfs`). SQLite's own read-only open
//!    still creates a `-wal` and a `-shm` beside a WAL database at rest, and *deletes* a `-wal` or
//!    `-journal` beside a zero-byte main file (`pagerOpenWalIfPresent`, `hasHotJournal` in
//!    pager.c). Both would break the owner, so this VFS forbids it below everything else: it is the
//!    default unix VFS with some methods replaced. When SQLite runs as root, it also gives
//!    companion files to the owner of the main file (`robustFchown`), and it may change an empty
//!    one's mode: right for a writer, which creates them, and wrong for a reader. Both system calls
//!    do nothing except on a thread that holds an [`AllowChown`].
//! 2. The **header bytes** of the main file, read through SQLite's own file handle (`file_handle`,
//!    `SQLITE_FCNTL_FILE_POINTER`). Closing a file handle of our own would drop SQLite's POSIX
//!    locks.
//! 3. The **wal-index header**, in the mapping that SQLite already has (`wal_index`): frames,
//!    backfilled frames and the readers' marks. `PRAGMA wal_checkpoint(NOOP)` returns the same
//!    numbers, but SQLite 3.54.1 refuses it (`SQLITE_READONLY`) on a connection that holds the WAL
//!    read-only, as a reader does on purpose.
//! 4. The **rollback journal** of an own transaction, whose writing starts early (`journal_flush`,
//!    `sync_file_range`).
//! 5. A **`-shm` that shrinks while it is mapped**, which would end the process (`shared_memory`).
//! 6. **Statements whose text is not UTF-8**, as names of tables need not be (`statement`).
//! 7. The **I/O priority** of the process, which rustix lacks (`io_priority`).
//! 8. **Pages as SQLite reads them**, for a check that accounts for all of them (`page_reads`).
//!
//! A callback must never panic. No pointer is kept for longer than the connection it came from, and
//! nothing is written through one.
#![expect(
    unsafe_code,
    reason = "SQLite offers its VFS, file handles and shared memory to C alone; a system call that rustix has not"
)]

mod file_handle;
mod file_pointer;
mod io_methods;
mod io_priority;
mod journal;
mod journal_flush;
mod page_reads;
mod shared_memory;
mod statement;
mod vfs;
mod wal_index;
mod write_lock;

pub use file_handle::ChangeCounter;
pub(super) use file_handle::ImpactProbe;
pub(super) use file_handle::ReadImpact;
pub(super) use file_handle::change_counter;
pub(super) use file_handle::has_lost_shared_memory;
pub(super) use file_handle::is_reserved;
pub(super) use file_handle::read_at;
pub(super) use file_handle::read_header;
pub(super) use file_handle::read_impact;
pub(super) use file_handle::set_progress_handler;
pub use io_priority::set_idle_io_priority;
pub(super) use journal::journal_has_header;
pub(super) use journal_flush::JournalFlusher;
pub(super) use page_reads::with_page_observer;
pub(super) use statement::Statement;
pub(super) use vfs::AllowChown;
pub(super) use vfs::READ_ONLY_VFS;
pub(super) use vfs::WRITING_VFS;
pub(super) use vfs::init;
pub(super) use vfs::limit_heap;
pub(super) use vfs::limit_sleep;
pub use wal_index::ReadMarks;
pub(super) use wal_index::wal_index;
pub(super) use write_lock::WalWriteLock;
