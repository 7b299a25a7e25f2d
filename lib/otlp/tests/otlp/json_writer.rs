//! OTLP's JSON form of the messages of `opentelemetry-proto`, written by the specification and independently of the reader.
//! A [`Style`] chooses among the spellings that a sender is free to use.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value, json};

/// How to write what may be written in several ways.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// 64-bit integers as strings, as exporters do, or as numbers.
    pub integers_as_strings: bool,
    pub upper_hex: bool,
    /// Absent members as `null` instead of leaving them out.
    pub nulls: bool,
    /// Zero and empty fields instead of leaving them out.
    pub defaults: bool,
    /// A field that nobody knows in every object.
    pub strangers: bool,
}

/// An object that is being written.
struct Object {
    members: Map<String, Value>,
    style: Style,
}

impl Style {
    pub fn logs(self, request: &ExportLogsServiceRequest) -> Value {
        let resources = request.resource_logs.iter().map(|entry| {
            let scopes = entry.scope_logs.iter().map(|scope| {
                let records = scope.log_records.iter().map(|record| self.log_record(record)).collect();
                self.entry(
                    scope.scope.as_ref().map(|s| self.scope(s)),
                    "scope",
                    "logRecords",
                    records,
                    &scope.schema_url,
                )
            });
            let resource = entry.resource.as_ref().map(|resource| self.resource(resource));
            self.entry(resource, "resource", "scopeLogs", scopes.collect(), &entry.schema_url)
        });
        self.object().list("resourceLogs", resources.collect()).done()
    }

    pub fn spans(self, request: &ExportTraceServiceRequest) -> Value {
        let resources = request.resource_spans.iter().map(|entry| {
            let scopes = entry.scope_spans.iter().map(|scope| {
                let spans = scope.spans.iter().map(|span| self.span(span)).collect();
                self.entry(scope.scope.as_ref().map(|s| self.scope(s)), "scope", "spans", spans, &scope.schema_url)
            });
            let resource = entry.resource.as_ref().map(|resource| self.resource(resource));
            self.entry(resource, "resource", "scopeSpans", scopes.collect(), &entry.schema_url)
        });
        self.object().list("resourceSpans", resources.collect()).done()
    }

    pub fn metrics(self, request: &ExportMetricsServiceRequest) -> Value {
        let resources = request.resource_metrics.iter().map(|entry| {
            let scopes = entry.scope_metrics.iter().map(|scope| {
                let metrics = scope.metrics.iter().map(|metric| self.metric(metric)).collect();
                self.entry(scope.scope.as_ref().map(|s| self.scope(s)), "scope", "metrics", metrics, &scope.schema_url)
            });
            let resource = entry.resource.as_ref().map(|resource| self.resource(resource));
            self.entry(resource, "resource", "scopeMetrics", scopes.collect(), &entry.schema_url)
        });
        self.object().list("resourceMetrics", resources.collect()).done()
    }

    fn entry(self, head: Option<Value>, head_name: &str, list: &str, content: Vec<Value>, schema_url: &str) -> Value {
        self.object().optional(head_name, head).list(list, content).text("schemaUrl", schema_url).done()
    }

    fn object(self) -> Object {
        let mut members = Map::new();
        if self.strangers {
            members.insert("strange".to_owned(), json!({"a": [1, {"b": null}, "]}"], "resourceLogs": false}));
        }
        Object { members, style: self }
    }

    fn u64(self, value: u64) -> Value {
        if self.integers_as_strings { json!(value.to_string()) } else { json!(value) }
    }

    fn i64(self, value: i64) -> Value {
        if self.integers_as_strings { json!(value.to_string()) } else { json!(value) }
    }

    fn attributes(self, attributes: &[KeyValue]) -> Vec<Value> {
        let pair = |pair: &KeyValue| {
            let value = pair.value.as_ref().map(|value| self.any(value));
            self.object()
                .text("key", &pair.key)
                .optional("value", value)
                .number("keyStrindex", i64::from(pair.key_strindex))
                .done()
        };
        attributes.iter().map(pair).collect()
    }

    fn any(self, value: &AnyValue) -> Value {
        let object = self.object();
        match &value.value {
            None => object,
            Some(Any::StringValue(text)) => object.set("stringValue", json!(text)),
            Some(Any::BoolValue(value)) => object.set("boolValue", json!(value)),
            Some(Any::IntValue(value)) => object.set("intValue", self.i64(*value)),
            Some(Any::DoubleValue(value)) => object.set("doubleValue", double(*value)),
            Some(Any::BytesValue(bytes)) => object.set("bytesValue", json!(base64(bytes))),
            Some(Any::StringValueStrindex(index)) => object.set("stringValueStrindex", json!(index)),
            Some(Any::ArrayValue(array)) => {
                let values = array.values.iter().map(|value| self.any(value)).collect();
                object.set("arrayValue", self.object().list("values", values).done())
            }
            Some(Any::KvlistValue(list)) => {
                object.set("kvlistValue", self.object().list("values", self.attributes(&list.values)).done())
            }
        }
        .done()
    }

    fn resource(self, resource: &Resource) -> Value {
        self.object()
            .list("attributes", self.attributes(&resource.attributes))
            .number("droppedAttributesCount", resource.dropped_attributes_count.into())
            .done()
    }

    fn scope(self, scope: &InstrumentationScope) -> Value {
        self.object()
            .text("name", &scope.name)
            .text("version", &scope.version)
            .list("attributes", self.attributes(&scope.attributes))
            .number("droppedAttributesCount", scope.dropped_attributes_count.into())
            .done()
    }

    fn log_record(self, record: &LogRecord) -> Value {
        self.object()
            .unsigned("timeUnixNano", record.time_unix_nano)
            .unsigned("observedTimeUnixNano", record.observed_time_unix_nano)
            .number("severityNumber", record.severity_number.into())
            .text("severityText", &record.severity_text)
            .optional("body", record.body.as_ref().map(|body| self.any(body)))
            .list("attributes", self.attributes(&record.attributes))
            .number("droppedAttributesCount", record.dropped_attributes_count.into())
            .number("flags", record.flags.into())
            .id("traceId", &record.trace_id)
            .id("spanId", &record.span_id)
            .text("eventName", &record.event_name)
            .done()
    }

    fn span(self, span: &Span) -> Value {
        let events = span.events.iter().map(|event| {
            self.object()
                .unsigned("timeUnixNano", event.time_unix_nano)
                .text("name", &event.name)
                .list("attributes", self.attributes(&event.attributes))
                .number("droppedAttributesCount", event.dropped_attributes_count.into())
                .done()
        });
        let links = span.links.iter().map(|link| {
            self.object()
                .id("traceId", &link.trace_id)
                .id("spanId", &link.span_id)
                .text("traceState", &link.trace_state)
                .list("attributes", self.attributes(&link.attributes))
                .number("droppedAttributesCount", link.dropped_attributes_count.into())
                .number("flags", link.flags.into())
                .done()
        });
        let status = span
            .status
            .as_ref()
            .map(|status| self.object().text("message", &status.message).number("code", status.code.into()).done());
        self.object()
            .id("traceId", &span.trace_id)
            .id("spanId", &span.span_id)
            .text("traceState", &span.trace_state)
            .id("parentSpanId", &span.parent_span_id)
            .number("flags", span.flags.into())
            .text("name", &span.name)
            .number("kind", span.kind.into())
            .unsigned("startTimeUnixNano", span.start_time_unix_nano)
            .unsigned("endTimeUnixNano", span.end_time_unix_nano)
            .list("attributes", self.attributes(&span.attributes))
            .number("droppedAttributesCount", span.dropped_attributes_count.into())
            .list("events", events.collect())
            .number("droppedEventsCount", span.dropped_events_count.into())
            .list("links", links.collect())
            .number("droppedLinksCount", span.dropped_links_count.into())
            .optional("status", status)
            .done()
    }

    fn metric(self, metric: &Metric) -> Value {
        let object = self
            .object()
            .text("name", &metric.name)
            .text("description", &metric.description)
            .text("unit", &metric.unit)
            .list("metadata", self.attributes(&metric.metadata));
        let numbers = |points: &[NumberDataPoint]| points.iter().map(|point| self.number_point(point)).collect();
        match &metric.data {
            None => object,
            Some(metric::Data::Gauge(gauge)) => {
                object.set("gauge", self.object().list("dataPoints", numbers(&gauge.data_points)).done())
            }
            Some(metric::Data::Sum(sum)) => {
                let content = self
                    .object()
                    .list("dataPoints", numbers(&sum.data_points))
                    .number("aggregationTemporality", sum.aggregation_temporality.into())
                    .flag("isMonotonic", sum.is_monotonic);
                object.set("sum", content.done())
            }
            Some(metric::Data::Histogram(histogram)) => {
                let points = histogram.data_points.iter().map(|point| self.histogram_point(point)).collect();
                let content = self.object().list("dataPoints", points);
                let temporality = histogram.aggregation_temporality.into();
                object.set("histogram", content.number("aggregationTemporality", temporality).done())
            }
            Some(metric::Data::ExponentialHistogram(histogram)) => {
                let points = histogram.data_points.iter().map(|point| self.exponential_point(point)).collect();
                let content = self.object().list("dataPoints", points);
                let temporality = histogram.aggregation_temporality.into();
                object.set("exponentialHistogram", content.number("aggregationTemporality", temporality).done())
            }
            Some(metric::Data::Summary(summary)) => {
                let points = summary.data_points.iter().map(|point| self.summary_point(point)).collect();
                object.set("summary", self.object().list("dataPoints", points).done())
            }
        }
        .done()
    }

    fn number_point(self, point: &NumberDataPoint) -> Value {
        let object = self
            .object()
            .list("attributes", self.attributes(&point.attributes))
            .unsigned("startTimeUnixNano", point.start_time_unix_nano)
            .unsigned("timeUnixNano", point.time_unix_nano)
            .list("exemplars", self.exemplars(&point.exemplars))
            .number("flags", point.flags.into());
        match point.value {
            None => object,
            Some(number_data_point::Value::AsInt(value)) => object.set("asInt", self.i64(value)),
            Some(number_data_point::Value::AsDouble(value)) => object.set("asDouble", double(value)),
        }
        .done()
    }

    fn exemplars(self, exemplars: &[Exemplar]) -> Vec<Value> {
        let exemplar = |exemplar: &Exemplar| {
            let object = self
                .object()
                .list("filteredAttributes", self.attributes(&exemplar.filtered_attributes))
                .unsigned("timeUnixNano", exemplar.time_unix_nano)
                .id("spanId", &exemplar.span_id)
                .id("traceId", &exemplar.trace_id);
            match exemplar.value {
                None => object,
                Some(exemplar::Value::AsInt(value)) => object.set("asInt", self.i64(value)),
                Some(exemplar::Value::AsDouble(value)) => object.set("asDouble", double(value)),
            }
            .done()
        };
        exemplars.iter().map(exemplar).collect()
    }

    fn histogram_point(self, point: &HistogramDataPoint) -> Value {
        self.object()
            .list("attributes", self.attributes(&point.attributes))
            .unsigned("startTimeUnixNano", point.start_time_unix_nano)
            .unsigned("timeUnixNano", point.time_unix_nano)
            .unsigned("count", point.count)
            .optional("sum", point.sum.map(double))
            .list("bucketCounts", point.bucket_counts.iter().map(|count| self.u64(*count)).collect())
            .list("explicitBounds", point.explicit_bounds.iter().map(|bound| double(*bound)).collect())
            .list("exemplars", self.exemplars(&point.exemplars))
            .number("flags", point.flags.into())
            .optional("min", point.min.map(double))
            .optional("max", point.max.map(double))
            .done()
    }

    fn exponential_point(self, point: &ExponentialHistogramDataPoint) -> Value {
        let side = |buckets: &Buckets| {
            let counts = buckets.bucket_counts.iter().map(|count| self.u64(*count)).collect();
            self.object().number("offset", buckets.offset.into()).list("bucketCounts", counts).done()
        };
        let mut object = self
            .object()
            .list("attributes", self.attributes(&point.attributes))
            .unsigned("startTimeUnixNano", point.start_time_unix_nano)
            .unsigned("timeUnixNano", point.time_unix_nano)
            .unsigned("count", point.count)
            .optional("sum", point.sum.map(double))
            .number("scale", point.scale.into())
            .unsigned("zeroCount", point.zero_count)
            .optional("positive", point.positive.as_ref().map(side))
            .optional("negative", point.negative.as_ref().map(side))
            .number("flags", point.flags.into())
            .list("exemplars", self.exemplars(&point.exemplars))
            .optional("min", point.min.map(double))
            .optional("max", point.max.map(double));
        if point.zero_threshold.to_bits() != 0 || self.defaults {
            object = object.set("zeroThreshold", double(point.zero_threshold));
        }
        object.done()
    }

    fn summary_point(self, point: &SummaryDataPoint) -> Value {
        let quantiles = point.quantile_values.iter().map(|quantile| {
            self.object().set("quantile", double(quantile.quantile)).set("value", double(quantile.value)).done()
        });
        self.object()
            .list("attributes", self.attributes(&point.attributes))
            .unsigned("startTimeUnixNano", point.start_time_unix_nano)
            .unsigned("timeUnixNano", point.time_unix_nano)
            .unsigned("count", point.count)
            .set("sum", double(point.sum))
            .list("quantileValues", quantiles.collect())
            .number("flags", point.flags.into())
            .done()
    }
}

impl Object {
    fn set(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    fn set_unless(self, is_default: bool, name: &str, value: Value) -> Self {
        match is_default {
            true if self.style.nulls => self.set(name, Value::Null),
            true if !self.style.defaults => self,
            _ => self.set(name, value),
        }
    }

    fn optional(self, name: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None if self.style.nulls => self.set(name, Value::Null),
            None => self,
        }
    }

    fn text(self, name: &str, text: &str) -> Self {
        self.set_unless(text.is_empty(), name, json!(text))
    }

    fn list(self, name: &str, values: Vec<Value>) -> Self {
        self.set_unless(values.is_empty(), name, Value::Array(values))
    }

    fn number(self, name: &str, value: i64) -> Self {
        self.set_unless(value == 0, name, json!(value))
    }

    fn unsigned(self, name: &str, value: u64) -> Self {
        let written = self.style.u64(value);
        self.set_unless(value == 0, name, written)
    }

    fn flag(self, name: &str, value: bool) -> Self {
        self.set_unless(!value, name, json!(value))
    }

    fn id(self, name: &str, bytes: &[u8]) -> Self {
        let digit = |byte: &u8| if self.style.upper_hex { format!("{byte:02X}") } else { format!("{byte:02x}") };
        let text: String = bytes.iter().map(digit).collect();
        self.set_unless(bytes.is_empty(), name, json!(text))
    }

    fn done(self) -> Value {
        Value::Object(self.members)
    }
}

fn double(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(value),
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, at| word << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let sextet = (word >> (18 - 6 * at) & 63) as usize;
            text.push(if at > group.len() { '=' } else { char::from(ALPHABET[sextet]) });
        }
    }
    text
}
