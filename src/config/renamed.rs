//! Keys that had another name before the first release. An old name is refused with a hint; it is
//! no alias.

/// Each old name, with the new one.
const RENAMED: [(&str, &str); 13] = [
    ("acting_users", "operators"),
    ("allow_network", "allow_network_filesystem"),
    ("budget", "timeout"),
    ("convert", "convert_auto_vacuum"),
    ("count_budget", "count_timeout"),
    ("lock_wait", "lock_timeout"),
    ("max_wait", "max_writer_wait"),
    ("reserve", "min_free_space"),
    ("space", "table_sizes"),
    ("space_budget", "table_sizes_timeout"),
    ("space_interval", "table_sizes_interval"),
    ("space_top", "table_sizes_top"),
    ("target_hold", "target_lock_hold"),
];

/// The new name of a key, where the new name is a known key.
pub(super) fn new_name(old: &str, known: &[&'static str]) -> Option<&'static str> {
    let (_, new) = RENAMED.iter().find(|(name, _)| *name == old)?;
    known.iter().find(|key| *key == new).copied()
}
