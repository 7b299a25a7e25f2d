//! OTLP messages for what did not arrive as OTLP: attributes, log records, and the frame around them.

use super::{put_double_field, put_fixed32_field, put_fixed64_field, put_len_field, put_message, put_varint_field};

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
