//! What folding costs: nanoseconds per log record, span and metric point with their rows, and bytes of hot state per observed
//! series. `cargo bench -p shipwake-aggregate`; figures go to `docs/benchmarks.md`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use shipwake_aggregate::commit::Cut;
use shipwake_aggregate::windows::HealthWindows;
use shipwake_aggregate::{AggregateConfig, State};
use shipwake_journal::{Header, Stored};
use shipwake_model::{Resolution, Signal};

const NOW: i64 = 1_800_000_000_000_000_000;
const RECORDS: usize = 1_000;
const REQUESTS: usize = 200;
const ROUNDS: usize = 5;

fn main() {
    measure("log record", Signal::Logs, logs);
    measure("server span", Signal::Traces, spans);
    measure("histogram point", Signal::Metrics, points);
    bytes_per_series();
}

/// Best of some rounds: folds requests into an empty state, and cuts it, which is what a commit takes of the shard's thread.
fn measure(what: &str, signal: Signal, request: impl Fn(usize) -> Vec<u8>) {
    let requests: Vec<Arc<Stored>> = (0..REQUESTS).map(|n| stored(n, signal, request(n))).collect();
    let bytes: usize = requests.iter().map(|request| request.value.len()).sum();
    let records = (REQUESTS * RECORDS) as f64;
    let (mut best_fold, mut best_cut, mut hot) = (f64::MAX, f64::MAX, 0);
    for _ in 0..ROUNDS {
        let mut state = State::new(&AggregateConfig::default());
        let begin = Instant::now();
        for request in &requests {
            black_box(state.fold(request));
        }
        best_fold = best_fold.min(begin.elapsed().as_nanos() as f64 / records);
        hot = state.hot_bytes();
        let begin = Instant::now();
        black_box(Cut::take(&mut state));
        best_cut = best_cut.min(begin.elapsed().as_nanos() as f64 / records);
    }
    println!(
        "{what}: {best_fold:.0} ns to fold, {best_cut:.1} ns to cut, {:.0} B on the wire, {:.0} B hot",
        bytes as f64 / records,
        hot as f64 / records
    );
}

/// 46 000 observations a second over 100 000 series for ten seconds; see also the test with a counting allocator.
fn bytes_per_series() {
    const SERIES: u64 = 100_000;
    const OBSERVATIONS: u64 = 460_000;
    let mut windows = HealthWindows::new(Resolution::S10);
    let mut random = 1u64;
    let begin = Instant::now();
    for n in 0..OBSERVATIONS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (series, duration) = ((random >> 33) % SERIES, (random >> 20) % 50_000 + 500);
        windows.observe(series as u32, NOW, duration, n % 100 == 0);
    }
    let ns = begin.elapsed().as_nanos() as f64 / OBSERVATIONS as f64;
    let bytes = windows.heap_bytes() as f64 / windows.len() as f64;
    println!("window cell: {ns:.0} ns per observation, {bytes:.1} B per observed series of {}", windows.len());
}

fn stored(offset: usize, signal: Signal, value: Vec<u8>) -> Arc<Stored> {
    let header = Header {
        tenant: "default".into(),
        signal,
        received_ns: NOW + offset as i64 * 1_000_000,
        records: RECORDS as u32,
        time_min_ns: NOW,
        time_max_ns: NOW,
        request_hash: Some(offset as u128),
    };
    Arc::new(Stored { offset: offset as u64, header, value: Bytes::from(value) })
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..Default::default()
    }
}

fn int(key: &str, value: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::IntValue(value)) }),
        ..Default::default()
    }
}

fn resource(n: usize) -> Option<Resource> {
    let attributes = vec![
        text("service.name", format!("service-{}", n % 10)),
        text("service.version", format!("1.{}.0", n % 3)),
        text("deployment.environment.name", "production"),
        text("service.instance.id", format!("pod-{}", n % 40)),
        text("host.name", "node-17"),
        text("telemetry.sdk.language", "java"),
    ];
    Some(Resource { attributes, ..Default::default() })
}

fn logs(n: usize) -> Vec<u8> {
    let body = "user 48213 placed order 99127 with 3 items for 42.50 EUR in 27 ms, payment provider answered ok";
    let log_records = (0..RECORDS).map(|record| LogRecord {
        time_unix_nano: (NOW + record as i64) as u64,
        observed_time_unix_nano: NOW as u64,
        severity_number: if record % 50 == 0 { 17 } else { 9 },
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) }),
        attributes: vec![
            text("logger", "shop.orders.OrderService"),
            text("thread.name", "http-nio-8080-exec-7"),
            int("order.items", 3),
            text("region", "eu-central-1"),
            text("customer.tier", "gold"),
        ],
        trace_id: vec![record as u8 | 1; 16],
        span_id: vec![record as u8 | 1; 8],
        ..Default::default()
    });
    let scope_logs = vec![ScopeLogs { log_records: log_records.collect(), ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(n), scope_logs, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn spans(n: usize) -> Vec<u8> {
    let spans = (0..RECORDS).map(|record| Span {
        trace_id: vec![record as u8 | 1; 16],
        span_id: vec![record as u8 | 1; 8],
        name: "GET /checkout".to_owned(),
        kind: 2,
        start_time_unix_nano: (NOW - 27_000_000 - record as i64 * 10_000) as u64,
        end_time_unix_nano: NOW as u64,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", format!("/checkout/{}", record % 12)),
            int("http.response.status_code", if record % 100 == 0 { 500 } else { 200 }),
            text("url.path", "/checkout/4711"),
            text("server.address", "shop.example.com"),
        ],
        ..Default::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource: resource(n), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn points(n: usize) -> Vec<u8> {
    let bounds = vec![0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let data_points = (0..RECORDS).map(|record| {
        let bucket_counts: Vec<u64> = (0..15).map(|bucket| (bucket * (n as u64 + 1)) % 40 + n as u64 * 40).collect();
        HistogramDataPoint {
            start_time_unix_nano: (NOW - 60_000_000_000) as u64,
            time_unix_nano: (NOW + n as i64) as u64,
            count: bucket_counts.iter().sum(),
            sum: Some(12.5 * n as f64),
            bucket_counts,
            explicit_bounds: bounds.clone(),
            attributes: vec![
                text("http.request.method", "GET"),
                text("http.route", format!("/checkout/{}", record % 100)),
                int("http.response.status_code", 200 + (record / 100) as i64),
            ],
            ..Default::default()
        }
    });
    let data = Histogram { data_points: data_points.collect(), aggregation_temporality: 2 };
    let metric = Metric {
        name: "http.server.request.duration".to_owned(),
        unit: "s".to_owned(),
        data: Some(Data::Histogram(data)),
        ..Default::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { resource: resource(n), scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}
