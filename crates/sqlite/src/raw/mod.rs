//! The only place with `unsafe`: what SQLite offers to C alone and the reader cannot do without.
//!
//! 1. A **VFS that can neither create, write nor delete**. SQLite's own read-only open still
//!    creates a `-wal` and a `-shm` beside a WAL database at rest, and *deletes* a `-wal` or `-journal`
//!    that stands beside a zero-byte main file (`pagerOpenWalIfPresent`, `hasHotJournal` in pager.c).
//!    Both would break the owner, so the promise is kept here, below everything else: this VFS is
//!    the default unix one with two methods replaced.
//!    SQLite also gives sidecars to the owner of the main file when it runs as root (`robustFchown`), and may change
//!    an empty one's mode: right for a writer, who makes them, and never for a reader. Both system calls do
//!    nothing but on a thread that holds an [`OwnerRights`].
//! 2. The **header bytes** of the main file, read through SQLite's own file handle
//!    (`SQLITE_FCNTL_FILE_POINTER`). Opening the file ourselves would drop SQLite's POSIX locks at the close.
//! 3. The **wal-index header** from the mapping that SQLite already has: frames, backfilled frames and the readers' marks.
//!    `PRAGMA wal_checkpoint(NOOP)` would say the same, but SQLite 3.54.1 refuses it
//!    (`SQLITE_READONLY`) on a connection that holds the WAL read-only, as ours does on purpose.
//! 4. The **rollback journal** of our own transaction, which the system is asked to write early (`sync_file_range`).
//!
//! 5. A **`-shm` that shrinks while it is mapped**, which would end the process, see `shared_memory`.
//!
//! 6. **Statements whose text is not UTF-8**, as names of tables need not be, see `statement`.
//!
//! 7. **Pages as SQLite reads them**, for a check that accounts for all of them, see `page_reads`.
//!
//! It must never: panic inside a callback, keep a pointer beyond the call, write through one.
#![expect(
    unsafe_code,
    reason = "SQLite offers its VFS, file handles and shared memory to C alone; a system call that rustix has not"
)]

mod file_handle;
mod journal;
mod journal_flush;
mod page_reads;
mod shared_memory;
mod statement;
mod vfs;
mod write_lock;

pub use file_handle::ChangeCounter;
pub(super) use file_handle::HEADER_BYTES;
pub use file_handle::ReadMarks;
pub(super) use file_handle::Strain;
pub(super) use file_handle::change_mark;
pub(super) use file_handle::has_lost_shared_memory;
pub(super) use file_handle::is_reserved;
pub(super) use file_handle::read_at;
pub(super) use file_handle::read_header;
pub(super) use file_handle::strain_gauge;
pub(super) use file_handle::wal_index;
pub(super) use journal::journal_has_header;
pub(super) use journal_flush::WriteBehind;
pub(super) use page_reads::observe_pages;
pub(super) use statement::Statement;
pub(super) use vfs::OwnerRights;
pub(super) use vfs::READ_ONLY_VFS;
pub(super) use vfs::WRITING_VFS;
pub(super) use vfs::limit_sleep;
pub(super) use vfs::register_read_only_vfs;
pub(super) use write_lock::WalWriteLock;

/// A value of C that SQLite may use from every thread.
struct Shared<T>(T);
// SAFETY: the values are written once, before they are shared, and hold function pointers, sizes
// and pointers to data that lives as long as the process, or as long as the closure that uses it.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}
