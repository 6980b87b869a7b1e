#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procpool::fuzz::messages(data));
