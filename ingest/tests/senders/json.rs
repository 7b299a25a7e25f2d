//! OTLP in JSON over HTTP: taken like protobuf, answered in JSON.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;

use crate::support::{Answer, Server, count, gzip, small, stored};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A request of one log record for each body.
fn logs(bodies: &[&str]) -> String {
    let records: Vec<String> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            format!(
                r#"{{"timeUnixNano":"{}","body":{{"stringValue":"{body}"}}}}"#,
                1_795_428_000_000_000_000u64 + n as u64
            )
        })
        .collect();
    let attribute = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let resource = [
        attribute("service.name", "checkout"),
        attribute("service.version", "1"),
        attribute("service.instance.id", "i"),
    ];
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{}]}},"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
        resource.join(","),
        records.join(",")
    )
}

async fn post(server: &Server, path: &str, body: &str) -> Answer {
    server.post(path, &[JSON], body.as_bytes()).await
}

#[tokio::test]
async fn a_request_is_kept_as_protobuf_and_answered_with_an_empty_object() {
    let (server, journal) = Server::in_memory().await;
    let answer = server
        .post("/v1/logs", &[("content-type", "application/json; charset=utf-8")], logs(&["a", "b"]).as_bytes())
        .await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.body, b"{}");
    let request = ExportLogsServiceRequest::decode(stored(&journal).await[0].value.clone()).expect("protobuf");
    assert_eq!(request.resource_logs[0].scope_logs[0].log_records.len(), 2);
    for path in ["/v1/logs", "/v1/metrics", "/v1/traces"] {
        let answer = post(&server, path, "{}").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{path}");
    }
    assert_eq!(count(&journal).await, 2);
}

#[tokio::test]
async fn packed_bodies_are_taken() {
    let (server, journal) = Server::in_memory().await;
    let text = logs(&["a"]);
    let zstd = zstd::encode_all(text.as_bytes(), 1).expect("to memory");
    for (encoding, body) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd)] {
        let answer = server.post("/v1/logs", &[JSON, ("content-encoding", encoding)], &body).await;
        assert_eq!(answer.status, 200, "{encoding}");
    }
    assert_eq!(count(&journal).await, 2);
}

#[tokio::test]
async fn the_same_text_twice_has_the_same_hash() {
    let (server, journal) = Server::in_memory().await;
    for _ in 0..2 {
        assert_eq!(post(&server, "/v1/logs", &logs(&["a", "b"])).await.status, 200);
    }
    let hashes: Vec<_> = stored(&journal).await.iter().map(|stored| stored.header.request_hash).collect();
    assert!(hashes[0].is_some() && hashes[0] == hashes[1], "{hashes:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let (server, journal) = Server::in_memory().await;
    let body = logs(&["a"]).replace("\"timeUnixNano\":\"", "\"timeUnixNano\":\"x");
    let answer = post(&server, "/v1/logs", &body).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")));
    let (code, message) = answer.rpc_status();
    assert_eq!(code, 3);
    for part in ["line 1, column", "resourceLogs[0].scopeLogs[0].logRecords[0].timeUnixNano", "not one"] {
        assert!(message.contains(part), "{message}");
    }
    for (body, part) in [("", "the end of the text"), ("{\"a\":1} x", "the end of the text"), ("[]", "an object")] {
        let answer = post(&server, "/v1/traces", body).await;
        assert!(answer.status == 400 && answer.rpc_status().1.contains(part), "{body}: {answer:?}");
    }
    assert_eq!(count(&journal).await, 0);
    assert_eq!(server.metric("shipwake_ingest_refused_requests_total{reason=\"broken_json\"}"), 4);
}

#[tokio::test]
async fn rejected_points_and_names_that_were_meant_are_told() {
    let (server, journal) = Server::in_memory().await;
    let points = r#"{"asDouble":1,"timeUnixNano":"5"},{"asDouble":"NaN","timeUnixNano":"5"},{"timeUnixNano":"5"}"#;
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
    );
    let answer = post(&server, "/v1/metrics", &body).await;
    let partial = &answer.json()["partialSuccess"];
    assert_eq!((answer.status, partial["rejectedDataPoints"].as_str()), (200, Some("2")), "{partial}");
    assert!(partial["errorMessage"].as_str().is_some_and(|text| text.contains("NaN")), "{partial}");
    let answer = post(&server, "/v1/logs", r#"{"resource_logs":[]}"#).await;
    let partial = &answer.json()["partialSuccess"];
    assert_eq!((answer.status, partial["rejectedLogRecords"].as_str()), (200, Some("0")), "{partial}");
    assert!(partial["errorMessage"].as_str().is_some_and(|text| text.contains("resourceLogs")), "{partial}");
    assert_eq!(count(&journal).await, 1);
    assert_eq!(server.metric("shipwake_records_received_total"), 3);
    assert_eq!(server.metric("shipwake_records_rejected_total"), 2);
}

#[tokio::test]
async fn limits_hold_for_the_text_and_for_what_it_becomes() {
    let (server, journal) = Server::in_memory_with(small(64 << 10)).await;
    let long = logs(&[&"x".repeat(70_000)]);
    assert_eq!(post(&server, "/v1/logs", &long).await.status, 413);
    assert_eq!(
        server.post("/v1/logs", &[JSON, ("content-encoding", "gzip")], &gzip(long.as_bytes())).await.status,
        413
    );
    let numbers = |count: usize| {
        let point = format!(
            r#"{{"timeUnixNano":"5","count":"0","bucketCounts":[{}],"explicitBounds":[{}]}}"#,
            vec!["0"; count + 1].join(","),
            (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
        );
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","histogram":{{"aggregationTemporality":1,"dataPoints":[{point}]}}}}]}}]}}]}}"#
        )
    };
    let fits = post(&server, "/v1/metrics", &numbers(3_000)).await;
    assert_eq!(fits.status, 200, "{:?}", String::from_utf8_lossy(&fits.body));
    let answer = post(&server, "/v1/metrics", &numbers(5_000)).await;
    assert_eq!(answer.status, 413, "{:?}", String::from_utf8_lossy(&answer.body));
    assert_eq!(count(&journal).await, 1);
}
