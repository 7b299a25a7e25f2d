//! OTLP messages for what did not arrive as OTLP: attributes, log records, and the frame around them.

use super::{
    len_field_size, put_double_field, put_fixed32_field, put_fixed64_field, put_len_field, put_len_header, put_message,
    put_varint, put_varint_field, varint_len,
};
use crate::wire::{FIXED64, LEN, VARINT, key};

/// Fields of a `LogRecord` and of a `KeyValue`.
const RECORD_ATTRIBUTES: u32 = 6;
const VALUE_OF_ATTRIBUTE: u32 = 2;
/// The keys of the same as bytes, and of an `AnyValue` that is text.
const ATTRIBUTE_KEY: u8 = key(RECORD_ATTRIBUTES as u64, LEN) as u8;
const NAME_KEY: u8 = key(1, LEN) as u8;
const VALUE_KEY: u8 = key(VALUE_OF_ATTRIBUTE as u64, LEN) as u8;
const TEXT_KEY: u8 = key(1, LEN) as u8;

/// A value to write. Text is bytes: a line that is not UTF-8 is kept as it came.
#[derive(Clone, Copy, Debug, Default)]
pub enum Value<'a> {
    /// No value.
    #[default]
    Empty,
    /// Text.
    String(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A list of values.
    Array(&'a [Value<'a>]),
    /// Named values.
    Map(&'a [(&'a str, Value<'a>)]),
    /// Bytes that are not text.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(text.as_bytes())
    }
}

/// A log record to write. Zero and empty fields are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLine<'a> {
    /// When it happened, in nanoseconds since the epoch; 0 when unknown.
    pub time_unix_nano: u64,
    /// When it was received, in nanoseconds since the epoch.
    pub observed_time_unix_nano: u64,
    /// OpenTelemetry's severity (1..=24), 0 when unknown.
    pub severity_number: i32,
    /// The severity as the line spells it.
    pub severity_text: &'a [u8],
    /// The message.
    pub body: Value<'a>,
    /// Attributes of the record.
    pub attributes: &'a [(&'a str, Value<'a>)],
    /// Trace flags.
    pub flags: u32,
    /// 16 bytes, or empty.
    pub trace_id: &'a [u8],
    /// 8 bytes, or empty.
    pub span_id: &'a [u8],
    /// The kind of event, or empty.
    pub event_name: &'a [u8],
}

/// Appends one `KeyValue` field.
pub fn put_attribute(out: &mut Vec<u8>, field: u32, name: &str, value: Value<'_>) {
    put_message(out, field, |out| {
        put_len_field(out, 1, name.as_bytes());
        put_message(out, 2, |out| put_any_value(out, value));
    });
}

/// Appends a `KeyValue` field for each attribute.
pub fn put_attributes(out: &mut Vec<u8>, field: u32, attributes: &[(&str, Value<'_>)]) {
    for (name, value) in attributes {
        put_attribute(out, field, name, *value);
    }
}

/// Appends a log record as a field of its `ScopeLogs`.
pub fn put_log_record(out: &mut Vec<u8>, line: &LogLine<'_>) {
    put_message(out, 2, |out| {
        if line.time_unix_nano != 0 {
            put_fixed64_field(out, 1, line.time_unix_nano);
        }
        if line.severity_number != 0 {
            put_varint_field(out, 2, i64::from(line.severity_number).cast_unsigned());
        }
        put_text(out, 3, line.severity_text);
        if !matches!(line.body, Value::Empty) {
            put_message(out, 5, |out| put_any_value(out, line.body));
        }
        put_attributes(out, 6, line.attributes);
        if line.flags != 0 {
            put_fixed32_field(out, 8, line.flags);
        }
        put_text(out, 9, line.trace_id);
        put_text(out, 10, line.span_id);
        if line.observed_time_unix_nano != 0 {
            put_fixed64_field(out, 11, line.observed_time_unix_nano);
        }
        put_text(out, 12, line.event_name);
    });
}

/// A log record that is written piece by piece, straight from slices, for formats that are read about as fast as memory:
/// no list of attributes is made first, and no byte is moved afterwards. Given by [`put_record_in_pieces`].
#[derive(Debug)]
pub struct RecordWriter<'o> {
    out: &'o mut Vec<u8>,
}

/// Appends a log record as a field of its `ScopeLogs`; `write` appends what it holds. Zero times and severities are left out.
pub fn put_record_in_pieces(
    out: &mut Vec<u8>,
    time_unix_nano: u64,
    observed_time_unix_nano: u64,
    severity_number: i32,
    write: impl FnOnce(&mut RecordWriter<'_>),
) {
    let start = out.len();
    // The key, and room for a length of two bytes: 128 to 16 383 is what nearly every record has.
    out.extend_from_slice(&[key(2, LEN) as u8, 0, 0]);
    if time_unix_nano != 0 {
        put_fixed64_field(out, 1, time_unix_nano);
    }
    if severity_number != 0 {
        put_varint_field(out, 2, i64::from(severity_number).cast_unsigned());
    }
    if observed_time_unix_nano != 0 {
        put_fixed64_field(out, 11, observed_time_unix_nano);
    }
    write(&mut RecordWriter { out });
    let len = out.len() - start - 3;
    if varint_len(len as u64) == 2 {
        out[start + 1] = len as u8 | 0x80;
        out[start + 2] = (len >> 7) as u8;
    } else {
        let mut header = Vec::with_capacity(12);
        put_len_header(&mut header, 2, len);
        out.splice(start..start + 3, header);
    }
}

impl RecordWriter<'_> {
    /// The message. Once at the most.
    pub fn body(&mut self, text: &[u8]) {
        put_len_header(self.out, 5, len_field_size(1, text.len()));
        put_len_field(self.out, 1, text);
    }

    /// An attribute that is text.
    #[inline]
    pub fn text(&mut self, name: &str, text: &[u8]) {
        // Names of fields and lengths in front of them, where every length is one byte, which is nearly always.
        let bytes = name.len() + text.len() + 6;
        if bytes < 0x80 {
            self.out.reserve(bytes + 2);
            self.out.extend_from_slice(&[ATTRIBUTE_KEY, bytes as u8, NAME_KEY, name.len() as u8]);
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(&[VALUE_KEY, text.len() as u8 + 2, TEXT_KEY, text.len() as u8]);
            self.out.extend_from_slice(text);
        } else {
            self.attribute(name, len_field_size(1, text.len()));
            put_len_field(self.out, 1, text);
        }
    }

    /// An attribute that is a whole number.
    #[inline]
    pub fn int(&mut self, name: &str, value: i64) {
        let value = value.cast_unsigned();
        self.attribute(name, 1 + varint_len(value));
        self.out.push(key(3, VARINT) as u8);
        put_varint(self.out, value);
    }

    /// An attribute that is a number.
    #[inline]
    pub fn double(&mut self, name: &str, value: f64) {
        self.attribute(name, 9);
        self.out.push(key(4, FIXED64) as u8);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// An attribute that is true or false.
    #[inline]
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.attribute(name, 2);
        self.out.extend_from_slice(&[key(2, VARINT) as u8, u8::from(value)]);
    }

    /// Any attribute.
    pub fn attribute_value(&mut self, name: &str, value: Value<'_>) {
        put_attribute(self.out, RECORD_ATTRIBUTES, name, value);
    }

    /// Everything of an attribute but the content of its value.
    #[inline]
    fn attribute(&mut self, name: &str, value_bytes: usize) {
        let bytes = name.len() + value_bytes + 4;
        if bytes < 0x80 {
            self.out.reserve(bytes + 2);
            self.out.extend_from_slice(&[ATTRIBUTE_KEY, bytes as u8, NAME_KEY, name.len() as u8]);
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(&[VALUE_KEY, value_bytes as u8]);
            return;
        }
        let bytes = len_field_size(1, name.len()) + len_field_size(VALUE_OF_ATTRIBUTE, value_bytes);
        self.out.reserve(bytes + 12);
        put_len_header(self.out, RECORD_ATTRIBUTES, bytes);
        put_len_field(self.out, 1, name.as_bytes());
        put_len_header(self.out, VALUE_OF_ATTRIBUTE, value_bytes);
    }
}

/// Appends a `ResourceLogs` of one scope whose records are written already, in one copy: no byte is moved to make room for
/// a length. What [`put_resource_logs`] writes, for large requests.
pub fn put_resource_logs_of(out: &mut Vec<u8>, resource: &[(&str, Value<'_>)], scope_name: &str, records: &[u8]) {
    let mut attributes = Vec::new();
    put_attributes(&mut attributes, 1, resource);
    let scope = if scope_name.is_empty() { 0 } else { len_field_size(1, scope_name.len()) };
    let scope_logs = len_field_size(1, scope) + records.len();
    let bytes = len_field_size(1, attributes.len()) + len_field_size(2, scope_logs);
    put_len_header(out, 1, bytes);
    put_len_field(out, 1, &attributes);
    put_len_header(out, 2, scope_logs);
    put_len_header(out, 1, scope);
    put_text(out, 1, scope_name.as_bytes());
    out.extend_from_slice(records);
}

/// Appends a `ResourceLogs` with one scope to an `ExportLogsServiceRequest`; `write_records` appends the scope's records
/// with [`put_log_record`]. A request is its entries one after the other, so several calls make a request of several.
pub fn put_resource_logs(
    out: &mut Vec<u8>,
    resource: &[(&str, Value<'_>)],
    scope_name: &str,
    write_records: impl FnOnce(&mut Vec<u8>),
) {
    put_message(out, 1, |out| {
        put_message(out, 1, |out| put_attributes(out, 1, resource));
        put_message(out, 2, |out| {
            put_message(out, 1, |out| put_text(out, 1, scope_name.as_bytes()));
            write_records(out);
        });
    });
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    if !text.is_empty() {
        put_len_field(out, field, text);
    }
}

/// Appends the content of an `AnyValue`. A member of a oneof is written even when it is zero or empty.
fn put_any_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Empty => {}
        Value::String(text) => put_len_field(out, 1, text),
        Value::Bool(value) => put_varint_field(out, 2, u64::from(value)),
        Value::Int(value) => put_varint_field(out, 3, value.cast_unsigned()),
        Value::Double(value) => put_double_field(out, 4, value),
        Value::Array(values) => put_message(out, 5, |out| {
            for element in values {
                put_message(out, 1, |out| put_any_value(out, *element));
            }
        }),
        Value::Map(values) => put_message(out, 6, |out| put_attributes(out, 1, values)),
        Value::Bytes(bytes) => put_len_field(out, 7, bytes),
    }
}
