//! The table `logs`: one row a log record.

use arrow::datatypes::{DataType, Schema};

use super::columns::{attributes, identity, optional, required, resource, time_type};

pub(super) fn schema() -> Schema {
    let mut fields = identity();
    fields.extend([
        required("time", time_type(), "when it happened; the observed or received time where the record names none"),
        optional("observed_time", time_type(), "when it was collected, if the sender said so"),
        required(
            "severity_number",
            DataType::Int32,
            "1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal, 0 not known",
        ),
        optional("severity_text", DataType::Utf8, "the level as the sender wrote it"),
        optional("body", DataType::Utf8, "the message; structured bodies as JSON"),
        optional("event_name", DataType::Utf8, "name of the event, for records that are events"),
        optional(
            "pattern_id",
            DataType::Utf8,
            "the pattern that the message follows, as in patterns; null for access logs and where there is no message",
        ),
        optional("trace_id", DataType::Utf8, "trace, 32 hexadecimal digits"),
        optional("span_id", DataType::Utf8, "span, 16 hexadecimal digits"),
        optional("scope_name", DataType::Utf8, "instrumentation scope, often the logger"),
        attributes("attributes of the record"),
        resource(),
        optional(
            "line",
            DataType::Int64,
            "number of the line in its shard, in the order of arrival; null for what an older version stored",
        ),
    ]);
    Schema::new(fields)
}
