//! See [`litekeeper_fuzz::database_page`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::database_page(data));
