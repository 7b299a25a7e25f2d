//! Processes that die: Shipwake, the only broker, the broker that leads. What was acknowledged is counted once, whoever dies.

use std::time::{Duration, Instant};

use crate::broker::Kafka;
use crate::harness::{Start, eventually, free_ports, spawn};
use crate::load::{Load, judge};
use crate::otlp::{logs, post, post_bytes, resource};

use prost::Message;

/// Records a second: every kill falls into appends and folds, and the judge ends soon.
const RATE: &str = "2000/s";

/// How often; more of it for `make torture`.
fn rounds(otherwise: u32) -> u32 {
    std::env::var("SHIPWAKE_KAFKA_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn journal(kafka: &Kafka) -> String {
    format!("kafka://{}/journal?create=true", kafka.bootstrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_shipwake_and_of_the_only_broker_lose_nothing_and_count_nothing_twice() {
    let mut kafka = Kafka::one();
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let (ports, journal) = (free_ports(), journal(&kafka));
    let start = Start { data: &data, options: &["--journal", &journal, "--commit-seconds", "1"], ports: Some(ports) };
    let mut shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, RATE);
    let is_folding = async |shipwake: &crate::harness::Shipwake| {
        eventually("records are folded", || async {
            (shipwake.metric("shipwake_records_stored_total", "").await > 1000.0).then_some(())
        })
        .await;
    };
    for round in 0..rounds(4) {
        is_folding(&shipwake).await;
        shipwake.kill();
        if round % 8 == 2 {
            kafka.kill(0);
        }
        shipwake = spawn(&start);
        if round % 8 == 2 {
            eventually("it says what it waits for", || async {
                let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.ok()?;
                let status = answer.status();
                let text = answer.text().await.ok()?;
                (status == 503 && text.contains("cannot be reached")).then_some(())
            })
            .await;
            kafka.start_broker(0);
            kafka.wait_ready();
        }
        shipwake.wait_ready().await;
    }
    is_folding(&shipwake).await;
    // Now the broker alone, under a Shipwake that runs.
    kafka.kill(0);
    eventually("it is said that the broker is away", || async {
        let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.ok()?;
        (answer.status() == 503).then_some(())
    })
    .await;
    kafka.start_broker(0);
    kafka.wait_ready();
    shipwake.wait_ready().await;
    is_folding(&shipwake).await;
    load.stop();
    judge(&shipwake, &oracle);

    // And once more from what the last commit wrote.
    let (status, took) = tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined");
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");
    let again = spawn(&start);
    again.wait_ready().await;
    judge(&again, &oracle);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_leader_is_replaced_senders_are_held_then_told_to_come_again() {
    let mut kafka = Kafka::three();
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let (ports, journal) = (free_ports(), journal(&kafka));
    let start = Start { data: &data, options: &["--journal", &journal, "--partitions", "3"], ports: Some(ports) };
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, RATE);
    eventually("records are folded", || async {
        (shipwake.metric("shipwake_records_stored_total", "").await > 1000.0).then_some(())
    })
    .await;
    let mut refused = 0;
    for _ in 0..rounds(2) {
        let leader = kafka.leader("journal", 0).expect("there is one");
        kafka.kill(leader);
        let killed = Instant::now();
        // A sender of its own, as often as it may, until it is taken again.
        let mut number = 0;
        loop {
            let request = logs(resource("probe", "1", &format!("i{number}")), &[&format!("{refused} {number}")]);
            let asked = Instant::now();
            let (status, _, body) = post_bytes(&format!("{}/v1/logs", shipwake.http()), request.encode_to_vec()).await;
            let waited = asked.elapsed();
            assert!(waited < Duration::from_secs(15), "held for {waited:?}");
            assert!(status == 200 || status == 503, "{status} {}", String::from_utf8_lossy(&body));
            refused += u32::from(status == 503);
            number += 1;
            // Another broker has taken over, and answers.
            if status == 200 && killed.elapsed() > Duration::from_secs(1) && kafka.leader("journal", 0).is_some() {
                break;
            }
            assert!(killed.elapsed() < Duration::from_secs(30), "nobody leads");
        }
        kafka.start_broker(leader);
        kafka.wait_ready();
    }
    shipwake.wait_ready().await;
    post(&shipwake.http(), "logs", &logs(resource("probe", "2", "i"), &["after"])).await;
    load.stop();
    judge(&shipwake, &oracle);
    shipwake.wait_number("select count(*) from logs where service = 'probe' and version = '2'", 1).await;
}
