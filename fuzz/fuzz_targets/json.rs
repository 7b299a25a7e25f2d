//! Arbitrary text, read as a request of each signal in OTLP's JSON form: it is refused, or what comes out is taken by scan and
//! prost alike.

#![no_main]

#[path = "../../lib/otlp/tests/otlp/agree.rs"]
mod agree;
#[path = "../../lib/otlp/tests/otlp/lenient.rs"]
mod lenient;
#[path = "../../lib/otlp/tests/otlp/rebuild.rs"]
mod rebuild;

use shipwake_otlp::json::{GROWTH_MAX, transcode_logs, transcode_metrics, transcode_spans};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    for transcode in [transcode_logs, transcode_spans, transcode_metrics] {
        if let Ok(done) = transcode(text, text.len() * GROWTH_MAX) {
            assert!(done.request.len() <= text.len() * GROWTH_MAX);
            assert!(agree::check_all(&done.request) > 0);
        }
    }
});
