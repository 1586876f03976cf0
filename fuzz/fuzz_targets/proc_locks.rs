//! See [`litekeeper_fuzz::proc_locks`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| litekeeper_fuzz::proc_locks(data));
