//! Strategies for arbitrary requests in the types of `opentelemetry-proto`: what sane senders encode.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (option::of(scope()), vec(log_record(), 0..4), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (option::of(resource()), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

pub fn spans() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (option::of(scope()), vec(span(), 0..4), text())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (option::of(resource()), vec(scope_spans, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scope_metrics = (option::of(scope()), vec(metric(), 0..4), text())
        .prop_map(|(scope, metrics, schema_url)| ScopeMetrics { scope, metrics, schema_url });
    let resource_metrics = (option::of(resource()), vec(scope_metrics, 0..3), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(resource_metrics, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), "[a-z.]{1,12}", any::<String>()].boxed()
}

fn id() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 16), vec(any::<u8>(), 8), vec(any::<u8>(), 0..3)].boxed()
}

fn any_value() -> BoxedStrategy<AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|text| Some(Value::StringValue(text))),
        any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(Value::IntValue(value))),
        any::<f64>().prop_map(|value| Some(Value::DoubleValue(value))),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Some(Value::BytesValue(bytes))),
        any::<i32>().prop_map(|index| Some(Value::StringValueStrindex(index))),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 16, 4, |inner| {
        let array = vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let pair = (text(), option::of(inner)).prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 });
        let map = vec(pair, 0..4).prop_map(|values| Value::KvlistValue(KeyValueList { values }));
        prop_oneof![array, map].prop_map(|value| AnyValue { value: Some(value) })
    })
    .boxed()
}

fn attributes() -> BoxedStrategy<Vec<KeyValue>> {
    let pair = (text(), option::of(any_value()), 0..2i32).prop_map(|(key, value, key_strindex)| KeyValue {
        key,
        value,
        key_strindex,
    });
    vec(pair, 0..5).boxed()
}

fn resource() -> BoxedStrategy<Resource> {
    (attributes(), any::<u32>())
        .prop_map(|(attributes, dropped_attributes_count)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs: Vec::new(),
        })
        .boxed()
}

fn scope() -> BoxedStrategy<InstrumentationScope> {
    (text(), text(), attributes(), any::<u32>())
        .prop_map(|(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        })
        .boxed()
}

fn log_record() -> BoxedStrategy<LogRecord> {
    let numbers = (any::<u64>(), any::<u64>(), any::<i32>(), any::<u32>(), any::<u32>());
    (numbers, text(), option::of(any_value()), attributes(), id(), id(), text())
        .prop_map(|(numbers, severity_text, body, attributes, trace_id, span_id, event_name)| LogRecord {
            time_unix_nano: numbers.0,
            observed_time_unix_nano: numbers.1,
            severity_number: numbers.2,
            severity_text,
            body,
            attributes,
            dropped_attributes_count: numbers.3,
            flags: numbers.4,
            trace_id,
            span_id,
            event_name,
        })
        .boxed()
}

fn span() -> BoxedStrategy<Span> {
    let numbers = (any::<u64>(), any::<u64>(), any::<i32>(), any::<u32>(), any::<[u32; 3]>());
    let status = (text(), any::<i32>()).prop_map(|(message, code)| Status { message, code });
    let lists = (attributes(), vec(event(), 0..3), vec(link(), 0..3));
    (numbers, (id(), id(), id()), (text(), text()), lists, option::of(status))
        .prop_map(|(numbers, ids, texts, lists, status)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: texts.0,
            name: texts.1,
            flags: numbers.3,
            kind: numbers.2,
            start_time_unix_nano: numbers.0,
            end_time_unix_nano: numbers.1,
            attributes: lists.0,
            dropped_attributes_count: numbers.4[0],
            events: lists.1,
            dropped_events_count: numbers.4[1],
            links: lists.2,
            dropped_links_count: numbers.4[2],
            status,
        })
        .boxed()
}

fn event() -> BoxedStrategy<Event> {
    (any::<u64>(), text(), attributes(), any::<u32>())
        .prop_map(|(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        })
        .boxed()
}

fn link() -> BoxedStrategy<Link> {
    (id(), id(), text(), attributes(), any::<u32>(), any::<u32>())
        .prop_map(|(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        })
        .boxed()
}

fn metric() -> BoxedStrategy<Metric> {
    (text(), text(), text(), attributes(), option::of(metric_data()))
        .prop_map(|(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data })
        .boxed()
}

fn metric_data() -> BoxedStrategy<metric::Data> {
    let temporality = any::<i32>;
    let gauge = vec(number_point(), 0..4).prop_map(|data_points| metric::Data::Gauge(Gauge { data_points }));
    let sum = (vec(number_point(), 0..4), temporality(), any::<bool>()).prop_map(
        |(data_points, aggregation_temporality, is_monotonic)| {
            metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        },
    );
    let histogram = (vec(histogram_point(), 0..4), temporality()).prop_map(|(data_points, aggregation_temporality)| {
        metric::Data::Histogram(Histogram { data_points, aggregation_temporality })
    });
    let exponential =
        (vec(exponential_point(), 0..4), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        });
    let summary = vec(summary_point(), 0..4).prop_map(|data_points| metric::Data::Summary(Summary { data_points }));
    prop_oneof![gauge, sum, histogram, exponential, summary].boxed()
}

fn number_point() -> BoxedStrategy<NumberDataPoint> {
    let value = prop_oneof![
        any::<i64>().prop_map(number_data_point::Value::AsInt),
        any::<f64>().prop_map(number_data_point::Value::AsDouble),
    ];
    (any::<[u64; 2]>(), option::of(value), attributes(), vec(exemplar(), 0..2), any::<u32>())
        .prop_map(|(times, value, attributes, exemplars, flags)| NumberDataPoint {
            attributes,
            start_time_unix_nano: times[0],
            time_unix_nano: times[1],
            exemplars,
            flags,
            value,
        })
        .boxed()
}

fn exemplar() -> BoxedStrategy<Exemplar> {
    (any::<u64>(), any::<f64>(), attributes(), id(), id())
        .prop_map(|(time_unix_nano, value, filtered_attributes, span_id, trace_id)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value: Some(exemplar::Value::AsDouble(value)),
        })
        .boxed()
}

fn histogram_point() -> BoxedStrategy<HistogramDataPoint> {
    let extremes = (option::of(any::<f64>()), option::of(any::<f64>()), option::of(any::<f64>()));
    let buckets = (vec(any::<u64>(), 0..6), vec(any::<f64>(), 0..5));
    (any::<[u64; 3]>(), extremes, buckets, attributes(), vec(exemplar(), 0..2), any::<u32>())
        .prop_map(|(numbers, extremes, buckets, attributes, exemplars, flags)| HistogramDataPoint {
            attributes,
            start_time_unix_nano: numbers[0],
            time_unix_nano: numbers[1],
            count: numbers[2],
            sum: extremes.0,
            bucket_counts: buckets.0,
            explicit_bounds: buckets.1,
            exemplars,
            flags,
            min: extremes.1,
            max: extremes.2,
        })
        .boxed()
}

fn exponential_point() -> BoxedStrategy<ExponentialHistogramDataPoint> {
    let extremes = (option::of(any::<f64>()), option::of(any::<f64>()), option::of(any::<f64>()));
    let buckets = || {
        (any::<i32>(), vec(any::<u64>(), 0..6)).prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts })
    };
    let sides = (option::of(buckets()), option::of(buckets()));
    let shape = (any::<i32>(), any::<f64>());
    (any::<[u64; 4]>(), extremes, sides, shape, attributes(), any::<u32>())
        .prop_map(|(numbers, extremes, sides, shape, attributes, flags)| ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: numbers[0],
            time_unix_nano: numbers[1],
            count: numbers[2],
            sum: extremes.0,
            scale: shape.0,
            zero_count: numbers[3],
            positive: sides.0,
            negative: sides.1,
            flags,
            exemplars: Vec::new(),
            min: extremes.1,
            max: extremes.2,
            zero_threshold: shape.1,
        })
        .boxed()
}

fn summary_point() -> BoxedStrategy<SummaryDataPoint> {
    let quantile = (any::<f64>(), any::<f64>()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (any::<[u64; 3]>(), any::<f64>(), vec(quantile, 0..4), attributes(), any::<u32>())
        .prop_map(|(numbers, sum, quantile_values, attributes, flags)| SummaryDataPoint {
            attributes,
            start_time_unix_nano: numbers[0],
            time_unix_nano: numbers[1],
            count: numbers[2],
            sum,
            quantile_values,
            flags,
        })
        .boxed()
}
