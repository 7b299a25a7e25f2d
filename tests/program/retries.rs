//! A request that comes again counts once, whatever it holds: records without any time, points that become something else
//! because more is known about them by now.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message;
use serde_json::json;

use crate::harness::{Shipwake, eventually, start};
use crate::otlp::{logs, now_ns, post_bytes, resource};
use crate::senders::{assert_conserved, post_json};

/// Waits until the clock of the server surely gives other times.
async fn a_second_later() {
    let began = Instant::now();
    eventually("a second has passed", || async { (began.elapsed() > Duration::from_secs(1)).then_some(()) }).await;
}

#[tokio::test]
async fn records_without_any_time_count_once_when_they_are_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let mut timeless = logs(resource("timeless", "1", "a"), &["one", "two"]);
    for record in &mut timeless.resource_logs[0].scope_logs[0].log_records {
        (record.time_unix_nano, record.observed_time_unix_nano) = (0, 0);
    }
    // The instance is guessed from the address: what the server adds tells nothing about a repetition.
    timeless.resource_logs[0]
        .resource
        .as_mut()
        .expect("given")
        .attributes
        .retain(|one| one.key != "service.instance.id");
    let mut by_grpc = timeless.clone();
    by_grpc.resource_logs[0].scope_logs[0].log_records[0].severity_number = 13;
    let point = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "sold", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{"asInt": "3"}]}}]}]}]});

    let url = format!("{}/v1/logs", shipwake.http());
    let mut grpc = LogsServiceClient::connect(shipwake.grpc()).await.expect("connects");
    for attempt in 0..2 {
        if attempt > 0 {
            a_second_later().await;
        }
        assert_eq!(post_bytes(&url, timeless.encode_to_vec()).await.0, 200);
        grpc.export(by_grpc.clone()).await.expect("taken");
        assert_eq!(post_json(&shipwake, "metrics", &point.to_string()).await, (200, json!({})));
    }
    assert_conserved(&shipwake).await;
    assert_eq!(shipwake.metric("shipwake_records_deduplicated_total", "").await, 5.0);
    assert_eq!(shipwake.number("select count(*) from logs where service = 'timeless'").await, 4);
    let sold = "select cast(sum(sum) as bigint) from windows where metric = 'sold' and resolution_s = 60";
    assert_eq!(shipwake.number(sold).await, 3);

    // Who means two events says so.
    let client = reqwest::Client::new();
    for key in ["a", "b"] {
        let request = client.post(&url).header("content-type", "application/x-protobuf").header("idempotency-key", key);
        assert_eq!(request.body(timeless.encode_to_vec()).send().await.expect("an answer").status(), 200);
    }
    shipwake.wait_number("select count(*) from logs where service = 'timeless'", 8).await;
}

/// The messages of remote-write 1.0, written down from their definition.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "5")]
    unit: String,
}

async fn write(shipwake: &Shipwake, request: &WriteRequest) {
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("to memory");
    let request = reqwest::Client::new().post(format!("{}/api/v1/write", shipwake.http()));
    let request = request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_write_that_comes_again_after_its_metadata_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now_ms = (now_ns() / 1_000_000) as i64;
    let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
    let series = |at_ms: i64| TimeSeries {
        labels: vec![label("__name__", "hits"), label("job", "shop"), label("service_version", "1")],
        samples: vec![Sample { value: 4.0, timestamp: at_ms }],
    };
    let samples = |at_ms: i64| WriteRequest { timeseries: vec![series(at_ms)], metadata: Vec::new() };
    let metadata = MetricMetadata { kind: 1, family: "hits".to_owned(), unit: "requests".to_owned() };
    write(&shipwake, &samples(now_ms - 2)).await;
    write(&shipwake, &WriteRequest { timeseries: Vec::new(), metadata: vec![metadata] }).await;
    // Now it is known for a counter, and the same bytes would become another point.
    write(&shipwake, &samples(now_ms - 2)).await;
    write(&shipwake, &samples(now_ms - 1)).await;
    shipwake.wait_number("select count(*) from points where metric = 'hits'", 2).await;
    assert_conserved(&shipwake).await;
    assert_eq!(shipwake.metric("shipwake_records_deduplicated_total", "").await, 1.0);
    let kinds = "select kind, unit from points where metric = 'hits' order by time";
    assert_eq!(json!(shipwake.sql(kinds).await), json!([["gauge", ""], ["sum", "requests"]]));
}
