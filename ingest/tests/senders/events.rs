//! `POST /v1/events`: what events become, how bad ones are told apart, and what counts as a repetition.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use shipwake_journal::MemoryJournal;

use crate::support::{Server, count, gzip, stored};

/// Scope, service, version, name, and attributes as text, of every event, sorted.
async fn kept(journal: &MemoryJournal) -> Vec<String> {
    let mut found = Vec::new();
    for record in stored(journal).await {
        let request = ExportLogsServiceRequest::decode(record.value.clone()).expect("valid");
        for entry in request.resource_logs {
            let resource = entry.resource.expect("given").attributes;
            for scope in entry.scope_logs {
                let scope_name = scope.scope.expect("given").name;
                for event in scope.log_records {
                    let of = |name: &str| text(&resource, name);
                    let attributes: Vec<String> = event
                        .attributes
                        .iter()
                        .map(|attribute| format!("{}={}", attribute.key, text(&event.attributes, &attribute.key)))
                        .collect();
                    let (service, version) = (of("service.name"), of("service.version"));
                    found.push(format!(
                        "{scope_name} {service} {version} {} {}",
                        event.event_name,
                        attributes.join(" ")
                    ));
                }
            }
        }
    }
    found.sort();
    found
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == name).and_then(|found| found.value.clone()?.value);
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn an_object_an_array_and_lines_become_log_records_with_a_name() {
    let (server, journal) = Server::in_memory().await;
    for body in [
        r#"{"name":"order_placed","value":42.5,"unit":"USD","service":"checkout","version":"1.42.0","user":"u-17","session":"s-9","attributes":{"items":3,"unit":"lost"}}"#,
        r#"[{"name":"signup","service":"web"},{"name":"signup","service":"web","version":"2"}]"#,
        "{\"name\":\"search\",\"service\":\"find\",\"value\":3}\n{\"name\":\"search\",\"service\":\"find\"}\n",
    ] {
        let answer = server.post("/v1/events?version=0.1", &[], body.as_bytes()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{body}");
        assert_eq!(answer.json()["rejected"], 0);
    }
    let expected = [
        "shipwake.events checkout 1.42.0 order_placed value=42.5 unit=USD user.id=u-17 session.id=s-9 items=3",
        "shipwake.events find 0.1 search ",
        "shipwake.events find 0.1 search value=3",
        "shipwake.events web 0.1 signup ",
        "shipwake.events web 2 signup ",
    ];
    assert_eq!(kept(&journal).await, expected);
}

#[tokio::test]
async fn a_bad_event_is_named_by_its_place_and_the_others_are_kept() {
    let (server, journal) = Server::in_memory().await;
    let answer = server
        .post(
            "/v1/events",
            &[],
            br#"[{"name":"a","service":"s"},{"name":"b"},{"service":"s"},{"name":"c","service":"s","value":"x"}]"#,
        )
        .await
        .json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&1.into(), &3.into()));
    let reasons: Vec<(u64, &str)> = answer["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| (error["index"].as_u64().expect("a number"), error["reason"].as_str().expect("a text")))
        .collect();
    assert_eq!(reasons, [(1, "service is missing"), (2, "name is missing"), (3, "value \"x\" is not a number")]);
    let answer = server.post("/v1/events?service=s", &[], b"{\"name\":\"a\"}\nbroken\n").await.json();
    assert_eq!((&answer["accepted"], &answer["errors"][0]["line"]), (&1.into(), &2.into()));
    let rejected =
        server.metric("shipwake_records_rejected_total{tenant=\"default\",signal=\"logs\",reason=\"bad_event\"}");
    let received = server.metric("shipwake_records_received_total{tenant=\"default\",signal=\"logs\"}");
    assert_eq!((received, rejected, count(&journal).await), (6, 4, 2));
}

#[tokio::test]
async fn mistakes_in_the_request_are_explained() {
    let (server, journal) = Server::in_memory().await;
    for (path, body, word) in [("/v1/events", "[{\"name\":\"a\"}", "array"), ("/v1/events?servce=x", "{}", "servce")] {
        let answer = server.post(path, &[], body.as_bytes()).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/problem+json")), "{path}");
        let problem = answer.json();
        assert!(problem["detail"].as_str().expect("a text").contains(word), "{problem}");
    }
    let answer = server.exchange(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")));
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn compressed_events_are_taken_and_very_many_are_refused_before_they_cost_anything() {
    let (server, journal) = Server::in_memory().await;
    let body = "{\"name\":\"a\",\"service\":\"s\"}\n".repeat(20_000);
    let answer = server.post("/v1/events", &[("content-encoding", "gzip")], &gzip(body.as_bytes())).await;
    assert_eq!(answer.json()["accepted"], 20_000);
    let zstd = zstd::encode_all(body.as_bytes(), 1).expect("to memory");
    assert_eq!(server.post("/v1/events", &[("content-encoding", "zstd")], &zstd).await.json()["accepted"], 20_000);
    assert_eq!(count(&journal).await, 40_000);

    let (server, journal) = Server::in_memory_with(crate::support::small(1 << 20)).await;
    let answer = server.post("/v1/events", &[], "[{}]".repeat(10_000).as_bytes()).await;
    assert_eq!((answer.status, count(&journal).await), (413, 0));
    let answer = server.post("/v1/events", &[], "[".repeat(100_000).as_bytes()).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn equal_events_without_times_are_different_events_unless_a_key_says_otherwise() {
    let (server, journal) = Server::in_memory().await;
    let (untimed, timed) =
        (r#"{"name":"a","service":"s"}"#, r#"{"name":"a","service":"s","time":"2026-11-23T10:00:00Z"}"#);
    for (path, headers, body) in [
        ("/v1/events", &[][..], untimed),
        ("/v1/events", &[("idempotency-key", "k")], untimed),
        ("/v1/events", &[], timed),
        ("/v1/events", &[], timed),
        ("/v1/events?version=2", &[], timed),
    ] {
        assert_eq!(server.post(path, headers, body.as_bytes()).await.status, 200);
    }
    let mut records = stored(&journal).await;
    records.sort_by_key(|record| record.header.received_ns);
    let hashes: Vec<_> = records.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_none() && hashes[1].is_some() && hashes[2].is_some(), "{hashes:?}");
    assert!(hashes[2] == hashes[3] && hashes[2] != hashes[4], "{hashes:?}");
}
