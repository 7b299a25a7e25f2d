//! Bad input gets a clear answer and loses nothing else.

use std::io::Write;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, NumberDataPoint, number_data_point};
use prost::Message;
use serde_json::json;

use crate::harness::{Shipwake, eventually, start, start_with};
use crate::otlp::{logs, metric, now_ns, post, post_bytes, resource, spans};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// `google.rpc.Status`, as every refused OTLP request carries it.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Still takes and shows a good request.
async fn assert_alive(shipwake: &Shipwake) {
    post(&shipwake.http(), "logs", &logs(resource("alive", "1", "a"), &["still here"])).await;
    shipwake.wait_number("select least(count(*), 1) from logs where service = 'alive'", 1).await;
}

#[tokio::test]
async fn broken_requests_are_refused_with_a_status_that_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start_with(&folder.path().join("data"), &["--request-bytes", "1048576"]).await;
    let url = format!("{}/v1/logs", shipwake.http());
    let mut broken = logs(resource("a", "1", "a"), &["x"]).encode_to_vec();
    broken.truncate(broken.len() - 3);
    for (what, bytes, expected) in [("cut short", broken, 400), ("over the limit", vec![0u8; 2 << 20], 413)] {
        let (status, kind, body) = post_bytes(&url, bytes).await;
        assert_eq!(status, expected, "{what}");
        assert_eq!(kind, "application/x-protobuf", "{what}");
        let said = Status::decode(body.as_slice()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(!said.message.is_empty(), "{what}: {said:?}");
    }
    let client = reqwest::Client::new();
    let answer = client.post(&url).header("content-type", "text/plain").body("x").send().await.expect("an answer");
    assert_eq!(answer.status(), 415);
    assert_alive(&shipwake).await;
    assert_eq!(shipwake.number("select count(*) from logs where service <> 'alive'").await, 0);
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_and_costs_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    assert_alive(&shipwake).await;
    let before = status_bytes(&shipwake, "VmRSS");
    let bomb = gzip_of_zeros(1 << 30);
    let client = reqwest::Client::new();
    for _ in 0..4 {
        let request = client.post(format!("{}/v1/traces", shipwake.http()));
        let request = request.header("content-type", "application/x-protobuf").header("content-encoding", "gzip");
        let answer = request.body(bomb.clone()).send().await.expect("an answer");
        assert_eq!(answer.status(), 413);
    }
    // A request may hold 64 MiB, and a growing buffer twice that for a moment; a gibibyte it never is.
    let peak = status_bytes(&shipwake, "VmHWM");
    assert!(peak < before + (5 << 26), "{before} bytes before, {peak} at the most");
    eventually("the memory is given back", || async {
        assert_alive(&shipwake).await;
        (status_bytes(&shipwake, "VmRSS") < before + (1 << 27)).then_some(())
    })
    .await;
    assert_alive(&shipwake).await;
}

fn gzip_of_zeros(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0u8; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&block).expect("memory");
    }
    encoder.finish().expect("memory")
}

/// A line of the kernel's account of the process's memory.
fn status_bytes(shipwake: &Shipwake, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", shipwake.pid())).expect("it runs");
    let line = text.lines().find(|line| line.starts_with(name)).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}

#[tokio::test]
async fn a_bad_point_is_rejected_with_its_reason_and_the_others_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns();
    let point = |value: f64, at: u64| NumberDataPoint {
        start_time_unix_nano: now - 60 * S,
        time_unix_nano: now - at * S,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    };
    let points = vec![point(2.0, 3), point(f64::NAN, 2), point(3.0, 1)];
    let request = metric(resource("m", "1", "a"), "sales", points, AggregationTemporality::Delta);
    let (status, _, body) = post_bytes(&format!("{}/v1/metrics", shipwake.http()), request.encode_to_vec()).await;
    assert_eq!(status, 200);
    let answer = ExportMetricsServiceResponse::decode(body.as_slice()).expect("an answer");
    let partial = answer.partial_success.expect("says what was rejected");
    assert_eq!(partial.rejected_data_points, 1);
    assert!(partial.error_message.contains("NaN") && partial.error_message.contains("sales"), "{partial:?}");
    let sum = "select cast(sum(sum) as bigint) from windows where metric = 'sales' and resolution_s = 60";
    shipwake.wait_number(sum, 5).await;
    eventually("the reason is on the pipeline page", || async {
        let pipeline = shipwake.api("/api/v1/pipeline").await;
        let rejected = pipeline["rejected"].as_array()?.iter().find(|rejected| rejected["signal"] == "metrics")?;
        (rejected["count"] == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wrong_clock_neither_loses_records_nor_drags_the_watermark() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns();
    let next_year = now + 365 * 24 * 3600 * S;
    let wrong = [(S, MS, 200), (next_year, MS, 200)];
    post(&shipwake.http(), "traces", &spans(resource("clock", "1", "a"), &wrong)).await;
    post(&shipwake.http(), "traces", &spans(resource("clock", "1", "a"), &[(now, MS, 200)])).await;
    shipwake.wait_number("select count(*) from spans where service = 'clock'", 3).await;
    // The one from next year counts when it was received. The one from 1970 is kept as a row; no window waits that long.
    let all = "select sum(count) from windows where signal = 'requests' and source = 'spans' and resolution_s = 3600";
    shipwake.wait_number(all, 2).await;
    assert_eq!(shipwake.number("select count(*) from spans where time < timestamp '1971-01-01'").await, 1);
    assert_eq!(shipwake.number("select count(attributes['shipwake.original_time']) from spans").await, 1);
    let ahead = "select count(*) from windows where window_start > now() + interval '1 hour'";
    assert_eq!(shipwake.number(ahead).await, 0);
    let overview = shipwake.api("/api/v1/overview").await;
    let watermark_ms = overview["meta"]["wm"].as_i64().expect("a watermark");
    assert!(watermark_ms <= (now_ns() / MS) as i64, "{overview}");
}

#[tokio::test]
async fn a_version_that_changes_on_every_request_leaves_other_services_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns();
    for n in 0..3_000u64 {
        let version = format!("build-{n}");
        post(&shipwake.http(), "traces", &spans(resource("churn", &version, "a"), &[(now - n, MS, 200)])).await;
        if n % 100 == 0 {
            post(&shipwake.http(), "traces", &spans(resource("calm", "1", "a"), &[(now - n, MS, 200)])).await;
        }
    }
    let calm = "select sum(count) from windows where service = 'calm' and signal = 'requests' and source = 'spans' and resolution_s = 3600";
    shipwake.wait_number(calm, 30).await;
    let churn = "select sum(count) from windows where service = 'churn' and signal = 'requests' and source = 'spans' and resolution_s = 3600";
    shipwake.wait_number(churn, 3_000).await;
    let versions = "select count(distinct version) from windows where service = 'churn'";
    assert!(shipwake.number(versions).await < 3_000, "versions are bounded");
    assert_eq!(shipwake.number("select least(count(*), 1) from windows where version = '__overflow__'").await, 1);
}

#[tokio::test]
async fn a_query_that_is_wrong_or_never_ends_gets_an_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let (status, problem) = shipwake.sql_answer("select count(*) form logs").await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem["position"]["line"].is_number(), "{problem}");
    for refused in [
        "create table x as select 1",
        "copy logs to '/tmp/x.csv'",
        "create external table t stored as csv location '/etc/passwd'",
    ] {
        let (status, problem) = shipwake.sql_answer(refused).await;
        assert_eq!(status, 400, "{refused}: {problem}");
    }
    let endless = json!({"query": "select count(*) from generate_series(1, 100000000000) a", "timeout_ms": 300});
    let client = reqwest::Client::new();
    let answer = client.post(format!("{}/api/v1/sql", shipwake.ui())).json(&endless).send().await.expect("an answer");
    let status = answer.status();
    let problem: serde_json::Value = answer.json().await.expect("JSON");
    assert!(status.is_client_error() || status.is_server_error(), "{status} {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("300")), "names the budget: {problem}");
    assert_alive(&shipwake).await;
}

#[tokio::test]
async fn joins_that_never_end_are_cancelled_and_leave_room_for_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let bodies = vec!["x"; 5_000];
    post(&shipwake.http(), "logs", &logs(resource("a", "1", "a"), &bodies)).await;
    shipwake.wait_number("select count(*) from logs", 5_000).await;
    let endless =
        json!({"query": "select count(*) from logs a cross join logs b cross join logs c", "timeout_ms": 500});
    let client = reqwest::Client::new();
    let asked: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client.post(format!("{}/api/v1/sql", shipwake.ui())).json(&endless).send()))
        .collect();
    for answer in asked {
        let answer = answer.await.expect("joined").expect("an answer");
        assert!(answer.status().is_client_error() || answer.status().is_server_error(), "{}", answer.status());
    }
    eventually("a small query is answered", || async {
        (shipwake.sql_answer("select 1").await.0 == 200).then_some(())
    })
    .await;
    eventually("nothing goes on computing", || async {
        let before = cpu_ticks(&shipwake);
        // An interval to measure over: one join that goes on would use all of it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        (cpu_ticks(&shipwake) - before < 10).then_some(())
    })
    .await;
}

/// CPU time of the process in hundredths of a second.
fn cpu_ticks(shipwake: &Shipwake) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", shipwake.pid())).expect("it runs");
    let after_name = text.rsplit_once(')').expect("a name in parentheses").1;
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum()
}
