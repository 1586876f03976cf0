//! File systems that hang.
//!
//! One database that hangs says nothing of others. Two on one device say that the device hangs;
//! then the others on it are skipped, so that ten thousand files on a dead server block two
//! threads.

use std::collections::HashMap;

use parking_lot::Mutex;

const MIN_HUNG: usize = 2;

/// The number of samples that hang on each device.
#[derive(Debug, Default)]
pub(super) struct HungDevices(Mutex<HashMap<u64, usize>>);

impl HungDevices {
    /// A sample of a database on this device hangs.
    pub(super) fn add(&self, device: u64) {
        *self.0.lock().entry(device).or_default() += 1;
    }

    /// A sample that hung has returned.
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
