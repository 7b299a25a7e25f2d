//! Rows of the table `spans`.

use std::sync::Arc;

use arrow::array::{Int64Builder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder};
use shipwake_otlp::Span;
use shipwake_store::tables::{TextMapBuilder, text_map_builder};
use shipwake_store::{RowChunk, Table};

use crate::chunk_resources::ChunkResources;
use crate::health::RequestParts;
use crate::resources::KnownResource;
use crate::routes::write_route;
use crate::text::{
    append_attributes, append_id, append_optional, append_text, finish_attributes, finish_numbers, finish_text,
};
use crate::watermark::EventTime;

/// Bytes of a row besides its texts: fixed columns, offsets and ids.
const ROW_BYTES: usize = 170;

/// An open chunk of spans.
#[derive(Debug)]
pub struct SpanRows {
    resources: ChunkResources,
    resource_ref: UInt32Builder,
    time: TimestampNanosecondBuilder,
    duration_ns: Int64Builder,
    name: StringBuilder,
    kind: StringBuilder,
    status_code: StringBuilder,
    route: StringBuilder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    parent_span_id: StringBuilder,
    attributes: TextMapBuilder,
    bytes: usize,
    scratch: Vec<u8>,
    /// The route of the last span, for the caller to fold by.
    route_text: Vec<u8>,
}

impl Default for SpanRows {
    fn default() -> Self {
        SpanRows {
            resources: ChunkResources::default(),
            resource_ref: UInt32Builder::new(),
            time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            duration_ns: Int64Builder::new(),
            name: StringBuilder::new(),
            kind: StringBuilder::new(),
            status_code: StringBuilder::new(),
            route: StringBuilder::new(),
            trace_id: StringBuilder::new(),
            span_id: StringBuilder::new(),
            parent_span_id: StringBuilder::new(),
            attributes: text_map_builder(),
            bytes: 0,
            scratch: Vec::new(),
            route_text: Vec::new(),
        }
    }
}

impl SpanRows {
    /// The number by which rows of this chunk point at a resource.
    pub fn resource(&mut self, resource: &Arc<KnownResource>) -> u32 {
        self.resources.number(resource)
    }

    /// Appends a row; says what its attributes mean for release health. `time` places the start.
    #[inline]
    pub fn append<'a>(&mut self, resource: u32, span: &Span<'a>, time: EventTime) -> RequestParts<'a> {
        self.resource_ref.append_value(resource);
        self.time.append_value(time.time_ns);
        self.duration_ns.append_value(duration_ns(span));
        append_text(&mut self.name, span.name);
        self.kind.append_value(kind_word(span.kind));
        self.status_code.append_value(status_word(span.status_code));
        append_id::<16>(&mut self.trace_id, span.trace_id);
        append_id::<8>(&mut self.span_id, span.span_id);
        append_id::<8>(&mut self.parent_span_id, span.parent_span_id);
        let mut parts = RequestParts::default();
        let (attributes, original) = (&span.attributes, time.original);
        let bytes = append_attributes(&mut self.attributes, attributes, original, &mut parts, &mut self.scratch);
        parts.route.name = span.name;
        self.set_route(span, &parts);
        self.bytes += ROW_BYTES + span.name.len() + self.route_text.len() + bytes;
        parts
    }

    /// The route of the last span that was appended, if it was a server's.
    pub fn last_route(&self) -> &[u8] {
        &self.route_text
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
            finish_numbers(&mut self.duration_ns),
            finish_text(&mut self.name),
            finish_text(&mut self.kind),
            finish_text(&mut self.status_code),
            finish_text(&mut self.route),
            finish_text(&mut self.trace_id),
            finish_text(&mut self.span_id),
            finish_text(&mut self.parent_span_id),
            finish_attributes(&mut self.attributes),
        ];
        Some(self.resources.seal(Table::Spans, columns))
    }

    /// Server spans always have a route; others only where an attribute names one.
    fn set_route(&mut self, span: &Span<'_>, parts: &RequestParts<'_>) {
        let route = &parts.route;
        let named = !route.route.is_empty() || !route.rpc_service.is_empty() || !route.rpc_method.is_empty();
        if span.kind == crate::health::SERVER || named {
            write_route(route, &mut self.route_text);
        } else {
            self.route_text.clear();
        }
        append_optional(&mut self.route, &self.route_text);
    }
}

/// End minus start; 0 when the end is before the start or not known.
pub fn duration_ns(span: &Span<'_>) -> i64 {
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    if span.start_time_unix_nano == 0 { 0 } else { i64::try_from(duration).unwrap_or(i64::MAX) }
}

fn kind_word(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn status_word(status: i32) -> &'static str {
    match status {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}
