//! `ExportLogsServiceRequest`: log records.

use crate::ScanError;
use crate::attributes::KeyValues;
use crate::check;
use crate::fields::Seen;
use crate::resource::{Resource, Scope, walk};
use crate::value::AnyValue;
use crate::wire::{Depth, FIXED32, FIXED64, LEN, Reader, VARINT, key};

/// A log record. Texts and ids are the sender's bytes; an absent field is zero or empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRecord<'a> {
    /// When it happened, in nanoseconds since the epoch; 0 when the sender does not know.
    pub time_unix_nano: u64,
    /// When the collecting program saw it, in nanoseconds since the epoch.
    pub observed_time_unix_nano: u64,
    /// OpenTelemetry's severity (1..=24), 0 when unset; other numbers are possible.
    pub severity_number: i32,
    /// The severity as the source spells it.
    pub severity_text: &'a [u8],
    /// The message, of any kind.
    pub body: AnyValue<'a>,
    /// Attributes of the record.
    pub attributes: KeyValues<'a>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// Trace flags.
    pub flags: u32,
    /// 16 bytes when valid; any length is possible.
    pub trace_id: &'a [u8],
    /// 8 bytes when valid; any length is possible.
    pub span_id: &'a [u8],
    /// The kind of event, or empty.
    pub event_name: &'a [u8],
}

/// Takes what [`scan_logs`] finds, in this order: a resource, then each of its scopes, each with its records. Resources and
/// scopes without records are reported too.
pub trait LogSink<'a> {
    /// The resource of the scopes and records that follow.
    fn resource(&mut self, resource: &Resource<'a>);
    /// The scope of the records that follow.
    fn scope(&mut self, scope: &Scope<'a>);
    /// One record.
    fn log(&mut self, record: &LogRecord<'a>);
}

/// Scans an `ExportLogsServiceRequest`.
///
/// Everything that reaches the sink is checked, nested values included. On an error the sink has what stands before the
/// error; the caller must discard it, since a request is taken whole or not at all.
pub fn scan_logs<'a, S: LogSink<'a>>(request: &'a [u8], sink: &mut S) -> Result<(), ScanError> {
    walk(request, sink, S::resource, S::scope, |sink, record, depth| {
        let mut found = LogRecord::default();
        read_record(record, depth, &mut found)?;
        sink.log(&found);
        Ok(())
    })
}

#[inline(always)]
fn read_record<'a>(mut r: Reader<'a>, depth: Depth, record: &mut LogRecord<'a>) -> Result<(), ScanError> {
    const TIME: u64 = key(1, FIXED64);
    const SEVERITY_NUMBER: u64 = key(2, VARINT);
    const SEVERITY_TEXT: u64 = key(3, LEN);
    const BODY: u64 = key(5, LEN);
    const ATTRIBUTES: u64 = key(6, LEN);
    const DROPPED: u64 = key(7, VARINT);
    const FLAGS: u64 = key(8, FIXED32);
    const TRACE_ID: u64 = key(9, LEN);
    const SPAN_ID: u64 = key(10, LEN);
    const OBSERVED_TIME: u64 = key(11, FIXED64);
    const EVENT_NAME: u64 = key(12, LEN);
    const KNOWN: u32 = 0b1_1111_1110_1110;

    let mut body = Seen::default();
    let mut attributes = Seen::default();
    while !r.is_at_end() {
        let at = r;
        match r.key()? {
            TIME => record.time_unix_nano = r.fixed64()?,
            OBSERVED_TIME => record.observed_time_unix_nano = r.fixed64()?,
            SEVERITY_NUMBER => record.severity_number = r.varint()? as i32,
            SEVERITY_TEXT => record.severity_text = r.bytes()?,
            BODY => check::value(&mut r, at, depth, &mut body)?,
            ATTRIBUTES => check::attribute(&mut r, at, depth, &mut attributes)?,
            DROPPED => record.dropped_attributes_count = r.varint()? as u32,
            FLAGS => record.flags = r.fixed32()?,
            TRACE_ID => record.trace_id = r.bytes()?,
            SPAN_ID => record.span_id = r.bytes()?,
            EVENT_NAME => record.event_name = r.bytes()?,
            other => r.unknown(other, at, KNOWN, depth)?,
        }
    }
    record.body = AnyValue::from_seen(&body, 5);
    record.attributes = KeyValues::new(attributes.fields(6));
    Ok(())
}
