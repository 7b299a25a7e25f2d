//! What happens when there is more than fits: requests are held for a while, in order, then refused with a hint; memory
//! stays bounded and is given back whatever becomes of a client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use shipwake_ingest::IngestConfig;
use shipwake_journal::MemoryJournal;
use shipwake_journal::memory::FaultPlan;
use tokio::io::AsyncWriteExt;
use tonic::transport::Channel;

use crate::support::{Answer, GatedJournal, Server, count, logs, logs_bytes, post, shared, until};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const HOLD: Duration = Duration::from_millis(150);

/// Holds requests for a short while only.
pub fn impatient() -> IngestConfig {
    IngestConfig { hold_max: HOLD, ..IngestConfig::default() }
}

/// Room for three requests of 126 KiB; the fourth comes in, and waits to grow.
fn tight() -> IngestConfig {
    let bytes = 440 << 10;
    IngestConfig { message_bytes_max: bytes, in_flight_bytes_max: bytes, ..IngestConfig::default() }
}

/// 126 KiB or so.
fn body() -> Vec<u8> {
    logs_bytes(1, 126 << 10).to_vec()
}

#[test]
fn requests_are_held_for_two_seconds_by_default() {
    assert_eq!(IngestConfig::default().hold_max, Duration::from_secs(2));
    assert_eq!(IngestConfig::default().in_flight_bytes_max, 64 << 20);
}

#[tokio::test]
async fn a_request_without_room_is_held_and_then_refused_with_a_hint() {
    let journal = GatedJournal::new();
    let server = Server::start(IngestConfig { hold_max: HOLD, ..tight() }, shared(&journal)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(&post("/v1/logs", &[PROTOBUF], &body())).await.expect("open");
        held.push(stream);
    }
    until("three requests in flight", || server.ingest.status().in_flight_bytes >= 3 * (126 << 10)).await;
    let begun = Instant::now();
    let answer = server.export("/v1/logs", &body()).await;
    let waited = begun.elapsed();
    assert_eq!(answer.status, 503);
    assert!((1..=3).contains(&answer.retry_after_s().expect("a hint")));
    assert_eq!(answer.rpc_status().0, 14);
    assert!(waited >= HOLD && waited < HOLD + Duration::from_secs(2), "{waited:?}");
    assert!(server.ingest.status().in_flight_bytes <= 440 << 10);
    assert_eq!(server.metric("shipwake_ingest_refused_requests_total{reason=\"overloaded\"}"), 1);

    journal.let_through(3);
    for mut stream in held {
        assert_eq!(Answer::read(&mut stream).await.status, 200);
    }
    assert_eq!(count(&journal.inner).await, 3);
    until("all memory given back", || server.ingest.status().in_flight_bytes == 0).await;
}

#[tokio::test]
async fn a_held_request_goes_on_when_room_comes() {
    let journal = GatedJournal::new();
    let config = IngestConfig { hold_max: Duration::from_secs(20), ..tight() };
    let server = Server::start(config, shared(&journal)).await;
    let mut streams = Vec::new();
    for n in 0..4 {
        let mut stream = server.connect().await;
        stream.write_all(&post("/v1/logs", &[PROTOBUF], &body())).await.expect("open");
        streams.push(stream);
        let status = || server.ingest.status();
        until("it came in", || {
            status().in_flight_bytes + status().waiting_requests * (126 << 10) >= (n + 1) * (126 << 10)
        })
        .await;
    }
    assert_eq!(server.ingest.status().waiting_requests, 1);
    journal.let_through(4);
    for mut stream in streams {
        assert_eq!(Answer::read(&mut stream).await.status, 200);
    }
    assert_eq!(count(&journal.inner).await, 4);
}

#[tokio::test]
async fn a_client_that_goes_away_while_waiting_gives_its_place_back() {
    let journal = GatedJournal::new();
    let config = IngestConfig { hold_max: Duration::from_secs(20), ..tight() };
    let server = Server::start(config, shared(&journal)).await;
    let channel = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let channel = channel.connect().await.expect("listening");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let mut client = LogsServiceClient::new(channel.clone());
            tokio::spawn(async move { client.export(logs(1, 126 << 10)).await.map(drop) })
        })
        .collect();
    until("one waits", || server.ingest.status().waiting_requests == 1).await;
    let received = "shipwake_records_received_total{tenant=\"default\",signal=\"logs\"}";
    until("the others are with the journal", || server.metric(received) == 3).await;
    // All are cancelled: the one that waits, and those whose records the journal has already.
    let begun = Instant::now();
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until("the place is given back", || server.ingest.status().waiting_requests == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "not only because its time was over");
    assert!(server.ingest.status().in_flight_bytes > 0, "memory that the journal still uses is still counted");
    journal.let_through(4);
    until("all memory given back", || server.ingest.status().in_flight_bytes == 0).await;
    assert_eq!(count(&journal.inner).await, server.metric(received), "what was counted as received is in the journal");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let config = IngestConfig { body_stall_max: Duration::from_millis(100), ..IngestConfig::default() };
    let (server, journal) = Server::in_memory_with(config).await;
    let request = post("/v1/logs", &[PROTOBUF], &body());
    let mut stream = server.connect().await;
    stream.write_all(&request[..request.len() - 10]).await.expect("open");
    let answer = Answer::read(&mut stream).await;
    assert_eq!((answer.status, answer.retry_after_s().is_some()), (503, true));
    until("all memory given back", || server.ingest.status().in_flight_bytes == 0).await;
    assert_eq!(count(&journal).await, 0);
}

#[tokio::test]
async fn a_large_declared_length_takes_no_memory_before_its_bytes_come() {
    let (server, _) = Server::in_memory().await;
    let head =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 60000000\r\n\r\n";
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.expect("open");
        streams.push(stream);
    }
    until("all are in", || server.ingest.status().in_flight_bytes >= 50 * (32 << 10)).await;
    assert!(server.ingest.status().in_flight_bytes <= 50 * (32 << 10));
    assert_eq!(server.export("/v1/logs", &logs_bytes(1, 1)).await.status, 200, "others are served meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_more_bytes_than_there_is_room_for_all_get_through_in_turn() {
    const SENDERS: usize = 300;
    let limit = 4 << 20;
    let config = IngestConfig {
        message_bytes_max: limit,
        in_flight_bytes_max: limit,
        hold_max: Duration::from_secs(20),
        // The senders share the cores with the server. One that gets none for a moment has not stalled: `stalled.rs` is about that.
        body_patience: Duration::from_secs(20),
        ..IngestConfig::default()
    };
    let journal = MemoryJournal::with_faults(2, FaultPlan { delay_max: Duration::from_millis(3), ..FaultPlan::none() });
    let server = Arc::new(Server::start(config, shared(&journal)).await);
    let body = logs_bytes(10, 25 << 10);
    let mut chunked =
        b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    chunked.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let requests = [post("/v1/logs", &[PROTOBUF], &body), chunked].map(Arc::new);
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| {
            let (server, request) = (server.clone(), requests[n % 2].clone());
            tokio::spawn(async move { server.exchange_as_client(&request).await.status })
        })
        .collect();
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) {
        let used = server.ingest.status().in_flight_bytes;
        assert!(used <= limit as u64, "{used}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for sender in senders {
        let status = sender.await.unwrap_or_else(|error| panic!("{error}: refused {:?}", server.refused()));
        assert_eq!(status, 200, "refused {:?}", server.refused());
    }
    assert_eq!(server.refused(), [""; 0], "nobody was refused");
    assert_eq!(count(&journal).await, SENDERS as u64 * 10);
    assert_eq!(server.ingest.status().in_flight_bytes, 0);
}
