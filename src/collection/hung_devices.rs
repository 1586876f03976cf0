//! File systems that hang.
//!
//! One database that hangs says nothing of its neighbours. Two on one device say that the device
//! hangs; then the others on it are left in peace, so that ten thousand files on a dead server tie up two threads.

use std::collections::HashMap;

use parking_lot::Mutex;

const MIN_HUNG: usize = 2;

/// How many looks hang on each device.
#[derive(Debug, Default)]
pub(super) struct HungDevices(Mutex<HashMap<u64, usize>>);

impl HungDevices {
    /// A look at a database on this device hangs.
    pub(super) fn add(&self, device: u64) {
        *self.0.lock().entry(device).or_default() += 1;
    }

    /// A look that hung has come back.
    pub(super) fn remove(&self, device: u64) {
        let mut devices = self.0.lock();
        if let Some(count) = devices.get_mut(&device) {
            *count -= 1;
            if *count == 0 {
                devices.remove(&device);
            }
        }
    }

    /// Whether the device under a database hangs.
    pub(super) fn holds(&self, device: Option<u64>) -> bool {
        let Some(device) = device else { return false };
        self.0.lock().get(&device).is_some_and(|count| *count >= MIN_HUNG)
    }
}
