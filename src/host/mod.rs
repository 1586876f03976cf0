//! What the system knows of a database without opening it: `stat`, `statvfs`, the mount table.
//!
//! It must never open a file of a database. Each call may hang with the file system behind it, so
//! all of them run on threads that the sampler can do without.

mod clock;
mod files;
mod filesystem;
mod lock;
mod name;
mod permission;

pub use clock::ClockMark;
pub use files::FileFacts;
pub use files::FileKind;
pub use files::FileSize;
pub use files::FileStat;
pub use files::Stamp;
pub use files::read_denied;
pub use files::stat;
pub use filesystem::FilesystemFacts;
pub use filesystem::MountTable;
pub use filesystem::filesystem_facts;
pub use lock::MaintenanceLock;
pub use name::host_name;
pub use permission::is_root;
pub use permission::owner_could_use_sidecars;
pub use permission::write_denied;
