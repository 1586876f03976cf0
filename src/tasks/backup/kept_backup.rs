//! What is known of a kept backup, and which backups the rotation removes.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// The state of a kept backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    /// Its content is that of its manifest.
    Verified,
    /// Its content cannot be compared: the manifest is missing or damaged, or the disk returned an
    /// error.
    Unverified,
    /// Its content has changed since it was made.
    Damaged,
}

impl BackupState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Verified, Self::Unverified, Self::Damaged];

    /// The state as the metrics name it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Damaged => "damaged",
        }
    }
}

/// What is known of a kept backup. It is part of the report of a run, and so kept in the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptBackup {
    /// The backup.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Its state when it was last read.
    pub state: BackupState,
    /// When its content was last that of its manifest, in seconds since 1970; `null` if it was never
    /// compared.
    pub verified_at: Option<f64>,
    /// When it was last read completely, whatever that showed; `null` if never.
    pub checked_at: Option<f64>,
    /// Why it is not verified.
    pub problem: Option<String>,
    /// Change time of the inode in nanoseconds since 1970: a file that was written is read again.
    pub changed_at: i64,
}

impl KeptBackup {
    /// Whether it is to be read again. A time in the future is that of a clock that was set back.
    pub(super) fn is_due(&self, now: f64, interval: Duration) -> bool {
        let last = self.checked_at.unwrap_or(0.0);
        now - last >= interval.as_secs_f64() || last > now
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.state == BackupState::Damaged
    }
}

/// Divides backups, the newest first, into those that stay beside a new one and those that go.
///
/// A damaged backup does not count among `keep`, so that no good backup goes because of it. As many
/// damaged ones stay as good ones may: the disk does not fill up with them.
pub(super) fn rotate(older: &[KeptBackup], keep: usize) -> (Vec<usize>, Vec<usize>) {
    let (mut good, mut damaged) = (1, 0);
    (0..older.len()).partition(|index| {
        let (number, limit) =
            if older[*index].is_damaged() { (&mut damaged, keep) } else { (&mut good, keep) };
        *number += 1;
        *number <= limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, state: BackupState, checked_at: f64) -> KeptBackup {
        KeptBackup {
            path: name.into(),
            size_bytes: 1,
            state,
            verified_at: None,
            checked_at: Some(checked_at),
            problem: None,
            changed_at: 0,
        }
    }

    #[test]
    fn a_damaged_backup_makes_no_good_one_go() {
        use BackupState::Damaged as D;
        use BackupState::Unverified as U;
        use BackupState::Verified as V;
        // The newest first, beside a new one: what stays.
        for (keep, states, stay) in [
            (1, &[V][..], &[][..]),
            (1, &[D], &[0]),
            (1, &[D, D, V], &[0]),
            (3, &[V, V, V], &[0, 1]),
            (3, &[V, D, V, V], &[0, 1, 2]),
            (3, &[D, D, D, D, V, U, V], &[0, 1, 2, 4, 5]),
            (2, &[], &[]),
        ] {
            let older: Vec<KeptBackup> = states.iter().map(|state| kept("a", *state, 0.0)).collect();
            let (stays, goes) = rotate(&older, keep);
            assert_eq!(stays, stay, "keep {keep} of {states:?}");
            assert_eq!(stays.len() + goes.len(), states.len());
        }
    }

    #[test]
    fn a_backup_is_due_after_the_interval_and_after_a_clock_was_set_back() {
        let interval = Duration::from_secs(100);
        for (checked_at, is_due) in [(0.0, true), (900.0, true), (901.0, false), (1000.5, true)] {
            assert_eq!(kept("a", BackupState::Verified, checked_at).is_due(1000.0, interval), is_due);
        }
        let never = KeptBackup { checked_at: None, ..kept("a", BackupState::Unverified, 0.0) };
        assert!(never.is_due(1000.0, interval));
    }
}
