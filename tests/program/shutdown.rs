//! SIGTERM and restarts: nothing in flight is lost, and the ports answer again before clients give up.

use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Start, spawn, start};
use crate::otlp::{logs, post, resource};

#[tokio::test]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let shipwake = start(&data).await;
    let url = format!("{}/v1/logs", shipwake.http());
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let url = url.clone();
            tokio::spawn(async move { send_until_refused(&url, sender).await })
        })
        .collect();
    shipwake.wait_number("select least(count(*), 200) from logs", 200).await;
    let (status, took) = tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined");
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "took {took:?}");
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.expect("joined"));
    }

    let again = start(&data).await;
    let rows = again.sql("select body, count(*) from logs group by body").await;
    let mut found: Vec<String> = rows
        .iter()
        .inspect(|row| assert_eq!(row[1], 1, "counted once: {row:?}"))
        .map(|row| row[0].as_str().expect("text").to_owned())
        .collect();
    found.sort();
    for body in &acknowledged {
        assert!(found.binary_search(body).is_ok(), "{body} was acknowledged and is gone");
    }
    assert!(acknowledged.len() >= 200);
}

/// Sends one record a request until the server refuses or is gone; gives the bodies that were acknowledged.
async fn send_until_refused(url: &str, sender: usize) -> Vec<String> {
    use prost::Message;
    let client = reqwest::Client::new();
    let mut acknowledged = Vec::new();
    // Bounded below the default limit of a query's answer.
    for n in 0..2_000 {
        let body = format!("{sender}-{n}");
        let bytes = logs(resource("drain", "1", "a"), &[&body]).encode_to_vec();
        match client.post(url).header("content-type", "application/x-protobuf").body(bytes).send().await {
            Ok(answer) if answer.status().is_success() => acknowledged.push(body),
            _ => break,
        }
    }
    acknowledged
}

#[tokio::test]
async fn a_request_sent_while_the_program_starts_is_held_and_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = spawn(&Start { data: &folder.path().join("data"), options: &[], ports: None });
    let url = format!("{}/v1/logs", shipwake.http());
    let deadline = Instant::now() + LIMIT;
    // Refused connections are expected until the socket is bound; the first request that connects must be taken.
    loop {
        use prost::Message;
        let bytes = logs(resource("early", "1", "a"), &["early"]).encode_to_vec();
        match reqwest::Client::new()
            .post(&url)
            .header("content-type", "application/x-protobuf")
            .body(bytes)
            .send()
            .await
        {
            Ok(answer) => {
                assert_eq!(answer.status(), 200, "{}", shipwake.log());
                break;
            }
            Err(error) => assert!(error.is_connect() && Instant::now() < deadline, "{error:?}\n{}", shipwake.log()),
        }
        tokio::task::yield_now().await;
    }
    shipwake.wait_ready().await;
    shipwake.wait_number("select count(*) from logs", 1).await;
}

#[tokio::test]
async fn the_ports_answer_again_right_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let first = start(&data).await;
    let ports = first.ports();
    for _ in 0..20 {
        post(&first.http(), "logs", &logs(resource("back", "1", "a"), &["x"; 50])).await;
    }
    first.kill();
    let second = spawn(&Start { data: &data, options: &[], ports: Some(ports) });
    second.wait_ready().await;
    post(&second.http(), "logs", &logs(resource("back", "1", "a"), &["y"])).await;
    second.wait_number("select count(*) from logs", 1_001).await;
}
