//! See [`litekeeper_fuzz::database_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::database_file(data));
