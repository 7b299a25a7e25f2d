//! Three times the highest rate that was held, from senders who do not wait for each other: how much of it is acknowledged and
//! visible while it lasts (goodput, as a part of that rate), what memory it takes, and how soon the pages are fresh again.
//!
//! Goodput is counted by the shards, whose records queries see. Afterwards the judge compares every record that was
//! acknowledged with what is there.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{self, Shipwake};
use crate::{judged, memory_peak_mb};

/// How many times the capacity is offered.
const FACTOR: f64 = 3.0;
/// Shards that need less than this for what waits are fresh.
const FRESH_S: f64 = 1.0;
const FRESH_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The highest rate that was held.
pub struct Capacity {
    pub rate_mb: f64,
    pub records_per_s: f64,
}

/// Offers the overload for `seconds` and prints what became of it.
pub async fn measure(capacity: &Capacity, seconds: u64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let shipwake = harness::start(&folder.path().join("data")).await;
    let oracle = folder.path().join("oracle");
    let (begun, before) = (Instant::now(), visible(&shipwake).await);
    let load = start_load(&shipwake, capacity.rate_mb * FACTOR, seconds, &oracle);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (lasted_s, seen) = (begun.elapsed().as_secs_f64(), visible(&shipwake).await - before);
    let behind_s = backlog_s(&shipwake).await;
    // What is due and could not be sent yet is left out; those who were told to come back may still do so for a while.
    let stopped = Command::new("kill").args(["-TERM", &load.id().to_string()]).status().expect("kill exists");
    assert!(stopped.success(), "the load ended by itself");
    let summary = tokio::task::spawn_blocking(move || load.wait_with_output()).await.expect("joined").expect("it ran");
    let summary: Value = serde_json::from_slice(&summary.stdout).expect("a summary");
    let fresh_after = fresh_after(&shipwake).await;
    let number = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    println!(
        "overload of {:.0} MB/s for {seconds} s: {:.0} records/s acknowledged and visible meanwhile, {:.0} % of the rate held; {:.1} s behind at its end, fresh {:.1} s after the last answer",
        capacity.rate_mb * FACTOR,
        seen / lasted_s,
        seen / lasted_s / capacity.records_per_s * 100.0,
        behind_s,
        fresh_after.as_secs_f64(),
    );
    println!(
        "  offered {:.0} records/s in {:.1} s, acknowledged {:.0} in all, refused {:.0}, unknown {:.0}, told to come back {:.0} times; memory {:.0} MB; complete {}",
        number("/sent/records") / number("/elapsed_s"),
        number("/elapsed_s"),
        number("/acked_records"),
        number("/refused_records"),
        number("/unknown_records"),
        number("/retries"),
        memory_peak_mb(&shipwake),
        judged(&shipwake, &oracle),
    );
}

fn start_load(shipwake: &Shipwake, rate_mb: f64, seconds: u64, oracle: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "--json", "--protocol", "http", "--in-flight", "400", "--give-up", "5s"])
        .args(["--rate", &format!("{rate_mb}MB/s"), "--duration", &format!("{seconds}s")])
        .args(["--endpoint", &shipwake.http(), "--url", &shipwake.ui(), "--oracle"])
        .arg(oracle)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs")
}

async fn visible(shipwake: &Shipwake) -> f64 {
    shipwake.metric("shipwake_records_stored_total", "").await
}

async fn backlog_s(shipwake: &Shipwake) -> f64 {
    shipwake.metric("shipwake_ingest_backlog_seconds", "").await
}

/// How long it takes until the shards have next to nothing to catch up with.
async fn fresh_after(shipwake: &Shipwake) -> Duration {
    let begun = Instant::now();
    while backlog_s(shipwake).await >= FRESH_S {
        assert!(begun.elapsed() < FRESH_WITHIN, "still behind:\n{}", shipwake.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    begun.elapsed()
}
