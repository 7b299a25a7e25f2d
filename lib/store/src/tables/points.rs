//! The table `points`: one row a metric data point, as received.

use arrow::datatypes::{DataType, Schema};

use super::columns::{attributes, identity, number_map_type, optional, required, resource, time_type};

pub(super) fn schema() -> Schema {
    let mut fields = identity();
    fields.extend([
        required("time", time_type(), "time of the point"),
        optional("start_time", time_type(), "start of what the point covers, for sums and histograms"),
        required("metric", DataType::Utf8, "name of the metric"),
        required("kind", DataType::Utf8, "gauge, sum, histogram, exponential_histogram or summary"),
        optional("temporality", DataType::Utf8, "delta or cumulative, for sums and histograms"),
        optional("monotonic", DataType::Boolean, "whether a sum only grows"),
        required("unit", DataType::Utf8, "unit of the metric, or empty"),
        optional("value", DataType::Float64, "value of a gauge or sum"),
        optional("count", DataType::Int64, "number of observations of a histogram or summary"),
        optional("sum", DataType::Float64, "sum of the observations"),
        optional("min", DataType::Float64, "smallest observation, if the sender said so"),
        optional("max", DataType::Float64, "largest observation, if the sender said so"),
        optional("histogram", DataType::Binary, "the buckets, in the form that hdr_quantile reads"),
        attributes("attributes of the point"),
        resource(),
        optional(
            "quantiles",
            number_map_type(),
            "quantiles of a summary as its sender calculated them: quantiles['0.99']; they cannot be added up or averaged",
        ),
    ]);
    Schema::new(fields)
}
