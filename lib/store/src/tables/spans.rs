//! The table `spans`: one row a span.

use arrow::datatypes::{DataType, Schema};

use super::columns::{attributes, identity, optional, required, resource, time_type};

pub(super) fn schema() -> Schema {
    let mut fields = identity();
    fields.extend([
        required("time", time_type(), "start of the span"),
        required("duration_ns", DataType::Int64, "end minus start, in nanoseconds; 0 when the end is before the start"),
        required("name", DataType::Utf8, "name of the operation"),
        required("kind", DataType::Utf8, "server, client, producer, consumer, internal or unspecified"),
        required("status_code", DataType::Utf8, "unset, ok or error"),
        optional("route", DataType::Utf8, "the low-cardinality route (http.route, or RPC service and method)"),
        optional("trace_id", DataType::Utf8, "trace, 32 hexadecimal digits"),
        optional("span_id", DataType::Utf8, "span, 16 hexadecimal digits"),
        optional("parent_span_id", DataType::Utf8, "parent span, 16 hexadecimal digits; null for a root"),
        attributes("attributes of the span"),
        resource(),
    ]);
    Schema::new(fields)
}
