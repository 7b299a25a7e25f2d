//! Every record is accounted for: what was counted as received is in the journal or counted as rejected, whatever the
//! journal and the clients do.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use prost::Message;
use shipwake_ingest::IngestConfig;
use shipwake_journal::MemoryJournal;
use shipwake_journal::memory::FaultPlan;
use tokio::io::AsyncWriteExt;

use crate::support::{Server, count, logs_bytes, post, resource, shared};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Points of which every fifth is not a number.
fn metrics(points: usize) -> Vec<u8> {
    let point = |n: usize| NumberDataPoint {
        time_unix_nano: 1 + n as u64,
        value: Some(number_data_point::Value::AsDouble(if n.is_multiple_of(5) { f64::NAN } else { n as f64 })),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: (0..points).map(point).collect(), aggregation_temporality: 2, is_monotonic: true };
    let metrics = vec![Metric { name: "n".to_owned(), data: Some(metric::Data::Sum(sum)), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let entry = ResourceMetrics { resource: resource("s"), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![entry] }.encode_to_vec()
}

#[tokio::test]
async fn received_is_stored_or_rejected_whatever_happens() {
    for seed in 0..5 {
        // Answers are not lost here: a record that is kept although it was refused is counted by whoever reads it.
        let plan = FaultPlan { refuse: 0.2, full: 0.1, lose_answer: 0.0, ..FaultPlan::seeded(seed) };
        let journal = MemoryJournal::with_faults(2, plan);
        let mut server = Server::start(IngestConfig::default(), shared(&journal)).await;
        let mut accepted = 0;
        for n in 1..40usize {
            let answer = server.export("/v1/logs", &logs_bytes(n, 3)).await;
            accepted += if answer.status == 200 { n } else { 0 };
            let answer = server.export("/v1/metrics", &metrics(n)).await;
            accepted += if answer.status == 200 { n - n.div_ceil(5) } else { 0 };
            let answer = server.post("/v1/lines?service=x", &[], b"{\"a\":1}\n{\"a\n\nraw").await;
            accepted += if answer.status == 200 { 2 } else { 0 };
            assert_eq!(server.export("/v1/traces", b"broken").await.status, 400);
            // A client that does not wait for its answer.
            let mut gone = server.connect().await;
            gone.write_all(&post("/v1/logs", &[PROTOBUF], &logs_bytes(2, 3))).await.expect("open");
        }
        server.stop().await;
        let received = server.metric("shipwake_records_received_total");
        let rejected = server.metric("shipwake_records_rejected_total");
        let kept = count(&journal).await;
        assert_eq!(received, kept + rejected, "seed {seed}");
        assert!(rejected > 0 && kept >= accepted as u64, "seed {seed}: {kept} kept, {accepted} accepted");
        let status = server.ingest.status();
        assert_eq!(status.signals.iter().map(|signal| signal.received).sum::<u64>(), received);
        assert_eq!(status.signals.iter().map(|signal| signal.rejected).sum::<u64>(), rejected);
    }
}
