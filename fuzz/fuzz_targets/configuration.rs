//! See [`litekeeper_fuzz::configuration`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::configuration(data));
