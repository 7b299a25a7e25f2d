//! What is missing or wrong is said in words, within seconds, where somebody looks: the log, `/readyz`, the pipeline page.

use std::time::{Duration, Instant};

use crate::broker::{Kafka, PASSWORD, Settings, USER};
use crate::harness::{Shipwake, Start, eventually, spawn};
use crate::otlp::{logs, post, post_bytes, resource};

/// Waits until `/readyz` says this, and gives how long it took.
async fn said(shipwake: &Shipwake, words: &str) -> Duration {
    let asked = Instant::now();
    eventually(words, || async {
        let answer = reqwest::get(format!("{}/readyz", shipwake.ui())).await.ok()?;
        let status = answer.status();
        (status == 503 && answer.text().await.ok()?.contains(words)).then_some(())
    })
    .await;
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_an_unknown_certificate_and_a_missing_topic_are_said_and_can_be_mended() {
    let kafka = Kafka::start(&Settings { brokers: 1, secure: true, besides: &[] });
    let folder = tempfile::tempdir().expect("a folder");
    let (password, ca) = (folder.path().join("password"), kafka.ca());
    std::fs::write(&password, "not-the-password\n").expect("a folder for the test");
    let base = format!("kafka://{}/journal?sasl=scram-sha-512&user={USER}", kafka.secure_bootstrap());
    let unknown = format!("{base}&tls=true&password_file={}", password.display());
    let trusted = format!("{base}&ca={}&password_file={}", ca.display(), password.display());

    let data = folder.path().join("data");
    let shipwake = spawn(&Start { data: &data, options: &["--journal", &unknown], ports: None });
    let took = said(&shipwake, "certificate is not trusted").await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    shipwake.kill();

    let shipwake = spawn(&Start { data: &data, options: &["--journal", &trusted], ports: None });
    let took = said(&shipwake, "refuses the user or the password").await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (status, _, body) = post_bytes(&format!("{}/v1/logs", shipwake.http()), Vec::new()).await;
    assert_eq!(status, 503, "senders are told to come again: {}", String::from_utf8_lossy(&body));
    // The password is corrected; nobody starts anything again.
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("a folder for the test");
    said(&shipwake, "the topic journal does not exist").await;
    assert!(!shipwake.log().contains("not-the-password") && !shipwake.log().contains(PASSWORD), "{}", shipwake.log());
    kafka.create_topic("journal", 2, &[]);
    shipwake.wait_ready().await;
    post(&shipwake.http(), "logs", &logs(resource("pay", "1", "i"), &["a line"])).await;
    shipwake.wait_number("select count(*) from logs where service = 'pay'", 1).await;
    let log = shipwake.log();
    for words in ["refuses the user or the password", "the topic journal does not exist", "can be used now"] {
        assert!(log.contains(words), "{words}\n{log}");
    }

    let impossible = trusted.replace("password_file=", "ca_file=");
    let mut refused = spawn(&Start { data: &data, options: &["--journal", &impossible], ports: None });
    assert_eq!(refused.wait_exit().await.code(), Some(1));
    assert!(refused.log().contains("password is missing"), "{}", refused.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_kafka_deleted_before_they_were_folded_are_said_and_counted() {
    let kafka = Kafka::one();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let journal = format!("kafka://{}/journal?create=true", kafka.bootstrap());
    let start = Start { data: &data, options: &["--journal", &journal, "--partitions", "1"], ports: None };
    let send = async |shipwake: &Shipwake, version: &str| {
        for n in 0..10 {
            let body = format!("{version} {n}");
            post(&shipwake.http(), "logs", &logs(resource("pay", version, "i"), &[&body])).await;
        }
    };
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    send(&shipwake, "1").await;
    let (status, _) = tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined");
    assert!(status.success(), "{status}");

    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    send(&shipwake, "2").await;
    // Nothing of it is committed, and now a part of it is gone.
    shipwake.kill();
    kafka.delete_records("journal", 0, 14);
    let doctor = std::process::Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["doctor", "--journal", &journal, "--data"])
        .arg(&data)
        .output()
        .expect("it runs");
    let said_by_doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success(), "{said_by_doctor}");
    assert!(said_by_doctor.contains("begins at offset 14") && said_by_doctor.contains("offset 10"), "{said_by_doctor}");
    let shipwake = spawn(&start);
    shipwake.wait_ready().await;
    shipwake.wait_number("select count(*) from logs where version = '2'", 6).await;
    assert_eq!(shipwake.number("select count(*) from logs where version = '1'").await, 10);
    assert_eq!(shipwake.metric("shipwake_journal_lost_records_total", "").await, 4.0);
    let log = shipwake.log();
    assert!(log.contains("4 requests of shard 0 are lost") && log.contains("offsets 10 to 13"), "{log}");
    let pipeline = shipwake.api("/api/v1/pipeline").await;
    assert!(pipeline.to_string().contains("4 requests of shard 0 are lost"), "{pipeline}");
}
