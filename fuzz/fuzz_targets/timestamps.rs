//! See [`litekeeper_fuzz::timestamps`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::timestamps(data));
