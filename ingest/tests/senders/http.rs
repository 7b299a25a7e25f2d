//! OTLP over HTTP: what is accepted, how it is answered, and every way to be refused.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message;
use shipwake_model::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, LIMIT, Server, bomb, count, gzip, logs, logs_bytes, peak_memory, post, small, stored};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

#[tokio::test]
async fn full_success_is_an_empty_protobuf_answer() {
    let (server, journal) = Server::in_memory().await;
    let answer = server.export("/v1/logs", &logs_bytes(3, 10)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-protobuf")));
    assert!(answer.body.is_empty(), "partial_success must be unset");
    assert!(ExportLogsServiceResponse::decode(answer.body.as_slice()).expect("valid").partial_success.is_none());
    let records = stored(&journal).await;
    assert_eq!((records.len(), records[0].header.records, records[0].header.signal), (1, 3, Signal::Logs));
    assert_eq!(records[0].value, logs_bytes(3, 10), "bytes that say everything are kept as they came");
}

#[tokio::test]
async fn an_empty_request_is_a_success() {
    let (server, journal) = Server::in_memory().await;
    for path in ["/v1/logs", "/v1/metrics", "/v1/traces"] {
        assert_eq!(server.export(path, b"").await.status, 200, "{path}");
    }
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn bodies_come_compressed_chunked_or_both() {
    let (server, journal) = Server::in_memory().await;
    let body = logs_bytes(200, 50);
    assert_eq!(server.post("/v1/logs", &[PROTOBUF, GZIP], &gzip(&body)).await.status, 200);
    let zstd = zstd::encode_all(&body[..], 3).expect("to memory");
    assert_eq!(server.post("/v1/logs", &[PROTOBUF, ("content-encoding", "zstd")], &zstd).await.status, 200);
    for (header, body) in [("", body.to_vec()), ("content-encoding: gzip\r\n", gzip(&body))] {
        let mut request = format!(
            "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n{header}\
             transfer-encoding: chunked\r\n\r\n"
        )
        .into_bytes();
        for chunk in body.chunks(777) {
            request.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\nx-trailer: y\r\n\r\n");
        assert_eq!(server.exchange(&request).await.status, 200);
    }
    assert_eq!(count(&journal).await, 800);
    assert!(stored(&journal).await.iter().all(|record| record.value == body));
}

#[tokio::test]
async fn a_batch_above_the_frameworks_default_limit_is_accepted() {
    let (server, journal) = Server::in_memory().await;
    let body = logs_bytes(6000, 1000);
    assert!(body.len() > 5 << 20);
    let answer = server.post("/v1/logs", &[("content-type", "application/x-protobuf; charset=x")], &body).await;
    assert_eq!((answer.status, count(&journal).await), (200, 6000));
}

#[tokio::test]
async fn other_content_types_are_refused_with_a_status_that_says_what_to_do() {
    let (server, _) = Server::in_memory().await;
    let answer = server.post("/v1/traces", &[("content-type", "text/plain")], b"x").await;
    assert_eq!(answer.status, 415);
    assert!(answer.rpc_status().1.contains("application/x-protobuf"), "{answer:?}");
    assert_eq!(server.post("/v1/traces", &[], b"x").await.status, 415);
}

#[tokio::test]
async fn other_methods_paths_and_encodings_are_refused() {
    let (server, _) = Server::in_memory().await;
    let answer = server.exchange(b"GET /v1/logs HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")));
    assert!(answer.rpc_status().1.contains("GET"));
    let answer = server.export("/v1/log", b"").await;
    assert_eq!(answer.status, 404);
    assert!(answer.rpc_status().1.contains("/v1/logs"));
    let answer = server.post("/v1/logs", &[PROTOBUF, ("content-encoding", "br")], b"x").await;
    assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("gzip, zstd, identity")));
    assert!(answer.rpc_status().1.contains("br"));
}

#[tokio::test]
async fn no_page_of_another_origin_is_let_in() {
    let (server, _) = Server::in_memory().await;
    let preflight =
        b"OPTIONS /v1/logs HTTP/1.1\r\nhost: x\r\norigin: http://evil\r\naccess-control-request-method: POST\r\n\r\n";
    let answer = server.exchange(preflight).await;
    assert_eq!(answer.status, 405);
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
    let answer = server.post("/v1/logs", &[PROTOBUF, ("origin", "http://evil")], b"").await;
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
}

#[tokio::test]
async fn broken_bodies_are_the_senders_fault() {
    let (server, journal) = Server::in_memory().await;
    let body = logs_bytes(10, 10);
    let packed = gzip(&body);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], &'a str);
    let cases: [Case<'_>; 6] = [
        ("cut protobuf", &[PROTOBUF], &body[..body.len() - 3], "protobuf"),
        ("text", &[PROTOBUF], b"hello, this is not protobuf", "protobuf"),
        ("gzip header, plain body", &[PROTOBUF, GZIP], &body, "gzip"),
        ("cut gzip", &[PROTOBUF, GZIP], &packed[..packed.len() - 6], "gzip"),
        ("gzip without header", &[PROTOBUF], &packed, "protobuf"),
        ("zstd header, plain body", &[PROTOBUF, ("content-encoding", "zstd")], &body, "zstd"),
    ];
    for (name, headers, body, word) in cases {
        let answer = server.post("/v1/logs", headers, body).await;
        assert_eq!((answer.status, answer.retry_after_s()), (400, None), "{name}");
        let (code, message) = answer.rpc_status();
        assert_eq!(code, 3, "{name}");
        assert!(message.contains(word), "{name}: {message}");
    }
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_before_and_after_decompression() {
    let (server, journal) = Server::in_memory_with(small(1 << 20)).await;
    let body = logs_bytes(2000, 1000);
    for (headers, body) in [(&[PROTOBUF][..], body.to_vec()), (&[PROTOBUF, GZIP], gzip(&body))] {
        let answer = server.post("/v1/logs", headers, &body).await;
        assert_eq!((answer.status, answer.retry_after_s()), (413, None));
        let (code, message) = answer.rpc_status();
        assert!(code == 8 && message.contains("1048576"), "{message}");
    }
    let chunked = b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16)).repeat(17);
    assert_eq!(server.exchange(&[chunked, chunk.as_bytes()].concat()).await.status, 413);
    let exact = vec![0; 1 << 20];
    assert_eq!(server.export("/v1/logs", &exact).await.status, 400, "at the limit it is read, and found broken");
    assert_eq!(count(&journal).await, 0);
    until_idle(&server).await;
}

async fn until_idle(server: &Server) {
    crate::support::until("all memory given back", || server.ingest.status().in_flight_bytes == 0).await;
}

#[tokio::test]
async fn a_bomb_costs_no_more_than_the_limit() {
    let (server, _) = Server::in_memory_with(small(8 << 20)).await;
    let bomb = bomb(2048);
    assert!(bomb.len() < 3 << 20);
    let (before, begun) = (peak_memory(), Instant::now());
    let answer = server.post("/v1/traces", &[PROTOBUF, GZIP], &bomb).await;
    assert_eq!(answer.status, 413);
    assert!(answer.rpc_status().1.contains("after decompression"));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // Other tests run in the same process: far below the 2 GiB that the bomb unpacks to is what counts.
    assert!(peak_memory() - before < 400 << 20, "grew by {} MiB", (peak_memory() - before) >> 20);
}

#[tokio::test]
async fn permission_to_send_is_given_only_to_a_request_that_is_let_in() {
    let (server, journal) = Server::in_memory_with(small(1 << 20)).await;
    let body = logs_bytes(5, 10);
    let request = post("/v1/logs", &[PROTOBUF, ("expect", "100-continue")], &body);
    let head = request.len() - body.len();
    let mut stream = server.connect().await;
    stream.write_all(&request[..head]).await.expect("open");
    assert_eq!(Answer::read(&mut stream).await.status, 100);
    stream.write_all(&body).await.expect("open");
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    assert_eq!(count(&journal).await, 5);

    let head = b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
        content-length: 99999999\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(server.exchange(head).await.status, 413, "refused without asking for the body");
}

#[tokio::test]
async fn a_request_with_two_lengths_ends_its_connection() {
    let (server, journal) = Server::in_memory().await;
    let smuggled = b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 4\r\n\
        transfer-encoding: chunked\r\n\r\n0\r\n\r\nPOST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
        content-length: 0\r\n\r\n";
    // With chunks and a length, chunks count (RFC 9112, 6.3) and what follows is never read as a request.
    let twice = b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde";
    for request in [&smuggled[..], &twice[..]] {
        let mut stream = server.connect().await;
        stream.write_all(request).await.expect("open");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
        read.expect("closed in time").expect("closed cleanly");
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one answer, then closed: {text}");
        assert!(!text.starts_with("HTTP/1.1 5"), "{text}");
    }
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn a_key_of_the_clients_marks_repetitions() {
    let (server, journal) = Server::in_memory().await;
    for (key, records) in [("a", 1), ("a", 2), ("b", 1)] {
        let headers = [PROTOBUF, ("idempotency-key", key)];
        assert_eq!(server.post("/v1/logs", &headers, &logs_bytes(records, 10)).await.status, 200);
    }
    let hashes: Vec<_> = stored(&journal).await.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_some() && hashes[0] == hashes[1] && hashes[0] != hashes[2], "{hashes:?}");
    let long = "k".repeat(300);
    assert_eq!(server.post("/v1/logs", &[PROTOBUF, ("idempotency-key", &long)], b"").await.status, 400);
}

#[tokio::test]
async fn a_guessed_instance_is_the_peers_address_and_is_counted() {
    let (server, journal) = Server::in_memory().await;
    let mut request = logs(1, 5);
    request.resource_logs[0].resource.as_mut().expect("given").attributes.truncate(3);
    assert_eq!(server.export("/v1/logs", &request.encode_to_vec()).await.status, 200);
    let record = stored(&journal).await.remove(0);
    let kept = ExportLogsServiceRequest::decode(record.value.clone()).expect("valid");
    let attributes = &kept.resource_logs[0].resource.as_ref().expect("kept").attributes;
    let guessed = crate::support::attribute("service.instance.id", "127.0.0.1");
    assert!(attributes.contains(&guessed), "{attributes:?}");
    assert_eq!(server.ingest.status().instances_guessed, 1);
}
