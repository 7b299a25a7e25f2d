//! OTLP in JSON becomes OTLP in protobuf: one pass over the text, written as it is read, no tree in between. What comes out
//! goes the way of every other request.
//!
//! The rules are those of the OTLP specification: trace and span ids in hexadecimal, enumerations as integers, names in
//! lowerCamelCase, unknown fields passed over, 64-bit integers as numbers or strings, `null` members as absent. What can
//! mean two things (a field given twice, two members of a choice) is refused. Text that is not UTF-8 is kept as it came, as
//! in protobuf; half of a surrogate pair becomes U+FFFD.
//!
//! Memory: the output, which the caller bounds, and little besides. Nesting is bounded as in protobuf, so what comes out of
//! here can always be scanned.

mod encode;
mod error;
mod lexer;
mod number;
mod schema;
#[cfg(test)]
mod tests;

pub use error::JsonError;

/// A request in protobuf, made from JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcoded {
    /// The export request.
    pub request: Vec<u8>,
    /// What was passed over although its sender surely meant it, such as a known field's name in snake_case: a sentence for
    /// the sender. `None` when there is nothing of the kind.
    pub ignored: Option<String>,
}

/// Most bytes that come out for one byte of JSON: a number of two characters becomes eight bytes.
pub const GROWTH_MAX: usize = 4;

/// An `ExportLogsServiceRequest`. Fails with [`JsonError::TooLarge`] when more than `bytes_max` bytes would come out.
pub fn transcode_logs(json: &[u8], bytes_max: usize) -> Result<Transcoded, JsonError> {
    encode::request(json, &schema::LOGS_REQUEST, bytes_max)
}

/// An `ExportTraceServiceRequest`; see [`transcode_logs`].
pub fn transcode_spans(json: &[u8], bytes_max: usize) -> Result<Transcoded, JsonError> {
    encode::request(json, &schema::SPANS_REQUEST, bytes_max)
}

/// An `ExportMetricsServiceRequest`; see [`transcode_logs`].
pub fn transcode_metrics(json: &[u8], bytes_max: usize) -> Result<Transcoded, JsonError> {
    encode::request(json, &schema::METRICS_REQUEST, bytes_max)
}
