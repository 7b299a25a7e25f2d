//! Arbitrary bytes as lines of every format: each line is taken or rejected, and what is written can be read.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| shipwake_ingest::probe::lines(text));
