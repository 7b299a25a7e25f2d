//! The readers of foreign bytes by themselves, for fuzz targets and for the replay of their corpora: bytes in, nothing kept.
//! What must hold for every input is asserted here, so that all callers assert the same.

use shipwake_model::Signal;
use shipwake_otlp::json::GROWTH_MAX;

use crate::decode::decode;
use crate::lines;
use crate::remote_write;
use crate::syslog::convert_syslog;

/// Reads bytes as an OTLP request of each signal in JSON; what is taken can be decoded.
pub fn otlp_json(text: &[u8]) {
    let limit = text.len() * GROWTH_MAX;
    let transcoders = [
        (Signal::Logs, shipwake_otlp::json::transcode_logs as fn(&[u8], usize) -> _),
        (Signal::Metrics, shipwake_otlp::json::transcode_metrics),
        (Signal::Traces, shipwake_otlp::json::transcode_spans),
    ];
    for (signal, transcode) in transcoders {
        if let Ok(done) = transcode(text, limit) {
            assert!(done.request.len() <= limit);
            decode(signal, &done.request).expect("what was transcoded can be scanned");
        }
    }
}

/// Reads bytes as lines of every format; what is taken can be decoded, and every line is taken or rejected.
pub fn lines(text: &[u8]) {
    lines::probe(text);
}

/// Reads bytes as an unpacked remote-write message of both versions; what is taken can be decoded.
pub fn remote_write(message: &[u8]) {
    remote_write::probe(message);
}

/// Reads a TCP stream of syslog, of which the first byte says how it arrives; that makes no difference, and what comes out
/// can be decoded.
pub fn syslog(bytes: &[u8]) {
    const NOW_NS: i64 = 1_795_428_000_000_000_000;
    let Some((chunk, stream)) = bytes.split_first() else { return };
    let whole = convert_syslog(stream, stream.len(), NOW_NS);
    let cut = convert_syslog(stream, usize::from(*chunk) + 1, NOW_NS);
    assert_eq!(whole, cut, "how a stream arrives does not matter");
    let decoded = decode(Signal::Logs, &whole.request).expect("what is written can be read");
    assert_eq!(decoded.records(), whole.accepted);
}

/// Reads bytes as an OTLP request of each signal in protobuf.
pub fn otlp_protobuf(request: &[u8]) {
    for signal in Signal::ALL {
        let _ = decode(signal, request);
    }
}
