//! A TCP stream of syslog: the first byte says how it arrives, the rest is the stream. How it arrives makes no difference,
//! and what comes out can be read.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shipwake_ingest::probe::syslog(bytes));
