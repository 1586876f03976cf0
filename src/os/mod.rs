//! What the system knows of a database without opening it: `stat`, `statvfs`, the mount table,
//! `/proc/locks`; and sockets as only a system call makes them.
//!
//! It must never open a file of a database. Each call may hang with the file system behind it, so
//! all of them run on threads that the sampler can do without.

mod atomic_file;
mod clock;
mod descriptors;
mod disk_reader;
mod dual_stack_listener;
mod file_fingerprint;
mod files;
mod filesystem;
mod hostname;
mod lost_locks;
mod maintenance_lock;
mod open_fds;
mod own_process;
mod ownership;
mod permission;
mod proc_locks;
mod process;
mod sqlite_libraries;
mod stdout;

pub use atomic_file::PendingFile;
pub use atomic_file::sync_directory;
pub use atomic_file::xattr;
pub use clock::ClockReading;
pub use disk_reader::DiskReader;
pub use dual_stack_listener::bind_dual_stack;
pub use file_fingerprint::FileFingerprint;
pub use files::DatabaseFingerprint;
pub use files::FileFacts;
pub use files::FileIdentity;
pub use files::FileKind;
pub use files::FileSize;
pub use files::FileStat;
pub use files::nonempty_wal;
pub use files::read_denied;
pub use files::stat;
pub use filesystem::FilesystemFacts;
pub use filesystem::MountTable;
pub use filesystem::filesystem_facts;
pub use filesystem::is_mounted_alone;
pub use hostname::hostname;
pub use lost_locks::Loss;
pub use lost_locks::LostLocks;
pub use lost_locks::OwnerState;
pub use lost_locks::lock_holders;
pub use lost_locks::lost_locks;
pub use lost_locks::may_be_open_elsewhere;
pub use lost_locks::owner_states;
pub use maintenance_lock::MaintenanceLock;
pub use open_fds::count_write_descriptors;
pub use own_process::ResourceUsage;
pub use ownership::Mount;
pub use ownership::Ownership;
pub use ownership::effective_user_id;
pub use ownership::mount;
pub use ownership::ownership;
pub use permission::CompanionObstacle;
pub use permission::companion_obstacle;
pub use permission::directory_denied;
pub use permission::first_unsearchable_directory;
pub use permission::is_root;
pub use permission::write_denied;
pub use proc_locks::FileLock;
pub use proc_locks::LockTable;
pub use proc_locks::LockView;
pub use proc_locks::LockedFile;
pub use process::ProcessFacts;
pub use sqlite_libraries::MappedSqlite;
pub use sqlite_libraries::mapped_sqlite;
pub use stdout::stdout_is_closed;
