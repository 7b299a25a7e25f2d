//! OTLP in JSON and packed bodies, from outside.

use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Shipwake, eventually, start};
use crate::otlp::{logs, now_ns, resource};

/// Posts OTLP in JSON; gives the status and the answer.
pub async fn post_json(shipwake: &Shipwake, signal: &str, body: &str) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}/v1/{signal}", shipwake.http()));
    let answer = request.header("content-type", "application/json").body(body.to_owned()).send().await;
    let answer = answer.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Waits until everything that was received is stored, rejected or deduplicated, and no more than that.
pub async fn assert_conserved(shipwake: &Shipwake) {
    eventually("received = stored + rejected + deduplicated", || async {
        let count = |name: &'static str| shipwake.metric(name, "");
        let received = count("shipwake_records_received_total").await;
        let stored = count("shipwake_records_stored_total").await;
        let rejected = count("shipwake_records_rejected_total").await;
        let deduplicated = count("shipwake_records_deduplicated_total").await;
        assert!(received >= stored + rejected + deduplicated, "{received} {stored} {rejected} {deduplicated}");
        (received == stored + rejected + deduplicated).then_some(())
    })
    .await;
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[tokio::test]
async fn json_of_all_signals_is_seen_by_version_and_a_repetition_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns();
    let resource = json!({"attributes": [
        attribute("service.name", "web"), attribute("service.version", "3.1"), attribute("service.instance.id", "a"),
    ]});
    let time = now.to_string();
    let record = json!({"timeUnixNano": time, "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": "no \u{e9} \"quotes\""},
        "attributes": [attribute("k", "v"), {"key": "n", "value": {"intValue": 7}}], "traceId": "5B8EFFF798038103D269B633813FC60C"});
    let span = json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "GET /", "kind": 2,
        "startTimeUnixNano": time, "endTimeUnixNano": now + 5_000_000,
        "attributes": [{"key": "http.response.status_code", "value": {"intValue": "500"}}], "status": {"code": 2}});
    let point = json!({"asInt": "42", "timeUnixNano": time});
    for (signal, request) in [
        (
            "logs",
            json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {"name": "s"}, "logRecords": [record]}]}]}),
        ),
        ("traces", json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})),
        (
            "metrics",
            json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [{"name": "g", "gauge": {"dataPoints": [point]}}]}]}]}),
        ),
    ] {
        for _ in 0..2 {
            assert_eq!(post_json(&shipwake, signal, &request.to_string()).await, (200, json!({})), "{signal}");
        }
    }
    let log = "select version, severity_number, body, attributes['n'], trace_id from logs where service = 'web'";
    shipwake.wait_number("select count(*) from logs where service = 'web'", 1).await;
    let expected = json!([["3.1", 17, "no é \"quotes\"", "7", "5b8efff798038103d269b633813fc60c"]]);
    assert_eq!(json!(shipwake.sql(log).await), expected);
    shipwake.wait_number("select count(*) from spans where version = '3.1'", 1).await;
    shipwake.wait_number("select cast(sum(value) as bigint) from points where version = '3.1'", 42).await;
    let errors =
        "select sum(errors) from release_health where service = 'web' and version = '3.1' and resolution_s = 60";
    shipwake.wait_number(errors, 1).await;
    assert_conserved(&shipwake).await;
    assert_eq!(shipwake.metric("shipwake_records_deduplicated_total", "").await, 3.0);
}

#[tokio::test]
async fn a_zstd_body_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let request = logs(resource("packed", "1", "a"), &["over http"]);
    let body = zstd::encode_all(request.encode_to_vec().as_slice(), 3).expect("memory");
    let client = reqwest::Client::new().post(format!("{}/v1/logs", shipwake.http()));
    let client = client.header("content-type", "application/x-protobuf").header("content-encoding", "zstd");
    assert_eq!(client.body(body).send().await.expect("an answer").status(), 200);
    shipwake.wait_number("select count(*) from logs where service = 'packed'", 1).await;
    assert_conserved(&shipwake).await;
}
