//! What a request costs ingest itself: router, admission, body, scan, tag, split, hash, answer. The journal is a no-op, the
//! socket is left out. A request holds 1000 log records of about 300 bytes, as a busy SDK sends them.
//!
//! Run with `cargo bench -p shipwake-ingest`.

// Criterion's macro makes a public function that cannot be documented.
#![allow(missing_docs)]

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus_client::registry::Registry;
use prost::Message;
use shipwake_ingest::{Ingest, IngestConfig};
use shipwake_journal::{Journal, JournalError, Position, Record, Stored};
use tower::ServiceExt;

/// Takes everything and keeps nothing.
struct Nowhere;

#[async_trait]
impl Journal for Nowhere {
    fn partitions(&self) -> u32 {
        2
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<Position>, JournalError> {
        Ok(records.iter().map(|record| Position { partition: record.partition, offset: 0 }).collect())
    }

    async fn read(&self, _: u32, _: u64, _: usize) -> Result<Vec<Arc<Stored>>, JournalError> {
        Err(JournalError::Closed)
    }

    fn end(&self, _: u32) -> u64 {
        0
    }

    async fn truncate_before(&self, _: u32, _: u64) -> Result<(), JournalError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }

    fn record_bytes_max(&self) -> usize {
        1 << 30
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// 1000 records of one resource; without an instance the resource has to be tagged.
fn request(instance: bool) -> Vec<u8> {
    let mut attributes = vec![
        attribute("service.name", "checkout"),
        attribute("service.version", "2.14.0"),
        attribute("deployment.environment.name", "production"),
        attribute("telemetry.sdk.language", "java"),
    ];
    if instance {
        attributes.push(attribute("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"));
    }
    let record = |n: u64| LogRecord {
        time_unix_nano: 1_795_428_000_000_000_000 + n,
        observed_time_unix_nano: 1_795_428_000_000_001_000 + n,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(format!("order {n} accepted for user u-{} in 12 ms", n % 97))),
        }),
        attributes: vec![
            attribute("http.route", "/api/checkout/{id}"),
            attribute("http.request.method", "POST"),
            attribute("code.namespace", "com.example.checkout.OrderService"),
            attribute("thread.name", "http-nio-8080-exec-7"),
        ],
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: (0..1000).map(record).collect(), ..ScopeLogs::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let entry = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec()
}

fn requests(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let journal: Arc<dyn Journal> = Arc::new(Nowhere);
    let ingest = Ingest::new(IngestConfig::default(), journal, &mut Registry::default()).expect("valid");
    let router = ingest.senders_router();
    let (canonical, untagged) = (request(true), request(false));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&canonical).expect("to memory");
    let packed = encoder.finish().expect("to memory");
    let lines =
        "{\"time\":\"2026-11-23T10:00:00.123Z\",\"level\":\"info\",\"msg\":\"order accepted\",\"user\":\"u-17\",\
        \"route\":\"/api/checkout/{id}\",\"ms\":12.5}\n"
            .repeat(1000)
            .into_bytes();

    let cases = [
        ("canonical", "/v1/logs", "identity", &canonical, canonical.len()),
        ("tagged", "/v1/logs", "identity", &untagged, untagged.len()),
        ("gzip", "/v1/logs", "gzip", &packed, canonical.len()),
        ("json lines", "/v1/lines?service=web", "identity", &lines, lines.len()),
    ];
    let mut group = criterion.benchmark_group("request of 1000 records");
    for (name, path, encoding, body, bytes) in cases {
        let body = Bytes::from(body.clone());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = Request::post(path)
                    .header("content-type", "application/x-protobuf")
                    .header("content-encoding", encoding)
                    .header("content-length", body.len())
                    .body(Body::from(body.clone()))
                    .expect("valid");
                let answer = runtime.block_on(router.clone().oneshot(request)).expect("infallible");
                assert!(answer.status().is_success());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
