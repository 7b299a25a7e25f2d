//! The text form of a value, as columns and SQL show it: text as it is, numbers in decimal, lists and maps as JSON, bytes in
//! base64. This follows OpenTelemetry's rules for values outside OTLP.

use std::io::Write;

use crate::attributes::KeyValues;
use crate::value::AnyValue;

impl AnyValue<'_> {
    /// Appends the text form. A string's bytes are appended as they are, UTF-8 or not; inside lists and maps what is not
    /// UTF-8 becomes U+FFFD, so that the JSON is valid. Nothing is appended for [`AnyValue::Empty`].
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match *self {
            AnyValue::Empty => {}
            AnyValue::String(text) => out.extend_from_slice(text),
            AnyValue::Double(value) => write_double(out, value),
            AnyValue::Bytes(bytes) => write_base64(out, bytes),
            _ => write_json(out, *self),
        }
    }
}

impl KeyValues<'_> {
    /// Appends the attributes as a JSON object. A key that was sent twice is there twice.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, attribute) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_json_string(out, attribute.key);
            out.push(b':');
            write_json(out, attribute.value);
        }
        out.push(b'}');
    }
}

fn write_json(out: &mut Vec<u8>, value: AnyValue<'_>) {
    match value {
        AnyValue::Empty => out.extend_from_slice(b"null"),
        AnyValue::String(text) => write_json_string(out, text),
        AnyValue::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        AnyValue::Int(value) => write_number(out, format_args!("{value}")),
        AnyValue::Double(value) if value.is_finite() => write_double(out, value),
        AnyValue::Double(value) => {
            out.push(b'"');
            write_double(out, value);
            out.push(b'"');
        }
        AnyValue::Array(values) => {
            out.push(b'[');
            for (index, element) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_json(out, element);
            }
            out.push(b']');
        }
        AnyValue::Map(values) => values.write_json(out),
        AnyValue::Bytes(bytes) => {
            out.push(b'"');
            write_base64(out, bytes);
            out.push(b'"');
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: std::fmt::Arguments<'_>) {
    out.write_fmt(number).expect("writing to a vector cannot fail");
}

/// Exponents from where JavaScript uses them, so that 1e300 does not take 300 digits.
fn write_double(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        write_number(out, format_args!("{value:e}"));
    } else {
        write_number(out, format_args!("{value}"));
    }
}

fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..=0x1f => write_number(out, format_args!("\\u{byte:04x}")),
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Standard alphabet, with padding.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit > group.len() { b'=' } else { ALPHABET[index] });
        }
    }
}
