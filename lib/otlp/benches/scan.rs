//! How long a record takes: the scan into columns, with and without a hash of the attributes, beside prost's decode.
//!
//! One iteration is one record, so that what criterion prints is nanoseconds per record. The log request is that of the
//! budget in the design: 1024 records of 303 bytes, each with a body of 103 bytes, five attributes and a trace id. The
//! columns are vectors that are reused: times, numbers, and offset and length for everything that is text.
//!
//! `cargo bench -p shipwake-otlp --profile release --bench scan -- --noplot`

#![allow(missing_docs, reason = "criterion's macros make a public function without one")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use shipwake_otlp::write::{
    LogLine, Value, put_attributes, put_double_field, put_fixed64_field, put_len_field, put_log_record, put_message,
    put_resource_logs, put_varint_field,
};
use shipwake_otlp::{
    AnyValue, KeyValues, LogRecord, LogSink, Metric, MetricSink, Point, Resource, Scope, Span, SpanSink, scan_logs,
    scan_metrics, scan_spans,
};

const RECORDS: u64 = 1024;
const TIME: u64 = 1_795_000_000_000_000_000;
const LOG_RECORD_BYTES: usize = 303;

const RESOURCE: [(&str, Value<'static>); 4] = [
    ("service.name", Value::String(b"checkout")),
    ("service.version", Value::String(b"2.14.0")),
    ("deployment.environment.name", Value::String(b"production")),
    ("service.instance.id", Value::String(b"627cc493-f310-47de-96bd-71410b7dec09")),
];

/// Where text is in the request.
type Piece = (u32, u32);

/// Columns of one signal, filled from the start again for every request.
#[derive(Default)]
struct Columns {
    base: usize,
    hashing: bool,
    resources: Vec<Piece>,
    times: Vec<u64>,
    end_times: Vec<u64>,
    numbers: Vec<f64>,
    codes: Vec<i32>,
    texts: Vec<Piece>,
    ids: Vec<Piece>,
    attribute_counts: Vec<u32>,
    attribute_keys: Vec<Piece>,
    attribute_values: Vec<Piece>,
    attribute_numbers: Vec<i64>,
    hashes: Vec<u64>,
}

impl Columns {
    fn clear(&mut self, request: &[u8]) {
        self.base = request.as_ptr() as usize;
        self.resources.clear();
        self.times.clear();
        self.end_times.clear();
        self.numbers.clear();
        self.codes.clear();
        self.texts.clear();
        self.ids.clear();
        self.attribute_counts.clear();
        self.attribute_keys.clear();
        self.attribute_values.clear();
        self.attribute_numbers.clear();
        self.hashes.clear();
    }

    fn piece(&self, text: &[u8]) -> Piece {
        ((text.as_ptr() as usize).wrapping_sub(self.base) as u32, text.len() as u32)
    }

    fn push_resource(&mut self, resource: &Resource<'_>) {
        for attribute in resource.attributes {
            self.resources.push(self.piece(attribute.value.as_bytes().unwrap_or_default()));
        }
    }

    fn push_attributes(&mut self, attributes: KeyValues<'_>) {
        let mut count = 0;
        for attribute in attributes {
            count += 1;
            self.attribute_keys.push(self.piece(attribute.key));
            match attribute.value {
                AnyValue::String(text) => self.attribute_values.push(self.piece(text)),
                AnyValue::Int(value) => self.attribute_numbers.push(value),
                _ => self.attribute_values.push((0, 0)),
            }
        }
        self.attribute_counts.push(count);
        if self.hashing {
            self.hashes.push(attributes.hash(1));
        }
    }
}

impl<'a> LogSink<'a> for Columns {
    fn resource(&mut self, resource: &Resource<'a>) {
        self.push_resource(resource);
    }
    fn scope(&mut self, _: &Scope<'a>) {}
    fn log(&mut self, record: &LogRecord<'a>) {
        self.times.push(record.time_unix_nano);
        self.end_times.push(record.observed_time_unix_nano);
        self.codes.push(record.severity_number);
        self.texts.push(self.piece(record.severity_text));
        self.texts.push(self.piece(record.body.as_bytes().unwrap_or_default()));
        self.ids.push(self.piece(record.trace_id));
        self.ids.push(self.piece(record.span_id));
        self.push_attributes(record.attributes);
    }
}

impl<'a> SpanSink<'a> for Columns {
    fn resource(&mut self, resource: &Resource<'a>) {
        self.push_resource(resource);
    }
    fn scope(&mut self, _: &Scope<'a>) {}
    fn span(&mut self, span: &Span<'a>) {
        self.times.push(span.start_time_unix_nano);
        self.end_times.push(span.end_time_unix_nano);
        self.codes.push(span.kind);
        self.codes.push(span.status_code);
        self.texts.push(self.piece(span.name));
        self.ids.push(self.piece(span.trace_id));
        self.ids.push(self.piece(span.span_id));
        self.ids.push(self.piece(span.parent_span_id));
        self.push_attributes(span.attributes);
    }
}

impl<'a> MetricSink<'a> for Columns {
    fn resource(&mut self, resource: &Resource<'a>) {
        self.push_resource(resource);
    }
    fn scope(&mut self, _: &Scope<'a>) {}
    fn metric(&mut self, metric: &Metric<'a>) {
        self.texts.push(self.piece(metric.name));
    }
    fn point(&mut self, _: &Metric<'a>, point: &Point<'a>) {
        self.times.push(point.time_unix_nano());
        match point {
            Point::Number(point) => self.numbers.push(point.value.map_or(f64::NAN, |value| value.as_f64())),
            Point::Histogram(point) => {
                self.numbers.push(point.sum.unwrap_or(f64::NAN));
                self.end_times.extend(point.bucket_counts);
            }
            _ => {}
        }
        self.push_attributes(point.attributes());
    }
}

/// The request of the budget.
fn logs() -> Vec<u8> {
    let record = LogLine {
        time_unix_nano: TIME,
        observed_time_unix_nano: TIME,
        severity_number: 9,
        severity_text: b"INFO",
        body: Value::String(&[b'x'; 103]),
        attributes: &[
            ("http.request.method", Value::String(b"GET")),
            ("http.route", Value::String(b"/api/items/{id}")),
            ("http.response.status_code", Value::Int(200)),
            ("thread", Value::String(b"http-nio-8080-1")),
            ("user", Value::String(b"customer-17")),
        ],
        flags: 0,
        trace_id: &[7; 16],
        span_id: b"",
        event_name: b"",
    };
    let mut one = Vec::new();
    put_log_record(&mut one, &record);
    assert_eq!(one.len(), LOG_RECORD_BYTES);
    let mut out = Vec::new();
    put_resource_logs(&mut out, &RESOURCE, "bench", |out| (0..RECORDS).for_each(|_| put_log_record(out, &record)));
    out
}

/// A request of another signal: resource, scope, and `items` times field 2 of the scope.
fn request(items: u64, write_item: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| put_attributes(out, 1, &RESOURCE));
        put_message(out, 2, |out| (0..items).for_each(|_| put_message(out, 2, &write_item)));
    });
    out
}

/// A server span as the JavaScript and Java instrumentations write it: eight attributes.
fn spans() -> Vec<u8> {
    request(RECORDS, |out| {
        put_len_field(out, 1, &[7; 16]);
        put_len_field(out, 2, &[8; 8]);
        put_len_field(out, 5, b"GET /api/items/{id}");
        put_varint_field(out, 6, 2);
        put_fixed64_field(out, 7, TIME);
        put_fixed64_field(out, 8, TIME + 1_000_000);
        let attributes = [
            ("http.request.method", Value::String(b"GET")),
            ("http.route", Value::String(b"/api/items/{id}")),
            ("http.response.status_code", Value::Int(200)),
            ("url.path", Value::String(b"/api/items/1234")),
            ("url.scheme", Value::String(b"http")),
            ("server.address", Value::String(b"shop.internal")),
            ("server.port", Value::Int(8080)),
            ("user_agent.original", Value::String(b"Mozilla/5.0 (X11; Linux x86_64)")),
        ];
        put_attributes(out, 9, &attributes);
        put_message(out, 15, |_| {});
    })
}

/// Duration histograms with the 14 bounds that every SDK uses, and as many sums; sixteen points a metric.
fn metrics() -> Vec<u8> {
    const POINTS: u64 = 16;
    let attributes = [
        ("http.request.method", Value::String(b"GET")),
        ("http.route", Value::String(b"/api/items/{id}")),
        ("http.response.status_code", Value::Int(200)),
    ];
    request(RECORDS / POINTS / 2, |out| {
        put_len_field(out, 1, b"http.server.request.duration");
        put_len_field(out, 3, b"s");
        put_message(out, 9, |out| {
            (0..POINTS).for_each(|_| {
                put_message(out, 1, |out| {
                    put_fixed64_field(out, 2, TIME);
                    put_fixed64_field(out, 3, TIME);
                    put_fixed64_field(out, 4, 1);
                    put_double_field(out, 5, 0.5);
                    put_len_field(out, 6, &[1; 15 * 8]);
                    put_len_field(out, 7, &[1; 14 * 8]);
                    put_attributes(out, 9, &attributes);
                });
            });
            put_varint_field(out, 2, 2);
        });
    })
    .into_iter()
    .chain(request(RECORDS / POINTS / 2, |out| {
        put_len_field(out, 1, b"orders");
        put_message(out, 7, |out| {
            (0..POINTS).for_each(|_| {
                put_message(out, 1, |out| {
                    put_fixed64_field(out, 2, TIME);
                    put_fixed64_field(out, 3, TIME);
                    put_fixed64_field(out, 6, 17);
                    put_attributes(out, 7, &attributes);
                });
            });
            put_varint_field(out, 2, 2);
        });
    }))
    .collect()
}

/// Measures a function that handles `RECORDS` records, with one iteration for each record.
fn per_record(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut run: impl FnMut()) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|records| {
            let rounds = records.div_ceil(RECORDS);
            let start = Instant::now();
            (0..rounds).for_each(|_| run());
            let per_record = start.elapsed().as_secs_f64() / (rounds * RECORDS) as f64;
            Duration::from_secs_f64(per_record * records as f64)
        });
    });
}

fn bench_logs(criterion: &mut Criterion) {
    let request = logs();
    let mut group = criterion.benchmark_group("logs");
    for (name, hashing) in [("scan_into_columns", false), ("scan_into_columns_and_hash", true)] {
        let mut columns = Columns { hashing, ..Columns::default() };
        per_record(&mut group, name, || {
            columns.clear(&request);
            scan_logs(black_box(&request), &mut columns).expect("the request is well formed");
            assert_eq!(black_box(&columns).times.len() as u64, RECORDS);
        });
    }
    per_record(&mut group, "prost_decode", || {
        drop(black_box(ExportLogsServiceRequest::decode(black_box(&request[..]))));
    });
    group.finish();
}

fn bench_spans(criterion: &mut Criterion) {
    let request = spans();
    let mut group = criterion.benchmark_group("spans");
    let mut columns = Columns::default();
    per_record(&mut group, "scan_into_columns", || {
        columns.clear(&request);
        scan_spans(black_box(&request), &mut columns).expect("the request is well formed");
        assert_eq!(black_box(&columns).times.len() as u64, RECORDS);
    });
    per_record(&mut group, "prost_decode", || {
        drop(black_box(ExportTraceServiceRequest::decode(black_box(&request[..]))));
    });
    group.finish();
}

fn bench_metrics(criterion: &mut Criterion) {
    let request = metrics();
    let mut group = criterion.benchmark_group("metrics");
    let mut columns = Columns::default();
    per_record(&mut group, "scan_into_columns", || {
        columns.clear(&request);
        scan_metrics(black_box(&request), &mut columns).expect("the request is well formed");
        assert_eq!(black_box(&columns).times.len() as u64, RECORDS);
    });
    per_record(&mut group, "prost_decode", || {
        drop(black_box(ExportMetricsServiceRequest::decode(black_box(&request[..]))));
    });
    group.finish();
}

criterion_group!(benches, bench_logs, bench_spans, bench_metrics);
criterion_main!(benches);
