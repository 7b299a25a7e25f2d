//! Requests that are nearly well formed: the bytes choose a signal, a seed, and how often a rule is broken; the generator of
//! the tests writes the request; the rest of the bytes is laid over it. Reaches deep into records much sooner than
//! arbitrary bytes do.

#![no_main]

#[path = "../../lib/otlp/tests/otlp/agree.rs"]
mod agree;
#[path = "../../lib/otlp/tests/otlp/lenient.rs"]
mod lenient;
#[path = "../../lib/otlp/tests/otlp/rebuild.rs"]
mod rebuild;
#[path = "../../lib/otlp/tests/otlp/schema.rs"]
mod schema;
#[path = "../../lib/otlp/tests/otlp/wild.rs"]
mod wild;

use schema::{LOGS_REQUEST, METRICS_REQUEST, SPANS_REQUEST};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first_chunk::<10>() else {
        return;
    };
    let schema = [&LOGS_REQUEST, &SPANS_REQUEST, &METRICS_REQUEST][usize::from(choice[0]) % 3];
    let seed =
        u64::from_le_bytes([choice[1], choice[2], choice[3], choice[4], choice[5], choice[6], choice[7], choice[8]]);
    let mut request = wild::request(schema, seed, usize::from(choice[9]) * 4);
    // Each three bytes change one byte of the request.
    for change in rest.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        if let Some(byte) = request.get_mut(at) {
            *byte ^= change[2];
        }
    }
    agree::check_all(&request);
});
