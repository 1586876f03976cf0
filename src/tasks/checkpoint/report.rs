//! What a checkpoint did.

use serde::Deserialize;
use serde::Serialize;

use crate::humanize::bytes;
use crate::tasks::report::TaskReport;
use crate::tasks::report::to_json;

/// What a checkpoint did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Frames in the WAL before; unknown when its last owner died.
    pub frames_before: Option<u32>,
    /// Those that were in the main file already.
    pub checkpointed_before: Option<u32>,
    /// Frames in the WAL after.
    pub frames_after: u32,
    /// Those that are in the main file now.
    pub checkpointed_after: u32,
    /// The size of the WAL file before.
    pub wal_size_before_bytes: u64,
    /// The same after.
    pub wal_size_after_bytes: u64,
    /// Whether the file was emptied; `None` where it was not large enough.
    pub truncated: Option<bool>,
    /// Whether a reader kept frames from being copied, or the file from being emptied.
    pub reader_in_the_way: bool,
    /// Whether more was left undone because the application's SQLite has the WAL-reset bug.
    pub version_unsafe: bool,
}

impl TaskReport for CheckpointReport {
    fn to_json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn summary(&self) -> String {
        let mut summary = format!("{} of {} frames are copied", self.checkpointed_after, self.frames_after);
        match self.truncated {
            Some(true) => {
                summary = format!(
                    "all frames copied, and the WAL of {} emptied",
                    bytes(self.wal_size_before_bytes)
                );
            }
            Some(false) => summary.push_str(", but the WAL could not be emptied"),
            None => {}
        }
        if self.reader_in_the_way {
            summary.push_str(", a reader blocks the rest");
        }
        let left_undone = self.version_unsafe;
        if left_undone {
            summary.push_str(", not emptied because the application's SQLite has the WAL-reset bug");
        }
        summary
    }
}
