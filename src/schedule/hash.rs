//! A hash that is the same in every release and on every platform, because times in state files
//! depend on it. It must never change, and it does not resist an attacker.

/// FNV-1a over the parts, each ended so that moving a letter from one to the next makes a
/// difference, and then mixed.
#[must_use]
pub fn stable_hash(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        // No byte of UTF-8 is 0xff.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    // FNV-1a gives near hashes to names that differ in one digit, as those of a fleet do: the last
    // step of MurmurHash3 separates them.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The hash scaled to [0, width), evenly; 0 when the width is 0.
pub fn below(width: u64, hash: u64) -> u64 {
    u64::try_from((u128::from(hash) * u128::from(width)) >> 64).expect("it is below a width of 64 bits")
}
