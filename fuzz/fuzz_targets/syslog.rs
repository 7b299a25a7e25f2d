//! A TCP stream of syslog: the first byte says how it arrives, the rest is the stream. How it arrives makes no difference,
//! and what comes out is a valid request.

#![no_main]

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use shipwake_ingest::convert_syslog;

const NOW_NS: i64 = 1_795_428_000_000_000_000;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((chunk, stream)) = bytes.split_first() else {
        return;
    };
    let whole = convert_syslog(stream, stream.len(), NOW_NS);
    let cut = convert_syslog(stream, usize::from(*chunk) + 1, NOW_NS);
    assert_eq!(whole, cut);
    ExportLogsServiceRequest::decode(whole.request.as_slice()).expect("a valid request");
});
