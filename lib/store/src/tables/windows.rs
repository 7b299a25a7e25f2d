//! The table `windows`: aggregates of one series in one window. A stored row is a partial: what one commit added to the
//! window. Readers merge partials by key (everything from `service` to `attributes`), so late data is one more row.

use arrow::datatypes::{DataType, Schema};

use super::columns::{attributes, identity, optional, required, time_type};

pub(super) fn schema() -> Schema {
    let mut fields = identity();
    fields.extend([
        required("window_start", time_type(), "start of the window, event time"),
        required("resolution_s", DataType::Int32, "length of the window in seconds: 1, 10, 60 or 3600"),
        required("signal", DataType::Utf8, "requests, errors, duration, metric or pattern"),
        required(
            "metric",
            DataType::Utf8,
            "name of the metric, or id of the log pattern; empty for requests, errors and duration",
        ),
        required("unit", DataType::Utf8, "unit of sum, min, max and histogram; us for durations"),
        required("source", DataType::Utf8, "what it was derived from: spans, metrics, access_log or logs"),
        required("route", DataType::Utf8, "route of the requests, or empty"),
        required("slot", DataType::Int8, "replicate slot of the instances, 0 to 7"),
        attributes("attributes of the series, for metrics; level and template of a log pattern"),
        required("count", DataType::Int64, "requests, errors or observations in the window"),
        optional("sum", DataType::Float64, "sum of the observations"),
        optional(
            "min",
            DataType::Float64,
            "smallest observation; of a log pattern the time of its first line, in seconds since 1970",
        ),
        optional(
            "max",
            DataType::Float64,
            "largest observation; of a log pattern the time of its last line, in seconds since 1970",
        ),
        optional("histogram", DataType::Binary, "distribution of the observations, for hdr_merge and hdr_quantile"),
        required("revision", DataType::Int64, "how many partials make up the row"),
        required("is_final", DataType::Boolean, "whether the watermark had passed the window when the row was written"),
    ]);
    Schema::new(fields)
}
