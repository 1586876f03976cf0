//! See [`litekeeper_fuzz::http_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::http_text(data));
