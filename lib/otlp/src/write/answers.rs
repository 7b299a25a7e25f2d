//! What a sender is answered: `google.rpc.Status` with its details, and the three `Export…ServiceResponse` messages, whose
//! bytes are the same for all signals.

use std::time::Duration;

use super::{put_len_field, put_message, put_varint_field};

/// Type names of the details, as gRPC libraries look them up.
const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &[u8] = b"type.googleapis.com/google.rpc.BadRequest";

/// A `google.rpc.Status`: the body of every OTLP/HTTP error, and `grpc-status-details-bin` of a gRPC error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status<'a> {
    /// gRPC status code.
    pub code: i32,
    /// Text for people.
    pub message: &'a str,
    /// When the sender should come again, as a `RetryInfo` detail.
    pub retry_after: Option<Duration>,
    /// What is wrong with the request, as a `BadRequest` detail; left out when empty.
    pub violations: &'a [Violation<'a>],
}

/// One fault of a request.
#[derive(Clone, Copy, Debug)]
pub struct Violation<'a> {
    /// Path of the field at fault, or empty.
    pub field: &'a str,
    /// What is wrong with it.
    pub description: &'a str,
}

impl Status<'_> {
    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint_field(&mut out, 1, i64::from(self.code).cast_unsigned());
        put_len_field(&mut out, 2, self.message.as_bytes());
        if let Some(delay) = self.retry_after {
            put_detail(&mut out, RETRY_INFO, |out| put_message(out, 1, |out| put_duration(out, delay)));
        }
        if !self.violations.is_empty() {
            put_detail(&mut out, BAD_REQUEST, |out| put_violations(out, self.violations));
        }
        out
    }
}

/// An `ExportLogsServiceResponse` (or of another signal) that says how many records were refused and why; the senders'
/// specification calls them log records, data points and spans. Empty, which is full success, when nothing was refused
/// and there is nothing to say: some clients report an error on any `partial_success`.
pub fn partial_success(rejected: u64, error_message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if rejected > 0 || !error_message.is_empty() {
        put_message(&mut out, 1, |out| {
            put_varint_field(out, 1, rejected);
            put_len_field(out, 2, error_message.as_bytes());
        });
    }
    out
}

/// Appends a `google.protobuf.Any` to the status.
fn put_detail(out: &mut Vec<u8>, type_url: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, 3, |out| {
        put_len_field(out, 1, type_url);
        put_message(out, 2, write);
    });
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_varint_field(out, 1, duration.as_secs());
    put_varint_field(out, 2, u64::from(duration.subsec_nanos()));
}

fn put_violations(out: &mut Vec<u8>, violations: &[Violation<'_>]) {
    for violation in violations {
        put_message(out, 1, |out| {
            put_len_field(out, 1, violation.field.as_bytes());
            put_len_field(out, 2, violation.description.as_bytes());
        });
    }
}
