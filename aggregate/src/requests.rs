//! Export requests for tests, made with prost as a client would make them.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use shipwake_journal::{Header, Record, Stored};
use shipwake_model::Signal;
use shipwake_model::window::NS_PER_S;

/// The time tests run at: well after 1970, on an hour.
pub const NOW: i64 = 1_800_000_000 * NS_PER_S;

pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

pub fn resource(service: &str, version: &str, instance: &str) -> Option<Resource> {
    let attributes = vec![
        text("service.name", service),
        text("service.version", version),
        text("deployment.environment.name", "prod"),
        text("service.instance.id", instance),
    ];
    Some(Resource { attributes, ..Default::default() })
}

/// A server span that ends at `end_ns`.
pub fn span(route: &str, end_ns: i64, duration_ms: i64, status: i64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        name: format!("GET {route}"),
        kind: 2,
        start_time_unix_nano: (end_ns - duration_ms * 1_000_000) as u64,
        end_time_unix_nano: end_ns as u64,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", route),
            int("http.response.status_code", status),
        ],
        status: Some(Status { code: if status >= 500 { 2 } else { 0 }, ..Default::default() }),
        ..Default::default()
    }
}

pub fn spans(service: &str, version: &str, spans: Vec<Span>) -> Vec<u8> {
    spans_of(resource(service, version, "i-1"), spans)
}

pub fn spans_of(resource: Option<Resource>, spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

pub fn log(time_ns: u64, severity: i32, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: time_ns,
        severity_number: severity,
        body: Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) }),
        ..Default::default()
    }
}

pub fn logs(service: &str, version: &str, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: resource(service, version, "i-1"), scope_logs, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

pub fn metrics(service: &str, version: &str, metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(service, version, "i-1"), scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

pub fn number(time_ns: i64, start_ns: i64, value: f64, attributes: Vec<KeyValue>) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: time_ns as u64,
        start_time_unix_nano: start_ns as u64,
        value: Some(Number::AsDouble(value)),
        attributes,
        ..Default::default()
    }
}

pub fn gauge(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric { name: name.to_owned(), data: Some(Data::Gauge(Gauge { data_points })), ..Default::default() }
}

pub fn sum(name: &str, temporality: i32, data_points: Vec<NumberDataPoint>) -> Metric {
    let data = Sum { data_points, aggregation_temporality: temporality, is_monotonic: true };
    Metric { name: name.to_owned(), data: Some(Data::Sum(data)), ..Default::default() }
}

/// A point of a histogram with the bounds 0.1 and 1.
pub fn buckets(time_ns: i64, start_ns: i64, counts: [u64; 3], sum: f64, status: i64) -> HistogramDataPoint {
    HistogramDataPoint {
        time_unix_nano: time_ns as u64,
        start_time_unix_nano: start_ns as u64,
        count: counts.iter().sum(),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: vec![0.1, 1.0],
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/pay"),
            int("http.response.status_code", status),
        ],
        ..Default::default()
    }
}

pub fn histogram(name: &str, unit: &str, temporality: i32, data_points: Vec<HistogramDataPoint>) -> Metric {
    let data = Histogram { data_points, aggregation_temporality: temporality };
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(Data::Histogram(data)), ..Default::default() }
}

/// A journal record of a request with `records` records.
pub fn record(signal: Signal, received_ns: i64, records: u32, value: Vec<u8>, hash: Option<u128>) -> Record {
    let header = Header {
        tenant: "default".into(),
        signal,
        received_ns,
        records,
        time_min_ns: received_ns,
        time_max_ns: received_ns,
        request_hash: hash,
    };
    Record { partition: 0, header, value: Bytes::from(value) }
}

/// The same as it is read back from `offset`.
pub fn stored(offset: u64, record: Record) -> Arc<Stored> {
    Arc::new(Stored { offset, header: record.header, value: record.value })
}
