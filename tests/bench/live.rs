//! The whole-program benchmark: generator and server on the same machine, at the rate of 1.2 TB a day and then at higher
//! ones, until one is not held; then three times the highest that was ([`overload`]). `cargo bench --bench live`; options
//! through the environment, see [`Plan`].
//!
//! A rate is held when everything acknowledged is there once (the judge says so), nothing was refused, and records were
//! visible within a second. CPU is counted until background work has settled, memory as the kernel's high-water mark.

#[allow(dead_code)]
#[path = "../program/harness.rs"]
mod harness;
mod overload;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use harness::Shipwake;

/// What to run.
struct Plan {
    /// `SHIPWAKE_BENCH_RATES`: rates in MB/s, in turn. Default 13.9, then multiples of it.
    rates: Vec<f64>,
    /// `SHIPWAKE_BENCH_SECONDS`: how long each rate is held. Default 60; 300 for the figures in `docs/benchmarks.md`.
    seconds: u64,
    /// `SHIPWAKE_BENCH_OVERLOAD_SECONDS`: how long three times the highest rate held is offered. Default 25; 0: not at all.
    overload_seconds: u64,
}

/// What was measured at one rate.
struct Measured {
    rate_mb: f64,
    achieved_mb: f64,
    records_per_s: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    visible_p50_ms: f64,
    visible_p99_ms: f64,
    memory_mb: f64,
    cpu_s_per_gb: f64,
    cores: f64,
    generator_cores: f64,
    refused: u64,
    complete: bool,
}

impl Measured {
    fn held(&self) -> bool {
        self.complete && self.refused == 0 && self.visible_p99_ms < 1_000.0 && self.achieved_mb > 0.99 * self.rate_mb
    }
}

fn main() {
    // `cargo test --all-targets` runs benches with --test: nothing to check here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let plan = plan();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!(
        "MB/s    records/s  ack p50/p99 ms   visible p50/p99 ms  memory MB  server cores  CPU s/GB  generator cores  refused  complete"
    );
    let mut capacity = None;
    for rate in plan.rates {
        let measured = runtime.block_on(measure(rate, plan.seconds));
        print(&measured);
        if !measured.held() {
            println!("not held: the highest rate held is the one before");
            break;
        }
        capacity = Some(overload::Capacity { rate_mb: rate, records_per_s: measured.records_per_s });
    }
    if let Some(capacity) = capacity.filter(|_| plan.overload_seconds > 0) {
        runtime.block_on(overload::measure(&capacity, plan.overload_seconds));
    }
}

fn plan() -> Plan {
    let variable = |name: &str| std::env::var(name).ok();
    let seconds = |name: &str, default| variable(name).map_or(default, |text| text.parse().expect("whole seconds"));
    let rates = variable("SHIPWAKE_BENCH_RATES").unwrap_or_else(|| "13.9,27.8,41.7,55.6,69.5,83.4".to_owned());
    Plan {
        rates: rates.split(',').map(|rate| rate.trim().parse().expect("a rate in MB/s")).collect(),
        seconds: seconds("SHIPWAKE_BENCH_SECONDS", 60),
        overload_seconds: seconds("SHIPWAKE_BENCH_OVERLOAD_SECONDS", 25),
    }
}

async fn measure(rate_mb: f64, seconds: u64) -> Measured {
    // Below the build folder: a real disk, where the system's temporary folder may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let shipwake = harness::start(&folder.path().join("data")).await;
    let oracle = folder.path().join("oracle");
    let idle = cpu(&shipwake);
    let summary = load(&shipwake, rate_mb, seconds, &oracle);
    let number = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let used = settled(&shipwake).await.saturating_sub(idle).as_secs_f64();
    let gigabytes = number("/sent/bytes") / 1e9;
    Measured {
        rate_mb,
        achieved_mb: number("/sent/mb_per_s"),
        records_per_s: number("/sent/records_per_s"),
        ack_p50_ms: number("/ack_ms/p50"),
        ack_p99_ms: number("/ack_ms/p99"),
        visible_p50_ms: number("/visible_lag/server_ms/p50"),
        visible_p99_ms: number("/visible_lag/server_ms/p99"),
        memory_mb: memory_peak_mb(&shipwake),
        cpu_s_per_gb: used / gigabytes,
        cores: used / number("/elapsed_s"),
        generator_cores: number("/generator/cores"),
        refused: number("/refused_records") as u64,
        complete: judged(&shipwake, &oracle),
    }
}

fn load(shipwake: &Shipwake, rate_mb: f64, seconds: u64, oracle: &Path) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args([
            "load",
            "--json",
            "--visible-lag",
            "--rate",
            &format!("{rate_mb}MB/s"),
            "--duration",
            &format!("{seconds}s"),
        ])
        .args(["--endpoint", &shipwake.grpc(), "--url", &shipwake.ui(), "--oracle"])
        .arg(oracle)
        .output()
        .expect("it runs");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

fn judged(shipwake: &Shipwake, oracle: &Path) -> bool {
    let out = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "check", "--wait", "60s", "--url", &shipwake.ui(), "--oracle"])
        .arg(oracle)
        .output()
        .expect("it runs");
    if !out.status.success() {
        println!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    }
    out.status.success()
}

/// The process's CPU time once it uses less than a fiftieth of a core over two seconds, or after a minute.
async fn settled(shipwake: &Shipwake) -> Duration {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = cpu(shipwake);
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = cpu(shipwake);
        if now - before < Duration::from_millis(40) || Instant::now() > deadline {
            return now;
        }
        before = now;
    }
}

/// User and system time of the process so far; the kernel counts in hundredths of a second.
fn cpu(shipwake: &Shipwake) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", shipwake.pid())).expect("it runs");
    let after_name = text.rsplit_once(')').expect("a name in parentheses").1;
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that was resident at once.
fn memory_peak_mb(shipwake: &Shipwake) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", shipwake.pid())).expect("it runs");
    let line = text.lines().find(|line| line.starts_with("VmHWM")).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number") / 1e3
}

fn print(m: &Measured) {
    println!(
        "{:<7.1} {:>9.0}  {:>6.1} / {:<7.1} {:>8.1} / {:<9.1} {:>8.0}  {:>12.2}  {:>8.1}  {:>15.2}  {:>7}  {}",
        m.achieved_mb,
        m.records_per_s,
        m.ack_p50_ms,
        m.ack_p99_ms,
        m.visible_p50_ms,
        m.visible_p99_ms,
        m.memory_mb,
        m.cores,
        m.cpu_s_per_gb,
        m.generator_cores,
        m.refused,
        m.complete
    );
}
