//! Senders that stop in the middle of a body, or dribble: alone they may, but they do not keep the memory that others wait
//! for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shipwake_ingest::IngestConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Answer, Server, count, logs_bytes, post, until};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const PATIENCE: Duration = Duration::from_millis(200);

/// Room for a few of the bodies below.
fn tight() -> IngestConfig {
    IngestConfig {
        message_bytes_max: 8 << 20,
        in_flight_bytes_max: 8 << 20,
        body_patience: PATIENCE,
        ..IngestConfig::default()
    }
}

/// A connection that has sent the head and a good half of a body of 1 MiB.
async fn stalled(server: &Server) -> TcpStream {
    let request = post("/v1/logs", &[PROTOBUF], &logs_bytes(1, 1 << 20));
    let mut stream = server.connect().await;
    // The server reads no more than it has room for: what it leaves lies in the kernel's buffers.
    let _ = tokio::time::timeout(Duration::from_millis(20), stream.write_all(&request[..600 << 10])).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_stalled_senders_do_not_keep_a_healthy_one_waiting() {
    const STALLED: usize = 200;
    let (server, journal) = Server::in_memory().await;
    let server = Arc::new(server);
    // 120 MB, twice of what there is room for.
    let stalling: Vec<_> = (0..STALLED)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { stalled(&server).await })
        })
        .collect();
    until("the memory is taken", || server.ingest.status().waiting_requests > 0).await;
    // What keeps a place is cut after its patience, a quarter of a second; without that a healthy sender would wait until a
    // body's own time is over, which is why that is the limit here, however busy the machine.
    let body_time = IngestConfig::default().body_time_max;
    let small = tokio::spawn({
        let server = server.clone();
        async move { slowest(&server, 300, &logs_bytes(50, 300)).await }
    });
    let usual = slowest(&server, 200, &logs_bytes(500, 600)).await;
    let small = small.await.expect("none is refused");
    assert!(small < body_time / 2 && usual < body_time / 2, "small: {small:?}, usual: {usual:?}");
    assert_eq!(count(&journal).await, 300 * 50 + 200 * 500);
    assert!(server.metric("shipwake_ingest_refused_requests_total{reason=\"slow_body\"}") > 0);
    for stalled in stalling {
        drop(stalled.await);
    }
    until("all memory given back", || server.ingest.status().in_flight_bytes == 0).await;
}

/// How long the slowest of `requests`, one after the other, takes. All must be taken.
async fn slowest(server: &Server, requests: usize, body: &[u8]) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..requests {
        let begun = Instant::now();
        assert_eq!(server.export("/v1/logs", body).await.status, 200);
        slowest = slowest.max(begun.elapsed());
    }
    println!("{} bytes: slowest {slowest:?}", body.len());
    slowest
}

#[tokio::test]
async fn a_stalled_sender_is_told_to_come_again_only_when_others_wait() {
    let (server, _) = Server::in_memory_with(tight()).await;
    let mut alone = stalled(&server).await;
    until("it is in", || server.ingest.status().in_flight_bytes >= 600 << 10).await;
    assert_eq!(server.export("/v1/logs", &logs_bytes(1, 1 << 20)).await.status, 200, "there is room for both");
    // The rest comes late, and is taken: nobody waited.
    let request = post("/v1/logs", &[PROTOBUF], &logs_bytes(1, 1 << 20));
    tokio::time::sleep(2 * PATIENCE).await;
    alone.write_all(&request[600 << 10..]).await.expect("open");
    assert_eq!(Answer::read(&mut alone).await.status, 200);

    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(stalled(&server).await);
    }
    let begun = Instant::now();
    let answer = Answer::read(&mut streams[0]).await;
    assert_eq!((answer.status, answer.rpc_status().0), (503, 14));
    assert!((1..=3).contains(&answer.retry_after_s().expect("a hint")));
    assert!(begun.elapsed() < Duration::from_secs(20), "long before a body's own time is over: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_sender_that_dribbles_is_no_better_than_one_that_has_stalled() {
    let (server, _) = Server::in_memory_with(tight()).await;
    let mut dribbling = stalled(&server).await;
    let mut others = Vec::new();
    for _ in 0..16 {
        others.push(stalled(&server).await);
    }
    let refused = || server.metric("shipwake_ingest_refused_requests_total{reason=\"slow_body\"}");
    let begun = Instant::now();
    while dribbling.write_all(&[0]).await.is_ok() && refused() < 5 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} given up", refused());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
