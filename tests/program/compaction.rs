//! What the background makes of stored segments in the running program: few of many, every record once, over a kill and a restart; and
//! what has outlived its time is gone.

use std::time::Duration;

use crate::harness::{Shipwake, eventually, start_with};
use crate::otlp::now_ns;

const HOUR_MS: u64 = 3_600_000;

/// Twenty log lines that happened two hours ago, so that their window is over.
async fn send(shipwake: &Shipwake, service: &str, round: u64) {
    let then_ms = now_ns() / 1_000_000 - 2 * HOUR_MS;
    // All of a run in one window.
    let then_ms = then_ms - then_ms % 900_000 + 1000;
    let lines: Vec<String> = (0..20)
        .map(|line| {
            format!("{{\"time\":{},\"message\":\"order {round} of {service} placed\"}}", then_ms + round * 100 + line)
        })
        .collect();
    let url = format!("{}/v1/lines?service={service}&version=1&environment=test", shipwake.http());
    let answer = reqwest::Client::new().post(url).body(lines.join("\n")).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
}

/// Waits until a metric has the value.
async fn wait_metric(shipwake: &Shipwake, name: &str, filter: &str, is_right: impl Fn(f64) -> bool) {
    eventually(&format!("{name} {filter}"), async || {
        let value = shipwake.metric(name, filter).await;
        is_right(value).then_some(())
    })
    .await;
}

#[tokio::test]
async fn small_segments_become_few_and_no_record_is_lost_or_counted_twice() {
    let data = tempfile::tempdir().expect("a folder");
    let options = ["--commit-seconds", "1", "--partitions", "1"];
    let shipwake = start_with(data.path(), &options).await;
    for round in 0..5 {
        send(&shipwake, "checkout", round).await;
        let commits = shipwake.metric("shipwake_commit_seconds_count", "").await;
        wait_metric(&shipwake, "shipwake_commit_seconds_count", "", |count| count > commits).await;
    }
    wait_metric(&shipwake, "shipwake_compactions_total", "table=\"logs\"", |count| count >= 1.0).await;
    wait_metric(&shipwake, "shipwake_segments", "table=\"logs\"", |count| count == 1.0).await;
    assert!(shipwake.metric("shipwake_segment_side_bytes", "kind=\"index\"").await > 0.0);
    let count = "select count(*) from logs where body like 'order%'";
    shipwake.wait_number(count, 100).await;
    shipwake.kill();

    let shipwake = start_with(data.path(), &options).await;
    shipwake.wait_number(count, 100).await;
    let windows = "select sum(count) from windows where signal = 'pattern' and resolution_s = 3600";
    shipwake.wait_number(windows, 100).await;
    assert!(shipwake.terminate().0.success());
    let out =
        std::process::Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["doctor", "--data"]).arg(data.path()).output();
    let out = out.expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[tokio::test]
async fn a_damaged_index_is_named_by_doctor_and_made_again_while_the_program_runs() {
    let data = tempfile::tempdir().expect("a folder");
    let options = ["--commit-seconds", "1", "--partitions", "1"];
    let shipwake = start_with(data.path(), &options).await;
    send(&shipwake, "checkout", 0).await;
    wait_metric(&shipwake, "shipwake_segment_side_bytes", "kind=\"index\"", |bytes| bytes > 0.0).await;
    assert!(shipwake.terminate().0.success());
    let folder = data.path().join("store/data/logs");
    let index = std::fs::read_dir(&folder)
        .expect("lists")
        .map(|entry| entry.expect("lists").path())
        .find(|path| path.extension().is_some_and(|ending| ending == "index"))
        .expect("there is an index");
    std::fs::remove_file(&index).expect("removes");
    let out =
        std::process::Command::new(env!("CARGO_BIN_EXE_shipwake")).args(["doctor", "--data"]).arg(data.path()).output();
    let said = String::from_utf8_lossy(&out.expect("it runs").stdout).into_owned();
    assert!(said.contains(&format!("warning: {}: missing", index.display())), "{said}");

    let shipwake = start_with(data.path(), &options).await;
    wait_metric(&shipwake, "shipwake_compactions_total", "kind=\"repair\"", |count| count >= 1.0).await;
    shipwake.wait_number("select count(*) from logs where body like 'order%'", 20).await;
    tokio::time::timeout(Duration::from_secs(60), async {
        while std::fs::read_dir(&folder)
            .expect("lists")
            .flatten()
            .all(|entry| entry.path().extension().is_none_or(|ending| ending != "index"))
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is made again");
}
