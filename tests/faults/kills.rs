//! The process is killed, asked to stop and made to stand still under load, on one data folder. (F1, F8 and F24 of `docs/faults.md`)

use std::process::Command;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::chance::{chances, is_long, rounds};
use crate::harness::{Shipwake, Start, free_ports, spawn};
use crate::load::{Load, judge, terminate};
use crate::old_lines::OldLines;

/// Records a second of each of two senders: a kill always falls into appends, folds and commits, and the judge ends soon.
const RATE: &str = "2000/s";
/// How soon after a kill the program is ready again, in 99 of 100 cases.
const READY_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_nothing_and_count_nothing_twice() {
    let mut random = chances("kills");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let ports = free_ports();
    // Commits every second, so that kills fall into them too.
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) };
    let mut shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let oracles = ["grpc", "http"].map(|protocol| (protocol, folder.path().join(protocol)));
    let loads = oracles.each_ref().map(|(protocol, oracle)| Load::start(ports, oracle, protocol, RATE));
    let old_lines = OldLines::start(ports[1]);

    let mut restarts = Vec::new();
    let alive_max_ms = if is_long() { 3_000 } else { 1_200 };
    for _ in 0..rounds(12, 200) {
        // The moment of the kill is the chance that is tested; nothing waits for a condition here.
        tokio::time::sleep(Duration::from_millis(random.random_range(50..alive_max_ms))).await;
        shipwake.kill();
        let asked = Instant::now();
        shipwake = spawn(&start);
        shipwake.wait_ready().await;
        restarts.push(asked.elapsed());
    }
    for load in loads {
        load.stop().await;
    }
    restarts.sort();
    let p99 = restarts[(restarts.len() * 99).div_ceil(100) - 1];
    let (median, slowest) = (restarts[restarts.len() / 2], restarts[restarts.len() - 1]);
    println!("{} restarts to ready: median {median:?}, p99 {p99:?}, slowest {slowest:?}", restarts.len());
    assert!(p99 < READY_WITHIN, "{p99:?}");
    for (_, oracle) in &oracles {
        judge(&shipwake, oracle).await;
    }
    old_lines.stop(&shipwake).await;

    // And once more from what the last commit wrote.
    let (status, _) = terminate(shipwake).await;
    assert!(status.success(), "{status}");
    let again = spawn(&start);
    again.wait_ready().await;
    for (_, oracle) in &oracles {
        judge(&again, oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let mut random = chances("sigterm");
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let start = Start { data: &data, options: &["--commit-seconds", "2"], ports: Some(ports) };
    let mut shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let load = Load::start(ports, &oracle, "grpc", "5MB/s");
    for _ in 0..rounds(3, 30) {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..2_500))).await;
        let (status, took) = terminate(shipwake).await;
        assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");
        shipwake = spawn(&start);
        shipwake.wait_ready().await;
    }
    load.stop().await;
    judge(&shipwake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_goes_on_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, oracle) = (folder.path().join("data"), folder.path().join("oracle"));
    let ports = free_ports();
    let shipwake = spawn(&Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) });
    shipwake.wait_ready().await;
    // By several connections, so that requests are under way when it stops, and come again while it stands.
    let load = Load::start(ports, &oracle, "http", RATE);
    load.wait_acknowledged(20).await;
    signal(&shipwake, "STOP");
    tokio::time::sleep(Duration::from_secs(if is_long() { 60 } else { 20 })).await;
    signal(&shipwake, "CONT");
    load.wait_acknowledged(100).await;
    load.stop().await;
    judge(&shipwake, &oracle).await;
}

fn signal(shipwake: &Shipwake, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &shipwake.pid().to_string()]).status();
    assert!(status.expect("kill exists").success(), "{name}");
}
