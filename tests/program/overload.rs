//! Many times what the shards can fold: senders are held, then refused with a hint; nothing acknowledged is lost or counted
//! twice; memory stays bounded; and as soon as the overload ends, a record is visible in seconds again.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value;

use crate::harness::{LIMIT, Shipwake, start_with};
use crate::otlp::{logs, resource};

/// What the process may use in the worst moment, in bytes: the bound that `docs/decisions/0004` gives.
const MEMORY_MAX: u64 = 768 << 20;
/// Ten seconds on a machine that does nothing else.
const FRESH_AGAIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_is_refused_with_a_hint_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let oracle = folder.path().join("oracle");
    let shipwake = start_with(&folder.path().join("data"), &["--backlog-seconds", "1"]).await;
    let mut load = start_load(&shipwake, &oracle);
    let deadline = Instant::now() + LIMIT;
    let hint = loop {
        if let Some(hint) = refusal(&shipwake).await {
            break hint;
        }
        assert!(Instant::now() < deadline, "nobody was refused:\n{}", shipwake.log());
        assert!(
            load.try_wait().expect("it was started here").is_none(),
            "the overload ended before anybody was refused"
        );
    };
    assert!((1..=3).contains(&hint), "{hint}");

    let output = tokio::task::spawn_blocking(move || load.wait_with_output()).await.expect("joined").expect("it ran");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    println!("{summary}");
    assert!(summary["retries"].as_u64() > Some(0), "refused requests come again: {summary}");
    let memory = peak_memory(shipwake.pid());
    println!("peak memory {} MB", memory >> 20);
    assert!(memory <= MEMORY_MAX, "{} MB", memory >> 20);

    let sent = Instant::now();
    post_marker(&shipwake).await;
    shipwake.wait_number("select count(*) from logs where service = 'after-the-storm'", 1).await;
    println!("fresh again after {:?}", sent.elapsed());
    assert!(sent.elapsed() < FRESH_AGAIN, "{:?}", sent.elapsed());

    let judge = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "check", "--wait", "60s", "--url", &shipwake.ui(), "--oracle"])
        .arg(&oracle)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&judge.stdout);
    assert!(judge.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&judge.stderr), shipwake.log());
}

/// Ten times the rate that is promised, from senders who do not wait for each other: more is under way than the shards fold
/// in the time that a request is held.
fn start_load(shipwake: &Shipwake, oracle: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args(["load", "--json", "--protocol", "http", "--rate", "139MB/s", "--duration", "8s", "--give-up", "30s"])
        .args(["--in-flight", "1200", "--cardinality", "500", "--endpoint", &shipwake.http(), "--url", &shipwake.ui()])
        .arg("--oracle")
        .arg(oracle)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs")
}

/// Sends one small request; the hint when it is refused.
async fn refusal(shipwake: &Shipwake) -> Option<u64> {
    let bytes = logs(resource("probe", "1", "a"), &["probe"]).encode_to_vec();
    let request = reqwest::Client::new().post(format!("{}/v1/logs", shipwake.http()));
    let answer = request.header("content-type", "application/x-protobuf").body(bytes).send().await.expect("an answer");
    if answer.status().is_success() {
        return None;
    }
    assert_eq!(answer.status(), 503, "a passing fault");
    let hint = answer.headers().get("retry-after").expect("a hint").to_str().expect("text");
    Some(hint.parse().expect("seconds"))
}

/// As a client does: again after the hint.
async fn post_marker(shipwake: &Shipwake) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let bytes = logs(resource("after-the-storm", "1", "a"), &["calm"]).encode_to_vec();
        let request = reqwest::Client::new().post(format!("{}/v1/logs", shipwake.http()));
        let answer = request.header("content-type", "application/x-protobuf").body(bytes).send().await;
        if answer.expect("an answer").status().is_success() {
            return;
        }
        assert!(Instant::now() < deadline, "refused for too long");
    }
}

/// The most memory that a process has used, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}
