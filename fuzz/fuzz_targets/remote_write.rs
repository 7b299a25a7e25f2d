//! Arbitrary bytes as an unpacked remote-write message, 1.0 and 2.0: it is refused, or what is written can be read and was
//! measured before.

#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| shipwake_ingest::probe::remote_write(message));
