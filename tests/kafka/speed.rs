//! A steady rate through a real Kafka on the same machine, judged. For three seconds in every run; for half a minute at the
//! promised rate with `SHIPWAKE_KAFKA_SPEED=13.9MB/s cargo test --release --test kafka speed -- --nocapture`.

use std::process::Command;

use crate::broker::Kafka;
use crate::harness::{Start, spawn};
use crate::load::judge;

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_rate_passes_through_kafka() {
    let rate = std::env::var("SHIPWAKE_KAFKA_SPEED");
    let (rate, duration) = rate.as_deref().map_or(("2MB/s", "3s"), |rate| (rate, "30s"));
    let kafka = Kafka::one();
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let journal = format!("kafka://{}/journal?create=true", kafka.bootstrap());
    let shipwake = spawn(&Start { data: &data, options: &["--journal", &journal], ports: None });
    shipwake.wait_ready().await;
    let load = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "--rate", rate, "--duration", duration, "--visible-lag", "--report-every", "10s"])
        .args(["--endpoint", &shipwake.grpc(), "--url", &shipwake.ui(), "--oracle"])
        .arg(&oracle)
        .output()
        .expect("it runs");
    println!("{}", String::from_utf8_lossy(&load.stdout));
    let pid = shipwake.pid().to_string();
    let usage = Command::new("ps").args(["-o", "time=,rss=", "-p", &pid]).output().expect("ps exists");
    println!("server's CPU time and memory in KiB: {}", String::from_utf8_lossy(&usage.stdout));
    judge(&shipwake, &oracle);
}
