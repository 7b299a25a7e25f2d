//! Rows of the table `logs`.

use std::sync::Arc;

use arrow::array::{Int32Builder, Int64Builder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder};
use shipwake_model::pattern::{OTHER, OTHER_ID};
use shipwake_otlp::LogRecord;
use shipwake_store::tables::{TextMapBuilder, text_map_builder};
use shipwake_store::{RowChunk, Table};

use crate::chunk_resources::ChunkResources;
use crate::health::RequestParts;
use crate::resources::KnownResource;
use crate::text::{
    append_attributes, append_id, append_optional, append_value, finish_attributes, finish_numbers, finish_text,
};
use crate::watermark::EventTime;

/// Bytes of a row besides its texts: fixed columns, offsets and ids.
const ROW_BYTES: usize = 158;

/// An open chunk of log rows.
#[derive(Debug)]
pub struct LogRows {
    resources: ChunkResources,
    resource_ref: UInt32Builder,
    time: TimestampNanosecondBuilder,
    observed_time: TimestampNanosecondBuilder,
    severity_number: Int32Builder,
    severity_text: StringBuilder,
    body: StringBuilder,
    event_name: StringBuilder,
    pattern_id: StringBuilder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    scope_name: StringBuilder,
    attributes: TextMapBuilder,
    line: Int64Builder,
    bytes: usize,
    scratch: Vec<u8>,
}

impl Default for LogRows {
    fn default() -> Self {
        LogRows {
            resources: ChunkResources::default(),
            resource_ref: UInt32Builder::new(),
            time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            observed_time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            severity_number: Int32Builder::new(),
            severity_text: StringBuilder::new(),
            body: StringBuilder::new(),
            event_name: StringBuilder::new(),
            pattern_id: StringBuilder::new(),
            trace_id: StringBuilder::new(),
            span_id: StringBuilder::new(),
            scope_name: StringBuilder::new(),
            attributes: text_map_builder(),
            line: Int64Builder::new(),
            bytes: 0,
            scratch: Vec::new(),
        }
    }
}

impl LogRows {
    /// The number by which rows of this chunk point at a resource.
    pub fn resource(&mut self, resource: &Arc<KnownResource>) -> u32 {
        self.resources.number(resource)
    }

    /// Appends a row, which [`LogRows::end`] ends; says what its attributes mean for release health, and under which name
    /// it is an event: that of the field, or that of the attribute.
    /// `line` is its number in the shard.
    #[inline]
    pub fn append<'a>(
        &mut self,
        resource: u32,
        scope: &[u8],
        record: &LogRecord<'a>,
        time: EventTime,
        line: u64,
    ) -> RequestParts<'a> {
        self.line.append_value(i64::try_from(line).unwrap_or(i64::MAX));
        self.resource_ref.append_value(resource);
        self.time.append_value(time.time_ns);
        let observed = i64::try_from(record.observed_time_unix_nano).ok().filter(|observed| *observed != 0);
        self.observed_time.append_option(observed);
        self.severity_number.append_value(record.severity_number);
        append_optional(&mut self.severity_text, record.severity_text);
        let mut bytes = ROW_BYTES + record.severity_text.len() + scope.len();
        if record.body.is_empty() {
            self.body.append_null();
        } else {
            bytes += append_value(&mut self.body, &record.body, &mut self.scratch);
        }
        append_id::<16>(&mut self.trace_id, record.trace_id);
        append_id::<8>(&mut self.span_id, record.span_id);
        append_optional(&mut self.scope_name, scope);
        let mut parts = RequestParts::default();
        let (attributes, original) = (&record.attributes, time.original);
        bytes += append_attributes(&mut self.attributes, attributes, original, &mut parts, &mut self.scratch);
        if !record.event_name.is_empty() {
            parts.event_name = record.event_name;
        }
        append_optional(&mut self.event_name, parts.event_name);
        self.bytes += bytes + parts.event_name.len();
        parts
    }

    /// Ends the row that was appended last: the pattern that its message follows, if it has one.
    #[inline]
    pub fn end(&mut self, pattern: Option<u64>) {
        match pattern {
            None => self.pattern_id.append_null(),
            Some(OTHER_ID) => self.pattern_id.append_value(OTHER),
            Some(id) => append_id::<8>(&mut self.pattern_id, &id.to_be_bytes()),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.resource_ref.values_slice().len()
    }

    /// Estimated bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows so far, or `None` when there are none. The next rows start a new chunk.
    pub fn seal(&mut self) -> Option<RowChunk> {
        if self.len() == 0 {
            return None;
        }
        self.bytes = 0;
        let columns = vec![
            finish_numbers(&mut self.resource_ref),
            finish_numbers(&mut self.time),
            finish_numbers(&mut self.observed_time),
            finish_numbers(&mut self.severity_number),
            finish_text(&mut self.severity_text),
            finish_text(&mut self.body),
            finish_text(&mut self.event_name),
            finish_text(&mut self.pattern_id),
            finish_text(&mut self.trace_id),
            finish_text(&mut self.span_id),
            finish_text(&mut self.scope_name),
            finish_attributes(&mut self.attributes),
            finish_numbers(&mut self.line),
        ];
        Some(self.resources.seal(Table::Logs, columns))
    }
}
