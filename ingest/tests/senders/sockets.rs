//! Limits of connections: heads that dribble in, silence, too many from one address. Other senders notice nothing.

use std::time::{Duration, Instant};

use shipwake_ingest::{IngestConfig, ServeConfig};
use shipwake_journal::MemoryJournal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, LIMIT, Server, logs_bytes, post, shared, until};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

async fn server(serve: ServeConfig) -> Server {
    Server::start_with(IngestConfig::default(), serve, shared(&MemoryJournal::new(1))).await
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut byte = [0; 64];
    let read = tokio::time::timeout(LIMIT, stream.read(&mut byte)).await.expect("closed in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_head_that_dribbles_in_is_cut_off_and_others_are_served() {
    let serve = ServeConfig { head_time_max: Duration::from_millis(200), ..ServeConfig::default() };
    let server = server(serve).await;
    let mut slow = server.connect().await;
    slow.write_all(b"POST /v1/logs HTTP/1.1\r\nhost: x\r\n").await.expect("open");
    let begun = Instant::now();
    let dribble = async {
        while slow.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let body = logs_bytes(1, 1);
    let (_, answer) = tokio::join!(tokio::time::timeout(LIMIT, dribble), server.export("/v1/logs", &body));
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_quiet_connection_is_kept_longer_than_a_head_may_take_and_then_closed() {
    let serve = ServeConfig {
        head_time_max: Duration::from_millis(50),
        idle_time_max: Duration::from_millis(1200),
        ..ServeConfig::default()
    };
    let server = server(serve).await;
    let mut stream = server.connect().await;
    let mut last = Instant::now();
    for _ in 0..3 {
        // Longer than a head may take: silence between requests is not a slow head.
        until("a while passed", || last.elapsed() > Duration::from_millis(150)).await;
        stream.write_all(&post("/v1/logs", &[PROTOBUF], b"")).await.expect("open");
        assert_eq!(Answer::read(&mut stream).await.status, 200);
        last = Instant::now();
    }
    closed(&mut stream).await;
    assert!(last.elapsed() >= Duration::from_millis(1000), "{:?}", last.elapsed());

    let mut never_spoke = server.connect().await;
    closed(&mut never_spoke).await;
    until("no connection is left", || server.metric("shipwake_ingest_connections") == 0).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let server = server(ServeConfig { connections_per_peer_max: 2, ..ServeConfig::default() }).await;
    let (first, _second) = (server.connect().await, server.connect().await);
    until("both are in", || server.metric("shipwake_ingest_connections") == 2).await;
    closed(&mut server.connect().await).await;
    drop(first);
    until("one has left", || server.metric("shipwake_ingest_connections") == 1).await;
    assert_eq!(server.export("/v1/logs", b"").await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = server(ServeConfig::default()).await;
    let header = "x".repeat(200 << 10);
    let answer = server.post("/v1/logs", &[PROTOBUF, ("x-large", &header)], b"").await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn connections_that_do_not_finish_are_cut_after_the_grace_period() {
    let journal = crate::support::GatedJournal::new();
    let serve = ServeConfig { grace: Duration::from_millis(100), ..ServeConfig::default() };
    let mut server = Server::start_with(IngestConfig::default(), serve, shared(&journal)).await;
    let mut stuck = server.connect().await;
    stuck.write_all(&post("/v1/logs", &[PROTOBUF], &logs_bytes(1, 1))).await.expect("open");
    let received = "shipwake_records_received_total{tenant=\"default\",signal=\"logs\"}";
    until("it is in flight", || server.metric(received) == 1).await;
    let begun = Instant::now();
    server.begin_shutdown();
    closed(&mut stuck).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    journal.let_through(1);
    server.stop().await;
}

#[tokio::test]
async fn a_sender_that_speaks_tls_to_the_plain_port_is_told_on_the_page() {
    let server = server(ServeConfig::default()).await;
    let mut stream = server.connect().await;
    // The start of a ClientHello: a handshake record of TLS 1.0, as all versions begin.
    stream.write_all(&[0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03]).await.expect("open");
    stream.shutdown().await.expect("open");
    let noted = || server.ingest.status().rejections.into_iter().find(|each| each.reason == "tls");
    until("it is noted", || noted().is_some()).await;
    let noted = noted().expect("waited for");
    assert_eq!((noted.count, noted.signal), (1, None));
    assert!(noted.detail.contains("127.0.0.1") && noted.detail.contains("http://"), "{}", noted.detail);
    assert_eq!(server.export("/v1/logs", b"").await.status, 200);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_told_to_the_sender_and_on_the_page() {
    let server = server(ServeConfig::default()).await;
    let answer = server.export("/v1/traces/v1/traces", b"").await;
    assert_eq!(answer.status, 404);
    let (_, message) = answer.rpc_status();
    assert!(message.contains("OTEL_EXPORTER_OTLP_ENDPOINT to the address alone"), "{message}");
    let probe = server.exchange(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(probe.status, 404);
    let rejections = server.ingest.status().rejections;
    let noted = rejections.iter().find(|each| each.reason == "not_found").expect("noted");
    assert_eq!(noted.detail, message);
    assert_eq!(server.metric("shipwake_ingest_refused_requests_total{reason=\"not_found\"}"), 1);
}
