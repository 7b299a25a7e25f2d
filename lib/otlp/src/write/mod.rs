//! The encoders that `ingest` needs: OTLP requests made of lines and of Prometheus' samples, re-framed requests, and the answers to senders.
//!
//! Everything appends to a byte vector. A message is written by a closure that appends its content; the length goes in
//! front of it afterwards. Fields with default values are written all the same where presence means something.

mod answers;
mod metrics;
mod records;

pub use answers::{Status, Violation, partial_success};
pub use metrics::{
    ExponentialValues, HistogramValues, MetricForm, PointHead, Side, put_exponential_point, put_histogram_point,
    put_metric, put_number_point, put_resource_metrics, put_summary_point,
};
pub use records::{
    LogLine, RecordWriter, Value, put_attribute, put_attributes, put_log_record, put_record, put_record_in_pieces,
    put_resource_logs, put_resource_logs_around, put_resource_logs_of,
};

use crate::wire::{FIXED32, FIXED64, LEN, VARINT, key};

/// Appends a variable-length integer.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] appends.
#[inline]
pub fn varint_len(value: u64) -> usize {
    // Seven bits a byte; 0 takes one byte like 1.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends a varint field: `int32`, `int64`, `uint32`, `uint64`, `bool` or an enumeration. Negative numbers are cast to
/// `u64` with their sign.
#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, key(u64::from(field), VARINT));
    put_varint(out, value);
}

/// Appends a `fixed64` field.
#[inline]
pub fn put_fixed64_field(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, key(u64::from(field), FIXED64));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `fixed32` field.
#[inline]
pub fn put_fixed32_field(out: &mut Vec<u8>, field: u32, value: u32) {
    put_varint(out, key(u64::from(field), FIXED32));
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double` field.
#[inline]
pub fn put_double_field(out: &mut Vec<u8>, field: u32, value: f64) {
    put_fixed64_field(out, field, value.to_bits());
}

/// Appends the key and length of a length-delimited field whose `len` bytes of content the caller appends next.
#[inline]
pub fn put_len_header(out: &mut Vec<u8>, field: u32, len: usize) {
    put_varint(out, key(u64::from(field), LEN));
    put_varint(out, len as u64);
}

/// How many bytes a length-delimited field with `len` bytes of content takes, header included.
#[inline]
pub fn len_field_size(field: u32, len: usize) -> usize {
    varint_len(key(u64::from(field), LEN)) + varint_len(len as u64) + len
}

/// Appends a length-delimited field: text, bytes, or a message that is already encoded.
#[inline]
pub fn put_len_field(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    put_len_header(out, field, content.len());
    out.extend_from_slice(content);
}

/// Appends a message field whose content `write` appends.
#[inline]
pub fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, key(u64::from(field), LEN));
    put_behind_length::<1>(out, write);
}

/// Appends what `write` appends, with its length in front. `GUESS` is how many bytes that length is expected to take: when
/// it takes as many, no byte is moved.
#[inline]
fn put_behind_length<const GUESS: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; GUESS]);
    write(out);
    put_length::<GUESS>(out, start);
}

/// Writes the length of what `out` ends with: everything behind the `GUESS` bytes that are at `start`.
#[inline]
fn put_length<const GUESS: usize>(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start - GUESS;
    match GUESS {
        1 if len < 0x80 => out[start] = len as u8,
        2 if (0x80..0x4000).contains(&len) => {
            out[start..start + 2].copy_from_slice(&[len as u8 | 0x80, (len >> 7) as u8]);
        }
        _ => move_behind_length(out, start, GUESS),
    }
}

/// Makes room for a length that does not take the `guess` bytes that are at `start`, and writes it.
#[inline(never)]
fn move_behind_length(out: &mut Vec<u8>, start: usize, guess: usize) {
    let content = start + guess..out.len();
    let (len, taken) = (content.len(), varint_len(content.len() as u64));
    out.resize(out.len() + taken.saturating_sub(guess), 0);
    out.copy_within(content, start + taken);
    out.truncate(start + taken + len);
    varint_at(out, start, len as u64);
}

/// Writes a variable-length integer into its place. Gives where it ends.
#[inline(always)]
fn varint_at(place: &mut [u8], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        place[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    place[at] = value as u8;
    at + 1
}

/// Appends a `KeyValue` field with a text value, such as a resource attribute (`field` 1 of `Resource`).
pub fn key_value_string(out: &mut Vec<u8>, field: u32, name: &str, text: &str) {
    put_attribute(out, field, name, Value::String(text.as_bytes()));
}

/// The same for a key and a text that are bytes as a client sent them.
#[inline]
pub fn key_value_bytes(out: &mut Vec<u8>, field: u32, name: &[u8], text: &[u8]) {
    put_message(out, field, |out| {
        put_len_field(out, 1, name);
        put_message(out, 2, |out| put_len_field(out, 1, text));
    });
}
