//! A real OpenTelemetry Collector that writes to Kafka, as it does by default, and Shipwake that reads its topics: every
//! record is counted once, though Shipwake is killed while it reads.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::broker::Kafka;
use crate::harness::{Shipwake, Start, eventually, free_ports, spawn};
use crate::install;
use crate::otlp::{counter, logs, now_ns, post_bytes, resource, spans};

use prost::Message;

const MS: u64 = 1_000_000;

/// A Collector that was started, and where it takes OTLP over HTTP.
struct Collector {
    child: Child,
    http: String,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes OTLP and writes it to Kafka. Nothing is said about topics, encoding, keys or acknowledgements: they are its own.
async fn start(folder: &Path, brokers: &str) -> Collector {
    let [port, ..] = free_ports();
    let config = format!(
        "receivers:
  otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}
exporters:
  kafka: {{brokers: ['{brokers}'], sending_queue: {{num_consumers: 1}}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [kafka]}}
    metrics: {{receivers: [otlp], exporters: [kafka]}}
    logs: {{receivers: [otlp], exporters: [kafka]}}
"
    );
    let path = folder.join("collector.yaml");
    std::fs::write(&path, config).expect("a folder for the test");
    let mut command = Command::new(install::collector());
    command.arg("--config").arg(&path).stdin(Stdio::null());
    let child = command.spawn().expect("it was installed");
    eventually(
        "the Collector listens",
        || async move { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok() },
    )
    .await;
    Collector { child, http: format!("http://127.0.0.1:{port}") }
}

/// The Collector takes it. It says so with an empty `partial_success`, where Shipwake says nothing.
async fn post(collector: &Collector, signal: &str, request: &impl Message) {
    let (status, _, body) = post_bytes(&format!("{}/v1/{signal}", collector.http), request.encode_to_vec()).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

/// What one round sends: 20 requests of 10 lines, 10 of 3 spans, 10 points of a running total.
async fn send(collector: &Collector, round: u64, started: u64) {
    for request in 0..20 {
        let bodies: Vec<String> = (0..10).map(|line| format!("round {round} request {request} line {line}")).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        post(collector, "logs", &logs(resource("pay", "1", &format!("i{}", request % 3)), &bodies)).await;
    }
    for request in 0..10 {
        let now = now_ns();
        let requests: Vec<_> = (0..3).map(|n| (now - (n + 1 + 10 * request) * MS, MS, 200)).collect();
        post(collector, "traces", &spans(resource("pay", "1", "i0"), &requests)).await;
        let total = (10 * round + request + 1) as i64;
        post(collector, "metrics", &counter(resource("pay", "1", "i0"), "orders", started, now, total)).await;
    }
}

async fn assert_all(shipwake: &Shipwake, rounds: i64) {
    shipwake.wait_number("select count(*) from logs where service = 'pay'", 200 * rounds).await;
    shipwake.wait_number("select count(*) from spans where service = 'pay'", 30 * rounds).await;
    shipwake.wait_number("select count(*) from points where service = 'pay'", 10 * rounds).await;
    assert_eq!(shipwake.number("select count(distinct body) from logs where service = 'pay'").await, 200 * rounds);
    let orders = "select cast(sum(sum) as bigint) from windows where metric = 'orders' and resolution_s = 60";
    assert_eq!(shipwake.number(orders).await, 10 * rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_has_written_to_kafka_is_counted_once() {
    let kafka = Kafka::one();
    let folder = tempfile::tempdir().expect("a folder");
    let collector = start(folder.path(), &kafka.bootstrap()).await;
    let data = folder.path().join("data");
    let topics = format!("kafka://{}/otlp_logs,otlp_metrics,otlp_spans", kafka.bootstrap());
    let start = Start { data: &data, options: &["--kafka-topics", &topics, "--commit-seconds", "1"], ports: None };
    let shipwake = spawn(&start);
    eventually("the topics that are missing are named", || async {
        let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.ok()?;
        answer.text().await.ok()?.contains("the topic otlp_logs does not exist").then_some(())
    })
    .await;
    // One partition for running totals: the Collector deals batches out as it likes.
    for (topic, partitions) in [("otlp_logs", 3), ("otlp_metrics", 1), ("otlp_spans", 2)] {
        kafka.create_topic(topic, partitions, &[]);
    }
    shipwake.wait_ready().await;
    let started = now_ns() - 60_000 * MS;
    send(&collector, 0, started).await;
    assert_all(&shipwake, 1).await;
    // What nobody can read is said and passed.
    kafka.produce("otlp_logs", "this is no export request\n");
    let mut shipwake = shipwake;
    for round in 1..4 {
        send(&collector, round, started).await;
        // Somewhere between reading and writing down how far.
        shipwake.kill();
        shipwake = spawn(&start);
        shipwake.wait_ready().await;
    }
    assert_all(&shipwake, 4).await;
    let pipeline = eventually("the message that cannot be read is shown", || async {
        let metric = shipwake.metric("shipwake_requests_refused_total", "broken_protobuf").await;
        let pipeline = shipwake.api("/api/v1/pipeline").await.to_string();
        (metric > 0.0 || pipeline.contains("broken_protobuf")).then_some(pipeline)
    });
    // It may have been met by a process that is gone.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), pipeline).await;

    // The topics go on where they were after a clean stop, too.
    let (status, _) = tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined");
    assert!(status.success(), "{status}");
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    send(&collector, 4, started).await;
    assert_all(&shipwake, 5).await;
}
