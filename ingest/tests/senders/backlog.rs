//! A reader of the journal that cannot keep up: new requests are held, then refused with a hint, what was acknowledged stays,
//! and all is well again when the reader has caught up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shipwake_ingest::IngestConfig;
use shipwake_journal::{Journal, MemoryJournal};
use tokio_util::sync::CancellationToken;

use crate::support::{Server, count, logs_bytes, shared, until};

const REFUSED: &str = "shipwake_ingest_refused_requests_total{reason=\"behind\"}";

/// A server whose reader has folded what the number says, and the journal that it reads.
async fn server(config: IngestConfig) -> (Server, MemoryJournal, Arc<AtomicU64>, CancellationToken) {
    let journal = MemoryJournal::new(1);
    let server = Server::start(config, shared(&journal)).await;
    let (folded, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    tokio::spawn({
        let (ingest, folded, stop) = (server.ingest.clone(), folded.clone(), stop.clone());
        async move { ingest.follow(move |_| Some(folded.load(Ordering::Relaxed)), stop).await }
    });
    (server, journal, folded, stop)
}

/// Room for half a second at the pace that a reader is trusted with: two megabytes.
fn impatient() -> IngestConfig {
    IngestConfig {
        backlog_time_max: Duration::from_millis(500),
        hold_max: Duration::from_millis(150),
        ..IngestConfig::default()
    }
}

#[tokio::test]
async fn a_backlog_refuses_with_a_hint_and_ends_with_the_reader() {
    let (server, journal, folded, _stop) = server(impatient()).await;
    let body = logs_bytes(1, 512 << 10);
    let mut acknowledged = 0;
    let refusal = loop {
        let answer = server.export("/v1/logs", &body).await;
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "a reader that stands still must stop the senders");
    };
    assert_eq!((refusal.status, refusal.rpc_status().0), (503, 14));
    assert!((1..=3).contains(&refusal.retry_after_s().expect("a hint")));
    assert!(acknowledged >= 4, "two megabytes are let in: {acknowledged}");
    assert!(server.metric(REFUSED) >= 1);
    assert_eq!(count(&journal).await, acknowledged);
    assert_eq!(server.ingest.status().in_flight_bytes, 0);

    folded.store(journal.end(0), Ordering::Relaxed);
    until("the reader is seen", || server.metric("shipwake_ingest_backlog_bytes") == 0).await;
    assert_eq!(server.export("/v1/logs", &body).await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_held_goes_on_when_the_reader_does() {
    let config = IngestConfig { hold_max: Duration::from_secs(20), ..impatient() };
    let (server, journal, folded, _stop) = server(config).await;
    let server = Arc::new(server);
    let body = logs_bytes(1, 4 << 20);
    assert_eq!(server.export("/v1/logs", &body).await.status, 200);
    until("it is counted", || server.metric("shipwake_ingest_backlog_bytes") > 4 << 20).await;
    let held = tokio::spawn({
        let (server, body) = (server.clone(), body.clone());
        async move { server.export("/v1/logs", &body).await.status }
    });
    until("it waits", || server.ingest.status().waiting_requests == 1 || held.is_finished()).await;
    folded.store(journal.end(0), Ordering::Relaxed);
    assert_eq!(held.await.expect("joined"), 200);
}

#[tokio::test]
async fn without_a_reader_there_is_no_bound() {
    let (server, journal, _, stop) = server(impatient()).await;
    stop.cancel();
    let body = logs_bytes(1, 1 << 20);
    until("the door is open", || server.metric("shipwake_ingest_backlog_bytes") == 0).await;
    for _ in 0..10 {
        assert_eq!(server.export("/v1/logs", &body).await.status, 200);
    }
    assert_eq!(count(&journal).await, 10);
}
