//! Access logs, posted as they are: requests, errors and durations by version, and the switch from blue to green where it
//! was.

use std::fmt::Write;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Shipwake, eventually, start, start_with};
use crate::otlp::now_ns;

const S: u64 = 1_000_000_000;

/// `23/Nov/2026:10:00:00 +0000`, by a calendar that is not the one under test.
fn clf(time_ns: u64) -> String {
    let seconds = (time_ns / S).to_string();
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["-u", "-d", &format!("@{seconds}"), "+%d/%b/%Y:%H:%M:%S +0000"]);
    let output = date.output().expect("date exists");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

async fn post_lines(shipwake: &Shipwake, query: &str, lines: String) -> Value {
    let url = format!("{}/v1/lines?{query}", shipwake.http());
    let answer = reqwest::Client::new().post(url).body(lines).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.text().await.expect("text"));
    answer.json().await.expect("JSON")
}

/// Version, requests, errors and the 99th percentile in milliseconds, from the windows of a minute.
async fn health(shipwake: &Shipwake, service: &str) -> Vec<(String, i64, i64, i64)> {
    let query = format!(
        "select w.version, cast(sum(case when w.signal = 'requests' then w.count else 0 end) as bigint), \
         cast(sum(case when w.signal = 'errors' then w.count else 0 end) as bigint), \
         hdr_quantile(hdr_merge(w.histogram), 0.99) \
         from windows w where w.service = '{service}' and w.resolution_s = 60 and w.source = 'access_log' \
         group by w.version order by w.version"
    );
    let rows = shipwake.sql(&query).await;
    let row = |row: &Vec<Value>| {
        let p99_ms = (row[3].as_f64().unwrap_or(0.0) / 1000.0).round() as i64;
        let count = |at: usize| row[at].as_i64().expect("a count");
        (row[0].as_str().expect("text").to_owned(), count(1), count(2), p99_ms)
    };
    rows.iter().map(row).collect()
}

#[tokio::test]
async fn a_file_of_access_logs_gives_requests_errors_and_durations_by_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shipwake.toml");
    std::fs::write(&file, "[[lines.upstreams]]\nname = \"10.0.0.6\"\nversion = \"1.42.0\"\n").expect("written");
    let file = file.to_str().expect("text").to_owned();
    let shipwake = start_with(&folder.path().join("data"), &["--config", &file]).await;
    let stamp = clf(now_ns() - 30 * S);
    let mut lines = String::new();
    for n in 0..300 {
        // Two thirds go to blue; each tenth of green fails and is slow.
        let green = n % 3 == 2;
        let failed = green && n % 30 == 2;
        let (address, status, time) = match (green, failed) {
            (false, _) => ("10.0.0.5:8080", if n % 60 == 0 { 499 } else { 200 }, "0.020"),
            (true, false) => ("10.0.0.6:8080", 200, "0.020"),
            (true, true) => ("10.0.0.5:8080, 10.0.0.6:8080", 502, "0.900"),
        };
        let request = format!("GET /cart/{n} HTTP/1.1");
        let rest = "\"-\" \"curl/8.5.0\"";
        writeln!(lines, "10.1.2.3 - - [{stamp}] \"{request}\" {status} 5 {rest} {time} {address}").expect("to memory");
    }
    // A connection without a request, and lines that are none.
    writeln!(lines, "10.1.2.3 - - [{stamp}] \"-\" 408 - \"-\" \"-\" 60.000 -").expect("to memory");
    lines.push_str("2026/11/23 10:00:00 [error] 7#7: *1 connect() failed\n\n");
    let query = "service=shop&environment=test&format=nginx&upstream=10.0.0.5:8080=1.41.0";
    let answer = post_lines(&shipwake, query, lines).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&301.into(), &1.into()), "{answer}");
    assert_eq!(answer["errors"][0]["line"], 302, "{answer}");

    shipwake.wait_number("select count(*) from logs where service = 'shop'", 301).await;
    let expected = [("1.41.0".to_owned(), 200, 0, 20), ("1.42.0".to_owned(), 100, 10, 900)];
    let found = health(&shipwake, "shop").await;
    assert!(
        found.iter().zip(&expected).all(|(found, expected)| {
            // The histogram has two significant digits.
            (&found.0, found.1, found.2) == (&expected.0, expected.1, expected.2)
                && (found.3 - expected.3).abs() <= expected.3 / 50
        }),
        "{found:?}"
    );
    assert_eq!(found.len(), 2, "{found:?}");
    let view = "select cast(sum(requests) as bigint) from release_health where service = 'shop' and resolution_s = 60 \
                and version = '1.42.0' and source = 'access_log'";
    assert_eq!(shipwake.number(view).await, 100);
    let routes = "select count(distinct route) from windows where service = 'shop' and signal = 'requests' \
                  and route = 'GET /cart/{id}'";
    assert_eq!(shipwake.number(routes).await, 1);
}

#[tokio::test]
async fn a_switch_from_blue_to_green_behind_a_proxy_is_marked_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipwake = start(&folder.path().join("data")).await;
    let now = now_ns() / S * S;
    // Five minutes and a bit ago, in the middle of nothing round.
    let switch = now - 307 * S;
    let mut lines = String::new();
    let mut minute = String::new();
    for second in (0..600).rev() {
        let at = now - second * S;
        let second = at / S % 60;
        if minute.is_empty() || second == 0 {
            minute = clf(at)[..17].to_owned();
        }
        let backend = if at < switch { "blue" } else { "green" };
        for n in 0..3 {
            let stamp = format!("{minute}:{second:02}.{:03}", n * 300);
            let fields = format!("web {backend}/s1 0/0/1/20/25 200 512 - - ---- 2/2/1/1/0 0/0");
            writeln!(lines, "10.1.2.3:{} [{stamp}] {fields} \"GET /cart HTTP/1.1\"", 40_000 + n).expect("to memory");
        }
    }
    let query = "service=shop&environment=test&format=haproxy&upstream=blue=1.41.0,green=1.42.0";
    let answer = post_lines(&shipwake, query, lines).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&1800.into(), &0.into()), "{answer}");
    let (event, step_ms) = eventually("the switch is an event of green", || async {
        let page = shipwake.api("/api/v1/services/shop/release?env=test&from=now-9m&to=now").await;
        let step_ms = page["meta"]["step_s"].as_i64().expect("a step") * 1000;
        let events = page["events"].as_array()?.clone();
        let event = events.into_iter().find(|event| event["kind"] == "share" && event["version"] == "1.42.0")?;
        Some((event, step_ms))
    })
    .await;
    let at_ms = event["t"].as_i64().expect("a time");
    let switch_ms = (switch / 1_000_000) as i64;
    assert!((at_ms - switch_ms).abs() <= step_ms, "{event}: {} ms off, a window has {step_ms}", at_ms - switch_ms);
}
