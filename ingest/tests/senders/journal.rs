//! Ingest and the state of its journal: still opening, full, failed; and that an answer means durable.

use std::time::Duration;

use prometheus_client::registry::Registry;
use shipwake_ingest::{IngestConfig, JournalHandle};
use shipwake_journal::{EmbeddedJournal, Journal, MemoryJournal, embedded};
use tokio::io::AsyncWriteExt;

use crate::pressure::impatient;
use crate::support::{Answer, GatedJournal, LIMIT, Server, count, logs_bytes, post, shared, stored, until};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test]
async fn requests_wait_for_a_journal_that_is_being_opened() {
    let config = IngestConfig { hold_max: LIMIT, ..IngestConfig::default() };
    let server = Server::start(config, JournalHandle::opening()).await;
    assert_eq!(server.ingest.status().journal, "opening");
    let mut stream = server.connect().await;
    stream.write_all(&post("/v1/logs", &[PROTOBUF], &logs_bytes(4, 4))).await.expect("open");
    let journal = MemoryJournal::new(2);
    server.ingest.journal().open(shared(&journal));
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    assert_eq!((count(&journal).await, server.ingest.status().journal), (4, "open"));
}

#[tokio::test]
async fn a_journal_that_does_not_open_in_time_or_is_closed_refuses_with_a_hint() {
    let server = Server::start(impatient(), JournalHandle::opening()).await;
    for _ in 0..2 {
        let answer = server.export("/v1/traces", b"").await;
        assert_eq!(answer.status, 503);
        assert!((1..=3).contains(&answer.retry_after_s().expect("a hint")));
        server.ingest.journal().close();
    }
}

#[tokio::test]
async fn a_full_journal_refuses_with_a_hint_and_goes_on_when_there_is_space() {
    let (server, journal) = Server::in_memory().await;
    journal.set_full(true);
    let answer = server.export("/v1/logs", &logs_bytes(7, 4)).await;
    assert_eq!((answer.status, answer.rpc_status().0), (503, 14));
    assert!((1..=3).contains(&answer.retry_after_s().expect("a hint")));
    let rejected =
        server.metric("shipwake_records_rejected_total{tenant=\"default\",signal=\"logs\",reason=\"journal_full\"}");
    assert_eq!(rejected, 7);
    journal.set_full(false);
    assert_eq!(server.export("/v1/logs", &logs_bytes(7, 4)).await.status, 200);
    assert_eq!(count(&journal).await, 7);
    let rejections = server.ingest.status().rejections;
    assert_eq!((rejections[0].reason, rejections[0].count), ("journal_full", 7));
}

#[tokio::test]
async fn a_poisoned_journal_is_reported_to_the_program() {
    let (server, journal) = Server::in_memory().await;
    journal.poison("disk on fire");
    let answer = server.export("/v1/logs", &logs_bytes(1, 4)).await;
    assert_eq!((answer.status, answer.retry_after_s().is_some()), (503, true));
    let reason = tokio::time::timeout(LIMIT, server.ingest.failed()).await.expect("told");
    assert!(reason.contains("disk on fire"), "{reason}");
}

#[tokio::test]
async fn a_journal_that_takes_too_long_is_answered_before_the_client_gives_up() {
    let journal = GatedJournal::new();
    let config = IngestConfig { append_time_max: Duration::from_millis(50), ..IngestConfig::default() };
    let server = Server::start(config, shared(&journal)).await;
    let answer = server.export("/v1/logs", &logs_bytes(2, 4)).await;
    assert_eq!((answer.status, answer.retry_after_s().is_some()), (503, true));
    journal.let_through(2);
    let retry = server.export("/v1/logs", &logs_bytes(2, 4)).await;
    assert_eq!(retry.status, 200);
    until("both appends ended", || journal.inner.end(0) == 2).await;
    let hashes: Vec<_> = stored(&journal.inner).await.iter().map(|record| record.header.request_hash).collect();
    assert!(hashes[0].is_some() && hashes[0] == hashes[1], "the retry is recognised: {hashes:?}");
}

#[tokio::test]
async fn shutdown_lets_requests_finish_and_refuses_new_ones() {
    let journal = GatedJournal::new();
    let mut server = Server::start(IngestConfig::default(), shared(&journal)).await;
    let address = server.address;
    let mut stream = server.connect().await;
    stream.write_all(&post("/v1/logs", &[PROTOBUF], &logs_bytes(9, 4))).await.expect("open");
    let received = "shipwake_records_received_total{tenant=\"default\",signal=\"logs\"}";
    until("it is in flight", || server.metric(received) == 9).await;
    server.begin_shutdown();
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("the socket closes");
    journal.let_through(1);
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.status, 200);
    server.stop().await;
    assert_eq!(count(&journal.inner).await, 9);
}

#[tokio::test]
async fn what_was_answered_is_in_the_embedded_journal_after_a_new_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = || embedded::Config { partitions: 2, ..embedded::Config::new(folder.path()) };
    let open = || EmbeddedJournal::open(config(), &mut Registry::default());
    let journal = std::sync::Arc::new(open().expect("opens"));
    let handle = JournalHandle::opening();
    handle.open(journal.clone());
    let mut server = Server::start(IngestConfig::default(), handle).await;
    for n in 1..=20 {
        assert_eq!(server.export("/v1/logs", &logs_bytes(n, 20)).await.status, 200);
    }
    server.stop().await;
    journal.close().await.expect("closes");
    drop(journal);
    let journal = open().expect("opens again");
    assert_eq!(count(&journal).await, (1..=20).sum::<u64>());
    let values: Vec<_> = stored(&journal).await.iter().map(|record| record.value.clone()).collect();
    assert!((1..=20).all(|n| values.contains(&logs_bytes(n, 20))));
    journal.close().await.expect("closes");
}
