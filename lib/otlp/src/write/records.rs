//! OTLP messages for what did not arrive as OTLP: attributes, log records, and the frame around them.

use super::{
    len_field_size, put_behind_length, put_double_field, put_fixed32_field, put_fixed64_field, put_len_field,
    put_len_header, put_length, put_message, put_varint_field, varint_at, varint_len,
};
use crate::wire::{FIXED64, LEN, VARINT, key};

/// Fields of a `LogRecord` and of a `KeyValue`.
const RECORD_ATTRIBUTES: u32 = 6;
const VALUE_OF_ATTRIBUTE: u32 = 2;
/// The key of a record in its `ScopeLogs`, and how many bytes the length behind it takes: two for 128 to 16 383, which is
/// what nearly every record has.
const RECORD_KEY: u8 = key(2, LEN) as u8;
const RECORD_LENGTH_BYTES: usize = 2;
/// The keys of the same as bytes, and of an `AnyValue` that is text.
const ATTRIBUTE_KEY: u8 = key(RECORD_ATTRIBUTES as u64, LEN) as u8;
const NAME_KEY: u8 = key(1, LEN) as u8;
const VALUE_KEY: u8 = key(VALUE_OF_ATTRIBUTE as u64, LEN) as u8;
const TEXT_KEY: u8 = key(1, LEN) as u8;

/// Room that a record gets which is longer than was thought.
const MORE_BYTES: usize = 1024;

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
#[inline]
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
    out.push(RECORD_KEY);
    put_behind_length::<RECORD_LENGTH_BYTES>(out, |out| {
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
/// no list of attributes is made first, and no byte is moved afterwards. Given by [`put_record`] and [`put_record_in_pieces`].
///
/// What it writes goes into room that was made before, so that each piece is one check and a few moves: growing the vector
/// piece by piece cost more than reading the line.
#[derive(Debug)]
pub struct RecordWriter<'o> {
    /// Zeros from `at` on.
    out: &'o mut Vec<u8>,
    at: usize,
}

/// Appends a log record as a field of its `ScopeLogs`; `write` appends what it holds. `bytes` is how long it will be, about:
/// a record that becomes longer takes longer.
#[inline]
pub fn put_record(out: &mut Vec<u8>, bytes: usize, write: impl FnOnce(&mut RecordWriter<'_>)) {
    let start = out.len();
    out.resize(start + 1 + RECORD_LENGTH_BYTES + bytes, 0);
    out[start] = RECORD_KEY;
    let mut writer = RecordWriter { at: start + 1 + RECORD_LENGTH_BYTES, out };
    write(&mut writer);
    let end = writer.at;
    out.truncate(end);
    put_length::<RECORD_LENGTH_BYTES>(out, start + 1);
}

/// The same, with the times and the severity that most records have. Zero times and severities are left out.
#[inline]
pub fn put_record_in_pieces(
    out: &mut Vec<u8>,
    time_unix_nano: u64,
    observed_time_unix_nano: u64,
    severity_number: i32,
    bytes: usize,
    write: impl FnOnce(&mut RecordWriter<'_>),
) {
    put_record(out, bytes, |out| {
        out.time(time_unix_nano);
        out.severity(severity_number);
        out.observed_time(observed_time_unix_nano);
        write(out);
    });
}

impl RecordWriter<'_> {
    /// When it happened, in nanoseconds since the epoch; 0 is left out.
    #[inline]
    pub fn time(&mut self, unix_nano: u64) {
        self.fixed64(key(1, FIXED64) as u8, unix_nano);
    }

    /// When it was received, in nanoseconds since the epoch; 0 is left out.
    #[inline]
    pub fn observed_time(&mut self, unix_nano: u64) {
        self.fixed64(key(11, FIXED64) as u8, unix_nano);
    }

    /// OpenTelemetry's severity (1..=24); 0 is left out.
    #[inline]
    pub fn severity(&mut self, number: i32) {
        if number != 0 {
            let number = i64::from(number).cast_unsigned();
            let place = put(self.place(1 + varint_len(number)), [key(2, VARINT) as u8]);
            varint_at(place, 0, number);
        }
    }

    /// The severity as the line spells it, if it does.
    #[inline]
    pub fn severity_text(&mut self, text: &[u8]) {
        self.bytes(key(3, LEN) as u8, text);
    }

    /// The message. Once at the most.
    #[inline]
    pub fn body(&mut self, text: &[u8]) {
        let value_bytes = len_field_size(1, text.len());
        let place = self.place(1 + varint_len(value_bytes as u64) + value_bytes);
        let at = header_at(place, 0, key(5, LEN) as u8, value_bytes);
        let at = header_at(place, at, TEXT_KEY, text.len());
        place[at..].copy_from_slice(text);
    }

    /// The ids of the trace and the span that it belongs to: 16 and 8 bytes, or none.
    #[inline]
    pub fn ids(&mut self, trace_id: &[u8], span_id: &[u8]) {
        self.bytes(key(9, LEN) as u8, trace_id);
        self.bytes(key(10, LEN) as u8, span_id);
    }

    /// An attribute that is text. Inlined whole, as the following are: the name is a constant, and its copy a move or two.
    #[inline(always)]
    pub fn text<const N: usize>(&mut self, name: &[u8; N], text: &[u8]) {
        // Names of fields and lengths in front of them, where every length is one byte, which is nearly always.
        let bytes = N + text.len() + 6;
        if bytes >= 0x80 {
            return self.long_text(name, text);
        }
        let place = put(self.place(bytes + 2), [ATTRIBUTE_KEY, bytes as u8, NAME_KEY, N as u8]);
        let place = put(place, *name);
        put(place, [VALUE_KEY, text.len() as u8 + 2, TEXT_KEY, text.len() as u8]).copy_from_slice(text);
    }

    /// An attribute that is a whole number.
    #[inline(always)]
    pub fn int<const N: usize>(&mut self, name: &[u8; N], value: i64) {
        let value = value.cast_unsigned();
        let place = put(self.attribute(name, 1 + varint_len(value)), [key(3, VARINT) as u8]);
        varint_at(place, 0, value);
    }

    /// An attribute that is a number.
    #[inline(always)]
    pub fn double<const N: usize>(&mut self, name: &[u8; N], value: f64) {
        let place = put(self.attribute(name, 9), [key(4, FIXED64) as u8]);
        put(place, value.to_le_bytes());
    }

    /// An attribute that is true or false.
    #[inline(always)]
    pub fn boolean<const N: usize>(&mut self, name: &[u8; N], value: bool) {
        put(self.attribute(name, 2), [key(2, VARINT) as u8, u8::from(value)]);
    }

    /// Any attribute, whose name need not be a constant.
    #[inline]
    pub fn attribute_value(&mut self, name: &str, value: Value<'_>) {
        let name = name.as_bytes();
        match value {
            Value::String(text) => self.any_text(name, text),
            Value::Int(number) => {
                let number = number.cast_unsigned();
                let place = put(self.any_attribute(name, 1 + varint_len(number)), [key(3, VARINT) as u8]);
                varint_at(place, 0, number);
            }
            Value::Double(number) => {
                let place = put(self.any_attribute(name, 9), [key(4, FIXED64) as u8]);
                put(place, number.to_le_bytes());
            }
            Value::Bool(value) => {
                put(self.any_attribute(name, 2), [key(2, VARINT) as u8, u8::from(value)]);
            }
            Value::Empty | Value::Array(_) | Value::Map(_) | Value::Bytes(_) => {
                // What is rare goes the usual way.
                self.out.truncate(self.at);
                put_message(self.out, RECORD_ATTRIBUTES, |out| {
                    put_len_field(out, 1, name);
                    put_message(out, VALUE_OF_ATTRIBUTE, |out| put_any_value(out, value));
                });
                self.at = self.out.len();
            }
        }
    }

    /// Everything of an attribute but the content of its value, whose place is given back.
    #[inline(always)]
    fn attribute<const N: usize>(&mut self, name: &[u8; N], value_bytes: usize) -> &mut [u8] {
        let bytes = N + value_bytes + 4;
        if bytes >= 0x80 {
            return self.any_attribute(name, value_bytes);
        }
        let place = put(self.place(bytes + 2), [ATTRIBUTE_KEY, bytes as u8, NAME_KEY, N as u8]);
        put(put(place, *name), [VALUE_KEY, value_bytes as u8])
    }

    #[inline(never)]
    fn any_attribute(&mut self, name: &[u8], value_bytes: usize) -> &mut [u8] {
        let bytes = len_field_size(1, name.len()) + len_field_size(VALUE_OF_ATTRIBUTE, value_bytes);
        let place = self.place(len_field_size(RECORD_ATTRIBUTES, bytes));
        let at = header_at(place, 0, ATTRIBUTE_KEY, bytes);
        let at = header_at(place, at, NAME_KEY, name.len());
        place[at..at + name.len()].copy_from_slice(name);
        let at = header_at(place, at + name.len(), VALUE_KEY, value_bytes);
        &mut place[at..]
    }

    #[inline]
    fn any_text(&mut self, name: &[u8], text: &[u8]) {
        let place = self.any_attribute(name, len_field_size(1, text.len()));
        let at = header_at(place, 0, TEXT_KEY, text.len());
        place[at..].copy_from_slice(text);
    }

    #[inline(never)]
    fn long_text(&mut self, name: &[u8], text: &[u8]) {
        self.any_text(name, text);
    }

    #[inline]
    fn fixed64(&mut self, key: u8, value: u64) {
        if value != 0 {
            put(put(self.place(9), [key]), value.to_le_bytes());
        }
    }

    #[inline]
    fn bytes(&mut self, key: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            let place = self.place(1 + varint_len(bytes.len() as u64) + bytes.len());
            let at = header_at(place, 0, key, bytes.len());
            place[at..].copy_from_slice(bytes);
        }
    }

    /// The place of the next bytes.
    #[inline(always)]
    fn place(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.at;
        if self.out.len() - start < bytes {
            self.make_room(bytes);
        }
        self.at = start + bytes;
        &mut self.out[start..start + bytes]
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, bytes: usize) {
        self.out.resize(self.at + bytes + MORE_BYTES, 0);
    }
}

/// Writes bytes whose number is a constant, which takes a move or two. Gives the place behind them.
#[inline(always)]
fn put<const N: usize>(place: &mut [u8], bytes: [u8; N]) -> &mut [u8] {
    let (front, behind) = place.split_first_chunk_mut::<N>().expect("the place is as large as what is written");
    *front = bytes;
    behind
}

/// Writes a key and a length. Gives where the content begins.
#[inline(always)]
fn header_at(place: &mut [u8], at: usize, key: u8, len: usize) -> usize {
    place[at] = key;
    varint_at(place, at + 1, len as u64)
}

/// Appends a `ResourceLogs` of one scope whose records are written already, in one copy: no byte is moved to make room for
/// a length. What [`put_resource_logs`] writes, for large requests.
pub fn put_resource_logs_of(out: &mut Vec<u8>, resource: &[(&str, Value<'_>)], scope_name: &str, records: &[u8]) {
    put_front(out, resource, scope_name, records.len());
    out.extend_from_slice(records);
}

/// Makes a request of one `ResourceLogs` of its records, without a second place for them.
pub fn put_resource_logs_around(records: &mut Vec<u8>, resource: &[(&str, Value<'_>)], scope_name: &str) {
    let mut front = Vec::new();
    put_front(&mut front, resource, scope_name, records.len());
    records.splice(0..0, front);
}

/// Everything of a `ResourceLogs` that stands before its records.
fn put_front(out: &mut Vec<u8>, resource: &[(&str, Value<'_>)], scope_name: &str, records_bytes: usize) {
    let mut attributes = Vec::new();
    put_attributes(&mut attributes, 1, resource);
    let scope = if scope_name.is_empty() { 0 } else { len_field_size(1, scope_name.len()) };
    let scope_logs = len_field_size(1, scope) + records_bytes;
    let bytes = len_field_size(1, attributes.len()) + len_field_size(2, scope_logs);
    put_len_header(out, 1, bytes);
    put_len_field(out, 1, &attributes);
    put_len_header(out, 2, scope_logs);
    put_len_header(out, 1, scope);
    put_text(out, 1, scope_name.as_bytes());
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

#[inline]
fn put_text(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    if !text.is_empty() {
        put_len_field(out, field, text);
    }
}

/// Appends the content of an `AnyValue`. A member of a oneof is written even when it is zero or empty.
#[inline]
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
