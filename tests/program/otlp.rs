//! Export requests as an SDK would build them, and the two ways to send them.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Now, in nanoseconds since 1970.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

pub fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

pub fn int(key: &str, value: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::IntValue(value)) }),
        ..Default::default()
    }
}

/// A resource; an empty version is left out.
pub fn resource(service: &str, version: &str, instance: &str) -> Resource {
    let mut attributes = vec![
        text("service.name", service),
        text("deployment.environment.name", "test"),
        text("service.instance.id", instance),
    ];
    if !version.is_empty() {
        attributes.push(text("service.version", version));
    }
    Resource { attributes, ..Default::default() }
}

/// Log records with the given bodies.
pub fn logs(resource: Resource, bodies: &[&str]) -> ExportLogsServiceRequest {
    let time_unix_nano = now_ns();
    let record = |body: &&str| LogRecord {
        time_unix_nano,
        observed_time_unix_nano: time_unix_nano,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue((*body).to_owned())) }),
        ..Default::default()
    };
    let scope_logs = ScopeLogs {
        scope: Some(InstrumentationScope { name: "test".into(), ..Default::default() }),
        log_records: bodies.iter().map(record).collect(),
        ..Default::default()
    };
    let resource_logs = ResourceLogs { resource: Some(resource), scope_logs: vec![scope_logs], ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

/// Server spans of `GET /pay`, one for each (start, duration, HTTP status).
pub fn spans(resource: Resource, requests: &[(u64, u64, i64)]) -> ExportTraceServiceRequest {
    let span = |(at, &(start, duration, status)): (usize, &(u64, u64, i64))| Span {
        trace_id: start.to_be_bytes().repeat(2),
        span_id: (start ^ at as u64).to_be_bytes().to_vec(),
        name: "GET /pay".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/pay"),
            int("http.response.status_code", status),
        ],
        status: (status >= 500).then(|| Status { code: 2, ..Default::default() }),
        ..Default::default()
    };
    let scope_spans = ScopeSpans { spans: requests.iter().enumerate().map(span).collect(), ..Default::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// One point of a cumulative counter.
pub fn counter(resource: Resource, name: &str, start: u64, time: u64, value: i64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsInt(value)),
        ..Default::default()
    };
    metric(resource, name, vec![point], AggregationTemporality::Cumulative)
}

/// Points of a monotonic sum.
pub fn metric(
    resource: Resource,
    name: &str,
    data_points: Vec<NumberDataPoint>,
    temporality: AggregationTemporality,
) -> ExportMetricsServiceRequest {
    let data = metric::Data::Sum(Sum { data_points, aggregation_temporality: temporality as i32, is_monotonic: true });
    let metric = Metric { name: name.to_owned(), data: Some(data), ..Default::default() };
    let scope_metrics = ScopeMetrics { metrics: vec![metric], ..Default::default() };
    let resource_metrics =
        ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope_metrics], ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
}

/// Posts bytes to a senders' route; gives the status, the content type and the body.
pub async fn post_bytes(url: &str, bytes: Vec<u8>) -> (u16, String, Vec<u8>) {
    let answer =
        reqwest::Client::new().post(url).header("content-type", "application/x-protobuf").body(bytes).send().await;
    let answer = answer.expect("an answer");
    let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    (answer.status().as_u16(), kind, answer.bytes().await.expect("a body").to_vec())
}

/// Posts a request that must be taken.
pub async fn post(base: &str, signal: &str, request: &impl Message) {
    let (status, _, body) = post_bytes(&format!("{base}/v1/{signal}"), request.encode_to_vec()).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert!(body.is_empty(), "full success carries no partial_success: {body:?}");
}
