//! Numbers of the kept backups of a database.

use crate::tasks::BackupState;
use crate::tasks::KeptBackup;

/// Kept backups by state, and the times of their verifications.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct KeptBackups {
    /// In the order of [`BackupState::ALL`].
    pub by_state: [u64; BackupState::ALL.len()],
    /// The most recent verification of one that is not damaged.
    pub newest_verification: Option<f64>,
    /// The least recent one.
    pub oldest_verification: Option<f64>,
}

impl KeptBackups {
    pub(super) fn of(kept: &[KeptBackup]) -> Self {
        let by_state =
            BackupState::ALL.map(|state| kept.iter().filter(|backup| backup.state == state).count() as u64);
        // What is damaged or was never verified is counted by its state; its time would hide that
        // the others are verified, or not.
        let times = || {
            let usable = kept.iter().filter(|backup| backup.state != BackupState::Damaged);
            usable.filter_map(|backup| backup.verified_at)
        };
        Self {
            by_state,
            newest_verification: times().reduce(f64::max),
            oldest_verification: times().reduce(f64::min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_backups_have_no_part_in_the_times() {
        let kept = |state, verified_at| KeptBackup {
            path: "a".into(),
            size_bytes: 1,
            state,
            verified_at,
            checked_at: Some(9.0),
            problem: None,
            changed_at: 0,
        };
        let numbers = KeptBackups::of(&[
            kept(BackupState::Verified, Some(5.0)),
            kept(BackupState::Damaged, Some(1.0)),
            kept(BackupState::Verified, Some(3.0)),
            kept(BackupState::Unverified, None),
        ]);
        assert_eq!(numbers.by_state, [2, 1, 1]);
        assert_eq!((numbers.newest_verification, numbers.oldest_verification), (Some(5.0), Some(3.0)));
        assert_eq!(KeptBackups::of(&[]), KeptBackups::default());
    }
}
