//! A real OpenTelemetry Collector between the SDKs and Shipwake: it passes on what it is given over gRPC and over HTTP, and
//! Shipwake counts as if it were not there. What the Collector's queue repeats after an outage is counted once, too.

use std::path::Path;

use tokio::process::Command;

use crate::client::{Language, Protocol, Running, Way};
use crate::dose::{assert_arrived, assert_conservation};
use crate::harness::{self, Shipwake, free_ports};
use crate::install;
use crate::retries::ports_for_later;

/// A Collector that was started, and the address it listens on for OTLP over gRPC.
struct Collector {
    _running: Running,
    grpc: String,
}

/// Takes OTLP over gRPC and passes it on by `exporter` to `endpoint`.
async fn start(folder: &Path, exporter: &str, endpoint: &str) -> Collector {
    let [port, ..] = free_ports();
    // One consumer: several send the batches that they hold in any order, and a running total that comes before an older one
    // is one increase where two were expected. Sums would be right all the same.
    let config = format!(
        "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}
exporters:
  {exporter}: {{endpoint: '{endpoint}', tls: {{insecure: true}}, sending_queue: {{num_consumers: 1}}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [{exporter}]}}
    metrics: {{receivers: [otlp], exporters: [{exporter}]}}
    logs: {{receivers: [otlp], exporters: [{exporter}]}}
"
    );
    let path = folder.join("collector.yaml");
    std::fs::write(&path, config).expect("a folder for the test");
    let mut command = Command::new(install::collector());
    command.arg("--config").arg(&path);
    let running = Running::new(command, format!("the Collector with {exporter}"));
    harness::eventually("the Collector listens", || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    Collector { _running: running, grpc: format!("http://127.0.0.1:{port}") }
}

async fn check(exporter: &str, endpoint: impl Fn(&Shipwake) -> String) {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = harness::start(&folder.path().join("data")).await;
    let collector = start(folder.path(), exporter, &endpoint(&shipwake)).await;
    let ways = [false, true].map(|delta| Way { protocol: Protocol::Grpc, delta, gzip: delta });
    for language in [Language::Python, Language::Go] {
        for way in ways {
            language.start(way, &collector.grpc).finish().await;
        }
    }
    for language in [Language::Python, Language::Go] {
        for way in ways {
            assert_arrived(&shipwake, language.name(), &way.to_string(), way.delta).await;
        }
    }
    assert_resources_kept(&shipwake).await;
    assert_conservation(&shipwake, [0, 0, 0]).await;
}

/// Attributes of the resource that the SDK and the operator set, on every signal.
async fn assert_resources_kept(shipwake: &Shipwake) {
    for table in ["logs", "spans", "points"] {
        let kept = format!(
            "select count(distinct service) from {table} where resource['team'] = 'tests'
             and resource['deployment.environment.name'] = 'test' and resource['telemetry.sdk.language'] in ('python', 'go')
             and resource['service.version'] = version and resource['service.name'] = service"
        );
        assert_eq!(shipwake.number(&kept).await, 2, "{table}");
        let changed = format!("select count(*) from {table} where resource['team'] is null");
        assert_eq!(shipwake.number(&changed).await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_through_a_collector_over_grpc_arrives_once() {
    check("otlp", |shipwake| shipwake.grpc().replace("http://", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_through_a_collector_over_http_arrives_once() {
    check("otlphttp", Shipwake::http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_holds_while_shipwake_is_away_arrives_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let ports = ports_for_later();
    let collector = start(folder.path(), "otlphttp", &format!("http://127.0.0.1:{}", ports[1])).await;
    let way = Way::plain(Protocol::Grpc);
    // The Collector answers the client at once, and keeps the dose.
    Language::Go.start(way, &collector.grpc).finish().await;
    let shipwake = harness::spawn(&harness::Start { data: &data, options: &[], ports: Some(ports) });
    shipwake.wait_ready().await;
    assert_arrived(&shipwake, "go", &way.to_string(), false).await;
    assert_conservation(&shipwake, [0, 0, 0]).await;
}
