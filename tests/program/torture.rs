//! Forty rounds of `kill -9` under load on one data folder. The oracle, a file outside the server synced by the generator,
//! knows what was acknowledged; the judge compares it with logs, spans and windows.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{LIMIT, Start, free_ports, spawn};

const ROUNDS: u32 = 40;
/// Records a second: enough that a kill always falls into appends, folds and commits, and the judge ends soon.
const RATE: &str = "4000/s";

#[tokio::test]
async fn forty_kills_lose_nothing_and_count_nothing_twice() {
    let seed: u64 =
        std::env::var("SHIPWAKE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("SHIPWAKE_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let oracle = folder.path().join("oracle");
    let ports = free_ports();
    // Commits every second, so that kills fall into them too.
    let start = Start { data: &data, options: &["--commit-seconds", "1"], ports: Some(ports) };

    let mut shipwake = spawn(&start);
    shipwake.wait_ready().await;
    let load = start_load(ports, &oracle);
    let mut restarts = Vec::new();
    for _ in 0..ROUNDS {
        // The moment of the kill is the randomness that is tested; nothing waits for a condition here.
        tokio::time::sleep(Duration::from_millis(random.random_range(30..700))).await;
        shipwake.kill();
        let asked = Instant::now();
        shipwake = spawn(&start);
        shipwake.wait_ready().await;
        restarts.push(asked.elapsed());
    }
    stop_load(load);
    restarts.sort();
    println!("restart to ready: median {:?}, slowest {:?}", restarts[restarts.len() / 2], restarts[restarts.len() - 1]);

    let judge = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "check", "--wait", "60s", "--url", &shipwake.ui(), "--oracle"])
        .arg(&oracle)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&judge.stdout);
    println!("{said}");
    assert!(
        judge.status.success(),
        "seed {seed}: {said}\n{}\n{}",
        String::from_utf8_lossy(&judge.stderr),
        shipwake.log()
    );

    // And once more from what the last commit wrote.
    let (status, _) = tokio::task::spawn_blocking(move || shipwake.terminate()).await.expect("joined");
    assert!(status.success(), "{status}");
    let again = spawn(&start);
    again.wait_ready().await;
    let judge = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "check", "--wait", "60s", "--url", &again.ui(), "--oracle"])
        .arg(&oracle)
        .status()
        .expect("it runs");
    assert!(judge.success(), "seed {seed}: differs after a clean restart");
}

fn start_load(ports: [u16; 3], oracle: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args([
            "load",
            "--rate",
            RATE,
            "--duration",
            "10m",
            "--batch",
            "100",
            "--cardinality",
            "500",
            "--give-up",
            "20s",
        ])
        .args(["--endpoint", &format!("http://127.0.0.1:{}", ports[0])])
        .args(["--url", &format!("http://127.0.0.1:{}", ports[2])])
        .arg("--oracle")
        .arg(oracle)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs")
}

/// Ctrl-C: the generator finishes what is in flight and writes the end of the oracle.
fn stop_load(mut load: Child) {
    let asked = Command::new("kill").args(["-INT", &load.id().to_string()]).status().expect("kill exists");
    assert!(asked.success(), "the generator ran until the end");
    let deadline = Instant::now() + 2 * LIMIT;
    while load.try_wait().expect("it was started here").is_none() {
        assert!(Instant::now() < deadline, "the generator does not stop");
        std::thread::yield_now();
    }
}
