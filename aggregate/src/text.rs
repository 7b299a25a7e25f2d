//! Bytes of senders into text columns: what is not UTF-8 becomes U+FFFD and costs nobody else anything.

use arrow::array::StringBuilder;
use shipwake_otlp::{AnyValue, KeyValues};
use shipwake_store::tables::TextMapBuilder;

use crate::health::RequestParts;

/// The attribute that keeps the time of a record whose clock was too far ahead.
pub const ORIGINAL_TIME: &str = "shipwake.original_time";

/// Appends text.
#[inline]
pub fn append_text(column: &mut StringBuilder, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => column.append_value(text),
        Err(_) => column.append_value(String::from_utf8_lossy(bytes)),
    }
}

/// Appends text, or null where there is none.
#[inline]
pub fn append_optional(column: &mut StringBuilder, bytes: &[u8]) {
    if bytes.is_empty() {
        column.append_null();
    } else {
        append_text(column, bytes);
    }
}

/// Appends the text form of a value. Returns how many bytes it took.
#[inline]
pub fn append_value(column: &mut StringBuilder, value: &AnyValue<'_>, scratch: &mut Vec<u8>) -> usize {
    if let AnyValue::String(text) = value {
        append_text(column, text);
        return text.len();
    }
    scratch.clear();
    value.write_text(scratch);
    append_text(column, scratch);
    scratch.len()
}

/// Appends an id in hexadecimal; null for a length that is none, and for the invalid id of zeros.
#[inline]
pub fn append_id<const BYTES: usize>(column: &mut StringBuilder, id: &[u8], scratch: &mut Vec<u8>) {
    if id.len() != BYTES || id.iter().all(|byte| *byte == 0) {
        column.append_null();
        return;
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    scratch.clear();
    for byte in id {
        scratch.push(DIGITS[usize::from(byte >> 4)]);
        scratch.push(DIGITS[usize::from(byte & 15)]);
    }
    append_text(column, scratch);
}

/// Appends the attributes of a record and notes what they say about a request. Returns how many bytes they took.
#[inline]
pub fn append_attributes<'a>(
    column: &mut TextMapBuilder,
    attributes: &KeyValues<'a>,
    original_time: Option<u64>,
    parts: &mut RequestParts<'a>,
    scratch: &mut Vec<u8>,
) -> usize {
    let mut bytes = 8;
    for attribute in attributes {
        parts.take(attribute.key, &attribute.value);
        append_text(column.keys(), attribute.key);
        bytes += 8 + attribute.key.len() + append_value(column.values(), &attribute.value, scratch);
    }
    if let Some(time) = original_time {
        column.keys().append_value(ORIGINAL_TIME);
        column.values().append_value(time.to_string());
        bytes += 48;
    }
    column.append(true).expect("as many keys as values were appended");
    bytes
}
