//! Arbitrary bytes, read as a request of each signal: scan and prost agree, or the target panics.
//!
//! The check is the one of the tests in `lib/otlp/tests/otlp`, taken from there so that there is only one.

#![no_main]

#[path = "../../lib/otlp/tests/otlp/agree.rs"]
mod agree;
#[path = "../../lib/otlp/tests/otlp/lenient.rs"]
mod lenient;
#[path = "../../lib/otlp/tests/otlp/rebuild.rs"]
mod rebuild;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agree::check_all(bytes);
});
