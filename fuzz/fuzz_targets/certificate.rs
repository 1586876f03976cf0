//! See [`litekeeper_fuzz::certificate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::certificate(data));
