//! The records of a group as OTLP messages: with real values they are what the judge expects, with marks they are the
//! template. Pure.

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span, Status};
use prost::encoding::message;
use shipwake_model::Signal;

use super::content::{self, PointKind, Shape};
use super::template::Mark;
use super::wire::attribute::{any_text, int, text};

#[cfg(test)]
pub mod reference;

/// The values of a record that change, in their wire forms.
#[derive(Clone, Debug)]
pub struct Values {
    time: u64,
    start: u64,
    before: u64,
    id: String,
    micros: String,
    series: String,
    hash: String,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    int: i64,
    double: f64,
}

impl Values {
    /// Marks in place of values.
    pub fn marks() -> Self {
        let number = |mark: Mark| u64::from_le_bytes(mark.bytes());
        let text = |mark: Mark, bytes: usize| format!("{:0<bytes$}", String::from_utf8_lossy(&mark.bytes()));
        Self {
            time: number(Mark::Time),
            start: number(Mark::Start),
            before: number(Mark::Before),
            id: text(Mark::Id, 12),
            micros: text(Mark::Micros, 8),
            series: text(Mark::Series, 8),
            hash: text(Mark::Hash, 8),
            trace_id: text(Mark::TraceId, 16).into_bytes(),
            span_id: Mark::SpanId.bytes().to_vec(),
            int: number(Mark::Int) as i64,
            double: f64::from_bits(number(Mark::Double)),
        }
    }
}

/// The resource with this number.
pub fn resource(shape: &Shape, resource: u64) -> Resource {
    let owner = shape.owner(resource);
    Resource {
        attributes: vec![
            text("service.name", &owner.service),
            text("service.namespace", &shape.run),
            text("service.version", &owner.version),
            text("service.instance.id", &owner.instance),
            text("deployment.environment.name", content::ENVIRONMENT),
            text("host.name", &format!("host-{}", owner.instance)),
            text("telemetry.sdk.name", "shipwake-load"),
        ],
        ..Resource::default()
    }
}

/// The encoded `scope_*` field of a request: field 2 in each of the three signals.
pub fn encoded_scope(signal: Signal, values: &[Values], pad_bytes: usize) -> Vec<u8> {
    let pad = content::padding(pad_bytes);
    let mut out = Vec::new();
    match signal {
        Signal::Logs => message::encode(2, &scope_logs(values, &pad), &mut out),
        Signal::Metrics => message::encode(2, &scope_metrics(values, &pad), &mut out),
        Signal::Traces => message::encode(2, &scope_spans(values, &pad), &mut out),
    }
    out
}

fn scope_logs(values: &[Values], pad: &str) -> ScopeLogs {
    let log = |(position, v): (usize, &Values)| {
        let position = position as u32;
        let (severity_number, severity_text) = content::severity(position);
        let body = content::log_body(position, &v.id, &v.hash, &v.micros, pad);
        LogRecord {
            time_unix_nano: v.time,
            observed_time_unix_nano: v.time,
            severity_number,
            severity_text: severity_text.to_owned(),
            body: any_text(&body),
            attributes: vec![text(content::ID_ATTRIBUTE, &v.id), text("code.function.name", "handle_request")],
            flags: 1,
            trace_id: v.trace_id.clone(),
            span_id: v.span_id.clone(),
            ..LogRecord::default()
        }
    };
    ScopeLogs { scope: scope(), log_records: values.iter().enumerate().map(log).collect(), ..ScopeLogs::default() }
}

fn scope_spans(values: &[Values], pad: &str) -> ScopeSpans {
    let span = |(position, v): (usize, &Values)| {
        let position = position as u32;
        let (method, route) = content::route(position);
        let error = content::is_error(position);
        let kind = if content::is_server(position) { SpanKind::Server } else { SpanKind::Client };
        let code = if error { StatusCode::Error } else { StatusCode::Unset };
        Span {
            trace_id: v.trace_id.clone(),
            span_id: v.span_id.clone(),
            name: format!("{method} {route}"),
            kind: kind as i32,
            start_time_unix_nano: v.start,
            end_time_unix_nano: v.time,
            attributes: vec![
                text(content::ID_ATTRIBUTE, &v.id),
                text("http.request.method", method),
                text("http.route", route),
                int("http.response.status_code", if error { 500 } else { 200 }),
                text("user_agent.original", pad),
            ],
            status: Some(Status { message: String::new(), code: code as i32 }),
            ..Span::default()
        }
    };
    ScopeSpans { scope: scope(), spans: values.iter().enumerate().map(span).collect(), ..ScopeSpans::default() }
}

fn scope_metrics(values: &[Values], pad: &str) -> ScopeMetrics {
    let group = values.len() as u32;
    let of_kind = |kind| {
        let kind_at = move |position: usize| content::point_kind(position as u32, group) == kind;
        values.iter().enumerate().filter(move |(position, _)| kind_at(*position)).map(|(_, v)| v)
    };
    let delta = AggregationTemporality::Delta as i32;
    let gauge = Gauge { data_points: of_kind(PointKind::Gauge).map(|v| number_point(v, pad)).collect() };
    let sum = of_kind(PointKind::Sum).map(|v| number_point(v, pad)).collect();
    let sum = Sum { data_points: sum, aggregation_temporality: delta, is_monotonic: true };
    let histogram = of_kind(PointKind::Histogram).map(|v| histogram_point(v, pad)).collect();
    let histogram = Histogram { data_points: histogram, aggregation_temporality: delta };
    let metrics = vec![
        metric(content::GAUGE, "{item}", Data::Gauge(gauge)),
        metric(content::SUM, "{order}", Data::Sum(sum)),
        metric(content::HISTOGRAM, "By", Data::Histogram(histogram)),
    ];
    ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }
}

fn number_point(v: &Values, pad: &str) -> NumberDataPoint {
    NumberDataPoint {
        attributes: point_attributes(v, pad),
        start_time_unix_nano: v.before,
        time_unix_nano: v.time,
        value: Some(Number::AsInt(v.int)),
        ..NumberDataPoint::default()
    }
}

fn histogram_point(v: &Values, pad: &str) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: point_attributes(v, pad),
        start_time_unix_nano: v.before,
        time_unix_nano: v.time,
        count: content::HISTOGRAM_COUNT,
        sum: Some(v.double),
        bucket_counts: vec![4, 3, 2, 1],
        explicit_bounds: vec![10.0, 100.0, 1_000.0],
        // Buckets and bounds take room: these points need less padding than the others, which nothing depends on.
        ..HistogramDataPoint::default()
    }
}

fn point_attributes(v: &Values, pad: &str) -> Vec<KeyValue> {
    vec![text("series", &v.series), text("host.image.description", pad)]
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "shipwake-load".to_owned(),
        version: "1".to_owned(),
        ..InstrumentationScope::default()
    })
}
