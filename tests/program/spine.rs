//! Telemetry in, release health live: the main road, end to end, on real ports.

use std::process::Command;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::codec::CompressionEncoding;

use crate::harness::{Shipwake, eventually, start};
use crate::otlp::{counter, logs, now_ns, post, resource, spans};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

#[tokio::test]
async fn a_service_is_seen_by_version_in_sql_in_windows_and_on_the_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns();
    let good: Vec<_> = (0..90).map(|n| (now - n * 100 * MS, 20 * MS, 200)).collect();
    let bad: Vec<_> = (0..10).map(|n| (now - n * 100 * MS, 80 * MS, if n < 3 { 500 } else { 200 })).collect();
    post(&shipwake.http(), "traces", &spans(resource("pay", "1.0", "a"), &good)).await;
    post(&shipwake.http(), "traces", &spans(resource("pay", "1.1", "b"), &bad)).await;

    shipwake.wait_number("select count(*) from spans where service = 'pay'", 100).await;
    let rows = shipwake
        .sql(
            "select version, sum(requests), sum(errors) from release_health \
             where service = 'pay' and resolution_s = 10 group by version order by version",
        )
        .await;
    let numbers: Vec<(String, i64, i64)> = rows
        .iter()
        .map(|row| {
            (
                row[0].as_str().expect("text").to_owned(),
                row[1].as_i64().expect("a count"),
                row[2].as_i64().expect("a count"),
            )
        })
        .collect();
    assert_eq!(numbers, vec![("1.0".to_owned(), 90, 0), ("1.1".to_owned(), 10, 3)]);

    let p50 = shipwake
        .sql("select hdr_quantile(hdr_merge(histogram), 0.5) from windows where signal = 'duration' and resolution_s = 60 and version = '1.0'")
        .await;
    let p50_us = p50[0][0].as_f64().expect("a duration");
    assert!((p50_us / 20_000.0 - 1.0).abs() < 0.01, "two significant digits: {p50_us} µs");

    let overview = eventually("the overview shows both versions", || async {
        let overview = shipwake.api("/api/v1/overview").await;
        let lanes = overview["services"].as_array()?.iter().find(|service| service["service"] == "pay")?["lanes"]
            .as_array()?
            .len();
        (lanes == 2).then_some(overview)
    })
    .await;
    assert!(overview["meta"]["wm"].is_number(), "{overview}");
    let release = shipwake.api("/api/v1/services/pay/release?env=test&from=now-5m&to=now").await;
    let roles: Vec<_> = release["lanes"].as_array().expect("lanes").iter().map(|lane| &lane["version"]).collect();
    assert_eq!(roles.len(), 2, "{release}");
    assert_eq!(release["source"], "spans");
}

#[tokio::test]
async fn everything_answered_is_there_once_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let first = start(&data).await;
    let now = now_ns();
    let requests: Vec<_> = (0..50).map(|n| (now - n * 10 * MS, 5 * MS, 200)).collect();
    post(&first.http(), "traces", &spans(resource("cart", "7", "a"), &requests)).await;
    post(&first.http(), "logs", &logs(resource("cart", "7", "a"), &["one", "two", "three"])).await;
    post(&first.http(), "metrics", &counter(resource("cart", "7", "a"), "orders", now - 60 * S, now - 2 * S, 10)).await;
    first.kill();

    let second = start(&data).await;
    post(&second.http(), "metrics", &counter(resource("cart", "7", "a"), "orders", now - 60 * S, now - S, 25)).await;
    assert_same_counts(&second).await;
    // A shutdown commits; a third start reads what the commit wrote instead of the journal.
    let (status, _) = second.terminate();
    assert!(status.success(), "{status}");
    let third = start(&data).await;
    assert_same_counts(&third).await;
}

async fn assert_same_counts(shipwake: &Shipwake) {
    shipwake.wait_number("select count(*) from points", 2).await;
    assert_eq!(shipwake.number("select count(*) from spans").await, 50);
    assert_eq!(shipwake.number("select count(distinct span_id) from spans").await, 50);
    assert_eq!(shipwake.number("select count(*) from logs").await, 3);
    for resolution in [10, 60, 3600] {
        let windows = format!("from windows where resolution_s = {resolution} and service = 'cart'");
        for signal in ["requests", "duration"] {
            let count = format!("select sum(count) {windows} and signal = '{signal}' and source = 'spans'");
            assert_eq!(shipwake.number(&count).await, 50, "{signal} at {resolution} s");
        }
        // The counter started at zero a minute before its first point, so both points count: 10, then 15 more.
        let orders = format!("select cast(sum(sum) as bigint) {windows} and signal = 'metric' and metric = 'orders'");
        assert_eq!(shipwake.number(&orders).await, 25, "orders at {resolution} s");
    }
}

#[tokio::test]
async fn an_identical_retry_is_counted_once_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let request = logs(resource("mail", "1", "a"), &["the answer to this was lost"]);
    let first = start(&data).await;
    post(&first.http(), "logs", &request).await;
    post(&first.http(), "logs", &request).await;
    first.wait_number("select count(*) from logs", 1).await;
    let (status, _) = first.terminate();
    assert!(status.success(), "{status}");

    let second = start(&data).await;
    post(&second.http(), "logs", &request).await;
    post(&second.http(), "logs", &logs(resource("mail", "1", "a"), &["after the retry"])).await;
    second.wait_number("select count(*) from logs where body = 'after the retry'", 1).await;
    assert_eq!(second.number("select count(*) from logs").await, 2);
    let logs_in = "select sum(count) from windows where signal = 'requests' and source = 'logs' and resolution_s = 10";
    assert_eq!(second.number(logs_in).await, 2);
}

#[tokio::test]
async fn grpc_takes_gzip_and_plain_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let mut zipped =
        LogsServiceClient::connect(shipwake.grpc()).await.expect("connects").send_compressed(CompressionEncoding::Gzip);
    let answer = zipped.export(logs(resource("web", "2", "a"), &["zipped"])).await.expect("taken").into_inner();
    assert!(answer.partial_success.is_none(), "full success carries no partial_success");
    let mut plain = TraceServiceClient::connect(shipwake.grpc()).await.expect("connects");
    plain.export(spans(resource("web", "2", "a"), &[(now_ns(), 3 * MS, 200)])).await.expect("taken");
    shipwake.wait_number("select count(*) from logs where service = 'web'", 1).await;
    shipwake.wait_number("select count(*) from spans where service = 'web'", 1).await;
}

#[tokio::test]
async fn a_record_without_a_version_is_kept_and_said_to_be_unversioned() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    post(&shipwake.http(), "traces", &spans(resource("old", "", "a"), &[(now_ns(), MS, 200)])).await;
    shipwake.wait_number("select count(*) from spans where version = 'unversioned'", 1).await;
    let pipeline = eventually("the pipeline page names the service", || async {
        let pipeline = shipwake.api("/api/v1/pipeline").await;
        (pipeline["services_without_version"] == serde_json::json!(["old"])).then_some(pipeline)
    })
    .await;
    assert_eq!(pipeline["received"]["spans"], 1, "{pipeline}");
}

#[tokio::test]
async fn lines_are_taken_and_a_bad_one_loses_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let url = format!("{}/v1/lines?service=shop&version=3&environment=test&format=json", shipwake.http());
    let body = "{\"message\":\"first\",\"level\":\"error\"}\nnot json\n{\"message\":\"third\",\"version\":\"4\"}\n";
    let answer = reqwest::Client::new().post(&url).body(body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&2.into(), &1.into()), "{answer}");
    assert_eq!(answer["errors"][0]["line"], 2, "{answer}");
    shipwake.wait_number("select count(*) from logs where service = 'shop'", 2).await;
    assert_eq!(shipwake.number("select count(*) from logs where version = '4' and body = 'third'").await, 1);
    assert_eq!(shipwake.number("select count(*) from logs where severity_number >= 17 and version = '3'").await, 1);
}

#[tokio::test]
async fn received_is_stored_plus_rejected_plus_deduplicated() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let request = logs(resource("sum", "1", "a"), &["a", "b"]);
    post(&shipwake.http(), "logs", &request).await;
    post(&shipwake.http(), "logs", &request).await;
    let now = now_ns();
    post(&shipwake.http(), "metrics", &counter(resource("sum", "1", "a"), "n", now - S, now, 1)).await;
    for signal in ["logs", "metrics"] {
        let label = format!("signal=\"{signal}\"");
        eventually("the counters balance", || async {
            let of = async |name: &str| shipwake.metric(&format!("shipwake_records_{name}_total"), &label).await;
            let received = of("received").await;
            let settled = of("stored").await + of("rejected").await + of("deduplicated").await;
            (received > 0.0 && received == settled).then_some(())
        })
        .await;
    }
    assert_eq!(shipwake.metric("shipwake_records_deduplicated_total", "signal=\"logs\"").await, 2.0);
}

#[tokio::test]
async fn shipwake_query_prints_a_table_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    post(&shipwake.http(), "logs", &logs(resource("cli", "1", "a"), &["hello"])).await;
    shipwake.wait_number("select count(*) from logs", 1).await;
    let query = |sql: &str| {
        Command::new(env!("CARGO_BIN_EXE_shipwake"))
            .args(["query", "--url", &shipwake.ui(), sql])
            .output()
            .expect("it runs")
    };
    let good = query("select service, body from logs");
    let table = String::from_utf8_lossy(&good.stdout);
    assert!(good.status.success() && table.contains("cli") && table.contains("hello"), "{table}");
    let bad = query("select nothing from logs");
    let message = String::from_utf8_lossy(&bad.stderr);
    assert_eq!(bad.status.code(), Some(2));
    assert!(message.contains("nothing"), "{message}");
}
