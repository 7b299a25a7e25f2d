//! OTLP over gRPC: a real tonic client for what clients do, and frames by hand for what they should not do.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use shipwake_model::Signal;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::support::{
    RetryInfo, RpcStatus, Server, bomb, count, gzip, logs, logs_bytes, peak_memory, resource, small, stored,
};

pub const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

async fn channel(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    endpoint.connect().await.expect("listening")
}

/// The status that a call with this body ends with.
pub async fn call(server: &Server, path: &str, encoding: Option<&str>, body: Vec<u8>) -> Status {
    let mut request = http::Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(tonic::body::Body::new(Full::new(Bytes::from(body)))).expect("valid");
    let response = channel(server).await.oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = response.into_body().collect().await.expect("a body");
    Status::from_header_map(collected.trailers().expect("trailers")).expect("a status")
}

pub fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn retry_delay(status: &Status) -> Option<Duration> {
    let details = RpcStatus::decode(status.details()).expect("a google.rpc.Status");
    assert_eq!(details.code, i32::from(status.code()));
    let info = details.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).expect("valid").retry_delay.expect("given");
    Some(Duration::new(delay.seconds as u64, delay.nanos as u32))
}

/// What must never be repeated: no status that OTLP calls retryable.
fn check_final(status: &Status, code: Code, word: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(word), "{status:?}");
    assert_eq!(retry_delay(status), None);
}

fn metrics_of(values: &[f64]) -> ExportMetricsServiceRequest {
    let data_points = values
        .iter()
        .map(|value| NumberDataPoint {
            time_unix_nano: 7,
            value: Some(number_data_point::Value::AsDouble(*value)),
            ..NumberDataPoint::default()
        })
        .collect();
    let data = Some(metric::Data::Gauge(Gauge { data_points }));
    let metrics = vec![Metric { name: "queue.depth".to_owned(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let entry = ResourceMetrics { resource: resource("cart"), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![entry] }
}

#[tokio::test]
async fn all_signals_are_appended_and_full_success_says_nothing() {
    let (server, journal) = Server::in_memory().await;
    let channel = channel(&server).await;
    let answer = LogsServiceClient::new(channel.clone()).export(logs(3, 10)).await.expect("accepted");
    assert!(answer.into_inner().partial_success.is_none());
    let answer = MetricsServiceClient::new(channel.clone()).export(metrics_of(&[1.0, 2.0])).await.expect("accepted");
    assert!(answer.into_inner().partial_success.is_none());
    let spans = vec![Span { start_time_unix_nano: 5, end_time_unix_nano: 9, ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let entry = ResourceSpans { resource: resource("cart"), scope_spans, ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![entry] };
    let answer = TraceServiceClient::new(channel.clone()).export(request).await.expect("accepted");
    assert!(answer.into_inner().partial_success.is_none());
    LogsServiceClient::new(channel).export(logs(0, 0)).await.expect("an empty request is a success");

    let records = stored(&journal).await;
    for (signal, expected) in [(Signal::Logs, 3), (Signal::Metrics, 2), (Signal::Traces, 1)] {
        let found: Vec<_> = records.iter().filter(|record| record.header.signal == signal).collect();
        assert_eq!((found.len(), found[0].header.records), (1, expected), "{signal:?}");
    }
    let span = records.iter().find(|record| record.header.signal == Signal::Traces).expect("stored");
    assert_eq!((span.header.time_min_ns, span.header.time_max_ns), (5, 9));
}

#[tokio::test]
async fn rejected_points_are_told_and_the_others_kept() {
    let (server, journal) = Server::in_memory().await;
    let mut client = MetricsServiceClient::new(channel(&server).await);
    let answer = client.export(metrics_of(&[1.0, f64::NAN, 2.0])).await.expect("accepted in part").into_inner();
    let partial = answer.partial_success.expect("told");
    assert_eq!(partial.rejected_data_points, 1);
    assert!(partial.error_message.contains("queue.depth"), "{}", partial.error_message);
    assert_eq!(count(&journal).await, 2);
}

#[tokio::test]
async fn gzip_and_zstd_are_taken_also_when_a_message_of_the_call_is_not_compressed() {
    let (server, journal) = Server::in_memory().await;
    let client = LogsServiceClient::new(channel(&server).await);
    client.send_compressed(CompressionEncoding::Gzip).export(logs(100, 50)).await.expect("accepted");
    let plain = frame(0, &logs_bytes(2, 5));
    assert_eq!(call(&server, LOGS, Some("gzip"), plain.clone()).await.code(), Code::Ok);
    assert_eq!(call(&server, LOGS, Some("identity"), plain).await.code(), Code::Ok);
    assert_eq!(call(&server, LOGS, Some("gzip"), frame(1, &gzip(&logs_bytes(3, 5)))).await.code(), Code::Ok);
    let zstd = zstd::encode_all(&logs_bytes(4, 5)[..], 1).expect("to memory");
    assert_eq!(call(&server, LOGS, Some("zstd"), frame(1, &zstd)).await.code(), Code::Ok);
    assert_eq!(count(&journal).await, 111);
}

#[tokio::test]
async fn a_message_above_tonics_default_limit_is_accepted() {
    let (server, journal) = Server::in_memory().await;
    let request = logs(6000, 1000);
    assert!(request.encoded_len() > 5 << 20);
    LogsServiceClient::new(channel(&server).await).export(request).await.expect("accepted");
    assert_eq!(count(&journal).await, 6000);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_for_good() {
    let (server, _) = Server::in_memory_with(small(1 << 20)).await;
    let body = logs_bytes(2000, 1000);
    check_final(&call(&server, LOGS, None, frame(0, &body)).await, Code::ResourceExhausted, "1048576");
    let status = call(&server, LOGS, Some("gzip"), frame(1, &gzip(&body))).await;
    check_final(&status, Code::ResourceExhausted, "after decompression");
    // Declares 4 GiB and sends nothing.
    let status = call(&server, LOGS, None, [0, 0xff, 0xff, 0xff, 0xff].to_vec()).await;
    check_final(&status, Code::ResourceExhausted, "limit");
}

#[tokio::test]
async fn a_bomb_is_refused_without_being_unpacked() {
    let (server, _) = Server::in_memory_with(small(8 << 20)).await;
    let before = peak_memory();
    let status = call(&server, LOGS, Some("gzip"), frame(1, &bomb(1024))).await;
    check_final(&status, Code::ResourceExhausted, "after decompression");
    assert!(peak_memory() - before < 400 << 20, "grew by {} MiB", (peak_memory() - before) >> 20);
}

#[tokio::test]
async fn broken_messages_are_invalid_arguments() {
    let (server, journal) = Server::in_memory().await;
    let body = logs_bytes(10, 10);
    let packed = gzip(&body);
    let twice = [frame(0, &body), frame(0, &body)].concat();
    let cases: [(&str, Option<&str>, Vec<u8>, &str); 10] = [
        ("cut protobuf", None, frame(0, &body[..body.len() - 2]), "protobuf"),
        ("cut gzip", Some("gzip"), frame(1, &packed[..packed.len() - 9]), "gzip"),
        ("plain bytes marked as gzip", Some("gzip"), frame(1, &body), "gzip"),
        ("compressed without an encoding", None, frame(1, &packed), "grpc-encoding"),
        ("unknown flag", None, frame(7, &body), "flag"),
        ("cut frame", None, frame(0, &body)[..20].to_vec(), "early"),
        ("cut header", None, vec![0, 0], "early"),
        ("no message", None, Vec::new(), "no message"),
        ("two messages", None, twice, "more than one"),
        ("2 GiB length inside", None, frame(0, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]), "protobuf"),
    ];
    for (name, encoding, bytes, word) in cases {
        let status = call(&server, LOGS, encoding, bytes).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status:?}");
        check_final(&status, Code::InvalidArgument, word);
    }
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn what_does_not_exist_is_unimplemented() {
    let (server, _) = Server::in_memory().await;
    let profiles = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    check_final(&call(&server, profiles, None, frame(0, b"")).await, Code::Unimplemented, "does not exist");
    let status = call(&server, LOGS, Some("snappy"), frame(1, b"x")).await;
    check_final(&status, Code::Unimplemented, "snappy");
    assert_eq!(status.metadata().get("grpc-accept-encoding").expect("told"), "identity,gzip,zstd");
    let answer = server.post(LOGS, &[("content-type", "text/plain")], b"x").await;
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn a_refusal_under_pressure_is_unavailable_with_a_hint() {
    let server = Server::start(crate::pressure::impatient(), shipwake_ingest::JournalHandle::opening()).await;
    for _ in 0..5 {
        let status = call(&server, LOGS, None, frame(0, &logs_bytes(1, 1))).await;
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let delay = retry_delay(&status).expect("a hint");
        assert!((Duration::from_secs(1)..=Duration::from_secs(3)).contains(&delay), "{delay:?}");
    }
}
