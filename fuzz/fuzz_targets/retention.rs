//! See [`litekeeper_fuzz::retention`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::retention(data));
