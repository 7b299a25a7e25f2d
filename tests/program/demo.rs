//! The demo's shop: what it says it did, cell by cell, is what Shipwake shows, also after the program has ended and started
//! again on the same folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Shipwake, free_ports, start};

/// (service, version, route, window start in ms).
type Cell = (String, String, String, i64);
/// Requests, errors, duration in µs.
type Counts = [i64; 3];

#[tokio::test]
async fn what_the_shop_did_is_what_windows_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, truth) = (folder.path().join("data"), folder.path().join("truth"));
    let ports = free_ports();
    let demo = Command::new(env!("CARGO_BIN_EXE_shipwake"))
        .args([
            "demo",
            "--scenario",
            "rollback-works",
            "--seed",
            "7",
            "--speed",
            "20",
            "--duration",
            "15s",
            "--past",
            "4m",
            "--data",
        ])
        .arg(&data)
        .arg("--truth")
        .arg(&truth)
        .args(["--otlp-grpc-addr", &format!("127.0.0.1:{}", ports[0])])
        .args(["--otlp-http-addr", &format!("127.0.0.1:{}", ports[1])])
        .args(["--ui-addr", &format!("127.0.0.1:{}", ports[2])])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{said}{}", String::from_utf8_lossy(&demo.stderr));
    assert!(said.contains(&format!("http://127.0.0.1:{}", ports[2])), "prints the page's address: {said}");

    let (expected, ended) = read_truth(&truth);
    assert!(ended, "the shop waited for all answers");
    assert!(expected.values().map(|counts| counts[0]).sum::<i64>() > 500, "a busy shop");
    let shipwake = start(&data).await;
    let found = read_windows(&shipwake).await;
    for (cell, counts) in &expected {
        assert_eq!(found.get(cell), Some(counts), "{cell:?}");
    }
    assert_eq!(found.len(), expected.len(), "and nothing else");
}

/// The acknowledged requests of a truth file, and whether it has an end.
fn read_truth(path: &Path) -> (BTreeMap<Cell, Counts>, bool) {
    let text = std::fs::read_to_string(path).expect("the truth was written");
    let mut cells = BTreeMap::new();
    let mut ended = false;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        ended |= line["kind"] == "end";
        if line["kind"] != "requests" {
            continue;
        }
        assert_eq!(line["fate"], "acked", "nothing is refused on an idle machine: {line}");
        let text = |key: &str| line[key].as_str().expect("text").to_owned();
        let number = |key: &str| line[key].as_i64().expect("a number");
        let cell = (text("service"), text("version"), text("route"), number("window_start_ms"));
        let counts: &mut Counts = cells.entry(cell).or_default();
        *counts = [counts[0] + number("requests"), counts[1] + number("errors"), counts[2] + number("duration_us")];
    }
    (cells, ended)
}

async fn read_windows(shipwake: &Shipwake) -> BTreeMap<Cell, Counts> {
    let rows = shipwake
        .sql(
            "select service, version, route, cast(window_start as bigint) / 1000000, \
             sum(case when signal = 'requests' then count else 0 end), \
             sum(case when signal = 'errors' then count else 0 end), \
             cast(sum(case when signal = 'duration' then sum else 0 end) as bigint) \
             from windows where source = 'spans' and resolution_s = 10 \
             and signal in ('requests', 'errors', 'duration') group by 1, 2, 3, 4",
        )
        .await;
    let cell = |row: &Vec<Value>| {
        let text = |at: usize| row[at].as_str().expect("text").to_owned();
        let number = |at: usize| row[at].as_i64().expect("a number");
        ((text(0), text(1), text(2), number(3)), [number(4), number(5), number(6)])
    };
    rows.iter().map(cell).collect()
}
