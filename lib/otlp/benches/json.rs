//! How fast JSON becomes protobuf, in bytes of JSON: the log request of `scan.rs` as an exporter writes it, spans with eight
//! attributes, and histogram points.
//!
//! `cargo bench -p shipwake-otlp --profile release --bench json -- --noplot`

#![allow(missing_docs, reason = "criterion's macros make a public function without one")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use shipwake_otlp::json::{JsonError, Transcoded, transcode_logs, transcode_metrics, transcode_spans};

const RECORDS: u64 = 1024;
const TIME: u64 = 1_795_000_000_000_000_000;
const BODY: &str =
    "payment accepted for order 8815 by \"stripe\" after 2 attempts, amount 129.90 EUR, customer segment returning";

fn attribute(key: &str, value: &Value) -> Value {
    json!({"key": key, "value": value})
}

fn resource() -> Value {
    json!({"attributes": [
        attribute("service.name", &json!({"stringValue": "checkout"})),
        attribute("service.version", &json!({"stringValue": "2.14.0"})),
        attribute("deployment.environment.name", &json!({"stringValue": "production"})),
        attribute("service.instance.id", &json!({"stringValue": "627cc493-f310-47de-96bd-71410b7dec09"})),
    ]})
}

fn attributes(n: u64) -> Value {
    json!([
        attribute("http.request.method", &json!({"stringValue": "POST"})),
        attribute("http.route", &json!({"stringValue": "/checkout/{id}"})),
        attribute("http.response.status_code", &json!({"intValue": "200"})),
        attribute("order.id", &json!({"stringValue": format!("o-{n}")})),
        attribute("amount", &json!({"doubleValue": n as f64 * 1.37})),
    ])
}

fn logs() -> String {
    let record = |n: u64| {
        json!({
            "timeUnixNano": (TIME + n * 1_000_003).to_string(),
            "observedTimeUnixNano": (TIME + n * 1_000_003 + 77).to_string(),
            "severityNumber": 9, "severityText": "INFO", "body": {"stringValue": BODY}, "attributes": attributes(n),
            "droppedAttributesCount": 0, "flags": 1,
            "traceId": format!("{:032x}", u128::from(n) << 64 | 0x5b8e_fff7), "spanId": format!("{n:016x}"),
        })
    };
    let records: Vec<Value> = (0..RECORDS).map(record).collect();
    json!({"resourceLogs": [{"resource": resource(), "scopeLogs": [{"scope": {"name": "app"}, "logRecords": records}]}]})
        .to_string()
}

fn spans() -> String {
    let span = |n: u64| {
        json!({
            "traceId": format!("{:032x}", u128::from(n) << 64 | 0x5b8e_fff7), "spanId": format!("{n:016x}"),
            "parentSpanId": format!("{:016x}", n + 1), "name": "POST /checkout/{id}", "kind": 2,
            "startTimeUnixNano": (TIME + n * 1_000_003).to_string(),
            "endTimeUnixNano": (TIME + n * 1_000_003 + 12_345_678).to_string(),
            "attributes": attributes(n), "droppedAttributesCount": 0, "events": [], "droppedEventsCount": 0,
            "status": {"code": 0}, "links": [], "droppedLinksCount": 0,
        })
    };
    let spans: Vec<Value> = (0..RECORDS).map(span).collect();
    json!({"resourceSpans": [{"resource": resource(), "scopeSpans": [{"scope": {"name": "http"}, "spans": spans}]}]})
        .to_string()
}

fn histograms() -> String {
    let bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let point = |n: u64| {
        json!({
            "startTimeUnixNano": TIME.to_string(), "timeUnixNano": (TIME + n).to_string(), "attributes": attributes(n),
            "count": "120", "sum": 17.25 + n as f64, "bucketCounts": vec!["8"; 15], "explicitBounds": bounds,
            "min": 0.001, "max": 9.5,
        })
    };
    let points: Vec<Value> = (0..RECORDS).map(point).collect();
    let metric = json!({
        "name": "http.server.request.duration", "unit": "s",
        "histogram": {"aggregationTemporality": 2, "dataPoints": points},
    });
    json!({"resourceMetrics": [{"resource": resource(), "scopeMetrics": [{"metrics": [metric]}]}]}).to_string()
}

type Transcode = fn(&[u8], usize) -> Result<Transcoded, JsonError>;

fn json_to_protobuf(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(20);
    let cases: [(&str, String, Transcode); 3] = [
        ("logs", logs(), transcode_logs),
        ("spans", spans(), transcode_spans),
        ("histograms", histograms(), transcode_metrics),
    ];
    for (name, text, transcode) in cases {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| transcode(black_box(text.as_bytes()), text.len()).expect("valid").request.len());
        });
    }
    group.finish();
}

criterion_group!(benches, json_to_protobuf);
criterion_main!(benches);
