//! `POST /v1/lines`: what lines become, and how bad ones are told apart.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use shipwake_ingest::IngestConfig;
use shipwake_journal::MemoryJournal;

use crate::support::{Server, count, gzip, stored};

/// Service, version and message of every line, sorted.
async fn kept(journal: &MemoryJournal) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for record in stored(journal).await {
        let request = ExportLogsServiceRequest::decode(record.value.clone()).expect("valid");
        for entry in request.resource_logs {
            let attributes = entry.resource.expect("given").attributes;
            for line in entry.scope_logs.iter().flat_map(|scope| &scope.log_records) {
                let name = |name: &str| text(&attributes, name).unwrap_or_default();
                found.push((name("service.name"), name("service.version"), body(line)));
            }
        }
    }
    found.sort();
    found
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

fn body(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn lines_of_all_forms_become_records_and_bad_ones_are_named() {
    let (server, journal) = Server::in_memory().await;
    let lines = concat!(
        "{\"level\":\"info\",\"msg\":\"one\"}\r\n",
        "\n",
        "{\"msg\":\"broken\"\n",
        "plain ERROR two\n",
        "{\"msg\":\"three\",\"service.name\":\"cart\",\"version\":\"9\"}\n",
        "level=warn msg=four version=1.5"
    );
    let answer =
        server.post("/v1/lines?service=web&version=1.4&environment=prod&instance=i-7", &[], lines.as_bytes()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let said = answer.json();
    assert_eq!((&said["accepted"], &said["rejected"]), (&4.into(), &1.into()));
    assert_eq!(said["errors"][0]["line"], 3);
    assert!(said["errors"][0]["reason"].as_str().expect("a text").contains("JSON"), "{said}");
    let line =
        |service: &str, version: &str, message: &str| (service.to_owned(), version.to_owned(), message.to_owned());
    let expected = [
        line("cart", "9", "three"),
        line("web", "1.4", "one"),
        line("web", "1.4", "plain ERROR two"),
        line("web", "1.5", "four"),
    ];
    assert_eq!(kept(&journal).await, expected);
    let rejected =
        server.metric("shipwake_records_rejected_total{tenant=\"default\",signal=\"logs\",reason=\"bad_line\"}");
    let received = server.metric("shipwake_records_received_total{tenant=\"default\",signal=\"logs\"}");
    assert_eq!((received, rejected, count(&journal).await), (5, 1, 4));
}

#[tokio::test]
async fn compressed_lines_are_taken_and_nothing_is_an_answer_too() {
    let (server, journal) = Server::in_memory().await;
    let lines = "a line\n".repeat(30_000);
    let answer =
        server.post("/v1/lines?service=s&format=raw", &[("content-encoding", "gzip")], &gzip(lines.as_bytes())).await;
    assert_eq!(answer.json()["accepted"], 30_000);
    let zstd = zstd::encode_all(lines.as_bytes(), 1).expect("to memory");
    let answer = server.post("/v1/lines?service=s", &[("content-encoding", "zstd")], &zstd).await;
    assert_eq!(answer.json()["accepted"], 30_000);
    let answer = server.post("/v1/lines", &[], b"").await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &0.into()));
    assert_eq!(count(&journal).await, 60_000);
}

#[tokio::test]
async fn equal_lines_without_times_are_different_events_unless_a_key_says_otherwise() {
    let (server, journal) = Server::in_memory().await;
    for (path, headers, lines) in [
        ("/v1/lines?service=s", &[][..], "no time"),
        ("/v1/lines?service=s", &[("idempotency-key", "k")], "no time"),
        ("/v1/lines?service=s", &[], "2026-11-23T10:00:00Z with a time"),
        ("/v1/lines?service=s", &[], "2026-11-23T10:00:00Z with a time"),
        ("/v1/lines?service=s&version=2", &[], "2026-11-23T10:00:00Z with a time"),
    ] {
        assert_eq!(server.post(path, headers, lines.as_bytes()).await.status, 200);
    }
    let mut records = stored(&journal).await;
    records.sort_by_key(|record| record.header.received_ns);
    let hashes: Vec<_> = records.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_none() && hashes[1].is_some() && hashes[2].is_some(), "{hashes:?}");
    assert!(hashes[2] == hashes[3] && hashes[2] != hashes[4], "{hashes:?}");
}

#[tokio::test]
async fn equal_access_log_lines_of_one_second_are_different_requests() {
    let (server, journal) = Server::in_memory().await;
    let nginx = "10.1.2.3 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n";
    let haproxy = "10.1.2.3:41234 [23/Nov/2026:10:00:00.655] web b/s 0/0/1/20/25 200 512 - - ---- 2/2/1/1/0 0/0 \"GET / HTTP/1.1\"\n";
    for line in [nginx, nginx, haproxy, haproxy] {
        assert_eq!(server.post("/v1/lines?service=s", &[], line.as_bytes()).await.json()["accepted"], 1);
    }
    let hashes: Vec<_> = stored(&journal).await.iter().map(|record| record.header.request_hash).collect();
    let without = hashes.iter().filter(|hash| hash.is_none()).count();
    let with: Vec<_> = hashes.iter().flatten().collect();
    assert_eq!((without, with.len()), (2, 2), "{hashes:?}");
    assert_eq!(with[0], with[1], "client, port and millisecond are those of one request");
}

#[tokio::test]
async fn a_pattern_names_fields_and_traces_are_one_record() {
    let (server, journal) = Server::in_memory().await;
    // (?<level>\w+) (?<version>\S+) (?<message>.*)
    let path = "/v1/lines?service=s&format=regex&pattern=%28%3F%3Clevel%3E%5Cw%2B%29+%28%3F%3Cversion%3E%5CS%2B%29+%28%3F%3Cmessage%3E.*%29";
    let answer = server.post(path, &[], b"ERROR 1.10 lost\n\tat f\nINFO 1.11 found\nnothing").await.json();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"], &answer["errors"][0]["line"]),
        (&2.into(), &1.into(), &4.into())
    );
    let expected = [("1.10", "lost\n\tat f"), ("1.11", "found")];
    let expected = expected.map(|(version, message)| ("s".to_owned(), version.to_owned(), message.to_owned()));
    assert_eq!(kept(&journal).await, expected);
}

#[tokio::test]
async fn mistakes_in_the_request_are_explained() {
    let (server, _) = Server::in_memory().await;
    for (path, word) in [
        ("/v1/lines?format=xml", "formats are auto, json, logfmt, nginx, httpd, haproxy, varnish, regex and raw"),
        ("/v1/lines?format=regex", "needs a pattern"),
        ("/v1/lines?format=regex&pattern=%28%3F%3Ca%3E", "unclosed group"),
        ("/v1/lines?pattern=%28%3F%3Ca%3Ex%29", "goes with format=regex"),
        ("/v1/lines?upstream=blue", "name=version"),
        ("/v1/lines?tz=Mars", "offset"),
        ("/v1/lines?multiline=on", "auto or off"),
        ("/v1/lines?duration_unit=h", "s, ms or us"),
        ("/v1/lines?servce=x", "servce"),
    ] {
        let answer = server.post(path, &[], b"x").await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/problem+json")), "{path}");
        let problem = answer.json();
        assert_eq!((&problem["status"], &problem["title"]), (&400.into(), &"Bad Request".into()));
        assert!(problem["detail"].as_str().expect("a text").contains(word), "{problem}");
    }
    let answer = server.exchange(b"GET /v1/lines HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")));
    let answer = server.post("/v1/lines", &[("content-encoding", "gzip")], b"plain").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn only_the_first_twenty_bad_lines_are_named() {
    let (server, journal) =
        Server::in_memory_with(IngestConfig { line_bytes_max: 20, ..IngestConfig::default() }).await;
    let lines = format!("{}\nfine", "a line that is far too long\n".repeat(50));
    let answer = server.post("/v1/lines?service=s", &[], lines.as_bytes()).await;
    let said = answer.json();
    assert_eq!((&said["accepted"], &said["rejected"]), (&1.into(), &50.into()));
    assert_eq!(said["errors"].as_array().expect("a list").len(), 20);
    assert_eq!(count(&journal).await, 1);
}

#[tokio::test]
async fn a_body_of_nothing_but_line_ends_or_tiny_lines_stays_bounded() {
    let (server, journal) = Server::in_memory_with(crate::support::small(1 << 20)).await;
    let answer = server.post("/v1/lines", &[], &b"\n".repeat(200_000)).await;
    assert_eq!((answer.status, count(&journal).await), (413, 0));
    let problem = answer.json();
    assert!(problem["detail"].as_str().expect("a text").contains("log records"), "{problem}");
}
